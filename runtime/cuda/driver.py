"""An NVIDIA GPU, by the driver's own interface (the package `cuda-bindings`).

Nothing else in graphc knows that interface, and nothing imports it before a step is to run.  The
device's primary context is used, which torch, CuPy, numba and JAX share, so that their arrays are
ours as well.  Work goes to the default stream, in order with theirs; it is recorded on a stream of
its own, because the default one cannot be recorded.  Copies from and to this machine are never
recorded: another thread may ask for an array while a step is.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from graphc import errors
from graphc.runtime.cuda.device import CannotRecord, Fault, OutOfMemory, Work
from graphc.runtime.cuda.dlpack import CUDA
from graphc.runtime.cuda.driver_errors import GONE, LOST, REFUSED
from graphc.runtime.cuda.library import CublasLt, open_library
from graphc.runtime.cuda.plan.device_kernel import DeviceKernel
from graphc.runtime.cuda.plan.products import MatrixProduct
from graphc.runtime.cuda.ptx_cache import ARCHITECTURES, architecture_for, cached_ptx
from graphc.runtime.cuda.recorder import TELL, TELL_TEXT, Captured, Recorder, can_decide

DEFAULT_STREAM = 1
"""CU_STREAM_LEGACY: 0 would be another one with CUDA_PYTHON_CUDA_PER_THREAD_DEFAULT_STREAM set."""
LOG_BYTES = 4096
DYNAMIC_SHARED_BYTES = 0
"""Functions declare what they need."""

TOO_NEW = "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"
"""The error of a driver that is older than the code: LLVM writes the oldest version of PTX that has
the device's architecture."""


def open_device(number: int = 0) -> CudaDevice:
    """A GPU of this machine.

    Raises `errors.MissingLibraryError`, `errors.NoDriverError` or `errors.NoDeviceError`, which say
    what is missing.
    """
    try:
        from cuda.bindings import driver
    except ImportError:
        raise errors.MissingLibraryError(
            'target="cuda" needs the package cuda-bindings; install it with'
            " pip install 'graphc-compiler[cuda]'"
        ) from None
    return CudaDevice(driver, number)


class CudaDevice:
    """A GPU.  `driver` is the module `cuda.bindings.driver`."""

    kind = CUDA

    def __init__(self, driver: Any, number: int = 0):
        self._driver = driver
        self.number = number
        self.is_lost = False
        self._is_gone = False
        self._process = os.getpid()
        self._start()
        device = self._do("cuDeviceGet", number)
        raw = self._do("cuDeviceGetName", 128, device)
        self.name = bytes(raw).split(b"\0")[0].decode()
        self._device = device
        attribute = driver.CUdevice_attribute
        self.capability = (
            self._attribute(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
            self._attribute(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
        )
        architecture = architecture_for(self.capability)
        if architecture is None:
            raise _no_device(
                f"{self.name} is of compute capability {'.'.join(map(str, self.capability))}, older"
                f" than {min(ARCHITECTURES) / 10}"
            )
        self._architecture = architecture
        self._context = self._do("cuDevicePrimaryCtxRetain", device)
        self._enter()
        flag = driver.CUstream_flags.CU_STREAM_NON_BLOCKING
        self._recorder = self._do("cuStreamCreate", int(flag))
        self._recording: Captured | Recorder | None = None
        self._version = int(self._do("cuDriverGetVersion"))
        self.decides = can_decide(driver, self._version)

    def _start(self) -> None:
        """Initialise the driver, or say why there is none to initialise."""
        try:
            (status,) = self._driver.cuInit(0)
        except (RuntimeError, ImportError, OSError) as error:  # no library, or one that is too old
            raise errors.NoDriverError(
                f'target="cuda": this machine has no NVIDIA driver that can be used ({error});'
                ' install the driver, or use target="cpu"'
            ) from None
        result = self._driver.CUresult
        if status == result.CUDA_ERROR_NO_DEVICE:
            raise _no_device("the driver sees no GPU")
        if status == result.CUDA_ERROR_NOT_INITIALIZED:
            raise _forked()
        if status != result.CUDA_SUCCESS:
            raise errors.NoDriverError(
                f"the NVIDIA driver does not start ({self._described(status)}); see whether"
                ' nvidia-smi works, or use target="cpu"'
            )
        count = self._do("cuDeviceGetCount")
        if self.number >= count:
            raise _no_device(f"the driver sees {count} GPUs")

    def _attribute(self, attribute: Any) -> int:
        return int(self._do("cuDeviceGetAttribute", attribute, self._device))

    # ---- calling the driver ----------------------------------------------------------------------

    def _do(self, name: str, *arguments: Any) -> Any:
        """The result of one of the driver's functions.

        Raises `Fault`, `CannotRecord` and `OutOfMemory`.
        """
        status, *results = getattr(self._driver, name)(*arguments)
        if status:
            raise self._failed(status)
        return results[0] if len(results) == 1 else results

    def _failed(self, status: Any) -> Exception:
        """What is raised for an error of the driver."""
        if status == self._driver.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
            return OutOfMemory()
        error = getattr(status, "name", "")
        self._is_gone = self._is_gone or error in GONE
        self.is_lost = self.is_lost or self._is_gone or error in LOST
        return (CannotRecord if error.startswith(REFUSED) else Fault)(self._described(status))

    def _described(self, status: Any) -> str:
        failed, text = self._driver.cuGetErrorString(status)
        name = getattr(status, "name", str(status))
        return name if failed or not text else f"{name}, {text.decode()}"

    @property
    def _stream(self) -> Any:
        """Where work is put now."""
        return DEFAULT_STREAM if self._recording is None else self._recording.stream

    def _enter(self) -> None:
        """Make the context that of this thread: whoever ran before may have chosen another."""
        if os.getpid() != self._process:
            raise _forked()
        (status,) = self._driver.cuCtxSetCurrent(self._context)
        if status:
            raise self._failed(status)

    # ---- memory ----------------------------------------------------------------------------------

    def allocate(self, nbytes: int) -> int:
        self._enter()
        return int(self._do("cuMemAlloc", nbytes))

    def free(self, address: int) -> None:
        self._enter()
        self._do("cuMemFree", address)

    def room(self) -> tuple[int, int]:
        self._enter()
        free, total = self._do("cuMemGetInfo")
        return int(free), int(total)

    def upload(self, address: int, array: np.ndarray) -> None:
        self._enter()
        source = array.ctypes.data
        self._do("cuMemcpyHtoDAsync", address, source, array.nbytes, DEFAULT_STREAM)
        # From memory that is not pinned the driver has copied by now; from what is, it may not.
        if self._asked(self._driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_MEMORY_TYPE, source):
            self._do("cuStreamSynchronize", DEFAULT_STREAM)

    def owner_of(self, address: int) -> int | None:
        ordinal = self._driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
        return self._asked(ordinal, address)

    def _asked(self, attribute: Any, address: int) -> int | None:
        """What the driver knows of an address, None if it knows nothing of it."""
        self._enter()
        status, value = self._driver.cuPointerGetAttribute(attribute, address)
        return int(value) if status == self._driver.CUresult.CUDA_SUCCESS else None

    def download(self, array: np.ndarray, address: int) -> None:
        self._enter()
        self._do("cuMemcpyDtoHAsync", array.ctypes.data, address, array.nbytes, DEFAULT_STREAM)
        self._do("cuStreamSynchronize", DEFAULT_STREAM)

    def copy(self, target: int, source: int, nbytes: int) -> None:
        self._enter()
        self._do("cuMemcpyDtoDAsync", target, source, nbytes, self._stream)

    # ---- code ------------------------------------------------------------------------------------

    def load(self, text: str, names: Sequence[str]) -> dict[str, Any]:
        if not names:
            return {}
        self._enter()
        module = self._module(cached_ptx(text, self._architecture))
        functions = _Functions(
            {n: self._do("cuModuleGetFunction", module, n.encode()) for n in names}
        )
        functions.module = _Held(self, module, "cuModuleUnload")
        return functions

    def _module(self, code: str) -> Any:
        option = self._driver.CUjit_option
        log = bytearray(LOG_BYTES)
        options = [
            option.CU_JIT_ERROR_LOG_BUFFER,
            option.CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
        ]
        image = code.encode() + b"\0"
        try:
            return self._do("cuModuleLoadDataEx", image, len(options), options, [log, LOG_BYTES])
        except Fault as fault:
            if TOO_NEW in str(fault):
                version = code.partition(".version ")[2].split("\n")[0]
                raise errors.NoDriverError(
                    f'target="cuda": the NVIDIA driver is too old for {self.name}: it does not know'
                    f' PTX {version}; install a newer one, or use target="cpu"'
                ) from None
            said = bytes(log).split(b"\0")[0].decode(errors="replace").strip()
            raise Fault(f"{fault}; {said}" if said else str(fault)) from None

    def launch(
        self, function: Any, kernel: DeviceKernel, pointers: Sequence[int], sizes: Sequence[int]
    ) -> None:
        self._enter()
        values = np.array(pointers, np.uint64)
        table = values.ctypes.data + 8 * np.arange(len(values), dtype=np.uint64)
        shape = (kernel.grid, 1, 1, kernel.block, 1, 1, DYNAMIC_SHARED_BYTES)
        self._do("cuLaunchKernel", function, *shape, self._stream, table.ctypes.data, 0)

    @functools.cached_property
    def _library(self) -> CublasLt | None:
        return open_library(self.allocate)

    def multiply(self, product: MatrixProduct, pointers: Sequence[int]) -> bool:
        self._enter()
        if self._library is None:
            return False
        try:
            if not self._library.has_way(product, pointers):
                return False
            self._library.multiply(product, pointers, int(self._stream))
        except self._library.errors as error:
            kind = Fault if self._recording is None else CannotRecord
            raise kind(f"cuBLASLt: {error}") from None
        return True

    # ---- recording -------------------------------------------------------------------------------

    @contextmanager
    def record(self, decides: bool = False) -> Iterator[list[Any]]:
        self._enter()
        recordings: list[Any] = []
        recording = self._recording = self._deciding() if decides else self._captured()
        try:
            yield recordings
            self._enter()
            graph = recording.finish()
        except BaseException:
            with suppress(Fault, OutOfMemory):  # the first error is the one to tell
                self._enter()
                recording.abandon()
            raise
        finally:
            self._recording = None
        try:
            do = self._tried if decides else self._do
            executable = do("cuGraphInstantiate", graph, 0)
        finally:
            self._do("cuGraphDestroy", graph)
        recordings.append(_Held(self, executable, "cuGraphExecDestroy"))

    def _captured(self) -> Captured:
        return Captured(self._driver, self._do, self._recorder)

    def _deciding(self) -> Recorder:
        with self._refusing():
            tell = functools.partial(self._tell, self._tells[TELL.name])
        places = self._recorder, self._context
        return Recorder(self._driver, self._tried, tell, *places, self._version)

    @functools.cached_property
    def _tells(self) -> dict[str, Any]:
        return self.load(TELL_TEXT, [TELL.name])

    def _tell(self, function: Any, *numbers: int) -> None:
        self.launch(function, TELL, numbers, ())

    def _tried(self, name: str, *arguments: Any) -> Any:
        with self._refusing():
            return self._do(name, *arguments)

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """What the driver does not do in the block is not recorded, and done otherwise."""
        try:
            yield
        except Fault as fault:
            if self.is_lost or isinstance(fault, CannotRecord):
                raise
            raise CannotRecord(str(fault)) from None

    def choose(self, predicate: int, status: int, then: Work | None, other: Work | None) -> None:
        assert isinstance(self._recording, Recorder), "decisions are recorded"
        self._recording.choose(predicate, status, then, other)

    def repeat(self, predicate: int, status: int, turn: Work) -> None:
        assert isinstance(self._recording, Recorder), "decisions are recorded"
        self._recording.repeat(predicate, status, turn)

    def replay(self, recording: Any) -> None:
        # What a call of a step costs is these lines.
        self._enter()
        (status,) = self._driver.cuGraphLaunch(recording.held, DEFAULT_STREAM)
        if status:
            raise self._failed(status)

    # ---- waiting ---------------------------------------------------------------------------------

    def synchronise(self) -> None:
        self._enter()
        self._do("cuStreamSynchronize", DEFAULT_STREAM)

    def wait_for(self, stream: int) -> None:
        self._let_wait(DEFAULT_STREAM, stream)

    def let_wait(self, stream: int) -> None:
        self._let_wait(stream, DEFAULT_STREAM)

    def _let_wait(self, later: int, earlier: int) -> None:
        self._enter()
        flags = int(self._driver.CUevent_flags.CU_EVENT_DISABLE_TIMING)
        event = self._do("cuEventCreate", flags)
        try:
            self._do("cuEventRecord", event, earlier)
            self._do("cuStreamWaitEvent", later, event, 0)
        finally:
            self._do("cuEventDestroy", event)

    def reset(self) -> CudaDevice:
        if not self._is_gone:
            self._driver.cuDevicePrimaryCtxReset(self._device)
        return CudaDevice(self._driver, self.number)

    @property
    def is_here(self) -> bool:
        """Whether there is anything left that could be let go."""
        return not self.is_lost and os.getpid() == self._process


class _Held:
    """Something of the driver's that is let go with this object."""

    def __init__(self, device: CudaDevice, held: Any, release: str):
        self._device = device
        self._release: str | None = release
        self.held = held

    def close(self) -> None:
        release, self._release = self._release, None
        if release is not None and self._device.is_here:
            self._device._enter()
            self._device._do(release, self.held)

    def __del__(self) -> None:
        if not sys.is_finalizing():
            with suppress(Fault):  # which whoever waits for the device is told
                self.close()


class _Functions(dict[str, Any]):
    """Functions by name, and the module that they are of."""

    module: _Held


def _no_device(what: str) -> errors.NoDeviceError:
    return errors.NoDeviceError(
        f'target="cuda": {what}; see nvidia-smi and CUDA_VISIBLE_DEVICES, or use target="cpu"'
    )


def _forked() -> errors.NoDeviceError:
    return errors.NoDeviceError(
        'target="cuda": this process was forked from one that had used the GPU, and CUDA does not'
        " outlive that; start processes by multiprocessing.get_context('spawn') instead"
    )
