"""Derivatives of Bessel functions by their order, against mpmath."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.special as sc

import graphc as gc

ORDERS = np.array([0, 1, 0.5, 2.3, 3, 10, -0.7, -2.5, 20, 0.01, 5, 7.7, 1, 2])
PLACES = np.array([1, 1, 0.1, 3, 10, 5, 2, 1.5, 25, 1e-3, 50, 100, 140, 0.01])


def scaled(function: Any, sign: int) -> Any:
    return lambda v, x: function(v, x) * mpmath.exp(sign * x)


CASES = {
    "jv": mpmath.besselj,
    "yv": mpmath.bessely,
    "iv": mpmath.besseli,
    "kv": mpmath.besselk,
    "ive": scaled(mpmath.besseli, -1),
    "kve": scaled(mpmath.besselk, 1),
}


@pytest.mark.parametrize("name", CASES)
def test_against_mpmath(name: str) -> None:
    function = getattr(sc, name)
    got = gc.compile(gc.grad(lambda v: np.sum(function(v, PLACES))))(ORDERS)
    wanted = []
    with mpmath.workdps(60):
        h = mpmath.mpf("1e-20")
        for v, x in zip(map(mpmath.mpf, ORDERS), map(mpmath.mpf, PLACES), strict=True):
            wanted.append(float((CASES[name](v + h, x) - CASES[name](v - h, x)) / (2 * h)))
    np.testing.assert_allclose(got, wanted, 1e-8)


@pytest.mark.parametrize("name", ["struve", "modstruve"])
def test_struve_functions(name: str) -> None:
    orders, places = np.array([0, 1, 2.5, -0.3, 0.5, 6]), np.array([1, 2, 0.1, 5, 12, 14])
    function = getattr(sc, name)
    exact = mpmath.struveh if name == "struve" else mpmath.struvel
    got = gc.compile(gc.grad(lambda v: np.sum(function(v, places))))(orders)
    with mpmath.workdps(60):
        h = mpmath.mpf("1e-20")
        wanted = [
            float((exact(v + h, x) - exact(v - h, x)) / (2 * h))
            for v, x in zip(map(mpmath.mpf, orders), map(mpmath.mpf, places), strict=True)
        ]
    np.testing.assert_allclose(got, wanted, 1e-8)
    assert np.isnan(gc.grad(lambda v: np.sum(function(v, np.array([20.0, -1]))))(np.ones(2))).all()


def test_both_arguments_and_compositions() -> None:
    def f(v, x):
        return np.sum(sc.jvp(v, x, 2) * x + sc.spherical_jn(1, x) + sc.ivp(v, x))

    v, x, h = np.array([0.0, 1.5]), np.array([0.7, 2.0]), 1e-5
    by_v, by_x = gc.compile(gc.grad(f, argnums=(0, 1)))(v, x)
    assert np.sum(by_v) == pytest.approx((f(v + h, x) - f(v - h, x)) / (2 * h), rel=1e-8)
    assert np.sum(by_x) == pytest.approx((f(v, x + h) - f(v, x - h)) / (2 * h), rel=1e-8)


def test_what_is_not_known_is_nan() -> None:
    """Left of 0, beyond the nodes, and where nothing but rounding errors would be left."""
    got = gc.grad(lambda v: np.sum(sc.jv(v, np.array([-1.0, 500.0, 1e-6]))))(np.array([1.0, 1, 3]))
    assert np.isnan(got).all()
