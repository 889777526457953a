"""Where the threads of a step wait for each other.

A barrier stands before an item of which some share touches memory that another share has touched
since the last barrier, if one of the two writes.  Which share touches what is known exactly
enough, because the shares' ranges, the shapes and the arena's offsets are numbers by now: a kernel
whose shares read what the same shares of an earlier one wrote needs no barrier.

A thread runs one or several shares, so what holds between shares holds between threads.

Where sizes have names, none of this is known: whatever follows a kernel that several shares run, or
that they run after another, is behind a barrier.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from graphc.dims import Size
from graphc.ir import Type
from graphc.runtime.footprints import footprints
from graphc.runtime.kernel import Buffer
from graphc.runtime.plan import Arena
from graphc.runtime.program import (
    Barrier,
    Branch,
    Call,
    Evenly,
    Fail,
    Foreign,
    Item,
    Place,
    Program,
    Repeat,
    Root,
)
from graphc.runtime.sizes import applied

MOST_PENDING = 256
"""Touches that are remembered; a barrier costs less than comparing with more of them."""

ANYTHING = "any memory"

Span = tuple[Size, Size]


class Touch(NamedTuple):
    """The bytes of one memory that each share touches, None where it does not."""

    memory: Hashable
    writes: bool
    spans: tuple[Span | None, ...]


def place_barriers(program: Program, arena: Arena) -> Program:
    """The program with a barrier before each item that needs one."""
    placer = _Placer(program.shares, arena, is_exact=program.saving is None)
    items, _ = placer.placed(program.items, [])
    return program._replace(items=tuple(items))


class _Placer(NamedTuple):
    shares: int
    arena: Arena
    turning: frozenset[Root] = frozenset()
    """Roots of which any may be any other's memory, for the loops around."""
    is_exact: bool = True
    """Whether ranges and offsets are numbers."""

    def placed(self, items: Sequence[Item], pending: list[Touch]) -> tuple[list[Item], list[Touch]]:
        """Items with barriers, and what has been touched since the last one."""
        done: list[Item] = []
        for item in items:
            if isinstance(item, Repeat):
                repeat, pending = self.repeat(item)
                done += [Barrier(), repeat]
                continue
            touches = list(self.touches(item))
            crowded = len(pending) + len(touches) > MOST_PENDING
            if pending and (crowded or any(_meet(a, b) for a in touches for b in pending)):
                done.append(Barrier())
                pending = []
            pending = [*pending, *touches]
            if isinstance(item, Branch):
                then, after_then = self.placed(item.then, pending)
                otherwise, after_otherwise = self.placed(item.otherwise, pending)
                item = item._replace(then=tuple(then), otherwise=tuple(otherwise))
                pending = [*after_then, *after_otherwise]
            done.append(item)
        return done, pending

    def repeat(self, repeat: Repeat) -> tuple[Repeat, list[Touch]]:
        """All begin a loop together, and end each iteration together; then blocks change places.

        Which memory a block is changes from iteration to iteration, so between two barriers
        inside any of them may be any other.
        """
        inner = self._replace(turning=self.turning.union(repeat.blocks, repeat.following))
        test, _ = inner.placed(repeat.test, [])
        known: list[Touch] = []
        if repeat.predicate is not None:
            test.append(Barrier())
            known = list(inner.by_all(repeat.predicate))
        body, _ = inner.placed(repeat.body, known)
        return repeat._replace(test=tuple(test), body=(*body, Barrier())), known

    def touches(self, item: Item) -> Iterator[Touch]:
        """What an item itself touches, branches left out."""
        if not self.is_exact:
            yield self.of_any(item)
            return
        match item:
            case Call():
                yield from self.of_call(item)
            case Branch(predicate=predicate):
                yield from self.by_all(predicate)
            case Fail(failed=failed, value=value):
                yield from self.by_all(failed)
                yield from self.by_all(value)
            case Foreign(operands=operands, results=results):
                for place in operands:
                    yield from self.by_first(place, writes=False)
                for place in results:
                    yield from self.by_first(place, writes=True)

    def of_any(self, item: Item) -> Touch:
        """The same without numbers: all shares, or only the first one, may touch anything."""
        by_first = isinstance(item, Foreign) or (isinstance(item, Call) and not item.cuts)
        others = None if by_first else (0, 1)
        return Touch(ANYTHING, True, ((0, 1), *(others,) * (self.shares - 1)))

    def by_all(self, place: Place) -> Iterator[Touch]:
        if not self.is_exact:
            yield Touch(ANYTHING, True, ((0, 1),) * self.shares)
            return
        for memory, _, whole, _ in self.memories(place.root):
            yield Touch(memory, False, (whole,) * self.shares)

    def by_first(self, place: Place, writes: bool) -> Iterator[Touch]:
        """What only the first share touches."""
        for memory, _, whole, _ in self.memories(place.root):
            yield Touch(memory, writes, (whole, *(None,) * (self.shares - 1)))

    def of_call(self, call: Call) -> Iterator[Touch]:
        kernel = call.kernel
        spans: dict[tuple[int, bool], list[Span | None]] = {}
        for share in range(self.shares):
            for buffer, writes, start, stop in self.of_share(call, share):
                empty: list[Span | None] = [None] * self.shares
                spans.setdefault((buffer, writes), empty)[share] = (start, stop)
        for (buffer, writes), elements in spans.items():
            size, root = Type(kernel.buffers[buffer].dtype).nbytes, call.roots[buffer]
            for memory, base, whole, is_exact in self.memories(root):
                bytes = (s and (base + s[0] * size, base + s[1] * size) for s in elements)
                anywhere = (s and whole for s in elements)
                yield Touch(memory, writes, tuple(bytes if is_exact else anywhere))

    def of_share(self, call: Call, share: int) -> Iterator[tuple[int, bool, Size, Size]]:
        """The footprints of one share; of a scratch buffer it has its own part."""
        kernel, division = call.kernel, call.kernel.division
        if division is None:
            if share == 0:
                yield from footprints(kernel)
            return
        assert not isinstance(call.cuts, Evenly)
        low, high = list(pairwise(call.cuts))[share]
        if low == high:
            return
        for buffer, writes, start, stop in footprints(kernel, division.axis, (low, high)):
            own = share_step(kernel.buffers[buffer])
            if own:
                start, stop = share * int(own), (share + 1) * int(own)
            yield buffer, writes, start, stop

    def memories(self, root: Root) -> Iterator[tuple[Hashable, int, Span, bool]]:
        """Each memory that a root may be, where in it the root begins, its extent, and whether that
        is exact: a choice or a slice may begin anywhere, and blocks that take turns may be each
        other."""
        found = set(root.memories())
        if not self.turning.isdisjoint(found):
            found |= {memory for block in self.turning for memory in block.memories()}
        for memory in found:
            in_arena = memory.kind == "arena"
            base = self.arena.offsets[memory] if in_arena else 0
            is_exact = found == {root}
            yield "arena" if in_arena else memory, base, (base, base + int(memory.nbytes)), is_exact


SCRATCH_ALIGNMENT = 64


def scratch_step(size: Size, dtype: str) -> Size:
    """Elements from one share's part of a scratch buffer to the next: whole cache lines."""
    each = SCRATCH_ALIGNMENT // Type(dtype).numpy_dtype.itemsize
    return applied(_whole, size, each)  # type: ignore[no-any-return]


def _whole(size: int, each: int) -> int:
    return -(-max(size, 1) // each) * each


def share_step(buffer: Buffer) -> Size:
    """Elements from what one share has of a buffer to the next share's, 0 if all have the same."""
    if buffer.role == "scratch":
        return scratch_step(buffer.size, buffer.dtype)
    return buffer.size if buffer.role == "partial" else 0


def _meet(a: Touch, b: Touch) -> bool:
    """Whether different shares touch the same bytes, and one of them writes."""
    if a.memory != b.memory or not (a.writes or b.writes):
        return False
    if a.spans == b.spans and _are_apart(a.spans):
        return False
    return any(
        x is not None and y is not None and i != j and x[0] < y[1] and y[0] < x[1]
        for i, x in enumerate(a.spans)
        for j, y in enumerate(b.spans)
    )


def _are_apart(spans: Sequence[Span | None]) -> bool:
    """Whether each span begins where the ones before it have ended."""
    used = [span for span in spans if span is not None]
    return all(a[1] <= b[0] for a, b in pairwise(used))
