"""The operators of a traced array, beside NumPy's and Python's."""

from __future__ import annotations

import operator
from collections.abc import Callable

import numpy as np
import pytest

import graphc as gc
from graphc import errors

X = np.arange(3.0)
BINARY = (
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    operator.floordiv,
    operator.mod,
    operator.pow,
    divmod,
    operator.lt,
    operator.le,
    operator.gt,
    operator.ge,
    operator.eq,
    operator.ne,
)


@pytest.mark.parametrize("function", BINARY, ids=lambda function: function.__name__)
@pytest.mark.parametrize("right", [X.astype(np.float32) + 2, 2, 2.5], ids=["array", "int", "float"])
def test_on_both_sides(function: Callable, right: object) -> None:
    def f(x):
        return function(x, right), function(right, x)

    x = X.astype(np.float32) + 1
    for found, wanted in zip(gc.compile(f)(x), f(x), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
        assert np.asarray(found).dtype == np.asarray(wanted).dtype


def test_rounding() -> None:
    assert gc.compile(lambda x, n: (round(x), round(x, 1), round(n)))(2.36, 7) == (2, 2.4, 7)


def test_numbers_follow_python() -> None:
    def f(n):
        return n**-1, 2 * n + 1, n**2

    found = gc.compile(f)(4)
    assert found == (0.25, 9, 16)
    assert gc.compile(lambda x, n: x * (2 * n + 1))(X.astype(np.float32), 4).dtype == np.float32


def test_in_place_dtype_rules() -> None:
    def f(n):
        n += 0.5

    with pytest.raises(
        errors.DTypeError, match="cannot store float64 into an array of int64 in place"
    ):
        gc.compile(f)(np.arange(3))

    def g(x, n):
        x += n
        n[0] = 2.9
        return x

    x, n = X.astype(np.float32), np.arange(3)
    assert gc.compile(g)(x, n).dtype == np.float32
    assert n[0] == 2


def test_in_place_on_numbers_rebinds() -> None:
    def f(x, n):
        x += 1
        n *= 2
        total = 0
        total += x
        return x, n, total

    assert gc.compile(f)(1.5, 3) == (2.5, 6, 2.5)
