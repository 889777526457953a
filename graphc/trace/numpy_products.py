"""NumPy's products of matrices and tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc import errors
from graphc.build import Value
from graphc.ops import linalg as linalg_ops
from graphc.ops import shape as shape_ops
from graphc.trace.numpy_reductions import normalise_axis
from graphc.trace.numpy_shapes import expand_dims, ravel, reshape, transpose
from graphc.trace.scope import user_loc
from graphc.trace.tracer import Tracer, cast_to, known_dtype, lift, promoted_dtype, wrap
from graphc.trace.ufuncs import broadcast_to


def matmul(a: Any, b: Any, dtype: Any = None) -> Tracer:
    a, b = lift(a), lift(b)
    if not a.ndim or not b.ndim:
        raise errors.ShapeError("matmul takes arrays with at least one axis; use *", user_loc())
    left = a if a.ndim > 1 else expand_dims(a, 0)
    right = b if b.ndim > 1 else expand_dims(b, 1)
    if left.shape[-1] != right.shape[-2]:
        raise errors.ShapeError(
            f"matmul: {a.type} does not multiply {b.type}: {left.shape[-1]} columns against"
            f" {right.shape[-2]} rows",
            user_loc(),
        )
    chosen = promoted_dtype([a, b]) if dtype is None else known_dtype(dtype)
    result = _batched_product(left, right, "i32" if chosen == "bool" else chosen)
    dropped = [axis for axis, x in ((-2, a), (-1, b)) if x.ndim == 1]
    if dropped:
        shape = tuple(n for i, n in enumerate(result.shape, -len(result.shape)) if i not in dropped)
        result = shape_ops.reshape(result, shape=shape)
    return wrap(cast_to(result, chosen))


def _batched_product(left: Tracer, right: Tracer, dtype: str) -> Value:
    try:
        batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    except ValueError:
        raise errors.ShapeError(
            f"matmul: leading axes of {left.type} and {right.type} do not broadcast", user_loc()
        ) from None
    values = [
        broadcast_to(cast_to(x.value(), dtype), (*batch, *x.shape[-2:])) for x in (left, right)
    ]
    return linalg_ops.matmul(*values)


def dot(a: Any, b: Any) -> Any:
    a, b = lift(a), lift(b)
    if not a.ndim or not b.ndim:
        return np.multiply(a, b)
    if b.ndim <= 2:
        return matmul(a, b)
    return tensordot(a, b, ([a.ndim - 1], [b.ndim - 2]))


def inner(a: Any, b: Any) -> Any:
    a, b = lift(a), lift(b)
    if not a.ndim or not b.ndim:
        return np.multiply(a, b)
    return tensordot(a, b, ([a.ndim - 1], [b.ndim - 1]))


def outer(a: Any, b: Any) -> Any:
    return np.multiply(expand_dims(ravel(a), 1), expand_dims(ravel(b), 0))


def vdot(a: Any, b: Any) -> Any:
    return matmul(ravel(a), ravel(b))


def tensordot(a: Any, b: Any, axes: Any = 2) -> Tracer:
    a, b = lift(a), lift(b)
    first, second = _contracted_axes(a, b, axes)
    free_a = [i for i in range(a.ndim) if i not in first]
    free_b = [i for i in range(b.ndim) if i not in second]
    inner_size = int(np.prod([a.shape[i] for i in first], dtype=int))
    left = reshape(transpose(a, free_a + first), (-1 if a.size else 0, inner_size))
    right = reshape(transpose(b, second + free_b), (inner_size, -1 if b.size else 0))
    shape = tuple(a.shape[i] for i in free_a) + tuple(b.shape[i] for i in free_b)
    return wrap(shape_ops.reshape(matmul(left, right).value(), shape=shape))


def _contracted_axes(a: Tracer, b: Tracer, axes: Any) -> tuple[list[int], list[int]]:
    if isinstance(axes, int):
        first, second = list(range(a.ndim - axes, a.ndim)), list(range(axes))
    else:
        given = [x if isinstance(x, (tuple, list)) else (x,) for x in axes]
        first = [normalise_axis(i, a.ndim) for i in given[0]]
        second = [normalise_axis(i, b.ndim) for i in given[1]]
    if [a.shape[i] for i in first] != [b.shape[i] for i in second]:
        raise errors.ShapeError(
            f"tensordot: axes {first} of {a.type} do not match axes {second} of {b.type}",
            user_loc(),
        )
    return first, second
