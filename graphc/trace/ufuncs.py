"""NumPy's ufuncs as graphc ops: one table from ufunc to op and the rule for its dtypes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc import errors
from graphc.ir import COMPLEXES, NUMPY_DTYPES, SIGNED, Lit
from graphc.ops import bits as bit_ops
from graphc.ops import elementwise as ew
from graphc.trace import complex_ufuncs, special
from graphc.trace import ufunc_formulas as formulas
from graphc.trace.broadcasting import broadcast_shapes, broadcast_to, unify
from graphc.trace.promotion import cast_to, known_dtype, promoted_dtype
from graphc.trace.scope import user_loc
from graphc.trace.tracer import Tracer, wrap
from graphc.trace.ufunc_dtypes import (
    Rule,
    as_any,
    as_bits,
    as_booleans,
    as_compared,
    as_f64,
    as_first,
    as_floats,
    as_ints,
    as_numbers,
    as_quotient,
)
from graphc.trace.ufunc_formulas import Emit

UFUNCS: dict[Any, tuple[Rule, Emit]] = {
    np.add: (as_any, formulas.add),
    np.subtract: (as_numbers, ew.subtract),
    np.multiply: (as_any, formulas.multiply),
    np.true_divide: (as_quotient, ew.divide),
    np.floor_divide: (as_numbers, ew.floor_divide),
    np.remainder: (as_numbers, ew.mod),
    np.fmod: (as_numbers, formulas.fmod),
    np.heaviside: (as_floats, formulas.heaviside),
    np.copysign: (as_floats, bit_ops.copysign),
    np.nextafter: (as_floats, bit_ops.nextafter),
    np.spacing: (as_floats, formulas.spacing),
    np.signbit: (as_quotient, bit_ops.signbit),
    np.ldexp: (as_first, formulas.ldexp),
    np.gcd: (as_ints, bit_ops.gcd),
    np.lcm: (as_ints, formulas.lcm),
    np.logaddexp2: (as_floats, formulas.logaddexp2),
    np.power: (as_numbers, formulas.power),
    np.float_power: (as_f64, ew.power),
    np.negative: (as_numbers, ew.negative),
    np.positive: (as_numbers, formulas.identity),
    np.absolute: (as_any, formulas.unless_bool(ew.abs)),
    np.fabs: (as_floats, ew.abs),
    np.sign: (as_numbers, ew.sign),
    np.square: (as_numbers, ew.square),
    np.reciprocal: (as_numbers, formulas.reciprocal),
    np.sqrt: (as_floats, ew.sqrt),
    np.cbrt: (as_floats, ew.cbrt),
    np.exp: (as_floats, ew.exp),
    np.exp2: (as_floats, ew.exp2),
    np.expm1: (as_floats, ew.expm1),
    np.log: (as_floats, ew.log),
    np.log1p: (as_floats, ew.log1p),
    np.log2: (as_floats, ew.log2),
    np.log10: (as_floats, ew.log10),
    np.logaddexp: (as_floats, formulas.logaddexp),
    np.hypot: (as_floats, ew.hypot),
    np.sin: (as_floats, ew.sin),
    np.cos: (as_floats, ew.cos),
    np.tan: (as_floats, ew.tan),
    np.arcsin: (as_floats, ew.arcsin),
    np.arccos: (as_floats, ew.arccos),
    np.arctan: (as_floats, ew.arctan),
    np.arctan2: (as_floats, ew.arctan2),
    np.sinh: (as_floats, ew.sinh),
    np.cosh: (as_floats, ew.cosh),
    np.tanh: (as_floats, ew.tanh),
    np.arcsinh: (as_floats, ew.arcsinh),
    np.arccosh: (as_floats, ew.arccosh),
    np.arctanh: (as_floats, ew.arctanh),
    np.deg2rad: (as_floats, formulas.scaled(np.pi / 180)),
    np.radians: (as_floats, formulas.scaled(np.pi / 180)),
    np.rad2deg: (as_floats, formulas.scaled(180 / np.pi)),
    np.degrees: (as_floats, formulas.scaled(180 / np.pi)),
    np.maximum: (as_any, ew.maximum),
    np.minimum: (as_any, ew.minimum),
    np.fmax: (as_any, formulas.fmax),
    np.fmin: (as_any, formulas.fmin),
    np.floor: (as_any, formulas.unless_bool(ew.floor)),
    np.ceil: (as_any, formulas.unless_bool(ew.ceil)),
    np.rint: (as_floats, ew.round),
    np.trunc: (as_any, formulas.unless_bool(ew.trunc)),
    np.less: (as_compared, ew.less),
    np.less_equal: (as_compared, ew.less_equal),
    np.greater: (as_compared, ew.greater),
    np.greater_equal: (as_compared, ew.greater_equal),
    np.equal: (as_compared, ew.equal),
    np.not_equal: (as_compared, ew.not_equal),
    np.logical_and: (as_booleans, ew.logical_and),
    np.logical_or: (as_booleans, ew.logical_or),
    np.logical_xor: (as_booleans, ew.logical_xor),
    np.logical_not: (as_booleans, ew.logical_not),
    np.bitwise_and: (as_bits, ew.bitwise_and),
    np.bitwise_or: (as_bits, ew.bitwise_or),
    np.bitwise_xor: (as_bits, ew.bitwise_xor),
    np.invert: (as_bits, formulas.invert),
    np.left_shift: (as_ints, ew.left_shift),
    np.right_shift: (as_ints, ew.right_shift),
    np.isnan: (as_any, formulas.of_floats(ew.isnan, False)),
    np.isinf: (as_any, formulas.of_floats(ew.isinf, False)),
    np.isfinite: (as_any, formulas.of_floats(ew.isfinite, True)),
    np.conjugate: (as_numbers, formulas.identity),
}
"""NumPy ufunc -> (the dtype its operands are converted to, what it emits on them)."""

COMPARISONS = frozenset(ufunc for ufunc, (rule, _) in UFUNCS.items() if rule is as_compared)


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
    name: (as_floats, emit) for name, emit in special.UFUNCS.items()
}
"""scipy.special's ufuncs, by name, so that scipy need not be imported to recognise them."""


def scipy_dtypes(ufunc: Any, operands: Sequence[Tracer]) -> list[str]:
    """The dtypes that a ufunc of scipy.special gives.

    Raises `errors.DTypeError` for operands that it does not take.
    """
    if any(x.dtype_name == "bf16" for x in operands):  # of which scipy knows nothing
        return [as_floats(ufunc.__name__, list(operands))] * ufunc.nout
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
