"""`unique` and `nonzero` of a given size, compiled and not; functions that NumPy vectorizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import errors

X = np.array([[3.0, 1.0, 3.0], [2.0, 1.0, 1.0]])
NAN = np.array([np.nan, 1.0, np.nan, 0.5])


@pytest.mark.parametrize("x", [X, X.astype(int), X > 1.5, NAN, X.astype(np.float32)])
def test_unique_of_the_right_size(x: np.ndarray) -> None:
    wanted = np.unique(x, return_index=True, return_inverse=True, return_counts=True)

    def f(x: Any) -> Any:
        return gc.unique(
            x, len(wanted[0]), return_index=True, return_inverse=True, return_counts=True
        )

    for got in (f(x), gc.compile(f)(x)):
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype


def test_unique_is_filled_up() -> None:
    for run in (gc.unique, gc.compile(gc.unique)):
        np.testing.assert_array_equal(run(X, 5), [1, 2, 3, 1, 1])
        np.testing.assert_array_equal(run(X, 4, -1.0), [1, 2, 3, -1])


def test_more_different_elements_than_the_size_are_an_error() -> None:
    for run in (gc.unique, gc.compile(gc.unique)):
        with pytest.raises(ValueError, match="unique: 3 different elements, more than size=2"):
            run(X, 2)
    with pytest.raises(errors.ShapeError, match="not empty"):
        gc.unique(X[:0], 2)


@pytest.mark.parametrize("x", [X - 1.0, X > 1.5, np.array([0, 3, 0])])
def test_nonzero(x: np.ndarray) -> None:
    wanted = np.nonzero(x)
    for run in (gc.nonzero, gc.compile(gc.nonzero)):
        for a, b in zip(run(x, len(wanted[0])), wanted, strict=True):
            np.testing.assert_array_equal(a, b)
        for a, b in zip(run(x, 6, -1), wanted, strict=True):
            np.testing.assert_array_equal(a, np.append(b, [-1] * (6 - len(b))))
        with pytest.raises(ValueError, match=r"nonzero: . true elements, more than size=0"):
            run(x, 0)


def test_gradients_of_the_chosen_elements() -> None:
    def f(x: Any) -> Any:
        (rows, columns) = gc.nonzero(x > 1.5, 4)
        return np.sum(x[rows, columns] ** 2)

    grads = gc.compile(gc.grad(f))(X)
    np.testing.assert_array_equal(
        grads, 2 * X * (X > 1.5) + 2 * X * (np.arange(6) == 0).reshape(2, 3)
    )


def test_np_vectorize() -> None:
    @np.vectorize
    def clipped(x, low):
        if x < low:
            return low
        return x * x

    both = np.vectorize(lambda x: (x + 1.0, x > 2.0))

    def f(x, low):
        narrow = np.vectorize(lambda v: v / 2, otypes=[np.float32])
        return clipped(x, low), clipped(x, x[0]), *both(x), narrow(x), clipped(x[0, 0], 1.0)

    for got, wanted in zip(gc.compile(f)(X, 1.5), f(X, 1.5), strict=True):
        np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(
        gc.grad(lambda x: np.sum(clipped(x, 1.5)))(X), np.where(X < 1.5, 0.0, 2 * X)
    )
    with pytest.raises(errors.UnsupportedFunctionError, match=r"gc\.vmap"):
        gc.compile(lambda x: np.vectorize(np.sum, signature="(n)->()")(x))(X)
