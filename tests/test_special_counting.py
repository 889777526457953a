"""Counting functions of scipy.special, and functions of numbers that fix the graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.special as sc

import graphc as gc
from graphc import errors

N = np.array([1, 2, 3, 5, 7, -2, 0, 20])


def check(f: Any, *args: Any) -> None:
    for got, wanted in zip(gc.compile(f)(*args), f(*args), strict=True):
        assert np.asarray(got).dtype == np.asarray(wanted).dtype
        np.testing.assert_allclose(got, wanted, 1e-11, 1e-13)


def test_exact_numbers() -> None:
    def f(n, k):
        return (
            sc.comb(n, k, exact=True),
            sc.comb(n, 3, exact=True, repetition=True),
            sc.perm(10, k, exact=True),
            sc.factorial(n, exact=True),
            sc.factorial2(n, exact=True),
            sc.factorialk(n, k, exact=True),
        )

    check(f, 10, 3)
    check(f, 12, 5)


def test_factorials_of_arrays() -> None:
    def f(n):
        return (
            sc.factorial(n, exact=True),
            sc.factorial2(n, exact=True),
            sc.factorialk(n, 3, exact=True),
            sc.factorial(n),
            sc.factorial2(n, exact=False),
            sc.factorialk(n, 3, exact=False),
        )

    check(f, N)
    check(lambda n: [sc.comb(n, 2), sc.perm(n, 2), sc.comb(n, 2, repetition=True)], N)


def test_factorials_beyond_64_bits() -> None:
    f = gc.compile(lambda n: sc.factorial(n, exact=True))
    with pytest.raises(OverflowError, match="factorial of 21 is beyond 64 bits"):
        f(np.array([3, 21]))


def test_what_is_not_exact_or_not_whole() -> None:
    with pytest.raises(errors.UnsupportedFunctionError, match="comb with exact=True"):
        gc.compile(lambda n: sc.comb(n, 2, exact=True))(N)
    with pytest.raises(errors.DTypeError, match="factorial2 takes integers"):
        gc.compile(lambda n: sc.factorial2(n))(N + 0.5)
    with pytest.raises(errors.UnsupportedFunctionError, match="extend='zero'"):
        gc.compile(lambda n: sc.factorial(n, extend="complex"))(N)


def test_functions_of_known_numbers() -> None:
    def f(n):
        nodes, weights = sc.roots_jacobi(n, 0.5, 0.5)
        return (
            nodes,
            weights,
            sc.ai_zeros(n)[0],
            sc.jn_zeros(n, 4),
            sc.bernoulli(n),
            sc.euler(nt := n + 2),
            sc.erf_zeros(n),
            sc.ellip_harm(n + 3, 8, 1, 1, 2.5) * nt,
        )

    check(f, 2)
    check(f, 4)


def test_numbers_that_are_not_known() -> None:
    with pytest.raises(errors.UnsupportedFunctionError, match="roots_jacobi cannot be traced"):
        gc.compile(lambda a: sc.roots_jacobi(3, a, a))(0.5)


def test_quadrature_inside_of_a_function() -> None:
    def f(x, n):
        nodes, weights = sc.roots_legendre(n)
        return np.sum(weights * np.exp(x * nodes))

    assert gc.compile(f)(0.7, 8) == pytest.approx(2 * np.sinh(0.7) / 0.7)


def test_polygamma_of_orders_in_an_array() -> None:
    orders = np.array([0, 1, 2, 3])
    check(lambda n, x: [sc.polygamma(n, x), sc.polygamma(n, 2.5)], orders, orders + 0.5)
    check(lambda n, x: [sc.polygamma(n, x)], 3, orders + 0.5)
