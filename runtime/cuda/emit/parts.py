"""Long reductions with few units, in parts.

Threads (for columns) or teams (for rows) total a part each and leave it in the workspace; the
second launch puts the parts together, always in the same order, and does what comes after.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.runtime.cuda.emit.branches import digits, in_turns, only_if
from graphc.runtime.cuda.emit.elements import I64
from graphc.runtime.cuda.emit.launches import SLOT, WORK, LaunchEmitter
from graphc.runtime.cuda.emit.placement import (
    place_for_teams,
)
from graphc.runtime.cuda.emit.simt import place_in
from graphc.runtime.cuda.emit.statements import ThreadEmitter
from graphc.runtime.cuda.emit.team_work import TeamEmitter
from graphc.runtime.cuda.plan.device_kernel import (
    WARP,
)
from graphc.runtime.cuda.plan.forms import Form, single_reduction
from graphc.runtime.cuda.plan.phases import Phase
from graphc.runtime.cuda.plan.spreading import spread_of
from graphc.runtime.kernel import Loop, Statement
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.elements import memory_elem
from graphc.runtime.llvm.math import SCALARS
from graphc.runtime.llvm.registers import Reg, constant
from graphc.runtime.reductions import COMBINE

MOST_PARTS = 64
"""Of one column, that a thread reads: as many as are under way at once."""
MANY_TURNS = 16
"""So many parts does a thread of a warp read where there are several units; a block for more."""


class PartsEmitter(LaunchEmitter):
    """Writes the launches of reductions in parts."""

    def divided(self, f: Function, number: Reg, form: Form) -> tuple[Reg, Reg]:
        """Unit and part of a number: neighbours work on neighbouring units."""
        part, unit = digits(f, number, [form.parts, form.nest.size])
        return unit, part

    def bytes_of_parts(self, form: Form) -> int:
        loop = single_reduction(form.nest)
        assert loop is not None
        return SLOT * len(loop.accumulators) * form.nest.size * form.parts

    def part_at(self, f: Function, form: Form, which: int, unit: Reg, part: Reg) -> Reg:
        """Where a part of the total of accumulator `which` is left."""
        size = form.nest.size
        place = f.add(f.mul(part, constant(size, I64)), unit)
        return f.offset(
            WORK,
            "i8",
            f.add(
                f.mul(place, constant(SLOT, I64)),
                constant(self.extra + SLOT * which * size * form.parts, I64),
            ),
        )

    def column_part(self, emitter: ThreadEmitter, form: Form, unit: Reg, part: Reg) -> None:
        """A thread totals some rows of its column."""
        f, loop = emitter.f, single_reduction(form.nest)
        assert loop is not None
        axis = loop.axes[0]
        size = emitter.sizes[axis]
        low, high = self.range_of(f, part, size, form.parts)
        emitter.ranges = {axis: (low, high)}
        emitter.block((*form.nest.before, *until(form.nest.body, loop), loop))
        self.leave_parts(emitter, form, loop, unit, part)
        emitter.ranges = {}

    def range_of(self, f: Function, part: Reg, size: int, parts: int) -> tuple[Reg, Reg]:
        each = -(-size // parts)
        low = f.mul(part, constant(each, I64))
        high = f.intrinsic("smin", f.add(low, constant(each, I64)), constant(size, I64))
        return low, high

    def leave_parts(
        self, emitter: ThreadEmitter, form: Form, loop: Loop, unit: Reg, part: Reg
    ) -> None:
        for i, accumulator in enumerate(loop.accumulators):
            value = emitter.values[accumulator.out.number]
            raw = emitter.as_memory(value, accumulator.out.dtype)
            emitter.f.store(raw, self.part_at(emitter.f, form, i, unit, part))

    def columns_together(self, phase: Phase, form: Form) -> None:
        """A thread for each unit adds up its parts, and does what comes after.

        A warp where they are many: one thread would wait for one after the other.
        """
        if form.parts > MOST_PARTS:
            self.rows_together(phase, form)
            return
        nest, f, loop = form.nest, self.function(), single_reduction(form.nest)
        assert loop is not None
        grid, threads = self.grid_of_threads(nest.size)
        emitter = self.thread(f)
        self.enter(emitter, (phase.main,) if phase.main else ())
        first = f.add(f.mul(place_in(f, "block"), constant(threads, I64)), place_in(f, "thread"))

        def run(unit: Reg, carried: list[Reg]) -> list[Reg]:
            with self.bind(emitter, nest.units, unit):
                emitter.block((*nest.before, *until(nest.body, loop)))
                totals = emitter.start(loop)
                with f.loop(constant(0, I64), constant(form.parts, I64), 1, totals) as state:
                    state.next = self.with_part(
                        emitter, form, loop, unit, state.index, state.carried
                    )
                emitter.finish(loop, state.results)
                emitter.block(after(nest.body, loop))
            return carried

        in_turns(f, first, nest.size, grid * threads, [], run)
        self.add(f, grid, threads)

    def with_part(
        self,
        emitter: ThreadEmitter,
        form: Form,
        loop: Loop,
        unit: Reg,
        part: Reg,
        totals: Sequence[Reg],
    ) -> list[Reg]:
        """Totals combined with what one part has left."""
        results = []
        for i, (accumulator, total) in enumerate(zip(loop.accumulators, totals, strict=True)):
            dtype = accumulator.out.dtype
            raw = emitter.f.load(self.part_at(emitter.f, form, i, unit, part), memory_elem(dtype))
            value = emitter.as_value(raw, dtype)
            results.append(SCALARS[COMBINE[accumulator.combine]](emitter.f, total, value))
        return results

    def row_part(self, emitter: TeamEmitter, form: Form, unit: Reg, part: Reg) -> None:
        """A team totals some turns of its row."""
        f, loop = emitter.f, single_reduction(form.nest)
        assert loop is not None
        turns = spread_of(loop, emitter.sizes, emitter.lanes_at_most).turns
        low, high = self.range_of(f, part, turns, form.parts)

        def total() -> None:
            emitter.spread(loop, (low, high, -(-turns // form.parts)))
            with only_if(f, emitter.is_first()):
                self.leave_parts(emitter, form, loop, unit, part)

        emitter.turn((*form.nest.before, *until(form.nest.body, loop)), total)

    def rows_together(self, phase: Phase, form: Form) -> None:
        """A team for each unit adds up its parts, and does what comes after."""
        nest, f, loop = form.nest, self.function(), single_reduction(form.nest)
        assert loop is not None
        turns = MANY_TURNS if nest.units else 2
        team = WARP if form.parts <= turns * WARP else self.limits.threads
        small = form._replace(team=team, parts=1)
        placed = place_for_teams(self.kernel, self.roots, small, nest.size, self.limits, 0, f)
        emitter, number = self.team_emitter(f, small, placed)
        self.enter(emitter, (phase.main,) if phase.main else ())

        def run(unit: Reg, carried: list[Reg]) -> list[Reg]:
            with self.bind(emitter, nest.units, unit):
                before = (*nest.before, *until(nest.body, loop))
                emitter.turn(before, lambda: self.add_parts(emitter, phase, form, loop, unit))
            return carried

        if nest.units:
            in_turns(f, number, nest.size, placed.teams, [], run)
        else:
            run(constant(0, I64), [])
        self.add(f, placed.grid, placed.block)

    def add_parts(
        self, emitter: TeamEmitter, phase: Phase, form: Form, loop: Loop, unit: Reg
    ) -> None:
        f, team = emitter.f, emitter.team

        def run(part: Reg, totals: list[Reg]) -> list[Reg]:
            return self.with_part(emitter, form, loop, unit, part, totals)

        totals = in_turns(f, team.rank, form.parts, team.size, emitter.start(loop), run)
        emitter.combine_totals(loop, totals)
        emitter.block(after(form.nest.body, loop))
        if not form.nest.units:
            self.enter(emitter, phase.rest)
            emitter.block(phase.rest)
            self.keep(emitter)


def until(body: Sequence[Statement], loop: Loop) -> tuple[Statement, ...]:
    """The statements before a loop."""
    return tuple(body[: body.index(loop)])


def after(body: Sequence[Statement], loop: Loop) -> tuple[Statement, ...]:
    """The statements behind a loop."""
    return tuple(body[body.index(loop) + 1 :])
