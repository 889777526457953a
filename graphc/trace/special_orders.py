"""Functions of scipy.special of an order that is known while tracing: derivatives, spherical ones.

They are composed of scipy's ufuncs, which come back to the tracer, by the formulas of DLMF 10.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import errors
from graphc.ir import COMPLEXES
from graphc.ops.scipy_calls import scipy_special
from graphc.trace.scope import user_loc
from graphc.trace.tracer import lift, strong

Function = Callable[..., Any]


def known_integer(name: str, n: Any) -> int:
    """A number as Python's int: an int that is an argument fixes the graph.

    Raises `errors.UnsupportedFunctionError` for anything else.
    """
    try:
        return operator.index(n)
    except (TypeError, errors.ConcreteValueError):
        raise errors.UnsupportedFunctionError(
            f"scipy.special.{name} can be traced for an order that is one Python int; call it once"
            " for each",
            user_loc(),
        ) from None


def known_order(name: str, n: Any) -> int:
    """The same, 0 or more."""
    order = known_integer(name, n)
    if order < 0:
        raise errors.AttributeValueError(
            f"scipy.special.{name}: the order {order} is less than 0", user_loc()
        )
    return order


# ---- derivatives of Bessel functions -------------------------------------------------------------


def _derivative(name: str, bessel: str, sign: int, phase: int = -1) -> Function:
    """The n-th derivative by z (DLMF 10.6.7, 10.29.5)."""

    def function(v: Any, z: Any, n: Any = 1) -> Any:
        count = known_order(name, n)
        bessel_function = getattr(scipy_special(), bessel)
        total: Any = 0.0
        for i in range(count + 1):
            factor = phase**i * math.comb(count, i)
            total = total + factor * bessel_function(np.add(v, 2.0 * i - count), z)
        return sign**count * total / 2.0**count

    return function


# ---- spherical Bessel functions ------------------------------------------------------------------


def _floats(name: str, z: Any) -> Any:
    """What scipy computes in: f64, and f32 for one function."""
    x = lift(z)
    is_single = x.dtype_name == "f32" and name == "spherical_kn"
    return x if x.dtype_name in COMPLEXES or is_single else x.astype(np.float64)


def _of_half_order(bessel: str, at_zero: float) -> Function:
    """sqrt(pi / (2 z)) times the Bessel function of the order n + 1/2.

    at_zero  its limit at 0 where n is 0; that of other orders is 0
    """

    def function(n: Any, z: Any) -> Any:
        bessel_function = getattr(scipy_special(), bessel)
        is_complex = z.dtype_name in COMPLEXES
        zero = np.equal(z, 0)
        away: Any = np.where(zero, z.dtype.type(1), z)
        size = away if is_complex else np.absolute(away)
        value = np.sqrt(0.5 * np.pi / size) * bessel_function(np.add(n, 0.5), size)
        odd = np.remainder(n, 2) == 1
        if not is_complex:
            value = np.where(np.logical_and(odd, np.less(z, 0)), -value, value)
        value = np.where(zero, np.where(np.equal(n, 0), at_zero, 0.0), value)
        if is_complex:
            return _at_infinity(bessel, odd, z, value)
        if bessel == "iv":
            grown = np.where(np.logical_and(odd, np.less(z, 0)), -np.inf, np.inf)
            return np.where(np.isinf(z), grown, value)
        return np.where(np.isinf(z), 0.0, value)

    return function


def _complex_second_kind(bessel: str, order: int, z: Any) -> Any:
    """Of complex numbers: NaN at 0, as scipy has it."""
    zero = np.equal(z, 0)
    away: Any = np.where(zero, z.dtype.type(1), z)
    value = np.sqrt(0.5 * np.pi / away) * getattr(scipy_special(), bessel)(order + 0.5, away)
    return _at_infinity(bessel, order % 2 == 1, z, np.where(zero, np.nan, value))


def _at_infinity(bessel: str, odd: Any, z: Any, value: Any) -> Any:
    """scipy's limits for complex numbers of infinite real part."""
    real, on_axis = z.real, np.equal(z.imag, 0)
    if bessel in ("jv", "yv"):
        limit = np.where(on_axis, 0.0, complex(np.inf, np.inf))
    elif bessel == "kv":
        limit = np.where(on_axis, np.where(np.greater(real, 0), 0.0, -np.inf), np.nan)
    else:
        grown = np.where(np.logical_and(odd, np.less(real, 0)), -np.inf, np.inf)
        limit = np.where(on_axis, grown, np.nan)
    return np.where(np.isinf(real), limit, value)


def _second_kind(n: Any, z: Any) -> Any:
    """y_n by its recurrence, which does not lose digits upwards; of complex numbers by yv."""
    order = known_order("spherical_yn", n)
    if z.dtype_name in COMPLEXES:
        return _complex_second_kind("yv", order, z)
    x = np.absolute(z)
    odd = np.logical_and(np.less(z, 0), order % 2 == 0)
    below, value = np.sin(x) / x, -np.cos(x) / x
    for i in range(order):
        below, value = value, (2 * i + 1) / x * value - below
    value = np.where(np.isinf(x), 0.0, np.where(np.equal(x, 0), -np.inf, value))
    return np.where(odd, -value, value)


def _modified_second_kind(n: Any, z: Any) -> Any:
    """k_n by its recurrence, from pi / (2 z) exp(-z)."""
    order = known_order("spherical_kn", n)
    if z.dtype_name in COMPLEXES:
        return _complex_second_kind("kv", order, z)
    below = value = (0.5 * np.pi) * np.exp(-z) / z
    for i in range(order):
        below, value = value, (2 * i + 1) / z * value + (below if i else np.multiply(value, 1.0))
    return np.where(np.equal(z, -np.inf), -np.inf, value)


def _spherical(name: str, function: Function, above: float, below: float) -> Function:
    """A spherical function and its derivative (DLMF 10.51).

    above  the sign of the order above in the derivative of the order 0
    below  that of the order below in the derivative of others
    """

    def apply(n: Any, z: Any, derivative: bool = False) -> Any:
        x = _floats(name, z)
        if not derivative:
            return function(n, x)
        order = known_order(name, n)
        if not order:
            return above * function(1, x)
        zero = np.equal(x, 0)
        is_regular = name in ("spherical_jn", "spherical_in")
        away: Any = np.where(zero, x.dtype.type(1), x) if is_regular else x
        value = below * function(order - 1, away) - (order + 1) / away * function(order, away)
        return np.where(zero, 1 / 3 if order == 1 else 0.0, value) if is_regular else value

    return apply


# ---- others --------------------------------------------------------------------------------------


def diric(x: Any, n: Any) -> Any:
    """sin(n x / 2) / (n sin(x / 2)), its limit at multiples of 2 pi; NaN where n is no length."""
    value: Any = lift(x)
    count: Any = strong(n)
    promoted = np.result_type(value.stand_in(), count.dtype)
    dtype = promoted if promoted.kind == "f" else np.dtype(np.float64)
    half: Any = value.astype(dtype) / 2
    below = np.sin(half)
    is_limit = np.absolute(below) < (1e-7 if dtype == np.float64 else 1e-3)
    turns = np.round(half / np.pi) * (count - 1)
    limit = np.where(np.remainder(turns, 2) == 0, 1.0, -1.0)
    ratio = np.sin(count * half) / (count * np.where(is_limit, 1.0, below))
    is_length = np.logical_and(count > 0, np.equal(count, np.floor(count)))
    return np.where(is_length, np.where(is_limit, limit, ratio), np.nan).astype(dtype)


def softplus(x: Any, **kwargs: Any) -> Any:
    """log(1 + exp(x))"""
    return np.logaddexp(0, x, **kwargs)


ORDERS: dict[str, Function] = {
    "jvp": _derivative("jvp", "jv", 1),
    "yvp": _derivative("yvp", "yv", 1),
    "ivp": _derivative("ivp", "iv", 1, 1),
    "kvp": _derivative("kvp", "kv", -1, 1),
    "h1vp": _derivative("h1vp", "hankel1", 1),
    "h2vp": _derivative("h2vp", "hankel2", 1),
    "spherical_jn": _spherical("spherical_jn", _of_half_order("jv", 1.0), -1.0, 1.0),
    "spherical_in": _spherical("spherical_in", _of_half_order("iv", 1.0), 1.0, 1.0),
    "spherical_yn": _spherical("spherical_yn", _second_kind, -1.0, 1.0),
    "spherical_kn": _spherical("spherical_kn", _modified_second_kind, -1.0, -1.0),
    "diric": diric,
    "softplus": softplus,
}
"""Functions of scipy.special, by name."""
