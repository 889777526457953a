"""Steps by way of NVIDIA's own Python bindings, to a driver of ours that keeps a driver's rules.

The test of the test is `test_the_rules_are_kept`: what a driver refuses, this one does.
"""

from __future__ import annotations

import gc as collector
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fake_libcuda import FakeDriver, fake_driver

import graphc as gc
from graphc import errors
from graphc.runtime.cuda.current import use
from graphc.runtime.cuda.device import Fault
from graphc.runtime.cuda.driver import CudaDevice

driver = pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings is not installed")
OUT_OF_MEMORY, INVALID_PTX, ILLEGAL_ADDRESS = 2, 218, 700


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    made = fake_driver()
    made.watch(monkeypatch)
    return made


@pytest.fixture
def gpu(fake: FakeDriver) -> Iterator[CudaDevice]:
    device = CudaDevice(driver)
    with use(device):
        yield device


def test_what_a_device_says_of_itself(gpu: CudaDevice) -> None:
    assert (gpu.name, gpu.capability, gpu.room()) == ("No GPU 0", (9, 0), (1 << 20, 1 << 30))


@gc.compile(target="cuda")
def train(params, x, y, rate):
    def loss(p):
        hidden = np.maximum(x @ p["w"] + p["b"], 0.0)
        return np.mean((hidden @ p["v"] - y) ** 2)

    value, gradient = gc.value_and_grad(loss)(params)
    return value, {k: params[k] - rate * gradient[k] for k in params}


def test_a_training_step_is_launched_recorded_and_replayed(gpu: CudaDevice, fake) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((16, 4))
    y = x.sum(axis=1, keepdims=True)
    there = here = {
        "w": rng.standard_normal((4, 8)),
        "b": np.zeros(8),
        "v": rng.standard_normal((8, 1)),
    }
    replays = fake.calls("cuGraphLaunch")
    for _ in range(6):
        loss, there = train(there, gc.to_device(x), y, 0.05)
        wanted, here = gc.compile(train._function)(here, x, y, 0.05)
        assert float(loss) == pytest.approx(float(wanted), rel=1e-12)
    for name, array in there.items():
        np.testing.assert_allclose(np.asarray(array), here[name], rtol=1e-12)
    assert fake.calls("cuGraphLaunch") > replays


def test_a_loop_of_unknown_length(gpu: CudaDevice) -> None:
    @gc.compile(target="cuda")
    def halved(x):
        while x.sum() > 1.0:
            x = x / 2.0
        return x

    assert np.asarray(halved(np.array([4.0, 8.0]))).tolist() == [0.25, 0.5]


def test_garbage_that_is_collected_while_a_step_is_recorded(
    gpu: CudaDevice, fake: FakeDriver
) -> None:
    """A module that is unloaded in the middle does not put an end to the recording."""
    functions = [gc.compile(lambda x: x + 1.0, target="cuda")]
    functions[0](np.ones(3))
    collector.collect()  # what the tests before this one have left
    before = fake.calls("cuModuleUnload")
    with gpu.record() as recordings:
        functions.clear()
        collector.collect()
    assert fake.calls("cuModuleUnload") == before + 1
    gpu.replay(recordings[0])


def test_two_threads(gpu: CudaDevice) -> None:
    """Each has to make the context its own; one reads what the other may be recording."""
    step = gc.compile(lambda x: np.cumsum(np.sort(x)), target="cuda")

    def run(start: float) -> float:
        x = gc.to_device(np.full(30, start))
        return sum(float(np.asarray(step(x))[0]) for _ in range(20))

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(run, (1.0, 2.0))) == [20.0, 40.0]


def test_the_driver_says_what_is_wrong_with_code(gpu: CudaDevice, fake: FakeDriver) -> None:
    fake.fail("cuModuleLoadDataEx", INVALID_PTX)
    with pytest.raises(errors.DeviceFaultError, match=r"CUDA_ERROR_INVALID_PTX.*so it is; ptxas:"):
        gc.compile(lambda x: x - 3.0, target="cuda")(np.ones(3))


def test_memory_that_is_let_go_makes_room(gpu: CudaDevice, fake: FakeDriver) -> None:
    gc.to_device(np.ones(100_000))
    freed = fake.calls("cuMemFree")
    fake.fail("cuMemAlloc", OUT_OF_MEMORY)
    there = gc.to_device(np.ones(200_000))
    assert fake.calls("cuMemFree") > freed
    fake.fail("cuMemAlloc", OUT_OF_MEMORY, times=2)
    with pytest.raises(errors.DeviceMemoryError, match=r"no \d+ bytes left"):
        gc.to_device(np.ones(300_000))
    assert np.asarray(there).sum() == 200_000


def test_a_fault_and_what_comes_after(gpu: CudaDevice, fake: FakeDriver) -> None:
    step = gc.compile(lambda x: x * 7.0, target="cuda")
    y = step(np.ones(3))
    fake.fail("cuStreamSynchronize", ILLEGAL_ADDRESS)
    with pytest.raises(errors.DeviceFaultError, match=r"ILLEGAL_ADDRESS.*binding.py"):
        np.asarray(y)
    assert np.asarray(step(np.ones(3))).tolist() == [7.0] * 3


def test_the_machine_that_executes_ptx_says_what_a_kernel_did(
    gpu: CudaDevice, fake: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.run_ptx(monkeypatch)
    step = gc.compile(lambda x: x * 9.0, target="cuda")
    with monkeypatch.context() as nothing_was_handed_out:
        nothing_was_handed_out.setattr(fake, "blocks", list)
        with pytest.raises(errors.DeviceFaultError, match=r"ILLEGAL_ADDRESS.*no memory that was"):
            np.asarray(step(np.ones(3)))
    assert np.asarray(step(np.ones(3))).tolist() == [9.0] * 3


def test_the_rules_are_kept(gpu: CudaDevice) -> None:
    address = gpu.allocate(8)
    with pytest.raises(Fault, match="INVALID_VALUE"):
        gpu.copy(address + 4, address, 8)
    with pytest.raises(Fault, match="INVALID_VALUE"):
        gpu.free(address + 4)
    gpu.free(address)
    with pytest.raises(Fault, match="NOT_FOUND"):
        gpu.load("define void @f() { ret void }", ["g"])
    gpu._do("cuCtxSetCurrent", 0)
    with pytest.raises(Fault, match="INVALID_CONTEXT"):
        gpu._do("cuMemAlloc", 8)
    gpu.is_lost = False
    thread_local = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
    gpu._enter()
    gpu._do("cuStreamBeginCapture", gpu._recorder, thread_local)
    with pytest.raises(Fault, match="CAPTURE_UNSUPPORTED"):
        gpu.allocate(8)
    with pytest.raises(Fault, match="CAPTURE_INVALIDATED"):
        gpu._do("cuStreamEndCapture", gpu._recorder)


def test_whose_memory_an_address_is(gpu: CudaDevice) -> None:
    assert gpu.owner_of(gpu.allocate(8)) == 0
    assert gpu.owner_of(np.zeros(1).ctypes.data) is None
