"""Device functions on the processor that this runs on, one thread after the other.

What a device would do with the same code, for tests and for looking at it: slow, always in the same
order, and stopped by an error where a device would read other memory or wait forever.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterable, Sequence

import numpy as np

from graphc import errors
from graphc.runtime.cuda.emulated.fibers import OUTSIDE, host_text
from graphc.runtime.cuda.emulated.scheduler import CONTEXT_BYTES, MOST_THREADS, STACK_BYTES
from graphc.runtime.cuda.plan.device_kernel import DeviceKernel
from graphc.runtime.llvm.jit import compile_text

_Launch = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int32, ctypes.c_int32, ctypes.c_int32)


class EmulatedModule:
    """The text of a `DeviceModule`, ready to be launched here.

    `backwards` runs blocks and threads from the last to the first: what depends on their order
    differs then.
    """

    def __init__(self, text: str, backwards: bool = False):
        self.backwards = backwards
        self._code = compile_text(host_text(text))
        self._lock = threading.Lock()
        self._contexts = np.zeros((MOST_THREADS + 1) * CONTEXT_BYTES + 64, np.uint8)
        self._stacks = np.empty(MOST_THREADS * STACK_BYTES + 64, np.uint8)
        self._set("contexts", _aligned(self._contexts))
        self._set("stacks", _aligned(self._stacks))

    def _set(self, name: str, value: int) -> None:
        self._cell(name).value = value

    def _cell(self, name: str) -> ctypes.c_uint64:
        return ctypes.c_uint64.from_address(self._code.global_address(f"emulated.{name}"))

    @property
    def conflicts(self) -> int:
        """How many rows of small matrices were read from a bank that another one took."""
        return self._cell("conflicts").value

    def launch(
        self, kernel: DeviceKernel, pointers: Sequence[int], memory: Iterable[tuple[int, int]]
    ) -> None:
        """Run a device function: `pointers` are its arguments.

        `memory` says which addresses there are: pairs of a first one and a number of bytes.
        Raises `errors.DeviceFaultError` if the function touches anything else, or waits for
        threads that never come.
        """
        ranges = [*memory, (self._stacks.ctypes.data, self._stacks.nbytes)]
        flat = [number for pair in ranges for number in pair]
        allowed = (ctypes.c_uint64 * len(flat))(*flat)
        table = (ctypes.c_void_p * len(pointers))(*pointers)
        with self._lock:
            self._set("pointers", ctypes.addressof(table))
            self._set("allowed", ctypes.addressof(allowed))
            self._set("alloweds", len(ranges))
            run = _Launch(self._code.address(f"emulated.launch.{kernel.name}"))
            status = run(kernel.grid, kernel.block, int(self.backwards))
            bad = self._cell("bad").value
        if status == OUTSIDE:
            raise errors.DeviceFaultError(
                f"{kernel.name} touches address {bad:#x}, which lies in no memory that it was given"
            )
        if status:
            raise errors.DeviceFaultError(f"{kernel.name}: threads wait for others that never come")


def _aligned(array: np.ndarray) -> int:
    start = int(array.ctypes.data)
    return start + -start % 64
