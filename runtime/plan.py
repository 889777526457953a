"""The arena: one block of memory for everything that lives only during a step.

Each temporary gets an offset such that no two that are alive at the same time overlap.  The two
branches of a conditional are laid one after the other in time.
"""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from graphc.questions import evaluate, hint
from graphc.runtime.program import (
    Branch,
    Call,
    Fail,
    Foreign,
    Item,
    Pop,
    Program,
    Push,
    Repeat,
    Root,
)

ALIGNMENT = 64
"""Bytes: a cache line, and the widest vector."""


class Arena(NamedTuple):
    """The offset of each temporary in bytes, the size of the whole, and the most alive at once."""

    offsets: Mapping[Root, int]
    nbytes: int
    peak: int


Spans = Mapping[Root, tuple[int, int]]
"""The first and the last moment at which each arena root is used, in the order of the first."""


def plan_arena(program: Program) -> Arena:
    """Lay out a program's temporaries, for the examples of its sizes."""
    return lay_out(lifetimes(program))


def lay_out(spans: Spans, sizes: Mapping[str, int] | None = None) -> Arena:
    """An offset for each temporary, first come, lowest offset first."""
    offsets: dict[Root, int] = {}
    alive: list[tuple[int, int]] = []  # start and end, in order
    ends: list[tuple[int, int, int]] = []  # a heap: when what lies from start to end is dead
    size = peak = held = 0
    for root, (first, last) in spans.items():
        while ends and ends[0][0] < first:
            _, start, end = heapq.heappop(ends)
            del alive[bisect.bisect_left(alive, (start, end))]
            held -= end - start
        nbytes = hint(root.nbytes) if sizes is None else evaluate(root.nbytes, sizes)
        need = -(-max(nbytes, 1) // ALIGNMENT) * ALIGNMENT
        offset = _gap(alive, need)
        offsets[root] = offset
        bisect.insort(alive, (offset, offset + need))
        heapq.heappush(ends, (last, offset, offset + need))
        held += need
        size, peak = max(size, offset + need), max(peak, held)
    return Arena(offsets, size, peak)


def _gap(alive: Sequence[tuple[int, int]], need: int) -> int:
    """The lowest offset at which `need` bytes are free."""
    offset = 0
    for start, end in alive:
        if start - offset >= need:
            break
        offset = end
    return offset


def lifetimes(program: Program) -> Spans:
    """When each temporary is alive, whatever its size."""
    walk = _Lifetimes()
    walk.items(program.items)
    return dict(sorted(walk.spans.items(), key=lambda item: item[1][0]))


class _Lifetimes:
    """A walk over the items of a program in which each use of memory is a moment."""

    def __init__(self) -> None:
        self.moment = 0
        self.spans: dict[Root, tuple[int, int]] = {}

    def use(self, *roots: Root) -> None:
        """The next moment, which uses `roots`."""
        self.moment += 1
        for root in roots:
            for memory in root.memories():
                if memory.kind == "arena":
                    first, _ = self.spans.get(memory, (self.moment, 0))
                    self.spans[memory] = (first, self.moment)

    def items(self, items: Sequence[Item]) -> None:
        for item in items:
            match item:
                case Call(roots=roots):
                    self.use(*roots)
                case Fail(failed=failed, value=value):
                    self.use(failed.root, value.root)
                case Foreign(operands=operands, results=results):
                    self.use(*(place.root for place in (*operands, *results)))
                case Push(tape=tape, values=values, out=out):
                    self.use(tape.root, *(place.root for place in values), out)
                case Pop(tape=tape, out=out):
                    self.use(tape.root, out)
                case Branch():
                    self.branch(item)
                case Repeat():
                    self.repeat(item)

    def branch(self, branch: Branch) -> None:
        self.use(branch.predicate.root)
        self.items(branch.then)
        self.use(*(choice.then[0] for choice in branch.choices))
        self.items(branch.otherwise)
        # What the first branch leaves stays alive through the second: a choice may read it.
        self.use(*(choice.root for choice in branch.choices))

    def repeat(self, repeat: Repeat) -> None:
        """What was there before the loop, and is used in it, is used again in each iteration."""
        start = self.moment
        wholes = [part.whole for part in repeat.slices]
        cells = [] if repeat.counter is None else [repeat.counter]
        self.use(*repeat.blocks, *wholes, *cells)
        self.items(repeat.test)
        if repeat.predicate is not None:
            self.use(repeat.predicate.root)
        self.items(repeat.body)
        self.use(*repeat.following, *repeat.blocks, *wholes, *cells)
        for root, (first, last) in self.spans.items():
            if first <= start + 1 and last > start:
                self.spans[root] = (first, self.moment)
        self.use(*(root for root, _ in repeat.results))
