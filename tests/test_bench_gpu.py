"""The benchmark on a GPU, as far as it can be tried without one."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

import bench.__main__ as command
from bench import arrays, gpu
from bench.contenders import ENTRIES, device, module_of, on_target
from bench.contenders.graphc_cuda import Contender
from bench.workloads import named
from graphc import errors
from graphc.runtime.cuda.driver import CudaDevice
from graphc.runtime.cuda.emulated.host import HostDevice


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> CudaDevice:
        raise errors.NoDeviceError("no GPU here")

    monkeypatch.setattr(gpu, "device", missing)


@pytest.fixture
def as_gpu(emulated: HostDevice, monkeypatch: pytest.MonkeyPatch) -> HostDevice:
    def seconds(work: Any) -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    monkeypatch.setattr(gpu, "device", lambda: emulated)
    monkeypatch.setattr(gpu, "seconds", seconds)
    return emulated


def test_without_a_gpu_the_command_says_so(no_gpu: None) -> None:
    with pytest.raises(SystemExit, match="bench: no GPU here"):
        command.main(["--target", "cuda"])


def test_workloads_can_be_listed_without_one(no_gpu: None, capsys: Any) -> None:
    assert command.main(["--target", "cuda", "--list"]) == 0
    assert "softmax" in capsys.readouterr().out


def test_who_takes_part() -> None:
    assert on_target("cuda") == [
        "graphc",
        "torch",
        "torch.compile",
        "torch reduce-overhead",
        "jax",
        "cupy",
    ]
    for target in ("cpu", "cuda"):
        for name in on_target(target):
            assert (command.ENTRIES is ENTRIES) and module_of(ENTRIES[name], target)
    with pytest.raises(SystemExit, match="no contender cupy"):
        command.chosen_contenders(command.parser().parse_args(["--contenders", "cupy"]))


@pytest.mark.parametrize("row", ["tiny call", "Adam, 20 small tensors"])
def test_steps_give_the_reference(as_gpu: HostDevice, row: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(device, "MOST_SETS", 3)
    workload = named(row)
    contender = Contender(1)
    runner = contender.built(workload, contender.loaded(workload))
    for _ in range(2):
        difference = arrays.difference(runner.results(), workload.reference())
        assert difference <= workload.tolerance
        runner.seconds(4)
    assert contender.kernels(runner)


def test_each_call_takes_the_next_set(as_gpu: HostDevice, monkeypatch: Any) -> None:
    monkeypatch.setattr(device, "MOST_SETS", 3)
    seen: list[tuple[int, int]] = []
    given = ({"w": np.zeros(2)}, np.ones(2))
    runner = device.DeviceRunner(
        lambda state, x: seen.append((id(state), id(x))), given, True, np.copy
    )
    runner.repeat(6)
    assert len({state for state, _ in seen}) == 1
    assert len({x for _, x in seen}) == 3
    assert seen[:3] == seen[3:]


def test_so_many_sets_that_no_cache_holds_them() -> None:
    small, large = np.zeros(10), np.zeros(device.COLD_BYTES // 16)
    assert device.sets_for((small,)) == device.MOST_SETS
    assert device.sets_for((large,)) == 2
    assert device.sets_for(({"x": large}, large)) == 1
