"""What one thread reads, computes and writes, at the current values of the loop indices."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from graphc.runtime.cuda.emit.approximations import scalar_row
from graphc.runtime.cuda.emit.simt import together
from graphc.runtime.cuda.plan.device_kernel import VECTOR_BYTES
from graphc.runtime.cuda.plan.whole import whole, wholes
from graphc.runtime.kernel import (
    Access,
    AddAt,
    Compute,
    Kernel,
    Load,
    Operand,
    Statement,
)
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.elements import memory_elem
from graphc.runtime.llvm.math import SCALARS
from graphc.runtime.llvm.math._lanes import is_float
from graphc.runtime.llvm.operands import operand_of, operands_of
from graphc.runtime.llvm.registers import BITS, Reg, constant, lane_constants, type_name

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


class ElementEmitter:
    """Emits what concerns single elements, or short vectors of them, for one thread.

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

    # ---- values ----------------------------------------------------------------------------------

    def operand(self, operand: Operand) -> Reg:
        return operand_of(self.values, operand)

    def compute(self, statement: Compute) -> Reg:
        ins = operands_of(self.f, self.values, statement.ins)
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
        pointer = self.readable(access, pointer, guard)
        if guard is not None and lanes > self.kernel.buffers[access.buffer].size:
            return self.as_value(self._each_lane(access, pointer, 1, None, guard), dtype)
        align = self.alignment(access, lanes) if steps is None and guard is None else 1
        return self.as_value(self.load_vector(pointer, elem, lanes, align), dtype)

    def steps(self, statement: Load | AddAt) -> Reg:
        """How many elements from its access the element is at the computed position."""
        assert statement.position is not None
        index = self.operand(statement.position)
        return self.f.mul(index, self.f.const(whole(statement.step), index))

    def readable(self, access: Access, pointer: Reg, guard: Reg | None) -> Reg:
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
        steps = enumerate(access.strides)
        return (whole(step) for axis, step in steps if step and axis != self.vector_axis)

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
