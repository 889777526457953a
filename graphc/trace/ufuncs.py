"""NumPy's ufuncs as graphc ops: one table from ufunc to op and the rule for its dtypes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc import errors
from graphc.build import Value
from graphc.ir import COMPLEXES, FLOATS, INT_RANGES, INTS, NUMPY_DTYPES, SIGNED, Lit
from graphc.ops import bits as bit_ops
from graphc.ops import elementwise as ew
from graphc.ops import index as index_ops
from graphc.ops import shape as shape_ops
from graphc.trace import complex_ufuncs, sizes, special
from graphc.trace.promotion import cast_to, known_dtype, promoted_dtype
from graphc.trace.scope import user_loc
from graphc.trace.tracer import Tracer, wrap

# ---- broadcasting --------------------------------------------------------------------------------


def broadcast_to(value: Value, shape: tuple[int, ...]) -> Value:
    """`value` repeated to `shape` by NumPy's rules."""
    if value.shape == shape:
        return value
    if isinstance(value.atom, Lit):
        return value.builder.literal(value.atom.value, value.type.with_shape(shape))
    offset = len(shape) - len(value.shape)
    axes = tuple(range(offset, len(shape)))
    return shape_ops.broadcast(value, shape=shape, axes=axes)


def broadcast_shapes(name: str, operands: list[Tracer]) -> tuple[int, ...]:
    try:
        return sizes.broadcast_shapes(*(x.shape for x in operands))
    except ValueError:
        listed = ", ".join(str(x.type) for x in operands)
        raise errors.ShapeError(
            f"{name}: the shapes of {listed} do not broadcast together; sizes must be equal or 1,"
            " counted from the last axis",
            user_loc(),
        ) from None


def unify(name: str, operands: list[Tracer], dtype: str) -> list[Value]:
    """The operands with one dtype and one shape."""
    shape = broadcast_shapes(name, operands)
    return [broadcast_to(_converted(x, dtype), shape) for x in operands]


def _converted(x: Tracer, dtype: str) -> Value:
    """`x` as `dtype`; a Python int that is an argument is checked to fit, when the step runs."""
    value = x.value()
    is_argument = x.weak and value.dtype == "i64" and not isinstance(value.atom, Lit)
    if is_argument and dtype in INTS - {"i64"}:
        least, most = INT_RANGES[dtype]
        inside = ew.greater_equal(value, least)
        if most < INT_RANGES["i64"][1]:
            inside = ew.logical_and(inside, ew.less_equal(value, most))
        index_ops.check(
            inside,
            value,
            error="OverflowError",
            message=f"Python integer {{value}} out of bounds for {NUMPY_DTYPES[dtype]}",
        )
    return cast_to(value, dtype)


# ---- dtype rules: what the operands are converted to ---------------------------------------------


def _as_numbers(name: str, operands: list[Tracer]) -> str:
    dtype = promoted_dtype(operands)
    return _of_booleans(name, len(operands)) if dtype == "bool" else dtype


def _of_booleans(name: str, count: int) -> str:
    """What NumPy computes in where all operands are booleans: i8, if anything."""
    try:
        return known_dtype(getattr(np, name).resolve_dtypes((np.dtype(bool),) * count + (None,))[0])
    except TypeError:
        raise errors.DTypeError(
            f"np.{name} takes no booleans; convert them with .astype first", user_loc()
        ) from None


def _as_floats(name: str, operands: list[Tracer]) -> str:
    dtype = promoted_dtype(operands)
    return dtype if dtype in FLOATS else known_dtype(_FLOAT_OF.get(dtype, np.float64))


_FLOAT_OF = {
    **dict.fromkeys(("bool", "i8", "u8"), np.float16),
    **dict.fromkeys(("i16", "u16"), np.float32),
}
"""The floats in which NumPy computes elementary functions of narrow integers."""


def _as_quotient(name: str, operands: list[Tracer]) -> str:
    dtype = promoted_dtype(operands)
    return dtype if dtype in FLOATS else "f64"


def _as_first(name: str, operands: list[Tracer]) -> str:
    """The second operand is an exponent, whatever its integer dtype."""
    exponent = promoted_dtype(operands[1:])
    if exponent in FLOATS:
        raise errors.DTypeError(f"np.{name} takes integers second, not {exponent}", user_loc())
    if operands[0].dtype_name == "bf16":
        return "bf16"
    return known_dtype(np.ldexp.resolve_dtypes((*(x.stand_in(type) for x in operands), None))[0])


def _as_f64(name: str, operands: list[Tracer]) -> str:
    return "f64"


def _as_compared(name: str, operands: list[Tracer]) -> str:
    """A Python integer that the others' dtype cannot hold compares by its value."""
    return promoted_dtype(operands, widen=True)


def _as_any(name: str, operands: list[Tracer]) -> str:
    return promoted_dtype(operands)


def _as_booleans(name: str, operands: list[Tracer]) -> str:
    return "bool"


def _as_bits(name: str, operands: list[Tracer]) -> str:
    dtype = promoted_dtype(operands)
    if dtype in FLOATS:
        raise errors.DTypeError(
            f"np.{name} takes integers or booleans, not {dtype}; convert with .astype(int)",
            user_loc(),
        )
    return dtype


def _as_ints(name: str, operands: list[Tracer]) -> str:
    _as_bits(name, operands)
    return _as_numbers(name, operands)


Rule = Callable[[str, list[Tracer]], str]
Emit = Callable[..., Any]


def _add(x: Value, y: Value) -> Any:
    return ew.logical_or(x, y) if x.dtype == "bool" else ew.add(x, y)


def _multiply(x: Value, y: Value) -> Any:
    return ew.logical_and(x, y) if x.dtype == "bool" else ew.multiply(x, y)


def _power(x: Value, y: Value) -> Any:
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


def _logaddexp(x: Value, y: Value) -> Any:
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


def _not(x: Value) -> Any:
    return ew.logical_not(x) if x.dtype == "bool" else ew.bitwise_not(x)


def _fmax(x: Value, y: Value) -> Any:
    if x.dtype not in FLOATS:
        return ew.maximum(x, y)
    return ew.where(ew.isnan(x), y, ew.where(ew.isnan(y), x, ew.maximum(x, y)))


def _fmin(x: Value, y: Value) -> Any:
    if x.dtype not in FLOATS:
        return ew.minimum(x, y)
    return ew.where(ew.isnan(x), y, ew.where(ew.isnan(y), x, ew.minimum(x, y)))


def _identity(x: Value) -> Any:
    return x


def _scaled(factor: float) -> Emit:
    return lambda x: x * factor


def _of_floats(op: Emit, otherwise: bool) -> Emit:
    """isnan and its like: a constant for integers and booleans."""

    def emit(x: Value) -> Any:
        if x.dtype in FLOATS:
            return op(x)
        return x.builder.literal(otherwise, x.type.with_dtype("bool"))

    return emit


def _unless_bool(op: Emit) -> Emit:
    """NumPy leaves booleans as they are where rounding or a sign would be taken."""
    return lambda x: x if x.dtype == "bool" else op(x)


def _reciprocal(x: Value) -> Any:
    if x.dtype not in FLOATS:
        raise errors.DTypeError(
            "np.reciprocal of integers is 0 almost everywhere and cannot be traced; use 1.0 / x",
            user_loc(),
        )
    return ew.reciprocal(x)


def _fmod(x: Value, y: Value) -> Any:
    """The remainder with the sign of x, which a remainder of zero has, too."""
    if x.dtype in INTS:
        floored = ew.mod(x, y)
        other_sign = ew.logical_xor(ew.less(x, 0), ew.less(y, 0))
        return ew.where(ew.logical_and(other_sign, ew.not_equal(floored, 0)), floored - y, floored)
    size = ew.mod(ew.abs(x), ew.abs(y))
    signed = ew.where(ew.less(x, 0.0), -size, size)
    return ew.where(ew.logical_and(ew.equal(x, 0.0), ew.equal(size, 0.0)), x, signed)


def _heaviside(x: Value, y: Value) -> Any:
    """0 left of 0, 1 right of it, y at it."""
    side = ew.where(ew.less(x, 0.0), x.literal(0.0), x.literal(1.0))
    return ew.where(ew.equal(x, 0.0), y, ew.where(ew.isnan(x), x, side))


def _logaddexp2(x: Value, y: Value) -> Any:
    """In logarithms to the base 2."""
    big, gap = _larger_and_gap(x, y)
    return big + ew.log1p(ew.exp2(gap)) * (1.0 / ew.LN_2)


def _spacing(x: Value) -> Any:
    """The distance to the next number away from zero, with the sign of x."""
    size = ew.abs(x)
    step = bit_ops.nextafter(size, x.literal(float("inf"))) - size
    step = ew.where(ew.isfinite(x), step, x.literal(float("nan")))
    return bit_ops.copysign(step, ew.where(ew.equal(x, 0.0), size, x))


def _lcm(x: Value, y: Value) -> Any:
    """|x| / gcd * |y|, and 0 beside 0."""
    divisor = bit_ops.gcd(x, y)
    safe = ew.where(ew.equal(divisor, 0), x.literal(1), divisor)
    return ew.abs(ew.floor_divide(x, safe) * y)


def _ldexp(x: Value, n: Value) -> Any:
    return bit_ops.ldexp(x, n)


UFUNCS: dict[Any, tuple[Rule, Emit]] = {
    np.add: (_as_any, _add),
    np.subtract: (_as_numbers, ew.subtract),
    np.multiply: (_as_any, _multiply),
    np.true_divide: (_as_quotient, ew.divide),
    np.floor_divide: (_as_numbers, ew.floor_divide),
    np.remainder: (_as_numbers, ew.mod),
    np.fmod: (_as_numbers, _fmod),
    np.heaviside: (_as_floats, _heaviside),
    np.copysign: (_as_floats, bit_ops.copysign),
    np.nextafter: (_as_floats, bit_ops.nextafter),
    np.spacing: (_as_floats, _spacing),
    np.signbit: (_as_quotient, bit_ops.signbit),
    np.ldexp: (_as_first, _ldexp),
    np.gcd: (_as_ints, bit_ops.gcd),
    np.lcm: (_as_ints, _lcm),
    np.logaddexp2: (_as_floats, _logaddexp2),
    np.power: (_as_numbers, _power),
    np.float_power: (_as_f64, ew.power),
    np.negative: (_as_numbers, ew.negative),
    np.positive: (_as_numbers, _identity),
    np.absolute: (_as_any, _unless_bool(ew.abs)),
    np.fabs: (_as_floats, ew.abs),
    np.sign: (_as_numbers, ew.sign),
    np.square: (_as_numbers, ew.square),
    np.reciprocal: (_as_numbers, _reciprocal),
    np.sqrt: (_as_floats, ew.sqrt),
    np.cbrt: (_as_floats, ew.cbrt),
    np.exp: (_as_floats, ew.exp),
    np.exp2: (_as_floats, ew.exp2),
    np.expm1: (_as_floats, ew.expm1),
    np.log: (_as_floats, ew.log),
    np.log1p: (_as_floats, ew.log1p),
    np.log2: (_as_floats, ew.log2),
    np.log10: (_as_floats, ew.log10),
    np.logaddexp: (_as_floats, _logaddexp),
    np.hypot: (_as_floats, ew.hypot),
    np.sin: (_as_floats, ew.sin),
    np.cos: (_as_floats, ew.cos),
    np.tan: (_as_floats, ew.tan),
    np.arcsin: (_as_floats, ew.arcsin),
    np.arccos: (_as_floats, ew.arccos),
    np.arctan: (_as_floats, ew.arctan),
    np.arctan2: (_as_floats, ew.arctan2),
    np.sinh: (_as_floats, ew.sinh),
    np.cosh: (_as_floats, ew.cosh),
    np.tanh: (_as_floats, ew.tanh),
    np.arcsinh: (_as_floats, ew.arcsinh),
    np.arccosh: (_as_floats, ew.arccosh),
    np.arctanh: (_as_floats, ew.arctanh),
    np.deg2rad: (_as_floats, _scaled(np.pi / 180)),
    np.radians: (_as_floats, _scaled(np.pi / 180)),
    np.rad2deg: (_as_floats, _scaled(180 / np.pi)),
    np.degrees: (_as_floats, _scaled(180 / np.pi)),
    np.maximum: (_as_any, ew.maximum),
    np.minimum: (_as_any, ew.minimum),
    np.fmax: (_as_any, _fmax),
    np.fmin: (_as_any, _fmin),
    np.floor: (_as_any, _unless_bool(ew.floor)),
    np.ceil: (_as_any, _unless_bool(ew.ceil)),
    np.rint: (_as_floats, ew.round),
    np.trunc: (_as_any, _unless_bool(ew.trunc)),
    np.less: (_as_compared, ew.less),
    np.less_equal: (_as_compared, ew.less_equal),
    np.greater: (_as_compared, ew.greater),
    np.greater_equal: (_as_compared, ew.greater_equal),
    np.equal: (_as_compared, ew.equal),
    np.not_equal: (_as_compared, ew.not_equal),
    np.logical_and: (_as_booleans, ew.logical_and),
    np.logical_or: (_as_booleans, ew.logical_or),
    np.logical_xor: (_as_booleans, ew.logical_xor),
    np.logical_not: (_as_booleans, ew.logical_not),
    np.bitwise_and: (_as_bits, ew.bitwise_and),
    np.bitwise_or: (_as_bits, ew.bitwise_or),
    np.bitwise_xor: (_as_bits, ew.bitwise_xor),
    np.invert: (_as_bits, _not),
    np.left_shift: (_as_ints, ew.left_shift),
    np.right_shift: (_as_ints, ew.right_shift),
    np.isnan: (_as_any, _of_floats(ew.isnan, False)),
    np.isinf: (_as_any, _of_floats(ew.isinf, False)),
    np.isfinite: (_as_any, _of_floats(ew.isfinite, True)),
    np.conjugate: (_as_numbers, _identity),
}
"""NumPy ufunc -> (the dtype its operands are converted to, what it emits on them)."""

COMPARISONS = frozenset(ufunc for ufunc, (rule, _) in UFUNCS.items() if rule is _as_compared)


def _is_mixed(x: Tracer, y: Tracer) -> bool:
    """Whether one operand is a u64 and the other may be negative: no integer dtype holds both."""
    return any(
        natural.dtype_name == "u64" and signed.dtype_name in SIGNED and not _is_natural(signed)
        for natural, signed in ((x, y), (y, x))
    )


def _is_natural(x: Tracer) -> bool:
    """Whether x is a Python number from 0 upwards."""
    return x.weak and isinstance(x.storage.atom, Lit) and x.storage.atom.value >= 0


def _compare_mixed(name: str, op: Any, operands: list[Tracer]) -> Any:
    """By value, as NumPy does: what is negative is to any u64 as -1 is to 0."""
    shape = broadcast_shapes(name, operands)
    place = next(i for i, x in enumerate(operands) if x.dtype_name in SIGNED)
    signed = broadcast_to(cast_to(operands[place].value(), "i64"), shape)
    natural = broadcast_to(operands[1 - place].value(), shape)
    pair, below = (cast_to(signed, "u64"), natural), (np.int64(-1), np.int64(0))
    order = 1 if place == 0 else -1
    compared = op(*pair[::order])
    answer = bool(op.reference(*below[::order]))
    return ew.where(ew.less(signed, 0), compared.literal(answer), compared)


NAMED_UFUNCS: dict[str, tuple[Rule, Emit]] = {
    name: (_as_floats, emit) for name, emit in special.UFUNCS.items()
}
"""scipy.special's ufuncs, by name, so that scipy need not be imported to recognise them."""


def scipy_dtypes(ufunc: Any, operands: Sequence[Tracer]) -> list[str]:
    """The dtypes that a ufunc of scipy.special gives.

    Raises `errors.DTypeError` for operands that it does not take.
    """
    if any(x.dtype_name == "bf16" for x in operands):  # of which scipy knows nothing
        return [_as_floats(ufunc.__name__, list(operands))] * ufunc.nout
    given = (*(x.stand_in(type) for x in operands), *(None,) * ufunc.nout)
    try:
        found = ufunc.resolve_dtypes(given)
    except TypeError as error:
        raise errors.DTypeError(
            f"scipy.special.{ufunc.__name__}: {error}; convert with .astype, or use .real",
            user_loc(),
        ) from None
    return [known_dtype(dtype) for dtype in found[ufunc.nin :]]


def emit_ufunc(
    ufunc: Any, operands: list[Tracer], dtype: str | None = None, casting: str = "same_kind"
) -> Tracer | None:
    """The result of a ufunc, or None where the table does not have it.

    dtype  what `dtype=` of the call asks to compute in
    """
    if dtype in COMPLEXES or any(x.dtype_name in COMPLEXES for x in operands):
        return _emit_complex(ufunc, operands, dtype, casting)
    row = UFUNCS.get(ufunc) or NAMED_UFUNCS.get(getattr(ufunc, "__name__", ""))
    if row is None:
        return None
    rule, emit = row
    name = ufunc.__name__
    if ufunc in COMPARISONS and _is_mixed(*operands):
        return wrap(_compare_mixed(name, emit, operands))
    of_numpy = getattr(np, name, None) is ufunc
    chosen = rule(name, operands) if of_numpy else scipy_dtypes(ufunc, operands)[0]
    if dtype is not None and dtype != chosen:
        _expect_dtype(ufunc, operands, dtype, casting)
        chosen = dtype
    return wrap(emit(*unify(name, operands, chosen)))


def _emit_complex(
    ufunc: Any, operands: list[Tracer], dtype: str | None, casting: str
) -> Tracer | None:
    entry: Callable[..., Tracer] = complex_ufuncs.complex_entry(ufunc, operands)
    chosen = promoted_dtype(operands)
    if dtype is not None and dtype != chosen:
        _expect_dtype(ufunc, operands, dtype, casting)
        chosen = dtype
    if ufunc is np.float_power:
        chosen = "c128"
    return entry(*map(wrap, unify(ufunc.__name__, operands, chosen)))


def _expect_dtype(ufunc: Any, operands: list[Tracer], dtype: str, casting: str) -> None:
    """NumPy's own answer to whether it computes this ufunc on these operands in `dtype`."""
    wanted = NUMPY_DTYPES[dtype]
    try:
        found = ufunc.resolve_dtypes(
            (*(x.stand_in(type) for x in operands), None),
            signature=(*(None for _ in operands), wanted),
            casting=casting,
        )
    except TypeError as error:
        raise errors.DTypeError(
            f"np.{ufunc.__name__} with dtype={wanted}: {error}", user_loc()
        ) from None
    if any(part != wanted for part in found):
        raise errors.DTypeError(
            f"np.{ufunc.__name__} does not compute in {wanted}; leave dtype= out", user_loc()
        )
