"""Derivatives of incomplete gamma and beta functions by their parameters, against mpmath."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.special as sc
import scipy.stats as st

import graphc as gc

GAMMA = [
    (0.01, 0.02), (0.1, 0.5), (0.5, 0.1), (1, 1), (1.5, 3), (3, 2), (10, 14), (50, 40), (300, 310),
    (1000, 1000), (0.3, 5), (2, 20), (5, 0.01), (100, 130), (20, 2), (0.05, 30), (7, 7.99),
]  # fmt: skip
BETA = [
    (0.05, 0.5, 0.3), (0.5, 0.5, 0.9), (1, 2, 0.2), (2, 1, 0.99), (3, 7, 0.3), (10, 0.3, 0.95),
    (100, 120, 0.45), (5, 0.05, 0.5), (0.2, 4, 1e-6), (30, 2, 0.9),
]  # fmt: skip


def slope(function: Callable[..., Any], place: int, *args: float) -> float:
    with mpmath.workdps(30):
        exact = [mpmath.mpf(x) for x in args]

        def moved(t: Any) -> Any:
            return function(*exact[:place], t, *exact[place + 1 :])

        return float(mpmath.diff(moved, exact[place]))


def test_the_incomplete_gamma_function() -> None:
    a, x = np.array(GAMMA, float).T
    got = gc.compile(gc.grad(lambda a: np.sum(sc.gammainc(a, x))))(a)
    wanted = [slope(lambda a, x: mpmath.gammainc(a, 0, x, regularized=True), 0, *p) for p in GAMMA]
    np.testing.assert_allclose(got, wanted, 1e-10)


@pytest.mark.parametrize("place", [0, 1])
def test_the_incomplete_beta_function(place: int) -> None:
    a, b, x = np.array(BETA, float).T
    got = gc.compile(gc.grad(lambda a, b: np.sum(sc.betainc(a, b, x)), argnums=place))(a, b)
    wanted = [
        slope(lambda a, b, x: mpmath.betainc(a, b, 0, x, regularized=True), place, *p) for p in BETA
    ]
    np.testing.assert_allclose(got, wanted, 1e-10)


def test_at_the_ends() -> None:
    got = gc.grad(lambda a: np.sum(sc.gammainc(a, np.array([0.0, 1e3]))))(np.array([2.0, 3.0]))
    np.testing.assert_array_equal(got, [0.0, 0.0])
    a = np.array([2.0, 3.0])
    got = gc.grad(lambda a: np.sum(sc.betainc(a, 2.0, np.array([0.0, 1.0]))))(a)
    np.testing.assert_array_equal(got, [0.0, 0.0])


def test_in_matrices_and_numbers() -> None:
    a = np.linspace(0.5, 3, 6)
    flat = gc.compile(gc.grad(lambda a: np.sum(sc.gammainc(a, 1.5))))(a)
    square = gc.compile(gc.grad(lambda a: np.sum(sc.gammainc(a, 1.5))))(a.reshape(2, 3))
    np.testing.assert_allclose(square.ravel(), flat, 1e-14)
    assert gc.grad(lambda a: sc.gammainc(a, 1.5))(0.5) == pytest.approx(flat[0], rel=1e-14)


def test_distributions_have_gradients_in_their_shapes() -> None:
    def f(df, a):
        x = np.array([0.3, 1.7])
        return np.sum(st.t.cdf(x, df) + st.chi2.sf(x, df) + st.gamma.ppf(0.4, a) + st.t.cdf(-x, df))

    grads, h = gc.compile(gc.grad(f, argnums=(0, 1)))(2.5, 1.5), 1e-5
    assert grads[0] == pytest.approx((f(2.5 + h, 1.5) - f(2.5 - h, 1.5)) / (2 * h), rel=1e-8)
    assert grads[1] == pytest.approx((f(2.5, 1.5 + h) - f(2.5, 1.5 - h)) / (2 * h), rel=1e-8)
