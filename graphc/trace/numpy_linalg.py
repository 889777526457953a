"""`np.linalg` on traced matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import errors
from graphc.ir import FLOATS
from graphc.trace import numpy_products as products
from graphc.trace import numpy_reductions as reductions
from graphc.trace.numpy_choosing import diagonal, trace
from graphc.trace.numpy_shapes import matrix_transpose
from graphc.trace.scope import user_loc
from graphc.trace.tracer import Tracer, lift


def _floats(a: Any) -> Any:
    x = lift(a)
    return x if x.dtype_name in FLOATS else x.astype(np.float64)


# ---- norms ---------------------------------------------------------------------------------------


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    array = _floats(x)
    if axis is None and ord is None:
        return _euclidean(array, tuple(range(array.ndim)), keepdims)
    axes = reductions.normalise_axes(axis, array.ndim)
    if isinstance(axis, (tuple, list)):  # in the order given: rows, columns
        axes = tuple(reductions.normalise_axis(a, array.ndim) for a in axis)
    if len(axes) == 1:
        return vector_norm(array, ord=2 if ord is None else ord, axis=axes[0], keepdims=keepdims)
    if len(axes) != 2:
        raise errors.ShapeError(f"norm: one or two axes, not {axes} of {array.type}", user_loc())
    return _matrix_norm(array, "fro" if ord is None else ord, axes, keepdims)


def _euclidean(x: Tracer, axes: Any, keepdims: bool) -> Any:
    return np.sqrt(reductions.sum(np.square(x), axes, None, keepdims))


def vector_norm(x: Any, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    array = _floats(x)
    axes = reductions.normalise_axes(axis, array.ndim)
    if isinstance(ord, str):
        raise errors.AttributeValueError(f"Invalid norm order {ord!r} for vectors", user_loc())
    if ord == 2:
        return _euclidean(array, axes, keepdims)
    if ord == 0:
        return reductions.sum((array != 0).astype(array.dtype), axes, None, keepdims)
    size = np.absolute(array)
    if ord == 1:
        return reductions.sum(size, axes, None, keepdims)
    if np.isinf(ord):
        return (reductions.max if ord > 0 else reductions.min)(size, axes, keepdims)
    total = reductions.sum(np.power(size, float(ord)), axes, None, keepdims)
    return np.power(total, 1.0 / float(ord))


def matrix_norm(x: Any, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    return _matrix_norm(_floats(x), ord, (-2, -1), keepdims)


def _matrix_norm(x: Any, ord: Any, axes: tuple[int, int], keepdims: bool) -> Any:
    """Sums of columns or of rows, or of singular values."""
    rows, columns = (reductions.normalise_axis(a, x.ndim) for a in axes)
    if ord == "fro":
        return _euclidean(x, (rows, columns), keepdims)
    if ord in (1, -1, np.inf, -np.inf):
        summed, other = (rows, columns) if abs(ord) == 1 else (columns, rows)
        totals = reductions.sum(np.absolute(x), summed, None, True)
        largest = reductions.max if ord > 0 else reductions.min
        result = largest(totals, other, True)
    elif ord in (2, -2, "nuc"):
        values = np.linalg.svd(np.moveaxis(x, (rows, columns), (-2, -1)), compute_uv=False)
        pick: Any = {2: reductions.max, -2: reductions.min, "nuc": reductions.sum}[ord]
        result = np.expand_dims(pick(values, -1), tuple(sorted((rows, columns))))
    else:
        raise errors.AttributeValueError(f"Invalid norm order {ord!r} for matrices", user_loc())
    return result if keepdims else np.squeeze(result, (rows, columns))


FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.linalg.norm: norm,
    np.linalg.multi_dot: products.multi_dot,
    np.linalg.matrix_power: products.matrix_power,
    **{
        getattr(np.linalg, name): entry
        for name, entry in (
            ("vector_norm", vector_norm),
            ("matrix_norm", matrix_norm),
            ("cross", lambda x1, x2, *, axis=-1: products.cross(x1, x2, axis=axis)),
            ("outer", lambda x1, x2: products.outer(x1, x2)),
            ("matmul", lambda x1, x2: products.matmul(x1, x2)),
            ("tensordot", lambda x1, x2, *, axes=2: products.tensordot(x1, x2, axes)),
            ("vecdot", lambda x1, x2, *, axis=-1: products.vecdot(x1, x2, axis=axis)),
            ("matrix_transpose", matrix_transpose),
            ("trace", lambda x, *, offset=0: trace(x, offset, -2, -1)),
            ("diagonal", lambda x, *, offset=0: diagonal(x, offset, -2, -1)),
        )
        if hasattr(np.linalg, name)
    },
}
"""`np.linalg`'s functions."""
