"""Powers with known halves as exponents, against exact arithmetic and IEEE's special cases."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

import graphc as gc
from graphc.runtime.llvm.math.half_powers import RULES

mpmath.mp.prec = 200
ENDS = [0.0, -0.0, math.inf, -math.inf, math.nan, -2.0, 1.0]


def power(x: np.ndarray, exponent: float) -> np.ndarray:
    """With the exponent as an array, so that NumPy's special case for 0.5 is not asked."""
    return gc.compile(lambda x: np.power(x, np.asarray(exponent, x.dtype)))(x)


@pytest.mark.parametrize("exponent", RULES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_within_two_ulps(exponent: float, dtype: type) -> None:
    info, rng = np.finfo(dtype), np.random.default_rng(0)
    low, high = np.log2(info.smallest_subnormal) + 1, np.log2(info.max) - 1
    x = np.exp2(rng.uniform(low, high, 500)).astype(dtype)
    found = power(x, exponent)
    for at, got in zip(x, found, strict=True):
        exact = mpmath.power(mpmath.mpf(float(at)), exponent)
        if exact > float(info.max):
            assert got == math.inf
            continue
        unit = max(float(np.spacing(dtype(exact))), float(info.smallest_subnormal))
        assert abs(mpmath.mpf(float(got)) - exact) <= 2 * unit, at


@pytest.mark.parametrize("exponent", RULES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_zeros_and_infinities_are_those_of_ieee(exponent: float, dtype: type) -> None:
    x = np.array(ENDS, dtype)
    with np.errstate(all="ignore"):
        wanted = np.power(x, np.full_like(x, exponent))
    found = power(x, exponent)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(np.signbit(found[:4]), np.signbit(wanted[:4]))


def test_gradient() -> None:
    x = np.array([0.3, 2.0, 7.0])
    slope = gc.compile(gc.grad(lambda x: (x**1.5 + x**-0.5).sum()))(x)
    np.testing.assert_allclose(slope, 1.5 * x**0.5 - 0.5 * x**-1.5, rtol=1e-15)
