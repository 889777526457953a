"""dtypes of results, as NumPy 2 has them, and of numbers that meet them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from graphc import errors
from graphc.build import Value
from graphc.dims import Dim
from graphc.ir import (
    COMPLEXES,
    DTYPE_NAMES,
    FLOATS,
    INEXACT,
    INT_RANGES,
    INTS,
    NARROW,
    NUMPY_DTYPES,
    Lit,
)
from graphc.ops import elementwise
from graphc.trace.scope import user_loc

if TYPE_CHECKING:
    from graphc.trace.tracer import Tracer

PYTHON_DTYPES = {bool: "bool", int: "i64", float: "f64", complex: "c128"}
"""The classes of Python's numbers, and the dtype that NumPy gives each."""


def is_python_scalar(x: Any) -> bool:
    return type(x) in PYTHON_DTYPES or type(x) is Dim


def holds_number(dtype: str, weak: str) -> bool:
    """Whether a Python number, of the dtype `weak` by itself, takes this dtype when it meets it."""
    if weak == "i64":
        return dtype != "bool"
    return dtype in (COMPLEXES if weak in COMPLEXES else INEXACT)


def promoted_dtype(operands: list[Tracer], widen: bool = False) -> str:
    """NumPy 2's result dtype; a weak operand counts as the Python number that it stands for.

    A Python integer that is out of the range of the result is an error, as in NumPy; with `widen`,
    the result then has 64 bits.
    """
    stand_ins = [x.stand_in() for x in operands]
    if all(is_python_scalar(x) for x in stand_ins):
        stand_ins = [x.dtype if x.dtype_name in INEXACT else np.dtype(np.int64) for x in operands]
    dtype = _bfloat16_with(operands) or known_dtype(np.result_type(*stand_ins))
    for x in operands:
        atom = x.storage.atom
        if not x.weak:
            continue
        if isinstance(atom, Lit):
            if fits(atom.value, dtype):
                continue
            if not widen:
                raise errors.IntegerRangeError(
                    f"Python integer {atom.value} out of bounds for {dtype}; convert the other"
                    " operand with .astype(np.int64)",
                    user_loc(),
                )
            dtype = x.dtype_name
        elif widen and dtype in INTS and x.dtype_name == "i64":
            dtype = "i64"  # an argument, of which nothing is known while tracing
    return dtype


def _bfloat16_with(operands: list[Tracer]) -> str | None:
    """What bf16 and the others become; None without one.

    NumPy knows only what ml_dtypes tells it, which is the same but for Python floats: they leave
    bf16 as it is, like every other float dtype.
    """
    dtypes = {x.dtype_name for x in operands if not x.weak}
    if "bf16" not in dtypes:
        return None
    wider = dtypes & INEXACT - NARROW
    if any(x.weak and x.dtype_name in COMPLEXES for x in operands):
        wider.add("c64")
    if wider:
        return known_dtype(np.result_type(*(NUMPY_DTYPES[name] for name in wider)))
    if strange := dtypes - {"bf16", "bool", "i8", "u8"}:
        raise errors.DTypeError(
            f"there is no dtype for both bf16 and {', '.join(sorted(strange))}; convert one of them"
            " with .astype first",
            user_loc(),
        )
    return "bf16"


def fits(number: Any, dtype: str) -> bool:
    """Whether an integer is in the range of `dtype`; floats always are, infinity at the worst."""
    if dtype not in INTS:
        return True
    least, most = INT_RANGES[dtype]
    return bool(least <= number <= most)


def known_dtype(dtype: Any) -> str:
    """graphc's name for a NumPy dtype.  Raises `errors.DTypeError` where it has none."""
    if isinstance(dtype, str) and dtype == "bf16":
        return dtype
    try:
        resolved = np.dtype(dtype)
    except TypeError:
        raise errors.DTypeError(
            f"no dtype {dtype!r}; choose from {listed_dtypes()}", user_loc()
        ) from None
    if resolved not in DTYPE_NAMES:
        raise errors.DTypeError(
            f"the result would be {resolved}; graphc has {listed_dtypes()}: convert the operands"
            " with .astype first",
            user_loc(),
        )
    return DTYPE_NAMES[resolved]


def listed_dtypes() -> str:
    return ", ".join(str(dtype) for dtype in DTYPE_NAMES)


def cast_to(value: Value, dtype: str) -> Value:
    """`value` as `dtype`; a literal is converted on the spot."""
    if value.dtype == dtype:
        return value
    if value.dtype in COMPLEXES and dtype == "bool":
        return elementwise.not_equal(value, value.literal(0))
    if value.dtype in COMPLEXES and dtype not in COMPLEXES:
        raise errors.DTypeError(
            f"{value.type} cannot become {NUMPY_DTYPES[dtype]} here, which would lose its imaginary"
            " part; use .real, .imag or np.abs",
            user_loc(),
        )
    atom = value.atom
    if (
        isinstance(atom, Lit)
        and (value.dtype not in FLOATS or dtype in INEXACT)
        and fits(atom.value, dtype)
    ):
        return value.builder.literal(atom.value, value.type.with_dtype(dtype))
    return elementwise.cast(value, dtype=dtype)
