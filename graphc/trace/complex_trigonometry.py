"""Trigonometric and hyperbolic functions of complex values, and their inverses.

Formulas of the inverse functions: W. Kahan, "Branch cuts for complex elementary functions" (1987).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphc.trace.complex_parts import (
    LN_2,
    grown,
    is_limit,
    joined,
    parts_of,
    sign_of,
    times,
    with_sign,
)
from graphc.trace.complex_powers import sqrt


def sinh(z: Any) -> Any:
    x, y = parts_of(z)
    return joined(grown(np.sinh(x), np.cos(y), x), times(np.cosh(x), np.sin(y), x))


def cosh(z: Any) -> Any:
    x, y = parts_of(z)
    return joined(grown(np.cosh(x), np.cos(y), x), times(np.sinh(x), np.sin(y), x))


def tanh(z: Any) -> Any:
    """Beyond a bound, cosh² is exp(2|x|)/4, and 1 is nothing beside it."""
    x, y = parts_of(z)
    zero = x.dtype.type(0)
    far = np.abs(x) > (22.0 if x.dtype == np.float64 else 11.0)
    t, s = np.tan(y), np.sinh(np.where(far, zero, x))
    beta = t * t + 1.0
    under = beta * s * s + 1.0
    real = np.where(far, sign_of(x), beta * np.sqrt(s * s + 1.0) * s / under)
    small = np.exp(np.where(far, np.abs(x), zero) * -2.0)
    imag_far = 4.0 * times(small, np.sin(y) * np.cos(y), x)
    imag = np.where(far, imag_far, t / under)
    # Of a y that is no number, the limits at x = 0 and at infinity are known.
    lost = np.logical_and(np.logical_not(np.isfinite(y)), np.logical_not(is_limit(x)))
    real = np.where(lost, x.dtype.type(math.nan), np.where(_with_nan(x, t), x, real))
    return joined(real, np.where(_with_nan(y, x), y, imag))


def _with_nan(x: Any, y: Any) -> Any:
    """Whether x is zero beside a y of NaN."""
    return np.logical_and(x == 0, np.isnan(y))


def _product_part(a: Any, b: Any) -> tuple[Any, Any]:
    """conj(a) * b"""
    (p, q), (r, s) = parts_of(a), parts_of(b)
    return p * r + q * s, p * s - q * r


def _plus(z: Any, number: float) -> Any:
    x, y = parts_of(z)
    return joined(x + number, y)


def _minus_from(number: float, z: Any) -> Any:
    x, y = parts_of(z)
    return joined(number - x, -y)


def _far(z: Any) -> tuple[Any, Any, Any]:
    """Where 1 is nothing beside z², log(2 |z|) there, and z with 0 in these places."""
    x, y = parts_of(z)
    limit = 1e9 if x.dtype == np.float64 else 1e5
    far = np.logical_or(np.abs(x) > limit, np.abs(y) > limit)
    one = x.dtype.type(1)
    size = np.log(np.hypot(np.where(far, x, one) * 0.5, np.where(far, y, one) * 0.5)) + 2 * LN_2
    zero = x.dtype.type(0)
    return far, size, joined(np.where(far, zero, x), np.where(far, zero, y))


def arcsin(z: Any) -> Any:
    x, y = parts_of(z)
    far, size, near = _far(z)
    below, above = sqrt(_minus_from(1.0, near)), sqrt(_plus(near, 1.0))
    (p, q), (r, s) = parts_of(below), parts_of(above)
    real = np.arctan2(parts_of(near)[0], p * r - q * s)
    real = np.where(_with_nan(x, y), x, real)
    imag = np.arcsinh(_product_part(below, above)[1])
    real_far = np.arctan2(
        np.where(far, x, x.dtype.type(1)), np.where(far, np.abs(y), x.dtype.type(1))
    )
    return joined(np.where(far, real_far, real), np.where(far, sign_of(y) * size, imag))


def arccos(z: Any) -> Any:
    x, y = parts_of(z)
    far, size, near = _far(z)
    below, above = sqrt(_minus_from(1.0, near)), sqrt(_plus(near, 1.0))
    real = 2.0 * np.arctan2(parts_of(below)[0], parts_of(above)[0])
    real = np.where(_with_nan(x, y), x.dtype.type(math.pi / 2), real)
    imag = np.arcsinh(_product_part(above, below)[1])
    real_far = np.arctan2(
        np.where(far, np.abs(y), x.dtype.type(1)), np.where(far, x, x.dtype.type(1))
    )
    return joined(np.where(far, real_far, real), np.where(far, -sign_of(y) * size, imag))


def arccosh(z: Any) -> Any:
    x, y = parts_of(z)
    far, size, near = _far(z)
    below, above = sqrt(_plus(near, -1.0)), sqrt(_plus(near, 1.0))
    real = np.arcsinh(_product_part(below, above)[0])
    imag = 2.0 * np.arctan2(parts_of(below)[1], parts_of(above)[0])
    imag = np.where(_with_nan(x, y), x.dtype.type(math.pi / 2), imag)
    imag_far = np.arctan2(np.where(far, y, x.dtype.type(1)), np.where(far, x, x.dtype.type(1)))
    return joined(np.where(far, size, real), np.where(far, imag_far, imag))


def arctanh(z: Any) -> Any:
    x, y = parts_of(z)
    zero, one = x.dtype.type(0), x.dtype.type(1)
    infinite = np.logical_or(np.isinf(x), np.isinf(y))
    a, b = (np.where(infinite, zero, part) for part in (x, y))
    side = sign_of(a)  # from |x|, by symmetry: log1p keeps its digits on this side
    size = a * side
    under = (1.0 - size) * (1.0 - size) + b * b
    tiny = under < np.finfo(x.dtype).tiny * 1e8  # z is near 1, and its square lost digits
    near = LN_2 - np.log(np.where(tiny, np.hypot(1.0 - size, b), one))
    real = 0.25 * np.log1p(4.0 * size / np.where(tiny, one, under))
    real = np.where(tiny, 0.5 * near, real) * side
    turn = 0.5 * np.arctan2(2.0 * b, (1.0 - size) * (1.0 + size) - b * b)
    quarter = np.where(np.isnan(y), y, sign_of(y) * (math.pi / 2))
    real = np.where(infinite, with_sign(np.zeros_like(x), x), np.where(_with_nan(x, y), x, real))
    return joined(real, np.where(infinite, quarter, turn))
