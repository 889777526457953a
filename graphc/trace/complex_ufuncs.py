"""NumPy's ufuncs on complex values, in terms of their real and imaginary parts.

The formulas keep NumPy's branch cuts, whose sides the sign of a zero tells apart, and its values at
infinities.  They are written so that what is not chosen by a condition has no part in a gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc import errors
from graphc.ops import elementwise as ew
from graphc.trace import complex_powers as powers
from graphc.trace import complex_trigonometry as trigonometry
from graphc.trace.complex_parts import (
    joined,
    parts_of,
    turned,
    turned_back,
)
from graphc.trace.scope import user_loc
from graphc.trace.tracer import Tracer, wrap

# ---- questions -----------------------------------------------------------------------------------


def _of_parts(question: Any, combine: Any) -> Callable[[Any], Any]:
    def ask(z: Any) -> Any:
        return combine(*map(question, parts_of(z)))

    return ask


def truth(z: Any) -> Any:
    """Whether a number is not zero."""
    x, y = parts_of(z)
    return np.logical_or(x != 0, y != 0)


def _logical(ufunc: Any) -> Callable[..., Any]:
    return lambda *operands: ufunc(*map(truth, operands))


def _ordered(strictly: Any, finally_: Any) -> Callable[[Any, Any], Any]:
    """Comparison by the real parts, and by the imaginary ones where these are equal."""

    def compare(z: Any, w: Any) -> Any:
        (x, y), (u, v) = parts_of(z), parts_of(w)
        numbers = np.logical_not(np.logical_or(np.isnan(y), np.isnan(v)))
        first = np.logical_and(strictly(x, u), numbers)
        return np.logical_or(first, np.logical_and(x == u, finally_(y, v)))

    return compare


def _better(compare: Any) -> Callable[[Any, Any], Any]:
    def choose(z: Any, w: Any) -> Any:
        return np.where(np.logical_or(compare(z, w), np.isnan(z)), z, w)

    return choose


_less, _less_equal = _ordered(np.less, np.less), _ordered(np.less, np.less_equal)
_greater, _greater_equal = _ordered(np.greater, np.greater), _ordered(np.greater, np.greater_equal)


def _op(op: Any) -> Callable[..., Any]:
    return lambda *operands: wrap(op(*(x.value() for x in operands)))


def _each(function: Any) -> Callable[[Any], Any]:
    return lambda z: joined(*map(function, parts_of(z)))


COMPLEX_UFUNCS: dict[Any, Callable[..., Any]] = {
    np.add: _op(ew.add),
    np.subtract: _op(ew.subtract),
    np.multiply: _op(ew.multiply),
    np.true_divide: _op(ew.divide),
    np.negative: _op(ew.negative),
    np.positive: lambda z: z,
    np.conjugate: lambda z: joined(parts_of(z)[0], -parts_of(z)[1]),
    np.absolute: lambda z: np.hypot(*parts_of(z)),
    np.square: lambda z: np.multiply(z, z),
    np.reciprocal: powers.reciprocal,
    np.power: powers.power,
    np.float_power: powers.power,
    np.sqrt: powers.sqrt,
    np.sign: powers.sign,
    np.exp: powers.exp,
    np.exp2: powers.exp2,
    np.expm1: powers.expm1,
    np.log: powers.log,
    np.log2: powers.log_to(2.0),
    np.log10: powers.log_to(10.0),
    np.log1p: powers.log1p,
    np.sin: lambda z: turned_back(trigonometry.sinh(turned(z))),
    np.cos: lambda z: trigonometry.cosh(turned(z)),
    np.tan: lambda z: turned_back(trigonometry.tanh(turned(z))),
    np.sinh: trigonometry.sinh,
    np.cosh: trigonometry.cosh,
    np.tanh: trigonometry.tanh,
    np.arcsin: trigonometry.arcsin,
    np.arccos: trigonometry.arccos,
    np.arctan: lambda z: turned_back(trigonometry.arctanh(turned(z))),
    np.arcsinh: lambda z: turned_back(trigonometry.arcsin(turned(z))),
    np.arccosh: trigonometry.arccosh,
    np.arctanh: trigonometry.arctanh,
    np.rint: _each(np.rint),
    np.equal: _op(ew.equal),
    np.not_equal: _op(ew.not_equal),
    np.less: _less,
    np.less_equal: _less_equal,
    np.greater: _greater,
    np.greater_equal: _greater_equal,
    np.maximum: _better(_greater_equal),
    np.minimum: _better(_less_equal),
    np.isnan: _of_parts(np.isnan, np.logical_or),
    np.isinf: _of_parts(np.isinf, np.logical_or),
    np.isfinite: _of_parts(np.isfinite, np.logical_and),
    np.logical_and: _logical(np.logical_and),
    np.logical_or: _logical(np.logical_or),
    np.logical_xor: _logical(np.logical_xor),
    np.logical_not: _logical(np.logical_not),
}
"""NumPy ufunc -> what it is of complex values of one type."""


def complex_entry(ufunc: Any, operands: Sequence[Tracer]) -> Callable[..., Any]:
    """What computes a ufunc of operands one of which is complex.

    Raises `errors.DTypeError` for a ufunc that has no complex meaning here.
    """
    if ufunc in (np.power, np.float_power):
        exponent = powers.known_integer(operands[1])
        if exponent is not None:
            return lambda z, w: powers.integer_power(z, exponent)
    if ufunc not in COMPLEX_UFUNCS:
        raise errors.DTypeError(
            f"np.{ufunc.__name__} cannot be traced on complex values; use it on .real, .imag or"
            " np.abs",
            user_loc(),
        )
    return COMPLEX_UFUNCS[ufunc]
