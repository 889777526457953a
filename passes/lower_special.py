"""Lowering of special functions to elementary ones: polynomials, logarithms, recurrences.

Before:  y = erfcx(x)
After:   t = 2 / (2 + |x|); y = t * polynomial(2 t - 1); ...

Sound within the errors that `tests/test_special.py` measures: some units in the last place, in
gammaln absolute near its zeros left of 0.  The coefficients are Chebyshev interpolations of the
functions, computed with 60 digits and written as polynomials on [-1, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from graphc.build import Value
from graphc.ir import Eqn
from graphc.ops import elementwise as ew
from graphc.ops import special
from graphc.passes.rewrite import Result, Rewriter, Rule
from graphc.passes.special_coefficients import (
    ERFCX,
    I0_LARGE,
    I0_SMALL,
    I1_LARGE,
    I1_SMALL,
    LGAMMA,
)

INFINITY = float("inf")
HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)
"""B2, B4, ..., B16."""


def _polynomial(x: Value, coefficients: Sequence[float]) -> Value:
    """Horner's rule, the highest power first."""
    result = x.literal(coefficients[0])
    for c in coefficients[1:]:
        result = result * x + c
    return result


def _choose(condition: Value, x: Value | float, y: Value) -> Value:
    chosen: Value = ew.where(condition, x if isinstance(x, Value) else y.literal(x), y)
    return chosen


# ---- error functions -----------------------------------------------------------------------------


def erfcx(x: Value) -> Value:
    """exp(x**2) erfc(x)."""
    size: Value = ew.abs(x)
    t = 2.0 / (size + 2.0)
    right = t * _polynomial(t * 2.0 - 1.0, ERFCX)
    left = _exp_square(x) * 2.0 - right
    right = _choose(ew.equal(size, INFINITY), 0.0, right)
    return _choose(ew.less(x, 0.0), left, right)


def _exp_square(x: Value, sign: float = 1.0) -> Value:
    """exp(sign * x**2); what rounding the square loses is made up for."""
    square, lost = _square(x)
    base: Value = ew.exp(square * sign)
    corrected: Value = base + base * lost * sign
    return _choose(ew.isfinite(square), corrected, base)


SPLITTER = {"f32": 4097.0, "f64": 134217729.0}
"""Half the digits of a number (Dekker)."""


def _square(x: Value) -> tuple[Value, Value]:
    """x**2 rounded, and what the rounding lost."""
    square = x * x
    wide = x * SPLITTER[x.dtype]
    high = wide - (wide - x)
    low = x - high
    return square, (high * high - square) + high * low * 2.0 + low * low


def erfc(x: Value) -> Value:
    size: Value = ew.abs(x)
    t = 2.0 / (size + 2.0)
    scaled = t * _polynomial(t * 2.0 - 1.0, ERFCX)
    limit = {"f32": 10.5, "f64": 27.5}[x.dtype]
    inside: Value = ew.minimum(size, x.literal(limit))
    tail = scaled * _exp_square(inside, -1.0)
    tail = _choose(ew.greater(size, limit), 0.0, tail)
    far = _choose(ew.less(x, 0.0), 2.0 - tail, tail)
    near = 1.0 - ew.erf(x)
    return _choose(ew.less(size, 0.5), near, far)


HALLEY_STEPS = 2
"""Each takes the error to its third power; the first guess is good to 0.2 %."""


def erfinv(x: Value) -> Value:
    """Halley's method on erf near 0 and on erfc in the tail, from Winitzki's formula (2008)."""
    size: Value = ew.abs(x)
    rest = 1.0 - size
    logarithm: Value = ew.log(rest * (size + 1.0))
    a = 0.147
    half = logarithm * 0.5 + 2.0 / (math.pi * a)
    guess: Value = ew.sqrt(ew.sqrt(half * half - logarithm * (1.0 / a)) - half)
    slope = 0.5 * math.sqrt(math.pi)
    small = size * slope * (size * size * (math.pi / 12.0) + 1.0)
    y = _choose(ew.less(size, 0.3), small, guess)
    for _ in range(HALLEY_STEPS):
        missing = _choose(ew.less(size, 0.5), ew.erf(y) - size, rest - erfc(y))
        step = missing * slope * _exp_square(y)
        y = y - step / (y * step + 1.0)
    y = _choose(ew.equal(size, 1.0), INFINITY, y)
    y = _choose(ew.equal(size, 0.0), 0.0, y)
    y = _choose(ew.greater(size, 1.0), float("nan"), y)
    signed: Value = _choose(ew.less(x, 0.0), -y, y)
    return _choose(ew.equal(x, 0.0), x, signed)


def log_ndtr(x: Value) -> Value:
    """log of (1 + erf(x / sqrt 2)) / 2, which is 0 far to the left."""
    z = x * -math.sqrt(0.5)
    right: Value = ew.log1p(erfc(-z) * -0.5)
    square, lost = _square(z)
    left: Value = (
        ew.log(erfcx(z) * 0.5) - square - _choose(ew.isfinite(square), lost, z.literal(0.0))
    )
    left = _choose(ew.equal(x, -INFINITY), -INFINITY, left)
    return _choose(ew.greater(x, -1.0), right, left)


# ---- gamma functions -----------------------------------------------------------------------------


def gammaln(x: Value) -> Value:
    """log |gamma(x)|: the reflection formula (DLMF 5.5.3) left of 0."""
    is_left = ew.less(x, 0.5)
    positive = _choose(is_left, 1.0 - x, x)
    right = _gammaln_right(positive)
    sine = _sin_pi(x)
    reflected: Value = math.log(math.pi) - ew.log(ew.abs(sine)) - right
    result = _choose(is_left, reflected, right)
    return _choose(ew.isinf(x), INFINITY, result)


def _gammaln_right(x: Value) -> Value:
    """For x >= 1/2: around the zeros 1 and 2 a polynomial times (x-1)(x-2), beyond 3 Stirling."""
    is_low = ew.less(x, 1.0)
    middle = _choose(is_low, x + 1.0, ew.minimum(x, x.literal(3.0)))
    near = (middle - 1.0) * (middle - 2.0) * _polynomial(middle - 2.0, LGAMMA)
    near = near - _choose(is_low, ew.log(_choose(is_low, x, x.literal(1.0))), x.literal(0.0))
    product, y = x.literal(1.0), x
    for _ in range(5):
        below = ew.less(y, 8.0)
        product = _choose(below, product * y, product)
        y = _choose(below, y + 1.0, y)
    far = _stirling(y) - ew.log(product)
    return _choose(ew.less(x, 3.0), near, far)


def _stirling(x: Value) -> Value:
    """DLMF 5.11.1."""
    inverse = 1.0 / x
    terms = [b / ((2 * k + 2) * (2 * k + 1)) for k, b in enumerate(BERNOULLI)]
    series = inverse * _polynomial(inverse * inverse, terms[::-1])
    return (x - 0.5) * ew.log(x) - x + HALF_LOG_2PI + series


def _sin_pi(x: Value) -> Value:
    """sin(pi x), exact where it is 0."""
    nearest: Value = ew.round(x)
    sine: Value = ew.sin((x - nearest) * math.pi)
    odd = ew.not_equal(ew.floor(nearest * 0.5) * 2.0, nearest)
    return _choose(odd, -sine, sine)


def gamma(x: Value) -> Value:
    """exp of its logarithm, with the sign that alternates left of 0; NaN at the poles there."""
    size: Value = ew.exp(gammaln(x))
    whole: Value = ew.floor(x)
    odd = ew.not_equal(ew.floor(whole * 0.5) * 2.0, whole)
    signed = _choose(ew.logical_and(ew.less(x, 0.0), odd), -size, size)
    pole = ew.logical_and(ew.less(x, 0.0), ew.equal(whole, x))
    result = _choose(pole, float("nan"), signed)
    at_zero = 1.0 / x
    return _choose(ew.equal(x, 0.0), at_zero, result)


def digamma(x: Value) -> Value:
    """Its recurrence up to 10, the asymptotic series there (DLMF 5.11.2), reflected left of 0."""
    is_left = ew.less(x, 0.0)
    y = _choose(is_left, 1.0 - x, x)
    total = x.literal(0.0)
    for _ in range(10):
        below = ew.less(y, 10.0)
        total = _choose(below, total - 1.0 / y, total)
        y = _choose(below, y + 1.0, y)
    inverse = 1.0 / y
    terms = [b / (2 * k + 2) for k, b in enumerate(BERNOULLI)]
    square = inverse * inverse
    right: Value = ew.log(y) - inverse * 0.5 - square * _polynomial(square, terms[::-1]) + total
    nearest: Value = ew.round(x)
    tangent: Value = ew.tan((x - nearest) * math.pi)
    reflected = right - math.pi / tangent
    pole = ew.logical_and(is_left, ew.equal(nearest, x))
    result = _choose(is_left, _choose(pole, float("nan"), reflected), right)
    return _choose(ew.equal(x, 0.0), -(1.0 / x), result)


ZETA_TERMS = 10


def zeta(s: Value, q: Value) -> Value:
    """Hurwitz's zeta function for s > 1 by Euler and Maclaurin (DLMF 25.11.28)."""
    total = s.literal(0.0)
    for k in range(ZETA_TERMS):
        total = total + ew.power(q + float(k), -s)
    w = q + float(ZETA_TERMS)
    tail: Value = ew.power(w, -s)
    total = total + tail * w / (s - 1.0) + tail * 0.5
    factor, term = s, tail / w
    for k, b in enumerate(BERNOULLI):
        total = total + term * factor * (b / math.factorial(2 * k + 2))
        factor = factor * (s + (2.0 * k + 1.0)) * (s + (2.0 * k + 2.0))
        term = term / (w * w)
    total = _choose(ew.equal(s, 1.0), INFINITY, total)
    total = _choose(ew.less(s, 1.0), float("nan"), total)
    pole = ew.logical_and(ew.less_equal(q, 0.0), ew.equal(ew.floor(q), q))
    total = _choose(pole, INFINITY, total)
    return _choose(ew.less_equal(q, float(-ZETA_TERMS)), float("nan"), total)


# ---- Bessel functions ----------------------------------------------------------------------------


def _bessel(small: Sequence[float], large: Sequence[float], is_odd: bool) -> Callable[..., Value]:
    """exp(-|x|) I(x): a polynomial up to 8, beyond it one in 16/|x| - 1, over sqrt |x|."""

    def lowered(x: Value) -> Value:
        size: Value = ew.abs(x)
        inner: Value = ew.minimum(size, x.literal(8.0))
        near = _polynomial(inner * 0.25 - 1.0, small)
        near = near * x if is_odd else near
        outer: Value = ew.maximum(size, x.literal(8.0))
        far = _polynomial(16.0 / outer - 1.0, large) * ew.rsqrt(outer)
        if is_odd:
            far = _choose(ew.less(x, 0.0), -far, far)
        return _choose(ew.greater(size, 8.0), far, near)

    return lowered


i0e = _bessel(I0_SMALL, I0_LARGE, False)
i1e = _bessel(I1_SMALL, I1_LARGE, True)


def _rule(lowered: Callable[..., Value]) -> Rule:
    def lower(at: Rewriter, eqn: Eqn) -> Result:
        return lowered(*map(at.value, eqn.ins)).atom

    return lower


LOWERINGS: tuple[tuple[str, Rule], ...] = tuple(
    (op.name, _rule(globals()[op.name])) for op in special.SPECIAL
)
