"""What the runtime needs of a device, whichever it is.

Two things are devices: a GPU (`driver.py`), and this machine, which runs the same kernels thread by
thread (`emulated/host.py`).  All else in this folder deals with a `Device` and knows neither.

Work is put on one queue and done in order.  `upload`, `copy`, `launch` and `replay` may return
before it is done; `download` and `synchronise` wait for all that was put there before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from graphc.runtime.cuda.plan.device_kernel import DeviceKernel
from graphc.runtime.cuda.plan.products import MatrixProduct

Work = Callable[[], None]
"""Puts something on the queue."""


class OutOfMemory(Exception):
    """The device has no block of that size left."""


class Fault(Exception):
    """The device failed at what it was told to do, now or before."""


class CannotRecord(Fault):
    """The device does not record this: it has to be told each time."""


class Recording(Protocol):
    """Work that was recorded, to be done again and again."""

    def close(self) -> None:
        """Let go of what the device holds for it."""


class Device(Protocol):
    """A device, its memory as addresses, and its queue.

    name        what it is called
    number      which one it is among those of its kind
    capability  what code it runs: (9, 0) is sm_90
    kind        what DLPack calls devices of this kind: 2 for CUDA, 1 for this machine
    is_lost     whether it has stopped, and its memory is gone
    decides     whether what it records may hold decisions: `choose` and `repeat`
    """

    name: str
    number: int
    capability: tuple[int, int]
    kind: int
    is_lost: bool
    decides: bool

    def allocate(self, nbytes: int) -> int:
        """The address of `nbytes` > 0 bytes, aligned to 256.  Raises `OutOfMemory`."""

    def free(self, address: int) -> None:
        """Give back what `allocate` gave, once the work before is done."""

    def room(self) -> tuple[int, int]:
        """How many bytes nobody has taken, and how many there are."""

    def owner_of(self, address: int) -> int | None:
        """Which device of this kind the memory at an address is of, None where it is unknown."""

    def upload(self, address: int, array: np.ndarray) -> None:
        """Copy a contiguous array to the device; it may be changed once this returns."""

    def download(self, array: np.ndarray, address: int) -> None:
        """Fill a contiguous array from the device.  Raises `Fault`."""

    def copy(self, target: int, source: int, nbytes: int) -> None:
        """Copy within the device."""

    def load(self, text: str, names: Sequence[str]) -> dict[str, Any]:
        """The functions of LLVM IR by name, ready to be launched for as long as the dict lives."""

    def launch(
        self, function: Any, kernel: DeviceKernel, pointers: Sequence[int], sizes: Sequence[int]
    ) -> None:
        """Run a function on pointers to so many bytes.  Raises `Fault`."""

    def multiply(self, product: MatrixProduct, pointers: Sequence[int]) -> bool:
        """Have a library do a product on these buffers; False where there is no library."""

    def record(self, decides: bool = False) -> AbstractContextManager[list[Recording]]:
        """Record what is launched and copied in the block, without doing it; with `decides`, what
        is decided, too.

        The list holds the recording once the block has ended.  Raises `CannotRecord`, `Fault` and
        `OutOfMemory`.
        """

    def choose(self, predicate: int, status: int, then: Work | None, other: Work | None) -> None:
        """In a recording that decides: what one of two functions puts there.

        Which one says the byte at the address `predicate`.  Where the i64 at `status` is not 0,
        what is done does nothing.
        """

    def repeat(self, predicate: int, status: int, turn: Work) -> None:
        """In a recording that decides: what a function puts there, as long as the byte at the
        address `predicate` holds, and the i64 at `status` is 0."""

    def replay(self, recording: Any) -> None:
        """Do what was recorded, as one piece of work."""

    def synchronise(self) -> None:
        """Wait for the queue.  Raises `Fault`."""

    def wait_for(self, stream: int) -> None:
        """Begin what follows after the work that a foreign stream holds now."""

    def let_wait(self, stream: int) -> None:
        """Let what comes next on a foreign stream begin after the work that was put here."""

    def reset(self) -> Device:
        """The device anew, in place of this one, which has stopped."""
