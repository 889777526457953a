"""Symbolic sizes while tracing: what is asked about them, and what they are as values.

A question that no polynomial decides is answered for the example at hand.  The answer becomes a
`Guard`: the trace is used for sizes alone that give the same answers.  An equality that holds is
more than that: it says which polynomials stand for one number, so the trace starts again with one
in the place of the other (`Refined`), and then knows of no difference between them.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np

from graphc import dims, errors, questions
from graphc.dims import Dim, Shape, Size, symbols_of
from graphc.ir import Loc, size_text
from graphc.polynomials import Symbol
from graphc.questions import Question, evaluate
from graphc.trace.scope import shown_file, user_loc


@dataclass(frozen=True)
class Guard:
    """An answer that the trace depends on."""

    question: Question
    holds: bool
    loc: Loc | None

    def fits(self, sizes: Mapping[str, int]) -> bool:
        return self.question.holds(sizes) == self.holds

    def __str__(self) -> str:
        left, relation, right = self.question
        if not self.holds:
            relation = {"==": "!=", "<": ">="}[relation]
        return f"{size_text(left)} {relation} {size_text(right)}: asked at {self.loc}"


@dataclass(frozen=True)
class Fixed:
    """A size that the trace needed as another size or as a number, and where."""

    size: str
    value: Size
    cause: str
    loc: Loc | None

    def __str__(self) -> str:
        return f"{self.size} = {size_text(self.value)}: {self.cause} at {self.loc}"


class Refined(BaseException):
    """Ends a trace that is to start again with other sizes; no `except Exception` stops it."""

    def __init__(self, fixed: Sequence[Fixed]):
        super().__init__(fixed)
        self.fixed = tuple(fixed)

    @property
    def sizes(self) -> dict[str, Size]:
        return {fixed.size: fixed.value for fixed in self.fixed}


# ---- answers -------------------------------------------------------------------------------------


def for_the_example(guards: dict[Question, Guard], raised: list[BaseException]) -> questions.Answer:
    """Answers for the examples of the symbols, remembered in `guards`.

    What it raises is in `raised`, too: a bare `except:` in the user's code must not lose it.
    """

    def answer(question: Question) -> bool:
        known = guards.get(question)
        if known is not None:
            return known.holds
        holds = question.holds(_examples(question))
        if holds and question.relation == "==":
            raised.append(Refined(_solved(question)))
            raise raised[-1]
        guards[question] = Guard(question, holds, user_loc())
        return holds

    return answer


def _examples(question: Question) -> dict[str, int]:
    return {s.name: s.example for s in symbols_of((question.left, question.right))}


def _solved(question: Question) -> list[Fixed]:
    """What makes both sides the same: one symbol in terms of others, or numbers for all."""
    difference = question.left - question.right
    symbols = symbols_of((difference,))
    cause = f"whether {question} was asked"
    if len(symbols) > 1:
        for symbol in symbols:
            value = _isolated(difference, symbol)
            if value is not None:
                return [Fixed(symbol.name, value, cause, user_loc())]
    if type(question.right) is int and question.right == evaluate(question.left, None):
        cause = f"the number that {question.left} stands for was needed"
    return [Fixed(s.name, s.example, cause, user_loc()) for s in symbols]


def _isolated(difference: Size, symbol: Symbol) -> Size | None:
    """The symbol in terms of the others where a polynomial is 0, if it stands there alone."""
    assert isinstance(difference, Dim)
    holding = [(m, factor) for m, factor in difference.terms if symbol in m]
    if len(holding) != 1 or holding[0][0] != (symbol,) or abs(holding[0][1]) != 1:
        return None
    factor = holding[0][1]
    rest = difference - factor * Dim({(symbol,): 1})
    return -factor * rest  # type: ignore[no-any-return]


def refusing(raised: list[BaseException]) -> questions.Answer:
    """No answers: what was asked to hold for every size does not."""

    def refuse(question: Question) -> bool:
        raised.append(_refusal(question))
        raise raised[-1]

    return refuse


def _refusal(question: Question) -> errors.UndecidedSizeError:
    is_number = question.relation == "==" and question.right == questions.hint(question.left)
    asked = f"the number that {question.left} stands for" if is_number else f"whether {question}"
    return errors.UndecidedSizeError(
        f"{asked} is asked, which is not the same for every size; give it a fixed one, or compute"
        " without asking",
        user_loc(),
    )


@contextmanager
def symbolic(answer: questions.Answer) -> Iterator[None]:
    """Sizes as traced functions see them: they answer questions, and become values."""
    from graphc.trace.tracer import lift

    with questions.answering(answer), questions.tracing(lift, _is_users):
        yield


_FOR_THE_USER = os.path.join(os.path.dirname(__file__), "quantifiers.py")
"""Where graphc compares what the user's code would have compared: `in`, `max`, `min`."""


def _is_users(frame: FrameType) -> bool:
    while frame.f_back is not None and frame.f_code.co_filename == "<string>":
        frame = frame.f_back  # a method of a dataclass
    file = frame.f_code.co_filename
    return file == _FOR_THE_USER or shown_file(file) is not None


# ---- sizes that are arguments --------------------------------------------------------------------


def as_size(number: Any) -> Any:
    """A number that is a size of the result, and so has to be an int or symbolic."""
    return number if isinstance(number, Dim) else operator.index(number)


def message_text(size: Size) -> str:
    """A size in the message of a check: `Graph.bind` puts the number there."""
    return f"{{size:{size_text(size)}}}" if isinstance(size, Dim) else str(size)


def as_shape(shape: Any) -> tuple[Any, ...]:
    """A shape, given as sizes or as one size."""
    if isinstance(shape, (tuple, list)):
        return tuple(map(as_size, shape))
    is_array = isinstance(shape, np.ndarray) and shape.ndim > 0
    return tuple(map(as_size, shape)) if is_array else (as_size(shape),)


def broadcast_shapes(*shapes: Shape) -> tuple[Any, ...]:
    """NumPy's rule.  Raises ValueError where the shapes do not broadcast together."""
    rank = max(map(len, shapes), default=0)
    return tuple(_common(sizes) for sizes in zip(*(_padded(s, rank) for s in shapes), strict=True))


def _padded(shape: Shape, rank: int) -> Shape:
    return (1,) * (rank - len(shape)) + tuple(shape)


def _common(sizes: tuple[Size, ...]) -> Size:
    result: Size = 1
    for size in sizes:
        if result == 1:
            result = size
        elif size != 1 and not dims.same(size, result):
            raise ValueError(f"sizes {result} and {size} do not broadcast together")
    return result


def with_numbers(value: Any, number: Callable[[Size], int]) -> Any:
    """Nested tuples with numbers in the place of symbolic sizes."""
    if isinstance(value, tuple):
        items = [with_numbers(item, number) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    return number(value) if isinstance(value, Dim) else value
