"""Complex values in the tracer, by their parts, and what formulas for them have in common."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphc.ops import complexes
from graphc.trace.tracer import wrap

LN_2 = math.log(2.0)


def joined(real: Any, imag: Any) -> Any:
    """real + imag * 1j of two real values of one type."""
    return wrap(complexes.complex(real.value(), imag.value()))


def parts_of(z: Any) -> tuple[Any, Any]:
    """The parts as values, not as views."""
    value = z.value()
    return wrap(complexes.real(value)), wrap(complexes.imag(value))


def times(a: Any, b: Any, x: Any) -> Any:
    """a * b for an a of x that is zero or infinite only where x is.

    The product of zero and an infinity or NaN is zero.
    """
    product = a * b
    is_zero = np.logical_and(a == 0, is_limit(x))
    lost = np.logical_and(np.isnan(product), np.logical_or(is_zero, b == 0))
    one, nothing = x.dtype.type(1), x.dtype.type(0)
    return np.where(lost, with_sign(nothing, a) * with_sign(one, b), product)


def grown(a: Any, b: Any, x: Any) -> Any:
    """As `times`, but infinite where x is, also beside NaN."""
    infinite = np.logical_and(np.logical_and(np.isinf(a), np.isinf(x)), np.isnan(b))
    return np.where(infinite, a, times(a, b, x))


def is_limit(x: Any) -> Any:
    return np.logical_or(np.isinf(x), x == 0)


def sign_of(x: Any) -> Any:
    """1 or -1, by the sign bit: a constant to gradients."""
    return np.where(np.signbit(x), x.dtype.type(-1), x.dtype.type(1))


def with_sign(size: Any, of: Any) -> Any:
    """A number with the sign of each of `of`."""
    return np.copysign(size, of)


def turned(z: Any) -> Any:
    """z * 1j"""
    x, y = parts_of(z)
    return joined(-y, x)


def turned_back(z: Any) -> Any:
    """z * -1j"""
    x, y = parts_of(z)
    return joined(y, -x)
