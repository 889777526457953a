"""Memory of a device, kept to be used again.

Asking a device for memory takes longer than most kernels.  A block that is let go waits for the
next that needs its size; as all work is done in order, it may be used again at once.  Who had a
block before is given it again where it is free (`Slot`), so that a step that is called again and
again finds the same addresses, for which it has recordings.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeVar

from graphc import errors
from graphc.runtime.cuda.device import Device, Fault, OutOfMemory
from graphc.runtime.cuda.plan.device_kernel import ALIGNMENT

Made = TypeVar("Made")


class Block:
    """Memory of a device for as long as this object lives."""

    __slots__ = ("__weakref__", "_pool", "address", "size")

    def __init__(self, pool: Pool, address: int, size: int):
        self._pool = pool
        self.address = address
        self.size = size

    def __del__(self, is_ending: Callable[[], bool] = sys.is_finalizing) -> None:
        if not is_ending():  # an argument: when a process ends, modules have lost their names
            self._pool.take_back(self.address, self.size)


class Pool:
    """The blocks of one device."""

    def __init__(self, device: Device):
        self._device = device
        self._idle: dict[int, dict[int, None]] = {}
        self._lock = threading.RLock()  # a block may die while another is taken
        self.bytes_used = 0
        self.bytes_idle = 0

    def take(self, nbytes: int) -> Block:
        """A block of at least `nbytes`.

        Raises `errors.DeviceMemoryError` where the device has none left.
        """
        return self.take_rounded(rounded(nbytes))

    def take_known(self, size: int, wanted: Iterable[int]) -> Block | None:
        """An idle block of a size that a block has, at one of these addresses; None if all are
        taken."""
        with self._lock:
            waiting = self._idle.get(size)
            if waiting:
                for address in wanted:
                    if address in waiting:
                        del waiting[address]
                        self.bytes_idle -= size
                        self.bytes_used += size
                        return Block(self, address, size)
        return None

    def take_rounded(self, size: int) -> Block:
        """The same for a size that a block has."""
        with self._lock:
            waiting = self._idle.get(size)
            if waiting:
                address, _ = waiting.popitem()
                self.bytes_idle -= size
            else:
                address = self._allocate(size)
            self.bytes_used += size
            return Block(self, address, size)

    def _allocate(self, size: int) -> int:
        return self.with_room(lambda: self._device.allocate(size), f"no {size} bytes left")

    def with_room(self, work: Callable[[], Made], lack: str) -> Made:
        """What `work` gives, which is tried once more without idle blocks if there is no room.

        Raises `errors.DeviceMemoryError`, which says that the device has what `lack` says.
        """
        try:
            return work()
        except OutOfMemory:
            self.release()
        try:
            return work()
        except OutOfMemory:
            raise self.full(lack) from None

    def full(self, lack: str) -> errors.DeviceMemoryError:
        """The exception for a device that has no memory for something."""
        try:
            free, total = self._device.room()
            room = f"{free} of its {total} are free; "
        except Fault:
            room = ""
        return errors.DeviceMemoryError(
            f"{self._device.name} has {lack} ({room}{self.bytes_used} are held by arrays and steps"
            " of this process); let go of results that are no longer needed, donate arguments, or"
            " pass smaller batches"
        )

    def take_back(self, address: int, size: int) -> None:
        with self._lock:
            self._idle.setdefault(size, {})[address] = None
            self.bytes_used -= size
            self.bytes_idle += size

    def release(self) -> None:
        """Give all idle blocks back to the device."""
        with self._lock:
            idle, self._idle, self.bytes_idle = self._idle, {}, 0
            for addresses in idle.values():
                for address in addresses:
                    self._device.free(address)


class Slot:
    """Takes a block for the same purpose again and again, one that it had before if it can."""

    __slots__ = ("_before", "_pool", "_size")

    def __init__(self, pool: Pool, nbytes: int):
        self._pool = pool
        self._size = rounded(nbytes)
        self._before: deque[int] = deque(maxlen=MEMORY)

    def take(self) -> Block:
        known = self._pool.take_known(self._size, self._before)
        if known is not None:
            return known
        block = self._pool.take_rounded(self._size)
        self._before.append(block.address)
        return block

    def take_known(self) -> Block | None:
        """One that it had before, or one of the first few; None where those are kept elsewhere."""
        known = self._pool.take_known(self._size, self._before)
        return self.take() if known is None and len(self._before) < FEW else known


MEMORY = 4
"""So many blocks a slot remembers."""
FEW = 2
"""So many blocks take turns where a value replaces the one before it."""


def rounded(nbytes: int) -> int:
    """The size of the block for `nbytes`: at most an eighth larger, so that sizes are few."""
    grain = max(ALIGNMENT, 1 << max(nbytes.bit_length() - 4, 0))
    return -(-max(nbytes, 1) // grain) * grain
