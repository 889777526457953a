"""The threads that run side by side: their registers, who they are, what they reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ptx_memory import Memory, Who
from ptx_races import BLOCK_WAITED, WARP_WAITED, stamps
from ptx_table import DTYPES, Linker, Mask, Target
from ptx_text import WIDTHS

WARP = 32
SPECIAL = [f"%{what}.{axis}" for what in ("tid", "ntid", "ctaid", "nctaid") for axis in "xyz"]
SPECIAL += ["%laneid", "%warpid", "%nwarpid"]
SPECIAL += [f"%lanemask_{which}" for which in ("eq", "le", "lt", "ge", "gt")]
UNSET = 0xCB
"""What registers are full of that nobody has written."""


class Threads:
    """`blocks` of a grid, each of `size` threads, one row of each register for all."""

    def __init__(self, linker: Linker, blocks: Sequence[int], size: int, grid: int, memory: Memory):
        self.memory = memory
        self.size = size
        self.count = len(blocks) * size
        self.number = np.tile(np.arange(size), len(blocks))
        """Of each thread in its block."""
        self.slot = np.repeat(np.arange(len(blocks)), size)
        self.lane = np.arange(self.count)
        self.in_warp = self.number % WARP
        self.first = self.lane - self.in_warp
        """The first thread of the warp of each."""
        self.warp = self.slot * -(-size // WARP) + self.number // WARP
        """Which of all warps a thread is of."""
        self.warps = int(self.warp[-1]) + 1
        self.everyone = Who(
            self.slot, self.lane, np.repeat(np.array(blocks) + 1, size), stamps(self.number)
        )
        self.rows = self._registers(linker)
        self.frames: dict[str, np.ndarray] = {}
        """Parameters of functions: bytes for each thread, or for all of them in one row."""
        self.copies: list[Any] = []
        """What is on its way to shared memory."""
        self.groups = np.zeros(self.count, np.int64)
        """How many groups of copies each thread has closed."""
        self._introduce(linker, blocks, grid)

    def _registers(self, linker: Linker) -> dict[str, list[np.ndarray]]:
        rows: dict[str, list[np.ndarray]] = {kind: [] for kind in DTYPES}
        for width, count in linker.rows.items():
            plain = "?" if width == 1 else f"u{width // 8}"
            data = np.full((count, self.count * max(width // 8, 1)), UNSET, np.uint8)
            numbers = np.array(list(linker.numbers[width]), "u8").astype(plain)[::-1]
            for kind, dtype in DTYPES.items():
                if WIDTHS[kind] == width:
                    # Numbers lie at the end: their rows are counted from there.
                    constants = [number.reshape(()) for number in numbers.view(dtype)]
                    rows[kind] = [*data.view(dtype), *constants]
        return rows

    def _introduce(self, linker: Linker, blocks: Sequence[int], grid: int) -> None:
        zero, one = np.zeros(self.count, np.uint32), np.ones(self.count, np.uint32)
        bit = one << self.in_warp.astype(np.uint32)
        every = np.uint32(0xFFFFFFFF)
        known = {
            "%tid.x": self.number,
            "%ntid.x": one * np.uint32(self.size),
            "%ctaid.x": np.repeat(np.array(blocks), self.size),
            "%nctaid.x": one * np.uint32(grid),
            "%laneid": self.in_warp,
            "%warpid": self.number // WARP,
            "%nwarpid": one * np.uint32(-(-self.size // WARP)),
            "%lanemask_eq": bit,
            "%lanemask_lt": bit - one,
            "%lanemask_le": bit - one | bit,
            "%lanemask_gt": ~(bit - one | bit) & every,
            "%lanemask_ge": ~(bit - one) & every,
        }
        for name in SPECIAL:
            value = known.get(name, one if name[1] == "n" else zero)
            self.rows["u32"][linker.places[name].row][:] = value

    def who(self, mask: Mask) -> tuple[np.ndarray | None, Who]:
        """The numbers of these threads (None for all), and who they are."""
        if mask is True:
            return None, self.everyone
        those = np.flatnonzero(mask)
        return those, Who(*(part[those] for part in self.everyone))

    def put(self, target: Target, value: np.ndarray, mask: Mask) -> None:
        """Write a value for each thread to a register of those of `mask`."""
        np.copyto(self.rows[target.kind][target.row], value, casting="unsafe", where=mask)

    def put_for(self, target: Target, value: np.ndarray, those: np.ndarray | None) -> None:
        """Write a value for each of `those` threads."""
        self.rows[target.kind][target.row][slice(None) if those is None else those] = value

    def read(self, kind: str, row: int, those: np.ndarray | None) -> np.ndarray:
        """A register as `those` threads have it."""
        value = np.broadcast_to(self.rows[kind][row], self.count)
        return value if those is None else value[those]

    def waited(self, mask: Mask, whole_block: bool = False) -> None:
        """These threads have waited for each other."""
        stamp = self.everyone.stamp
        step = BLOCK_WAITED if whole_block else WARP_WAITED
        np.add(stamp, step, out=stamp, where=mask)
