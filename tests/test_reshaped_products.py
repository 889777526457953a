"""What is done with the elements of a product in another shape is done in its tiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pass_helpers import rewrites, stays

import graphc as gc
from graphc.ops import elementwise as e
from graphc.ops import linalg, shape
from graphc.passes.simplify import simplify

RNG = np.random.default_rng(6)
A, B = "f64[2,5,6]", "f64[2,6,12]"


def reshaped(a: Any, b: Any, sizes: tuple[int, ...] = (2, 5, 3, 4)) -> Any:
    return shape.reshape(linalg.matmul(a, b), shape=sizes)


def spread(x: Any, axes: tuple[int, ...], sizes: tuple[int, ...] = (2, 5, 3, 4)) -> Any:
    return shape.broadcast(x, shape=sizes, axes=axes)


PAIRS = [
    (
        lambda a, b: e.maximum(reshaped(a, b), 0.0),
        lambda a, b: shape.reshape(e.maximum(linalg.matmul(a, b), 0.0), shape=(2, 5, 3, 4)),
        [A, B],
    ),
    (
        lambda a, b, c: e.exp(e.add(reshaped(a, b), spread(c, (1,)))),
        lambda a, b, c: shape.reshape(
            e.exp(e.add(linalg.matmul(a, b), spread(c, (1,), (2, 5, 12)))), shape=(2, 5, 3, 4)
        ),
        [A, B, "f64[5]"],
    ),
    (
        lambda a, b, c: e.add(reshaped(a, b), spread(c, (1, 2, 3))),
        lambda a, b, c: shape.reshape(
            e.add(linalg.matmul(a, b), spread(shape.reshape(c, shape=(5,)), (1,), (2, 5, 12))),
            shape=(2, 5, 3, 4),
        ),
        [A, B, "f64[5,1,1]"],
    ),
    (
        lambda a, b: e.multiply(reshaped(a, b), e.tanh(reshaped(a, b))),
        lambda a, b: shape.reshape(
            e.multiply(linalg.matmul(a, b), e.tanh(linalg.matmul(a, b))), shape=(2, 5, 3, 4)
        ),
        [A, B],
    ),
]


@pytest.mark.parametrize(("before", "after", "types"), PAIRS)
def test_the_reshape_comes_after(before: Any, after: Any, types: list[str]) -> None:
    rewrites(simplify, before, after, *types)


KEPT = [
    (lambda a, b, c: e.add(reshaped(a, b), spread(c, (2,))), [A, B, "f64[3]"]),
    (lambda a, b, c: e.add(reshaped(a, b), c), [A, B, "f64[2,5,3,4]"]),
    (
        lambda a, b, c: e.add(reshaped(a, b, (1, 2, 5, 12)), spread(c, (3,), (1, 2, 5, 12))),
        [A, B, "f64[12]"],
    ),
    (lambda x: e.exp(shape.reshape(x, shape=(3, 2))), ["f64[2,3]"]),
]


@pytest.mark.parametrize(("function", "types"), KEPT)
def test_what_varies_along_the_new_axes_stays(function: Any, types: list[str]) -> None:
    stays(simplify, function, *types)


def images(a: Any, b: Any, c: Any) -> Any:
    product = np.matmul(a, b).reshape(3, 8, 5, 4)
    return np.maximum(np.tanh(product + c.reshape(8, 1, 1)) * 2.0, 0.5)


ARRAYS = [RNG.standard_normal(s) for s in ((8, 30), (3, 30, 20), (8,))]


def test_one_kernel_for_a_product_its_bias_and_activation() -> None:
    compiled = gc.compile(images)
    assert len(compiled.explain(*ARRAYS).kernels) == 1
    np.testing.assert_allclose(compiled(*ARRAYS), images(*ARRAYS), rtol=1e-12)


def test_its_gradient() -> None:
    def loss(*arrays: Any) -> Any:
        return np.sum(images(*arrays) ** 2)

    found = gc.compile(gc.grad(loss, argnums=(0, 1, 2)))(*ARRAYS)
    direction = [RNG.standard_normal(x.shape) for x in ARRAYS]
    step = 1e-6
    ends = [
        loss(*(x + sign * step * d for x, d in zip(ARRAYS, direction, strict=True)))
        for sign in (1, -1)
    ]
    slope = sum(np.sum(g * d) for g, d in zip(found, direction, strict=True))
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / (2 * step), rtol=1e-6)
