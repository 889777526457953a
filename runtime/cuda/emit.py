"""From the kernel IR to what one thread runs: statements one after the other.

Values along the vector axis are short vectors, where a thread takes several neighbouring elements.
`emit_team.py` builds on this for threads that work together.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from graphc import errors
from graphc.dims import Size
from graphc.ir import Lit
from graphc.runtime.cuda.approximations import scalar_row
from graphc.runtime.cuda.branches import only_if
from graphc.runtime.cuda.device_kernel import VECTOR_BYTES
from graphc.runtime.cuda.simt import together
from graphc.runtime.cuda.whole import whole, wholes
from graphc.runtime.kernel import (
    Access,
    AddAt,
    Blocks,
    Compute,
    Index,
    Kernel,
    Load,
    Loop,
    Native,
    Operand,
    Product,
    Statement,
    Store,
    Transpose,
    accesses,
)
from graphc.runtime.llvm.builder import BITS, Function, Reg, constant, lane_constants, type_name
from graphc.runtime.llvm.emit import COMBINE, identity, memory_elem
from graphc.runtime.llvm.math import ELEMS, SCALARS
from graphc.runtime.llvm.math._lanes import is_float
from graphc.runtime.llvm.math.narrow import load_wide
from graphc.runtime.llvm.routines import call_routine
from graphc.runtime.llvm.routines.lapack import NAMES as LIBRARY_ROUTINES

I64 = "i64"


class Target(NamedTuple):
    """The computed positions that a thread adds at: what it computes of the others is left out."""

    position: int
    """The number of the value that is the position."""
    low: Reg
    high: Reg

    def is_made_by(self, statement: Statement) -> bool:
        return isinstance(statement, Compute) and statement.out.number == self.position

    def holds(self, f: Function, values: Mapping[int, Reg]) -> Reg:
        position = values[self.position]
        above = f.icmp("sge", position, self.low)
        return f.and_(above, f.icmp("slt", position, self.high))


class ThreadEmitter:
    """Emits statements for one thread, at the current values of the loop indices.

    `bases` is where each buffer begins for this thread; `alignments` says of how many bytes that is
    a multiple.  Loops over `fixed` axes have one turn, at the index that the thread was given;
    loops over the axes of `ranges` run over a part of it that is not empty.  With `adds_at_once`
    other threads may add at the same position at the same time.
    """

    def __init__(self, f: Function, kernel: Kernel, bases: list[Reg], alignments: Sequence[int]):
        self.f = f
        self.kernel = kernel
        self.bases = bases
        self.alignments = alignments
        self.sizes = list(wholes(kernel.domain))  # of the axes; inside of blocks, of one block
        self.values: dict[int, Reg] = {}
        self.indices: dict[int, Reg] = {}
        self.in_block: dict[int, Reg] = {}
        self.block_axes: dict[int, frozenset[int]] = {}
        self.lanes = 1
        self.vector_axis: int | None = None
        self.ranges: dict[int, tuple[Reg, Reg]] = {}
        self.fixed: frozenset[int] = frozenset()
        self.pitches: Mapping[int, int] = {}
        self.target: Target | None = None
        self.adds_at_once = False

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

    # ---- values ----------------------------------------------------------------------------------

    def operand(self, operand: Operand) -> Reg:
        if isinstance(operand, Lit):
            return constant(operand.value, ELEMS[operand.type.dtype])
        return self.values[operand.number]

    def compute(self, statement: Compute) -> Reg:
        ins = [self.operand(x) for x in statement.ins]
        lanes = max((x.lanes for x in ins), default=1)
        ins = [self.f.splat(x, lanes) for x in ins]
        elem = ins[0].elem if ins else ""
        row = scalar_row(self.f, statement.op, elem, SCALARS[statement.op])
        return row(self.f, *ins, **dict(statement.attrs))

    def index(self, axis: int) -> Reg:
        if axis != self.vector_axis or self.lanes == 1:
            return self.indices[axis]
        first = self.f.splat(self.indices[axis], self.lanes)
        return self.f.add(first, lane_constants(range(self.lanes), I64))

    # ---- memory ----------------------------------------------------------------------------------

    def elem(self, access: Access) -> str:
        return memory_elem(self.kernel.buffers[access.buffer].dtype)

    def address(self, access: Access) -> Reg:
        """Where the element of an access is, or its first one of a vector."""
        f = self.f
        from_block = self.block_axes.get(access.buffer, frozenset())
        total = f.number(access.offset)
        for axis, stride in enumerate(access.strides):
            index = (self.in_block if axis in from_block else self.indices).get(axis)
            if stride and index is not None:
                step = index if stride == 1 else f.mul(index, f.number(stride))
                total = step if total.text == "0" else f.add(total, step)
        pitch = self.pitches.get(access.buffer)
        if pitch is not None:
            total = f.add(total, f.binary("udiv", total, constant(pitch, I64)))
        return f.offset(self.bases[access.buffer], self.elem(access), total)

    def vector_stride(self, access: Access) -> int:
        return 0 if self.vector_axis is None else whole(access.strides[self.vector_axis])

    def load(self, statement: Load) -> Reg:
        f, access = self.f, statement.access
        dtype = self.kernel.buffers[access.buffer].dtype
        elem, stride = memory_elem(dtype), self.vector_stride(access)
        if not self.kernel.buffers[access.buffer].size:
            return self.as_value(f.const(0, Reg("", elem)), dtype)  # behind a guard: anything
        pointer = self.address(access)
        steps = None if statement.position is None else self.steps(statement)
        guard = None if statement.guard is None else self.operand(statement.guard)
        spread = any(x is not None and x.lanes > 1 for x in (steps, guard))
        if self.lanes > 1 and (spread or stride not in (0, 1)):
            return self.as_value(self._each_lane(access, pointer, stride, steps, guard), dtype)
        if steps is not None:
            pointer = f.offset(pointer, elem, steps)
        lanes = self.lanes if stride else 1
        pointer = self.readable(access, pointer, guard, lanes)
        if guard is not None and lanes > self.kernel.buffers[access.buffer].size:
            return self.as_value(self._each_lane(access, pointer, 1, None, guard), dtype)
        align = self.alignment(access, lanes) if steps is None and guard is None else 1
        return self.as_value(self.load_vector(pointer, elem, lanes, align), dtype)

    def steps(self, statement: Load | AddAt) -> Reg:
        """How many elements from its access the element is at the computed position."""
        assert statement.position is not None
        index = self.operand(statement.position)
        return self.f.mul(index, self.f.const(whole(statement.step), index))

    def readable(self, access: Access, pointer: Reg, guard: Reg | None, lanes: int = 1) -> Reg:
        """`pointer` where the guard holds, elsewhere the start of the buffer."""
        return (
            pointer if guard is None else self.f.select(guard, pointer, self.bases[access.buffer])
        )

    def _each_lane(
        self, access: Access, pointer: Reg, stride: int, steps: Reg | None, guard: Reg | None
    ) -> Reg:
        """A vector whose elements are loaded one by one."""
        f, elem = self.f, self.elem(access)
        parts = []
        for lane in range(self.lanes):
            at = f.offset(pointer, elem, constant(lane * stride, I64))
            if steps is not None:
                at = f.offset(at, elem, f.extract(steps, lane))
            held = None if guard is None else f.extract(guard, lane)
            parts.append(f.load(self.readable(access, at, held), elem))
        return together(f, parts)

    def alignment(self, access: Access, lanes: int) -> int:
        """Of how many bytes the address of a vector is a multiple: of its elements at least."""
        size = BITS[self.elem(access)] // 8
        elements = math.gcd(whole(access.offset), *self._steps_of(access), lanes)
        return math.gcd(elements * size, self.alignments[access.buffer], VECTOR_BYTES) or size

    def _steps_of(self, access: Access) -> Iterator[int]:
        return (whole(s) for axis, s in enumerate(access.strides) if axis != self.vector_axis)

    def load_vector(self, pointer: Reg, elem: str, lanes: int, align: int) -> Reg:
        align = max(align, BITS[elem] // 8)
        kind = type_name(elem, lanes)
        return self.f.let(f"load {kind}, ptr {pointer.text}, align {align}", elem, lanes)

    def as_value(self, raw: Reg, dtype: str) -> Reg:
        return self.f.icmp("ne", raw, self.f.const(0, raw)) if dtype == "bool" else raw

    def as_memory(self, value: Reg, dtype: str) -> Reg:
        return self.f.convert("zext", value, "i8") if dtype == "bool" else value

    def store(self, pointer: Reg, access: Access, value: Reg) -> None:
        f, dtype = self.f, self.kernel.buffers[access.buffer].dtype
        stride = self.vector_stride(access)
        if self.lanes == 1 or stride == 0:
            f.store(self.as_memory(f.extract(value, 0), dtype), pointer)
            return
        raw = self.as_memory(f.splat(value, self.lanes), dtype)
        if stride == 1:
            align = max(self.alignment(access, self.lanes), BITS[raw.elem] // 8)
            f.line(f"store {raw.typed}, ptr {pointer.text}, align {align}")
            return
        for lane in range(self.lanes):
            at = f.offset(pointer, raw.elem, constant(lane * stride, I64))
            f.store(f.extract(raw, lane), at)

    def add_at(self, statement: AddAt) -> None:
        """Read, add, write, or write alone, lane after lane."""
        f, access = self.f, statement.access
        dtype, elem = self.kernel.buffers[access.buffer].dtype, self.elem(access)
        value, steps = self.operand(statement.value), self.steps(statement)
        base, stride = self.address(access), self.vector_stride(access)
        for lane in range(self.lanes):
            at = f.offset(base, elem, constant(lane * stride, I64))
            at = f.offset(at, elem, f.extract(steps, lane))
            part = f.extract(value, lane)
            if self.adds_at_once:
                verb = "fadd" if is_float(part) else "add"
                f.let(f"atomicrmw {verb} ptr {at.text}, {part.typed} monotonic", part.elem)
                continue
            if not statement.replaces:
                part = SCALARS["add"](f, self.as_value(f.load(at, elem), dtype), part)
            f.store(self.as_memory(part, dtype), at)

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
        if statement.routine in LIBRARY_ROUTINES:
            raise errors.DeviceOperationError(
                f"{statement.routine}: decompositions of matrices are calls of LAPACK, which does"
                " not run on a device; compute this part with target='cpu'"
            )
        places = [self.argument(a) for a in statement.arguments]
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
