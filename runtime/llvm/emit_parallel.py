"""A step for several threads: one region, which every thread runs whole, over its own shares.

The step is two functions.  `step` fills a job (its parameters, and room for the status) and enters
the pool with `step_shares(job, member, team)`.  There a member of the team runs the shares from
member * shares / team on: of a divided kernel their range in one call, of the others all if the
first share is among them.  Everybody takes the same branches and sees the same failed checks, for
barriers stand between who writes a value and who decides by it; the first member reports.
"""

from __future__ import annotations

from typing import NamedTuple

from graphc.runtime.barriers import share_step
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.elements import memory_elem
from graphc.runtime.llvm.emit_step import Frame, StepEmitter, work_bytes
from graphc.runtime.llvm.gemm_kernels import when
from graphc.runtime.llvm.pool import BARRIER, RUN, SPIN_NS
from graphc.runtime.llvm.registers import Reg, constant
from graphc.runtime.llvm.target import HostTarget
from graphc.runtime.plan import Arena
from graphc.runtime.program import Call, Evenly, Fail, Foreign, Program

_ARGUMENTS, _ARENA, _FAILING, _STATUS = range(4)
"""The fields of a job, eight bytes each."""

TEAM, LOOKS = "the size of the team", "how often to look for it"
"""The rows of the table of sizes for them."""


class Member(NamedTuple):
    """Which shares a thread runs: first <= share < last; and the team that it belongs to."""

    number: Reg
    team: Reg
    first: Reg
    last: Reg


def emit_shares(
    f: Function, program: Program, arena: Arena, target: HostTarget, flags: str
) -> list[tuple[str, Call]]:
    """Have `f`, the step, run a program in the pool; the functions of its kernels."""
    name, module = f"{f.name}_shares", f.module
    calls = _emit_body(f, name, program, arena, target, flags)
    module.declare(RUN, "void", ["ptr", "ptr", "i64", "i64"])
    module.declare(BARRIER, "void", ["i64"])
    job = f.let("alloca [4 x i64], align 16", "ptr")
    for field, value in enumerate((*f.parameters, constant(0, "i64"))):
        f.line(f"store {value.typed}, ptr {_field(f, job, field).text}, align 8")
    f.call(RUN, [Reg(f"@{name}", "ptr"), job, *_wanted(f, program)])
    status = f.load(_field(f, job, _STATUS), "i64")
    f.line(f"ret i64 {status.text}")
    return calls


def looks(patience: float) -> int:
    """How often to look for workers in so many nanoseconds."""
    return int(patience / SPIN_NS)


def _wanted(f: Function, program: Program) -> list[Reg]:
    """The size of the team, and how often to look for it."""
    if program.saving is None:
        return [constant(program.shares, "i64"), constant(looks(program.patience), "i64")]
    assert f.module.sizing is not None
    return [f.table_row(f.module.sizing.row(key)) for key in (TEAM, LOOKS)]


def _emit_body(
    step: Function, name: str, program: Program, arena: Arena, target: HostTarget, flags: str
) -> list[tuple[str, Call]]:
    job, number, team = Reg("%job", "ptr"), Reg("%member", "i64"), Reg("%team", "i64")
    f = Function(step.module, name, [job, number, team], runs_once=True)
    frame = Frame(*(_parameter(f, field) for field in (_ARGUMENTS, _ARENA, _FAILING)))
    shares = constant(program.shares, "i64")
    first = f.binary("udiv", f.mul(number, shares), team)
    after = f.add(number, constant(1, "i64"))
    member = Member(number, team, first, f.binary("udiv", f.mul(after, shares), team))
    emitter = SharesEmitter(f, program, arena, target, flags, frame, member)
    emitter.items(program.items)
    f.line("ret void")
    step.module.add(f)
    return emitter.calls


def _parameter(f: Function, number: int) -> Reg:
    """A parameter of the step, read from the job where the function begins."""
    f.first(f"%field{number}.at = getelementptr i64, ptr %job, i64 {number}")
    f.first(f"%field{number} = load ptr, ptr %field{number}.at, align 8")
    return Reg(f"%field{number}", "ptr")


def _field(f: Function, job: Reg, number: int) -> Reg:
    return f.offset(job, "i64", constant(number, "i64"))


class SharesEmitter(StepEmitter):
    """Emits the items of a program as one member of a team runs them."""

    is_alone = False

    def __init__(
        self,
        f: Function,
        program: Program,
        arena: Arena,
        target: HostTarget,
        flags: str,
        frame: Frame,
        member: Member,
    ):
        super().__init__(f, program, arena, target, flags, frame)
        self.member = member
        own = f.mul(member.first, f.number(work_bytes(program, target)))
        self.work = f.offset(self.work, "i8", own)
        self.is_first = f.icmp("eq", member.number, constant(0, "i64"))

    def call(self, call: Call) -> None:
        if call.cuts:
            self.share(call)
        else:
            with when(self.f, self.is_first):
                super().call(call)

    def share(self, call: Call) -> None:
        """Run this member's shares of a divided kernel, as one range, unless it is empty.

        Partial totals are made for each share: which shares a member has must not change a sum.
        """
        f, name = self.f, self.kernel(call)
        self.calls.append((name, call))
        first, last = self.member.first, self.member.last
        if any(buffer.role == "partial" for buffer in call.kernel.buffers):
            with f.loop(first, last, 1) as each:
                after = f.add(each.index, constant(1, "i64"))
                ends = self.cut(call, each.index), self.cut(call, after)
                self.run_range(name, call, each.index, ends)
        else:
            ends = self.cut(call, first), self.cut(call, last)
            with when(f, f.icmp("slt", *ends)):
                self.run_range(name, call, first, ends)

    def run_range(self, name: str, call: Call, first: Reg, ends: tuple[Reg, Reg]) -> None:
        pointers = self.share_pointers(call, first)
        self.f.call(name, [*pointers, self.work, *self.table_argument(), *ends])

    def cut(self, call: Call, share: Reg) -> Reg:
        """Where a share begins."""
        if isinstance(call.cuts, Evenly):
            return self.even_cut(call.cuts, share)
        f = self.f
        table = f.module.table(f"cuts_{'_'.join(map(str, call.cuts))}", "i64", call.cuts)
        return f.load(f.offset(table, "i64", share), "i64")

    def even_cut(self, cuts: Evenly, share: Reg) -> Reg:
        f, shares = self.f, constant(self.program.shares, "i64")
        size, grain = f.number(cuts.size), constant(cuts.grain, "i64")
        begin = f.binary("udiv", f.mul(size, share), shares)
        if cuts.grain == 1:
            return begin
        is_long = f.icmp("sge", size, constant(2 * self.program.shares * cuts.grain, "i64"))
        whole = f.mul(f.binary("udiv", begin, grain), grain)
        begin = f.select(is_long, whole, begin)
        return f.select(f.icmp("eq", share, shares), size, begin)

    def share_pointers(self, call: Call, share: Reg) -> list[Reg]:
        """The kernel's buffers as a share sees them: of some it has a part to itself."""
        pointers = []
        for buffer, root in zip(call.kernel.buffers, call.roots, strict=True):
            pointer, step = self.pointer(root), share_step(buffer)
            if step:
                own = self.f.mul(share, self.f.number(step))
                pointer = self.f.offset(pointer, memory_elem(buffer.dtype), own)
            pointers.append(pointer)
        return pointers

    def barrier(self) -> None:
        self.f.call(BARRIER, [self.member.team])

    def leave(self, fail: Fail) -> None:
        """All members leave; the first reports the check that failed."""
        f = self.f
        with when(f, self.is_first):
            f.store(f.load(self.place(fail.value), "i64"), self.frame.failing)
            status = constant(fail.number + 1, "i64")
            f.store(status, _field(f, f.parameters[0], _STATUS))
        f.line("ret void")

    def foreign(self, foreign: Foreign) -> None:
        """The first member calls; where that may fail, all wait for the outcome.

        They look for this failure alone: by the time that a slow member looks, the first one may
        have got to the next call, and failed there.
        """
        with when(self.f, self.is_first):
            super().foreign(foreign)
        if foreign.checked:
            f = self.f
            self.barrier()
            failed, passed = f.name_of("failed"), f.name_of("passed")
            status = f.load(_field(f, f.parameters[0], _STATUS), "i64")
            own = f.const(foreign.number + 1, status)
            f.branch_if(f.icmp("eq", status, own), failed, passed)
            f.label(failed)
            f.line("ret void")
            f.label(passed)

    def leave_if_failed(self, foreign: Foreign, status: Reg) -> None:
        """Not yet: the others have to hear of it first."""
        f = self.f
        with when(f, f.icmp("ne", status, f.const(0, status))):
            f.store(status, self.frame.failing)
            number = constant(foreign.number + 1, "i64")
            f.store(number, _field(f, f.parameters[0], _STATUS))
