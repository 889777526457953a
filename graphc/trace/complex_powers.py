"""Exponentials, logarithms, roots and powers of complex values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.ir import Lit
from graphc.trace.complex_parts import (
    LN_2,
    grown,
    joined,
    parts_of,
    sign_of,
    times,
)
from graphc.trace.tracer import Tracer

# ---- exponentials and logarithms -----------------------------------------------------------------


def exp(z: Any) -> Any:
    x, y = parts_of(z)
    # exp(x) may overflow where exp(x) cos(y) does not.
    limit = math.floor(math.log(float(np.finfo(x.dtype).max)))
    shift = np.where(x > limit, x.dtype.type(limit / 2), x.dtype.type(0))
    size, rest = np.exp(x - shift), np.exp(shift)
    return joined(grown(size, np.cos(y), x) * rest, times(size, np.sin(y), x) * rest)


def expm1(z: Any) -> Any:
    x, y = parts_of(z)
    half = np.sin(y * 0.5)
    return joined(np.expm1(x) * np.cos(y) - half * half * 2.0, np.exp(x) * np.sin(y))


def _log_size(x: Any, y: Any) -> Any:
    """log(hypot(x, y)); near 1 by log1p, of which less is cancelled."""
    size = np.hypot(x, y)
    near = np.logical_and(size > 0.5, size < 2.0)
    large, small = np.maximum(np.abs(x), np.abs(y)), np.minimum(np.abs(x), np.abs(y))
    excess = np.where(near, (large - 1.0) * (large + 1.0) + small * small, x.dtype.type(0))
    return np.where(near, 0.5 * np.log1p(excess), np.log(np.where(near, x.dtype.type(1), size)))


def log(z: Any) -> Any:
    x, y = parts_of(z)
    return joined(_log_size(x, y), np.arctan2(y, x))


def log_to(base: float) -> Callable[[Any], Any]:
    def apply(z: Any) -> Any:
        x, y = parts_of(log(z))
        return joined(x * (1 / math.log(base)), y * (1 / math.log(base)))

    return apply


def log1p(z: Any) -> Any:
    x, y = parts_of(z)
    # |1 + z|² - 1 = x (2 + x) + y²
    near = np.logical_and(np.abs(x) < 0.5, np.abs(y) < 0.5)
    excess = np.where(near, x * (x + 2.0) + y * y, x.dtype.type(0))
    far = _log_size(np.where(near, x.dtype.type(1), x + 1.0), np.where(near, x.dtype.type(1), y))
    return joined(np.where(near, 0.5 * np.log1p(excess), far), np.arctan2(y, x + 1.0))


def exp2(z: Any) -> Any:
    x, y = parts_of(z)
    return exp(joined(x * LN_2, y * LN_2))


# ---- roots and powers ----------------------------------------------------------------------------


def sqrt(z: Any) -> Any:
    x, y = parts_of(z)
    half = x * 0.5
    size = np.abs(half) + np.hypot(half, y * 0.5)
    is_zero = size == 0
    root = np.sqrt(np.where(is_zero, x.dtype.type(1), size))
    turned = sign_of(y)
    other = np.where(np.isinf(root), x.dtype.type(0), np.abs(y * turned) / (root * 2.0))
    other = np.where(np.isnan(y), y, other)
    right = np.logical_not(np.signbit(x))
    real, imag = np.where(right, root, other), np.where(right, other, root) * turned
    infinite = np.isinf(y)
    real = np.where(is_zero, np.abs(x), np.where(infinite, np.abs(y), real))
    return joined(real, np.where(np.logical_or(is_zero, infinite), y, imag))


def power(z: Any, w: Any) -> Any:
    real, _ = parts_of(w)
    is_zero, to_zero = z == 0, w == 0
    safe = np.where(is_zero, z.dtype.type(1), z)
    power = exp(np.multiply(w, log(safe)))
    nan = z.dtype.type(complex(math.nan, math.nan))
    of_zero = np.where(real > 0, z.dtype.type(0), nan)
    return np.where(to_zero, z.dtype.type(1), np.where(is_zero, of_zero, power))


def known_integer(x: Tracer) -> int | None:
    """The value of an exponent, where it is one small integer known while tracing."""
    atom = x.value().atom
    if not isinstance(atom, Lit) or not abs(atom.value) <= 100 or atom.value != int(atom.value):
        return None
    return int(atom.value)


def integer_power(z: Any, exponent: int) -> Any:
    """By squaring."""
    count, factor, result = abs(exponent), z, None
    while count:
        if count % 2:
            result = factor if result is None else np.multiply(result, factor)
        count //= 2
        factor = np.multiply(factor, factor) if count else factor
    if result is None:
        return np.ones_like(z)
    if exponent > 0:
        return result
    if exponent == -1:
        return np.reciprocal(result)
    nan = z.dtype.type(complex(math.nan, math.nan))
    return np.where(z == 0, nan, np.true_divide(np.ones_like(z), result))


def sign(z: Any) -> Any:
    """z / |z|, and 0 at 0."""
    x, y = parts_of(z)
    size = np.hypot(x, y)
    zero = x.dtype.type(0)
    safe = np.where(size == 0, x.dtype.type(1), size)
    both = np.logical_and(np.isinf(x), np.isinf(y))

    def part(own: Any) -> Any:
        of_infinite = np.where(np.isinf(own), sign_of(own), zero)
        of_infinite = np.where(both, x.dtype.type(math.nan), of_infinite)
        found = np.where(np.isinf(size), of_infinite, own / safe)
        return np.where(size == 0, zero, found)

    return joined(part(x), part(y))


def reciprocal(z: Any) -> Any:
    """By Smith's method."""
    x, y = parts_of(z)
    by_real = np.abs(y) <= np.abs(x)
    large, small = np.where(by_real, x, y), np.where(by_real, y, x)
    ratio = small / large
    under = large + small * ratio
    one, turned = 1.0 / under, ratio / under
    return joined(np.where(by_real, one, turned), -np.where(by_real, turned, one))
