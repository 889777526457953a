"""A program: which kernels run, in what order, on which memory.

This is what `planner.py` makes of a fused graph, what `plan.py` lays out in memory and what
`llvm/emit_step.py` turns into machine code.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from graphc.dims import Size
from graphc.ir import Dense, Eqn, Graph, Lit
from graphc.questions import evaluate
from graphc.runtime.kernel import Kernel
from graphc.runtime.layout import Layout


@dataclass(frozen=True, eq=False)
class Root:
    """Memory: an "argument", a "result", a "constant", "arena" space, a "choice" of several of
    them, a "slice" of one that changes from one iteration to the next, or a value of a "record"."""

    kind: str
    number: int
    dtype: str
    nbytes: Size
    sources: tuple[Root, ...] = ()
    """What a choice chooses from; what a slice is part of."""

    def meets(self, other: Root) -> bool:
        """Whether both may stand for the same memory."""
        return not set(self.memories()).isdisjoint(other.memories())

    def memories(self) -> tuple[Root, ...]:
        """The memory that this may stand for: itself, or whatever a choice may choose."""
        return self._memories

    @functools.cached_property
    def _memories(self) -> tuple[Root, ...]:
        """Each once: choices of choices reach the same memory on many ways."""
        if not self.sources:
            return (self,)
        return tuple(dict.fromkeys(m for source in self.sources for m in source.memories()))


class Place(NamedTuple):
    """Where a value is: a layout over a root, in elements of its dtype."""

    root: Root
    layout: Layout


Source = Place | Lit


class Evenly(NamedTuple):
    """Equal shares of a size that has a name, in whole grains where it is long enough for that."""

    size: Size
    grain: int


class Call(NamedTuple):
    """Run a kernel on memory.  `eqn` is the equation that it comes from, None for a copy.

    In a program for several threads (`shares.py`), `cuts` say where the shares of a divided kernel
    begin and end; a kernel without is run by one thread, `because` of something.

    In a program for a device, `processor` says why this machine's runs the kernel, if it does.
    """

    kernel: Kernel
    roots: tuple[Root, ...]
    eqn: Eqn | None = None
    scratch: tuple[Root, ...] = ()
    cuts: tuple[int, ...] | Evenly = ()
    because: str = ""
    processor: str = ""


class Choice(NamedTuple):
    """`root` is the memory at `then` or at `otherwise`, whichever branch ran."""

    root: Root
    then: tuple[Root, Size]
    otherwise: tuple[Root, Size]


class Branch(NamedTuple):
    """Run one of two lists of items."""

    predicate: Place
    then: tuple[Item, ...]
    otherwise: tuple[Item, ...]
    choices: tuple[Choice, ...]


class Slice(NamedTuple):
    """`root` is the memory `offset + index * step` elements into `whole`."""

    root: Root
    whole: Root
    offset: Size
    step: Size


class Repeat(NamedTuple):
    """Run `body` while `predicate` holds after `test`, or `length` times where there is none.

    `blocks` are memory that takes turns: what is `following[i]` at the end of an iteration is
    `blocks[i]` in the next one.  `results` pairs roots with the block that each is when the loop
    has ended.  The number of the iteration is stored in `counter`, if there is one, and chooses
    `slices`; with `reverse` it runs downwards.
    """

    body: tuple[Item, ...]
    blocks: tuple[Root, ...]
    following: tuple[Root, ...]
    results: tuple[tuple[Root, Root], ...]
    test: tuple[Item, ...] = ()
    predicate: Place | None = None
    length: Size = 0
    reverse: bool = False
    counter: Root | None = None
    slices: tuple[Slice, ...] = ()
    is_forgetful: bool = False
    """Whether no record that an iteration pushes is read after it."""


class Fail(NamedTuple):
    """Stop with the failed check `number` if `failed` holds, and name `value`."""

    failed: Place
    value: Place
    number: int


class Push(NamedTuple):
    """`out` is the tape with a record of `values`, of as many bytes as `sizes` say, on top."""

    tape: Place
    values: tuple[Place, ...]
    sizes: tuple[Size, ...]
    out: Root
    kind: int
    """A number that records of the same types have."""


class Pop(NamedTuple):
    """`values` are where the values of the last record lie, `out` the tape below it."""

    tape: Place
    values: tuple[Root, ...]
    sizes: tuple[Size, ...]
    out: Root
    kind: int


class Barrier(NamedTuple):
    """Wait until all threads have come here."""


class Foreign(NamedTuple):
    """Call the external function `function` on the addresses of contiguous values.

    A `checked` function gives a status; where that is not 0, the step stops with failure `number`.
    """

    function: str
    operands: tuple[Place, ...]
    results: tuple[Place, ...]
    checked: bool
    number: int


Item = Call | Branch | Repeat | Fail | Push | Pop | Barrier | Foreign


def parts(item: Item) -> tuple[tuple[Item, ...], ...]:
    """The lists of items that an item holds."""
    match item:
        case Branch(then=then, otherwise=otherwise):
            return then, otherwise
        case Repeat(test=test, body=body):
            return test, body
    return ()


def has_tape(items: Sequence[Item]) -> bool:
    """Whether something is pushed on a tape."""
    return any(isinstance(item, Push) or any(map(has_tape, parts(item))) for item in items)


class Saving(NamedTuple):
    """The nanoseconds that threads save, in proportion to the work of each divided kernel.

    `parts` are the work of a kernel as a size, as a number, and what was saved for that number.
    """

    parts: tuple[tuple[Size, int, float], ...]
    least: float
    """Less is not worth waking threads for."""
    patience: float
    bounds: tuple[float, float]

    def at(self, sizes: Mapping[str, int]) -> float:
        """What is saved for these sizes."""
        return sum(ns * evaluate(size, sizes) / number for size, number, ns in self.parts)

    def patience_for(self, saved: float) -> float:
        """How many nanoseconds it is worth waiting for other threads."""
        lowest, highest = self.bounds
        return max(min(self.patience * saved, highest), lowest)


class Program(NamedTuple):
    """What a step does, and what it needs for it."""

    graph: Graph
    items: tuple[Item, ...]
    arguments: tuple[Root, ...]
    results: tuple[Root | None, ...]
    constants: tuple[Dense, ...]
    checks: tuple[Eqn, ...]
    updated: frozenset[int]
    shares: int = 1
    """Into how many shares kernels are divided; 1 is a program for one thread."""
    patience: float = 0.0
    """How many nanoseconds it is worth waiting for other threads."""
    saving: Saving | None = None
    """What other threads save, where that depends on sizes that have names."""

    @property
    def has_tape(self) -> bool:
        return has_tape(self.items)
