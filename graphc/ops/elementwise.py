"""Operations that act on each element by itself.

Inputs and output have one shape: broadcasting and promotion have happened before, as equations of
their own.  `g` in a gradient rule is the cotangent of the output `out`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import errors
from graphc.build import Value
from graphc.dims import same_shape
from graphc.ir import COMPLEXES, DTYPES, FLOATS, INTS, NUMPY_DTYPES, Op, Type, register
from graphc.ops.single import in_single

BOOL = frozenset({"bool"})
NUMBERS = FLOATS | INTS
FIELD = NUMBERS | COMPLEXES
ANY = NUMBERS | BOOL
INTEGRAL = INTS | BOOL

Rule = Callable[..., tuple[Any, ...]]


def define(
    name: str,
    reference: Callable[..., Any],
    arity: int,
    dtypes: frozenset[str],
    vjp: Rule | None = None,
    result: str | None = None,
) -> Op:
    """An op whose operands share one type; its result has `result` as dtype, or theirs."""

    def infer(*types: Type) -> tuple[Type, ...]:
        expect_arity(name, arity, types)
        expect_same(name, types)
        expect_dtype(name, types[0], dtypes)
        return (types[0].with_dtype(result) if result else types[0],)

    return register(Op(name, infer, in_single(reference), vjp, elementwise=True))


def expect_arity(name: str, arity: int, types: tuple[Type, ...]) -> None:
    if len(types) != arity:
        raise errors.ArityError(f"{name} takes {arity} operand(s), not {len(types)}")


def expect_same(name: str, types: tuple[Type, ...]) -> None:
    first = types[0]
    for type in types:
        if type is first or type == first:
            continue
        if type.dtype != first.dtype or not same_shape(type.shape, first.shape):
            listed = ", ".join(map(str, types))
            raise errors.ShapeError(f"{name} needs operands of one type, not {listed}")


def expect_dtype(name: str, type: Type, dtypes: frozenset[str]) -> None:
    if type.dtype not in dtypes:
        allowed = ", ".join(sorted(dtypes))
        raise errors.DTypeError(f"{name} takes {allowed}, not {type.dtype}")


# ---- references that NumPy lacks or spells in several steps --------------------------------------


def _erf(x: np.ndarray) -> Any:
    return np.vectorize(math.erf, otypes=[np.float64])(x).astype(x.dtype)


def _sigmoid(x: np.ndarray) -> Any:
    """1 / (1 + exp(-x)) without overflow on either side."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small)).astype(x.dtype)


def _softplus(x: np.ndarray) -> Any:
    """log(1 + exp(x)) without overflow, and without losing exp(x) beside 1."""
    return (np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))).astype(x.dtype)


def _int_or_float_rounding(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: x if x.dtype.kind in "iu" else function(x)


def _cast(x: np.ndarray, dtype: str) -> np.ndarray:
    return np.asarray(x).astype(NUMPY_DTYPES[dtype])


def _int_power(x: np.ndarray, y: np.ndarray) -> Any:
    """NumPy's power; a negative integer exponent is refused by a check before this op."""
    return np.power(x, np.maximum(y, 0)) if x.dtype.kind in "iu" else np.power(x, y)


# ---- arithmetic ----------------------------------------------------------------------------------


def _power_vjp(g: Value, out: Value, x: Value, y: Value) -> tuple[Any, ...]:
    if g.dtype not in FLOATS:
        return (None, None)
    # x**(y-1) at y == 0 would be 1/x, infinite at 0: the derivative of x**0 is 0 everywhere.
    lowered = where(equal(y, 0.0), y.literal(1.0), y - 1.0)
    # The derivative in y of 0**y is 0 for y > 0: the logarithm of 0 must not enter.
    positive = where(equal(x, 0.0), x.literal(1.0), x)
    return (g * y * power(x, lowered), g * out * log(positive))


def _extremum_vjp(wins: Op) -> Rule:
    """The larger (smaller) operand gets the cotangent; at a tie each gets half of it."""

    def vjp(g: Value, out: Value, x: Value, y: Value) -> tuple[Any, ...]:
        if g.dtype not in FLOATS:
            return (None, None)
        tie = where(equal(x, y), g * 0.5, 0.0)
        return (where(wins(x, y), g, tie), where(wins(y, x), g, tie))

    return vjp


add = define("add", np.add, 2, FIELD, lambda g, out, x, y: (g, g))
subtract = define("subtract", np.subtract, 2, FIELD, lambda g, out, x, y: (g, -g))
multiply = define("multiply", np.multiply, 2, FIELD, lambda g, out, x, y: (g * y, g * x))
divide = define(
    "divide", np.divide, 2, FLOATS | COMPLEXES, lambda g, out, x, y: (g / y, -(g * out / y))
)
power = define("power", _int_power, 2, NUMBERS, _power_vjp)
floor_divide = define("floor_divide", np.floor_divide, 2, NUMBERS)
mod = define("mod", np.mod, 2, NUMBERS, lambda g, out, x, y: (g, -(g * floor_divide(x, y))))
negative = define("negative", np.negative, 1, FIELD, lambda g, out, x: (-g,))
abs = define("abs", np.abs, 1, NUMBERS, lambda g, out, x: (g * sign(x),))
sign: Op = define("sign", np.sign, 1, NUMBERS)
square = define("square", np.square, 1, NUMBERS, lambda g, out, x: (g * (x * 2.0),))
reciprocal = define("reciprocal", np.reciprocal, 1, FLOATS, lambda g, out, x: (-(g * square(out)),))
sqrt = define("sqrt", np.sqrt, 1, FLOATS, lambda g, out, x: (g / (out * 2.0),))
rsqrt = define(
    "rsqrt", lambda x: 1 / np.sqrt(x), 1, FLOATS, lambda g, out, x: (g * out / x * -0.5,)
)


def _hypot_vjp(g: Value, out: Value, x: Value, y: Value) -> tuple[Any, ...]:
    # At the origin, a kink, the slope is 0 in every direction, as that of `abs` is.
    safe = where(equal(out, 0.0), out.literal(1.0), out)
    return (g * (x / safe), g * (y / safe))


hypot = define("hypot", np.hypot, 2, FLOATS, _hypot_vjp)
cbrt = define("cbrt", np.cbrt, 1, FLOATS, lambda g, out, x: (g / (square(out) * 3.0),))

# ---- comparing and choosing ----------------------------------------------------------------------

less = define("less", np.less, 2, ANY, result="bool")
less_equal = define("less_equal", np.less_equal, 2, ANY, result="bool")
greater = define("greater", np.greater, 2, ANY, result="bool")
greater_equal = define("greater_equal", np.greater_equal, 2, ANY, result="bool")
equal = define("equal", np.equal, 2, ANY | COMPLEXES, result="bool")
not_equal = define("not_equal", np.not_equal, 2, ANY | COMPLEXES, result="bool")
maximum = define("maximum", np.maximum, 2, ANY, _extremum_vjp(greater))
minimum = define("minimum", np.minimum, 2, ANY, _extremum_vjp(less))


def _infer_where(condition: Type, x: Type, y: Type) -> tuple[Type, ...]:
    expect_same("where", (x, y))
    if condition != x.with_dtype("bool"):
        raise errors.ShapeError(f"where needs a condition bool{list(x.shape)}, not {condition}")
    return (x,)


def _where_vjp(g: Value, out: Value, condition: Value, x: Value, y: Value) -> tuple[Any, ...]:
    zero = g.literal(0.0)
    return (None, where(condition, g, zero), where(condition, zero, g))


where = register(Op("where", _infer_where, np.where, _where_vjp, elementwise=True))

# ---- exponentials and logarithms -----------------------------------------------------------------

LN_2 = math.log(2.0)
LN_10 = math.log(10.0)

exp = define("exp", np.exp, 1, FLOATS, lambda g, out, x: (g * out,))
exp2 = define("exp2", np.exp2, 1, FLOATS, lambda g, out, x: (g * out * LN_2,))
expm1 = define("expm1", np.expm1, 1, FLOATS, lambda g, out, x: (g * exp(x),))
log = define("log", np.log, 1, FLOATS, lambda g, out, x: (g / x,))
log1p = define("log1p", np.log1p, 1, FLOATS, lambda g, out, x: (g / (x + 1.0),))
log2 = define("log2", np.log2, 1, FLOATS, lambda g, out, x: (g / (x * LN_2),))
log10 = define("log10", np.log10, 1, FLOATS, lambda g, out, x: (g / (x * LN_10),))
erf = define(
    "erf", _erf, 1, FLOATS, lambda g, out, x: (g * exp(-square(x)) * (2.0 / math.sqrt(math.pi)),)
)
sigmoid: Op = define("sigmoid", _sigmoid, 1, FLOATS, lambda g, out, x: (g * out * sigmoid(-x),))
softplus = define("softplus", _softplus, 1, FLOATS, lambda g, out, x: (g * sigmoid(x),))

# ---- trigonometric and hyperbolic ----------------------------------------------------------------

sin = define("sin", np.sin, 1, FLOATS, lambda g, out, x: (g * cos(x),))
cos: Op = define("cos", np.cos, 1, FLOATS, lambda g, out, x: (-(g * sin(x)),))
tan = define("tan", np.tan, 1, FLOATS, lambda g, out, x: (g * (square(out) + 1.0),))
arcsin = define(
    "arcsin", np.arcsin, 1, FLOATS, lambda g, out, x: (g / sqrt((1.0 - x) * (x + 1.0)),)
)
arccos = define(
    "arccos", np.arccos, 1, FLOATS, lambda g, out, x: (-(g / sqrt((1.0 - x) * (x + 1.0))),)
)
arctan = define("arctan", np.arctan, 1, FLOATS, lambda g, out, x: (g / (square(x) + 1.0),))


def _arctan2_vjp(g: Value, out: Value, y: Value, x: Value) -> tuple[Any, ...]:
    scaled = g / (square(x) + square(y))
    return (scaled * x, -(scaled * y))


arctan2 = define("arctan2", np.arctan2, 2, FLOATS, _arctan2_vjp)
sinh = define("sinh", np.sinh, 1, FLOATS, lambda g, out, x: (g * cosh(x),))
cosh: Op = define("cosh", np.cosh, 1, FLOATS, lambda g, out, x: (g * sinh(x),))
tanh = define("tanh", np.tanh, 1, FLOATS, lambda g, out, x: (g * (1.0 - square(out)),))
arcsinh = define("arcsinh", np.arcsinh, 1, FLOATS, lambda g, out, x: (g / sqrt(square(x) + 1.0),))
arccosh = define(
    "arccosh", np.arccosh, 1, FLOATS, lambda g, out, x: (g / (sqrt(x - 1.0) * sqrt(x + 1.0)),)
)
arctanh = define("arctanh", np.arctanh, 1, FLOATS, lambda g, out, x: (g / ((1.0 - x) * (x + 1.0)),))

# ---- rounding, classifying -----------------------------------------------------------------------

floor = define("floor", _int_or_float_rounding(np.floor), 1, NUMBERS)
ceil = define("ceil", _int_or_float_rounding(np.ceil), 1, NUMBERS)
round = define("round", _int_or_float_rounding(np.rint), 1, NUMBERS)
trunc = define("trunc", _int_or_float_rounding(np.trunc), 1, NUMBERS)
isnan = define("isnan", np.isnan, 1, FLOATS, result="bool")
isinf = define("isinf", np.isinf, 1, FLOATS, result="bool")
isfinite = define("isfinite", np.isfinite, 1, FLOATS, result="bool")

# ---- logic and bits ------------------------------------------------------------------------------

logical_and = define("logical_and", np.logical_and, 2, BOOL)
logical_or = define("logical_or", np.logical_or, 2, BOOL)
logical_xor = define("logical_xor", np.logical_xor, 2, BOOL)
logical_not = define("logical_not", np.logical_not, 1, BOOL)
bitwise_and = define("bitwise_and", np.bitwise_and, 2, INTEGRAL)
bitwise_or = define("bitwise_or", np.bitwise_or, 2, INTEGRAL)
bitwise_xor = define("bitwise_xor", np.bitwise_xor, 2, INTEGRAL)
bitwise_not = define("bitwise_not", np.bitwise_not, 1, INTEGRAL)
left_shift = define("left_shift", np.left_shift, 2, INTS)
right_shift = define("right_shift", np.right_shift, 2, INTS)

# ---- gradients -----------------------------------------------------------------------------------


def _infer_stop_gradient(*types: Type) -> tuple[Type, ...]:
    expect_arity("stop_gradient", 1, types)
    return types


stop_gradient = register(
    Op(
        "stop_gradient",
        _infer_stop_gradient,
        lambda x: x,
        elementwise=True,
        doc="The value itself, as a constant for differentiation.",
    )
)

# ---- conversion ----------------------------------------------------------------------------------


def _infer_cast(x: Type, *, dtype: str) -> tuple[Type, ...]:
    if dtype not in DTYPES:
        raise errors.DTypeError(f"cast: no dtype {dtype!r}; choose from {', '.join(DTYPES)}")
    if x.dtype in COMPLEXES and dtype not in COMPLEXES:
        raise errors.DTypeError(f"cast: {dtype} has no imaginary part for {x}; use real or imag")
    return (x.with_dtype(dtype),)


def _cast_vjp(g: Value, out: Value, x: Value, *, dtype: str) -> tuple[Any, ...]:
    return (cast(g, dtype=x.dtype) if x.dtype in FLOATS and dtype in FLOATS else None,)


cast = register(Op("cast", _infer_cast, _cast, _cast_vjp, elementwise=True))
