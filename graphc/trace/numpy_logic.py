"""NumPy's questions about numbers, and small functions composed of others."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc import errors
from graphc.ir import COMPLEXES, INEXACT, INTS
from graphc.ops import bits as bit_ops
from graphc.trace import sizes
from graphc.trace.numpy_reductions import all
from graphc.trace.promotion import cast_to
from graphc.trace.scope import user_loc
from graphc.trace.tracer import Tracer, lift, wrap


def isposinf(x: Any) -> Any:
    return np.equal(x, np.inf)


def isneginf(x: Any) -> Any:
    return np.equal(x, -np.inf)


def fix(x: Any) -> Any:
    return np.trunc(lift(x))


def sinc(x: Any) -> Any:
    """sin(pi x) / (pi x), and its limit 1 at 0, where the derivative is 0."""
    value = _float(x)
    is_zero = np.equal(value, 0)
    scaled = np.pi * np.where(is_zero, 1e-20, value)
    return np.where(is_zero, 1.0, np.sin(scaled) / scaled)


def _float(x: Any) -> Tracer:
    value = lift(x)
    return value if value.dtype_name in INEXACT else value.astype(np.float64)


def angle(z: Any, deg: bool = False) -> Any:
    """Of real numbers: 0, or pi left of 0."""
    value = _float(z)
    result = np.arctan2(value.imag, value.real)
    return result * (180 / np.pi) if deg else result


def real(val: Any) -> Any:
    return lift(val).real


def imag(val: Any) -> Any:
    return lift(val).imag


def real_if_close(a: Any, tol: Any = 100) -> Any:
    x = lift(a)
    if x.dtype_name in COMPLEXES:
        raise errors.DTypeError(
            "np.real_if_close of complex values has a dtype that depends on the data; use .real",
            user_loc(),
        )
    return x


def iscomplex(x: Any) -> Any:
    return np.not_equal(lift(x).imag, 0)


def isreal(x: Any) -> Any:
    return np.equal(lift(x).imag, 0)


def iscomplexobj(x: Any) -> bool:
    return bool(lift(x).dtype_name in COMPLEXES)


def isrealobj(x: Any) -> bool:
    return not iscomplexobj(x)


def array_equiv(a1: Any, a2: Any) -> Any:
    try:
        sizes.broadcast_shapes(np.shape(a1), np.shape(a2))
    except ValueError:
        return False
    return all(np.equal(a1, a2))


def unwrap(p: Any, discont: Any = None, axis: Any = -1, *, period: Any = 2 * np.pi) -> Any:
    """Jumps of more than half a period become the same without whole periods."""
    x: Any = lift(p)
    jumps = np.diff(x, axis=axis)  # small integers wrap around, as in NumPy
    x = x.astype(np.result_type(x.dtype, period))
    half = period / 2 if x.dtype_name in INEXACT else period // 2
    inside = np.remainder(jumps + half, period) - half
    if 2 * half == period:  # both ends of the interval are half a period away
        inside = np.where(np.logical_and(inside == -half, jumps > 0), half, inside)
    correction = inside - jumps
    limit = period / 2 if discont is None else np.maximum(discont, period / 2)
    correction = np.where(np.absolute(jumps) < limit, 0, correction)
    along = axis % x.ndim
    first = np.zeros((*x.shape[:along], 1, *x.shape[along + 1 :]), x.dtype)
    return x + np.concatenate([first, np.cumsum(correction, along)], along)


def divmod_of(x: Any, y: Any) -> tuple[Any, Any]:
    return np.floor_divide(x, y), np.remainder(x, y)


def modf(x: Any) -> tuple[Any, Any]:
    """The part behind the point and the part before it, each with the sign of x."""
    value = _float(x)
    whole = np.trunc(value)
    rest = np.where(np.isinf(value), 0.0, value - whole)
    return np.copysign(rest, value), whole


def frexp(x: Any) -> tuple[Any, Any]:
    """x = mantissa * 2**exponent, with a mantissa from 0.5 to 1."""
    value = _float(x).value()
    number: Any = wrap(value)
    exponent = wrap(bit_ops.frexp_exponent(value))
    finite = np.logical_and(np.isfinite(number), number != 0)
    halved = wrap(bit_ops.ldexp(value, cast_to(-exponent.value(), value.dtype)))
    return np.where(finite, halved, number), exponent.astype(np.int32)


def bitwise_count(x: Any) -> Any:
    """The ones among the bits of |x|: counted in pairs of bits, in fours, in eights, and added."""
    given: Any = lift(x)
    if given.dtype_name not in INTS:
        raise errors.DTypeError(f"bitwise_count: integers, not {given.type}", user_loc())
    bits = np.absolute(given.astype(np.int64)) if given.dtype_name != "u64" else given
    bits = bits.astype(np.uint64)
    bits = bits - ((bits >> 1) & 0x5555555555555555)
    bits = (bits & 0x3333333333333333) + ((bits >> 2) & 0x3333333333333333)
    bits = (bits + (bits >> 4)) & 0x0F0F0F0F0F0F0F0F
    return ((bits * 0x0101010101010101) >> 56).astype(np.uint8)
