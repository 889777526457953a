"""Reductions whose shares make partial totals."""

from __future__ import annotations

import numpy as np
import pytest
from models import softmax
from running import build, fused, op

from graphc.build import Value
from graphc.ir import Type
from graphc.ops.elementwise import exp
from graphc.runtime import shares
from graphc.runtime.step import Step

ALWAYS = shares.ALWAYS._replace(vector=16)
X = Type("f32", (1000, 7))


def both(x: Value) -> tuple[Value, Value]:
    return op("sum")(exp(x), axes=(0,)), op("max")(x, axes=(0,))


def repeated(x: Value) -> Value:
    return op("broadcast")(x, shape=(1000,), axes=())


CASES = {
    "all of a row": ([Type("f32", (100_000,))], lambda x: op("sum")(x * x, axes=(0,)), True),
    "few columns": ([X], lambda x: op("sum")(x, axes=(0,)), True),
    "several totals, and the values": ([X], lambda x: (*both(x), exp(x)), True),
    "what follows a total": ([X], lambda x: exp(op("sum")(x, axes=(0,)) * 0.001) + 1.0, True),
    "integers": ([Type("i64", (1000,))], lambda x: op("min")(x, axes=(0,)), True),
    "truth": ([Type("bool", (1000,))], lambda x: op("all")(x, axes=(0,)), True),
    "a total that is used again along the axis stays whole": (
        [Type("f32", (1000,))], lambda x: x * repeated(op("sum")(x, axes=(0,))), False),
    "softmax along one row stays whole": ([Type("f32", (1, 1000))], softmax, False),
}  # fmt: skip


@pytest.mark.parametrize(("types", "make", "is_divided"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("threads", [2, 3, 4])
def test_totals(types, make, is_divided, threads):
    rng = np.random.default_rng(threads)
    graph = fused(build(types, make))
    arrays = [(rng.normal(size=t.shape) * 9).astype(t.numpy_dtype) for t in types]
    step = Step(graph, threads=threads, thresholds=ALWAYS)
    results = step(arrays)
    for got, want in zip(results, Step(graph)(arrays), strict=True):
        if got.dtype.kind == "f":
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-3)
        else:
            np.testing.assert_array_equal(got, want)
    for _ in range(10):  # whoever comes first
        for got, want in zip(step(arrays), results, strict=True):
            np.testing.assert_array_equal(got, want)
    roles = [b.role for _, _, call in step.kernel_names() for b in call.kernel.buffers]
    assert ("partial" in roles) == is_divided


PRODUCTS = {
    "dot": ((1, 6000), (6000, 1)),
    "few rows and columns": ((5, 6000), (6000, 7)),
    "one row": ((1, 6000), (6000, 40)),
}


@pytest.mark.parametrize(("left", "right"), PRODUCTS.values(), ids=PRODUCTS)
@pytest.mark.parametrize("dtype", ["f32", "f64", "i64"])
def test_long_products_are_sliced(left, right, dtype):
    def make(a: Value, b: Value) -> Value:
        return op("matmul")(a, b) * 3 + 1

    graph = fused(build([Type(dtype, left), Type(dtype, right)], make))
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-9, 9, shape).astype(Type(dtype).numpy_dtype) for shape in (left, right))
    step = Step(graph, threads=3, thresholds=ALWAYS)
    assert [len(call.cuts) for _, _, call in step.kernel_names()] == [4, 0]
    for _ in range(10):
        np.testing.assert_array_equal(step([a, b])[0], a @ b * 3 + 1)


def test_a_long_sum_is_as_exact_as_on_one_thread():
    x = np.full(3_000_000, 0.1, np.float32)
    graph = fused(build([Type("f32", x.shape)], lambda x: op("sum")(x, axes=(0,))))
    (total,), (alone,) = Step(graph, threads=3, thresholds=ALWAYS)([x]), Step(graph)([x])
    assert abs(total - alone) <= 2 * np.spacing(alone)
