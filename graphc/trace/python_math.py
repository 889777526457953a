"""Functions of `math` and `cmath` on traced numbers.

They compute in f64 (complex128), and give Python numbers.  Where Python raises ValueError or
OverflowError, they give NumPy's NaN or infinity.
"""

from __future__ import annotations

import cmath
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import errors
from graphc.ir import INTS
from graphc.ops import elementwise as ew
from graphc.trace import numpy_logic, numpy_making, special
from graphc.trace.promotion import cast_to
from graphc.trace.scope import user_loc
from graphc.trace.tracer import Tracer, lift, wrap
from graphc.trace.ufuncs import emit_ufunc


def _numbers(name: str, args: tuple[Any, ...]) -> list[Tracer]:
    """The arguments in f64, each of which is one number."""
    operands = [lift(x) for x in args]
    for x in operands:
        if x.ndim:
            raise errors.ConcreteValueError(
                f"math functions take single numbers, not {x.type}; use np.{name}", user_loc()
            )
    return [wrap(cast_to(x.value(), "f64")) for x in operands]


def _as_number(result: Any) -> Any:
    result.weak = result.dtype_name != "bool"
    return result


def _of_number(ufunc: Any) -> Callable[..., Any]:
    """A function of `math` that is a ufunc of NumPy."""
    return lambda *args: _as_number(emit_ufunc(ufunc, _numbers(ufunc.__name__, args)))


def _of_special(name: str) -> Callable[..., Any]:
    """A function of `math` that is one of scipy.special's, under the given name there."""

    def apply(x: Any) -> Any:
        (number,) = _numbers(name, (x,))
        return _as_number(wrap(special.UFUNCS[name](number.value())))

    return apply


def _integer(ufunc: Any) -> Callable[..., Any]:
    """A function of `math` that gives an integer; an integer is given back with all its digits."""

    def apply(x: Any) -> Any:
        number = lift(x)
        is_whole = not number.ndim and number.dtype_name in INTS | {"bool"}
        result = number if is_whole else _of_number(ufunc)(number)
        return wrap(cast_to(result.value(), "i64"), weak=True)

    return apply


def _log(x: Any, base: Any = None) -> Any:
    result = _of_number(np.log)(x)
    return result if base is None else result / _of_number(np.log)(base)


def _modf(x: Any) -> tuple[Any, Any]:
    rest, whole = numpy_logic.modf(*_numbers("modf", (x,)))
    return _as_number(rest), _as_number(whole)


def _frexp(x: Any) -> tuple[Any, Any]:
    mantissa, exponent = numpy_logic.frexp(*_numbers("frexp", (x,)))
    return _as_number(mantissa), _as_number(exponent.astype(np.int64))


def _ldexp(x: Any, exponent: Any) -> Any:
    (number,) = _numbers("ldexp", (x,))
    return _as_number(emit_ufunc(np.ldexp, [number, lift(exponent)]))


def _hypot(*coordinates: Any) -> Any:
    """The length of a vector, whose square may be too large or too small for a float."""
    if len(coordinates) < 2:
        return _of_number(np.absolute)(*coordinates or (0.0,))
    return functools.reduce(_of_number(np.hypot), coordinates)


def _dist(p: Any, q: Any) -> Any:
    """The distance of two points, each a sequence of numbers."""
    if len(p) != len(q):
        raise ValueError("both points must have the same number of dimensions")
    return _hypot(*map(_of_number(np.subtract), p, q))


# ---- complex numbers -----------------------------------------------------------------------------


def _of_complex_number(entry: Callable[..., Any]) -> Callable[..., Any]:
    """A function of `cmath`."""
    return lambda *args: _as_number(entry(*map(numpy_making.complex_number, args)))


def _complex_log(z: Any, *base: Any) -> Any:
    return np.log(z) / np.log(base[0]) if base else np.log(z)


def _phase(z: Any) -> Any:
    result: Any = np.angle(numpy_making.complex_number(z))
    result.weak = True
    return result


def _rect(r: Any, phi: Any) -> Any:
    return np.multiply(r, _of_complex_number(np.exp)(np.multiply(1j, phi)))


# ---- the tables ----------------------------------------------------------------------------------

_MATH = {
    "acos": np.arccos,
    "acosh": np.arccosh,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atan2": np.arctan2,
    "atanh": np.arctanh,
    "copysign": np.copysign,
    "fabs": np.absolute,
    "pow": np.power,
    **{
        name: getattr(np, name)
        for name in "cbrt cos cosh degrees exp exp2 expm1 fmod isfinite isinf isnan"
        " log10 log1p log2 radians sin sinh sqrt tan tanh".split()
        if hasattr(math, name)
    },
}

_CMATH = {
    **{
        getattr(cmath, name): getattr(np, name)
        for name in "exp log10 sqrt cos cosh sin sinh tan tanh isfinite isinf isnan".split()
    },
    **{
        getattr(cmath, name): getattr(np, name.replace("a", "arc", 1))
        for name in "acos acosh asin asinh atan atanh".split()
    },
    cmath.log: _complex_log,
}

FUNCTIONS: dict[Any, Callable[..., Any]] = {
    **{getattr(math, name): _of_number(ufunc) for name, ufunc in _MATH.items()},
    **{getattr(math, name): _integer(getattr(np, name)) for name in ("floor", "ceil", "trunc")},
    math.dist: _dist,
    math.erf: lambda x: _as_number(wrap(ew.erf(_numbers("erf", (x,))[0].value()))),
    math.erfc: _of_special("erfc"),
    math.frexp: _frexp,
    math.hypot: _hypot,
    math.gamma: _of_special("gamma"),
    math.ldexp: _ldexp,
    math.lgamma: _of_special("gammaln"),
    math.log: _log,
    math.modf: _modf,
    **{function: _of_complex_number(entry) for function, entry in _CMATH.items()},
    cmath.phase: _phase,
    cmath.polar: lambda z: (abs(numpy_making.complex_number(z)), _phase(z)),
    cmath.rect: _rect,
}
"""A function -> what it is on traced numbers."""
