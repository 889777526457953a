"""Loops of a kernel: around others and in vectors, in parts between edges, in shares and blocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from graphc.dims import Dim
from graphc.runtime.kernel import (
    Blocks,
    Loop,
    accesses,
)
from graphc.runtime.llvm.edges import Line, Range, edges, pieces
from graphc.runtime.llvm.kernel_vectors import VectorEmitter
from graphc.runtime.llvm.registers import Reg, constant, lane_constants
from graphc.runtime.sizes import large, least, same

SPLIT_STEPS = 4
"""Steps of a vector loop from which on it is divided at the edges of its conditions."""

LONG_PART = 8
"""Rows between two edges from which on they have code of their own."""

MOST_EDGES = 6
"""More than these, and the code of all the parts would cost more than it saves."""

LOW, HIGH = Reg("%low", "i64"), Reg("%high", "i64")
"""The range of a share along the axis that a kernel is divided along."""


class LoopEmitter(VectorEmitter):
    """Emits loops around what `VectorEmitter` emits."""

    def loop(self, loop: Loop) -> None:
        totals = self.start(loop)
        self.ahead = self.rows_ahead.get(id(loop), {})
        totals = self.unless_empty(loop, totals)
        self.ahead = {}
        across = loop.vector and bool(loop.accumulators)
        for accumulator, total in zip(loop.accumulators, totals, strict=True):
            value = self.across_lanes(accumulator.combine, total) if across else total
            self.values[accumulator.out.number] = value

    def unless_empty(self, loop: Loop, totals: list[Reg]) -> list[Reg]:
        """The loops, over axes that have elements; what is not known of a size is asked there."""
        sizes = [self.sizes[axis] for axis in loop.axes]
        if any(same(size, 0) for size in sizes):
            return totals
        some = None
        for size in sizes:
            if least(size) < 1:
                has = self.f.icmp("sgt", self.f.number(size), constant(0, "i64"))
                some = has if some is None else self.f.and_(some, has)
        if some is None:
            return self.nested(loop, loop.axes, totals)
        return self.f.carried_if(some, totals, lambda: self.nested(loop, loop.axes, totals))

    def nested(self, loop: Loop, axes: Sequence[int], totals: list[Reg]) -> list[Reg]:
        """Loops over `axes` around the body of `loop`; the accumulators after them."""
        if not axes:
            return self.innermost(loop, totals)
        axis, rest = axes[0], axes[1:]
        if loop.vector and not rest:
            return self.vector_loop(loop, axis, totals)
        for part in self.row_parts(loop, axis):
            totals = self.rows(loop, axes, part, totals)
        return totals

    def rows(
        self, loop: Loop, axes: Sequence[int], part: Range | None, totals: list[Reg]
    ) -> list[Reg]:
        """The outermost of some loops over a part of its indices, or over all of them."""
        axis, rest = axes[0], axes[1:]
        inside = list(accesses(loop.body))
        low, high = self.range_of(axis)

        def run() -> list[Reg]:
            with self.f.loop(low, high, 1, totals) as state, self.bound(axis, state.index, inside):
                state.next = self.nested(loop, rest, state.carried)
            return state.results

        if part is None and axis == self.divided_axis and isinstance(self.sizes[axis], Dim):
            return self.f.carried_if(self.f.icmp("slt", low, high), totals, run)
        if part is None:
            return run()
        is_long = part[1] - part[0] >= LONG_PART
        with self.between(axis, part) if is_long else self.unsplit():
            if axis != self.divided_axis:
                low, high = constant(part[0], "i64"), constant(part[1], "i64")
                return run()
            low = self.f.intrinsic("smax", low, constant(part[0], "i64"))
            high = self.f.intrinsic("smin", high, constant(part[1], "i64"))
            return self.f.carried_if(self.f.icmp("slt", low, high), totals, run)

    def row_parts(self, loop: Loop, axis: int) -> tuple[Range | None, ...]:
        """A loop around others in pieces between the edges of conditions on its index."""
        size = self.sizes[axis]
        if isinstance(size, Dim) or size < LONG_PART:
            return (None,)
        found = self.edges_along(loop, axis, size)
        return pieces(size, found, 1) if 0 < len(found) <= MOST_EDGES // 2 else (None,)

    def edges_along(self, loop: Loop, axis: int, size: int) -> tuple[int, ...]:
        """Where conditions on the index change their answers; nowhere within a block, whose
        indices count from its start."""
        if not self.splits or axis in self.indices:
            return ()
        return edges(loop.body, axis, size)

    def range_of(self, axis: int) -> tuple[Reg, Reg]:
        """The indices along an axis that this kernel, or this share of it, runs over."""
        if axis == self.divided_axis:
            return LOW, HIGH
        return constant(0, "i64"), self.f.number(self.sizes[axis])

    def vector_loop(self, loop: Loop, axis: int, totals: list[Reg]) -> list[Reg]:
        size, width = self.sizes[axis], self.width
        unroll = self.unroll if loop.accumulators and large(size) >= 2 * self.unroll * width else 1
        step = unroll * width
        if isinstance(size, Dim):
            return self.range_in_vectors(loop, axis, totals, unroll, self.range_of(axis))
        parts = self.vector_parts(loop, axis, step)
        if axis == self.divided_axis:
            return self.share_in_parts(loop, axis, totals, unroll, parts)
        main = size // step * step
        for start, stop in (part for part in parts if part[1] <= main):
            ends = constant(start, "i64"), constant(stop, "i64")
            with self.between(axis, (start, stop)):
                totals = self.unrolled(loop, axis, totals, ends, stop - start, unroll)
        rest = size - main
        if not rest:
            return totals
        self.masks_totals = bool(loop.accumulators)
        with self.between(axis, (main, size)):
            if rest < width:
                mask = lane_constants([int(lane < rest) for lane in range(width)], "i1")
                totals = self.one_vector(loop, axis, totals, constant(main, "i64"), mask)
            else:
                ends = constant(main, "i64"), constant(size, "i64")
                totals = self.masked_rest(loop, axis, totals, ends)
        self.masks_totals = False
        return totals

    def vector_parts(self, loop: Loop, axis: int, step: int) -> tuple[Range, ...]:
        """A vector loop in pieces between the edges of its conditions, the last one of what is
        left by whole steps; main and rest alone where there are none, or not worth it."""
        size = int(self.sizes[axis])
        main = size // step * step
        found = self.edges_along(loop, axis, size) if size >= SPLIT_STEPS * step else ()
        found = tuple(edge for edge in found if edge < main) if len(found) <= MOST_EDGES else ()
        whole = pieces(main, found, step) if main else ()
        return (*whole, (main, size)) if main < size else whole

    @contextmanager
    def between(self, axis: int, part: Range) -> Iterator[None]:
        """Inside, the index along `axis` is in `part`, which answers conditions on it."""
        outer = self.line
        if part != (0, self.sizes[axis]):
            self.line = Line({axis: part}, outer)
        yield
        self.line = outer

    @contextmanager
    def unsplit(self) -> Iterator[None]:
        """Inside, no loop is divided at edges: what is there runs a few times alone."""
        self.splits = False
        yield
        self.splits = True

    def share_in_parts(
        self, loop: Loop, axis: int, totals: list[Reg], unroll: int, parts: Sequence[Range]
    ) -> list[Reg]:
        """A share of a vector loop: of each part what lies within the share."""
        f, is_split = self.f, any(stop - start >= self.width for start, stop in parts[1:])
        if not is_split:
            return self.range_in_vectors(loop, axis, totals, unroll, (LOW, HIGH))
        for start, stop in parts:
            low = f.intrinsic("smax", LOW, constant(start, "i64"))
            high = f.intrinsic("smin", HIGH, constant(stop, "i64"))
            before = totals

            def run(ends: tuple[Reg, Reg] = (low, high), before: list[Reg] = before) -> list[Reg]:
                return self.range_in_vectors(loop, axis, before, unroll, ends)

            with self.between(axis, (start, stop)):
                totals = self.f.carried_if(f.icmp("slt", low, high), totals, run)
        return totals

    def range_in_vectors(
        self, loop: Loop, axis: int, totals: list[Reg], unroll: int, ends: tuple[Reg, Reg]
    ) -> list[Reg]:
        """A vector loop over a range that is known when it runs, of a share or a size that has a
        name: as many full vectors as there are, and a masked rest."""
        f, step = self.f, constant(unroll * self.width, "i64")
        low, high = ends
        length = f.sub(high, low)
        full = f.sub(length, f.binary("urem", length, step))
        stop = f.add(low, full)
        most = self.kernel.domain[axis]

        def main() -> list[Reg]:
            return self.unrolled(loop, axis, totals, (low, stop), most, unroll)

        totals = self.f.carried_if(f.icmp("slt", low, stop), totals, main)
        self.masks_totals = bool(loop.accumulators)
        before = totals

        def rest() -> list[Reg]:
            return self.masked_rest(loop, axis, before, (stop, high))

        totals = self.f.carried_if(f.icmp("slt", stop, high), totals, rest)
        self.masks_totals = False
        return totals

    def blocks(self, blocks: Blocks) -> None:
        """One block after the other; scratch memory of its own is counted from its start."""
        axis, size, whole = blocks.axis, blocks.size, self.sizes[blocks.axis]
        if same(size, whole) and axis != self.divided_axis:
            self.block(blocks.body)
            return
        local = self.scratch_of(blocks)
        outside = [a for a in accesses(blocks.body) if a.buffer not in local]
        low, high = self.range_of(axis)
        last = self.f.sub(high, self.f.number(size))
        if axis == self.divided_axis and isinstance(size, Dim):
            # A share may be shorter than a block, which then begins in the share before.
            last = self.f.intrinsic("smax", last, constant(0, "i64"))
        divided, self.sizes[axis] = self.divided_axis, size
        self.divided_axis = None if divided == axis else divided
        with self.f.loop(low, high, self.f.number(size)) as state:
            start = self.f.intrinsic("smin", state.index, last)
            with self.bound(axis, start, outside):
                self.block(blocks.body)
        self.divided_axis, self.sizes[axis] = divided, whole

    def scratch_of(self, blocks: Blocks) -> set[int]:
        """The scratch buffers that nothing outside of the blocks touches."""
        touched = Counter(access.buffer for access in accesses(self.kernel.body))
        inside = Counter(access.buffer for access in accesses(blocks.body))
        scratch = (b for b in inside if self.kernel.buffers[b].role == "scratch")
        return {b for b in scratch if inside[b] == touched[b]}
