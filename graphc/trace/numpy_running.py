"""NumPy's running sums and products, and the differences and integrals along an axis."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from graphc import errors
from graphc.ir import INEXACT
from graphc.ops import cumulative
from graphc.trace.numpy_joining import concatenate, diff
from graphc.trace.numpy_reductions import normalise_axis, sum, sum_dtype
from graphc.trace.numpy_shapes import ravel, reshape
from graphc.trace.promotion import cast_to
from graphc.trace.scope import user_loc
from graphc.trace.tracer import Tracer, lift, wrap


def _running(op: Any, a: Any, axis: Any, dtype: str | None) -> Tracer:
    x = lift(a)
    if axis is None:
        x, axis = ravel(x), 0
    if not x.ndim:
        x = reshape(x, (1,))
    value = x.value() if dtype is None else cast_to(x.value(), dtype)
    return wrap(op(value, axis=normalise_axis(axis, x.ndim), reverse=False))


def cumsum(a: Any, axis: Any = None, dtype: Any = None) -> Tracer:
    return _running(cumulative.cumsum, a, axis, sum_dtype(lift(a), dtype))


def cumprod(a: Any, axis: Any = None, dtype: Any = None) -> Tracer:
    return _running(cumulative.cumprod, a, axis, sum_dtype(lift(a), dtype))


def cumulative_sum(
    x: Any, *, axis: Any = None, dtype: Any = None, include_initial: bool = False
) -> Tracer:
    return _with_initial(cumsum, 0, x, axis, dtype, include_initial)


def cumulative_prod(
    x: Any, *, axis: Any = None, dtype: Any = None, include_initial: bool = False
) -> Tracer:
    return _with_initial(cumprod, 1, x, axis, dtype, include_initial)


def _with_initial(
    running: Any, initial: int, a: Any, axis: Any, dtype: Any, include_initial: bool
) -> Tracer:
    x = lift(a)
    if axis is None:
        if x.ndim > 1:
            raise errors.AttributeValueError(
                "an array of several axes needs axis= to run along", user_loc()
            )
        axis = 0
    result: Tracer = running(x, axis, dtype)
    if not include_initial:
        return result
    along = normalise_axis(axis, x.ndim)
    first = np.full((*x.shape[:along], 1, *x.shape[along + 1 :]), initial, result.dtype)
    return concatenate([first, result], along)


def nancumsum(a: Any, axis: Any = None, dtype: Any = None) -> Tracer:
    return cumsum(_without_nan(a, 0), axis, dtype)


def nancumprod(a: Any, axis: Any = None, dtype: Any = None) -> Tracer:
    return cumprod(_without_nan(a, 1), axis, dtype)


def _without_nan(a: Any, instead: int) -> Any:
    x = lift(a)
    return np.where(np.isnan(x), instead, x) if x.dtype_name in INEXACT else x


def running_maximum(array: Any, axis: Any = 0) -> Tracer:
    return _running(cumulative.cummax, array, axis, None)


def running_minimum(array: Any, axis: Any = 0) -> Tracer:
    return _running(cumulative.cummin, array, axis, None)


# ---- differences and integrals -------------------------------------------------------------------


def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Tracer:
    x = ravel(ary)
    parts = [diff(x)]
    for extra, at in ((to_begin, 0), (to_end, len(parts) + 1)):
        if extra is not None:
            parts.insert(at, ravel(np.asarray(extra) if not isinstance(extra, Tracer) else extra))
    return concatenate(parts, dtype=x.dtype) if len(parts) > 1 else parts[0]


def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: Any = -1) -> Any:
    values = lift(y)
    along = normalise_axis(axis, values.ndim)
    before = (slice(None),) * along
    width: Any = dx
    if x is not None:
        points = lift(x)
        width = diff(points, axis=-1 if points.ndim == 1 else along)
        if points.ndim == 1:
            width = width.reshape((-1, *(1,) * (values.ndim - 1 - along)))
    later, earlier = values[(*before, slice(1, None))], values[(*before, slice(-1))]
    return sum(width * (later + earlier) / 2.0, along)


def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Central differences inside, one-sided ones at the ends, as `np.gradient` documents them."""
    x = lift(f)
    if x.dtype_name not in INEXACT:
        x = x.astype(np.float64)
    if axis is None:
        axes = list(range(x.ndim))
    else:
        given = axis if isinstance(axis, (tuple, list)) else (axis,)
        axes = [normalise_axis(a, x.ndim) for a in given]
    spacings = list(varargs) or [1.0]
    if len(spacings) == 1:
        spacings *= len(axes)
    if len(spacings) != len(axes):
        raise errors.ArityError(
            f"gradient: {len(spacings)} spacings for {len(axes)} axes; give one, or one for each",
            user_loc(),
        )
    order = operator.index(edge_order)
    if order not in (1, 2):
        raise errors.AttributeValueError("gradient: edge_order is 1 or 2", user_loc())
    parts = [_derivative(x, h, a, order) for h, a in zip(spacings, axes, strict=True)]
    return parts[0] if len(axes) == 1 else tuple(parts)


def _derivative(x: Any, spacing: Any, axis: int, order: int) -> Any:
    size = x.shape[axis]
    if size < order + 1:
        raise errors.ShapeError(
            f"gradient: axis {axis} of {x.type} needs {order + 1} elements or more", user_loc()
        )
    f = np.moveaxis(x, axis, 0)
    is_grid = np.ndim(spacing) > 0
    steps = np.diff(spacing) if is_grid else None
    column = (-1, *(1,) * (x.ndim - 1))
    if steps is None:
        inside = (f[2:] - f[:-2]) / (2.0 * spacing)
    else:
        h, k = steps[:-1].reshape(column), steps[1:].reshape(column)
        total = h + k
        inside = (
            f[:-2] * (-k / (h * total)) + f[1:-1] * ((k - h) / (h * k)) + f[2:] * (h / (k * total))
        )
    first, last = _ends(f, spacing if steps is None else steps, order, is_grid)
    result = np.concatenate([first[None], inside, last[None]]).astype(x.dtype)
    return np.moveaxis(result, 0, axis)


def _ends(f: Any, steps: Any, order: int, is_grid: bool) -> tuple[Any, Any]:
    """The one-sided differences at both ends, of first or of second order."""
    h, last = (steps[0], steps[-1]) if is_grid else (steps, steps)
    if order == 1:
        return (f[1] - f[0]) / h, (f[-1] - f[-2]) / last
    k, before = (steps[1], steps[-2]) if is_grid else (steps, steps)
    front = -(2.0 * h + k) / (h * (h + k)) * f[0] + (h + k) / (h * k) * f[1]
    front = front - h / (k * (h + k)) * f[2]
    back = last / (before * (before + last)) * f[-3] - (last + before) / (before * last) * f[-2]
    back = back + (2.0 * last + before) / (last * (before + last)) * f[-1]
    return front, back
