"""Machine code for tapes: records in chunks of heap memory that grow as the tape does.

The state of a step's tapes stands behind its failing value: where the next record goes, where the
present chunk ends, the chunk itself (which begins with a pointer to the one before) and its size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from graphc.dims import Size
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.module import Module
from graphc.runtime.llvm.registers import Reg, constant
from graphc.runtime.program import Place, Pop, Push, Root
from graphc.runtime.sizes import applied

if TYPE_CHECKING:
    from graphc.runtime.llvm.emit_step import Frame

NO_MEMORY, WRONG_RECORD = -2, -3
"""What a step returns instead of the number of a check that failed."""

HEADER = 16
"""Bytes of a record before its values, which are aligned to as many."""
FIRST_CHUNK, LARGEST_CHUNK = 64 << 10, 64 << 20

_SUPPORT = f"""
; Room for `n` bytes, null where there is no memory left.
define internal ptr @tape_room(ptr %state, i64 %n) #0 {{
entry:
  %next.at = getelementptr i64, ptr %state, i64 1
  %end.at = getelementptr i64, ptr %state, i64 2
  %next = load ptr, ptr %next.at
  %end = load ptr, ptr %end.at
  %after = getelementptr i8, ptr %next, i64 %n
  %fits = icmp ule ptr %after, %end
  br i1 %fits, label %here, label %grow
here:
  store ptr %after, ptr %next.at
  ret ptr %next
grow:
  %chunk.at = getelementptr i64, ptr %state, i64 3
  %size.at = getelementptr i64, ptr %state, i64 4
  %chunk = load ptr, ptr %chunk.at
  %last = load i64, ptr %size.at
  %double = shl i64 %last, 1
  %larger = icmp ult i64 %double, {LARGEST_CHUNK}
  %usual = select i1 %larger, i64 %double, i64 {LARGEST_CHUNK}
  %least = add i64 %n, {HEADER}
  %small = icmp ult i64 %usual, %least
  %size = select i1 %small, i64 %least, i64 %usual
  %new = call ptr @malloc(i64 %size)
  %failed = icmp eq ptr %new, null
  br i1 %failed, label %none, label %made
none:
  ret ptr null
made:
  store i64 %usual, ptr %size.at
  store ptr %chunk, ptr %new
  store ptr %new, ptr %chunk.at
  %record = getelementptr i8, ptr %new, i64 {HEADER}
  %following = getelementptr i8, ptr %record, i64 %n
  %new.end = getelementptr i8, ptr %new, i64 %size
  store ptr %following, ptr %next.at
  store ptr %new.end, ptr %end.at
  ret ptr %record
}}

; Free the chunks that were made after `kept`.
define internal void @tape_free(ptr %state, ptr %kept) #0 {{
entry:
  %chunk.at = getelementptr i64, ptr %state, i64 3
  br label %again
again:
  %chunk = load ptr, ptr %chunk.at
  %done = icmp eq ptr %chunk, %kept
  br i1 %done, label %end, label %one
one:
  %before = load ptr, ptr %chunk
  call void @free(ptr %chunk)
  store ptr %before, ptr %chunk.at
  br label %again
end:
  ret void
}}
"""


class StepEmitter(Protocol):
    """What a tape needs of the emitter of the step around it."""

    f: Function
    frame: Frame
    pointers: dict[Root, Reg]

    def pointer(self, root: Root) -> Reg: ...
    def place(self, place: Place) -> Reg: ...


def emit_around(module: Module, name: str, body: str) -> None:
    """The step `name`: it runs `body`, a function of the same parameters, and frees its tapes."""
    module.declare("malloc", "ptr", ["i64"])
    module.declare("free", "void", ["ptr"])
    module.declare("llvm.memcpy.p0.p0.i64", "void", ["ptr", "ptr", "i64", "i1 immarg"])
    module.functions["tapes"] = _SUPPORT
    parameters = [Reg("%arguments", "ptr"), Reg("%arena", "ptr"), Reg("%state", "ptr")]
    f = Function(module, name, parameters, "i64", linkage="")
    state = parameters[2]
    for field, value in enumerate((0, 0, 0, FIRST_CHUNK // 2), start=1):
        f.store(constant(value, "i64"), _field(f, state, field))
    status = f.call(body, parameters, "i64")
    f.call("tape_free", [state, Reg("null", "ptr")])
    f.line(f"ret i64 {status.text}")
    module.add(f)


def _field(f: Function, state: Reg, number: int) -> Reg:
    return f.offset(state, "i64", constant(number, "i64"))


def _offsets(sizes: tuple[Size, ...]) -> tuple[list[Size], Size]:
    """Where each value of a record lies, and the size of the whole."""
    offsets: list[Size] = []
    at: Size = HEADER
    for size in sizes:
        offsets.append(at)
        at = at + applied(_aligned, size)
    return offsets, at


def _aligned(size: int) -> int:
    return -(-size // HEADER) * HEADER


def emit_push(step: StepEmitter, push: Push) -> None:
    f = step.f
    offsets, size = _offsets(push.sizes)
    record = f.call("tape_room", [step.frame.failing, f.number(size)], "ptr")
    _leave_if(f, f.icmp("eq", record, Reg("null", "ptr")), NO_MEMORY)
    f.store(f.load(step.place(push.tape), "i64"), record)
    f.store(constant(push.kind, "i64"), _field(f, record, 1))
    for value, offset, nbytes in zip(push.values, offsets, push.sizes, strict=True):
        into = f.offset(record, "i8", f.number(offset))
        count, volatile = f.number(nbytes), constant(0, "i1")
        f.call("llvm.memcpy.p0.p0.i64", [into, step.place(value), count, volatile])
    f.store(f.convert("ptrtoint", record, "i64"), step.pointer(push.out))


def emit_pop(step: StepEmitter, pop: Pop) -> None:
    f = step.f
    record = f.convert("inttoptr", f.load(step.place(pop.tape), "i64"), "ptr")
    _leave_if(f, f.icmp("eq", record, Reg("null", "ptr")), WRONG_RECORD)
    kind = f.load(_field(f, record, 1), "i64")
    _leave_if(f, f.icmp("ne", kind, constant(pop.kind, "i64")), WRONG_RECORD)
    f.store(f.load(record, "i64"), step.pointer(pop.out))
    for root, offset in zip(pop.values, _offsets(pop.sizes)[0], strict=True):
        step.pointers[root] = f.offset(record, "i8", f.number(offset))


def _leave_if(f: Function, condition: Reg, status: int) -> None:
    leave, stay = f.name_of("leave"), f.name_of("stay")
    f.branch_if(condition, leave, stay)
    f.label(leave)
    f.line(f"ret i64 {status}")
    f.label(stay)


class Mark:
    """Where the tapes stand at the beginning of an iteration none of whose records outlive it."""

    def __init__(self, step: StepEmitter):
        self.step = step
        f, state = step.f, step.frame.failing
        self.saved = [f.load(_field(f, state, field), "i64") for field in (1, 2, 3)]

    def release(self) -> None:
        f, state = self.step.f, self.step.frame.failing
        f.call("tape_free", [state, f.convert("inttoptr", self.saved[2], "ptr")])
        for field, value in enumerate(self.saved[:2], start=1):
            f.store(value, _field(f, state, field))
