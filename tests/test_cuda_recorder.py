"""Graphs in which the device decides, by way of NVIDIA's own bindings, to a driver of ours.

The test of the test is at the end: what a driver refuses, this one does.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fake_libcuda import FakeDriver, fake_driver
from test_cuda_settle import CASES, GIVEN, X, three_in_turns

import graphc as gc
from graphc import errors
from graphc.runtime.cuda.current import use
from graphc.runtime.cuda.device import Fault
from graphc.runtime.cuda.driver import CudaDevice
from graphc.runtime.cuda.emit.ptx import ptx
from graphc.runtime.cuda.recorder import OLDEST, TELL_TEXT, TWO_BODIES

driver = pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings is not installed")
INVALID_VALUE, LAUNCH_FAILED, NOT_SUPPORTED = 1, 719, 801


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDriver]:
    made = fake_driver()
    made.watch(monkeypatch)
    yield made
    made.say(version=12090)


@pytest.fixture
def gpu(fake: FakeDriver) -> Iterator[CudaDevice]:
    device = CudaDevice(driver)
    with use(device):
        yield device


class Calls:
    """What the driver was asked for since this was made."""

    NAMES = (
        *("cuGraphLaunch", "cuLaunchKernel", "cuStreamSynchronize"),
        *("cuMemcpyDtoHAsync", "cuMemcpyHtoDAsync", "cuMemcpyDtoDAsync"),
    )

    def __init__(self, fake: FakeDriver):
        self._fake = fake
        self._before = {name: fake.calls(name) for name in self.NAMES}

    def since(self) -> dict[str, int]:
        made = {n: self._fake.calls(n) - before for n, before in self._before.items()}
        return {name: count for name, count in made.items() if count}


# ---- what is launched ----------------------------------------------------------------------------


def expect_values(got, wanted) -> None:
    pairs = zip(got, wanted, strict=True) if isinstance(wanted, tuple) else [(got, wanted)]
    for mine, right in pairs:
        np.testing.assert_allclose(np.asarray(mine), right, rtol=1e-12)


@pytest.mark.parametrize("version", [TWO_BODIES, OLDEST])
@pytest.mark.parametrize(("function", "count"), CASES, ids=lambda v: getattr(v, "__name__", ""))
def test_a_step_that_decides_is_one_launch(fake, function, count, version) -> None:
    fake.say(version=version)
    step = gc.compile(function, target="cuda")
    with use(CudaDevice(driver)):
        given = [[gc.to_device(x) for x in each[:count]] for each in GIVEN]
        for turn in range(4):
            for there, here in zip(given, GIVEN, strict=True):
                calls = Calls(fake)
                got = step(*there)
                assert turn < 2 or calls.since() == {"cuGraphLaunch": 1}
                expect_values(got, function(*here[:count]))
                del got  # its memory is the next one's: a recording is for addresses


def test_a_training_step_that_skips_updates_is_one_launch(gpu, fake) -> None:
    """Parameters and optimiser state stay, whatever the gradient is."""

    @gc.compile(target="cuda")
    def train(params, x, y, rate):
        def loss(p):
            return np.mean((np.tanh(x @ p["w"] + p["b"]) @ p["v"] - y) ** 2)

        value, gradient = gc.value_and_grad(loss)(params)
        if np.isfinite(value):
            params = {k: params[k] - rate * gradient[k] for k in params}
        return value, params

    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((16, 4)), rng.standard_normal((16, 1))
    here = there = {
        "w": rng.standard_normal((4, 8)),
        "b": np.zeros(8),
        "v": rng.standard_normal((8, 1)),
    }
    good, rate, right = gc.to_device(x), gc.to_device(np.array(0.1)), gc.to_device(y)
    bad = gc.to_device(np.full((16, 4), np.nan))
    plain = gc.compile(train._function)
    for turn in range(18):
        is_bad = turn % 3 == 1
        calls = Calls(fake)
        _, there = train(there, bad if is_bad else good, right, rate)
        if turn > 12:
            assert calls.since() == {"cuGraphLaunch": 1}
        _, here = plain(here, np.full((16, 4), np.nan) if is_bad else x, y, 0.1)
    for name, array in there.items():
        np.testing.assert_allclose(np.asarray(array), here[name], rtol=1e-12)


def test_a_loop_is_recorded_at_once(gpu, fake) -> None:
    step = gc.compile(three_in_turns, target="cuda")
    x = gc.to_device(X)
    calls = Calls(fake)
    step(x)
    assert "cuMemcpyDtoHAsync" not in calls.since()
    assert calls.since()["cuGraphLaunch"] == 1


def test_a_check_in_a_loop_ends_it(gpu, fake) -> None:
    @gc.compile(target="cuda")
    def function(x, limit):
        while x.sum() > -1.0:
            assert x.sum() < limit, "too large"
            x = np.sort(x * 2.0)
        return x

    for _ in range(3):
        with pytest.raises(errors.FailedAssertionError, match="too large"):
            function(np.ones(3), 100.0)
    assert np.asarray(function(-np.ones(3), 100.0)).tolist() == [-1.0] * 3


def test_a_check_that_failed_before_keeps_loops_from_beginning(gpu) -> None:
    @gc.compile(target="cuda")
    def function(table, i):
        x = table[i]
        if x.sum() > 0:
            while x.sum() > 0:
                x = np.sort(x)[::-1] * 1.0
        else:
            while x.sum() > -8.0:
                x = np.sort(x) - 1.0
        return x

    table = -np.ones((3, 2))
    for _ in range(3):
        with pytest.raises(errors.IndexOutOfRangeError):
            function(table, 7)
        assert np.asarray(function(table, 1)).sum() == -8.0


def test_what_is_left_to_the_host_is_cut_out(gpu, fake, capfd) -> None:
    @gc.compile(target="cuda")
    def function(x):
        while x.sum() < 50.0:
            x = np.sort(x * 1.5)
        print("sum", x.sum())  # noqa: T201
        return np.sort(x * 2.0) if x[0] > 1.0 else x

    x = gc.to_device(np.ones(4))
    for _ in range(8):
        y = function(x)
    calls = Calls(fake)
    y = function(x)
    assert calls.since()["cuGraphLaunch"] == 2
    assert "cuLaunchKernel" not in calls.since()
    capfd.readouterr()
    assert np.asarray(y).tolist() == np.asarray(function(np.ones(4))).tolist()


# ---- drivers that do not ------------------------------------------------------------------------


def test_an_older_driver_has_the_host_decide(fake) -> None:
    fake.say(version=OLDEST - 10)
    step = gc.compile(three_in_turns, target="cuda")
    with use(CudaDevice(driver)):
        for _ in range(4):
            calls = Calls(fake)
            got = step(gc.to_device(X))
            assert calls.since()["cuMemcpyDtoHAsync"] > 2
            expect_values(got, three_in_turns(X))


@pytest.mark.parametrize(
    "name",
    [
        "cuGraphCreate",
        "cuGraphConditionalHandleCreate",
        "cuGraphAddNode",
        "cuStreamBeginCaptureToGraph",
        "cuStreamGetCaptureInfo",
        "cuGraphInstantiate",
    ],
)
def test_a_driver_that_refuses_has_the_host_decide(gpu, fake, name) -> None:
    step = gc.compile(three_in_turns, target="cuda")
    x = gc.to_device(X)
    fake.fail(name, NOT_SUPPORTED)
    with pytest.warns(RuntimeWarning, match=r"waits for decisions of the host: .*NOT_SUPPORTED"):
        got = step(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(x)
    expect_values(got, three_in_turns(X))
    other = gc.compile(lambda x: np.cumsum(np.sort(x)), target="cuda")
    for _ in range(3):
        np.testing.assert_allclose(np.asarray(other(x)), np.cumsum(np.sort(X)))


def test_a_device_that_stops_while_it_is_recorded(gpu, fake) -> None:
    step = gc.compile(three_in_turns, target="cuda")
    x = gc.to_device(X)
    fake.fail("cuGraphAddNode", LAUNCH_FAILED)
    with pytest.raises(errors.DeviceFaultError, match="LAUNCH_FAILED"):
        step(x)
    expect_values(step(X), three_in_turns(X))


# ---- the kernel that tells ----------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["sm_70", "sm_80", "sm_90"])
def test_the_kernel_that_tells_calls_what_the_driver_has(architecture: str) -> None:
    text = ptx(TELL_TEXT, architecture)
    assert ".extern .func cudaGraphSetConditional" in text
    assert text.count("call.uni") == 2
    declared = text[text.index(".extern .func") :].partition(";")[0]
    assert ".param .b64" in declared
    assert ".param .b32" in declared
    assert text.count(".param .u64") == 4


# ---- the rules -----------------------------------------------------------------------------------


class Making:
    """A graph that is made by hand."""

    def __init__(self, gpu: CudaDevice):
        self.gpu = gpu
        self.do = gpu._do
        gpu._enter()
        self.graph = self.do("cuGraphCreate", 0)

    def handle(self, graph: Any = None) -> int:
        made = self.graph if graph is None else graph
        return int(self.do("cuGraphConditionalHandleCreate", made, self.gpu._context, 0, 1))

    def node(self, handle: int, kind: str = "IF", size: int = 1, after: Any = ()) -> Any:
        given = driver.CUgraphNodeParams()
        given.type = driver.CUgraphNodeType.CU_GRAPH_NODE_TYPE_CONDITIONAL
        given.conditional.handle = handle
        given.conditional.type = getattr(
            driver.CUgraphConditionalNodeType, f"CU_GRAPH_COND_TYPE_{kind}"
        )
        given.conditional.size = size
        given.conditional.ctx = self.gpu._context
        name = "cuGraphAddNode"
        name = f"{name}_v2" if hasattr(driver, f"{name}_v2") else name
        edges = [driver.CUgraphEdgeData() for _ in after]
        node = self.do(name, self.graph, list(after), edges, len(after), given)
        return node, given.conditional.phGraph_out

    def instance(self) -> Any:
        return self.do("cuGraphInstantiate", self.graph, 0)


def test_a_handle_is_of_one_graph_and_one_node(gpu) -> None:
    one, other = Making(gpu), Making(gpu)
    handle = one.handle()
    with pytest.raises(Fault, match="INVALID_VALUE"):
        other.node(handle)
    with pytest.raises(Fault, match="INVALID_VALUE"):
        one.instance()  # a handle without a node
    node, _ = one.node(handle)
    with pytest.raises(Fault, match="INVALID_VALUE"):
        one.node(handle, after=[node])
    one.instance()


def test_the_number_of_bodies(gpu, fake) -> None:
    made = Making(gpu)
    for kind, size in (("WHILE", 2), ("IF", 3), ("IF", 0)):
        with pytest.raises(Fault, match="INVALID_VALUE"):
            made.node(made.handle(), kind, size)
    fake.say(version=OLDEST)
    for kind, size in (("IF", 2), ("SWITCH", 1)):
        with pytest.raises(Fault, match="INVALID_VALUE"):
            made.node(made.handle(), kind, size)
    fake.say(version=OLDEST - 10)
    with pytest.raises(Fault, match="NOT_SUPPORTED"):
        made.handle()


def test_a_body_holds_no_copies_from_the_host(gpu) -> None:
    made = Making(gpu)
    _, bodies = made.node(made.handle())
    address, array = gpu.allocate(8), np.ones(1)
    mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
    gpu._do("cuStreamBeginCaptureToGraph", gpu._recorder, bodies[0], [], [], 0, mode)
    gpu._do("cuMemcpyHtoDAsync", address, array.ctypes.data, 8, gpu._recorder)
    gpu._do("cuStreamEndCapture", gpu._recorder)
    with pytest.raises(Fault, match="NOT_SUPPORTED"):
        made.instance()


def test_what_is_added_comes_after_what_is_there(gpu) -> None:
    made = Making(gpu)
    made.node(made.handle())
    with pytest.raises(Fault, match="INVALID_VALUE"):
        made.node(made.handle())


def test_a_handle_is_set_in_its_graph_alone(gpu, fake) -> None:
    made = Making(gpu)
    handle = made.handle()
    address = gpu.allocate(32)
    gpu.upload(address, np.array([0, 1], np.int64))
    with pytest.raises(Fault, match="ILLEGAL_ADDRESS"):
        gpu._tell(gpu._tells["tell"], handle, 0, address + 8, address)


def test_a_node_whose_handle_nobody_sets(gpu) -> None:
    made = Making(gpu)
    made.node(made.handle())
    executable = made.instance()
    with pytest.raises(Fault, match="ILLEGAL_ADDRESS"):
        gpu._do("cuGraphLaunch", executable, 1)
