"""What `explain` says: of whole training steps, in words and as data, with all times."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import graphc as gc


def descend(loss: Any) -> Any:
    def step(params: Any, *data: Any) -> Any:
        value, grads = gc.value_and_grad(loss)(params, *data)
        return value, {key: params[key] - 0.1 * grads[key] for key in params}

    return step


def two_layers(params: Any, x: Any, y: Any) -> Any:
    hidden = np.tanh(x @ params["w1"] + params["b1"])
    return np.mean((hidden @ params["w2"] + params["b2"] - y) ** 2)


def attention(params: Any, x: Any) -> Any:
    q, k, v = (x @ params[name] for name in "qkv")
    scores = q @ k.T
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.mean((weights / weights.sum(axis=-1, keepdims=True) @ v) ** 2)


def spec(*shape: int) -> gc.Spec:
    return gc.Spec(shape, "f32")


PROGRAMS = {
    "two layers": (
        descend(two_layers),
        (
            {"w1": spec(64, 128), "b1": spec(128), "w2": spec(128, 10), "b2": spec(10)},
            spec(32, 64),
            spec(32, 10),
        ),
    ),
    "attention": (descend(attention), ({name: spec(32, 32) for name in "qkv"}, spec(48, 32))),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_training_step_is_explained(name: str) -> None:
    function, arguments = PROGRAMS[name]
    report = gc.compile(function).explain(*arguments)
    assert json.loads(json.dumps(report.to_dict()))["name"] == "step"
    text = str(report)
    assert f"step: {len(report.kernels)} kernels" in text
    for pair in report.not_fused:
        assert pair.reason and pair.reason in text


@pytest.mark.cpu_only("the stages of its compilation")
def test_times_are_given_by_pass_and_by_stage() -> None:
    report = gc.compile(np.tanh).explain(spec(3))
    assert {"trace", "simplify", "fuse"} <= report.pass_ms.keys()
    assert list(report.stage_ms) == ["plan", "emit", "machine code"]
    assert sum(report.stage_ms.values()) <= report.compile_ms * 1.01
    assert all(ms >= 0 for ms in (*report.pass_ms.values(), *report.stage_ms.values()))


@pytest.mark.cpu_only("code for all sizes")
def test_a_device_has_kernels_for_each_size() -> None:
    """The processor's code is made once for all sizes; nobody should wonder about a device's."""
    said = "these sizes, in device code: kernels are made anew for each size"
    for target, is_said in (("cuda", True), ("cpu", False)):
        double = gc.compile(lambda x: x * 2.0, target=target)
        report = double.explain(gc.Spec(("B", 784), "f32"))
        assert report.sizes == ("B = x.shape[0]: any B from 2 upwards",)
        assert (said in report.specialisations) == is_said
        assert double.explain(spec(3, 784)).specialisations == report.specialisations
