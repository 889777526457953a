"""NumPy's products of matrices and tensors."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from graphc import errors
from graphc.build import Value
from graphc.dims import same
from graphc.ops import linalg as linalg_ops
from graphc.ops import shape as shape_ops
from graphc.trace import sizes
from graphc.trace.broadcasting import broadcast_to
from graphc.trace.numpy_making import eye
from graphc.trace.numpy_reductions import normalise_axis
from graphc.trace.numpy_reductions import sum as reduce_sum
from graphc.trace.numpy_shapes import expand_dims, moveaxis, ravel, reshape, transpose
from graphc.trace.promotion import cast_to, known_dtype, promoted_dtype
from graphc.trace.scope import user_loc
from graphc.trace.tracer import Tracer, lift, wrap


def matmul(a: Any, b: Any, dtype: Any = None) -> Tracer:
    a, b = lift(a), lift(b)
    if not a.ndim or not b.ndim:
        raise errors.ShapeError("matmul takes arrays with at least one axis; use *", user_loc())
    left = a if a.ndim > 1 else expand_dims(a, 0)
    right = b if b.ndim > 1 else expand_dims(b, 1)
    if not same(left.shape[-1], right.shape[-2]):
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
        batch = sizes.broadcast_shapes(left.shape[:-2], right.shape[:-2])
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
    return matmul(np.conjugate(ravel(a)), ravel(b))


def tensordot(a: Any, b: Any, axes: Any = 2) -> Tracer:
    a, b = lift(a), lift(b)
    first, second = _contracted_axes(a, b, axes)
    free_a = [i for i in range(a.ndim) if i not in first]
    free_b = [i for i in range(b.ndim) if i not in second]
    inner_size = math.prod(a.shape[i] for i in first)
    rows, columns = (math.prod(x.shape[i] for i in k) for x, k in ((a, free_a), (b, free_b)))
    left = reshape(transpose(a, free_a + first), (rows, inner_size))
    right = reshape(transpose(b, second + free_b), (inner_size, columns))
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


def kron(a: Any, b: Any) -> Any:
    a, b = lift(a), lift(b)
    rank = max(a.ndim, b.ndim)
    a = reshape(a, (1,) * (rank - a.ndim) + a.shape)
    b = reshape(b, (1,) * (rank - b.ndim) + b.shape)
    left = reshape(a, tuple(n for size in a.shape for n in (size, 1)))
    right = reshape(b, tuple(n for size in b.shape for n in (1, size)))
    shape = tuple(m * n for m, n in zip(a.shape, b.shape, strict=True))
    return reshape(np.multiply(left, right), shape)


def cross(
    a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: Any = None
) -> Any:
    if axis is not None:
        axisa = axisb = axisc = axis
    x: Any = moveaxis(lift(a), axisa, -1)
    y: Any = moveaxis(lift(b), axisb, -1)
    sizes = (x.shape[-1], y.shape[-1])
    if not {2, 3}.issuperset(sizes):
        raise errors.ShapeError(
            f"cross: vectors of 2 or 3 elements, not {lift(a).type} and {lift(b).type}", user_loc()
        )
    last = x[..., 0] * y[..., 1] - x[..., 1] * y[..., 0]
    if sizes == (2, 2):
        return last
    parts = [_minor(x, y, 1, 2), _minor(x, y, 2, 0), last]
    return np.stack(np.broadcast_arrays(*parts), normalise_axis(axisc, last.ndim + 1))


def _minor(x: Any, y: Any, i: int, j: int) -> Any:
    """x_i y_j - x_j y_i, where one of the vectors may lack its third element, which is 0."""
    first: Any = x[..., i] * y[..., j] if i < x.shape[-1] and j < y.shape[-1] else None
    second: Any = x[..., j] * y[..., i] if j < x.shape[-1] and i < y.shape[-1] else None
    if first is None:
        return -second
    return first if second is None else first - second


def vecdot(x1: Any, x2: Any, dtype: Any = None, axis: int = -1) -> Any:
    terms = np.multiply(np.conjugate(x1), x2)
    return reduce_sum(terms, axis, terms.dtype if dtype is None else dtype)


def matvec(x1: Any, x2: Any) -> Any:
    return matmul(x1, expand_dims(x2, -1))[..., 0]


def vecmat(x1: Any, x2: Any) -> Any:
    return matmul(np.conjugate(expand_dims(x1, -2)), x2)[..., 0, :]


def multi_dot(arrays: Any) -> Any:
    """In the order that costs the fewest multiplications, by dynamic programming."""
    parts = [lift(x) for x in arrays]
    if len(parts) < 2:
        raise errors.ArityError("multi_dot takes two arrays or more", user_loc())
    first, last = parts[0].ndim, parts[-1].ndim
    parts[0] = parts[0] if first > 1 else expand_dims(parts[0], 0)
    parts[-1] = parts[-1] if last > 1 else expand_dims(parts[-1], 1)
    result = _in_best_order(parts)
    kept = [axis for axis, n in ((0, first), (1, last)) if n > 1]
    return reshape(result, tuple(result.shape[axis] for axis in kept))


def _in_best_order(parts: list[Tracer]) -> Tracer:
    sizes = [part.shape[0] for part in parts] + [parts[-1].shape[-1]]
    best: dict[tuple[int, int], tuple[int, Tracer | None, int]] = {}
    count = len(parts)
    for i in range(count):
        best[i, i] = (0, parts[i], i)
    for width in range(1, count):
        for i in range(count - width):
            j = i + width
            costs = [
                best[i, k][0] + best[k + 1, j][0] + sizes[i] * sizes[k + 1] * sizes[j + 1]
                for k in range(i, j)
            ]
            cost = min(costs)
            best[i, j] = (cost, None, i + costs.index(cost))

    def product(i: int, j: int) -> Tracer:
        _, made, k = best[i, j]
        return made if made is not None else matmul(product(i, k), product(k + 1, j))

    return product(0, count - 1)


def matrix_power(a: Any, n: Any) -> Any:
    x: Any = lift(a)
    power = operator.index(n)
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise errors.ShapeError(f"matrix_power: square matrices, not {x.type}", user_loc())
    if power == 0:
        return np.broadcast_to(eye(x.shape[-1], dtype=x.dtype), x.shape)
    if power < 0:
        x, power = np.linalg.inv(x), -power
    result = None
    while power:
        if power % 2:
            result = x if result is None else matmul(result, x)
        power //= 2
        x = matmul(x, x) if power else x
    return result
