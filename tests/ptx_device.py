"""Kernels as PTX on the machine of `ptx_machine.py`, in the place of the emulated device."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ptx_machine import Fault, Machine

from graphc import errors
from graphc.runtime.cuda.emit.ptx import ptx
from graphc.runtime.cuda.plan.device_kernel import DeviceKernel

POINTER_BYTES = 8


class PtxModule:
    """The text of a `DeviceModule`, launched as `EmulatedModule` does it."""

    conflicts = 0
    """What the emulated device counts, and nothing else does."""

    def __init__(self, text: str, backwards: bool = False, architecture: str = "sm_80"):
        self.backwards = backwards  # which the machine is not: it finds what depends on the order
        self.machine = Machine(ptx(text, architecture))

    def launch(
        self, kernel: DeviceKernel, pointers: Sequence[int], memory: Iterable[tuple[int, int]]
    ) -> None:
        given = [int(p).to_bytes(POINTER_BYTES, "little") for p in pointers]
        try:
            self.machine.launch(kernel.name, kernel.grid, kernel.block, given, list(memory))
        except Fault as fault:
            raise errors.DeviceFaultError(f"{kernel.name}: {fault}") from None
