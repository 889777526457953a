"""The GPU behind its driver, with a driver made up here: what it is told, what its errors become.

Nothing here shows that a GPU does what it is told.
"""

from __future__ import annotations

import builtins
import ctypes
import enum
import gc as collector
import types

import numpy as np
import pytest

import graphc as gc
from graphc import errors
from graphc.runtime.cuda.current import current_session, use
from graphc.runtime.cuda.device import CannotRecord, Fault, OutOfMemory
from graphc.runtime.cuda.dlpack import CUDA
from graphc.runtime.cuda.driver import CudaDevice, open_device
from graphc.runtime.cuda.driver_errors import GONE, LOST
from graphc.runtime.cuda.plan.device_kernel import DeviceKernel


class Result(enum.IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_NOT_INITIALIZED = 3
    CUDA_ERROR_DEVICE_UNAVAILABLE = 46
    CUDA_ERROR_NO_DEVICE = 100
    CUDA_ERROR_INVALID_PTX = 218
    CUDA_ERROR_UNSUPPORTED_PTX_VERSION = 222
    CUDA_ERROR_ILLEGAL_ADDRESS = 700
    CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES = 701
    CUDA_ERROR_CONTEXT_IS_DESTROYED = 709
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900
    CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901


class Option(enum.IntEnum):
    CU_JIT_ERROR_LOG_BUFFER = 5
    CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES = 6


class Attribute(enum.IntEnum):
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76


class StreamFlags(enum.IntEnum):
    CU_STREAM_NON_BLOCKING = 1


class CaptureMode(enum.IntEnum):
    CU_STREAM_CAPTURE_MODE_RELAXED = 2


class EventFlags(enum.IntEnum):
    CU_EVENT_DISABLE_TIMING = 2


class PointerAttribute(enum.IntEnum):
    CU_POINTER_ATTRIBUTE_MEMORY_TYPE = 2
    CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL = 9


LEGACY = 1
RECORDER, CONTEXT = "recorder", "context"


class Driver:
    """What `cuda.bindings.driver` offers, on memory of this machine; `fails` maps a function's name
    to what it gives."""

    CUresult = Result
    CUjit_option = Option
    CUdevice_attribute = Attribute
    CUstream_flags = StreamFlags
    CUstreamCaptureMode = CaptureMode
    CUevent_flags = EventFlags
    CUpointer_attribute = PointerAttribute

    def __init__(self, capability=(9, 0), count=1, pointers=None, **fails):
        self.pointers = pointers
        self.capability = capability
        self.count = count
        self.fails = {"cuPointerGetAttribute": Result.CUDA_ERROR_INVALID_VALUE, **fails}
        self.log = []
        self.memory = {}

    def __getattribute__(self, name):
        found = super().__getattribute__(name)
        if not name.startswith("cu"):
            return found

        def called(*arguments):
            self.log.append((name, *arguments))
            failed = self.fails.get(name, Result.CUDA_SUCCESS)
            if failed:
                return (failed, *[None] * RESULTS.get(name, 0))
            given = found(*arguments)
            if given is None:
                return (Result.CUDA_SUCCESS,)
            return (Result.CUDA_SUCCESS, *(given if isinstance(given, tuple) else (given,)))

        return called

    def calls(self, *names):
        return [entry for entry in self.log if entry[0] in names]

    def cuInit(self, flags): ...
    def cuCtxSetCurrent(self, context): ...
    def cuMemFree(self, address):
        del self.memory[address]

    def cuStreamSynchronize(self, stream): ...
    def cuStreamBeginCapture(self, stream, mode): ...
    def cuGraphDestroy(self, graph): ...
    def cuGraphExecDestroy(self, graph): ...
    def cuGraphLaunch(self, graph, stream): ...
    def cuModuleUnload(self, module): ...
    def cuEventRecord(self, event, stream): ...
    def cuStreamWaitEvent(self, stream, event, flags): ...
    def cuEventDestroy(self, event): ...
    def cuDevicePrimaryCtxReset(self, device): ...

    def cuGetErrorString(self, status):
        return b"what it means"

    def cuDriverGetVersion(self):
        return 12030

    def cuDeviceGetCount(self):
        return self.count

    def cuDeviceGet(self, number):
        return number

    def cuDeviceGetName(self, size, device):
        return b"A GPU\0\0\0"

    def cuDeviceGetAttribute(self, attribute, device):
        return self.capability[attribute - 75]

    def cuDevicePrimaryCtxRetain(self, device):
        return CONTEXT

    def cuStreamCreate(self, flags):
        return RECORDER

    def cuMemAlloc(self, nbytes):
        block = np.zeros(nbytes, np.uint8)
        self.memory[block.ctypes.data] = block
        return block.ctypes.data

    def cuMemcpyHtoDAsync(self, target, source, nbytes, stream):
        ctypes.memmove(target, source, nbytes)

    cuMemcpyDtoHAsync = cuMemcpyDtoDAsync = cuMemcpyHtoDAsync

    def cuPointerGetAttribute(self, attribute, address):
        return self.pointers[attribute]

    def cuMemGetInfo(self):
        return 1000, 9000

    def cuModuleLoadDataEx(self, image, count, options, values):
        return image

    def cuModuleGetFunction(self, module, name):
        assert b".entry " + name + b"(" in module
        return name.decode()

    def cuLaunchKernel(self, function, *rest):
        *_, table, _ = rest
        first = ctypes.c_uint64.from_address(table).value
        self.first_argument = ctypes.c_uint64.from_address(first).value

    def cuStreamEndCapture(self, stream):
        return "graph"

    def cuGraphInstantiate(self, graph, flags):
        return "executable"

    def cuEventCreate(self, flags):
        return "event"


RESULTS = dict.fromkeys(
    (
        "cuMemAlloc",
        "cuModuleLoadDataEx",
        "cuDeviceGetCount",
        "cuStreamEndCapture",
        "cuGraphInstantiate",
        "cuPointerGetAttribute",
        "cuDevicePrimaryCtxRetain",
        "cuStreamGetCaptureInfo",
    ),
    1,
)


@pytest.fixture
def driver():
    return Driver()


@pytest.fixture
def gpu(driver):
    return CudaDevice(driver)


# ---- opening -------------------------------------------------------------------------------------


def test_what_a_device_says_of_itself(gpu):
    assert (gpu.name, gpu.number, gpu.capability, gpu.kind) == ("A GPU", 0, (9, 0), CUDA)


def test_without_the_package(monkeypatch):
    plain = builtins.__import__

    def without(name, *rest):
        if name.startswith("cuda"):
            raise ImportError(name)
        return plain(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(errors.MissingLibraryError, match=r"pip install .*\[cuda\]"):
        open_device()


def test_without_a_driver():
    class NoDriver(Driver):
        def cuInit(self, flags):
            raise RuntimeError("no libcuda")

    with pytest.raises(errors.NoDriverError, match='install the driver, or use target="cpu"'):
        CudaDevice(NoDriver())


@pytest.mark.parametrize(
    ("driver", "error", "message"),
    [
        (Driver(cuInit=Result.CUDA_ERROR_NO_DEVICE), errors.NoDeviceError, "no GPU"),
        (Driver(count=0), errors.NoDeviceError, "0 GPUs"),
        (Driver(capability=(6, 1)), errors.NoDeviceError, "capability 6.1, older than 7.0"),
        (
            Driver(cuInit=Result.CUDA_ERROR_ILLEGAL_ADDRESS),
            errors.NoDriverError,
            "ILLEGAL_ADDRESS, what it means.*nvidia-smi",
        ),
    ],
)
def test_what_is_missing_is_named(driver, error, message):
    with pytest.raises(error, match=message):
        CudaDevice(driver)


def test_a_call_without_a_gpu_fails_and_the_next_one_on_the_processor_does_not(monkeypatch):
    monkeypatch.setattr("graphc.runtime.cuda.current._current.session", None)
    monkeypatch.setattr(
        "graphc.runtime.cuda.driver.open_device", lambda: CudaDevice(Driver(count=0))
    )
    function = gc.compile(lambda x: x * 2.0, target="cuda")
    for _ in range(2):
        with pytest.raises(errors.NoDeviceError):
            function(np.ones(3))
    with pytest.raises(errors.NoDeviceError):
        gc.to_device(np.ones(3))
    assert gc.compile(lambda x: x * 2.0)(np.ones(3)).tolist() == [2.0] * 3


# ---- what it is told -----------------------------------------------------------------------------


def test_memory_goes_there_and_back(gpu, driver):
    address = gpu.allocate(64)
    gpu.upload(address, np.arange(8.0))
    gpu.copy(address + 8, address, 8)
    back = np.empty(2)
    gpu.download(back, address)
    assert back.tolist() == [0.0, 0.0]
    assert driver.log[-1] == ("cuStreamSynchronize", LEGACY)
    gpu.free(address)
    assert not driver.memory


def test_the_context_is_entered_before_everything(gpu, driver):
    """Another library may have entered its own since."""
    driver.log.clear()
    gpu.upload(gpu.allocate(8), np.zeros(1))
    names = [name for name, *_ in driver.log]
    assert names == [
        *("cuCtxSetCurrent", "cuMemAlloc"),
        *("cuCtxSetCurrent", "cuMemcpyHtoDAsync"),
        *("cuCtxSetCurrent", "cuPointerGetAttribute"),
    ]


def test_a_launch_passes_pointers_to_pointers(gpu, driver):
    gpu.launch("f", DeviceKernel("f", 7, 128, ()), [0x1234, 0x5678], [8, 8])
    (_, *where) = driver.calls("cuLaunchKernel")[0]
    assert where[:9] == ["f", 7, 1, 1, 128, 1, 1, 0, LEGACY]
    assert driver.first_argument == 0x1234


def test_what_is_recorded_goes_to_a_stream_of_its_own(gpu, driver):
    with gpu.record() as recordings:
        gpu.launch("f", DeviceKernel("f", 1, 32, ()), [1], [8])
    assert driver.calls("cuLaunchKernel")[0][9] == RECORDER
    gpu.replay(recordings[0])
    assert driver.log[-1] == ("cuGraphLaunch", "executable", LEGACY)
    gpu.launch("f", DeviceKernel("f", 1, 32, ()), [1], [8])
    assert driver.calls("cuLaunchKernel")[1][9] == LEGACY
    recordings[0].close()
    assert driver.log[-1] == ("cuGraphExecDestroy", "executable")


class Deciding(Driver):
    """A driver of CUDA 12.4 or newer, as far as a graph that decides needs it."""

    CU_GRAPH_COND_ASSIGN_DEFAULT = 1

    class CUgraphConditionalNodeType(enum.IntEnum):
        CU_GRAPH_COND_TYPE_IF = 0
        CU_GRAPH_COND_TYPE_WHILE = 1

    class CUgraphNodeType(enum.IntEnum):
        CU_GRAPH_NODE_TYPE_CONDITIONAL = 13

    class CUgraphNodeParams:
        def __init__(self):
            self.conditional = types.SimpleNamespace()

    class CUgraphEdgeData:
        pass

    def __init__(self, version):
        super().__init__()
        self.version = version
        self.handles = 0

    def cuDriverGetVersion(self):
        return self.version

    def cuGraphCreate(self, flags):
        return "graph"

    def cuStreamBeginCaptureToGraph(self, stream, graph, after, edges, count, mode):
        assert len(after) == len(edges) == count
        self.graph = graph

    def cuStreamGetCaptureInfo(self, stream):
        return 1, 1, self.graph, [f"last of {self.graph}"], [None], 1

    def cuGraphConditionalHandleCreate(self, graph, context, default, flags):
        assert (context, default, flags) == (CONTEXT, 0, 1)
        self.handles += 1
        return self.handles

    def cuGraphAddNode(self, graph, after, edges, count, given):
        held = given.conditional
        assert len(after) == len(edges) == count
        held.phGraph_out = [f"{graph}/{held.handle}.{i}" for i in range(held.size)]
        return f"node {held.handle}"

    def shape(self):
        """What was made, in short."""
        said = {
            "cuStreamBeginCaptureToGraph": lambda stream, graph, after, *_: (graph, *after),
            "cuGraphAddNode": lambda graph, after, edges, count, given: (
                given.conditional.type.name[-2:],
                given.conditional.size,
                *after,
            ),
            "cuLaunchKernel": lambda function, *_: function,
        }
        return [said[name](*rest) for name, *rest in self.log if name in said]


@pytest.mark.parametrize("version", [12080, 12040])
def test_a_decision_is_a_node_between_what_comes_before_and_after(version):
    driver = Deciding(version)
    gpu = CudaDevice(driver)
    assert gpu.decides

    def put(name):
        return lambda: gpu.launch(name, DeviceKernel(name, 1, 32, ()), [1], [8])

    with gpu.record(True):
        put("before")()
        gpu.choose(100, 200, put("yes"), put("no"))
        put("after")()
    one_node = [("IF", 2, "last of graph"), ("graph/1.0",), "yes", ("graph/1.1",), "no"]
    two_nodes = [("IF", 1, "last of graph"), ("graph/1.0",), "yes"]
    two_nodes += [("IF", 1, "node 1"), ("graph/2.0",), "no"]
    inside, last = (one_node, "node 1") if version == 12080 else (two_nodes, "node 2")
    assert driver.shape() == [("graph",), "before", "tell", *inside, ("graph", last), "after"]
    assert driver.calls("cuGraphDestroy") == [("cuGraphDestroy", "graph")]


def test_a_side_with_nothing_in_it():
    driver = Deciding(12040)
    gpu = CudaDevice(driver)
    work = gpu.launch

    def put():
        work("f", DeviceKernel("f", 1, 32, ()), [1], [8])

    with gpu.record(True):
        gpu.choose(100, 200, None, put)
        gpu.choose(100, 200, put, None)
        gpu.choose(100, 200, None, None)
    assert driver.handles == 2
    assert [each[1] for each in driver.shape() if each[0] == "IF"] == [1, 1]


def test_a_turn_ends_by_telling_whether_there_is_another():
    driver = Deciding(12040)
    gpu = CudaDevice(driver)
    with gpu.record(True):
        gpu.repeat(100, 200, lambda: gpu.launch("f", DeviceKernel("f", 1, 32, ()), [1], [8]))
    node = ("LE", 1, "last of graph")
    assert driver.shape() == [("graph",), "tell", node, ("graph/1.0",), "f", "tell"]


def test_a_driver_that_is_older_does_not_decide(gpu):
    assert not gpu.decides


def test_an_error_ends_a_recording_that_decides():
    driver = Deciding(12080)
    gpu = CudaDevice(driver)
    with pytest.raises(ValueError, match="mine"), gpu.record(True):
        gpu.launch("f", DeviceKernel("f", 1, 32, ()), [1], [8])
        raise ValueError("mine")
    names = [name for name, *_ in driver.log]
    assert names[-2:] == ["cuStreamEndCapture", "cuGraphDestroy"]
    driver.fails["cuStreamGetCaptureInfo"] = Result.CUDA_ERROR_INVALID_VALUE
    with pytest.raises(CannotRecord, match="INVALID_VALUE"), gpu.record(True):
        gpu.launch("f", DeviceKernel("f", 1, 32, ()), [1], [8])
    assert [name for name, *_ in driver.log][-2:] == ["cuStreamEndCapture", "cuGraphDestroy"]
    gpu.launch("f", DeviceKernel("f", 1, 32, ()), [1], [8])
    assert driver.calls("cuLaunchKernel")[-1][9] == LEGACY


def test_an_error_ends_the_recording(gpu, driver):
    driver.fails["cuLaunchKernel"] = Result.CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES
    with pytest.raises(Fault), gpu.record():
        gpu.launch("f", DeviceKernel("f", 1, 32, ()), [1], [8])
    assert driver.calls("cuStreamEndCapture")
    del driver.fails["cuLaunchKernel"]
    gpu.launch("f", DeviceKernel("f", 1, 32, ()), [1], [8])
    assert driver.calls("cuLaunchKernel")[1][9] == LEGACY


def test_a_foreign_stream_is_waited_for_on_the_device(gpu, driver):
    gpu.wait_for(17)
    gpu.let_wait(18)
    names = ("cuEventRecord", "cuStreamWaitEvent", "cuEventDestroy")
    assert driver.calls(*names) == [
        ("cuEventRecord", "event", 17),
        ("cuStreamWaitEvent", LEGACY, "event", 0),
        ("cuEventDestroy", "event"),
        ("cuEventRecord", "event", LEGACY),
        ("cuStreamWaitEvent", 18, "event", 0),
        ("cuEventDestroy", "event"),
    ]


@pytest.mark.parametrize(
    ("capability", "architecture"),
    [((7, 0), 70), ((7, 2), 70), ((8, 0), 80), ((8, 9), 89), ((9, 0), 90), ((12, 0), 90)],
)
def test_code_is_for_the_device_or_an_older_one(capability, architecture):
    driver = Driver(capability)
    with use(CudaDevice(driver)):
        gc.compile(lambda x: np.exp(x), target="cuda")(np.ones(3))
    ((_, image, *_),) = driver.calls("cuModuleLoadDataEx")
    assert f".target sm_{architecture}\n".encode() in image
    assert image.endswith(b"\0")


def test_a_step_is_launched_then_recorded_then_replayed():
    driver = Driver()
    with use(CudaDevice(driver)):
        step = gc.compile(lambda x: np.cumsum(np.sort(x)), target="cuda")
        x = gc.to_device(np.ones(30))
        for _ in range(5):
            y = step(x)
    del y
    names = [name for name, *_ in driver.calls("cuLaunchKernel", "cuGraphLaunch")]
    launches = names.index("cuGraphLaunch")
    assert names[-1] == "cuGraphLaunch"
    assert names.count("cuGraphLaunch") >= 2
    assert launches > 0


def test_what_a_step_holds_is_let_go_with_it():
    driver = Driver()
    with use(CudaDevice(driver)):
        step = gc.compile(lambda x: np.cumsum(np.sort(x)), target="cuda")
        x = gc.to_device(np.ones(30))
        for _ in range(4):
            step(x)
        del step
        collector.collect()
    recorded = driver.calls("cuGraphInstantiate")
    assert recorded
    assert len(driver.calls("cuGraphExecDestroy")) == len(recorded)
    assert len(driver.calls("cuModuleUnload")) == 1


# ---- errors --------------------------------------------------------------------------------------


def test_no_memory_left(driver, gpu):
    driver.fails["cuMemAlloc"] = Result.CUDA_ERROR_OUT_OF_MEMORY
    with pytest.raises(OutOfMemory):
        gpu.allocate(8)
    with use(gpu), pytest.raises(errors.DeviceMemoryError, match="A GPU has no"):
        gc.to_device(np.ones(3))


def test_code_that_the_driver_refuses(driver, gpu):
    driver.fails["cuModuleLoadDataEx"] = Result.CUDA_ERROR_INVALID_PTX
    with use(gpu), pytest.raises(errors.DeviceFaultError, match="CUDA_ERROR_INVALID_PTX"):
        gc.compile(lambda x: np.exp(x), target="cuda")(np.ones(3))


def test_a_driver_that_is_older_than_the_code(driver, gpu):
    driver.fails["cuModuleLoadDataEx"] = Result.CUDA_ERROR_UNSUPPORTED_PTX_VERSION
    with (
        use(gpu),
        pytest.raises(errors.NoDriverError, match=r"too old for A GPU.* PTX 7\.8"),
    ):
        gc.compile(lambda x: np.exp(x), target="cuda")(np.ones(3))


def test_a_launch_that_fails_names_its_kernel_and_line(driver, gpu):
    driver.fails["cuLaunchKernel"] = Result.CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES
    with use(gpu) as session:
        with pytest.raises(errors.DeviceFaultError, match=r"in kernel \w+ \(.*driver.py:\d+\)"):
            gc.compile(lambda x: np.exp(x), target="cuda")(np.ones(3))
        assert not session.is_lost


def test_a_fault_that_shows_later_names_the_kernels_that_ran(driver, gpu):
    with use(gpu):
        y = gc.compile(lambda x: np.cumsum(np.sort(x)), target="cuda")(np.ones(3))
        driver.fails["cuStreamSynchronize"] = Result.CUDA_ERROR_ILLEGAL_ADDRESS
        with pytest.raises(
            errors.DeviceFaultError, match=r"ILLEGAL_ADDRESS.* in one of kernel \w+ .*, kernel"
        ):
            np.asarray(y)


def test_after_a_fault_the_device_is_started_anew(driver, gpu):
    with use(gpu):
        step = gc.compile(lambda x: x * 2.0, target="cuda")
        y = step(np.ones(3))
        driver.fails["cuStreamSynchronize"] = Result.CUDA_ERROR_ILLEGAL_ADDRESS
        with pytest.raises(errors.DeviceFaultError):
            np.asarray(y)
        del driver.fails["cuStreamSynchronize"]
        assert current_session().device is not gpu
        assert driver.calls("cuDevicePrimaryCtxReset") == [("cuDevicePrimaryCtxReset", 0)]
        np.asarray(step(np.ones(3)))
        with pytest.raises(errors.ArgumentError, match="x was made on a device that has stopped"):
            step(y)


@pytest.mark.parametrize("name", ["cuModuleLoadDataEx", "cuLaunchKernel", "cuStreamSynchronize"])
def test_no_memory_left_for_anything_else(driver, gpu, name):
    driver.fails[name] = Result.CUDA_ERROR_OUT_OF_MEMORY
    with (
        use(gpu),
        pytest.raises(errors.DeviceMemoryError, match=r"A GPU has no .*1000 of its 9000 are free"),
    ):
        np.asarray(gc.compile(lambda x: x * 2.0, target="cuda")(np.ones(3)))


@pytest.mark.parametrize(
    "error", [Result.CUDA_ERROR_OUT_OF_MEMORY, Result.CUDA_ERROR_STREAM_CAPTURE_INVALIDATED]
)
def test_what_cannot_be_recorded_is_launched(driver, gpu, error):
    with use(gpu):
        step = gc.compile(lambda x: np.cumsum(np.sort(x)), target="cuda")
        x = gc.to_device(np.ones(30))
        driver.fails["cuGraphInstantiate"] = error
        step(x)
        with pytest.warns(RuntimeWarning, match="kernel by kernel"):
            for _ in range(3):
                step(x)
        tried = len(driver.calls("cuGraphInstantiate"))
        launched = len(driver.calls("cuLaunchKernel"))
        step(x)
    assert len(driver.calls("cuGraphInstantiate")) == tried
    assert len(driver.calls("cuLaunchKernel")) > launched
    assert not driver.calls("cuGraphLaunch")


def test_the_first_error_of_a_recording_is_told(driver, gpu):
    driver.fails["cuLaunchKernel"] = Result.CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES
    driver.fails["cuStreamEndCapture"] = Result.CUDA_ERROR_STREAM_CAPTURE_INVALIDATED
    with pytest.raises(Fault, match="OUT_OF_RESOURCES"), gpu.record():
        gpu.launch("f", DeviceKernel("f", 1, 32, ()), [1], [8])


def test_arrays_can_be_read_while_a_step_is_recorded(driver, gpu):
    """By another thread: what it asks for is no part of the recording."""
    address = gpu.allocate(8)
    with gpu.record():
        gpu.upload(address, np.ones(1))
        gpu.download(np.empty(1), address)
    copies = driver.calls("cuMemcpyHtoDAsync", "cuMemcpyDtoHAsync")
    assert [copy[-1] for copy in copies] == [LEGACY, LEGACY]
    assert driver.calls("cuStreamSynchronize") == [("cuStreamSynchronize", LEGACY)]


def test_pinned_memory_may_be_changed_after_a_call():
    driver = Driver(pointers={PointerAttribute.CU_POINTER_ATTRIBUTE_MEMORY_TYPE: 1})
    gpu = CudaDevice(driver)
    address = gpu.allocate(8)
    gpu.upload(address, np.ones(1))
    assert not driver.calls("cuStreamSynchronize")
    driver.fails.clear()
    gpu.upload(address, np.ones(1))
    assert driver.log[-1] == ("cuStreamSynchronize", LEGACY)


def test_which_device_memory_is_of():
    driver = Driver(pointers={PointerAttribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: 1})
    gpu = CudaDevice(driver)
    assert gpu.owner_of(17) is None
    driver.fails.clear()
    assert gpu.owner_of(17) == 1


def test_in_a_forked_process(driver, gpu, monkeypatch):
    with use(gpu):
        y = gc.compile(lambda x: x * 2.0, target="cuda")(np.ones(3))
        monkeypatch.setattr("os.getpid", lambda: -1)
        with pytest.raises(errors.NoDeviceError, match=r"forked .*spawn"):
            np.asarray(y)
    with pytest.raises(errors.NoDeviceError, match=r"forked .*spawn"):
        CudaDevice(Driver(cuInit=Result.CUDA_ERROR_NOT_INITIALIZED))


def test_a_device_that_does_not_start_anew(driver, gpu):
    with use(gpu):
        step = gc.compile(lambda x: x * 2.0, target="cuda")
        y = step(np.ones(3))
        driver.fails["cuStreamSynchronize"] = Result.CUDA_ERROR_ILLEGAL_ADDRESS
        with pytest.raises(errors.DeviceFaultError):
            np.asarray(y)
        driver.fails["cuDevicePrimaryCtxRetain"] = Result.CUDA_ERROR_ILLEGAL_ADDRESS
        for _ in range(2):
            with pytest.raises(errors.NoDeviceError, match="new process"):
                step(np.ones(3))
        driver.fails["cuDevicePrimaryCtxRetain"] = Result.CUDA_ERROR_OUT_OF_MEMORY
        with pytest.raises(errors.DeviceMemoryError, match="other processes"):
            step(np.ones(3))
    assert gc.compile(lambda x: x * 2.0)(np.ones(3)).tolist() == [2.0] * 3


def test_a_context_that_somebody_else_reset_is_left_alone(driver, gpu):
    with use(gpu):
        step = gc.compile(lambda x: x * 2.0, target="cuda")
        step(np.ones(3))
        driver.fails["cuCtxSetCurrent"] = Result.CUDA_ERROR_CONTEXT_IS_DESTROYED
        with pytest.raises(errors.DeviceFaultError):
            step(np.ones(3))
        del driver.fails["cuCtxSetCurrent"]
        step(np.ones(3))
    assert len(driver.calls("cuDevicePrimaryCtxRetain")) == 2
    assert not driver.calls("cuDevicePrimaryCtxReset")


# ---- the real module -----------------------------------------------------------------------------


def test_the_module_has_what_is_called():
    real = pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings is not installed")
    for name, held in (vars(Driver) | vars(Deciding)).items():
        if name.startswith(("cu", "CU")):
            assert hasattr(real, name), name
        for member in held if isinstance(held, enum.EnumMeta) else ():
            assert getattr(getattr(real, name), member.name).value == member.value


def test_errors_after_which_nothing_goes_on_are_known():
    real = pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings is not installed")
    members = set(real.CUresult.__members__)
    assert members >= LOST | GONE
    fatal = {m.name for m in real.CUresult if "terminated and relaunched" in (m.__doc__ or "")}
    assert fatal <= LOST
