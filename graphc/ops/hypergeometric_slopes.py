"""Derivatives of hypergeometric functions by their parameters: their series, term by term.

A term holds gamma(a + n) / gamma(a) for a parameter a, whose derivative is that times
digamma(a + n) - digamma(a).  For parameters above 0, and where the terms fall off within the
series; NaN elsewhere.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from graphc.build import Value
from graphc.ops.elementwise import abs as size_of
from graphc.ops.elementwise import (
    equal,
    exp,
    floor,
    greater,
    less,
    less_equal,
    log,
    logical_and,
    logical_or,
    where,
)
from graphc.ops.quadrature import Nodes, integral
from graphc.ops.special import digamma, gammaln

TERMS = 320


@functools.cache
def _numbers() -> Nodes:
    """The numbers of the terms, and the logarithms of their factorials."""
    logs = [math.lgamma(n + 1.0) for n in range(TERMS)]
    return Nodes(np.arange(TERMS, dtype=float), np.array(logs))


def series_slopes(above: Sequence[Value], below: Sequence[Value], x: Value) -> list[Value]:
    """The derivatives by each parameter of the function with these ones."""
    zero = equal(x, 0.0)
    params = [*above, *below]
    signs = [1.0] * len(above) + [-1.0] * len(below)
    firsts = [part for p in params for part in (gammaln(p), digamma(p))]

    def integrand(n: Value, factorial: Value, x: Value, *rest: Value) -> tuple[Value, ...]:
        given, known = rest[: len(params)], rest[len(params) :]
        power = n * log(size_of(x)) - factorial
        for sign, p, scale in zip(signs, given, known[::2], strict=True):
            power = power + (gammaln(p + n) - scale) * sign
        turned = logical_and(less(x, 0.0), greater(n - floor(n * 0.5) * 2.0, 0.0))
        size = exp(power)
        term = where(turned, -size, size)
        pairs = zip(signs, given, known[1::2], strict=True)
        return tuple(term * (digamma(p + n) - psi) * sign for sign, p, psi in pairs)

    found = integral(_numbers(), integrand, where(zero, 1.0, x), *params, *firsts)
    outside = functools.reduce(logical_or, (less_equal(p, 0.0) for p in params))
    return [where(outside, math.nan, where(zero, 0.0, slope)) for slope in found]


def _unless(beyond: Value, slope: Value) -> Value:
    result: Value = where(beyond, math.nan, slope)
    return result


def hyp0f1_slope(v: Value, x: Value) -> Value:
    """From -25 on: further left nothing is left of the terms."""
    beyond = logical_or(less(x, -25.0), greater(x, 1e4))
    return _unless(beyond, series_slopes([], [v], where(beyond, 1.0, x))[0])


def hyp1f1_slopes(a: Value, b: Value, x: Value) -> tuple[Value, Value]:
    """Left of 0 by Kummer's transformation, where its parameter b - a is above 0 (DLMF 13.2.39)."""
    is_turned = logical_and(less(x, 0.0), greater(b, a))
    beyond = logical_or(greater(x, 100.0), less(x, where(is_turned, x.literal(-100.0), -5.0)))
    inside = where(beyond, 1.0, x)
    by_first, by_second = series_slopes(
        [where(is_turned, b - a, a)], [b], where(is_turned, -inside, inside)
    )
    scale = where(is_turned, exp(inside), 1.0)
    by_a = where(is_turned, -by_first, by_first) * scale
    by_b = where(is_turned, by_first + by_second, by_second) * scale
    return _unless(beyond, by_a), _unless(beyond, by_b)


def hyp2f1_slopes(a: Value, b: Value, c: Value, x: Value) -> list[Value]:
    """Within 0.9 of 0."""
    beyond = greater(size_of(x), 0.9)
    found = series_slopes([a, b], [c], where(beyond, 0.5, x))
    return [_unless(beyond, slope) for slope in found]
