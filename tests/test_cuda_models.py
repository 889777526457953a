"""Pieces of models as a device runs them: launches, values, and that they assemble."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import models
import numpy as np
import pytest
from emulated_device import SMALL, Emulated, assemble
from programs import PROGRAMS, Program
from running import assert_within, build, fused, interpret, op

import graphc as gc
from graphc.ir import Graph, Type
from graphc.runtime.cuda.code import make_code
from graphc.runtime.cuda.emit.ptx import ptx
from graphc.runtime.cuda.plan.device_kernel import WARP
from graphc.runtime.cuda.plan.rejoin import rejoined
from graphc.runtime.planner import make_program


def softmax(x):  # type: ignore[no-untyped-def]
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def layer_norm(x, gain, bias):  # type: ignore[no-untyped-def]
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred * centred).mean(axis=-1, keepdims=True)
    return centred / np.sqrt(variance + 1e-5) * gain + bias


def cross_entropy(x, y):  # type: ignore[no-untyped-def]
    moved = x - x.max(axis=1, keepdims=True)
    logs = moved - np.log(np.exp(moved).sum(axis=1, keepdims=True))
    return -(logs * y).sum(axis=1)


def attention(q, k, v):  # type: ignore[no-untyped-def]
    return softmax(q @ k.transpose(0, 2, 1) / 8.0) @ v


def adam(p, g, m, v):  # type: ignore[no-untyped-def]
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g * g
    return p - 1e-3 * m / (np.sqrt(v) + 1e-8), m, v


def momentum(*values):  # type: ignore[no-untyped-def]
    outs = []
    for p, g, m in zip(values[::3], values[1::3], values[2::3], strict=True):
        moved = 0.9 * m + g
        outs += [p - 0.1 * moved, moved]
    return outs


def gradient(f: Callable[..., Any], *argnums: int) -> Callable[..., Any]:
    return gc.grad(lambda *args: (f(*args) ** 2).sum(), argnums=argnums or 0)


X, ROW = (37, 100), (100,)

LAUNCHES = {
    "softmax": (softmax, [X], [1]),
    "softmax of long rows": (softmax, [(3, 5000)], [1]),
    "softmax of one vector": (softmax, [(300,)], [1]),
    "gradient of softmax": (gradient(softmax), [X], [1]),
    "layer norm": (layer_norm, [X, ROW, ROW], [1]),
    "gradient of layer norm": (gradient(layer_norm), [X, ROW, ROW], [1]),
    "all gradients of layer norm": (gradient(layer_norm, 0, 1, 2), [(70, 96), (96,), (96,)], [2]),
    "cross entropy": (cross_entropy, [X, X], [1]),
    "gradient of cross entropy": (gradient(cross_entropy), [X, X], [1]),
    "softmax of columns": (lambda x: softmax(x.T), [(40, 70)], [1]),
    "adam": (adam, [(40, 30)] * 4, [1]),
    "momentum": (momentum, [(70, 100)] * 12, [1]),
    "attention": (attention, [(2, 70, 16)] * 3, [1]),
    "gradient of attention": (gradient(attention, 0, 1, 2), [(2, 20, 16)] * 3, None),
    "product": (lambda a, b, c: np.maximum(a @ b + c, 0), [(50, 33), (33, 70), (70,)], [1]),
    "a long inner product": (lambda a, b: np.tanh(a.T @ b * 0.1), [(1500, 20), (1500, 9)], [2]),
    "products of a batch": (lambda a, b: np.tanh(a @ b), [(3, 9, 5), (3, 5, 7)], [1]),
    "transposed": (lambda x: np.exp(x.T) + 1, [(130, 70)], [1]),
    "sum of all": (lambda x: np.exp(x).sum(), [(300, 300)], [2]),
    "sums of columns": (lambda x: (x * x).sum(axis=0), [(3000, 30)], [2]),
    "means of rows": (lambda x: x.mean(axis=1), [(2, 80000)], [2]),
}
"""A function, the shapes of its arguments, and the launches of each of its kernels."""


def graph_of(name: str) -> tuple[Graph, list[np.ndarray]]:
    f, shapes, _ = LAUNCHES[name]
    rng = np.random.default_rng(0)
    arrays = [np.asarray(rng.normal(size=shape)).astype(np.float32) for shape in shapes]
    return gc.compile(f).graph(*arrays, stage="fused"), arrays


@pytest.mark.parametrize("name", LAUNCHES)
def test_values_and_launches(name: str) -> None:
    graph, arrays = graph_of(name)
    emulated = Emulated(graph)
    counts = [len(launches.kernels) for launches in emulated.launches]
    assert LAUNCHES[name][2] is None or counts == LAUNCHES[name][2]
    compare(emulated, graph, arrays)
    assemble(ptx(emulated.module.text, "sm_90"), "sm_90")


@pytest.mark.parametrize("name", LAUNCHES)
def test_values_with_few_threads(name: str) -> None:
    graph, arrays = graph_of(name)
    emulated = Emulated(graph, SMALL, backwards=True)
    compare(emulated, graph, arrays)
    assemble(ptx(emulated.module.text, "sm_80"), "sm_80")


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] if i % 4 else []) for i, n in enumerate(LAUNCHES)],
)
def test_values_of_ptx(name: str) -> None:
    graph, arrays = graph_of(name)
    compare(Emulated(graph, SMALL, as_ptx=True), graph, arrays)


def compare(emulated: Emulated, graph: Graph, arrays: list[np.ndarray]) -> None:
    for got, expected in zip(emulated(arrays), interpret(graph, arrays), strict=True):
        size = np.abs(expected).max() + 1
        assert_within(got, expected, np.full(expected.shape, 2e-5 * size))


@pytest.mark.parametrize("make", [models.softmax, models.log_softmax, models.gelu])
def test_in_double_precision(make: Callable[..., Any]) -> None:
    graph = build([Type("f64", (11, 130))], make)
    arrays = [np.random.default_rng(1).normal(size=(11, 130))]
    for limits in (None, SMALL):
        (got,), (expected,) = Emulated(fused(graph), limits)(arrays), interpret(graph, arrays)
        assert_within(got, expected, 1e-14 * (1 + np.abs(expected)))


def test_a_short_row_stays_in_registers() -> None:
    """What one stage of a softmax reads, the next one does not read again."""
    graph, _ = graph_of("softmax")
    text = Emulated(graph).module.text
    assert text.count("load <4 x float>") == 1
    assert "scratch" not in text


def test_many_short_rows_have_a_warp_each() -> None:
    graph = fused(build([Type("f32", (5000, 64))], models.softmax))
    ((kernel,),) = [launches.kernels for launches in Emulated(graph).launches]
    assert kernel.grid * kernel.block >= 5000 * WARP
    assert "barrier" not in Emulated(graph).module.text


def test_sums_are_the_same_in_every_order() -> None:
    graph = fused(build([Type("f32", (40, 999))], lambda x: op("sum")(x, axes=(0, 1))))
    x = np.random.default_rng(2).normal(size=(40, 999)).astype(np.float32)
    for limits in (None, SMALL):
        forwards, backwards = (Emulated(graph, limits, order)([x])[0] for order in (False, True))
        assert forwards.tobytes() == backwards.tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_every_program_assembles(program: Program) -> None:
    graph = gc.compile(program.function).graph(*program.cases[0], stage="fused")
    code = make_code(rejoined(make_program(graph)))
    for architecture in ("sm_80", "sm_90"):
        assemble(ptx(code.text, architecture), architecture)
