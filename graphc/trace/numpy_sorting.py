"""NumPy's sorting and searching."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from graphc import errors
from graphc.build import Value
from graphc.ir import COMPLEXES
from graphc.ops import index as index_ops
from graphc.ops import sorting
from graphc.trace import sizes
from graphc.trace.numpy_joining import concatenate
from graphc.trace.numpy_reductions import normalise_axis
from graphc.trace.numpy_shapes import moveaxis, ravel
from graphc.trace.promotion import cast_to, promoted_dtype
from graphc.trace.scope import user_loc
from graphc.trace.tracer import Tracer, lift, wrap

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
    if isinstance(kth, Tracer) and (kth.ndim or kth.argument is None):
        inside = np.logical_and(np.greater_equal(kth, -size), np.less(kth, size))
        index_ops.check(
            lift(inside).value(),
            cast_to(kth.value(), "i64"),
            error="ValueError",
            message=f"kth(={{value}}) out of bounds ({sizes.message_text(size)})",
        )
        return
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
