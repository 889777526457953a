"""Values inside of a kernel: arithmetic, and reading and writing memory in vectors.

A value that is the same for all lanes stays a scalar until it meets a vector.
"""

from __future__ import annotations

from graphc.dims import Dim, Size
from graphc.runtime.kernel import (
    Access,
    AddAt,
    Compute,
    Kernel,
    Load,
    Operand,
    Store,
)
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.edges import Line
from graphc.runtime.llvm.elements import memory_elem
from graphc.runtime.llvm.interleaved import (
    Group,
    evens,
    put_together,
    taken_apart,
)
from graphc.runtime.llvm.math import ELEMS, SCALARS
from graphc.runtime.llvm.operands import operand_of, operands_of
from graphc.runtime.llvm.prefetch import LINE, rows_ahead
from graphc.runtime.llvm.registers import BITS, Reg, constant, lane_constants, type_name
from graphc.runtime.llvm.target import HostTarget
from graphc.runtime.llvm.widths import lanes_for, lanes_of_register
from graphc.runtime.sizes import least, same

UNROLL = 4
"""Vectors that a reduction adds up side by side, so that additions need not wait for each other."""


class ValueEmitter:
    """The state of emitting one kernel, what is bound at the current point, and values."""

    def __init__(self, f: Function, kernel: Kernel, target: HostTarget):
        self.f = f
        self.kernel = kernel
        self.target = target
        self.width = lanes_for(kernel, target)
        self.unroll = max(1, UNROLL * lanes_of_register(kernel, target) // self.width)
        self.sizes = list(kernel.domain)  # of the axes; inside of blocks, of one block
        self.divided_axis = None if kernel.division is None else kernel.division.axis
        self.values: dict[int, Reg] = {}
        self.pointers: dict[Access, Reg] = {}
        self.indices: dict[int, Reg] = {}
        self.lanes = 1
        self.vector_axis: int | None = None
        self.mask: Reg | None = None
        self.groups: dict[type, dict[Access, Group]] = {Load: {}, Store: {}}
        """Of the statements in hand, the accesses that are made together."""
        self.parts: dict[Access, Reg] = {}
        """What was read together with other vectors, or waits to be written with them."""
        self.rows_ahead = rows_ahead(kernel)
        self.ahead: dict[Access, Size] = {}
        self.line: Line | None = None
        """What the range of the indices says of conditions, between the edges of a loop."""
        self.splits = True

    # ---- values ----------------------------------------------------------------------------------

    def operand(self, operand: Operand) -> Reg:
        return operand_of(self.values, operand)

    def known(self, condition: Operand | None) -> bool | None:
        """The answer of a condition, where it is one for all indices of this part of a loop."""
        return None if self.line is None else self.line.known(condition)

    def compute(self, statement: Compute) -> Reg:
        if statement.op == "where" and (answer := self.known(statement.ins[0])) is not None:
            return self.operand(statement.ins[1 if answer else 2])
        ins = operands_of(self.f, self.values, statement.ins)
        return SCALARS[statement.op](self.f, *ins, **dict(statement.attrs))

    def index(self, axis: int) -> Reg:
        if axis != self.vector_axis:
            return self.indices[axis]
        return self.f.add(self.f.splat(self.indices[axis], self.lanes), self.lane_numbers())

    def lane_numbers(self) -> Reg:
        return lane_constants(range(self.lanes), "i64")

    # ---- memory ----------------------------------------------------------------------------------

    def _advance(self, access: Access, pointer: Reg, elements: Reg) -> Reg:
        elem = memory_elem(self.kernel.buffers[access.buffer].dtype)
        return self.f.offset(pointer, elem, elements)

    def _vector_stride(self, access: Access) -> Size:
        return 0 if self.vector_axis is None else access.strides[self.vector_axis]

    def load(self, statement: Load) -> Reg:
        access = statement.access
        dtype = self.kernel.buffers[access.buffer].dtype
        elem = memory_elem(dtype)
        holds = self.known(statement.guard)
        if holds is False:
            return constant(0, ELEMS[dtype])  # read by nobody
        pointer = self.pointers[access]
        stride = self._vector_stride(access)
        is_guarded = statement.guard is not None and holds is None
        guard = self.operand(statement.guard) if is_guarded else None  # type: ignore[arg-type]
        steps = constant(0, "i64")
        if statement.position is not None:
            index = self.operand(statement.position)
            steps = self.f.mul(index, self.f.splat(self.f.number(statement.step), index.lanes))
            if steps.lanes == 1:
                pointer, steps = self.f.offset(pointer, elem, steps), constant(0, "i64")
        is_same = same(stride, 0) and (guard is None or guard.lanes == 1)
        is_whole = guard is None and self.mask is None and statement.position is None
        group = self.groups[Load].get(access, ())
        if self.lanes > 1 and is_whole and group:
            raw = self._taken_apart(access, group, elem)
        elif self.lanes > 1 and is_whole and same(stride, 2):
            raw = self._second_elements(access, elem)
        elif self.lanes > 1 and (steps.lanes > 1 or not (is_same or same(stride, 1))):
            raw = self._gather(pointer, elem, steps, stride, guard)
        elif self.lanes == 1 or same(stride, 0):
            raw = self.f.load(self._readable(access, pointer, guard), elem)
        elif guard is not None or self.mask is not None:
            if guard is not None and guard.lanes == 1:
                pointer = self._readable(access, pointer, guard)
                is_short = least(self.kernel.buffers[access.buffer].size) < self.lanes
                guard = guard if is_short else None
            mask = self._lanes_where(guard)
            raw = self.f.masked_load(pointer, elem, self.lanes, mask)
        else:
            raw = self.f.load(pointer, elem, self.lanes)
            self.prefetch(access, pointer, elem)
        return self._as_value(raw, dtype)

    def _second_elements(self, access: Access, elem: str) -> Reg:
        """Every second element, of two stretches of memory."""
        lanes, pointer = self.lanes, self.pointers[access]
        rest = self.f.offset(pointer, elem, constant(lanes - 1, "i64"))
        first, second = (self.f.load(p, elem, lanes) for p in (pointer, rest))
        return self.f.shuffle(first, second, evens(lanes))

    def _taken_apart(self, access: Access, group: Group, elem: str) -> Reg:
        """The values of one of a group of accesses, which are read together."""
        if access not in self.parts:
            vectors = [self.f.load(p, elem, self.lanes) for p in self._stretch(group, elem)]
            self.parts.update(zip(group, taken_apart(self.f, vectors), strict=True))
        return self.parts.pop(access)

    def _stretch(self, group: Group, elem: str) -> list[Reg]:
        """The addresses of vectors that follow each other in memory."""
        first = self.pointers[group[0]]
        steps = (constant(i * self.lanes, "i64") for i in range(len(group)))
        return [self.f.offset(first, elem, step) for step in steps]

    def prefetch(self, access: Access, pointer: Reg, elem: str) -> None:
        """Ask for what this access reads in the next row, where that is worth it."""
        if access in self.ahead:
            for lane in range(0, self.lanes, 8 * LINE // BITS[elem]):
                index = self.f.number(self.ahead[access] + lane)
                self.f.prefetch(self.f.offset(pointer, elem, index))

    def _readable(self, access: Access, pointer: Reg, guard: Reg | None) -> Reg:
        """`pointer` where the guard holds, elsewhere memory of the buffer: a masked load of pages
        that do not exist takes a hundred times as long as any other."""
        if guard is None:
            return pointer
        return self.f.select(guard, pointer, self.f.parameters[access.buffer])

    def _lanes_where(self, guard: Reg | None) -> Reg:
        """The lanes that are on, and in which the guard holds."""
        if guard is None:
            return self._all_lanes()
        held = self.f.splat(guard, self.lanes)
        return held if self.mask is None else self.f.and_(self.mask, held)

    def _as_value(self, raw: Reg, dtype: str) -> Reg:
        return self.f.icmp("ne", raw, self.f.const(0, raw)) if dtype == "bool" else raw

    def _addresses(self, pointer: Reg, elem: str, steps: Reg, stride: Size) -> Reg:
        """One address for each lane: `steps` elements, and `stride` more from lane to lane."""
        lanes = self.lanes
        if isinstance(stride, Dim):
            each = self.f.splat(self.f.number(stride), lanes)
            along = self.f.mul(each, lane_constants(range(lanes), "i64"))
        else:
            along = lane_constants([lane * stride for lane in range(lanes)], "i64")
        offsets = self.f.add(self.f.splat(steps, lanes), along)
        text = f"getelementptr {type_name(elem)}, ptr {pointer.text}, {offsets.typed}"
        return self.f.let(text, "ptr", lanes)

    def _all_lanes(self) -> Reg:
        return self.mask if self.mask is not None else constant(1, "i1", self.lanes)

    def _gather(self, pointer: Reg, elem: str, steps: Reg, stride: Size, guard: Reg | None) -> Reg:
        addresses = self._addresses(pointer, elem, steps, stride)
        return self.f.gather(addresses, elem, self._lanes_where(guard))

    def store(self, access: Access, value: Reg) -> None:
        dtype = self.kernel.buffers[access.buffer].dtype
        pointer = self.pointers[access]
        stride = self._vector_stride(access)
        if self.lanes == 1 or same(stride, 0):
            self.f.store(self._as_memory(self.f.extract(value, 0), dtype), pointer)
            return
        raw = self._as_memory(self.f.splat(value, self.lanes), dtype)
        group = self.groups[Store].get(access, ())
        if group and self.mask is None:
            self._store_together(access, group, raw)
        elif not same(stride, 1):
            steps = constant(0, "i64", self.lanes)
            addresses = self._addresses(pointer, raw.elem, steps, stride)
            self.f.scatter(raw, addresses, self._all_lanes())
        elif self.mask is not None:
            self.f.masked_store(raw, pointer, self.mask)
        elif self.kernel.buffers[access.buffer].streams:
            self._stream(raw, pointer)
        else:
            self.f.store(raw, pointer)

    def _stream(self, raw: Reg, pointer: Reg) -> None:
        """Write a vector past the caches where it begins with a register's worth of memory."""
        f, align = self.f, min(raw.lanes * BITS[raw.elem] // 8, self.target.vector_bytes)
        address = f.let(f"ptrtoint ptr {pointer.text} to i64", "i64")
        beyond = f.and_(address, constant(align - 1, "i64"))
        aligned, across, after = (f.name_of(n) for n in ("aligned", "across", "stored"))
        f.branch_if(f.icmp("eq", beyond, constant(0, "i64")), aligned, across)
        f.label(aligned)
        f.stream(raw, pointer, align)
        f.branch(after)
        f.label(across)
        f.store(raw, pointer)
        f.branch(after)
        f.label(after)

    def _store_together(self, access: Access, group: Group, raw: Reg) -> None:
        """Write the vectors of a group, element by element in turn, when the last one is there."""
        self.parts[access] = raw
        if all(own in self.parts for own in group):
            vectors = put_together(self.f, [self.parts.pop(own) for own in group])
            for vector, pointer in zip(vectors, self._stretch(group, raw.elem), strict=True):
                self.f.store(vector, pointer)

    def _as_memory(self, value: Reg, dtype: str) -> Reg:
        return self.f.convert("zext", value, "i8") if dtype == "bool" else value

    def add_at(self, statement: AddAt) -> None:
        """Read, add, write, or write alone: never in lanes that may meet in one element."""
        access = statement.access
        index = self.operand(statement.position)
        elem = memory_elem(self.kernel.buffers[access.buffer].dtype)
        steps = self.f.mul(index, self.f.splat(self.f.number(statement.step), index.lanes))
        base = self.pointers[access]
        self.pointers[access] = self.f.offset(base, elem, steps)
        value = self.operand(statement.value)
        if not statement.replaces:
            old = self.load(Load(statement.position, access))  # type: ignore[arg-type]
            lanes = max(old.lanes, value.lanes)
            old, value = self.f.splat(old, lanes), self.f.splat(value, lanes)
            value = SCALARS["add"](self.f, old, value)
        self.store(access, value)
        self.pointers[access] = base
