"""This machine in place of a GPU: the same kernels, thread by thread, on memory of this machine.

It is slow and runs everything else for real: memory, launches, recordings, arrays, errors.  What a
step does on a GPU is tested with it where there is none.

>>> import numpy as np, graphc as gc
>>> from graphc.runtime.cuda.current import use
>>> from graphc.runtime.cuda.emulated.host import HostDevice
>>> with use(HostDevice()):
...     y = gc.compile(lambda x: np.exp(x) * 2.0, target="cuda")(np.zeros(3))
...     np.asarray(y)
array([2., 2., 2.])
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from graphc import errors
from graphc.runtime.cuda.device import Fault, OutOfMemory, Work
from graphc.runtime.cuda.dlpack import CPU
from graphc.runtime.cuda.emulated.module import EmulatedModule
from graphc.runtime.cuda.library import CublasLt
from graphc.runtime.cuda.plan.device_kernel import ALIGNMENT, DeviceKernel
from graphc.runtime.cuda.plan.products import MatrixProduct


class _Work:
    """What was recorded."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.is_open = True

    def close(self) -> None:
        self.is_open = False
        self.items.clear()


class HostDevice:
    """A device that is this machine, with at most `limit` bytes of memory, and a library for
    products if it is given one.  `decides` says whether it records decisions, as new drivers do.

    Counts what it was told to do: `launches`, `products`, `replays`, `uploads`, `downloads`,
    `copies`.
    """

    name = "the emulated device"
    number = 0
    capability = (8, 0)
    kind = CPU

    def __init__(self, limit: int = 1 << 40, library: CublasLt | None = None, decides: bool = True):
        self.limit = limit
        self.library = library
        self.decides = decides
        self.is_lost = False
        self.blocks: dict[int, np.ndarray] = {}
        self.launches = self.replays = self.products = 0
        self.uploads = self.downloads = self.copies = 0
        self._work: _Work | None = None

    def allocate(self, nbytes: int) -> int:
        if nbytes + sum(block.nbytes for block in self.blocks.values()) > self.limit:
            raise OutOfMemory
        block = np.full(nbytes + ALIGNMENT, 0xA5, np.uint8)
        address = block.ctypes.data + -block.ctypes.data % ALIGNMENT
        self.blocks[address] = block
        return address

    def free(self, address: int) -> None:
        del self.blocks[address]

    def room(self) -> tuple[int, int]:
        return self.limit - sum(block.nbytes for block in self.blocks.values()), self.limit

    def owner_of(self, address: int) -> int | None:
        return None

    def upload(self, address: int, array: np.ndarray) -> None:
        self.uploads += 1
        ctypes.memmove(address, array.ctypes.data, array.nbytes)

    def download(self, array: np.ndarray, address: int) -> None:
        self.downloads += 1
        ctypes.memmove(array.ctypes.data, address, array.nbytes)

    def copy(self, target: int, source: int, nbytes: int) -> None:
        self.copies += 1
        ctypes.memmove(target, source, nbytes)

    def load(self, text: str, names: Sequence[str]) -> dict[str, Any]:
        return dict.fromkeys(names, EmulatedModule(text)) if names else {}

    def launch(
        self, function: Any, kernel: DeviceKernel, pointers: Sequence[int], sizes: Sequence[int]
    ) -> None:
        self._do(partial(self._launch, function, kernel, tuple(pointers), tuple(sizes)))

    def _launch(
        self,
        module: EmulatedModule,
        kernel: DeviceKernel,
        pointers: Sequence[int],
        sizes: Sequence[int],
    ) -> None:
        self.launches += 1
        try:
            module.launch(kernel, pointers, zip(pointers, sizes, strict=True))
        except errors.DeviceFaultError as error:
            self.is_lost = True
            raise Fault(str(error)) from None

    def multiply(self, product: MatrixProduct, pointers: Sequence[int]) -> bool:
        if self.library is None or not self.library.has_way(product, pointers):
            return False
        self._do(partial(self._multiply, self.library, product, tuple(pointers)))
        return True

    def _multiply(self, library: CublasLt, product: MatrixProduct, pointers: Sequence[int]) -> None:
        self.products += 1
        library.multiply(product, pointers, 0)

    def _do(self, work: Work) -> None:
        if self._work is not None:
            self._work.items.append(work)
        else:
            work()

    @contextmanager
    def record(self, decides: bool = False) -> Iterator[list[Any]]:
        recordings: list[Any] = []
        self._work = _Work()
        try:
            yield recordings
            recordings.append(self._work)
        finally:
            self._work = None

    def choose(self, predicate: int, status: int, then: Work | None, other: Work | None) -> None:
        sides = [self._apart(side) for side in (other, then)]
        self._do(lambda: _all(sides[_holds(predicate, status)]))

    def repeat(self, predicate: int, status: int, turn: Work) -> None:
        items = self._apart(turn)

        def turns() -> None:
            while _holds(predicate, status):
                _all(items)

        self._do(turns)

    def _apart(self, work: Work | None) -> list[Work]:
        """What a function puts into a recording, not in it."""
        assert self._work is not None, "decisions are recorded"
        before, self._work.items = self._work.items, []
        if work is not None:
            work()
        made, self._work.items = self._work.items, before
        return made

    def replay(self, recording: Any) -> None:
        assert recording.is_open
        self.replays += 1
        _all(recording.items)

    def synchronise(self) -> None:
        """Nothing is ever left to do."""

    def wait_for(self, stream: int) -> None:
        """Nothing is ever left to do."""

    def let_wait(self, stream: int) -> None:
        """Nothing is ever left to do."""

    def reset(self) -> HostDevice:
        return HostDevice(self.limit, self.library, self.decides)


def _holds(predicate: int, status: int) -> bool:
    has_failed = ctypes.c_int64.from_address(status).value != 0
    return ctypes.c_uint8.from_address(predicate).value != 0 and not has_failed


def _all(items: Sequence[Work]) -> None:
    for work in items:
        work()
