"""Sums over the rows of a row-wise kernel, made by the kernel itself."""

from __future__ import annotations

import numpy as np
import pytest
from models import softmax
from running import build, fused, interpret, kernels, op

import graphc as gc
from graphc.build import Value
from graphc.ir import Graph, Type
from graphc.passes.column_totals import has_totals, separated
from graphc.passes.pipeline import OPTIMIZE
from graphc.runtime import shares
from graphc.runtime.step import Step

X = Type("f32", (70, 33))


def all_of(x: Value, axes: tuple[int, ...] = (0, 1)) -> Value:
    return op("sum")(x, axes=axes)


def batch(x: Value) -> tuple[Value, ...]:
    weights = softmax(x)
    return weights, op("sum")(weights, axes=(0, 1)), op("sum")(weights * x, axes=(0, 1, 2))


CASES = {
    "of each column": ([X], lambda x: op("sum")(softmax(x), axes=(0,))),
    "of everything": ([X], lambda x: op("sum")(softmax(x) * x, axes=(0, 1))),
    "beside the rows": ([X], lambda x: (softmax(x), op("sum")(softmax(x), axes=(0,)))),
    "of what comes in": ([X], lambda x: (softmax(x), op("sum")(x, axes=(0,)))),
    "several": (
        [X, X],
        lambda x, y: (
            all_of(softmax(x) * y),
            all_of(softmax(x) * y, (0,)),
            all_of(y, (0,)),
            op("sum")(softmax(x), axes=(1,)),
        ),
    ),
    "in f64": ([Type("f64", (70, 33))], lambda x: (all_of(softmax(x)), all_of(softmax(x), (0,)))),
    "a batch": ([Type("f32", (3, 5, 17))], batch),
    "one long row after the other": ([Type("f32", (3, 5000))], lambda x: all_of(softmax(x), (0,))),
}


@pytest.mark.parametrize(("types", "make"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_values(types, make, threads):  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(threads)
    unfused = build(types, make)
    graph = fused(unfused)
    assert len(kernels(graph)) == 1
    arrays = [rng.normal(size=t.shape).astype(t.numpy_dtype) for t in types]
    step = Step(graph, threads=threads, thresholds=shares.ALWAYS)
    expected = interpret(unfused, arrays)
    for _ in range(5):  # whoever comes first
        for got, want in zip(step(arrays), expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: softmax(x) - op("broadcast")(all_of(softmax(x)), shape=X.shape, axes=()),
        lambda x: op("max")(softmax(x), axes=(0,)),
    ],
    ids=["what reads the total again", "a maximum"],
)
def test_other_kernels_make_the_rest(make):  # type: ignore[no-untyped-def]
    unfused = build([X], make)
    graph = fused(unfused)
    assert len(kernels(graph)) == 2
    x = np.random.default_rng(0).normal(size=X.shape).astype(np.float32)
    for got, want in zip(Step(graph)([x]), interpret(unfused, [x]), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_a_sum_over_many_rows_keeps_its_digits() -> None:
    x = np.random.default_rng(0).uniform(size=(200_000, 3)).astype(np.float32)

    def spread(x):  # type: ignore[no-untyped-def]
        return np.sum(x - x.mean(axis=1, keepdims=True) + np.float32(1.0))

    exact = x.size
    assert abs(float(gc.compile(spread)(x)) - exact) <= 0.1


def test_a_step_on_scale_and_shift_is_one_kernel_and_its_tail() -> None:
    def norm(x, scale, shift):  # type: ignore[no-untyped-def]
        centred = x - x.mean(axis=1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5) * scale + shift

    def loss(params, x, y):  # type: ignore[no-untyped-def]
        return np.mean((norm(x, *params) - y) ** 2)

    def step(scale, shift, x, y):  # type: ignore[no-untyped-def]
        value, (by_scale, by_shift) = gc.value_and_grad(loss)((scale, shift), x, y)
        scale -= 0.1 * by_scale
        shift -= 0.1 * by_shift
        return value

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 64, 40))
    args = [np.ones(40), np.zeros(40), x, y]
    compiled = gc.compile(step)
    first, last = compiled(*args), [compiled(*args) for _ in range(20)][-1]
    assert last < first
    assert len(compiled.explain(*args).kernels) == 1


# ---- taken apart again ---------------------------------------------------------------------------


def whole(make) -> Graph:  # type: ignore[no-untyped-def]
    from graphc.passes import pipeline

    optimized, _ = pipeline.run(build([X], make), OPTIMIZE)
    return fused(optimized)


def test_separated_kernels_are_the_whole_one() -> None:
    graph = whole(lambda x: (softmax(x), all_of(softmax(x) * x, (0,)), all_of(x)))
    (eqn,) = graph.eqns
    assert has_totals(eqn)
    parts = separated(eqn)
    assert len(parts) == 3 and not any(map(has_totals, parts))
    x = np.random.default_rng(0).normal(size=X.shape).astype(np.float32)
    apart = graph.replace(eqns=parts)
    for got, want in zip(gc.evaluate(apart, x), gc.evaluate(graph, x), strict=True):
        np.testing.assert_array_equal(got, want)
