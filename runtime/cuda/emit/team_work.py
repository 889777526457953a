"""What a team of threads runs together.

All threads of a team run the same statements with the same values, except inside of a loop that is
*spread*: there each thread has turns of its own.  A short row stays in registers: what a thread has
loaded or stored in its turns of one loop it does not load in the same turns of the next.

A thread sees what another one wrote after they have waited for each other.  Waiting is written
where a statement touches memory that another thread may have touched since the last time, and one
of the two writes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

from graphc.runtime.cuda.emit.branches import digits, in_turns, only_if
from graphc.runtime.cuda.emit.elements import I64
from graphc.runtime.cuda.emit.matrix import emit_matrix
from graphc.runtime.cuda.emit.placement import Placement
from graphc.runtime.cuda.emit.row_warps import emit_rows, registers_of_warps
from graphc.runtime.cuda.emit.running import emit_running
from graphc.runtime.cuda.emit.statements import ThreadEmitter
from graphc.runtime.cuda.emit.team import Team
from graphc.runtime.cuda.emit.tensor import write_tile
from graphc.runtime.cuda.plan.device_kernel import WARP
from graphc.runtime.cuda.plan.mapping import is_spreadable
from graphc.runtime.cuda.plan.running import running_of
from graphc.runtime.cuda.plan.small_matrices import is_small_matrix
from graphc.runtime.cuda.plan.spreading import (
    Spread,
    Touch,
    is_held,
    merged,
    spread_of,
    touches_of,
)
from graphc.runtime.cuda.plan.tensor_tiling import described, team_tiling
from graphc.runtime.cuda.plan.tiling import tile_counts, tiling_of
from graphc.runtime.kernel import (
    Access,
    AddAt,
    Blocks,
    Load,
    Loop,
    Native,
    Product,
    Statement,
    Store,
    Transpose,
    accesses,
    inner,
    is_plain,
)
from graphc.runtime.llvm.math import SCALARS
from graphc.runtime.llvm.registers import Reg, constant
from graphc.runtime.program import Root
from graphc.runtime.reductions import COMBINE


class TeamEmitter(ThreadEmitter):
    """Emits statements for the threads of a team.

    `lanes_at_most` are the elements that one access may have.
    """

    def __init__(
        self,
        thread: ThreadEmitter,
        roots: Sequence[Root],
        team: Team,
        lanes_at_most: int,
        placed: Placement,
        tensor_elems: frozenset[str] = frozenset(),
    ):
        super().__init__(thread.f, thread.kernel, thread.bases, thread.alignments)
        self.roots = roots
        self.team = team
        self.lanes_at_most = lanes_at_most
        self.registers = placed.registers
        self.own = placed.own
        self.shared = frozenset(number for number, *_ in (*placed.shared, *placed.stack))
        self.tensor_elems = tensor_elems
        self.products: list[str] = []
        self.pitches = placed.pitches
        self.alone = False
        self.touched: list[Touch] = []
        self.held: dict[tuple[Spread, Access, int], Reg] = {}
        self.sites = 0
        self.waits = 0

    # ---- waiting ---------------------------------------------------------------------------------

    def memories(self, buffer: int) -> set[Root | int]:
        """What may be the same memory has something in common here."""
        if buffer in self.own:
            return {buffer}
        return set(self.roots[buffer].memories())

    def meet(self, touches: Sequence[Touch]) -> None:
        """Wait, if these touch what others have touched."""
        if any(self._clash(a, b) for a in self.touched for b in touches):
            self.wait()
        self.touched += touches
        for touch in touches:
            if touch.writes:
                self._forget(touch)

    def wait(self) -> None:
        self.team.wait(self.f)
        self.touched = []
        self.waits += 1

    def _clash(self, before: Touch, now: Touch) -> bool:
        if not (before.writes or now.writes):
            return False
        if self.memories(before.access.buffer).isdisjoint(self.memories(now.access.buffer)):
            return False
        same = before.spread is not None and before.spread == now.spread
        same = same and before.access._replace(buffer=0) == now.access._replace(buffer=0)
        return not (same and before.spread is not None and before.spread.owns(before.access))

    def _forget(self, touch: Touch) -> None:
        """Values in registers that memory no longer holds."""
        written = self.memories(touch.access.buffer)
        for key in [*self.held]:
            spread, access, _ = key
            is_it = spread == touch.spread and access == touch.access
            if not is_it and not written.isdisjoint(self.memories(access.buffer)):
                del self.held[key]

    def turn(
        self,
        statements: Sequence[Statement],
        after: Callable[[], None] | None = None,
        again: bool = True,
    ) -> None:
        """Statements that the team may run `again`: what it knows ends with each turn."""
        self.held, self.touched = {}, []
        sites, waits = self.sites, self.waits
        self.block(statements)
        if after is not None:
            after()
        writes = any(t.writes for t in self.touched)
        if again and (writes or self.sites > sites or self.waits > waits):
            self.wait()
        self.held, self.touched = {}, []

    # ---- statements ------------------------------------------------------------------------------

    def statement(self, statement: Statement) -> None:
        if self.alone:
            super().statement(statement)
            return
        match statement:
            case Load(access=access):
                self.meet([Touch(access, None, False)])
                super().statement(statement)
            case Store() | AddAt() | Native():
                self.meet(touches_of(self.kernel, (statement,), None))
                running = running_of(statement)
                if isinstance(statement, Native) and running is not None:
                    emit_running(self, statement, running)
                    return
                if isinstance(statement, Native) and is_small_matrix(statement):
                    places = [self.argument(a) for a in statement.arguments]
                    emit_matrix(self.f, self.team, statement, places)
                    return
                with only_if(self.f, self.is_first()):
                    super().statement(statement)
            case _:
                super().statement(statement)

    def is_first(self) -> Reg:
        return self.f.icmp("eq", self.team.rank, constant(0, I64))

    def loop(self, loop: Loop) -> None:
        inside = self.kernel._replace(domain=tuple(self.sizes))
        whole = loop if self.alone else merged(inside, self.roots, loop)
        if self.alone:
            super().loop(loop)
        elif isinstance(whole, Loop) and is_spreadable(inside, self.roots, whole):
            self.spread(whole)
        elif (registers := registers_of_warps(self, loop)) is not None:
            emit_rows(self, loop, registers)
        else:
            self.start_turns(loop.body)
            super().loop(loop)

    def start_turns(self, statements: Sequence[Statement]) -> None:
        if any(t.writes for t in self.touched) or any(
            t.writes for t in touches_of(self.kernel, statements, None)
        ):
            self.wait()

    def body_of(self, loop: Loop | Blocks) -> None:
        if self.alone:
            super().body_of(loop)
        else:
            self.turn(loop.body)

    def blocks(self, blocks: Blocks) -> None:
        if not self.alone:
            self.start_turns(blocks.body)
        super().blocks(blocks)

    def product(self, product: Product) -> None:
        """Tile after tile."""
        if self.alone:
            super().product(product)
            return
        self.meet(touches_of(self.kernel, (product,), None))
        size = self.team.size
        tiling = team_tiling(self.kernel, product, size, self.tensor_elems) or tiling_of(size)
        down, across = tile_counts(tiling, product)
        if not across * down:
            return
        self.products.append(described(self.kernel, product, tiling, self.tensor_elems))
        f, zero = self.f, constant(0, I64)
        with f.loop(zero, constant(across * down, I64), 1) as state:
            row, column = digits(f, state.index, [down, across])
            write_tile(self, product, tiling, row, column)
            self.wait()

    def transpose(self, statement: Transpose) -> None:
        """Threads side by side read elements side by side."""
        if self.alone:
            super().transpose(statement)
            return
        self.meet(touches_of(self.kernel, (statement,), None))
        axes = statement.column, statement.row
        if self.kernel.buffers[statement.source.buffer].role == "scratch":
            axes = statement.row, statement.column
        sizes = tuple(self.sizes[axis] for axis in axes)

        def run(number: Reg, carried: list[Reg]) -> list[Reg]:
            with ExitStack() as stack:
                places = digits(self.f, number, sizes)
                for axis, place in zip(axes, places, strict=True):
                    stack.enter_context(self.bound(axis, place))
                self.moved(statement)
            return carried

        if math.prod(sizes):
            in_turns(self.f, self.team.rank, math.prod(sizes), self.team.size, [], run)

    # ---- spread loops ----------------------------------------------------------------------------

    def spread_of(self, loop: Loop) -> Spread:
        return spread_of(loop, self.sizes, self.lanes_at_most)

    def spread(self, loop: Loop, part: tuple[Reg, Reg, int] | None = None) -> None:
        """A loop whose turns fall to the threads; `part` are the first of its turns, the one after
        the last, and how many there are at most, where it is not all of them."""
        spread = self.spread_of(loop)
        totals = self.start_lanes(loop, spread.lanes)
        if spread.turns and part is not None:
            totals = self._turns(loop, spread, totals, part)
        elif spread.turns and is_held(loop, spread, self.team.size):
            totals = self._straight(loop, spread, totals)
        elif spread.turns:
            totals = self._turns(loop, spread, totals, None)
        self.combine_totals(loop, totals)

    def combine_totals(self, loop: Loop, totals: Sequence[Reg]) -> None:
        """What each thread has found, combined for all of them."""
        for accumulator, total in zip(loop.accumulators, totals, strict=True):
            value = self._across_lanes(accumulator.combine, total)
            dtype = accumulator.out.dtype
            combined = self.team.combined(self.f, accumulator.combine, dtype, value, self.sites)
            self.sites += 1
            if self.team.is_block and self.team.size > WARP:
                self.touched = []  # they have waited for each other's parts
            self.values[accumulator.out.number] = combined

    def start_lanes(self, loop: Loop, lanes: int) -> list[Reg]:
        self.lanes = lanes
        totals = self.start(loop)
        self.lanes = 1
        return totals

    def _across_lanes(self, combine: str, total: Reg) -> Reg:
        while total.lanes > 1:
            low, high = (self.f.half(total, part) for part in (0, 1))
            total = SCALARS[COMBINE[combine]](self.f, low, high)
        return total

    def _turns(
        self, loop: Loop, spread: Spread, totals: list[Reg], part: tuple[Reg, Reg, int] | None
    ) -> list[Reg]:
        self.meet(touches_of(self.kernel, loop.body, spread))
        self._drop(loop)
        first: Reg = self.team.rank
        stop: Reg | int = spread.turns
        if part is not None:
            first, stop = self.f.add(part[0], first), part[1]

        def run(number: Reg, carried: list[Reg]) -> list[Reg]:
            with self.at_turn(spread, number):
                self.block(loop.body)
                return self.combined(loop, carried)

        return in_turns(self.f, first, stop, self.team.size, totals, run)

    def _drop(self, loop: Loop) -> None:
        """What the turns of a loop store is not in registers afterwards."""
        for access in accesses(loop.body):
            memory = self.memories(access.buffer)
            stored = any(isinstance(s, (Store, AddAt)) for s in inner(loop.body))
            for key in [*self.held]:
                if stored and not memory.isdisjoint(self.memories(key[1].buffer)):
                    del self.held[key]

    def at_turn(self, spread: Spread, number: Reg) -> ExitStack:
        """Inside, this thread alone runs the turn of this number."""
        counts = [*spread.sizes]
        counts[-1] //= spread.lanes
        places = digits(self.f, number, counts)
        if spread.lanes > 1:
            places[-1] = self.f.mul(places[-1], constant(spread.lanes, I64))
        stack = ExitStack()
        for axis, place in zip(spread.axes, places, strict=True):
            stack.enter_context(self.bound(axis, place))
        self.alone = True
        self.lanes, self.vector_axis = spread.lanes, spread.axes[-1]

        def end() -> None:
            self.alone = False
            self.lanes, self.vector_axis = 1, None

        stack.callback(end)
        return stack

    def _straight(self, loop: Loop, spread: Spread, totals: list[Reg]) -> list[Reg]:
        """Turn after turn without a branch; threads beyond the last turn do that one again, and
        neither store nor count what they find."""
        self.meet([*self._unknown(loop, spread)])
        turns, size, f = spread.turns, self.team.size, self.f
        for turn in range(-(-turns // size)):
            number, inside = self.team.rank, None
            if turn:
                number = f.add(number, constant(turn * size, I64))
            if (turn + 1) * size > turns:
                inside = f.icmp("slt", number, constant(turns, I64))
                number = f.select(inside, number, constant(turns - 1, I64))
            with self.at_turn(spread, number):
                stores = self._one_turn(loop, spread, turn)
                new = self.combined(loop, totals)
                if inside is not None:
                    new = [f.select(inside, a, b) for a, b in zip(new, totals, strict=True)]
                totals = new
                if stores and inside is not None:
                    with only_if(f, inside):
                        self._write(stores)
                else:
                    self._write(stores)
        return totals

    def _unknown(self, loop: Loop, spread: Spread) -> Iterator[Touch]:
        """What the turns touch in memory, not in registers."""
        for touch in touches_of(self.kernel, loop.body, spread):
            known = (spread, touch.access, 0) in self.held and not touch.writes
            if not known and touch.access.buffer not in self.registers:
                yield touch

    def _one_turn(self, loop: Loop, spread: Spread, turn: int) -> list[tuple[Access, Reg]]:
        """The statements of a turn; what it stores is left to be written."""
        stores = []
        for statement in loop.body:
            key = None
            if isinstance(statement, Load) and is_plain(statement):
                key = (spread, statement.access, turn)
            if isinstance(statement, Store):
                value = self.operand(statement.value)
                if self.vector_stride(statement.access):
                    value = self.f.splat(value, self.lanes)
                self.held[spread, statement.access, turn] = value
                if statement.access.buffer not in self.registers:
                    stores.append((statement.access, value))
            elif key is not None and key in self.held:
                assert isinstance(statement, Load)
                self.values[statement.out.number] = self.held[key]
            else:
                self.statement(statement)
                if key is not None:
                    assert isinstance(statement, Load)
                    self.held[key] = self.values[statement.out.number]
        return stores

    def _write(self, stores: Sequence[tuple[Access, Reg]]) -> None:
        for access, value in stores:
            self.store(self.address(access), access, value)
