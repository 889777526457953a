"""Matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc import errors
from graphc.build import Value
from graphc.ir import COMPLEXES, FLOATS, INTS, NARROW, Op, Type, register
from graphc.ops.elementwise import expect_dtype
from graphc.ops.shape import transpose
from graphc.ops.single import in_single


def _infer_matmul(a: Type, b: Type, *, wide: bool = False) -> tuple[Type, ...]:
    expect_dtype("matmul", a, FLOATS | INTS | COMPLEXES)
    fits = (
        a.dtype == b.dtype
        and a.rank == b.rank >= 2
        and a.shape[:-2] == b.shape[:-2]
        and a.shape[-1] == b.shape[-2]
    )
    if not fits:
        raise errors.ShapeError(f"matmul: {a} does not multiply {b}")
    if wide:
        expect_dtype("matmul of what is widened", a, NARROW)
    product = a.with_shape((*a.shape[:-1], b.shape[-1]))
    return (product.with_dtype("f32") if wide else product,)


def _matmul_reference(a: np.ndarray, b: np.ndarray, wide: bool = False) -> Any:
    if wide:
        return np.matmul(a.astype(np.float32), b.astype(np.float32))
    return in_single(np.matmul)(a, b)


def _swap_last(x: Value) -> Value:
    rank = len(x.shape)
    return transpose(x, axes=(*range(rank - 2), rank - 1, rank - 2))


def _matmul_vjp(g: Value, out: Value, a: Value, b: Value) -> tuple[Any, ...]:
    if a.dtype not in FLOATS:
        return (None, None)
    return (matmul(g, _swap_last(b)), matmul(_swap_last(a), g))


matmul = register(
    Op(
        "matmul",
        _infer_matmul,
        _matmul_reference,
        _matmul_vjp,
        doc="Products of the last two axes; leading axes are equal and pair the matrices up."
        " `wide`: of floats of 16 bits, and f32 itself.",
    )
)
