"""Sorting rows: tiles in shared memory, then merges of runs in the memory of the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from graphc.runtime.cuda.emit.branches import in_turns
from graphc.runtime.cuda.emit.launches import WORK, LaunchEmitter
from graphc.runtime.cuda.emit.simt import place_in
from graphc.runtime.cuda.emit.sort_tile import TileEmitter
from graphc.runtime.cuda.emit.statements import ThreadEmitter
from graphc.runtime.cuda.plan.device_kernel import aligned
from graphc.runtime.cuda.plan.sorting import Sorting, tiles_of
from graphc.runtime.cuda.plan.whole import whole
from graphc.runtime.llvm.elements import memory_elem
from graphc.runtime.llvm.registers import BITS, Reg, constant

I64 = "i64"


class Array(NamedTuple):
    """Memory with an element for each element of the rows, `step` of them from row to row."""

    base: Callable[[ThreadEmitter], Reg]
    elem: str
    step: int

    def at(self, emitter: ThreadEmitter, row: Reg, index: Reg) -> Reg:
        f = emitter.f
        place = f.add(f.mul(row, constant(self.step, I64)), index)
        return f.offset(self.base(emitter), self.elem, place)


class Run(NamedTuple):
    """Where the keys and the positions of elements are; None for what nobody needs."""

    keys: Array | None
    positions: Array | None


Read = Callable[[ThreadEmitter, Reg, Reg], Reg]
"""The key of an element from its row and its index."""


def emit_sorting(launcher: LaunchEmitter, sorting: Sorting) -> None:
    """The launches of a routine that sorts."""
    kernel = launcher.kernel
    elem = memory_elem(sorting.dtype)

    def memory(which: int) -> Array:
        access = (sorting.source, sorting.target)[which]
        own = memory_elem(kernel.buffers[access.buffer].dtype)
        return Array(lambda e: e.address(access), own, whole(access.strides[sorting.axis]))

    source, target = memory(0), memory(1)

    def read(emitter: ThreadEmitter, row: Reg, index: Reg) -> Reg:
        return emitter.f.load(source.at(emitter, row, index), elem)

    wanted = Run(None, target) if sorting.gives_positions else Run(target, None)
    sorter = Sorter(launcher, sorting.dtype, (sorting.rows, sorting.size), read, launcher.extra)
    sorter.emit(wanted)


class Sorter:
    """Writes the launches that sort `rows` rows of `size` keys, in workspace from `start` on."""

    def __init__(
        self, launcher: LaunchEmitter, dtype: str, shape: tuple[int, int], read: Read, start: int
    ):
        self.launcher = launcher
        self.dtype = dtype
        self.elem = memory_elem(dtype)
        self.tiles = tiles_of(*shape, launcher.limits)
        self.read = read
        self.stop = start
        self.with_positions = False
        self.prepare: Callable[[ThreadEmitter], None] = lambda emitter: None
        """What is run where a launch begins, for `read`."""

    def emit(self, wanted: Run) -> None:
        """Sort; what is wanted of keys and positions is left there."""
        self.with_positions = wanted.positions is not None
        passes = self.tiles.passes
        keys = self.back_and_forth(wanted.keys, self.elem)
        positions = self.back_and_forth(wanted.positions, I64) if self.with_positions else []
        runs = [Run(keys[i], positions[i] if positions else None) for i in range(passes + 1)]
        self.launcher.reserve(self.stop)
        self.sort_tiles(runs[0])
        for number in range(passes):
            width = self.tiles.elements << number
            self.merge(width, runs[number], runs[number + 1])

    def back_and_forth(self, last: Array | None, elem: str) -> list[Array | None]:
        """Where elements are after sorting tiles and after each pass, the last time in `last`."""
        passes = self.tiles.passes
        spares = [self.spare(elem) for _ in range(min(passes, 2 if last is None else 1))]
        if last is None:
            return [*(spares[i % 2] for i in range(passes)), None]
        return [spares[0] if (passes - i) % 2 else last for i in range(passes + 1)]

    def spare(self, elem: str) -> Array:
        """Workspace for an element for each."""
        tiles, start = self.tiles, self.stop
        self.stop += aligned(tiles.rows * tiles.size * BITS[elem] // 8)
        return Array(lambda e: e.f.offset(WORK, "i8", constant(start, I64)), elem, tiles.size)

    # ---- launches --------------------------------------------------------------------------------

    def launch(self, run: Callable[[TileEmitter, Reg], None]) -> None:
        """A block for each tile; `run` is given its number."""
        launcher, tiles = self.launcher, self.tiles
        f = launcher.function()
        block = TileEmitter(self, launcher.thread(f))
        self.prepare(block.emitter)
        grid = min(tiles.total, launcher.limits.most_blocks)

        def turn(number: Reg, carried: list[Reg]) -> list[Reg]:
            run(block, number)
            return carried

        in_turns(f, place_in(f, "block"), tiles.total, grid, [], turn)
        launcher.add(f, grid, tiles.threads)

    def sort_tiles(self, target: Run) -> None:
        """Each tile of a row, or each of the rows in a tile, becomes a run."""
        self.launch(lambda block, number: block.sort(number, target))

    def merge(self, width: int, source: Run, target: Run) -> None:
        """Each two runs of `width` elements become one."""
        self.launch(lambda block, number: block.merge(number, width, source, target))
