"""Machine code for the loops of a program: a branch back; blocks that take turns are phis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.elements import memory_elem
from graphc.runtime.llvm.emit_in_line import cells_of, is_cell, lanes_of, load_value
from graphc.runtime.llvm.emit_tapes import Mark
from graphc.runtime.llvm.registers import Reg, constant
from graphc.runtime.llvm.target import HostTarget
from graphc.runtime.program import Item, Place, Repeat, Root

if TYPE_CHECKING:
    from graphc.runtime.llvm.emit_step import Frame


class StepEmitter(Protocol):
    """What a loop needs of the emitter of the step around it."""

    f: Function
    flags: str
    frame: Frame
    target: HostTarget
    pointers: dict[Root, Reg]
    cells: dict[Root, Reg]
    turning: set[Root]
    blocks: set[Root]
    depth: int
    is_alone: bool

    def pointer(self, root: Root) -> Reg: ...
    def place(self, place: Place) -> Reg: ...
    def items(self, items: tuple[Item, ...]) -> None: ...


def emit_repeat(step: StepEmitter, repeat: Repeat) -> None:
    """The loop; afterwards each of its results has a pointer."""
    f = step.f
    counts = repeat.predicate is None
    first = f.number(repeat.length - 1 if repeat.reverse else 0)
    outside, around, outer = dict(step.pointers), set(step.turning), step.blocks
    step.turning.update(repeat.blocks, repeat.following)
    step.blocks = {*repeat.blocks}
    blocks = [step.pointer(block) for block in repeat.blocks]
    cells = cells_of(step, repeat) if step.is_alone else []
    numbers = [_value(step, cell) for cell, _ in cells]
    step.depth += 1
    with f.repeat([*([first] if counts else []), *blocks, *numbers]) as state:
        carried = state.carried[1:] if counts else state.carried
        current, inside = carried[: len(blocks)], carried[len(blocks) :]
        step.pointers.update(zip(repeat.blocks, current, strict=True))
        step.cells = {cell: value for (cell, _), value in zip(cells, inside, strict=True)}
        if counts:
            index = state.carried[0]
            state.go_on_if(_is_inside(f, index, repeat))
            _enter(step, repeat, index)
        else:
            state.go_on_if(_holds(step, repeat))
        mark = Mark(step) if repeat.is_forgetful else None
        step.items(repeat.body)
        if mark is not None:
            mark.release()
        state.next = [step.pointer(root) for root in repeat.following]
        state.next += [step.cells.get(n) or _value(step, n) for _, n in cells]
        if counts:
            one = constant(-1 if repeat.reverse else 1, "i64")
            state.next.insert(0, f.add(index, one))
    last = dict(zip(repeat.blocks, current, strict=True))
    step.pointers, step.turning, step.cells, step.blocks = outside, around, {}, outer
    step.depth -= 1
    for root, block in repeat.results:
        step.pointers[root] = last[block]


def _value(step: StepEmitter, root: Root) -> Reg:
    return load_value(step, root, root.dtype, lanes_of(root))


def _is_inside(f: Function, index: Reg, repeat: Repeat) -> Reg:
    if repeat.reverse:
        return f.icmp("sge", index, constant(0, "i64"))
    return f.icmp("slt", index, f.number(repeat.length))


def _holds(step: StepEmitter, repeat: Repeat) -> Reg:
    assert repeat.predicate is not None
    step.items(repeat.test)
    known = step.cells.get(repeat.predicate.root)
    if known is not None and known.lanes == 1:
        return known
    raw = step.f.load(step.place(repeat.predicate), "i8")
    return step.f.icmp("ne", raw, step.f.const(0, raw))


def _enter(step: StepEmitter, repeat: Repeat, index: Reg) -> None:
    """Store the index, and point the slices at their parts."""
    f = step.f
    if repeat.counter is not None:
        f.store(index, step.pointer(repeat.counter))
        if is_cell(step, repeat.counter):
            step.cells[repeat.counter] = index
    for part in repeat.slices:
        elements = f.mul(index, f.number(part.step))
        if part.offset:
            elements = f.add(elements, f.number(part.offset))
        whole = step.pointer(part.whole)
        step.pointers[part.root] = f.offset(whole, memory_elem(part.root.dtype), elements)
