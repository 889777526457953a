"""Densities of distributions, of which the derivatives of scipy's functions are made.

That of the noncentral t distribution, and the derivatives by noncentrality, are sums over Poisson
weights that come out as the confluent hypergeometric function 1F1 (DLMF 13).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from graphc.build import Value
from graphc.ops.elementwise import equal, exp, log, log1p, sqrt, square, where
from graphc.ops.scipy_calls import call
from graphc.ops.special import gammaln

Derivative = Callable[..., Value]
"""From the result and the operands, in f64."""

ROOT_PI = math.sqrt(math.pi)


def times_log(factor: Value, x: Value) -> Value:
    """factor log(x), 0 where the factor is."""
    zero = equal(factor, 0.0)
    result: Value = where(zero, factor, factor * log(where(zero, 1.0, x)))
    return result


def normal(x: Value) -> Value:
    density: Value = exp(square(x) * -0.5) * (1.0 / math.sqrt(2.0 * math.pi))
    return density


def gamma(a: Value, x: Value) -> Value:
    density: Value = exp(times_log(a - 1.0, x) - x - gammaln(a))
    return density


def beta(a: Value, b: Value, x: Value) -> Value:
    scale = gammaln(a) + gammaln(b) - gammaln(a + b)
    density: Value = exp(times_log(a - 1.0, x) + times_log(b - 1.0, 1.0 - x) - scale)
    return density


def student(df: Value, t: Value) -> Value:
    half = df * 0.5
    scale = gammaln(half + 0.5) - gammaln(half) - log(df * math.pi) * 0.5
    density: Value = exp(scale - (half + 0.5) * log1p(square(t) / df))
    return density


def fisher(n: Value, d: Value, x: Value) -> Value:
    total = n * x + d
    return beta(n * 0.5, d * 0.5, n * x / total) * n * d / square(total)


# ---- noncentral ones -----------------------------------------------------------------------------


def noncentral_chi2(x: Value, df: Value, nc: Value) -> Value:
    """By the scaled Bessel function I, so that nothing overflows."""
    is_central = equal(nc, 0.0)
    away = where(is_central, 1.0, nc)
    order = df * 0.5 - 1.0
    gap = square(sqrt(x) - sqrt(away)) * -0.5
    shifted = exp(gap + order * 0.5 * log(x / away)) * call("ive", order, sqrt(x * away)) * 0.5
    result: Value = where(is_central, gamma(df * 0.5, x * 0.5) * 0.5, shifted)
    return result


def chi2_by_noncentrality(x: Value, df: Value, nc: Value) -> Value:
    """The derivative of the distribution function: one more Poisson event is two degrees more."""
    return -noncentral_chi2(x, df + 2.0, nc)


def noncentral_fisher(n: Value, d: Value, nc: Value, x: Value) -> Value:
    inner = nc * n * x / ((n * x + d) * 2.0)
    factor = call("hyp1f1", (n + d) * 0.5, n * 0.5, inner)
    result: Value = fisher(n, d, x) * exp(nc * -0.5) * factor
    return result


def fisher_by_noncentrality(n: Value, d: Value, nc: Value, x: Value) -> Value:
    a, b, y = n * 0.5, d * 0.5, n * x / (n * x + d)
    scale = gammaln(a + b) - gammaln(a + 1.0) - gammaln(b)
    central: Value = exp(a * log(y) + b * log(1.0 - y) + scale - nc * 0.5)
    return central * call("hyp1f1", a + b, a + 1.0, nc * y * 0.5) * -0.5


def noncentral_student(df: Value, nc: Value, t: Value) -> Value:
    return _student_moment(df, nc, t, 1.0)


def student_by_noncentrality(df: Value, nc: Value, t: Value) -> Value:
    return -_student_moment(df, nc, t, 0.0)


def _student_moment(df: Value, nc: Value, t: Value, power: float) -> Value:
    """The mean of S**power normal(t S - nc), S the root of a chi2 variable over its degrees.

    Even and odd terms of exp(t nc S) integrate to one 1F1 each.
    """
    total = df + square(t)
    shift = t * nc
    inner = square(shift) / (total * 2.0)
    half = (df + power) * 0.5
    scale = log(df * 0.5) * (df * 0.5) - gammaln(df * 0.5) - square(nc) * 0.5
    spread = log(total * 0.5)
    even = exp(scale - half * spread + gammaln(half)) * call("hyp1f1", half, 0.5, inner)
    odd = exp(scale - (half + 0.5) * spread + gammaln(half + 0.5)) * shift
    odd = odd * call("hyp1f1", half + 0.5, 1.5, inner)
    result: Value = (even + odd) * (1.0 / math.sqrt(2.0 * math.pi))
    return result
