"""Who touched which memory since threads last waited for each other.

Two accesses of one place race where different threads made them, one of them at least a write, and
nothing lies between: no barrier of their block, none of their warp.  Nothing orders what two blocks
of a launch do.  Atomic accesses do not race with each other.
"""

from __future__ import annotations

import numpy as np

LANE, WARP, EPOCH = 5, 5, 22
"""Bits of a thread's stamp, from the lowest on: which lane of its warp, which warp of its block,
how often this warp has waited; above them, how often the block has."""
_PLACE = np.uint64((1 << (LANE + WARP)) - 1)
_IN_BLOCK = np.uint64(((1 << WARP) - 1) << LANE)
_WARP_EPOCH = np.uint64(((1 << EPOCH) - 1) << (LANE + WARP))
_TO_BLOCK_EPOCH = np.uint64(LANE + WARP + EPOCH)
_TO_WARP = np.uint64(LANE)
SEVERAL = np.int64(-1)
NOBODY = np.int64(0)


def stamps(threads: np.ndarray) -> np.ndarray:
    """What threads of a block (their numbers) have before they wait for the first time."""
    return threads.astype(np.uint64) | np.uint64(1 << int(_TO_BLOCK_EPOCH))


BLOCK_WAITED = np.uint64(1 << int(_TO_BLOCK_EPOCH)) + np.uint64(1 << (LANE + WARP))
WARP_WAITED = np.uint64(1 << (LANE + WARP))
"""What a barrier adds to a stamp."""


def _at_once(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Whether the threads of one block that have these stamps are different ones, and nothing is
    between them."""
    differ = one ^ other
    is_ordered = ((differ & _IN_BLOCK) == 0) & ((differ & _WARP_EPOCH) != 0)
    return (differ >> _TO_BLOCK_EPOCH == 0) & (differ & _PLACE != 0) & ~is_ordered


class _Writes:
    """The last write of each place: by which block (1 for the first), and with which stamp."""

    def __init__(self, places: int):
        self.block = np.zeros(places, np.int64)
        self.stamp = np.zeros(places, np.uint64)

    def clash(self, at: np.ndarray, block: np.ndarray, stamp: np.ndarray) -> np.ndarray:
        known = self.block[at]
        return (known != NOBODY) & ((known != block) | _at_once(self.stamp[at], stamp))

    def put(self, at: np.ndarray, block: np.ndarray, stamp: np.ndarray) -> None:
        self.block[at] = block
        self.stamp[at] = stamp


class _Reads:
    """The last read, and whether it was one of several that nothing lies between."""

    def __init__(self, places: int):
        self.block = np.zeros(places, np.int64)
        self.stamp = np.zeros(places, np.uint64)
        self.by_lanes = np.zeros(places, np.uint64)
        """The stamp without its lane, where several threads of a warp read."""
        self.by_warps = np.zeros(places, np.uint64)
        """The epoch of the block, where several warps read."""

    def clash(self, at: np.ndarray, block: np.ndarray, stamp: np.ndarray) -> np.ndarray:
        known = self.block[at]
        others = known != block
        several = (self.by_lanes[at] == stamp >> _TO_WARP) | (
            self.by_warps[at] == stamp >> _TO_BLOCK_EPOCH
        )
        return (known != NOBODY) & (others | several | _at_once(self.stamp[at], stamp))

    def put(self, at: np.ndarray, block: np.ndarray, stamp: np.ndarray) -> None:
        known = self.block[at]
        self._join(at, known, self.stamp[at], block, stamp)
        self.block[at] = block
        self.stamp[at] = stamp
        self._join(at, self.block[at], self.stamp[at], block, stamp)
        mixed = (known != NOBODY) & (known != block)
        mixed |= self.block[at] != block
        if mixed.any():
            self.block[at[mixed]] = SEVERAL

    def _join(
        self,
        at: np.ndarray,
        known: np.ndarray,
        before: np.ndarray,
        block: np.ndarray,
        stamp: np.ndarray,
    ) -> None:
        """Remember that `before` and `stamp` read the same place at once."""
        both = (known == block) & _at_once(before, stamp)
        if not both.any():
            return
        at, before, stamp = at[both], before[both], stamp[both]
        is_one_warp = (before ^ stamp) & _IN_BLOCK == 0
        self.by_lanes[at[is_one_warp]] = stamp[is_one_warp] >> _TO_WARP
        self.by_warps[at[~is_one_warp]] = stamp[~is_one_warp] >> _TO_BLOCK_EPOCH


class Races:
    """What was done to each of `places` in one launch.

    Each method is given places, and of the thread that accesses each the block and the stamp; it
    says which of the accesses race with one before.
    """

    def __init__(self, places: int):
        self._places = places
        self._writes = _Writes(places)
        self._reads = _Reads(places)
        self._atomics: _Writes | None = None
        self._constant: np.ndarray | None = None

    def read(self, at: np.ndarray, block: np.ndarray, stamp: np.ndarray) -> np.ndarray:
        clash = self._writes.clash(at, block, stamp)
        if self._atomics is not None:
            clash |= self._atomics.clash(at, block, stamp)
        self._reads.put(at, block, stamp)
        return clash

    def read_again(self, at: np.ndarray, block: np.ndarray, stamp: np.ndarray) -> np.ndarray:
        """The same; of threads of a block that read one place together only the first counts.

        Threads beyond the end of an array read its last element again, which nobody uses, and the
        thread whose element it is may write it.
        """
        keys = at * np.int64(1 << 32) + block
        _, first = np.unique(keys, return_index=True)
        clash = self._writes.clash(at, block, stamp)
        if self._atomics is not None:
            clash |= self._atomics.clash(at, block, stamp)
        self._reads.put(at[first], block[first], stamp[first])
        return clash

    def read_constant(self, at: np.ndarray) -> np.ndarray:
        """Read by way of a cache that is told of no write of this launch."""
        if self._constant is None:
            self._constant = np.zeros(self._places, np.bool_)
        self._constant[at] = True
        written = self._writes.block[at] != NOBODY
        return written if self._atomics is None else written | (self._atomics.block[at] != NOBODY)

    def write(self, at: np.ndarray, block: np.ndarray, stamp: np.ndarray) -> np.ndarray:
        clash = self._writes.clash(at, block, stamp) | self._reads.clash(at, block, stamp)
        if self._atomics is not None:
            clash |= self._atomics.clash(at, block, stamp)
        self._writes.put(at, block, stamp)
        return clash if self._constant is None else clash | self._constant[at]

    def change(self, at: np.ndarray, block: np.ndarray, stamp: np.ndarray) -> np.ndarray:
        """Read and written in one."""
        clash = self._writes.clash(at, block, stamp) | self._reads.clash(at, block, stamp)
        if self._atomics is None:
            self._atomics = _Writes(self._places)
        self._atomics.put(at, block, stamp)
        return clash if self._constant is None else clash | self._constant[at]
