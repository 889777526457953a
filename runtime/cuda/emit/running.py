"""Running sums, products and extrema by the threads of a block.

Of several columns each thread has some, and goes down them.  A single long column is divided: each
thread totals a part of it, what comes before a part is put together from the totals of the parts
before it, and then each thread goes through its part once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from graphc.runtime.cuda.emit.branches import in_turns, only_if
from graphc.runtime.cuda.emit.simt import shared_array, wait_for_block
from graphc.runtime.cuda.plan.running import COMBINE, Running
from graphc.runtime.kernel import Native
from graphc.runtime.llvm.math import ELEMS, SCALARS
from graphc.runtime.llvm.registers import Reg, constant

if TYPE_CHECKING:
    from graphc.runtime.cuda.emit.team_work import TeamEmitter

I64 = "i64"


def emit_running(emitter: TeamEmitter, statement: Native, running: Running) -> None:
    work = _Running(emitter, statement, running)
    if running.columns > 1:
        work.by_columns()
    else:
        work.in_parts()
        emitter.wait()  # before anything else is left in the same shared memory


class _Running:
    """A running operation while its code is written."""

    def __init__(self, emitter: TeamEmitter, statement: Native, running: Running):
        self.emitter = emitter
        self.f = emitter.f
        self.running = running
        self.op = SCALARS[COMBINE[statement.routine]]
        self.elem = ELEMS[statement.dtype]
        self.source = emitter.address(running.source)
        self.target = emitter.address(running.target)

    def place(self, row: Reg, column: Reg | None = None) -> Reg:
        """The element of a row, counted from where the operation begins."""
        f, running = self.f, self.running
        if running.reverse:
            row = f.sub(constant(running.rows - 1, I64), row)
        place = f.mul(row, constant(running.columns, I64))
        return place if column is None else f.add(place, column)

    def load(self, place: Reg) -> Reg:
        return self.f.load(self.f.offset(self.source, self.elem, place), self.elem)

    def store(self, value: Reg, place: Reg) -> None:
        self.f.store(value, self.f.offset(self.target, self.elem, place))

    # ---- several columns -------------------------------------------------------------------------

    def by_columns(self) -> None:
        team, f = self.emitter.team, self.f

        def run(column: Reg, carried: list[Reg]) -> list[Reg]:
            first = self.place(constant(0, I64), column)
            value = self.load(first)
            self.store(value, first)

            def advance(row: Reg, before: list[Reg]) -> list[Reg]:
                at = self.place(row, column)
                now = self.op(f, before[0], self.load(at))
                self.store(now, at)
                return [now]

            in_turns(f, constant(1, I64), f.number(self.running.rows), 1, [value], advance)
            return carried

        in_turns(f, team.rank, self.running.columns, team.size, [], run)

    # ---- one column in parts ---------------------------------------------------------------------

    def in_parts(self) -> None:
        f, team, rows = self.f, self.emitter.team, self.running.rows
        each = -(-rows // team.size)
        low = f.mul(team.rank, constant(each, I64))
        end = f.add(low, constant(each, I64))
        high = f.intrinsic("smin", end, constant(rows, I64))
        totals = shared_array(f.module, f"{f.name}_running_{self.elem}", 8 * team.size)
        has_some = f.icmp("slt", low, high)
        with only_if(f, has_some):
            start = self.load(self.place(low))
            (total,) = self.through(low, high, start, stores=False)
            f.store(total, f.offset(totals, self.elem, team.rank))
        wait_for_block(f)
        with only_if(f, has_some):
            before = self.before(totals)
            own = self.load(self.place(low))
            is_first = f.icmp("eq", team.rank, constant(0, I64))
            start = f.select(is_first, own, self.op(f, before, own))
            self.store(start, self.place(low))
            self.through(low, high, start, stores=True)

    def through(self, low: Reg, high: Reg, start: Reg, stores: bool) -> list[Reg]:
        """The elements after the first of a part, one after the other."""
        f = self.f

        def advance(row: Reg, before: list[Reg]) -> Sequence[Reg]:
            at = self.place(row)
            now = self.op(f, before[0], self.load(at))
            if stores:
                self.store(now, at)
            return [now]

        return in_turns(f, f.add(low, constant(1, I64)), high, 1, [start], advance)

    def before(self, totals: Reg) -> Reg:
        """The totals of the parts before this thread's, together."""
        f = self.f

        def add(number: Reg, total: list[Reg]) -> list[Reg]:
            part = f.load(f.offset(totals, self.elem, number), self.elem)
            return [self.op(f, total[0], part)]

        first = f.load(totals, self.elem)
        (total,) = in_turns(f, constant(1, I64), self.emitter.team.rank, 1, [first], add)
        return total
