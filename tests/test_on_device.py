"""`pytest --target cuda`: what a test compiles runs on a device, and nothing afterwards."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import _skip_cpu_only
from on_device import OnDevice, everything_on_a_device
from running import build, compiled, op

import graphc as gc
from graphc.compiled import Compiled
from graphc.ir import Type
from graphc.runtime.cuda.emulated.host import HostDevice

X = np.array([0.5, -1.0, 2.0])


def twice(x: Any) -> Any:
    return np.sum(x * 2.0)


@pytest.mark.cpu_only("all of it runs on the device then")
def test_functions_gradients_and_graphs_run_on_the_device_until_it_is_closed() -> None:
    device = HostDevice()
    with everything_on_a_device(device):
        for call in (
            lambda: gc.compile(lambda x: x * 2.0)(X),
            lambda: gc.compile(twice, threads=2)(X),
            lambda: gc.grad(twice)(X),
            lambda: gc.vjp(lambda x: x * 2.0, X)[1](X)[0],
            lambda: gc.jvp(lambda x: x * 2.0, (X,), (X,))[1],
            lambda: compiled(build([Type("f64", (3,))], op("exp")))(X)[0],
        ):
            before = device.launches
            assert isinstance(call(), (np.ndarray, np.float64))
            assert device.launches > before
    assert type(gc.compile(twice)) is Compiled
    assert gc.grad(lambda x: np.sum(x * 2.0))(X).tolist() == [2.0, 2.0, 2.0]


def test_results_are_arrays_of_this_machine_and_updates_the_callers_own(emulated: Any) -> None:
    def update(x: Any, y: Any) -> Any:
        x *= 2.0
        return x, {"sum": y.sum(), "both": (x + y, 3)}

    x, y = X.copy(), np.ones(3)
    first, rest = OnDevice(update)(x, y)
    assert first is x
    assert x.tolist() == (2.0 * X).tolist()
    assert type(rest["sum"]) is np.float64
    assert rest["both"][0].tolist() == (2.0 * X + 1.0).tolist()
    assert rest["both"][1] == 3


def test_tests_about_the_processor_are_skipped_and_say_why() -> None:
    marks: list[Any] = []
    mark = pytest.mark.cpu_only("its threads").mark
    about = SimpleNamespace(get_closest_marker=lambda name: mark, add_marker=marks.append)
    other = SimpleNamespace(get_closest_marker=lambda name: None, add_marker=marks.append)
    _skip_cpu_only([about, other])  # type: ignore[list-item]
    assert [m.kwargs for m in marks] == [{"reason": "about the processor: its threads"}]
