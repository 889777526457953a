"""From the kernel IR to what one thread runs: statements, loops and whole operations.

Values along the vector axis are short vectors, where a thread takes several neighbouring elements.
`team_work.py` builds on this for threads that work together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from graphc.dims import Size
from graphc.runtime.cuda.emit.branches import only_if
from graphc.runtime.cuda.emit.elements import I64, ElementEmitter
from graphc.runtime.cuda.emit.matrix import Alone, emit_matrix
from graphc.runtime.cuda.plan.small_matrices import is_small_matrix
from graphc.runtime.cuda.plan.whole import whole
from graphc.runtime.kernel import (
    Access,
    AddAt,
    Blocks,
    Compute,
    Index,
    Load,
    Loop,
    Native,
    Product,
    Statement,
    Store,
    Transpose,
    accesses,
)
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.math import ELEMS, SCALARS
from graphc.runtime.llvm.math.narrow import load_wide
from graphc.runtime.llvm.registers import Reg, constant
from graphc.runtime.llvm.routines import call_routine
from graphc.runtime.reductions import COMBINE, identity


class ThreadEmitter(ElementEmitter):
    """Emits statements for one thread."""

    def block(self, statements: Sequence[Statement]) -> None:
        for i, statement in enumerate(statements):
            self.statement(statement)
            if self.target is not None and self.target.is_made_by(statement):
                with only_if(self.f, self.target.holds(self.f, self.values)):
                    self.block(statements[i + 1 :])
                return

    def statement(self, statement: Statement) -> None:
        match statement:
            case Load():
                self.values[statement.out.number] = self.load(statement)
            case Compute():
                self.values[statement.out.number] = self.compute(statement)
            case Index(out, axis):
                self.values[out.number] = self.index(axis)
            case Store(access, value):
                self.store(self.address(access), access, self.operand(value))
            case AddAt():
                self.add_at(statement)
            case _:
                self.compound(statement)

    def compound(self, statement: Statement) -> None:
        match statement:
            case Loop():
                self.loop(statement)
            case Blocks():
                self.blocks(statement)
            case Product():
                self.product(statement)
            case Transpose():
                self.transpose(statement)
            case Native():
                self.routine(statement)

    # ---- loops -----------------------------------------------------------------------------------

    @contextmanager
    def bound(self, axis: int, index: Reg) -> Iterator[None]:
        """Inside, `axis` has the given index, counted from that of a block where there is one."""
        saved, inner = self.indices, self.in_block
        known = saved.get(axis)
        total = index if known is None else self.f.add(known, index)
        self.indices = {**saved, axis: total}
        self.in_block = {**inner, axis: index}
        yield
        self.indices, self.in_block = saved, inner

    def loop(self, loop: Loop) -> None:
        """Every index of the loop, by this thread alone."""
        totals = self.start(loop)
        axes = [axis for axis in loop.axes if axis not in self.fixed]
        if all(self.sizes[axis] for axis in axes):
            totals = self.nested(loop, axes, totals)
        self.finish(loop, totals)

    def start(self, loop: Loop) -> list[Reg]:
        return [
            constant(identity(a.combine, a.out.dtype), ELEMS[a.out.dtype], self.lanes)
            for a in loop.accumulators
        ]

    def finish(self, loop: Loop, totals: Sequence[Reg]) -> None:
        for accumulator, total in zip(loop.accumulators, totals, strict=True):
            self.values[accumulator.out.number] = total

    def nested(self, loop: Loop, axes: Sequence[int], totals: list[Reg]) -> list[Reg]:
        """Loops over `axes` around the body of `loop`; the accumulators after them."""
        if not axes:
            self.body_of(loop)
            return self.combined(loop, totals)
        axis, f = axes[0], self.f
        low, high = self.ranges.get(axis, (constant(0, I64), constant(self.sizes[axis], I64)))
        with f.loop(low, high, 1, totals) as state, self.bound(axis, state.index):
            state.next = self.nested(loop, axes[1:], state.carried)
        return state.results

    def body_of(self, loop: Loop | Blocks) -> None:
        self.block(loop.body)

    def combined(self, loop: Loop, totals: Sequence[Reg]) -> list[Reg]:
        """The accumulators with the values of this iteration."""
        results = []
        for accumulator, total in zip(loop.accumulators, totals, strict=True):
            value = self.f.splat(self.operand(accumulator.value), total.lanes)
            results.append(SCALARS[COMBINE[accumulator.combine]](self.f, total, value))
        return results

    def blocks(self, blocks: Blocks) -> None:
        """One block after the other."""
        count = -(-self.sizes[blocks.axis] // whole(blocks.size))
        if not count:
            return
        with (
            self.f.loop(constant(0, I64), constant(count, I64), 1) as state,
            self.block_at(blocks, state.index),
        ):
            self.body_of(blocks)

    @contextmanager
    def block_at(self, blocks: Blocks, number: Reg) -> Iterator[None]:
        """Inside, `axis` runs over the block of this number alone; the last one begins early."""
        f, axis, size = self.f, blocks.axis, whole(blocks.size)
        full = self.sizes[axis]
        start = f.mul(number, constant(size, I64))
        start = f.intrinsic("smin", start, constant(full - size, I64))
        saved = self.indices, self.in_block, self.block_axes
        self.block_axes = dict(self.block_axes)
        for buffer in self.scratch_of(blocks):
            self.block_axes[buffer] = self.block_axes.get(buffer, frozenset()) | {axis}
        with self.bound(axis, start):
            self.in_block = {a: i for a, i in self.in_block.items() if a != axis}
            self.sizes[axis] = size
            yield
        self.sizes[axis] = full
        self.indices, self.in_block, self.block_axes = saved

    def scratch_of(self, blocks: Blocks) -> frozenset[int]:
        """The scratch buffers that nothing outside of the blocks touches."""
        touched = Counter(access.buffer for access in accesses(self.kernel.body))
        inside = Counter(access.buffer for access in accesses(blocks.body))
        scratch = (b for b in inside if self.kernel.buffers[b].role == "scratch")
        return frozenset(b for b in scratch if inside[b] == touched[b])

    # ---- whole operations ------------------------------------------------------------------------

    def each(self, axis: int, visit: Callable[[], None]) -> None:
        """`visit` at every index of an axis."""
        size = constant(self.sizes[axis], I64)
        with self.f.loop(constant(0, I64), size, 1) as state, self.bound(axis, state.index):
            visit()

    def transpose(self, statement: Transpose) -> None:
        self.each(statement.row, lambda: self.each(statement.column, lambda: self.moved(statement)))

    def moved(self, statement: Transpose) -> None:
        value = self.f.load(self.address(statement.source), self.elem(statement.source))
        self.f.store(value, self.address(statement.target))

    def product(self, product: Product) -> None:
        """Row by row and column by column."""
        f, stored = self.f, (self.elem(product.left), self.elem(product.right))
        if not product.rows or not product.columns:
            return
        left, right = self.address(product.left), self.address(product.right)
        rows, columns = f.number(product.rows), f.number(product.columns)
        zero = constant(0, I64)
        with f.loop(zero, rows, 1) as row, f.loop(zero, columns, 1) as column:
            a = self.strided(left, stored[0], row.index, whole(product.left_strides[0]))
            b = self.strided(right, stored[1], column.index, whole(product.right_strides[1]))
            total = self.dot(product, a, b)
            with (
                self.bound_if(product.row_axis, row.index),
                self.bound_if(product.column_axis, column.index),
            ):
                self.values[product.out.number] = total
                self.block(product.epilogue)

    def strided(self, pointer: Reg, elem: str, index: Reg, stride: int) -> Reg:
        return self.f.offset(pointer, elem, self.f.mul(index, self.f.number(stride)))

    def dot(self, product: Product, a: Reg, b: Reg) -> Reg:
        """The inner product of a row and a column."""
        f, elem = self.f, ELEMS[product.out.dtype]
        total = constant(0, elem)
        if not product.inner:
            return total
        with f.loop(constant(0, I64), f.number(product.inner), 1, [total]) as state:
            ends = (
                (a, self.elem(product.left), product.left_strides[1]),
                (b, self.elem(product.right), product.right_strides[0]),
            )
            x, y = (
                load_wide(f, self.strided(p, stored, state.index, whole(step)), stored, 1)
                for p, stored, step in ends
            )
            state.next = [multiply_add(f, x, y, state.carried[0])]
        return state.results[0]

    @contextmanager
    def bound_if(self, axis: int | None, index: Reg) -> Iterator[None]:
        """`bound`; nothing for an axis of size 1."""
        if axis is None:
            yield
            return
        with self.bound(axis, index):
            yield

    def routine(self, statement: Native) -> None:
        places = [self.argument(a) for a in statement.arguments]
        if is_small_matrix(statement):
            emit_matrix(self.f, Alone(), statement, places)
            return
        call_routine(self.f, statement.routine, statement.dtype, places)

    def argument(self, argument: Access | Size | str) -> Reg | int | str:
        if isinstance(argument, Access):
            return self.address(argument)
        return argument if isinstance(argument, str) else whole(argument)


def multiply_add(f: Function, x: Reg, y: Reg, total: Reg) -> Reg:
    """x * y + total, of floats with one rounding."""
    if x.elem in ("float", "double"):
        return f.fma(x, y, total)
    return f.add(f.mul(x, y), total)
