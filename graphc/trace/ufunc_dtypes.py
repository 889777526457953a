"""The dtype in which a ufunc computes: what its operands are converted to."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from graphc import errors
from graphc.ir import FLOATS
from graphc.trace.promotion import known_dtype, promoted_dtype
from graphc.trace.scope import user_loc
from graphc.trace.tracer import Tracer

Rule = Callable[[str, list[Tracer]], str]
"""From a ufunc's name and its operands to the dtype."""


def as_numbers(name: str, operands: list[Tracer]) -> str:
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


def as_floats(name: str, operands: list[Tracer]) -> str:
    dtype = promoted_dtype(operands)
    return dtype if dtype in FLOATS else known_dtype(_FLOAT_OF.get(dtype, np.float64))


_FLOAT_OF = {
    **dict.fromkeys(("bool", "i8", "u8"), np.float16),
    **dict.fromkeys(("i16", "u16"), np.float32),
}
"""The floats in which NumPy computes elementary functions of narrow integers."""


def as_quotient(name: str, operands: list[Tracer]) -> str:
    dtype = promoted_dtype(operands)
    return dtype if dtype in FLOATS else "f64"


def as_first(name: str, operands: list[Tracer]) -> str:
    """The second operand is an exponent, whatever its integer dtype."""
    exponent = promoted_dtype(operands[1:])
    if exponent in FLOATS:
        raise errors.DTypeError(f"np.{name} takes integers second, not {exponent}", user_loc())
    if operands[0].dtype_name == "bf16":
        return "bf16"
    return known_dtype(np.ldexp.resolve_dtypes((*(x.stand_in(type) for x in operands), None))[0])


def as_f64(name: str, operands: list[Tracer]) -> str:
    return "f64"


def as_compared(name: str, operands: list[Tracer]) -> str:
    """A Python integer that the others' dtype cannot hold compares by its value."""
    return promoted_dtype(operands, widen=True)


def as_any(name: str, operands: list[Tracer]) -> str:
    return promoted_dtype(operands)


def as_booleans(name: str, operands: list[Tracer]) -> str:
    return "bool"


def as_bits(name: str, operands: list[Tracer]) -> str:
    dtype = promoted_dtype(operands)
    if dtype in FLOATS:
        raise errors.DTypeError(
            f"np.{name} takes integers or booleans, not {dtype}; convert with .astype(int)",
            user_loc(),
        )
    return dtype


def as_ints(name: str, operands: list[Tracer]) -> str:
    as_bits(name, operands)
    return as_numbers(name, operands)
