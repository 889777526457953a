"""Named sizes while a step is planned and written: one plan, one machine code, many sizes.

A graph whose types hold `Dim`s is planned and written once, for an example of its sizes.  What has
to be known on the way falls into three kinds:

- numbers that the machine code uses stand in a *table*, which it is given at each call: a row for
  each polynomial (`B`, `784*B`), and one for each place in the arena;
- what is chosen for speed from numbers (the height of a tile, the rows of a block) is `applied`:
  a size of its own, defined by a function, which is called again for other sizes;
- what was decided by the example alone is a *guard*, a question and its answer.  The code is used
  for those sizes alone that give the same answers; for others the graph is planned again.

So nothing has to be proved of a plan for all sizes: what it relies on is asked for every size.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from graphc.dims import Dim, Size, bounds
from graphc.polynomials import SMALLEST, Symbol
from graphc.questions import Question, answering, evaluate, exemplified, hint

Sizes = Mapping[str, int]


class Guard(NamedTuple):
    """A question that was decided by an example, and what the answer was."""

    question: Question
    answer: bool

    def __str__(self) -> str:
        return str(self.question) if self.answer else f"not {self.question}"


class _Applied(NamedTuple):
    """What a size that is no argument's is: a function of others."""

    function: Callable[..., int]
    arguments: tuple[Any, ...]


@dataclass
class Sizing:
    """What a plan relies on, and the rows of its table; `example` are the sizes it is made for."""

    example: dict[str, int]
    guards: dict[Question, bool] = field(default_factory=dict)
    definitions: dict[_Applied, Dim] = field(default_factory=dict)
    rows: dict[Hashable, int] = field(default_factory=dict)
    names: tuple[str, ...] = field(init=False)
    """Those of the graph, without what is applied to them."""

    def __post_init__(self) -> None:
        self.names = tuple(self.example)

    @property
    def is_fixed(self) -> bool:
        """Whether there are no named sizes."""
        return not self.example

    @contextmanager
    def open(self) -> Iterator[None]:
        """Within the block sizes may be asked for, and are answered by the example."""
        token = _SIZING.set(self)
        try:
            with answering(self._answer), exemplified(self.example):
                yield
        finally:
            _SIZING.reset(token)

    def _answer(self, question: Question) -> bool:
        return self.guards.setdefault(question, question.holds(self.example))

    def define(self, function: Callable[..., int], arguments: tuple[Any, ...]) -> Size:
        applied = _Applied(function, arguments)
        if applied not in self.definitions:
            example = function(*(_value(a, self.example) for a in arguments))
            if example < SMALLEST:  # a name stands for no smaller number: fix what it is made of
                return function(*(int(a) if isinstance(a, Dim) else a for a in arguments))
            name = f"{function.__name__.strip('_')}.{len(self.definitions)}"
            self.example[name] = example
            self.definitions[applied] = Dim({(Symbol(name, example),): 1})
        return self.definitions[applied]

    def row(self, key: Hashable) -> int:
        """The row of the table for a polynomial, or for what `Environment.value` knows."""
        return self.rows.setdefault(key, len(self.rows))

    def complete(self, sizes: Sizes) -> dict[str, int] | None:
        """The sizes and all that is applied to them; None where a guard does not hold."""
        known = dict(sizes)
        for applied, size in self.definitions.items():
            value = applied.function(*(_value(a, known) for a in applied.arguments))
            if value < SMALLEST:  # a name stands for no smaller number
                return None
            known[size.symbols[0].name] = value
        holds = all(question.holds(known) == answer for question, answer in self.guards.items())
        return known if holds else None

    def scaled(self, times: int) -> Sizes:
        """The example `times` as large, and what is applied to it then."""
        known = {name: times * self.example[name] for name in self.names}
        for applied, size in self.definitions.items():
            if isinstance(size, Dim):
                value = applied.function(*(_value(a, known) for a in applied.arguments))
                known[size.symbols[0].name] = value
        return known

    def conditions(self) -> list[Guard]:
        """The guards, for whoever asks why a graph was planned again."""
        return [Guard(question, answer) for question, answer in self.guards.items()]


_SIZING: ContextVar[Sizing | None] = ContextVar("_SIZING", default=None)


def current() -> Sizing:
    """The sizing of the step that is being planned."""
    return _SIZING.get() or Sizing({})


def applied(function: Callable[..., int], *arguments: Any) -> Any:
    """`function(*arguments)`, at once where no argument is symbolic, else anew for all sizes.

    The function is one of a module (no closure): two plans of the same are told by it.
    """
    if not any(isinstance(argument, Dim) for argument in arguments):
        return function(*arguments)
    sizing = _SIZING.get()
    if sizing is None:
        return function(*(int(a) if isinstance(a, Dim) else a for a in arguments))
    return sizing.define(function, arguments)


def with_numbers(value: Any, sizes: Sizes) -> Any:
    """A size, or something made of tuples (a kernel, say), with the numbers of its sizes.

    Where no size has a name it has them already.
    """
    return _with_numbers(value, sizes) if sizes else value


def _with_numbers(value: Any, sizes: Sizes) -> Any:
    if isinstance(value, Dim):
        return evaluate(value, sizes)
    if not isinstance(value, tuple):
        return value
    made = [_with_numbers(item, sizes) for item in value]
    return type(value)(*made) if hasattr(value, "_fields") else tuple(made)


def is_symbolic(value: Any) -> bool:
    """Whether a size, or one in something made of tuples, has no number."""
    if isinstance(value, tuple):
        return any(map(is_symbolic, value))
    return isinstance(value, Dim)


def _value(argument: Any, sizes: Sizes) -> Any:
    return evaluate(argument, sizes) if isinstance(argument, Dim) else argument


def largest(*numbers: int) -> int:
    """The largest of some numbers, 0 where there are none."""
    return max(numbers, default=0)


def least(size: Size) -> int:
    """A number that the size is never below, for sizes of arrays."""
    low, _ = bounds(size)
    return 0 if low is None else low


LARGER = 16
"""How many times as large as the example a size may well be: what is chosen for long loops costs
short ones less than the other way about."""


def large(size: Size) -> int:
    """What a size is, or a large one of that name."""
    return LARGER * hint(size) if isinstance(size, Dim) else size


def same(one: Size, other: Size) -> bool:
    """Whether two sizes are the same polynomial: equal for all sizes, and nothing is asked."""
    if isinstance(one, Dim) or isinstance(other, Dim):
        return isinstance(one, Dim) and isinstance(other, Dim) and one.terms == other.terms
    return one == other
