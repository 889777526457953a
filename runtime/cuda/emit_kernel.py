"""From a kernel to device functions: which launches there are, and what the threads of each do.

A phase of the kernel (`phases.py`) takes one of these forms (`forms.py` chooses):

  - *elements*: a thread for each element of a nest, or for a few neighbouring ones;
  - *threads*: a thread for each unit of a nest, which runs the loops inside alone: sums of columns,
    which threads side by side read side by side;
  - *teams*: a warp or a block for each unit: rows;
  - *tiles*: a block for each tile of a matrix product;
  - *together*: one block for everything, for what is small or has an order to keep.

A long reduction with few units is done in parts: teams or threads total a part each, and a second
launch puts the parts together, always in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

from graphc.runtime.cuda.branches import digits, in_turns, only_if
from graphc.runtime.cuda.device_kernel import ALIGNMENT, WARP, DeviceKernel, Launches, Limits
from graphc.runtime.cuda.emit import I64, ThreadEmitter
from graphc.runtime.cuda.emit_product import Tiling, emit_tile, tiling_of
from graphc.runtime.cuda.emit_team import TeamEmitter
from graphc.runtime.cuda.forms import Form, choose_form, lanes_of_rows, single_reduction, work_of
from graphc.runtime.cuda.mapping import Nest, Unit
from graphc.runtime.cuda.phases import Phase, needed, phases_of, written_memory
from graphc.runtime.cuda.placement import Placement, place_for_teams, place_for_threads
from graphc.runtime.cuda.simt import place_in
from graphc.runtime.cuda.spreading import spread_of
from graphc.runtime.cuda.team import block_team, warp_team
from graphc.runtime.kernel import Kernel, Loop, Name, Product, Statement
from graphc.runtime.llvm.builder import Function, Module, Reg, constant
from graphc.runtime.llvm.emit import COMBINE, memory_elem
from graphc.runtime.llvm.math import SCALARS
from graphc.runtime.program import Root

SLOT = 8
"""Bytes of a value that one launch leaves for the next."""

STATUS = Reg("%status", "ptr")
WORK = Reg("%work", "ptr")


class Settings(NamedTuple):
    """What all kernels of a module have in common: see `DeviceModule`."""

    flags: str
    limits: Limits
    has_status: bool


class KernelEmitter:
    """Emits the functions of one kernel into a module."""

    def __init__(
        self,
        module: Module,
        kernel: Kernel,
        roots: Sequence[Root],
        alignments: Sequence[int],
        settings: Settings,
    ):
        self.module = module
        self.kernel = kernel
        self.roots = roots
        self.alignments = alignments
        self.settings = settings
        self.limits = settings.limits
        self.plan = phases_of(kernel, roots)
        self.slots = {name.number: i for i, name in enumerate(self.plan.kept)}
        self.extra = rounded(SLOT * len(self.slots))
        self.launches: list[DeviceKernel] = []
        self.workspace_bytes = self.extra
        self.shared_bytes = 0

    def emit(self) -> Launches:
        forms = {
            "elements": self.threads,
            "threads": self.threads,
            "teams": self.teams,
            "tiles": self.tiles,
            "together": self.together,
        }
        if len(self.plan.phases) > 1 and work_of(self.kernel) <= self.limits.little_work:
            self.all_together()
            return Launches(tuple(self.launches), self.workspace_bytes)
        for phase in self.plan.phases:
            form = choose_form(self.kernel, self.roots, phase, self.limits)
            if form.nest.size:
                forms[form.kind](phase, form)
        return Launches(tuple(self.launches), self.workspace_bytes)

    # ---- functions -------------------------------------------------------------------------------

    def function(self) -> Function:
        """The next device function of this kernel."""
        parameters = [
            Reg(f"%b{i}", f"ptr{self.promises(i)}") for i in range(len(self.kernel.buffers))
        ]
        parameters += [WORK, STATUS] if self.settings.has_status else [WORK]
        name = f"{self.kernel.name}_{len(self.launches)}"
        flags = self.settings.flags
        f = Function(self.module, name, parameters, linkage="ptx_kernel", flags=flags)
        if self.settings.has_status:
            fine = f.icmp("eq", f.load(STATUS, I64), constant(0, I64))
            f.branch_if(fine, "run", "leave")
            f.label("run")
        return f

    def promises(self, buffer: int) -> str:
        """What LLVM may rely on: with memory that nothing writes, loads go through the cache of
        constants."""
        aligned = f" align {self.alignments[buffer]}" if self.alignments[buffer] > 1 else ""
        written = written_memory(self.kernel, self.roots)
        only_read = written.isdisjoint(self.roots[buffer].memories())
        return f" noalias readonly{aligned}" if only_read else aligned

    def add(self, f: Function, grid: int, block: int) -> None:
        if self.settings.has_status:
            f.branch("leave")
            f.label("leave")
        f.line("ret void")
        self.module.add(f)
        self.launches.append(DeviceKernel(f.name, grid, block, 0))

    def thread(self, f: Function) -> ThreadEmitter:
        bases = [Reg(p.text, "ptr") for p in f.parameters[: len(self.kernel.buffers)]]
        return ThreadEmitter(f, self.kernel, bases, self.alignments)

    def enter(self, emitter: ThreadEmitter, statements: Sequence[Statement]) -> None:
        """Make known what statements need of what was made before this function."""
        for number in needed(statements, self.plan.again):
            if number in emitter.values:
                continue
            if number in self.plan.again:
                emitter.statement(self.plan.again[number])
            elif number in self.slots:
                name = self.plan.kept[self.slots[number]]
                emitter.values[number] = self.slot_value(emitter, name)

    def slot_value(self, emitter: ThreadEmitter, name: Name) -> Reg:
        raw = emitter.f.load(self.slot(emitter.f, name), memory_elem(name.dtype))
        return emitter.as_value(raw, name.dtype)

    def slot(self, f: Function, name: Name) -> Reg:
        return f.offset(WORK, "i8", constant(SLOT * self.slots[name.number], I64))

    def keep(self, emitter: TeamEmitter) -> None:
        """Store what later launches need."""
        names = [n for n in self.plan.kept if n.number in emitter.values]
        if names:
            with only_if(emitter.f, emitter.is_first()):
                for name in names:
                    value = emitter.as_memory(emitter.values[name.number], name.dtype)
                    emitter.f.store(value, self.slot(emitter.f, name))

    def bind(
        self, emitter: ThreadEmitter, units: Sequence[Unit], number: Reg, lanes: int = 1
    ) -> ExitStack:
        """Inside, the axes of units have the indices of unit `number`."""
        stack = ExitStack()
        if not units:
            return stack
        counts = [unit.turns for unit in units]
        counts[-1] //= lanes
        places = digits(emitter.f, number, counts)
        if lanes > 1:
            places[-1] = emitter.f.mul(places[-1], constant(lanes, I64))
        for unit, place in zip(units, places, strict=True):
            if unit.blocks is None:
                stack.enter_context(emitter.bound(unit.axis, place))
            else:
                stack.enter_context(emitter.block_at(unit.blocks, place))
        return stack

    def reserve(self, nbytes: int) -> None:
        self.workspace_bytes = max(self.workspace_bytes, rounded(nbytes))

    # ---- a thread for each unit ------------------------------------------------------------------

    def threads(self, phase: Phase, form: Form) -> None:
        nest, f = form.nest, self.function()
        count = nest.size // form.lanes * form.parts
        emitter = self.thread(f)
        self.enter(emitter, (phase.main,) if phase.main else ())
        start = self.extra + (self.bytes_of_parts(form) if form.parts > 1 else 0)
        shape = self.grid_of_threads(count)
        placed = place_for_threads(self.kernel, nest, shape, self.limits, start)
        grid, threads = placed.grid, placed.block
        self.reserve(placed.stop)
        number = f.add(f.mul(place_in(f, "block"), constant(threads, I64)), place_in(f, "thread"))
        placed.apply(emitter, WORK, number)
        emitter.fixed = form.fixed

        def run(number: Reg, carried: list[Reg]) -> list[Reg]:
            unit, part = (number, None) if form.parts == 1 else self.divided(f, number, form)
            with self.bind(emitter, nest.units, unit, form.lanes):
                if form.lanes > 1:
                    emitter.lanes, emitter.vector_axis = form.lanes, nest.units[-1].axis
                if part is None:
                    emitter.block((*nest.before, *nest.body))
                else:
                    self.column_part(emitter, form, unit, part)
                emitter.lanes, emitter.vector_axis = 1, None
            return carried

        in_turns(f, number, count, grid * threads, [], run)
        self.add(f, grid, threads)
        if form.parts > 1:
            self.columns_together(phase, form)

    def grid_of_threads(self, count: int) -> tuple[int, int]:
        threads = min(self.limits.threads, -(-count // WARP) * WARP)
        return min(-(-count // threads), self.limits.most_blocks), threads

    # ---- reductions in parts: columns ------------------------------------------------------------

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
        """A thread for each unit adds up its parts, and does what comes after."""
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

    # ---- a team for each unit --------------------------------------------------------------------

    def team_emitter(self, f: Function, form: Form, placed: Placement) -> tuple[TeamEmitter, Reg]:
        """The emitter of a team, and the number of this thread's team in the grid."""
        block = place_in(f, "block")
        if placed.block == form.team:
            team, number = block_team(f, form.team), block
        else:
            team = warp_team(f)
            warp = f.lshr(place_in(f, "thread"), constant(WARP.bit_length() - 1, I64))
            number = f.add(f.mul(block, constant(placed.block // WARP, I64)), warp)
        emitter = TeamEmitter(self.thread(f), self.roots, team, form.lanes, placed)
        placed.apply(emitter, WORK, number)
        return emitter, number

    def teams(self, phase: Phase, form: Form) -> None:
        nest, f = form.nest, self.function()
        count = nest.size * form.parts
        start = self.extra + (self.bytes_of_parts(form) if form.parts > 1 else 0)
        placed = place_for_teams(self.kernel, self.roots, form, count, self.limits, start, f)
        self.reserve(placed.stop)
        emitter, number = self.team_emitter(f, form, placed)
        self.enter(emitter, (phase.main,) if phase.main else ())

        def run(number: Reg, carried: list[Reg]) -> list[Reg]:
            unit, part = (number, None) if form.parts == 1 else self.divided(f, number, form)
            with self.bind(emitter, nest.units, unit):
                if part is None:
                    emitter.turn((*nest.before, *nest.body), again=count > placed.teams)
                else:
                    self.row_part(emitter, form, unit, part)
            return carried

        in_turns(f, number, count, placed.teams, [], run)
        self.add(f, placed.grid, placed.block)
        if form.parts > 1:
            self.rows_together(phase, form)

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
        team = WARP if nest.units or form.parts <= 2 * WARP else self.limits.threads
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

    # ---- one block for everything ----------------------------------------------------------------

    def together(self, phase: Phase, form: Form) -> None:
        f = self.function()
        alone = form._replace(nest=form.nest._replace(body=phase.statements, before=(), units=()))
        placed = place_for_teams(self.kernel, self.roots, alone, 1, self.limits, self.extra, f)
        self.reserve(placed.stop)
        emitter, _ = self.team_emitter(f, alone, placed)
        if phase.main is not None:
            self.enter(emitter, (phase.main,))
            emitter.statement(phase.main)
        self.enter(emitter, phase.rest)
        emitter.block(phase.rest)
        self.keep(emitter)
        self.add(f, 1, placed.block)

    def all_together(self) -> None:
        """One block runs the kernel as it is written."""
        f, body = self.function(), self.kernel.body
        threads = max(2 * WARP, min(self.limits.threads, work_of(self.kernel) // WARP * WARP))
        nest = Nest((), (), body)
        form = Form("together", nest, threads, lanes_of_rows(self.kernel, nest))
        placed = place_for_teams(self.kernel, self.roots, form, 1, self.limits, self.extra, f)
        self.reserve(placed.stop)
        emitter, _ = self.team_emitter(f, form, placed)
        emitter.block(body)
        self.add(f, 1, placed.block)

    # ---- tiles of a matrix product ---------------------------------------------------------------

    def tiles(self, phase: Phase, form: Form) -> None:
        """A block for each tile."""
        nest, f, product = form.nest, self.function(), form.nest.body[-1]
        assert isinstance(product, Product)
        tiling: Tiling = tiling_of(product, form.team)
        across, down = -(-product.columns // tiling.columns), -(-product.rows // tiling.rows)
        count = nest.size * across * down
        if not count:
            return
        placed = place_for_teams(self.kernel, self.roots, form, count, self.limits, self.extra, f)
        self.reserve(placed.stop)
        emitter, number = self.team_emitter(f, form, placed)
        self.enter(emitter, (phase.main,) if phase.main else ())

        def run(number: Reg, carried: list[Reg]) -> list[Reg]:
            unit, row, column = digits(f, number, [nest.size, down, across])
            with self.bind(emitter, nest.units, unit):
                before = (*nest.before, *nest.body[:-1])
                emitter.turn(before, lambda: emit_tile(emitter, product, tiling, row, column))
            return carried

        in_turns(f, number, count, placed.teams, [], run)
        self.add(f, placed.grid, placed.block)


def rounded(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def until(body: Sequence[Statement], loop: Loop) -> tuple[Statement, ...]:
    """The statements before a loop."""
    return tuple(body[: body.index(loop)])


def after(body: Sequence[Statement], loop: Loop) -> tuple[Statement, ...]:
    """The statements behind a loop."""
    return tuple(body[body.index(loop) + 1 :])
