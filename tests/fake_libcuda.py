"""A libcuda.so.1 of our own (`fake_libcuda.c`) under the real Python bindings.

Its kernels are run by the emulated device: what is tested is everything between graphc and the
driver, the bindings of NVIDIA's included.  Nothing here shows that a GPU does what it is told.
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

from graphc.runtime.cuda import driver
from graphc.runtime.cuda.device_kernel import DeviceKernel
from graphc.runtime.cuda.emulation import EmulatedModule
from graphc.runtime.llvm.jit import add_symbols

SOURCE = Path(__file__).with_name("fake_libcuda.c")
EVERYTHING = (0, (1 << 63) - 1)
"""The emulated device may touch all memory: who gives it addresses is what is tested."""

_Launcher = ctypes.CFUNCTYPE(
    None,
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
        self._launcher = _Launcher(self._launch)
        self._library.fake_on_launch(self._launcher)
        setter = ctypes.cast(self._library.fake_set_conditional, ctypes.c_void_p).value
        add_symbols({"cudaGraphSetConditional": setter or 0})

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

    def _launch(
        self, code: bytes, name: bytes, grid: int, block: int, count: int, pointers: Any
    ) -> None:
        kernel = DeviceKernel(name.decode(), grid, block, 0)
        self._modules[code.decode()].launch(kernel, pointers[:count], [EVERYTHING])


@functools.cache
def fake_driver() -> FakeDriver:
    """The library, loaded; skips where there is another one, or nothing that would call it."""
    bindings = pytest.importorskip("cuda.bindings.driver", reason="no cuda-bindings")
    made = FakeDriver(Path(tempfile.mkdtemp(prefix="graphc-tests-")))
    bindings.cuInit(0)
    if not made.calls("cuInit"):
        pytest.skip("another driver is loaded")
    return made
