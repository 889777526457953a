"""Rows inside of a block's work, a warp for each: the softmax between the products of attention.

All threads of a block would have one row after the other, and wait for each other twice or more in
each; warps wait for nobody.  Sound where the rows do not see each other, and what holds a row for a
while is in registers: each warp has its own then.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from graphc.runtime.cuda.emit.branches import in_turns
from graphc.runtime.cuda.emit.elements import I64
from graphc.runtime.cuda.emit.placement import rows_in_registers
from graphc.runtime.cuda.emit.team import warp_team
from graphc.runtime.cuda.plan.device_kernel import WARP
from graphc.runtime.cuda.plan.mapping import are_apart_rows
from graphc.runtime.cuda.plan.phases import PLAIN
from graphc.runtime.cuda.plan.spreading import is_straight, touches_of
from graphc.runtime.kernel import Loop, accesses
from graphc.runtime.llvm.registers import Reg, constant

if TYPE_CHECKING:
    from graphc.runtime.cuda.emit.team_work import TeamEmitter


def registers_of_warps(emitter: TeamEmitter, loop: Loop) -> frozenset[int] | None:
    """The scratch buffers that warps keep in registers if they have the rows of a loop; None where
    they may not have them, or are more than there are rows."""
    warps = emitter.team.size // WARP
    if not emitter.team.is_block or warps < 2 or not _holds_rows(loop):
        return None
    (axis,) = loop.axes
    if emitter.sizes[axis] < warps or axis in emitter.ranges or axis in emitter.fixed:
        return None
    inside = emitter.kernel._replace(domain=tuple(emitter.sizes))
    private = _private(emitter, loop)
    lanes, roots = emitter.lanes_at_most, emitter.roots
    registers = rows_in_registers(inside, roots, loop.body, lanes, WARP)
    if not private <= registers or not are_apart_rows(inside, roots, loop, private):
        return None
    return private


def _holds_rows(loop: Loop) -> bool:
    """Whether each turn is plain statements and loops over those, one of which reduces."""
    loops = [s for s in loop.body if isinstance(s, Loop)]
    plain = all(isinstance(s, (*PLAIN, Loop)) for s in loop.body)
    straight = all(is_straight(inside.body) for inside in loops)
    reduces = any(inside.accumulators for inside in loops)
    return len(loop.axes) == 1 and not loop.accumulators and plain and straight and reduces


def _private(emitter: TeamEmitter, loop: Loop) -> frozenset[int]:
    """The scratch buffers that nothing outside of the loop touches."""
    every = _counted(access.buffer for access in accesses(emitter.kernel.body))
    own = _counted(access.buffer for access in accesses(loop.body))
    buffers = emitter.kernel.buffers
    return frozenset(b for b, n in own.items() if buffers[b].role == "scratch" and every[b] == n)


def _counted(numbers: Iterable[int]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for number in numbers:
        counts[number] = counts.get(number, 0) + 1
    return counts


def emit_rows(emitter: TeamEmitter, loop: Loop, registers: frozenset[int]) -> None:
    """The rows of a loop by warps, each of which has every so many."""
    f, (axis,) = emitter.f, loop.axes
    emitter.start_turns(loop.body)
    touched = emitter.touched
    saved = emitter.team, emitter.registers, emitter.own
    warps = emitter.team.size // WARP
    number = f.lshr(emitter.team.rank, constant(WARP.bit_length() - 1, I64))
    emitter.team = warp_team(f)
    emitter.registers, emitter.own = emitter.registers | registers, emitter.own | registers

    def run(row: Reg, carried: list[Reg]) -> list[Reg]:
        with emitter.bound(axis, row):
            emitter.turn(loop.body)
        return carried

    in_turns(f, number, emitter.sizes[axis], warps, [], run)
    emitter.team, emitter.registers, emitter.own = saved
    emitter.touched = [*touched, *touches_of(emitter.kernel, loop.body, None)]
