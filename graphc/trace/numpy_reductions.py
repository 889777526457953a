"""NumPy's reductions on traced arrays, and the reading of `axis` arguments."""

from __future__ import annotations

import builtins
import math
import operator
from typing import Any

import numpy as np

from graphc import errors
from graphc.ir import FLOATS
from graphc.ops import elementwise as ew
from graphc.ops import reduce as reduce_ops
from graphc.ops import shape as shape_ops
from graphc.trace.scope import user_loc
from graphc.trace.tracer import Tracer, cast_to, known_dtype, lift, wrap


def normalise_axis(axis: Any, rank: int) -> int:
    """`axis` counted from the front.  Raises `errors.AttributeValueError` if there is none such."""
    position = operator.index(axis)
    if not -rank <= position < rank:
        raise errors.AttributeValueError(
            f"axis {position} is out of bounds for an array of {rank} dimensions", user_loc()
        )
    return position % rank


def normalise_axes(axis: Any, rank: int) -> tuple[int, ...]:
    """The axes that `axis` (None, an int or a tuple) names, in order."""
    if axis is None:
        return tuple(range(rank))
    given = axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = tuple(sorted(normalise_axis(a, rank) for a in given))
    if len(set(axes)) != len(axes):
        raise errors.AttributeValueError(f"duplicate value in axis {tuple(given)}", user_loc())
    return axes


# ---- reductions ----------------------------------------------------------------------------------


def _reduce(op: Any, x: Any, axis: Any, keepdims: bool, dtype: str | None = None) -> Tracer:
    x = lift(x)
    value = x.value() if dtype is None else cast_to(x.value(), dtype)
    axes = normalise_axes(axis, x.ndim)
    result = op(value, axes=axes) if axes else value
    if keepdims:
        shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
        result = shape_ops.reshape(result, shape=shape)
    return wrap(result)


def _sum_dtype(x: Tracer, dtype: Any) -> str:
    """NumPy adds and multiplies integers and booleans in i64."""
    if dtype is not None:
        return known_dtype(dtype)
    return x.dtype_name if x.dtype_name in FLOATS else "i64"


def sum(a: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Tracer:
    x = lift(a)
    return _reduce(reduce_ops.sum, x, axis, keepdims, _sum_dtype(x, dtype))


def prod(a: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Tracer:
    x = lift(a)
    return _reduce(reduce_ops.prod, x, axis, keepdims, _sum_dtype(x, dtype))


def max(a: Any, axis: Any = None, keepdims: bool = False) -> Tracer:
    return _reduce(reduce_ops.max, a, axis, keepdims)


def min(a: Any, axis: Any = None, keepdims: bool = False) -> Tracer:
    return _reduce(reduce_ops.min, a, axis, keepdims)


def any(a: Any, axis: Any = None, keepdims: bool = False) -> Tracer:
    return _reduce(reduce_ops.any, a, axis, keepdims, "bool")


def all(a: Any, axis: Any = None, keepdims: bool = False) -> Tracer:
    return _reduce(reduce_ops.all, a, axis, keepdims, "bool")


def count_nonzero(a: Any, axis: Any = None, *, keepdims: bool = False) -> Tracer:
    return sum(wrap(cast_to(lift(a).value(), "bool")), axis, np.int64, keepdims)


def mean(a: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Tracer:
    x = lift(a)
    if dtype is None:
        dtype = x.dtype if x.dtype_name in FLOATS else np.float64
    total = sum(x, axis, dtype, keepdims)
    return wrap(ew.divide(total.value(), float(_count(x, axis))))


def _count(x: Tracer, axis: Any) -> int:
    """How many elements a reduction over `axis` combines."""
    return math.prod(x.shape[i] for i in normalise_axes(axis, x.ndim))


def average(a: Any, axis: Any = None, weights: Any = None) -> Any:
    x = lift(a)
    if weights is None:
        return mean(x, axis)
    w = lift(weights)
    if w.shape != x.shape:
        along = normalise_axis(axis, x.ndim) if axis is not None else -1
        if w.ndim != 1 or along < 0 or w.shape[0] != x.shape[along]:
            raise errors.ShapeError(
                f"average: weights {w.type} do not fit {x.type} along axis {axis}", user_loc()
            )
        w = w.reshape((-1, *(1,) * (x.ndim - 1 - along)))
    return np.true_divide(sum(np.multiply(x, w), axis), sum(np.broadcast_to(w, x.shape), axis))


def var(
    a: Any, axis: Any = None, dtype: Any = None, ddof: float = 0, keepdims: bool = False
) -> Tracer:
    x = lift(a)
    if dtype is None and x.dtype_name not in FLOATS:
        dtype = np.float64
    if dtype is not None:
        x = wrap(cast_to(x.value(), known_dtype(dtype)))
    centred = np.subtract(x, mean(x, axis, keepdims=True))
    total = sum(np.square(centred), axis, None, keepdims)
    return wrap(ew.divide(total.value(), float(builtins.max(_count(x, axis) - ddof, 0))))


def std(
    a: Any, axis: Any = None, dtype: Any = None, ddof: float = 0, keepdims: bool = False
) -> Any:
    return np.sqrt(var(a, axis, dtype, ddof, keepdims))


def nansum(a: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Tracer:
    return sum(np.where(np.isnan(a), 0, a), axis, dtype, keepdims)


def nanmean(a: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    counted = sum(np.logical_not(np.isnan(a)), axis, None, keepdims)
    return np.true_divide(nansum(a, axis, dtype, keepdims), counted.astype(lift(a).dtype))


def ptp(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return np.subtract(max(a, axis, keepdims), min(a, axis, keepdims))


def _position(op: Any, x: Any, axis: Any, keepdims: bool) -> Tracer:
    x = lift(x)
    flat = x.reshape(-1) if axis is None else x
    along = 0 if axis is None else normalise_axis(axis, x.ndim)
    result = op(flat.value(), axis=along)
    if keepdims:
        kept = (1,) * x.ndim if axis is None else (*x.shape[:along], 1, *x.shape[along + 1 :])
        result = shape_ops.reshape(result, shape=kept)
    return wrap(result)


def argmax(a: Any, axis: Any = None, *, keepdims: bool = False) -> Tracer:
    return _position(reduce_ops.argmax, a, axis, keepdims)


def argmin(a: Any, axis: Any = None, *, keepdims: bool = False) -> Tracer:
    return _position(reduce_ops.argmin, a, axis, keepdims)


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    x = lift(x)
    if axis is None and x.ndim > 1 and ord in (None, "fro"):
        axis = tuple(range(x.ndim))
    many = isinstance(axis, tuple) and len(axis) > 1
    if ord in (None, 2, "fro") and not (many and ord == 2):
        return np.sqrt(sum(np.square(x), axis, None, keepdims))
    if many or ord not in (1, np.inf):
        raise errors.UnsupportedFunctionError(
            f"np.linalg.norm with ord={ord!r} cannot be traced; vectors take 1, 2 and inf",
            user_loc(),
        )
    size = np.absolute(x)
    return sum(size, axis, None, keepdims) if ord == 1 else max(size, axis, keepdims)
