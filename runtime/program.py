"""A program: which kernels run, in what order, on which memory.

This is what `planner.py` makes of a fused graph, what `plan.py` lays out in memory and what
`llvm/emit_step.py` turns into machine code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from graphc.ir import Dense, Eqn, Graph, Lit
from graphc.runtime.kernel import Kernel
from graphc.runtime.layout import Layout


@dataclass(frozen=True, eq=False)
class Root:
    """Memory: an "argument", a "result", a "constant", "arena" space, or a "choice" of two."""

    kind: str
    number: int
    dtype: str
    nbytes: int
    sources: tuple[Root, ...] = ()
    """What a choice chooses from."""

    def memories(self) -> Iterator[Root]:
        """The memory that this may stand for: itself, or whatever a choice may choose."""
        if not self.sources:
            yield self
        for source in self.sources:
            yield from source.memories()


class Place(NamedTuple):
    """Where a value is: a layout over a root, in elements of its dtype."""

    root: Root
    layout: Layout


Source = Place | Lit


class Call(NamedTuple):
    """Run a kernel on memory.  `eqn` is the equation that it comes from, None for a copy."""

    kernel: Kernel
    roots: tuple[Root, ...]
    eqn: Eqn | None = None
    scratch: tuple[Root, ...] = ()


class Choice(NamedTuple):
    """`root` is the memory at `then` or at `otherwise`, whichever branch ran."""

    root: Root
    then: tuple[Root, int]
    otherwise: tuple[Root, int]


class Branch(NamedTuple):
    """Run one of two lists of items."""

    predicate: Place
    then: tuple[Item, ...]
    otherwise: tuple[Item, ...]
    choices: tuple[Choice, ...]


class Fail(NamedTuple):
    """Stop with the failed check `number` if `failed` holds, and name `value`."""

    failed: Place
    value: Place
    number: int


Item = Call | Branch | Fail


@dataclass(frozen=True)
class Program:
    """What a step does, and what it needs for it."""

    graph: Graph
    items: tuple[Item, ...]
    arguments: tuple[Root, ...]
    results: tuple[Root | None, ...]
    constants: tuple[Dense, ...]
    checks: tuple[Eqn, ...]
    updated: frozenset[int]
