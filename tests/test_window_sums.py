"""What comes back from short windows is a sum of padded parts, in one kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from pass_helpers import rewrites, stays

import graphc as gc
from graphc.ops import reduce, shape
from graphc.passes.simplify import simplify


def returned(g: Any, step: int = -1, low: int = 2, high: int = 2, axes: Any = (1,)) -> Any:
    padded = shape.pad(g, low=(low, 0), high=(high, 0), value=0.0)
    return reduce.sum(shape.skew(padded, axis=0, by=1, step=step), axes=axes)


def padded_column(g: Any, column: int, low: int, high: int) -> Any:
    size = g.shape[0]
    part = shape.slice(g, starts=(0, column), sizes=(size, 1), steps=(1, 1))
    return shape.pad(shape.reshape(part, shape=(size,)), low=(low,), high=(high,), value=0.0)


@pytest.mark.parametrize("type", ["f32[5,3]", "f64[5,3]", "f64[1,3]"])
@pytest.mark.parametrize(
    ("step", "low", "high", "places"),
    [
        (-1, 2, 2, ((0, 2), (1, 1), (2, 0))),
        (1, 2, 2, ((2, 0), (1, 1), (0, 2))),
        (-1, 3, 4, ((1, 4), (2, 3), (3, 2))),
        (2, 4, 5, ((4, 1), (2, 3), (0, 5))),
    ],
)
def test_a_sum_of_padded_parts(
    type: str, step: int, low: int, high: int, places: tuple[tuple[int, int], ...]
) -> None:
    def after(g: Any) -> Any:
        total: Any = 0.0
        for i, place in enumerate(places):
            total = total + padded_column(g, i, *place)
        return total

    rewrites(simplify, lambda g: returned(g, step, low, high), after, type)


@pytest.mark.parametrize(
    ("function", "type"),
    [
        (lambda g: returned(g, low=4, high=4), "f64[5,5]"),  # a long window
        (lambda g: returned(g, low=1, high=2), "f64[5,3]"),  # some of it does not come back
        (lambda g: returned(g, axes=(0,)), "f64[5,3]"),
        (lambda g: returned(g), "f16[5,3]"),
    ],
)
def test_other_sums_stay(function: Any, type: str) -> None:
    stays(simplify, function, type)


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_the_gradient_of_pooling_is_that_of_its_values(size: int) -> None:
    x = np.random.default_rng(size).standard_normal((2, 9, 10))
    weights = np.random.default_rng(9).standard_normal((2, 10 - size, 11 - size))

    def loss(x: Any) -> Any:
        windows = sliding_window_view(x, (size, size), axis=(1, 2))
        return np.sum(windows.mean(axis=(-1, -2)) * weights)

    slopes = gc.compile(gc.grad(loss))(x)
    expected = np.zeros_like(x)
    for i in range(size):
        for j in range(size):
            expected[:, i : i + 10 - size, j : j + 11 - size] += weights / size**2
    np.testing.assert_allclose(slopes, expected, rtol=1e-12, atol=1e-15)


def test_the_gradient_of_a_filter_is_one_kernel() -> None:
    def loss(x: Any, g: Any) -> Any:
        return np.sum(sliding_window_view(x, (3, 3), axis=(1, 2)) * g)

    x, g = np.ones((4, 12, 12)), np.ones((4, 10, 10, 3, 3))
    assert len(gc.compile(gc.grad(loss)).explain(x, g).kernels) == 1
