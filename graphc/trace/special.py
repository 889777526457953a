"""scipy.special on traced arrays: its ufuncs by name, and its functions.

By name, so that scipy need not be imported to recognise them.  What is composed of others here
follows the definitions in scipy's documentation.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import errors
from graphc.build import Value
from graphc.ir import FLOATS, NUMPY_DTYPES
from graphc.ops import bits, scipy_functions
from graphc.ops import elementwise as ew
from graphc.ops import special as ops
from graphc.trace import numpy_reductions as reductions
from graphc.trace import numpy_shapes as shapes
from graphc.trace.promotion import cast_to, promoted_dtype
from graphc.trace.scope import user_loc
from graphc.trace.tracer import lift, wrap

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


def _i0(x: Value) -> Any:
    return ops.i0e(x) * ew.exp(ew.abs(x))


def _i1(x: Value) -> Any:
    return ops.i1e(x) * ew.exp(ew.abs(x))


def _riemann_zeta(s: Value) -> Any:
    return ops.zeta(s, s.literal(1.0))


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
        return cast_to(scipy_functions.call(name, *wide), operands[0].dtype)

    return emit


UFUNCS: dict[str, Callable[..., Any]] = {
    **{name: _of_scipy(name) for name in scipy_functions.DERIVATIVES},
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
    "i0": _i0,
    "i0e": ops.i0e,
    "i1": _i1,
    "i1e": ops.i1e,
    "_zeta": ops.zeta,
    "_riemann_zeta": _riemann_zeta,
    "boxcox": _boxcox,
    "huber": _huber,
    "exp10": lambda x: ew.exp(x * math.log(10.0)),
    "expm1": ew.expm1,
    "log1p": ew.log1p,
    "cbrt": ew.cbrt,
}
"""Ufuncs of scipy.special: what they emit on floats."""


# ---- functions -----------------------------------------------------------------------------------


def logsumexp(
    a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False
) -> Any:
    """log(sum(b exp(a))); the largest element is taken out of the sum, where it is finite."""
    x = _floats(a)
    if b is not None:
        x, factors = np.broadcast_arrays(x, _floats(b))
        x = np.where(factors == 0, -np.inf, x)
    largest = reductions.max(x, axis, True)
    shift = np.where(np.isfinite(largest), largest, 0)
    terms = np.exp(x - shift)
    total = reductions.sum(terms if b is None else factors * terms, axis, None, True)
    sign = np.sign(total)
    result = np.log(np.absolute(total) if return_sign else total) + shift
    if not keepdims:
        axes = reductions.normalise_axes(axis, x.ndim)
        result, sign = np.squeeze(result, axes), np.squeeze(sign, axes)
    return (result, sign) if return_sign else result


def softmax(x: Any, axis: Any = None) -> Any:
    values = _floats(x)
    terms = np.exp(values - reductions.max(values, axis, True))
    return terms / reductions.sum(terms, axis, None, True)


def log_softmax(x: Any, axis: Any = None) -> Any:
    values = _floats(x)
    shifted = values - reductions.max(values, axis, True)
    return shifted - np.log(reductions.sum(np.exp(shifted), axis, None, True))


def polygamma(n: Any, x: Any) -> Any:
    """(-1)**(n+1) n! zeta(n+1, x), for a number n that is known while tracing."""
    order = operator.index(n)
    if order < 0:
        raise errors.AttributeValueError("polygamma: n is 0 or more", user_loc())
    value = lift(x).astype(np.float64).value()
    if order == 0:
        return wrap(ops.digamma(value))
    scale = float((-1) ** (order + 1) * math.factorial(order))
    return wrap(ops.zeta(value.literal(order + 1.0), value) * scale)


def zeta(x: Any, q: Any = None) -> Any:
    if q is None:
        return wrap(_riemann_zeta(_floats(x).value()))
    parts = [lift(x), lift(q)]
    promoted = promoted_dtype(parts)
    dtype = NUMPY_DTYPES[promoted if promoted in FLOATS else "f64"]
    s, start = shapes.broadcast_arrays(*(part.astype(dtype) for part in parts))
    return wrap(ops.zeta(s.value(), start.value()))


def multigammaln(a: Any, d: Any) -> Any:
    count = operator.index(d)
    result: Any = count * (count - 1) * 0.25 * math.log(math.pi)
    for j in range(count):
        result = result + wrap(ops.gammaln((_floats(a) - j * 0.5).value()))
    return result


def comb(N: Any, k: Any, *, exact: bool = False, repetition: bool = False) -> Any:  # noqa: N803
    """How many ways there are to choose k of N things; none for less than 0 or more than N."""
    _expect_inexact("comb", exact)
    total, chosen = _floats(N), _floats(k)
    if repetition:
        total = total + chosen - 1.0
    inside = np.logical_and(chosen <= total, np.logical_and(total >= 0, chosen >= 0))
    a, b = shapes.broadcast_arrays(total, chosen)
    ways = wrap(UFUNCS["binom"](a.value(), b.value()))
    return np.where(inside, ways, 0.0)


def perm(N: Any, k: Any, exact: bool = False) -> Any:  # noqa: N803 - scipy's name
    """In how many orders k of N things may come."""
    _expect_inexact("perm", exact)
    total, chosen = _floats(N), _floats(k)
    inside = np.logical_and(chosen <= total, np.logical_and(total >= 0, chosen >= 0))
    a, b = shapes.broadcast_arrays(total - chosen + 1.0, chosen)
    return np.where(inside, wrap(UFUNCS["poch"](a.value(), b.value())), 0.0)


def factorial(n: Any, exact: bool = False, extend: str = "zero") -> Any:
    _expect_inexact("factorial", exact)
    if extend != "zero":
        raise errors.UnsupportedFunctionError(
            "factorial can be traced with extend='zero'; use scipy.special.gamma", user_loc()
        )
    x = _floats(n)
    return np.where(x < 0, 0.0, wrap(ops.gamma((x + 1.0).value())))


def _expect_inexact(name: str, exact: bool) -> None:
    if exact:
        raise errors.UnsupportedFunctionError(
            f"{name} can be traced with exact=False: Python's integers have any length", user_loc()
        )


def np_i0(x: Any) -> Any:
    return wrap(_i0(_floats(x).value()))


def _floats(a: Any) -> Any:
    x = lift(a)
    return x if x.dtype_name in FLOATS else x.astype(np.float64)


def _spherical(bessel: str, at_zero: float, below: float) -> Callable[..., Any]:
    """sqrt(pi / (2 z)) times the function of the order n + 1/2, for n known while tracing.

    at_zero  its limit at 0 where n is 0; that of other orders is 0
    below    the sign of the order above in the derivative where n is 0 (DLMF 10.51)
    """

    def function(n: Any, z: Any, derivative: bool = False) -> Any:
        order = operator.index(n)
        x = _floats(z)
        if derivative and not order:
            return np.multiply(function(1, x), below)
        if derivative:
            return function(order - 1, x) - (order + 1) / x * function(order, x)
        zero = np.equal(x, 0)
        away: Any = np.where(zero, 1.0, x)
        root = np.sqrt(0.5 * np.pi / np.absolute(away))
        parity = np.where(np.less(x, 0), (-1.0) ** order, 1.0)
        value = np.absolute(away).value()
        half = wrap(UFUNCS[bessel](value.literal(order + 0.5), value))
        limit = 0.0 if order else at_zero
        return np.where(zero, limit, root * half * parity)

    return function


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "comb": comb,
    "perm": perm,
    "factorial": factorial,
    "spherical_jn": _spherical("jv", 1.0, -1.0),
    "spherical_in": _spherical("iv", 1.0, 1.0),
    "logsumexp": logsumexp,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "polygamma": polygamma,
    "zeta": zeta,
    "multigammaln": multigammaln,
}
"""Functions of scipy.special that are no ufuncs."""


def function_of_scipy(function: Any) -> Callable[..., Any] | None:
    """What stands for a function of scipy.special, None for any other."""
    module = getattr(function, "__module__", None) or ""
    if not module.startswith("scipy.special"):
        return None
    return FUNCTIONS.get(getattr(function, "__name__", ""))
