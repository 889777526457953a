"""A libcuda.so.1 of our own (`fake_libcuda.c`) under the real Python bindings.

Its kernels are run by the emulated device, or as PTX by the machine of `ptx_machine.py`: what is
tested is everything between graphc and the driver, the bindings of NVIDIA's included, and with the
machine also the text that the driver is given.
"""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from ptx_machine import Fault, Machine, Refused
from ptx_text import PtxError

from graphc.runtime.cuda import driver
from graphc.runtime.cuda.emulated.module import EmulatedModule
from graphc.runtime.cuda.plan.device_kernel import DeviceKernel
from graphc.runtime.llvm.jit import add_symbols

SOURCE = Path(__file__).with_name("fake_libcuda.c")
EVERYTHING = (0, (1 << 63) - 1)
"""The emulated device may touch all memory: who gives it addresses is what is tested."""

ILLEGAL_ADDRESS, OUT_OF_RESOURCES, MISALIGNED_ADDRESS, LAUNCH_FAILED = 700, 701, 716, 719
INVALID_VALUE, INVALID_PTX = 1, 218
STATUS = {"address": ILLEGAL_ADDRESS, "alignment": MISALIGNED_ADDRESS}
"""What a driver says of a fault of the machine; of others, that the launch failed."""
MOST_BLOCKS = 4096

_Launcher = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_uint,
    ctypes.c_uint,
    ctypes.c_int,
    ctypes.POINTER(ctypes.c_uint64),
)


class FakeDriver:
    """The library, and the kernels that it was given."""

    def __init__(self, folder: Path):
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler")
        made = folder / "libcuda.so.1"
        flags = ("-O1", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1")
        subprocess.run([compiler, *flags, "-o", made, SOURCE, "-ldl"], check=True)
        # Whoever looks for a library of this name finds the one that is loaded.
        self._library = ctypes.CDLL(str(made), mode=ctypes.RTLD_GLOBAL)
        self._modules: dict[str, EmulatedModule] = {}
        self._machines: dict[str, Machine] = {}
        self._runs_ptx = False
        self.said = ""
        """The last error of a kernel."""
        self._launcher = _Launcher(self._launch)
        self._library.fake_on_launch(self._launcher)
        setter = ctypes.cast(self._library.fake_set_conditional, ctypes.c_void_p).value
        add_symbols({"cudaGraphSetConditional": setter or 0})
        self._library.fake_set_conditional.argtypes = (ctypes.c_uint64, ctypes.c_uint32)
        self._library.fake_set_conditional.restype = None

    def calls(self, name: str) -> int:
        return int(self._library.fake_calls(name.encode()))

    def fail(self, name: str, error: int, times: int = 1) -> None:
        """Let the next calls of a function give an error."""
        self._library.fake_fail(name.encode(), times, error)

    def say(self, **settings: int) -> None:
        for name, value in settings.items():
            self._library.fake_say(name.encode(), value)

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Remember the code that goes to the driver in a form that can be run here."""
        plain = driver.cached_ptx

        def kept(text: str, architecture: str) -> str:
            module = EmulatedModule(text)
            made = plain(text, architecture)
            self._modules[made] = module
            return made

        monkeypatch.setattr(driver, "cached_ptx", kept)
        monkeypatch.setattr(self, "_runs_ptx", False)

    def run_ptx(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have the PTX executed that goes to the driver, until the test ends."""
        monkeypatch.setattr(self, "_runs_ptx", True)

    def _launch(
        self, code: bytes, name: bytes, grid: int, block: int, count: int, pointers: Any
    ) -> int:
        try:
            if self._runs_ptx:
                return self._execute(code.decode(), name.decode(), grid, block, pointers[:count])
            kernel = DeviceKernel(name.decode(), grid, block, ())
            self._modules[code.decode()].launch(kernel, pointers[:count], [EVERYTHING])
        except Exception as error:  # noqa: BLE001 - nothing may be raised through the driver
            return self._failed(LAUNCH_FAILED, error)
        return 0

    def _execute(self, code: str, name: str, grid: int, block: int, pointers: list[int]) -> int:
        try:
            if code not in self._machines:
                setter = self._library.fake_set_conditional
                self._machines[code] = Machine(code, outside={"cudaGraphSetConditional": setter})
            given = [pointer.to_bytes(8, "little") for pointer in pointers]
            self._machines[code].launch(name, grid, block, given, self.blocks())
        except Refused as refused:
            return self._failed(INVALID_VALUE, refused)
        except PtxError as error:
            return self._failed(INVALID_PTX, error)
        except Fault as fault:
            return self._failed(STATUS.get(fault.kind, LAUNCH_FAILED), fault)
        return 0

    def blocks(self) -> list[tuple[int, int]]:
        """The memory that is handed out: where each block is, and of how many bytes."""
        starts, sizes = ((ctypes.c_uint64 * MOST_BLOCKS)() for _ in range(2))
        count = self._library.fake_blocks(starts, sizes, MOST_BLOCKS)
        return list(zip(starts[:count], sizes[:count], strict=True))

    def _failed(self, status: int, error: Exception) -> int:
        self.said = f"{type(error).__name__}: {error}"
        self._library.fake_explain(self.said.encode())
        return status


@functools.cache
def fake_driver() -> FakeDriver:
    """The library, loaded; skips where there is another one, or nothing that would call it."""
    bindings = pytest.importorskip("cuda.bindings.driver", reason="no cuda-bindings")
    made = FakeDriver(Path(tempfile.mkdtemp(prefix="graphc-tests-")))
    bindings.cuInit(0)
    if not made.calls("cuInit"):
        pytest.skip("another driver is loaded")
    return made
