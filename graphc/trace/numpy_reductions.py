"""NumPy's reductions on traced arrays, and the reading of `axis` arguments."""

from __future__ import annotations

import builtins
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import errors
from graphc.dims import Dim
from graphc.ir import COMPLEXES, INEXACT, NARROW, widest
from graphc.ops import elementwise as ew
from graphc.ops import narrow as narrow_ops
from graphc.ops import reduce as reduce_ops
from graphc.ops import shape as shape_ops
from graphc.trace.promotion import cast_to, known_dtype
from graphc.trace.scope import user_loc
from graphc.trace.tracer import Tracer, lift, wrap


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
    if not x.ndim and axis in (0, -1):
        axis = None  # NumPy's ufuncs let a number pass for an array of one axis
    axes = normalise_axes(axis, x.ndim)
    result = op(value, axes=axes) if axes else value
    if keepdims:
        shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
        result = shape_ops.reshape(result, shape=shape)
    return wrap(result)


def sum_dtype(x: Tracer, dtype: Any) -> str:
    """NumPy adds and multiplies integers and booleans in 64 bits."""
    if dtype is not None:
        return known_dtype(dtype)
    return x.dtype_name if x.dtype_name in INEXACT else widest(x.dtype_name)


def _given(initial: Any, where: Any) -> bool:
    return initial is not None or where is not None


def _initial(initial: Any, like: Any) -> Any:
    """NumPy takes the initial value in the dtype of the result."""
    return lift(initial).astype(like.dtype)


def _selected(a: Any, where: Any, instead: Any) -> Any:
    """`a` where the mask holds, elsewhere what changes no result."""
    x = lift(a)
    if where is None:
        return x
    fill = x.dtype.type(instead) if x.dtype_name != "bool" else bool(instead)
    return np.where(where, x, fill)


def sum(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Any:
    x = lift(a)
    result = _reduce(reduce_ops.sum, _selected(x, where, 0), axis, keepdims, sum_dtype(x, dtype))
    return result if initial is None else np.add(result, _initial(initial, result))


def prod(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Any:
    x = lift(a)
    result = _reduce(reduce_ops.prod, _selected(x, where, 1), axis, keepdims, sum_dtype(x, dtype))
    return result if initial is None else np.multiply(result, _initial(initial, result))


def max(
    a: Any, axis: Any = None, keepdims: bool = False, initial: Any = None, where: Any = None
) -> Any:
    return _extremum(reduce_ops.max, np.maximum, a, axis, keepdims, initial, where)


def min(
    a: Any, axis: Any = None, keepdims: bool = False, initial: Any = None, where: Any = None
) -> Any:
    return _extremum(reduce_ops.min, np.minimum, a, axis, keepdims, initial, where)


def _extremum(
    op: Any, better: Any, a: Any, axis: Any, keepdims: bool, initial: Any, where: Any
) -> Any:
    """An initial value takes part like an element; of no element it is the result."""
    x: Any = lift(a)
    if x.dtype_name in COMPLEXES:
        return _complex_extremum(x, axis, keepdims, op is reduce_ops.max, initial, where)
    if not _given(initial, where):
        return _reduce(op, x, axis, keepdims)
    if initial is None:
        raise errors.ShapeError(
            "a maximum or minimum with where= has no identity, so it needs initial=", user_loc()
        )
    initial = _initial(initial, x)
    if where is not None:
        x = np.where(where, x, initial)
    kept = normalise_axes(axis, x.ndim)
    if builtins.any(x.shape[i] == 0 for i in kept):
        shape = tuple(
            1 if i in kept else n for i, n in enumerate(x.shape) if keepdims or i not in kept
        )
        return np.broadcast_to(initial, shape)
    return better(_reduce(op, x, axis, keepdims), initial)


def _complex_extremum(
    z: Any, axis: Any, keepdims: bool, is_max: bool, initial: Any, where: Any
) -> Any:
    if _given(initial, where):
        raise errors.UnsupportedFunctionError(
            "an extremum of complex numbers cannot be traced with initial= or where=; use np.where",
            user_loc(),
        )
    if not z.ndim:
        return wrap(z.value())
    axes = normalise_axes(axis, z.ndim)
    kept = [i for i in range(z.ndim) if i not in axes]
    shape = tuple(z.shape[i] for i in kept)
    rows = np.transpose(z, (*kept, *axes)).reshape((*shape, -1))
    place = (argmax if is_max else argmin)(rows, -1)
    result = np.take_along_axis(rows, np.expand_dims(place, -1), -1)[..., 0]
    if keepdims:
        result = result.reshape(tuple(1 if i in axes else n for i, n in enumerate(z.shape)))
    return result


def any(a: Any, axis: Any = None, keepdims: bool = False, where: Any = None) -> Tracer:
    return _reduce(reduce_ops.any, _selected(a, where, False), axis, keepdims, "bool")


def all(a: Any, axis: Any = None, keepdims: bool = False, where: Any = None) -> Tracer:
    return _reduce(reduce_ops.all, _selected(a, where, True), axis, keepdims, "bool")


def count_nonzero(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    return sum(wrap(cast_to(lift(a).value(), "bool")), axis, np.int64, keepdims)


def mean(
    a: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False, where: Any = None
) -> Any:
    x = lift(a)
    if dtype is None and x.dtype_name in NARROW:
        return in_single(x, lambda wide: mean(wide, axis, None, keepdims, where))
    if dtype is None:
        dtype = x.dtype if x.dtype_name in INEXACT else np.float64
    total = sum(x, axis, dtype, keepdims, None, where)
    if where is not None:
        counted = sum(np.broadcast_to(where, x.shape), axis, np.int64, keepdims)
        return np.true_divide(total, counted.astype(total.dtype))
    return wrap(ew.divide(total.value(), _count(x, axis)))


def in_single(x: Tracer, function: Callable[[Tracer], Any]) -> Tracer:
    """What a function gives in f32, in the dtype of `x`: a count or a sum of squares may be beyond
    the largest f16."""
    result = function(wrap(narrow_ops.widen(x.value())))
    return wrap(narrow_ops.narrow(result.value(), dtype=x.dtype_name))


def _count(x: Tracer, axis: Any) -> Any:
    """How many elements a reduction over `axis` combines, as a float or symbolic."""
    count = math.prod(x.shape[i] for i in normalise_axes(axis, x.ndim))
    return count if isinstance(count, Dim) else float(count)


def average(
    a: Any,
    axis: Any = None,
    weights: Any = None,
    returned: bool = False,
    *,
    keepdims: bool = False,
) -> Any:
    x = lift(a)
    if weights is None:
        result: Any = mean(x, axis, keepdims=keepdims)
        total: Any = lift(_count(x, axis)).astype(result.dtype)
    else:
        w = _weights(x, axis, weights)
        ints = x.dtype_name not in INEXACT and w.dtype_name not in INEXACT
        dtype = np.float64 if ints else np.result_type(x.dtype, w.dtype)
        total = sum(np.broadcast_to(w, x.shape), axis, dtype, keepdims)
        result = np.true_divide(sum(np.multiply(x, w), axis, keepdims=keepdims), total)
    return (result, np.broadcast_to(total, result.shape)) if returned else result


def _weights(x: Tracer, axis: Any, weights: Any) -> Tracer:
    """The weights with the axes of `x`: one of size 1 for each that `axis` does not name."""
    w: Any = lift(weights)
    if w.shape == x.shape:
        return w  # type: ignore[no-any-return]
    given = axis if isinstance(axis, (tuple, list)) else () if axis is None else (axis,)
    along = [normalise_axis(a, x.ndim) for a in given]
    if not along or w.shape != tuple(x.shape[a] for a in along):
        raise errors.ShapeError(
            f"average: weights {w.type} do not fit {x.type} along axis {axis}", user_loc()
        )
    shape = tuple(n if i in along else 1 for i, n in enumerate(x.shape))
    ordered: Any = np.transpose(w, np.argsort(along))
    return ordered.reshape(shape)  # type: ignore[no-any-return]


def var(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    ddof: float = 0,
    keepdims: bool = False,
    where: Any = None,
    *,
    mean: Any = None,
    correction: Any = None,
) -> Any:
    x = lift(a)
    if dtype is None and x.dtype_name in NARROW:
        centre = mean if mean is None else lift(mean).astype(np.float32)
        given = {"mean": centre, "correction": correction}
        return in_single(x, lambda wide: var(wide, axis, None, ddof, keepdims, where, **given))
    if dtype is None and x.dtype_name not in INEXACT:
        dtype = np.float64
    if dtype is not None:
        x = wrap(cast_to(x.value(), known_dtype(dtype)))
    ddof = ddof if correction is None else correction
    centre = _mean(x, axis, None, True, where) if mean is None else mean
    total = sum(squared_size(np.subtract(x, centre)), axis, None, keepdims, None, where)
    if where is not None:
        counted = sum(np.broadcast_to(where, x.shape), axis, np.int64, keepdims)
        free = np.maximum(counted.astype(total.dtype) - ddof, 0)
        return np.true_divide(total, free)
    return wrap(ew.divide(total.value(), free_of(_count(x, axis), ddof)))


def free_of(count: Any, ddof: Any) -> Any:
    """The degrees of freedom, 0 at the least, as a float or symbolic."""
    if isinstance(count, Dim) and float(ddof).is_integer():
        free = count - int(ddof)
        return free if free > 0 else 0.0
    return float(builtins.max(count - ddof, 0))


_mean = mean


def squared_size(x: Any) -> Any:
    """|x|²"""
    x = lift(x)
    if x.dtype_name in COMPLEXES:
        return np.add(np.square(x.real), np.square(x.imag))
    return np.square(x)


def std(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    ddof: float = 0,
    keepdims: bool = False,
    where: Any = None,
    *,
    mean: Any = None,
    correction: Any = None,
) -> Any:
    return root(var(a, axis, dtype, ddof, keepdims, where, mean=mean, correction=correction))


def root(total: Any) -> Any:
    """The square root of a sum of squares: where it is 0, all of them are, and so is the gradient.

    That of the root alone is infinite there, and times the 0 of the squares NaN.
    """
    zero = np.equal(total, 0)
    return np.where(zero, total, np.sqrt(np.where(zero, 1, total)))


def nansum(a: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    return sum(np.where(np.isnan(a), 0, a), axis, dtype, keepdims)


def nanmean(a: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    x = lift(a)
    if x.dtype_name not in INEXACT:
        return mean(a, axis, dtype, keepdims)
    if x.dtype_name in NARROW and dtype is None:
        return in_single(x, lambda wide: nanmean(wide, axis, None, keepdims))
    counted = sum(np.logical_not(np.isnan(a)), axis, None, keepdims)
    return np.true_divide(nansum(a, axis, dtype, keepdims), counted.astype(lift(a).dtype))


def ptp(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return np.subtract(max(a, axis, keepdims), min(a, axis, keepdims))


def _position(op: Any, x: Any, axis: Any, keepdims: bool) -> Tracer:
    x = lift(x)
    flat = x.reshape(-1) if axis is None else x
    along = 0 if axis is None else normalise_axis(axis, x.ndim)
    if x.dtype_name in COMPLEXES:
        flat, op = _is_extremum(flat, along, op is reduce_ops.argmax), reduce_ops.argmax
    result = op(flat.value(), axis=along)
    if keepdims:
        kept = (1,) * x.ndim if axis is None else (*x.shape[:along], 1, *x.shape[along + 1 :])
        result = shape_ops.reshape(result, shape=kept)
    return wrap(result)


def _is_extremum(z: Any, axis: int, is_max: bool) -> Any:
    """Where a complex number is the extremum along an axis: by the real parts, and by the imaginary
    ones where these are equal; what holds NaN comes first."""
    better, worst = (max, -np.inf) if is_max else (min, np.inf)
    nan = np.isnan(z)
    real, imag = z.real, z.imag
    ties = np.equal(real, better(real, axis, True))
    rest = np.where(ties, imag, real.dtype.type(worst))
    found = np.logical_and(ties, np.equal(rest, better(rest, axis, True)))
    return np.where(any(nan, axis, True), nan, found)


def argmax(a: Any, axis: Any = None, *, keepdims: bool = False) -> Tracer:
    return _position(reduce_ops.argmax, a, axis, keepdims)


def argmin(a: Any, axis: Any = None, *, keepdims: bool = False) -> Tracer:
    return _position(reduce_ops.argmin, a, axis, keepdims)
