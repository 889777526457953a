"""Divided among threads, a step gives what it gives on one, bit for bit where no sum is divided."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models import softmax
from random_graphs import NUMBERS, arguments, random_graph, recipes
from running import all_results, assert_same, build, fused, op

import graphc as gc
from graphc import errors
from graphc.build import Value
from graphc.ir import Graph, Type
from graphc.ops.elementwise import exp
from graphc.runtime.shares import ALWAYS
from graphc.runtime.step import Step


def divided(graph: Graph, threads: int) -> Step:
    return Step(fused(graph), threads=threads, thresholds=ALWAYS)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(
    st.lists(NUMBERS, min_size=1, max_size=4),
    recipes(longest=10),
    st.lists(NUMBERS, max_size=3),
    st.sampled_from([2, 3, 4]),
    NUMBERS,
)
def test_random_graphs(params, recipe, outs, threads, seed):
    graph = random_graph(params, recipe, outs)
    arrays = arguments(graph, seed)
    expected = outcome(Step(fused(graph)), graph, arrays)
    got = outcome(divided(graph, threads), graph, arrays)
    if isinstance(expected, str):
        assert got == expected
        return
    for one, other in zip(got, expected, strict=True):
        assert_same(one, other)


def outcome(step: Step, graph: Graph, arrays: Sequence[np.ndarray]) -> list[np.ndarray] | str:
    """The results, or which check failed."""
    try:
        return all_results(step, graph, arrays)
    except errors.GraphcError as error:
        return str(error)


def test_a_kernel_that_does_nothing():
    graph = build([Type("f32", (0, 4))], lambda x: op("cumsum")(x, axis=1, reverse=False))
    assert divided(graph, 3)([np.empty((0, 4), np.float32)])[0].shape == (0, 4)


F32 = "f32"
TABLE: dict[str, tuple[list[Type], Callable[..., Value], tuple[int, ...] | str]] = {
    "a chain, in whole vectors": ([Type(F32, (1000,))], lambda x: exp(x) * x, (0, 512, 1000)),
    "rows of a softmax": ([Type(F32, (60, 40))], softmax, (0, 30, 60)),
    "columns of a sum over rows": (
        [Type(F32, (50, 400))], lambda x: op("sum")(x, axes=(0,)), (0, 192, 400)),
    "rows of a product": (
        [Type(F32, (60, 40)), Type(F32, (40, 30))], lambda a, b: op("matmul")(a, b), (0, 30, 60)),
    "columns of a product with few rows": (
        [Type(F32, (3, 40)), Type(F32, (40, 300))], lambda a, b: op("matmul")(a, b), (0, 128, 300)),
    "matrices of a batch": (
        [Type(F32, (6, 9, 9)), Type(F32, (6, 9, 9))], lambda a, b: op("matmul")(a, b), (0, 3, 6)),
    "rows of a sort": ([Type(F32, (30, 9))], lambda x: op("sort")(x), (0, 15, 30)),
    "three elements": ([Type(F32, (3,))], exp, (0, 2, 3)),
    "additions anywhere": (
        [Type(F32, (9,)), Type("i64", (40,)), Type(F32, (40,))],
        lambda x, i, v: op("scatter_add")(x, i, v, axis=0),
        "no axis along which shares would be independent"),
}  # fmt: skip


@pytest.mark.parametrize(("types", "make", "expected"), TABLE.values(), ids=TABLE)
def test_where_a_kernel_is_cut(types, make, expected):
    step = divided(build(types, make), 2)
    *_, (_, _, call) = step.kernel_names()
    assert (call.because if isinstance(expected, str) else call.cuts) == expected


# ---- loops and branches --------------------------------------------------------------------------


def scanned(h, xs, w):
    return gc.scan(lambda h, x: (np.tanh(h @ w + x), h.sum(axis=0)), h, xs)


def repeated(h, w):
    def body(state):
        i, h, before = state
        return i + 1, np.tanh(h @ w) + before, h

    return gc.while_loop(lambda s: (s[1].sum() < 1e3) & (s[0] < 9), body, (0, h, h * 0.5))


def branching(x, w):
    y = x @ w
    if y.sum() > 0:
        z = y @ w
    else:
        z = y - 1
    return z * 2, y


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape) * 0.3


PROGRAMS = {
    "scan": (scanned, (normal(12, 8), normal(6, 12, 8), normal(8, 8))),
    "while": (repeated, (normal(12, 8), normal(8, 8))),
    "then": (branching, (normal(12, 8) + 1, np.abs(normal(8, 8)))),
    "else": (branching, (normal(12, 8) - 1, np.abs(normal(8, 8)))),
}


@pytest.mark.parametrize(("function", "args"), PROGRAMS.values(), ids=PROGRAMS)
@pytest.mark.parametrize("threads", [2, 3])
def test_loops_and_branches(function, args, threads):
    compiled = gc.compile(function)
    graph = compiled.graph(*args, stage="fused")
    step, alone = Step(graph, threads=threads, thresholds=ALWAYS), Step(graph)
    assert step.program.shares == threads
    arrays = [np.asarray(arg) for arg in args]
    expected = alone(arrays)
    for _ in range(20):
        for got, want in zip(step(arrays), expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
