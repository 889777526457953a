"""Machine code for kernels of single numbers and short vectors, inside of loops: in line.

Values stay in registers:

Before:  again: call @kernel_0(ptr %i, ptr %i) ...      stores i + 1, and the next call loads it
After:   again: %i = phi i64 [...]; %next = add i64 %i, 1; store i64 %next, ptr %i.at; br %again

Each value is still stored where it belongs, for whatever else reads it there; but what the same
thread has just computed is not loaded again, which takes longer than an addition.  What is known of
memory is forgotten where something else may write to it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from graphc.dims import Size
from graphc.ir import Type
from graphc.runtime.kernel import (
    Access,
    Accumulator,
    Compute,
    Kernel,
    Load,
    Loop,
    Operand,
    Statement,
    Store,
    inner,
    is_plain,
)
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.elements import memory_elem
from graphc.runtime.llvm.math import ELEMS, SCALARS
from graphc.runtime.llvm.operands import operand_of, operands_of
from graphc.runtime.llvm.registers import Reg, constant
from graphc.runtime.llvm.target import HostTarget
from graphc.runtime.program import Call, Item, Pop, Push, Repeat, Root
from graphc.runtime.reductions import COMBINE, identity

MOST_STATEMENTS = 100
"""A longer kernel stays a function: its call costs nothing beside it."""

LANES = (1, 2, 3, 4, 8, 16)
"""Elements that are worked on at once: one vector, if they fit the target's registers."""


class StepEmitter(Protocol):
    """What kernels in line need of the emitter of the step around them."""

    f: Function
    flags: str
    target: HostTarget
    cells: dict[Root, Reg]
    turning: set[Root]
    blocks: set[Root]

    def pointer(self, root: Root) -> Reg: ...


# ---- what is in line -----------------------------------------------------------------------------


def is_in_line(call: Call, target: HostTarget) -> bool:
    """Whether a kernel computes single numbers, or the elements of one short vector."""
    kernel = call.kernel
    if call.cuts or sum(1 for _ in inner(kernel.body)) > MOST_STATEMENTS:
        return False
    if not kernel.domain:
        return all(map(_is_plain, kernel.body))
    return _is_vector(kernel, target) and all(
        _is_vector_loop(s) if isinstance(s, Loop) else _is_plain(s) for s in kernel.body
    )


def _is_vector(kernel: Kernel, target: HostTarget) -> bool:
    widest = max((Type(buffer.dtype).nbytes for buffer in kernel.buffers), default=1)
    fits = [n for n in LANES if n > 1 and n * max(widest, 4) <= target.vector_bytes]
    return len(kernel.domain) == 1 and kernel.domain[0] in fits


def _is_plain(statement: Statement) -> bool:
    if isinstance(statement, (Load, Store)):
        return is_plain(statement)
    return isinstance(statement, Compute)


def _is_vector_loop(loop: Loop) -> bool:
    """Over the elements of vectors that lie in memory one after the other, or are one number."""
    reads = (s.access.strides[0] in (0, 1) for s in loop.body if isinstance(s, Load))
    writes = (s.access.strides[0] == 1 for s in loop.body if isinstance(s, Store))
    return loop.axes == (0,) and all(map(_is_plain, loop.body)) and all(reads) and all(writes)


def is_cell(step: StepEmitter, root: Root, lanes: int = 1) -> bool:
    """Whether memory is that of one value of so many lanes, and means that value as long as the
    loop does not turn: at one address for the whole loop, or a block of this loop alone."""
    is_fixed = root not in step.turning or root in step.blocks
    is_own = root.kind in ("arena", "result") and is_fixed
    return is_own and root.nbytes == lanes * Type(root.dtype).nbytes


def lanes_of(root: Root) -> int:
    """How many elements memory has, 0 where that is no vector."""
    if not isinstance(root.nbytes, int):
        return 0
    count = root.nbytes // max(Type(root.dtype).nbytes, 1)
    return count if count in LANES else 0


# ---- statements ----------------------------------------------------------------------------------


def emit_in_line(step: StepEmitter, call: Call) -> None:
    """The statements of a kernel, here."""
    f = step.f
    outside, f.flags = f.flags, step.flags
    _Kernel(step, call).statements(call.kernel.body, 1)
    f.flags = outside


class _Kernel:
    """The values of one kernel."""

    def __init__(self, step: StepEmitter, call: Call):
        self.step, self.f, self.call = step, step.f, call
        self.values: dict[int, Reg] = {}

    def operand(self, x: Operand) -> Reg:
        return operand_of(self.values, x)

    def statements(self, statements: Sequence[Statement], lanes: int) -> None:
        for statement in statements:
            match statement:
                case Load(out, access):
                    self.values[out.number] = self.load(access, lanes)
                case Compute(out, op, ins, attrs):
                    operands = operands_of(self.f, self.values, ins)
                    self.values[out.number] = SCALARS[op](self.f, *operands, **dict(attrs))
                case Store(access, value):
                    self.store(access, self.operand(value), lanes)
                case Loop(body=body, accumulators=accumulators):
                    (count,) = self.call.kernel.domain
                    self.statements(body, int(count))
                    for accumulator in accumulators:
                        self.values[accumulator.out.number] = self.total(accumulator, int(count))

    def total(self, accumulator: Accumulator, lanes: int) -> Reg:
        """All lanes combined, half onto half, and where a total begins."""
        row = SCALARS[COMBINE[accumulator.combine]]
        value = self.f.splat(self.operand(accumulator.value), lanes)
        while value.lanes > 1 and value.lanes % 2 == 0:
            value = row(self.f, self.f.half(value, 0), self.f.half(value, 1))
        if value.lanes > 1:
            parts = [self.f.extract(value, lane) for lane in range(value.lanes)]
            value = functools.reduce(functools.partial(row, self.f), parts)
        dtype = accumulator.out.dtype
        return row(self.f, value, constant(identity(accumulator.combine, dtype), ELEMS[dtype]))

    def load(self, access: Access, lanes: int) -> Reg:
        step, root = self.step, self.call.roots[access.buffer]
        lanes = lanes if lanes > 1 and access.strides[0] else 1
        known, offset = step.cells.get(root), access.offset
        if known is not None and known.lanes == lanes and offset == 0:
            return known
        if known is not None and lanes == 1 and isinstance(offset, int) and offset < known.lanes:
            return self.f.extract(known, offset)
        dtype = self.call.kernel.buffers[access.buffer].dtype
        value = load_value(step, root, dtype, lanes, offset)
        if offset == 0 and is_cell(step, root, lanes):
            step.cells[root] = value
        return value

    def store(self, access: Access, value: Reg, lanes: int) -> None:
        step, root = self.step, self.call.roots[access.buffer]
        dtype = self.call.kernel.buffers[access.buffer].dtype
        value = self.f.splat(value, lanes)
        address = _address(step, root, dtype, access.offset)
        self.f.store(self.f.convert("zext", value, "i8") if dtype == "bool" else value, address)
        _forget_memory(step, root)
        if access.offset == 0 and is_cell(step, root, lanes):
            step.cells[root] = value


def load_value(step: StepEmitter, root: Root, dtype: str, lanes: int = 1, offset: Size = 0) -> Reg:
    """Elements of memory, in a register."""
    raw = step.f.load(_address(step, root, dtype, offset), memory_elem(dtype), lanes)
    return step.f.icmp("ne", raw, step.f.const(0, raw)) if dtype == "bool" else raw


def _address(step: StepEmitter, root: Root, dtype: str, offset: Size) -> Reg:
    return step.f.offset(step.pointer(root), memory_elem(dtype), step.f.number(offset))


# ---- what is known of memory ---------------------------------------------------------------------


def _forget_memory(step: StepEmitter, root: Root) -> None:
    """Forget what lies in memory that is written under one of its names."""
    for cell in [c for c in step.cells if c.meets(root)]:
        del step.cells[cell]


def forget(step: StepEmitter, item: Item) -> None:
    """Forget the values that an item may have changed in memory."""
    if isinstance(item, (Push, Pop)):
        step.cells.pop(item.out, None)
    elif isinstance(item, Call):
        for buffer, root in zip(item.kernel.buffers, item.roots, strict=True):
            if buffer.role != "in":
                _forget_memory(step, root)
    else:
        step.cells.clear()


def cells_of(step: StepEmitter, repeat: Repeat) -> list[tuple[Root, Root]]:
    """The values that an iteration reads before it writes them, and where the next one finds them.

    At the same address if the iteration writes there, and in the following block of a block.
    """
    touched = _touched(step, repeat)
    following = dict(zip(repeat.blocks, repeat.following, strict=True))
    turning = {*repeat.blocks, *repeat.following}
    read = [root for root in touched.first_read if root not in touched.in_parts]
    found = [(r, following[r]) for r in read if r in following]
    found += [(r, r) for r in read if r in touched.written and r not in turning]
    return [(r, n) for r, n in found if lanes_of(r) and is_cell(step, r, lanes_of(r))]


class _Touched(NamedTuple):
    """What kernels in line read before they write it, in order; what they write; and what of it
    they do not touch as one value, but element by element."""

    first_read: dict[Root, None]
    written: set[Root]
    in_parts: set[Root]


def _touched(step: StepEmitter, repeat: Repeat) -> _Touched:
    touched = _Touched({}, set(), set())
    if repeat.predicate is not None and not repeat.test:
        touched.first_read[repeat.predicate.root] = None
    for call in _calls_in_line(step, (*repeat.test, *repeat.body)):
        for statement in inner(call.kernel.body):
            if isinstance(statement, (Load, Store)):
                access, root = statement.access, call.roots[statement.access.buffer]
                lanes = int(call.kernel.domain[0]) if any(access.strides) else 1
                if lanes != lanes_of(root) or access.offset != 0:
                    touched.in_parts.add(root)
                if isinstance(statement, Store):
                    touched.written.add(root)
                elif root not in touched.written:
                    touched.first_read[root] = None
    return touched


def _calls_in_line(step: StepEmitter, items: Sequence[Item]) -> Iterator[Call]:
    return (item for item in items if isinstance(item, Call) and is_in_line(item, step.target))
