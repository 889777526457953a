"""Floats of 16 bits as they lie in memory, and the f32 in which they are computed with.

`widen` and `narrow` are what `passes/narrow.py` makes of the arithmetic of f16 and bf16, and what
NumPy's functions that compute in f32 are made of.  They mean what `cast` means, but for one
freedom: inside a kernel, `widen(narrow(x))` may be x itself.  A cast that the user wrote has none.
"""

from __future__ import annotations

import numpy as np

from graphc import errors
from graphc.ir import NARROW, NUMPY_DTYPES, Op, Type, register
from graphc.ops.elementwise import cast, expect_dtype


def _infer_widen(x: Type) -> tuple[Type, ...]:
    expect_dtype("widen", x, NARROW)
    return (x.with_dtype("f32"),)


def _infer_narrow(x: Type, *, dtype: str) -> tuple[Type, ...]:
    expect_dtype("narrow", x, frozenset({"f32"}))
    if dtype not in NARROW:
        raise errors.DTypeError(f"narrow gives {', '.join(sorted(NARROW))}, not {dtype}")
    return (x.with_dtype(dtype),)


widen = register(
    Op(
        "widen",
        _infer_widen,
        lambda x: x.astype(np.float32),
        lambda g, out, x: (cast(g, dtype=x.dtype),),
        elementwise=True,
        doc="x as f32.",
    )
)
narrow = register(
    Op(
        "narrow",
        _infer_narrow,
        lambda x, dtype: x.astype(NUMPY_DTYPES[dtype]),
        lambda g, out, x, *, dtype: (cast(g, dtype="f32"),),
        elementwise=True,
        doc="x rounded to 16 bits.",
    )
)
