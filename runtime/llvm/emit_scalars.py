"""Machine code for kernels of single numbers, inside of loops: in line, with values in registers.

Before:  again: call @kernel_0(ptr %i, ptr %i) ...      stores i + 1, and the next call loads it
After:   again: %i = phi i64 [...]; %next = add i64 %i, 1; store i64 %next, ptr %i.at; br %again

Each number is still stored where it belongs, for whatever else reads it there; but what the same
thread has just computed is not loaded again, which takes longer than an addition.  What is known of
memory is forgotten where something else may write to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from graphc.dims import Size
from graphc.ir import Lit, Type
from graphc.runtime.kernel import Access, Compute, Load, Operand, Store
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.elements import memory_elem
from graphc.runtime.llvm.math import ELEMS, SCALARS
from graphc.runtime.llvm.registers import Reg, constant
from graphc.runtime.program import Call, Item, Pop, Push, Repeat, Root

MOST_STATEMENTS = 100
"""A longer kernel stays a function: its call costs nothing beside it."""


class StepEmitter(Protocol):
    """What scalar kernels need of the emitter of the step around them."""

    f: Function
    flags: str
    cells: dict[Root, Reg]
    turning: set[Root]

    def pointer(self, root: Root) -> Reg: ...


def is_scalar(call: Call) -> bool:
    """Whether a kernel computes single numbers, one after the other."""
    body = call.kernel.body
    return (
        not call.cuts
        and not call.kernel.domain
        and len(body) <= MOST_STATEMENTS
        and all(
            isinstance(s, (Compute, Store)) or (isinstance(s, Load) and s.position is None)
            for s in body
        )
    )


def is_cell(step: StepEmitter, root: Root) -> bool:
    """Whether memory is that of one number, at one address for the whole loop."""
    is_own = root.kind in ("arena", "result") and root not in step.turning
    return is_own and root.nbytes == Type(root.dtype).nbytes


def emit_scalars(step: StepEmitter, call: Call) -> None:
    """The statements of a kernel, here."""
    f = step.f
    values: dict[int, Reg] = {}

    def operand(x: Operand) -> Reg:
        return constant(x.value, ELEMS[x.type.dtype]) if isinstance(x, Lit) else values[x.number]

    outside, f.flags = f.flags, step.flags
    for statement in call.kernel.body:
        match statement:
            case Load(out, access):
                values[out.number] = _load(step, call, access)
            case Compute(out, op, ins, attrs):
                values[out.number] = SCALARS[op](f, *map(operand, ins), **dict(attrs))
            case Store(access, value):
                _store(step, call, access, operand(value))
    f.flags = outside


def _load(step: StepEmitter, call: Call, access: Access) -> Reg:
    root = call.roots[access.buffer]
    if access.offset == 0 and root in step.cells:
        return step.cells[root]
    value = load_number(step, root, call.kernel.buffers[access.buffer].dtype, access.offset)
    if access.offset == 0 and is_cell(step, root):
        step.cells[root] = value
    return value


def load_number(step: StepEmitter, root: Root, dtype: str, offset: Size = 0) -> Reg:
    """An element of memory, in a register."""
    elem = memory_elem(dtype)
    address = step.f.offset(step.pointer(root), elem, step.f.number(offset))
    raw = step.f.load(address, elem)
    return step.f.icmp("ne", raw, step.f.const(0, raw)) if dtype == "bool" else raw


def _store(step: StepEmitter, call: Call, access: Access, value: Reg) -> None:
    root, dtype = call.roots[access.buffer], call.kernel.buffers[access.buffer].dtype
    elem = memory_elem(dtype)
    address = step.f.offset(step.pointer(root), elem, step.f.number(access.offset))
    step.f.store(step.f.convert("zext", value, "i8") if dtype == "bool" else value, address)
    if access.offset == 0 and is_cell(step, root):
        step.cells[root] = value


def forget(step: StepEmitter, item: Item) -> None:
    """Forget the numbers that an item may have changed in memory."""
    if isinstance(item, (Push, Pop)):
        step.cells.pop(item.out, None)
    elif isinstance(item, Call):
        pairs = zip(item.kernel.buffers, item.roots, strict=True)
        written = {m for buffer, root in pairs if buffer.role != "in" for m in root.memories()}
        for root in written.intersection(step.cells):
            del step.cells[root]
    else:
        step.cells.clear()


def cells_of(step: StepEmitter, repeat: Repeat) -> list[Root]:
    """The numbers that an iteration reads before it writes them, and that it writes."""
    calls = list(_scalar_calls((*repeat.test, *repeat.body)))
    first_read: dict[Root, None] = {}
    written: set[Root] = set()
    for call in calls:
        for statement in call.kernel.body:
            if isinstance(statement, (Load, Store)):
                root = call.roots[statement.access.buffer]
                if isinstance(statement, Store):
                    written.add(root)
                elif root not in written:
                    first_read[root] = None
    turning = {*repeat.blocks, *repeat.following}
    return [r for r in first_read if r in written and r not in turning and is_cell(step, r)]


def _scalar_calls(items: Sequence[Item]) -> Iterator[Call]:
    return (item for item in items if isinstance(item, Call) and is_scalar(item))
