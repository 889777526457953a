"""What a loop of a kernel runs: its body at one index, for one vector, for many of them.

Lanes beyond the end are masked.  Several vectors at a time have accumulators of their own, and
long sums are made of short ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from graphc.dims import Dim, Size
from graphc.ir import FLOATS
from graphc.runtime.kernel import (
    Access,
    Accumulator,
    Compute,
    Load,
    Loop,
    Statement,
    Store,
    accesses,
)
from graphc.runtime.llvm.interleaved import groups
from graphc.runtime.llvm.kernel_values import ValueEmitter
from graphc.runtime.llvm.math import ELEMS, SCALARS
from graphc.runtime.llvm.registers import Reg, constant, lane_constants
from graphc.runtime.reductions import COMBINE, INFINITY, identity

BLOCK = 64
"""Steps of a long sum before its part is added to the whole: half of them round the last bit."""


class VectorEmitter(ValueEmitter):
    """Emits the bodies of loops, of statements which a subclass knows."""

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

    def start(self, loop: Loop) -> list[Reg]:
        lanes = self.width if loop.vector else self.lanes
        return [
            constant(identity(a.combine, a.out.dtype), ELEMS[a.out.dtype], lanes)
            for a in loop.accumulators
        ]

    def innermost(self, loop: Loop, totals: list[Reg]) -> list[Reg]:
        """The body of a loop, once; the accumulators after it."""
        self.block(loop.body)
        return [self.combined(a, total) for a, total in zip(loop.accumulators, totals, strict=True)]

    def combined(self, accumulator: Accumulator, total: Reg) -> Reg:
        value = self.f.splat(self.operand(accumulator.value), total.lanes)
        # A maximum looks whether its first operand is NaN: the next total need not wait for that.
        result = SCALARS[COMBINE[accumulator.combine]](self.f, value, total)
        reduces_lanes = self.mask is not None and self.masks_totals
        return self.f.select(self.mask, result, total) if reduces_lanes else result  # type: ignore[arg-type]

    masks_totals = False
    """Whether lanes outside of the mask must stay out of the accumulators."""

    def one_vector(
        self, loop: Loop, axis: int, totals: list[Reg], index: Reg, mask: Reg | None
    ) -> list[Reg]:
        with self.bound(axis, index, accesses(loop.body)), self.vectors(axis, mask):
            return self.innermost(loop, totals)

    def lanes_below(self, count: Reg) -> Reg:
        """The mask of the lanes with a number less than `count`."""
        numbers = lane_constants(range(self.width), "i32")
        narrow = self.f.convert("trunc", count, "i32")
        return self.f.icmp("slt", numbers, self.f.splat(narrow, self.width))

    def masked_rest(
        self, loop: Loop, axis: int, totals: list[Reg], part: tuple[Reg, Reg]
    ) -> list[Reg]:
        """The vectors after the unrolled part, the last of them partly masked."""
        start, stop = part
        with self.f.loop(start, stop, self.width, totals) as state:
            mask = self.lanes_below(self.f.sub(stop, state.index))
            state.next = self.one_vector(loop, axis, state.carried, state.index, mask)
        return state.results

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

    def across_lanes(self, combine: str, total: Reg) -> Reg:
        """The lanes of a vector combined into one value, half onto half."""
        while total.lanes > 1:
            low, high = (self.f.half(total, part) for part in (0, 1))
            total = SCALARS[COMBINE[combine]](self.f, low, high)
        return total
