"""Loops of a kernel: in vectors with masked ends, in parts between edges, in shares and blocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from graphc.dims import Dim, Size
from graphc.ir import FLOATS
from graphc.runtime.kernel import (
    Access,
    Accumulator,
    Blocks,
    Compute,
    Load,
    Loop,
    Statement,
    Store,
    accesses,
)
from graphc.runtime.llvm.edges import Line, Range, edges, pieces
from graphc.runtime.llvm.interleaved import groups
from graphc.runtime.llvm.kernel_values import ValueEmitter
from graphc.runtime.llvm.math import ELEMS, SCALARS
from graphc.runtime.llvm.registers import Reg, constant, lane_constants
from graphc.runtime.reductions import COMBINE, INFINITY, identity
from graphc.runtime.sizes import large, least, same

BLOCK = 64
"""Steps of a long sum before its part is added to the whole: half of them round the last bit."""

SPLIT_STEPS = 4
"""Steps of a vector loop from which on it is divided at the edges of its conditions."""

LONG_PART = 8
"""Rows between two edges from which on they have code of their own."""

MOST_EDGES = 6
"""More than these, and the code of all the parts would cost more than it saves."""

LOW, HIGH = Reg("%low", "i64"), Reg("%high", "i64")
"""The range of a share along the axis that a kernel is divided along."""


class LoopEmitter(ValueEmitter):
    """Emits loops around statements, which a subclass knows."""

    def statement(self, statement: Statement) -> None:
        raise NotImplementedError

    def block(self, statements: Sequence[Statement]) -> None:
        axis = self.vector_axis
        self.groups = {
            kind: {} if axis is None else groups(statements, kind, axis) for kind in (Load, Store)
        }
        self.parts = {}
        for statement in statements:
            answer = None if self.line is None else self.line.learn(statement)
            if answer is not None and isinstance(statement, Compute):
                self.values[statement.out.number] = constant(answer, "i1")
            else:
                self.statement(statement)

    @contextmanager
    def bound(self, axis: int, index: Reg, inside: Iterable[Access]) -> Iterator[None]:
        """Inside, `axis` has the given index and the pointers of `inside` are advanced to it.

        Where the axis has an index already, that of a block or tile, this one counts from there.
        """
        pointers, indices = self.pointers, self.indices
        known = indices.get(axis)
        total = index if known is None else self.f.add(known, index)
        self.pointers, self.indices = dict(pointers), {**indices, axis: total}
        for access in dict.fromkeys(inside):
            stride = access.strides[axis]
            if stride:
                steps = index if stride == 1 else self.f.mul(index, self.f.number(stride))
                self.pointers[access] = self._advance(access, pointers[access], steps)
        yield
        self.pointers, self.indices = pointers, indices

    @contextmanager
    def vectors(self, axis: int, mask: Reg | None) -> Iterator[None]:
        """Inside, values along `axis` are vectors."""
        saved = self.lanes, self.vector_axis, self.mask
        self.lanes, self.vector_axis, self.mask = self.width, axis, mask
        yield
        self.lanes, self.vector_axis, self.mask = saved

    def loop(self, loop: Loop) -> None:
        totals = self.start(loop)
        self.ahead = self.rows_ahead.get(id(loop), {})
        totals = self.unless_empty(loop, totals)
        self.ahead = {}
        across = loop.vector and bool(loop.accumulators)
        for accumulator, total in zip(loop.accumulators, totals, strict=True):
            value = self.across_lanes(accumulator.combine, total) if across else total
            self.values[accumulator.out.number] = value

    def start(self, loop: Loop) -> list[Reg]:
        lanes = self.width if loop.vector else self.lanes
        return [
            constant(identity(a.combine, a.out.dtype), ELEMS[a.out.dtype], lanes)
            for a in loop.accumulators
        ]

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
            self.block(loop.body)
            return [
                self.combined(a, total) for a, total in zip(loop.accumulators, totals, strict=True)
            ]
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

    def combined(self, accumulator: Accumulator, total: Reg) -> Reg:
        value = self.f.splat(self.operand(accumulator.value), total.lanes)
        # A maximum looks whether its first operand is NaN: the next total need not wait for that.
        result = SCALARS[COMBINE[accumulator.combine]](self.f, value, total)
        reduces_lanes = self.mask is not None and self.masks_totals
        return self.f.select(self.mask, result, total) if reduces_lanes else result  # type: ignore[arg-type]

    masks_totals = False
    """Whether lanes outside of the mask must stay out of the accumulators."""

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

    def unrolled(
        self,
        loop: Loop,
        axis: int,
        totals: list[Reg],
        ends: tuple[Reg, Reg],
        length: Size,
        unroll: int,
    ) -> list[Reg]:
        """Full vectors, `unroll` at a time, each with accumulators of its own.

        A long sum is made of sums of `BLOCK` vectors, which are added up with the error of each
        addition carried along: it stays as exact as a short one.  `ends` are at most `length`
        apart.
        """
        start, stop = ends
        step = BLOCK * unroll * self.width
        sums = [a.combine == "sum" and a.out.dtype in FLOATS for a in loop.accumulators]
        is_short = not isinstance(length, Dim) and length <= step
        if not any(sums) or is_short:
            return self.run_of_vectors(loop, axis, totals, start, stop, unroll)
        count = len(totals)
        lost = [self.f.const(0, total) for total in totals]
        with self.f.loop(start, stop, step, [*totals, *lost]) as state:
            ahead = self.f.add(state.index, constant(step, "i64"))
            inside = self.f.icmp("slt", ahead, stop)
            end = self.f.select(inside, ahead, stop)
            block = self.run_of_vectors(loop, axis, self.start(loop), state.index, end, unroll)
            following, errors = [], []
            for i, (a, part) in enumerate(zip(loop.accumulators, block, strict=True)):
                total, error = state.carried[i], state.carried[count + i]
                if sums[i]:
                    total, error = self.add_exactly(total, part, error)
                else:
                    total = SCALARS[COMBINE[a.combine]](self.f, total, part)
                following.append(total)
                errors.append(error)
            state.next = [*following, *errors]
        return [
            self.f.fadd(total, state.results[count + i]) if sums[i] else total
            for i, total in enumerate(state.results[:count])
        ]

    def add_exactly(self, total: Reg, part: Reg, error: Reg) -> tuple[Reg, Reg]:
        """total + part, and `error` plus what its rounding lost (Knuth's two-sum)."""
        f = self.f
        flags, f.flags = f.flags, ""  # fast-math would cancel the terms against each other
        rounded = f.fadd(total, part)
        shown = f.fsub(rounded, total)
        lost = f.fadd(f.fsub(total, f.fsub(rounded, shown)), f.fsub(part, shown))
        # Infinities and NaN have no rounding error; their difference would be NaN.
        finite = f.fcmp("one", f.intrinsic("fabs", rounded), f.const(INFINITY, rounded))
        error = f.fadd(error, f.select(finite, lost, f.const(0, lost)))
        f.flags = flags
        return rounded, error

    def run_of_vectors(
        self, loop: Loop, axis: int, totals: list[Reg], start: Reg, stop: Reg, unroll: int
    ) -> list[Reg]:
        """Full vectors from `start` to `stop`, a whole number of times `unroll` of them."""
        fresh = self.start(loop)
        carried = [*totals, *(fresh * (unroll - 1))]
        count = len(totals)
        with self.f.loop(start, stop, unroll * self.width, carried) as state:
            following = []
            for i in range(unroll):
                at = state.index
                if i:
                    at = self.f.add(at, constant(i * self.width, "i64"))
                part = state.carried[i * count : (i + 1) * count]
                following += self.one_vector(loop, axis, part, at, None)
            state.next = following
        results = state.results[:count]
        for i in range(1, unroll):
            part = state.results[i * count : (i + 1) * count]
            results = [
                SCALARS[COMBINE[a.combine]](self.f, x, y)
                for a, x, y in zip(loop.accumulators, results, part, strict=True)
            ]
        return results

    def masked_rest(
        self, loop: Loop, axis: int, totals: list[Reg], part: tuple[Reg, Reg]
    ) -> list[Reg]:
        """The vectors after the unrolled part, the last of them partly masked."""
        start, stop = part
        with self.f.loop(start, stop, self.width, totals) as state:
            mask = self.lanes_below(self.f.sub(stop, state.index))
            state.next = self.one_vector(loop, axis, state.carried, state.index, mask)
        return state.results

    def lanes_below(self, count: Reg) -> Reg:
        """The mask of the lanes with a number less than `count`."""
        numbers = lane_constants(range(self.width), "i32")
        narrow = self.f.convert("trunc", count, "i32")
        return self.f.icmp("slt", numbers, self.f.splat(narrow, self.width))

    def one_vector(
        self, loop: Loop, axis: int, totals: list[Reg], index: Reg, mask: Reg | None
    ) -> list[Reg]:
        with self.bound(axis, index, accesses(loop.body)), self.vectors(axis, mask):
            return self.nested(loop, (), totals)

    def across_lanes(self, combine: str, total: Reg) -> Reg:
        """The lanes of a vector combined into one value, half onto half."""
        while total.lanes > 1:
            low, high = (self.f.half(total, part) for part in (0, 1))
            total = SCALARS[COMBINE[combine]](self.f, low, high)
        return total

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
