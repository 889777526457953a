"""Additions of floats at computed positions: sorted by where they add, then totalled.

Each thread goes through a stretch of the sorted entries.  Of an element whose entries all lie
inside, it adds the total.  The first and the last element of a stretch may go on in its neighbours:
what it has of these is left as two entries of the next launch, which totals them in the same way,
until one stretch holds everything.  So the order of additions depends on the positions alone, and
no two threads of a launch add at the same element.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from graphc.runtime.cuda.emit.branches import digits, in_turns, only_if
from graphc.runtime.cuda.emit.launches import WORK, LaunchEmitter
from graphc.runtime.cuda.emit.simt import place_in
from graphc.runtime.cuda.emit.sort import Array, Run, Sorter
from graphc.runtime.cuda.emit.statements import ThreadEmitter
from graphc.runtime.cuda.plan.additions import STRETCH, Additions, count_of
from graphc.runtime.cuda.plan.device_kernel import aligned
from graphc.runtime.cuda.plan.mapping import Unit
from graphc.runtime.cuda.plan.whole import whole
from graphc.runtime.kernel import Statement
from graphc.runtime.llvm.elements import memory_elem
from graphc.runtime.llvm.math import SCALARS
from graphc.runtime.llvm.registers import BITS, Reg, constant

I64 = "i64"
ZERO = constant(0, I64)
NOBODY = constant(-1, I64)
"""The key of an entry that is left out."""


class Entries(NamedTuple):
    """Sorted entries: the keys, and how a value is read."""

    size: int
    keys: Array
    value: Callable[[ThreadEmitter, Reg, Reg], Reg]
    """From the number of an entry, and the column."""


class Thread(NamedTuple):
    """A thread while its code is written: its stretch, and its column."""

    emitter: ThreadEmitter
    stretch: Reg
    column: Reg


class AdditionsEmitter:
    """Writes the launches of additions at computed positions."""

    def __init__(self, launcher: LaunchEmitter, additions: Additions, main: Statement):
        self.launcher = launcher
        self.additions = additions
        self.main = main
        self.count = count_of(additions.entries)
        self.columns = count_of(additions.columns)
        target = launcher.kernel.buffers[additions.addition.access.buffer]
        self.dtype = target.dtype
        self.elem = memory_elem(target.dtype)
        self.key_elem = "i32" if whole(target.size) < 1 << 31 else I64
        self.stop = launcher.extra

    def emit(self) -> None:
        keys, numbers = self.spare(self.key_elem, self.count), self.spare(I64, self.count)
        sorter = Sorter(self.launcher, self.key_elem, (1, self.count), self.key, self.stop)
        sorter.prepare = self.prepare
        sorter.emit(Run(keys, numbers))

        def value(emitter: ThreadEmitter, entry: Reg, column: Reg) -> Reg:
            number = emitter.f.load(numbers.at(emitter, ZERO, entry), I64)
            return self.value(emitter, number, column)

        entries = Entries(self.count, keys, value)
        while entries.size > STRETCH:
            entries = self.total(entries)
        self.total(entries)
        self.launcher.reserve(self.stop)

    def spare(self, elem: str, count: int, step: int = 1) -> Array:
        """Workspace for `count` rows of `step` elements."""
        start = self.stop
        self.stop += aligned(count * step * BITS[elem] // 8)
        return Array(lambda e: e.f.offset(WORK, "i8", constant(start, I64)), elem, step)

    # ---- entries ---------------------------------------------------------------------------------

    def prepare(self, emitter: ThreadEmitter) -> None:
        self.launcher.enter(emitter, (self.main,))

    def at(self, emitter: ThreadEmitter, units: Sequence[Unit], number: Reg) -> ExitStack:
        return self.launcher.bind(emitter, units, number)

    def key(self, emitter: ThreadEmitter, row: Reg, number: Reg) -> Reg:
        """How many elements from where its column begins an entry adds."""
        f, addition = emitter.f, self.additions.addition
        with self.at(emitter, self.additions.entries, number):
            emitter.block(self.additions.for_key)
            total = emitter.steps(addition)
            for unit in self.additions.entries:
                stride = whole(addition.access.strides[unit.axis])
                if stride:
                    step = f.mul(emitter.indices[unit.axis], constant(stride, I64))
                    total = f.add(total, step)
        return total if self.key_elem == I64 else f.convert("trunc", total, self.key_elem)

    def value(self, emitter: ThreadEmitter, number: Reg, column: Reg) -> Reg:
        """The value that an entry adds in a column."""
        additions = self.additions
        with (
            self.at(emitter, additions.entries, number),
            self.at(emitter, additions.columns, column),
        ):
            emitter.block(additions.for_value)
            return emitter.operand(additions.addition.value)

    def add(self, emitter: ThreadEmitter, key: Reg, column: Reg, total: Reg) -> None:
        """Add at an element, which is nobody else's."""
        f, access = emitter.f, self.additions.addition.access
        with self.at(emitter, self.additions.columns, column):
            at = f.offset(emitter.address(access), self.elem, key)
        before = emitter.as_value(f.load(at, self.elem), self.dtype)
        f.store(emitter.as_memory(SCALARS["add"](f, before, total), self.dtype), at)

    # ---- totals ----------------------------------------------------------------------------------

    def total(self, entries: Entries) -> Entries:
        """The launch that totals entries; those that it leaves."""
        stretches = -(-entries.size // STRETCH)
        keys = self.spare(I64, 2 * stretches)
        values = self.spare(self.elem, 2 * stretches, self.columns)
        launcher, f = self.launcher, self.launcher.function()
        emitter = launcher.thread(f)
        self.prepare(emitter)
        count = stretches * self.columns
        grid, threads = launcher.grid_of_threads(count)
        first = f.add(f.mul(place_in(f, "block"), constant(threads, I64)), place_in(f, "thread"))

        def leave(thread: Thread, which: int, key: Reg, total: Reg) -> None:
            place = f.add(f.mul(thread.stretch, constant(2, I64)), constant(which, I64))
            with only_if(f, f.icmp("eq", thread.column, ZERO)):
                f.store(key, keys.at(emitter, place, ZERO))
            f.store(total, values.at(emitter, place, thread.column))

        def run(number: Reg, carried: list[Reg]) -> list[Reg]:
            stretch, column = digits(f, number, [stretches, self.columns])
            thread = Thread(emitter, stretch, column)
            Stretch(self, thread, entries, None if stretches == 1 else leave).emit()
            return carried

        in_turns(f, first, count, grid * threads, [], run)
        launcher.add(f, grid, threads)

        def value(emitter: ThreadEmitter, entry: Reg, column: Reg) -> Reg:
            return emitter.f.load(values.at(emitter, entry, column), self.elem)

        return Entries(2 * stretches, keys, value)


Leave = Callable[[Thread, int, Reg, Reg], None]


class Stretch:
    """What a thread does with its entries; `leave` keeps the totals at both ends, None adds."""

    def __init__(
        self, owner: AdditionsEmitter, thread: Thread, entries: Entries, leave: Leave | None
    ):
        self.owner = owner
        self.thread = thread
        self.entries = entries
        self.leave = leave

    def emit(self) -> None:
        """Each element's entries, as long as they have one key; -1 before there is any."""
        f, emitter = self.thread.emitter.f, self.thread.emitter
        low = f.mul(self.thread.stretch, constant(STRETCH, I64))
        end = f.add(low, constant(STRETCH, I64))
        high = f.intrinsic("smin", end, constant(self.entries.size, I64))
        start = [NOBODY, constant(0, self.owner.elem), constant(1, "i1")]
        key, total, is_first = in_turns(f, low, high, 1, start, self.advance)
        if self.leave is None:
            with only_if(f, f.icmp("sge", key, ZERO)):
                self.owner.add(emitter, key, self.thread.column, total)
            return
        with only_if(f, is_first):
            self.leave(self.thread, 0, key, total)
            self.leave(self.thread, 1, NOBODY, total)
        with only_if(f, f.not_(is_first)):
            self.leave(self.thread, 1, key, total)

    def advance(self, entry: Reg, before: list[Reg]) -> list[Reg]:
        f, emitter = self.thread.emitter.f, self.thread.emitter
        key, total, is_first = before
        found = f.load(self.entries.keys.at(emitter, entry, ZERO), self.entries.keys.elem)
        found = found if found.elem == I64 else f.convert("sext", found, I64)
        value = self.entries.value(emitter, entry, self.thread.column)
        is_some = f.icmp("sge", found, ZERO)
        is_same = f.icmp("eq", found, key)
        ends = f.and_(f.and_(is_some, f.not_(is_same)), f.icmp("sge", key, ZERO))
        with only_if(f, ends):
            self.end(key, total, is_first)
        both = f.select(is_same, SCALARS["add"](f, total, value), value)
        return [
            f.select(is_some, found, key),
            f.select(is_some, both, total),
            f.and_(is_first, f.not_(ends)),
        ]

    def end(self, key: Reg, total: Reg, is_first: Reg) -> None:
        """There are no more entries of this element in the stretch."""
        f, owner = self.thread.emitter.f, self.owner
        if self.leave is None:
            owner.add(self.thread.emitter, key, self.thread.column, total)
            return
        with only_if(f, is_first):
            self.leave(self.thread, 0, key, total)
        with only_if(f, f.not_(is_first)):
            owner.add(self.thread.emitter, key, self.thread.column, total)
