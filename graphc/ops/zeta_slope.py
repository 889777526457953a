"""The derivative of Hurwitz's zeta function by its first argument."""

from __future__ import annotations

import math

from graphc.build import Value
from graphc.ops.elementwise import equal, exp, less, log, logical_or, where

TERMS = 12
BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)
"""B2, B4, ..., B16."""
LEAST = -3.0
"""Further left the formula has lost too many digits."""


def zeta_slope(s: Value, q: Value) -> Value:
    """d zeta(s, q) / ds for q > 0: Euler and Maclaurin's formula (DLMF 25.11.28), each term of it
    differentiated; it continues the function left of 1, down to `LEAST`, NaN from there on."""
    total = s.literal(0.0)
    for k in range(TERMS):
        growth = log(q + float(k))
        total = total - growth * exp(-s * growth)
    w = q + float(TERMS)
    growth = log(w)
    tail: Value = exp(-s * growth)
    rest = s - 1.0
    total = total - tail * w * (growth + 1.0 / rest) / rest - growth * tail * 0.5
    factor, slope, term = s, s.literal(1.0), tail / w
    for k, b in enumerate(BERNOULLI):
        total = total + term * (slope - growth * factor) * (b / math.factorial(2 * k + 2))
        low, high = s + (2.0 * k + 1.0), s + (2.0 * k + 2.0)
        slope, factor = slope * low * high + factor * (low + high), factor * low * high
        term = term / (w * w)
    is_unknown = logical_or(logical_or(less(s, LEAST), equal(s, 1.0)), less(q, 1e-300))
    result: Value = where(is_unknown, math.nan, total)
    return result
