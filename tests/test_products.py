"""The rules for matrix products."""

from __future__ import annotations

import numpy as np
import pytest
from pass_helpers import build, rewrites, stays
from running import kernels, op

import graphc as gc
from graphc.build import Value
from graphc.ir import OPS
from graphc.passes.simplify import simplify
from graphc.runtime.reference import evaluate


def transpose(x: Value, *axes: int) -> Value:
    return op("transpose")(x, axes=axes)


def reshape(x: Value, *shape: int) -> Value:
    return op("reshape")(x, shape=shape)


def total(x: Value, *axes: int) -> Value:
    return op("sum")(x, axes=axes)


def matmul(a: Value, b: Value) -> Value:
    return OPS["matmul"](a, b)


def test_the_gradient_of_a_shared_matrix_is_one_product() -> None:
    rewrites(
        simplify,
        lambda x, g: total(matmul(transpose(x, 0, 2, 1), g), 0),
        lambda x, g: matmul(transpose(reshape(x, 10, 3), 1, 0), reshape(g, 10, 4)),
        "i32[2,5,3]",
        "i32[2,5,4]",
    )


def test_some_axes_of_a_batch() -> None:
    """The others stay; axes to be added up come behind them."""
    rewrites(
        simplify,
        lambda x, g: total(matmul(transpose(x, 0, 1, 3, 2), g), 0),
        lambda x, g: matmul(
            transpose(reshape(transpose(x, 1, 0, 2, 3), 3, 10, 4), 0, 2, 1),
            reshape(transpose(g, 1, 0, 2, 3), 3, 10, 6),
        ),
        "i32[2,3,5,4]",
        "i32[2,3,5,6]",
    )


def spread_and_multiplied(a: Value, b: Value) -> Value:
    columns, rows = reshape(a, 2, 3), reshape(b, 2, 4)
    wide = op("broadcast")(columns, shape=(2, 3, 4), axes=(0, 1))
    return wide * op("broadcast")(rows, shape=(2, 3, 4), axes=(0, 2)) + 0.0


def test_a_product_of_single_terms_is_elementwise() -> None:
    rewrites(
        simplify,
        lambda a, b: matmul(a, b),
        spread_and_multiplied,
        "f32[2,3,1]",
        "f32[2,1,4]",
    )


def test_a_product_of_vectors_is_a_sum() -> None:
    rewrites(
        simplify,
        lambda a, b: matmul(a, b),
        lambda a, b: reshape(total(reshape(a, 5) * reshape(b, 5), 0), 1, 1),
        "i32[1,5]",
        "i32[5,1]",
    )


def test_many_rows_by_a_small_matrix_are_elementwise() -> None:
    def written(a: Value, b: Value) -> Value:
        turned, size = transpose(b, 0, 2, 1), (30, 3, 2, 3)
        wide = op("broadcast")(a, shape=size, axes=(0, 1, 3))
        return total(wide * op("broadcast")(turned, shape=size, axes=(0, 2, 3)), 3)

    rewrites(simplify, matmul, written, "i32[30,3,3]", "i32[30,3,2]")
    stays(simplify, matmul, "f32[7,3,3]", "f32[7,3,3]")
    stays(simplify, matmul, "f32[100,3,5]", "f32[100,5,3]")


SHAPES = [((90, 3, 3), (90, 3, 3)), ((200, 4), (4, 4)), ((64, 2), (2, 3))]


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_values_of_small_products(shapes: tuple, dtype: type) -> None:
    rng = np.random.default_rng(0)
    a, b = ((10 * rng.normal(size=shape)).astype(dtype) for shape in shapes)
    f = gc.compile(lambda a, b: (a @ b, (a @ b).sum(0)))
    for found, wanted in zip(f(a, b), (a @ b, (a @ b).sum(0)), strict=True):
        tolerance = 1e-6 if dtype is np.float32 else 1e-14
        np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


def test_no_product_is_a_negative_zero() -> None:
    a = np.array([[-0.0], [0.0], [1.0]])
    f = lambda a, b: (a @ b, a[:1] @ b[:, :1], a[:, 0] @ b[0, :3])
    for b in (np.array([[0.0, -0.0, -1.0]]), np.array([[-0.0, -0.0, -0.0]])):
        for found, wanted in zip(gc.compile(f)(a, b), f(a, b), strict=True):
            np.testing.assert_array_equal(found, wanted)
            np.testing.assert_array_equal(np.signbit(found), np.signbit(wanted))


def test_sums_of_products_of_vectors_share_a_loop() -> None:
    def cosine(x, y):
        return (x @ y) / (np.sqrt(x @ x) * np.sqrt(y @ y))

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 1000))
    compiled = gc.compile(cosine)
    np.testing.assert_allclose(compiled(x, y), cosine(x, y), rtol=1e-13)
    assert len(kernels(compiled.graph(x, y, stage="fused"))) == 1


def test_what_stays() -> None:
    types = ("f32[2,5,3]", "f32[2,5,4]")
    stays(simplify, lambda x, g: total(matmul(transpose(x, 0, 2, 1), g), 1), *types)
    stays(simplify, lambda x, g: total(matmul(transpose(x, 0, 2, 1), g), 0, 1), *types)
    stays(simplify, lambda x, g: total(matmul(x, g), 0), "f32[2,5,3]", "f32[2,3,4]")
    repeated = lambda x, g: total(
        matmul(transpose(x, 0, 2, 1), op("broadcast")(g, shape=(2, 5, 4), axes=(1, 2))), 0
    )
    stays(simplify, repeated, "f32[2,5,3]", "f32[5,4]")


def test_floats_are_added_up_in_another_order() -> None:
    graph = build(
        lambda x, g: total(matmul(transpose(x, 0, 2, 1), g), 0), "f64[3,50,4]", "f64[3,50,5]"
    )
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=p.type.shape) for p in graph.params]
    (before,), (after,) = evaluate(graph, *arrays), evaluate(simplify(graph), *arrays)
    np.testing.assert_allclose(after, before, rtol=1e-11, atol=1e-11)
