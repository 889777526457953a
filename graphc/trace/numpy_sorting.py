"""NumPy's sorting and searching, and what is read off sorted values: quantiles, histograms."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import errors
from graphc.build import Value
from graphc.ir import COMPLEXES, DTYPE_NAMES, FLOATS, INEXACT
from graphc.ops import sorting
from graphc.trace.numpy_joining import concatenate
from graphc.trace.numpy_reductions import normalise_axes, normalise_axis, sum
from graphc.trace.numpy_shapes import moveaxis, ravel, reshape
from graphc.trace.promotion import cast_to, promoted_dtype
from graphc.trace.scope import user_loc
from graphc.trace.tracer import Tracer, lift, wrap
from graphc.trace.ufuncs import broadcast_to

# ---- sorting -------------------------------------------------------------------------------------


def _sorted(op: Any, a: Any, axis: Any) -> Tracer:
    """An op on rows, along any axis."""
    x = lift(a)
    if axis is None:
        x, axis = ravel(x), -1
    along = normalise_axis(axis, x.ndim)
    rows = moveaxis(x, along, -1)
    value = rows.value()
    is_bool = value.dtype == "bool"
    result = op(cast_to(value, "i32") if is_bool else value)
    if is_bool and op is sorting.sort:
        result = cast_to(result, "bool")
    return wrap(moveaxis(wrap(result), -1, along).value())


def sort(a: Any, axis: Any = -1, kind: Any = None, *, stable: Any = None) -> Any:
    x: Any = lift(a)
    if x.dtype_name in COMPLEXES:
        flat = ravel(x) if axis is None else x
        along = -1 if axis is None else axis
        order: Any = argsort(flat, along)
        return np.take_along_axis(flat, order, along)
    return _sorted(sorting.sort, a, axis)


def sort_complex(a: Any) -> Any:
    x = lift(a)
    if x.dtype_name in COMPLEXES:
        return sort(x)
    is_narrow = x.dtype.kind in "iu" and x.dtype.itemsize <= 2
    return sort(x.astype(np.complex64 if is_narrow else np.complex128))


def argsort(a: Any, axis: Any = -1, kind: Any = None, *, stable: Any = None) -> Tracer:
    x: Any = lift(a)
    if x.dtype_name in COMPLEXES:  # what holds NaN comes last, that with a real part of NaN behind
        flat = ravel(x) if axis is None else x
        return lexsort((flat.imag, flat.real, np.isnan(flat)), -1 if axis is None else axis)
    return _sorted(sorting.argsort, a, axis)


def sort_method(x: Tracer, axis: Any = -1, kind: Any = None, *, stable: Any = None) -> None:
    x.store(sort(x, axis).value())


def partition(a: Any, kth: Any, axis: Any = -1, kind: str = "introselect") -> Tracer:
    """Fully sorted, which is one of the orders that `np.partition` allows."""
    _expect_kth(lift(a), kth, axis)
    ordered: Tracer = sort(a, axis)
    return ordered


def argpartition(a: Any, kth: Any, axis: Any = -1, kind: str = "introselect") -> Tracer:
    _expect_kth(lift(a), kth, axis)
    return argsort(a, axis)


def _expect_kth(x: Tracer, kth: Any, axis: Any) -> None:
    size = x.size if axis is None else x.shape[normalise_axis(axis, x.ndim)]
    for k in kth if isinstance(kth, (tuple, list, np.ndarray)) else (kth,):
        if x.size and not -size <= operator.index(k) < size:
            raise errors.AttributeValueError(f"kth(={k}) out of bounds ({size})", user_loc())


def lexsort(keys: Any, axis: Any = -1) -> Tracer:
    """The last key counts most: sort by the first, and then, in order of ties, by each other."""
    parts = [lift(key) for key in (keys if isinstance(keys, (tuple, list)) else lift(keys))]
    along = normalise_axis(axis, parts[0].ndim)
    parts = [
        own
        for part in parts
        for own in ((part.imag, part.real) if part.dtype_name in COMPLEXES else (part,))
    ]
    rows = [moveaxis(part, along, -1).value() for part in parts]
    rows = [cast_to(row, "i32") if row.dtype == "bool" else row for row in rows]
    order: Value = sorting.argsort(rows[0])
    for row in rows[1:]:
        again: Value = sorting.argsort(sorting.take_along_rows(row, order))
        order = sorting.take_along_rows(order, again)
    return wrap(moveaxis(wrap(order), -1, along).value())


# ---- quantiles -----------------------------------------------------------------------------------

Position = Callable[[Any, Any], Any]
"""Where the quantile q of n sorted elements stands: a position from 0 to n-1, with a fraction."""


def _from_offsets(a: float, b: float) -> Position:
    """n q + a + q (1 - a - b) - 1, the family of Hyndman and Fan (1996)."""
    return lambda n, q: n * q + (a + q * (1 - a - b)) - 1


_POSITIONS: dict[str, Position] = {
    "linear": lambda n, q: (n - 1) * q,
    "weibull": _from_offsets(0, 0),
    "hazen": _from_offsets(0.5, 0.5),
    "median_unbiased": _from_offsets(1 / 3, 1 / 3),
    "normal_unbiased": _from_offsets(3 / 8, 3 / 8),
    "interpolated_inverted_cdf": _from_offsets(0, 1),
    "lower": lambda n, q: np.floor((n - 1) * q),
    "higher": lambda n, q: np.ceil((n - 1) * q),
    "nearest": lambda n, q: np.round((n - 1) * q),
    "midpoint": lambda n, q: (np.floor((n - 1) * q) + np.ceil((n - 1) * q)) / 2,
}


def quantile(
    a: Any,
    q: Any,
    axis: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
) -> Any:
    return _quantile(a, q, axis, method, keepdims, skips_nan=False)


def nanquantile(
    a: Any,
    q: Any,
    axis: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
) -> Any:
    return _quantile(a, q, axis, method, keepdims, skips_nan=True)


def percentile(
    a: Any,
    q: Any,
    axis: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
) -> Any:
    return _quantile(a, np.true_divide(q, 100), axis, method, keepdims, skips_nan=False)


def nanpercentile(
    a: Any,
    q: Any,
    axis: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
) -> Any:
    return _quantile(a, np.true_divide(q, 100), axis, method, keepdims, skips_nan=True)


def median(a: Any, axis: Any = None, overwrite_input: bool = False, keepdims: bool = False) -> Any:
    """The mean of the two elements in the middle; NaN where there is one."""
    x = lift(a)
    rows, shape = _rows(x, axis, keepdims)
    if not rows.shape[-1]:
        return reshape(lift(np.full(rows.shape[:-1], np.nan)), shape)
    ordered = sort(rows)
    size = rows.shape[-1]
    middle = np.mean(ordered[..., (size - 1) // 2 : size // 2 + 1], -1)
    if x.dtype_name in INEXACT:
        middle = np.where(np.isnan(ordered[..., -1]), ordered[..., -1], middle)
    return reshape(middle, shape)


def nanmedian(
    a: Any, axis: Any = None, overwrite_input: bool = False, keepdims: bool = False
) -> Any:
    return _quantile(a, 0.5, axis, "linear", keepdims, skips_nan=True)


def _rows(x: Tracer, axis: Any, keepdims: bool) -> tuple[Tracer, tuple[int, ...]]:
    """The axes that are reduced merged into a last one, and the shape of the result."""
    axes = normalise_axes(axis, x.ndim)
    kept = [i for i in range(x.ndim) if i not in axes]
    order = np.transpose(x, (*kept, *axes))
    count = math.prod(x.shape[i] for i in axes)
    rows = reshape(order, (*(x.shape[i] for i in kept), count))
    shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape) if keepdims or i not in axes)
    return rows, shape


def _quantile(a: Any, q: Any, axis: Any, method: str, keepdims: bool, skips_nan: bool) -> Any:
    if method not in _POSITIONS:
        raise errors.UnsupportedFunctionError(
            f"quantile with method={method!r} cannot be traced; choose from"
            f" {', '.join(_POSITIONS)}",
            user_loc(),
        )
    x = _in_dtype_of(lift(a), q, method)
    rows, shape = _rows(x, axis, keepdims)
    if not rows.shape[-1]:
        raise errors.ShapeError("a quantile of no elements", user_loc())
    ordered = sort(rows)
    levels = _levels(q, x)
    has_nan = np.isnan(ordered[..., -1]) if x.dtype_name in INEXACT else False
    count: Any = rows.shape[-1]
    if skips_nan:
        count = sum(np.logical_not(np.isnan(rows)), -1).astype(x.dtype)
    parts = [_at_level(ordered, level, count, method) for level in levels]
    if not skips_nan and has_nan is not False:
        parts = [np.where(has_nan, ordered[..., -1], part) for part in parts]
    results = [reshape(part, shape) for part in parts]
    return results[0] if np.ndim(q) == 0 else reshape(np.stack(results), (*np.shape(q), *shape))


_DISCRETE = ("lower", "higher", "nearest")
"""Methods that give one of the elements."""


def _in_dtype_of(x: Tracer, q: Any, method: str) -> Tracer:
    """The values in the dtype of the result: a level that is an array promotes them."""
    if x.dtype_name not in FLOATS:
        keeps = method in _DISCRETE and x.dtype_name != "bool"
        return x if keeps else x.astype(np.float64)
    if isinstance(q, (int, float)) or (isinstance(q, Tracer) and q.weak):
        return x
    levels = q.dtype if isinstance(q, Tracer) else np.asarray(q).dtype
    levels = levels if DTYPE_NAMES.get(levels) in FLOATS else np.dtype(np.float64)
    return x.astype(np.result_type(x.dtype, levels))  # type: ignore[no-any-return]


def _levels(q: Any, x: Tracer) -> list[Any]:
    if isinstance(q, Tracer):
        levels = [ravel(q)[i] for i in range(q.size)] if q.ndim else [q]
        dtype = x.dtype if x.dtype_name in FLOATS else np.float64
        return [level.astype(dtype) for level in levels]
    given = np.asarray(q, dtype=float).ravel()
    if given.size and not (given.min() >= 0 and given.max() <= 1):
        raise errors.AttributeValueError(
            "quantiles are in the range [0, 1], percentiles in [0, 100]", user_loc()
        )
    return [float(level) for level in given]


def _at_level(ordered: Tracer, level: Any, count: Any, method: str) -> Any:
    """Between the two neighbours of the position of `level`, among the first `count` elements."""
    if isinstance(count, int) and not isinstance(level, Tracer):
        place = float(np.clip(_POSITIONS[method](count, level), 0, count - 1))
        low = math.floor(place)
        below, above = ordered[..., low], ordered[..., min(low + 1, count - 1)]
        return _between(below, above, place - low)
    last = max(count - 1, 0) if isinstance(count, int) else np.maximum(count - 1, 0)
    place = np.clip(_POSITIONS[method](count, level), 0, last)
    low = np.floor(place)
    below = _element(ordered, low)
    above = _element(ordered, np.minimum(low + 1, last))
    return _between(below, above, place - low)


def _element(rows: Tracer, position: Any) -> Any:
    wanted = broadcast_to(cast_to(lift(position).value(), "i64"), rows.shape[:-1])
    at = reshape(wrap(wanted), (*rows.shape[:-1], 1))
    taken = sorting.take_along_rows(rows.value(), at.value())
    return reshape(wrap(taken), rows.shape[:-1])


def _between(below: Any, above: Any, fraction: Any) -> Any:
    """Interpolated from the nearer side, as NumPy does; equal infinities stay what they are."""
    if isinstance(fraction, float):
        if fraction == 0:
            return below
        gap = above - below
        return below + gap * fraction if fraction < 0.5 else above - gap * (1 - fraction)
    gap = np.where(fraction == 0, 0, above - below)
    return np.where(fraction < 0.5, below + gap * fraction, above - gap * (1 - fraction))


# ---- searching -----------------------------------------------------------------------------------


def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Any:
    table, wanted = lift(a), lift(v)
    if table.ndim != 1:
        raise errors.ShapeError(f"searchsorted: a sorted 1-d array, not {table.type}", user_loc())
    if sorter is not None:
        table = table[sorter]
    dtype = promoted_dtype([table, wanted])
    if dtype == "bool":
        dtype = "i32"
    values = (cast_to(table.value(), dtype), cast_to(wanted.value(), dtype))
    return wrap(_search(*values, side))


def _search(table: Value, wanted: Value, side: str) -> Value:
    if side not in ("left", "right"):
        raise errors.AttributeValueError(f"side is 'left' or 'right', not {side!r}", user_loc())
    return sorting.searchsorted(table, wanted, side=side)


def digitize(x: Any, bins: Any, right: bool = False) -> Any:
    """Bins that decrease are searched backwards."""
    side = "left" if right else "right"
    if not isinstance(bins, Tracer):
        edges = np.asarray(bins)
        if edges.size < 2 or edges[0] <= edges[-1]:
            return searchsorted(edges, x, side)
        return edges.size - searchsorted(edges[::-1], x, side)
    if bins.size < 2:
        return searchsorted(bins, x, side)
    downward = bins.size - searchsorted(bins[::-1], x, side)
    return np.where(bins[0] > bins[-1], downward, searchsorted(bins, x, side))


def interp(
    x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None
) -> Any:
    points, values = lift(xp), lift(fp)
    if points.ndim != 1 or values.shape != points.shape or not points.size:
        raise errors.ShapeError(
            f"interp: xp and fp are 1-d, not empty and of one length, not {points.type} and"
            f" {values.type}",
            user_loc(),
        )
    at = lift(x).astype(np.float64)
    points, values = points.astype(np.float64), values.astype(np.float64)
    if period is not None:
        at, points, values = _periodic(at, points, values, period)
        left = right = None
    size = points.shape[0]
    below = np.clip(searchsorted(points, at, "right") - 1, 0, max(size - 2, 0))
    above = np.minimum(below + 1, size - 1)
    x0, x1, y0, y1 = points[below], points[above], values[below], values[above]
    width = x1 - x0
    slope = (y1 - y0) / np.where(width == 0, 1.0, width)
    result = y0 + slope * (at - x0)
    result = np.where(np.isnan(result), y1 + slope * (at - x1), result)  # of infinite values
    result = np.where(np.logical_and(np.isnan(result), y0 == y1), y0, result)
    result = np.where(at == x1, y1, np.where(at == x0, y0, result))
    result = np.where(at < points[0], values[0] if left is None else left, result)
    result = np.where(at > points[-1], values[-1] if right is None else right, result)
    return np.where(np.isnan(at), at, result)


def _periodic(at: Any, points: Any, values: Any, period: Any) -> tuple[Any, Any, Any]:
    period = np.absolute(period)
    at, points = np.remainder(at, period), np.remainder(points, period)
    order = argsort(points)
    points, values = points[order], values[order]
    points = concatenate([points[-1:] - period, points, points[:1] + period])
    return at, points, concatenate([values[-1:], values, values[:1]])
