"""Ufuncs that are no single operation, or not the same one on every dtype: their formulas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc import errors
from graphc.build import Value
from graphc.ir import FLOATS, INTS, Lit
from graphc.ops import bits as bit_ops
from graphc.ops import elementwise as ew
from graphc.ops import index as index_ops
from graphc.trace.promotion import cast_to
from graphc.trace.scope import user_loc

Emit = Callable[..., Any]
"""What a ufunc emits on operands of one shape and dtype."""


def add(x: Value, y: Value) -> Any:
    return ew.logical_or(x, y) if x.dtype == "bool" else ew.add(x, y)


def multiply(x: Value, y: Value) -> Any:
    return ew.logical_and(x, y) if x.dtype == "bool" else ew.multiply(x, y)


def power(x: Value, y: Value) -> Any:
    if x.dtype in INTS:
        _check_exponent(y)
    return ew.power(x, y)


def _check_exponent(y: Value) -> None:
    """NumPy refuses negative integer powers of integers."""
    message = "Integers to negative integer powers are not allowed."
    if isinstance(y.atom, Lit):
        if y.atom.value < 0:
            raise errors.CheckFailedError(message, user_loc())
        return
    index_ops.check(ew.greater_equal(y, 0), cast_to(y, "i64"), error="ValueError", message=message)


def logaddexp(x: Value, y: Value) -> Any:
    """The larger one + log1p(exp(smaller - larger))."""
    big, gap = _larger_and_gap(x, y)
    return big + ew.log1p(ew.exp(gap))


def _larger_and_gap(x: Value, y: Value) -> tuple[Value, Value]:
    """The larger one, and what it has to be changed by to give the smaller one.

    Chosen, not computed by `maximum`: each side is smooth, and so are second derivatives where
    both are equal.  Equal infinities have no gap.
    """
    first = ew.logical_or(ew.greater_equal(x, y), ew.isnan(x))
    big, small = ew.where(first, x, y), ew.where(first, y, x)
    is_infinite = ew.logical_and(ew.equal(x, y), ew.isinf(x))
    return big, ew.where(is_infinite, x.literal(0.0), small - big)


def invert(x: Value) -> Any:
    return ew.logical_not(x) if x.dtype == "bool" else ew.bitwise_not(x)


def fmax(x: Value, y: Value) -> Any:
    if x.dtype not in FLOATS:
        return ew.maximum(x, y)
    return ew.where(ew.isnan(x), y, ew.where(ew.isnan(y), x, ew.maximum(x, y)))


def fmin(x: Value, y: Value) -> Any:
    if x.dtype not in FLOATS:
        return ew.minimum(x, y)
    return ew.where(ew.isnan(x), y, ew.where(ew.isnan(y), x, ew.minimum(x, y)))


def identity(x: Value) -> Any:
    return x


def scaled(factor: float) -> Emit:
    return lambda x: x * factor


def of_floats(op: Emit, otherwise: bool) -> Emit:
    """isnan and its like: a constant for integers and booleans."""

    def emit(x: Value) -> Any:
        if x.dtype in FLOATS:
            return op(x)
        return x.builder.literal(otherwise, x.type.with_dtype("bool"))

    return emit


def unless_bool(op: Emit) -> Emit:
    """NumPy leaves booleans as they are where rounding or a sign would be taken."""
    return lambda x: x if x.dtype == "bool" else op(x)


def reciprocal(x: Value) -> Any:
    if x.dtype not in FLOATS:
        raise errors.DTypeError(
            "np.reciprocal of integers is 0 almost everywhere and cannot be traced; use 1.0 / x",
            user_loc(),
        )
    return ew.reciprocal(x)


def fmod(x: Value, y: Value) -> Any:
    """The remainder with the sign of x, which a remainder of zero has, too."""
    if x.dtype in INTS:
        floored = ew.mod(x, y)
        other_sign = ew.logical_xor(ew.less(x, 0), ew.less(y, 0))
        return ew.where(ew.logical_and(other_sign, ew.not_equal(floored, 0)), floored - y, floored)
    size = ew.mod(ew.abs(x), ew.abs(y))
    signed = ew.where(ew.less(x, 0.0), -size, size)
    return ew.where(ew.logical_and(ew.equal(x, 0.0), ew.equal(size, 0.0)), x, signed)


def heaviside(x: Value, y: Value) -> Any:
    """0 left of 0, 1 right of it, y at it."""
    side = ew.where(ew.less(x, 0.0), x.literal(0.0), x.literal(1.0))
    return ew.where(ew.equal(x, 0.0), y, ew.where(ew.isnan(x), x, side))


def logaddexp2(x: Value, y: Value) -> Any:
    """In logarithms to the base 2."""
    big, gap = _larger_and_gap(x, y)
    return big + ew.log1p(ew.exp2(gap)) * (1.0 / ew.LN_2)


def spacing(x: Value) -> Any:
    """The distance to the next number away from zero, with the sign of x."""
    size = ew.abs(x)
    step = bit_ops.nextafter(size, x.literal(float("inf"))) - size
    step = ew.where(ew.isfinite(x), step, x.literal(float("nan")))
    return bit_ops.copysign(step, ew.where(ew.equal(x, 0.0), size, x))


def lcm(x: Value, y: Value) -> Any:
    """|x| / gcd * |y|, and 0 beside 0."""
    divisor = bit_ops.gcd(x, y)
    safe = ew.where(ew.equal(divisor, 0), x.literal(1), divisor)
    return ew.abs(ew.floor_divide(x, safe) * y)


def ldexp(x: Value, n: Value) -> Any:
    return bit_ops.ldexp(x, n)
