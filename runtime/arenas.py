"""The memory for a step's temporaries, from call to call."""

from __future__ import annotations

import numpy as np

from graphc.runtime.llvm.entry_layout import RESERVED
from graphc.runtime.plan import ALIGNMENT


def new_arena(nbytes: int) -> np.ndarray:
    """Aligned memory for an arena of so many bytes, and what stands before it."""
    block = np.empty(RESERVED + nbytes + ALIGNMENT, np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    return block[start:]


class Arenas:
    """Those that no thread is using; steps of several sizes take turns in them."""

    def __init__(self) -> None:
        self.idle: list[np.ndarray] = []

    def take(self, nbytes: int) -> np.ndarray:
        """One of at least `nbytes`; list operations are atomic."""
        try:
            arena = self.idle.pop()
        except IndexError:
            return new_arena(nbytes)
        return arena if arena.nbytes >= RESERVED + nbytes else new_arena(nbytes)

    def give(self, arena: np.ndarray) -> None:
        """Take back one that `take` gave."""
        self.idle.append(arena)
