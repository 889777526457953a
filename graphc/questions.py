"""What depends on the number that a symbolic size stands for: who asks, and who answers.

A question is answered by the block that it is asked in (`answering`), for the example at hand, or
it is an error.  `hint` gives the example, for decisions that may be wrong.  See `graphc.dims`,
whose sizes these are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Any, NamedTuple

from graphc.errors import UndecidedSizeError
from graphc.polynomials import evaluated


class Question(NamedTuple):
    """`left relation right`, where `relation` is "==" or "<"."""

    left: Any
    relation: str
    right: Any

    def __str__(self) -> str:
        return f"{self.left} {self.relation} {self.right}"

    def holds(self, sizes: Mapping[str, int]) -> bool:
        """The answer for known sizes."""
        left, right = evaluate(self.left, sizes), evaluate(self.right, sizes)
        return left == right if self.relation == "==" else left < right


Answer = Callable[[Question], bool]
ANSWER: ContextVar[Answer | None] = ContextVar("ANSWER", default=None)
VALUE: ContextVar[Callable[[Any], Any]] = ContextVar("VALUE", default=int)
IS_USERS: ContextVar[Callable[[FrameType], bool] | None] = ContextVar("IS_USERS", default=None)


@contextmanager
def answering(answer: Answer) -> Iterator[None]:
    """Let `answer` decide what the polynomials alone do not, within the block."""
    token = ANSWER.set(answer)
    try:
        yield
    finally:
        ANSWER.reset(token)


@contextmanager
def tracing(value: Callable[[Any], Any], is_users: Callable[[FrameType], bool]) -> Iterator[None]:
    """Within the block, let `value(size)` be the number where arithmetic leaves the integers.

    `is_users(frame)` says whose code compares two sizes, or looks one up in a dict: the user's code
    means the numbers, which are then asked for; graphc's own the polynomials.
    """
    tokens = VALUE.set(value), IS_USERS.set(is_users)
    try:
        yield
    finally:
        VALUE.reset(tokens[0])
        IS_USERS.reset(tokens[1])


def ask(question: Question) -> bool:
    answer = ANSWER.get()
    if answer is None:
        raise UndecidedSizeError(
            f"whether {question} depends on the size; give the arrays a fixed one"
        )
    return answer(question)


# ---- examples ------------------------------------------------------------------------------------

_EXAMPLES: ContextVar[Mapping[str, int] | None] = ContextVar("_EXAMPLES", default=None)


@contextmanager
def exemplified(sizes: Mapping[str, int]) -> Iterator[None]:
    """Let the named sizes have these examples within the block, whatever they carry."""
    token = _EXAMPLES.set(sizes)
    try:
        yield
    finally:
        _EXAMPLES.reset(token)


def hint(size: Any) -> int:
    """An example of what the size may be, for decisions of speed."""
    return evaluate(size, _EXAMPLES.get())


def evaluate(size: Any, sizes: Mapping[str, int] | None) -> int:
    """The number, where each symbol has the value in `sizes`, or its example if that is None.

    Raises `errors.ShapeError` for a symbol without a value.
    """
    return size if isinstance(size, int) else evaluated(size.terms, sizes)


# ---- doubts --------------------------------------------------------------------------------------

DOUBTS: ContextVar[set[Question] | None] = ContextVar("DOUBTS", default=None)


@contextmanager
def doubting() -> Iterator[set[Question]]:
    """What `surely_less` cannot say within the block, and takes for false.

    For numbers for which all of it is false, the same answers are given.
    """
    doubts: set[Question] = set()
    token = DOUBTS.set(doubts)
    try:
        yield doubts
    finally:
        DOUBTS.reset(token)
