"""Functions of scipy.special that are no ufuncs, on traced arrays.

They are recognised by name, so that scipy need not be imported.  What is composed of ufuncs here
follows the definitions in scipy's documentation.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.build import Value
from graphc.ir import FLOATS, NUMPY_DTYPES
from graphc.ops import elementwise as ew
from graphc.ops import special as ops
from graphc.trace import numpy_reductions as reductions
from graphc.trace import numpy_shapes as shapes
from graphc.trace.promotion import promoted_dtype
from graphc.trace.special import hurwitz_zeta, i0, riemann_zeta
from graphc.trace.special_counting import COUNTING, floats
from graphc.trace.special_lambert import lambertw
from graphc.trace.special_orders import ORDERS, known_order
from graphc.trace.tracer import Tracer, lift, wrap


def logsumexp(
    a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False
) -> Any:
    """log(sum(b exp(a))); the largest element is taken out of the sum, where it is finite."""
    x = floats(a)
    if b is not None:
        x, factors = np.broadcast_arrays(x, floats(b))
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
    values = floats(x)
    terms = np.exp(values - reductions.max(values, axis, True))
    return terms / reductions.sum(terms, axis, None, True)


def log_softmax(x: Any, axis: Any = None) -> Any:
    values = floats(x)
    shifted = values - reductions.max(values, axis, True)
    return shifted - np.log(reductions.sum(np.exp(shifted), axis, None, True))


def polygamma(n: Any, x: Any) -> Any:
    """(-1)**(n+1) n! zeta(n+1, x); of order 0 the digamma function."""
    given = lift(x)
    value = given.astype(np.float64).value()
    if not np.ndim(n) and (not isinstance(n, Tracer) or n.argument is not None):
        return _polygamma_of_order(known_order("polygamma", n), value)
    order: Any
    place: Any
    order, place = shapes.broadcast_arrays(lift(n).astype(np.float64), wrap(value))
    sign = np.where(np.remainder(order, 2) == 0, -1.0, 1.0)
    scaled = sign * wrap(ops.gamma((order + 1.0).value())) * zeta(order + 1.0, place)
    return np.where(order == 0, wrap(ops.digamma(place.value())), scaled)


def _polygamma_of_order(order: int, x: Value) -> Any:
    """Left of 0 by reflection (DLMF 5.15.6), where the series would lose its digits."""
    if order == 0:
        return wrap(ops.digamma(x))
    is_left = ew.less(x, 0.0)
    scale = float((-1) ** (order + 1) * math.factorial(order))
    right = ops.zeta(x.literal(order + 1.0), ew.where(is_left, 1.0 - x, x)) * scale
    angle = ew.where(is_left, (x - ew.round(x)) * math.pi, x.literal(1.0))
    left = right * (-1.0) ** order - _cotangent_slope(order, angle) * math.pi ** (order + 1)
    pole = ew.logical_and(is_left, ew.equal(x, ew.round(x)))
    left = ew.where(pole, x.literal(-math.inf if order % 2 == 0 else math.inf), left)
    return wrap(ew.where(is_left, left, right))


def _cotangent_slope(order: int, angle: Value) -> Value:
    """The derivative of this order, a polynomial in the cotangent c: c' = -(1 + c**2)."""
    polynomial = np.polynomial.Polynomial([0.0, 1.0])
    for _ in range(order):
        polynomial = polynomial.deriv() * np.polynomial.Polynomial([-1.0, 0.0, -1.0])
    cotangent = ew.cos(angle) / ew.sin(angle)
    result: Value = cotangent.literal(0.0)
    for coefficient in reversed(polynomial.coef):
        result = result * cotangent + float(coefficient)
    return result


def zeta(x: Any, q: Any = None) -> Any:
    if q is None:
        return wrap(riemann_zeta(floats(x).value()))
    parts = [lift(x), lift(q)]
    promoted = promoted_dtype(parts)
    dtype = NUMPY_DTYPES[promoted if promoted in FLOATS else "f64"]
    s, start = shapes.broadcast_arrays(*(part.astype(dtype) for part in parts))
    return wrap(hurwitz_zeta(s.value(), start.value()))


def multigammaln(a: Any, d: Any) -> Any:
    count = operator.index(d)
    result: Any = count * (count - 1) * 0.25 * math.log(math.pi)
    for j in range(count):
        result = result + wrap(ops.gammaln((floats(a) - j * 0.5).value()))
    return result


def np_i0(x: Any) -> Any:
    return wrap(i0(floats(x).value()))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **COUNTING,
    **ORDERS,
    "lambertw": lambertw,
    "logsumexp": logsumexp,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "polygamma": polygamma,
    "zeta": zeta,
    "multigammaln": multigammaln,
}
"""Functions of scipy.special that are no ufuncs."""
