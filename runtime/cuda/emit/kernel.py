"""From a kernel to device functions: which launches there are, and what the threads of each do.

A phase of the kernel (`plan/phases.py`) takes one of these forms (`plan/forms.py` chooses):

  - *elements*: a thread for each element of a nest, or for a few neighbouring ones;
  - *threads*: a thread for each unit of a nest, which runs the loops inside alone: sums of columns,
    which threads side by side read side by side;
  - *teams*: a warp or a block for each unit: rows;
  - *tiles*: a block for each tile of a matrix product;
  - *sorted*: a block for each tile of rows that are sorted, then launches that merge tiles;
  - *added*: additions at computed positions, sorted by these and totalled;
  - *written*: a thread for each of several positions, of which the last one counts;
  - *scanned*: a thread for each piece of a column of a running operation;
  - *together*: one block for everything, for what is small or has an order to keep.

A long reduction with few units is done in parts: teams or threads total a part each, and a second
launch puts the parts together, always in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphc.runtime.cuda.emit.additions import AdditionsEmitter
from graphc.runtime.cuda.emit.affine import AffineScanner
from graphc.runtime.cuda.emit.branches import digits, in_turns, only_if
from graphc.runtime.cuda.emit.elements import I64, Target
from graphc.runtime.cuda.emit.last_writer import emit_last_writer
from graphc.runtime.cuda.emit.launches import WORK, Inherited
from graphc.runtime.cuda.emit.placement import (
    RESERVED_SHARED,
    Placement,
    place_for_teams,
    place_for_threads,
)
from graphc.runtime.cuda.emit.scan import Scanner
from graphc.runtime.cuda.emit.simt import place_in, shared_array
from graphc.runtime.cuda.emit.sort import emit_sorting
from graphc.runtime.cuda.emit.statements import ThreadEmitter
from graphc.runtime.cuda.emit.team_work import TeamEmitter
from graphc.runtime.cuda.emit.tiles import TilesEmitter
from graphc.runtime.cuda.plan.additions import additions_of
from graphc.runtime.cuda.plan.device_kernel import (
    VECTOR_BYTES,
    WARP,
    Launches,
    aligned,
)
from graphc.runtime.cuda.plan.forms import (
    Form,
    Targets,
    choose_form,
    lanes_of_rows,
    work_of,
)
from graphc.runtime.cuda.plan.last_writer import writers_of
from graphc.runtime.cuda.plan.mapping import Nest, Unit
from graphc.runtime.cuda.plan.phases import Phase
from graphc.runtime.cuda.plan.row_totals import RowHalves, part_root, row_halves
from graphc.runtime.cuda.plan.scans import scan_of
from graphc.runtime.cuda.plan.side_by_side import side_by_side
from graphc.runtime.cuda.plan.sorting import sorting_of
from graphc.runtime.cuda.plan.totals_apart import totals_apart
from graphc.runtime.cuda.plan.whole import nbytes_of, whole
from graphc.runtime.kernel import Kernel, Statement
from graphc.runtime.llvm.elements import memory_elem
from graphc.runtime.llvm.registers import Reg, constant

MOST_SHARED_PARTS = RESERVED_SHARED - 2048
"""Bytes of totals over rows that a block keeps in shared memory."""


class KernelEmitter(TilesEmitter):
    """Writes all launches of a kernel."""

    def emit(self) -> Launches:
        forms = {
            "elements": self.threads,
            "threads": self.threads,
            "teams": self.teams,
            "tiles": self.tiles,
            "sorted": self.sorted,
            "scanned": self.scanned,
            "added": self.added,
            "written": self.written,
            "together": self.together,
        }
        if len(self.plan.phases) > 1 and work_of(self.kernel) <= self.limits.little_work:
            self.all_together()
            return self.finished()
        if (halves := row_halves(self.kernel, self.roots, self.plan, self.limits)) is not None:
            self.in_halves(halves)
            return self.finished()
        if (divided := totals_apart(self.kernel, self.roots, self.limits)) is not None:
            self.in_nests(divided)
            return self.finished()
        atomics = self.settings.atomics
        chosen = [
            (phase, choose_form(self.kernel, self.roots, phase, self.limits, atomics))
            for phase in self.plan.phases
        ]
        for group in side_by_side(self.kernel, self.roots, chosen):
            if len(group) > 1:
                self.elements_side_by_side(group)
            else:
                ((phase, form),) = group
                forms[form.kind](phase, form)
        return self.finished()

    # ---- a thread for each unit ------------------------------------------------------------------

    def threads(self, phase: Phase, form: Form) -> None:
        nest, f = form.nest, self.function()
        ranges = 1 if form.targets is None else form.targets.ranges
        count = nest.size // form.lanes * form.parts * ranges
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
        emitter.adds_at_once = form.adds_at_once

        def run(number: Reg, carried: list[Reg]) -> list[Reg]:
            unit, part = (number, None) if form.parts == 1 else self.divided(f, number, form)
            if form.targets is not None:
                unit = self.aimed(emitter, form, form.targets, number)
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

    def elements_side_by_side(self, group: Sequence[tuple[Phase, Form]]) -> None:
        """One launch for elementwise nests that do not see each other: blocks for each of them."""
        f, start = self.function(), 0
        counts = [form.nest.size // form.lanes for _, form in group]
        threads = max(self.grid_of_threads(count)[1] for count in counts)
        block, thread = place_in(f, "block"), place_in(f, "thread")
        for (phase, form), count in zip(group, counts, strict=True):
            grid = min(-(-count // threads), self.limits.most_blocks)
            own = f.sub(block, constant(start, I64))
            emitter = self.thread(f)
            number = f.add(f.mul(own, constant(threads, I64)), thread)
            run = self.element_of(emitter, form)
            with only_if(f, f.icmp("ult", own, constant(grid, I64))):
                self.enter(emitter, (phase.main,) if phase.main else ())
                in_turns(f, number, count, grid * threads, [], run)
            start += grid
        self.add(f, start, threads)

    def element_of(
        self, emitter: ThreadEmitter, form: Form
    ) -> Callable[[Reg, list[Reg]], list[Reg]]:
        """What a thread does for the element, or the vector, of a number."""
        nest = form.nest

        def run(number: Reg, carried: list[Reg]) -> list[Reg]:
            with self.bind(emitter, nest.units, number, form.lanes):
                if form.lanes > 1:
                    emitter.lanes, emitter.vector_axis = form.lanes, nest.units[-1].axis
                emitter.block((*nest.before, *nest.body))
                emitter.lanes, emitter.vector_axis = 1, None
            return carried

        return run

    def aimed(self, emitter: ThreadEmitter, form: Form, targets: Targets, number: Reg) -> Reg:
        """The unit of a number; this thread adds at the places of its range alone."""
        f = emitter.f
        which, unit = digits(f, number, [targets.ranges, form.nest.size])
        low = f.mul(which, constant(targets.size, I64))
        high = f.add(low, constant(targets.size, I64))
        emitter.target = Target(targets.position, low, high)
        return unit

    # ---- a team for each unit --------------------------------------------------------------------

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

    # ---- routines -------------------------------------------------------------------------------

    def sorted(self, phase: Phase, form: Form) -> None:
        sorting = sorting_of(form.nest)
        assert sorting is not None
        emit_sorting(self, sorting)

    def scanned(self, phase: Phase, form: Form) -> None:
        scan = scan_of(form.nest, self.limits)
        assert scan is not None
        (AffineScanner if scan.is_affine else Scanner)(self, scan).emit()

    def written(self, phase: Phase, form: Form) -> None:
        writers = writers_of(form.nest)
        assert writers is not None
        emit_last_writer(self, writers)

    def added(self, phase: Phase, form: Form) -> None:
        assert phase.main is not None
        additions = additions_of(self.kernel, self.roots, phase.main, self.limits)
        assert additions is not None
        AdditionsEmitter(self, additions, phase.main).emit()

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

    # ---- more nests than there were --------------------------------------------------------------

    def in_nests(self, divided: Kernel) -> None:
        """The kernel in another form, with buffers in the workspace for what its nests keep."""
        parts, place = dict(self.parts), self.extra
        numbers = range(len(self.kernel.buffers), len(divided.buffers))
        for number in numbers:
            parts[number] = place
            place += aligned(nbytes_of(divided, number))
        emitter = KernelEmitter(
            self.module,
            divided,
            [*self.roots, *(part_root(divided, number) for number in numbers)],
            [*self.alignments, *(VECTOR_BYTES for _ in numbers)],
            self.settings,
            Inherited(self.launches, self.pointers, parts, place),
        )
        self.workspace_bytes = emitter.emit().workspace_bytes

    # ---- rows that are added up ------------------------------------------------------------------

    def in_halves(self, halves: RowHalves) -> None:
        """Each team adds up rows of its own; a second kernel adds up what the teams have found."""
        first, second = halves.first, halves.second
        parts: dict[int, int] = {}
        place = self.extra
        for number in range(len(self.kernel.buffers), len(first.buffers)):
            parts[number] = place
            place += aligned(nbytes_of(second, number))
        roots = [*self.roots, *(part_root(first, number) for number in parts)]
        alignments = [*self.alignments, *(VECTOR_BYTES for _ in parts)]
        emitter = KernelEmitter(
            self.module,
            first,
            roots,
            alignments,
            self.settings,
            Inherited(self.launches, self.pointers, parts, place),
        )
        emitter.add_rows(halves, self.plan.again)
        following = KernelEmitter(
            self.module,
            second._replace(name=self.kernel.name),
            roots,
            alignments,
            self.settings,
            Inherited(self.launches, self.pointers, parts, emitter.workspace_bytes),
        )
        self.workspace_bytes = following.emit().workspace_bytes

    def add_rows(self, halves: RowHalves, again: dict[int, Statement]) -> None:
        """The launch of the first half: a team for each share of the rows."""
        f, nest, shares = self.function(), halves.nest, halves.shares
        self.plan = self.plan._replace(again=again)
        axis = nest.axes[0]
        units = Nest((Unit(axis, shares),), (), nest.body)
        form = Form("teams", units, halves.team, halves.lanes)
        placed = place_for_teams(
            self.kernel, self.roots, form, shares, self.limits, self.extra, f, grid_is_fixed=True
        )
        self.reserve(placed.stop)
        placed = placed._replace(own=placed.own | set(self.parts))
        emitter, number = self.team_emitter(f, form, placed)
        found = self.places_of_parts(emitter, number)
        shared = self.shared_parts(emitter, placed, number)
        emitter.bases[self.pointers :] = shared or found
        self.enter(emitter, self.kernel.body)

        def run(number: Reg, carried: list[Reg]) -> list[Reg]:
            emitter.ranges = {axis: self.range_of(f, number, emitter.sizes[axis], shares)}
            emitter.block(self.kernel.body)
            if shared:
                emitter.wait()
                for buffer, source, target in zip(self.parts, shared, found, strict=True):
                    self.copy_part(emitter, buffer, source, target)
            return carried

        in_turns(f, number, shares, placed.teams, [], run)
        self.add(f, placed.grid, placed.block)

    def places_of_parts(self, emitter: TeamEmitter, number: Reg) -> list[Reg]:
        """Where in the workspace this team leaves its totals."""
        f, places = emitter.f, []
        for buffer in self.parts:
            own = self.kernel.buffers[buffer]
            step = f.mul(number, f.number(own.size))
            places.append(f.offset(emitter.bases[buffer], memory_elem(own.dtype), step))
        return places

    def shared_parts(self, emitter: TeamEmitter, placed: Placement, number: Reg) -> list[Reg]:
        """Where in shared memory this team adds up; nothing if that has no room."""
        f, teams = emitter.f, placed.teams // placed.grid
        sizes = [nbytes_of(self.kernel, buffer) for buffer in self.parts]
        if sum(sizes) * teams > MOST_SHARED_PARTS:
            return []
        within = f.binary("urem", number, constant(teams, I64))
        return [
            f.offset(
                shared_array(self.module, f"{f.name}_sums_{buffer}", size * teams),
                "i8",
                f.mul(within, constant(size, I64)),
            )
            for buffer, size in zip(self.parts, sizes, strict=True)
        ]

    def copy_part(self, emitter: TeamEmitter, buffer: int, source: Reg, target: Reg) -> None:
        f, own = emitter.f, self.kernel.buffers[buffer]
        elem = memory_elem(own.dtype)

        def run(number: Reg, carried: list[Reg]) -> list[Reg]:
            f.store(f.load(f.offset(source, elem, number), elem), f.offset(target, elem, number))
            return carried

        team = emitter.team
        in_turns(f, team.rank, whole(own.size), team.size, [], run)
