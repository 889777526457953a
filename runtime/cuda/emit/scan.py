"""Running sums, products and extrema of few long columns, by a thread for each piece of one.

Three launches, or more: the pieces' totals; those as a running operation of their own; and each
piece from the total of those before it.  The order depends on sizes alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from graphc.runtime.cuda.emit.branches import digits, in_turns
from graphc.runtime.cuda.emit.launches import WORK, LaunchEmitter
from graphc.runtime.cuda.emit.simt import place_in
from graphc.runtime.cuda.emit.statements import ThreadEmitter
from graphc.runtime.cuda.plan.device_kernel import aligned
from graphc.runtime.cuda.plan.running import COMBINE
from graphc.runtime.cuda.plan.scans import LAST, Scan
from graphc.runtime.cuda.plan.whole import whole
from graphc.runtime.kernel import Access
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.elements import memory_elem
from graphc.runtime.llvm.math import SCALARS
from graphc.runtime.llvm.registers import BITS, Reg, constant

I64 = "i64"
ZERO, ONE = constant(0, I64), constant(1, I64)


class Columns(NamedTuple):
    """Memory of blocks of `rows` x `columns`, `step` elements from block to block; in `reverse` its
    last row is the first."""

    base: Callable[[ThreadEmitter], Reg]
    elem: str
    rows: int
    columns: int
    step: int
    reverse: bool = False

    def at(self, thread: Thread, row: Reg) -> Reg:
        """The address of a row of the thread's column."""
        f = thread.f
        if self.reverse:
            row = f.sub(constant(self.rows - 1, I64), row)
        place = f.add(f.mul(row, constant(self.columns, I64)), thread.column)
        place = f.add(f.mul(thread.unit, constant(self.step, I64)), place)
        return f.offset(self.base(thread.emitter), self.elem, place)

    def load(self, thread: Thread, row: Reg) -> Reg:
        return thread.f.load(self.at(thread, row), self.elem)

    def store(self, thread: Thread, row: Reg, value: Reg) -> None:
        thread.f.store(value, self.at(thread, row))


class Thread(NamedTuple):
    """A thread while its code is written: its column of its block, and its piece of it."""

    emitter: ThreadEmitter
    unit: Reg
    piece: Reg
    column: Reg
    low: Reg
    high: Reg
    """The rows of the piece: the first one, and the one after the last."""

    @property
    def f(self) -> Function:
        return self.emitter.f

    def walk(
        self,
        first: Reg,
        carried: Sequence[Reg],
        advance: Callable[[Reg, list[Reg]], Sequence[Reg]],
    ) -> list[Reg]:
        """From row to row up to the end of the piece."""
        return in_turns(self.f, first, self.high, 1, carried, advance)


class Scanner:
    """Writes the launches of a running operation."""

    def __init__(self, launcher: LaunchEmitter, scan: Scan):
        self.launcher = launcher
        self.scan = scan
        self.stop = launcher.extra

    def emit(self) -> None:
        scan = self.scan
        self.run(self.memory(scan.sources[0]), self.memory(scan.target))
        self.launcher.reserve(self.stop)

    def memory(self, access: Access) -> Columns:
        """A block of an operand, or of the result."""
        scan = self.scan
        elem = memory_elem(self.launcher.kernel.buffers[access.buffer].dtype)
        step = whole(access.strides[scan.axis])
        return Columns(
            lambda e: e.address(access), elem, scan.rows, scan.columns, step, scan.reverse
        )

    def spare(self, elem: str, rows: int) -> Columns:
        """Workspace for some rows."""
        start, step = self.stop, rows * self.scan.columns
        self.stop += aligned(self.scan.units * step * BITS[elem] // 8)
        return Columns(
            lambda e: e.f.offset(WORK, "i8", constant(start, I64)),
            elem,
            rows,
            self.scan.columns,
            step,
        )

    def launch(self, rows: int, size: int, run: Callable[[Thread], None]) -> None:
        """A thread for each piece of `size` of so many rows of each column."""
        launcher, scan = self.launcher, self.scan
        pieces = -(-rows // size)
        count = scan.units * pieces * scan.columns
        grid, threads = launcher.grid_of_threads(count)
        f = launcher.function()
        emitter = launcher.thread(f)
        first = f.add(f.mul(place_in(f, "block"), constant(threads, I64)), place_in(f, "thread"))

        def turn(number: Reg, carried: list[Reg]) -> list[Reg]:
            unit, piece, column = digits(f, number, [scan.units, pieces, scan.columns])
            low = f.mul(piece, constant(size, I64))
            high = f.intrinsic("smin", f.add(low, constant(size, I64)), constant(rows, I64))
            run(Thread(emitter, unit, piece, column, low, high))
            return carried

        in_turns(f, first, count, grid * threads, [], turn)
        launcher.add(f, grid, threads)

    # ---- totals that are put together in any order -----------------------------------------------

    def combined(self, f: Function, before: Reg, element: Reg) -> Reg:
        return SCALARS[COMBINE[self.scan.routine]](f, before, element)

    def run(self, source: Columns, target: Columns) -> None:
        """Every row of the target is that of the source and all before it, combined."""
        size = self.scan.piece
        if source.rows <= LAST:
            self.launch(source.rows, source.rows, lambda t: self.follow(t, source, target, None))
            return
        totals = self.spare(source.elem, -(-source.rows // size))
        self.launch(source.rows, size, lambda t: self.total(t, source, totals))
        self.run(totals, totals)
        self.launch(source.rows, size, lambda t: self.follow(t, source, target, totals))

    def total(self, thread: Thread, source: Columns, totals: Columns) -> None:
        def advance(row: Reg, before: list[Reg]) -> list[Reg]:
            return [self.combined(thread.f, before[0], source.load(thread, row))]

        first = source.load(thread, thread.low)
        (total,) = thread.walk(thread.f.add(thread.low, ONE), [first], advance)
        totals.store(thread, thread.piece, total)

    def follow(
        self, thread: Thread, source: Columns, target: Columns, totals: Columns | None
    ) -> None:
        """The rows of a piece; `totals` has for each piece everything to its end."""
        f, start = thread.f, source.load(thread, thread.low)
        if totals is not None:
            has_more = f.icmp("sgt", thread.piece, ZERO)

            def after() -> list[Reg]:
                before = totals.load(thread, f.sub(thread.piece, ONE))
                return [self.combined(f, before, start)]

            (start,) = f.carried_if(has_more, [start], after)
        target.store(thread, thread.low, start)

        def advance(row: Reg, before: list[Reg]) -> list[Reg]:
            value = self.combined(f, before[0], source.load(thread, row))
            target.store(thread, row, value)
            return [value]

        thread.walk(f.add(thread.low, ONE), [start], advance)
