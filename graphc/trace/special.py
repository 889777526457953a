"""The ufuncs of scipy.special on traced arrays, by name.

By name, so that scipy need not be imported to recognise them.  What is composed of others here
follows the definitions in scipy's documentation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from graphc.build import Value
from graphc.ops import bits, scipy_calls, scipy_functions
from graphc.ops import elementwise as ew
from graphc.ops import special as ops
from graphc.trace.promotion import cast_to

ROOT_HALF = math.sqrt(0.5)


def _xlogy(x: Value, y: Value) -> Any:
    return _times_log(x, y, ew.log)


def _xlog1py(x: Value, y: Value) -> Any:
    return _times_log(x, y, ew.log1p)


def _times_log(x: Value, y: Value, log: Any) -> Any:
    """x log(y), and 0 for x = 0 whatever y is, NaN excepted."""
    zero = ew.logical_and(ew.equal(x, 0.0), ew.logical_not(ew.isnan(y)))
    return ew.where(zero, x.literal(0.0), x * log(ew.where(zero, x.literal(1.0), y)))


def _entr(x: Value) -> Any:
    """-x log(x), 0 at 0, -inf left of it."""
    inside = ew.greater(x, 0.0)
    result = -(x * ew.log(ew.where(inside, x, 1.0)))
    outside = ew.where(ew.equal(x, 0.0), x.literal(0.0), x.literal(-math.inf))
    return ew.where(ew.logical_or(inside, ew.isnan(x)), result, outside)


def _rel_entr(x: Value, y: Value) -> Any:
    """x log(x/y), 0 for x = 0 <= y, else infinite."""
    inside = ew.logical_and(ew.greater(x, 0.0), ew.greater(y, 0.0))
    result = x * ew.log(ew.where(inside, x, 1.0) / ew.where(inside, y, 1.0))
    zero = ew.logical_and(ew.equal(x, 0.0), ew.greater_equal(y, 0.0))
    outside = ew.where(zero, x.literal(0.0), x.literal(math.inf))
    is_nan = ew.logical_or(ew.isnan(x), ew.isnan(y))
    return ew.where(ew.logical_or(inside, is_nan), ew.where(is_nan, x + y, result), outside)


def _kl_div(x: Value, y: Value) -> Any:
    return _rel_entr(x, y) - x + y


def _logit(x: Value) -> Any:
    return ew.log(x / (1.0 - x))


def _ndtr(x: Value) -> Any:
    return ops.erfc(x * -ROOT_HALF) * 0.5


def _ndtri(p: Value) -> Any:
    return ops.erfinv(p * 2.0 - 1.0) * math.sqrt(2.0)


def _betaln(a: Value, b: Value) -> Any:
    return ops.gammaln(a) + ops.gammaln(b) - ops.gammaln(a + b)


def _beta(a: Value, b: Value) -> Any:
    """By the gamma functions where they do not overflow, so that signs are right."""
    direct = ops.gamma(a) * (ops.gamma(b) / ops.gamma(a + b))
    positive = ew.logical_and(ew.greater(a, 0.0), ew.greater(b, 0.0))
    return ew.where(positive, ew.exp(_betaln(a, b)), direct)


def i0(x: Value) -> Any:
    return ops.i0e(x) * ew.exp(ew.abs(x))


def _i1(x: Value) -> Any:
    return ops.i1e(x) * ew.exp(ew.abs(x))


LEFT_TERMS = 10


def hurwitz_zeta(s: Value, q: Value) -> Any:
    """Left of 0 the first terms are added one by one: the formula is for numbers that are right."""
    is_left = ew.less(q, 0.0)
    first = ew.where(is_left, q, q.literal(1.0))
    total = ops.zeta(s, ew.where(is_left, q + float(LEFT_TERMS), q))
    left = total
    for k in range(LEFT_TERMS):
        left = left + ew.power(first + float(k), -s)
    return ew.where(is_left, left, total)


def riemann_zeta(s: Value) -> Any:
    """Left of 1 by scipy, which reflects it."""
    is_left = ew.less(s, 1.0)
    left = UFUNCS["zetac"](ew.where(is_left, s, s.literal(0.0))) + 1.0
    return ew.where(is_left, left, ops.zeta(s, s.literal(1.0)))


def _gammasgn(x: Value) -> Any:
    """The sign of gamma(x); NaN at its poles."""
    whole = ew.floor(x)
    odd = ew.not_equal(ew.floor(whole * 0.5) * 2.0, whole)
    at_zero = ew.logical_and(ew.equal(x, 0.0), bits.signbit(x))
    negative = ew.logical_or(ew.logical_and(ew.less(x, 0.0), odd), at_zero)
    result = ew.where(negative, x.literal(-1.0), x.literal(1.0))
    pole = ew.logical_and(ew.less(x, 0.0), ew.equal(whole, x))
    return ew.where(ew.logical_or(pole, ew.isnan(x)), x.literal(math.nan), result)


def _loggamma(x: Value) -> Any:
    """Complex left of 0, so NaN there."""
    return ew.where(ew.less(x, 0.0), x.literal(math.nan), ops.gammaln(x))


def _boxcox(x: Value, power: Value) -> Any:
    """At the power 0 the first two terms of the series, for the derivative there."""
    zero = ew.equal(power, 0.0)
    safe = ew.where(zero, x.literal(1.0), power)
    log = ew.log(x)
    at_zero = ew.where(ew.isfinite(log), log + power * ew.square(log) * 0.5, log)
    return ew.where(zero, at_zero, ew.expm1(safe * log) / safe)


def _huber(delta: Value, r: Value) -> Any:
    size = ew.abs(r)
    inside = ew.square(r) * 0.5
    result = ew.where(ew.less_equal(size, delta), inside, delta * (size - delta * 0.5))
    return ew.where(ew.less(delta, 0.0), r.literal(math.inf), result)


def _of_scipy(name: str) -> Callable[..., Any]:
    """scipy's own machine code, which computes in f64."""

    def emit(*operands: Value) -> Any:
        wide = [cast_to(x, "f64") for x in operands]
        return cast_to(scipy_calls.call(name, *wide), operands[0].dtype)

    return emit


UFUNCS: dict[str, Callable[..., Any]] = {
    **{name: _of_scipy(name) for name in scipy_functions.ONE_RESULT},
    "erf": ew.erf,
    "erfc": ops.erfc,
    "erfcx": ops.erfcx,
    "erfinv": ops.erfinv,
    "expit": ew.sigmoid,
    "log_expit": lambda x: -ew.softplus(-x),
    "logit": _logit,
    "gamma": ops.gamma,
    "gammaln": ops.gammaln,
    "loggamma": _loggamma,
    "gammasgn": _gammasgn,
    "psi": ops.digamma,
    "digamma": ops.digamma,
    "beta": _beta,
    "betaln": _betaln,
    "xlogy": _xlogy,
    "xlog1py": _xlog1py,
    "entr": _entr,
    "rel_entr": _rel_entr,
    "kl_div": _kl_div,
    "ndtr": _ndtr,
    "ndtri": _ndtri,
    "log_ndtr": ops.log_ndtr,
    "i0": i0,
    "i0e": ops.i0e,
    "i1": _i1,
    "i1e": ops.i1e,
    "_zeta": hurwitz_zeta,
    "_riemann_zeta": riemann_zeta,
    "boxcox": _boxcox,
    "huber": _huber,
    "exp2": ew.exp2,
    "exp10": lambda x: ew.exp(x * math.log(10.0)),
    "expm1": ew.expm1,
    "log1p": ew.log1p,
    "cbrt": ew.cbrt,
}
"""Ufuncs of scipy.special: what they emit on floats."""
