"""Functions of scipy.special of a known order: values, limits, derivatives, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special as sc

import graphc as gc
from graphc import errors

EVERYWHERE = np.array([-2.5, -0.7, 0.0, 0.3, 1.5, 9.0, np.inf, -np.inf])
POSITIVE = np.array([0.3, 1.0, 2.5, 9.0])
COMPLEX = np.array([0.3 + 0.2j, 0j, -1.2 + 0.5j, 3 - 2j, complex(np.inf, 0), complex(-np.inf, 1)])
ORDERS = np.array([0, 1.0, 2.5, 3])
SPHERICAL = [sc.spherical_jn, sc.spherical_in, sc.spherical_yn, sc.spherical_kn]


def check(f: Callable[..., Any], *args: Any, tolerance: float = 1e-10) -> None:
    with np.errstate(all="ignore"):
        wanted = f(*args)
    for got, right in zip(gc.compile(f)(*args), wanted, strict=True):
        assert np.asarray(got).dtype == np.asarray(right).dtype
        np.testing.assert_allclose(got, right, tolerance, 1e-12)


@pytest.mark.parametrize("function", SPHERICAL)
def test_spherical_functions(function: Any) -> None:
    def f(x, p, z):
        values = [function(n, x) for n in (0, 1, 2, 5)]
        slopes = [function(n, p, True) for n in (0, 1, 2, 5)]
        return [*values, *slopes, *(function(n, z) for n in (0, 1, 3)), function(2, z[2:4], True)]

    check(f, EVERYWHERE, np.append(POSITIVE, [0.0, -0.7]), COMPLEX)


@pytest.mark.parametrize("function", SPHERICAL)
def test_spherical_functions_of_integers_and_single_precision(function: Any) -> None:
    check(lambda n, x: [function(1, n), function(2, x)], np.arange(1, 4), np.float32([0.5, 3]),
          tolerance=1e-6)  # fmt: skip


def test_orders_in_an_array() -> None:
    check(lambda n, x: [sc.spherical_jn(n, x), sc.spherical_in(n, x)], np.arange(4), POSITIVE)
    with pytest.raises(errors.UnsupportedFunctionError, match="spherical_yn can be traced for an"):
        gc.compile(lambda n: sc.spherical_yn(n, 1.0))(np.arange(3))
    with pytest.raises(errors.AttributeValueError, match="order -1 is less than 0"):
        gc.compile(lambda x: sc.jvp(1.0, x, -1))(POSITIVE)


@pytest.mark.parametrize("function", [sc.jvp, sc.yvp, sc.ivp, sc.kvp, sc.h1vp, sc.h2vp])
def test_derivatives_of_bessel_functions(function: Any) -> None:
    check(lambda v, z: [function(v, z, n) for n in (0, 1, 3)], ORDERS, POSITIVE)
    check(lambda v, n: [function(v, POSITIVE, n)], 1, 2)


def test_the_order_fixes_the_graph() -> None:
    f = gc.compile(lambda n, x: sc.spherical_jn(n, x))
    for n in (0, 3):
        np.testing.assert_allclose(f(n, POSITIVE), sc.spherical_jn(n, POSITIVE), 1e-12)


@pytest.mark.parametrize("function", SPHERICAL)
@pytest.mark.parametrize("order", [0, 2])
def test_gradients(function: Any, order: int) -> None:
    got = gc.grad(lambda x: np.sum(function(order, x)))(POSITIVE)
    np.testing.assert_allclose(got, function(order, POSITIVE, True), 1e-9)


def test_diric() -> None:
    at = np.append(EVERYWHERE[:-2], np.pi * np.array([2, 4, -2]))
    check(lambda x, n: [sc.diric(x, 4), sc.diric(x, n), sc.diric(x[:4], np.array([0, -1, 2.5, 3]))],
          at, 3)  # fmt: skip
    check(lambda x: [sc.diric(x, 3), sc.diric(x, np.float32(3))], POSITIVE.astype(np.float32),
          tolerance=1e-6)  # fmt: skip


def test_softplus() -> None:
    check(lambda x: [sc.softplus(x)], EVERYWHERE)
