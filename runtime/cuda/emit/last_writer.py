"""Which of several positions in a row was the last to name each place: the largest number of one.

A thread for each place, and then one for each position: whichever comes when, the largest stays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from graphc.runtime.cuda.emit.branches import in_turns
from graphc.runtime.cuda.emit.simt import place_in
from graphc.runtime.cuda.emit.statements import ThreadEmitter
from graphc.runtime.cuda.plan.last_writer import Writers
from graphc.runtime.llvm.registers import Reg, constant

if TYPE_CHECKING:
    from graphc.runtime.cuda.emit.launches import LaunchEmitter

I64 = "i64"
NOBODY = constant(-1, I64)


def emit_last_writer(launcher: LaunchEmitter, writers: Writers) -> None:
    def clear(emitter: ThreadEmitter, place: Reg) -> None:
        f = emitter.f
        f.store(NOBODY, f.offset(emitter.address(writers.target), I64, place))

    def name(emitter: ThreadEmitter, number: Reg) -> None:
        f = emitter.f
        at = f.load(f.offset(emitter.address(writers.positions), I64, number), I64)
        at = f.intrinsic("smax", at, constant(0, I64))
        at = f.intrinsic("smin", at, constant(writers.places - 1, I64))
        target = f.offset(emitter.address(writers.target), I64, at)
        f.let(f"atomicrmw max ptr {target.text}, {number.typed} monotonic", I64)

    for count, run in ((writers.places, clear), (writers.size, name)):
        if count:
            _launch(launcher, count, run)


def _launch(launcher: LaunchEmitter, count: int, run: Callable[[ThreadEmitter, Reg], None]) -> None:
    """A thread for each number."""
    f = launcher.function()
    emitter = launcher.thread(f)
    grid, threads = launcher.grid_of_threads(count)
    first = f.add(f.mul(place_in(f, "block"), constant(threads, I64)), place_in(f, "thread"))

    def turn(number: Reg, carried: list[Reg]) -> list[Reg]:
        run(emitter, number)
        return carried

    in_turns(f, first, count, grid * threads, [], turn)
    launcher.add(f, grid, threads)
