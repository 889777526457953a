"""NumPy's functions that count: how often each number occurs, and how many fall into a bin."""

from __future__ import annotations

import builtins
import math
import operator
from typing import Any

import numpy as np

from graphc import errors
from graphc.ir import DTYPE_NAMES, FLOATS, INTS
from graphc.ops import elementwise as ew
from graphc.ops import index as index_ops
from graphc.trace.numpy_making import result_type
from graphc.trace.numpy_reductions import sum
from graphc.trace.numpy_shapes import ravel
from graphc.trace.numpy_sorting import searchsorted
from graphc.trace.promotion import cast_to
from graphc.trace.scope import user_loc
from graphc.trace.tracer import Tracer, lift, wrap


def bincount(x: Any, weights: Any = None, minlength: Any = 0) -> Tracer:
    """Needs `minlength`, which is then the length; a larger number is an error of the step."""
    numbers = lift(x)
    size = operator.index(minlength)
    if numbers.ndim != 1 or numbers.dtype_name not in INTS:
        raise errors.DTypeError(
            f"bincount: a 1-d array of integers, not {numbers.type}", user_loc()
        )
    if not size:
        raise errors.DataDependentShapeError(
            "np.bincount(x) is as long as the largest element of x; pass minlength=n, which no"
            " element of x may reach",
            user_loc(),
        )
    value = cast_to(numbers.value(), "i64")
    inside = ew.logical_and(ew.greater_equal(value, 0), ew.less(value, size))
    message = f"bincount: {{value}} is not in the range of minlength={size}"
    index_ops.check(inside, value, error="ValueError", message=message)
    added = np.ones(numbers.shape, np.int64) if weights is None else lift(weights).astype(float)
    return _counts(wrap(value), lift(added), size)


def _counts(positions: Any, added: Any, size: int) -> Tracer:
    start = lift(np.zeros(size, added.dtype)).value()
    return wrap(index_ops.scatter_add(start, positions.value(), added.value(), axis=0))


def histogram_bin_edges(a: Any, bins: Any = 10, range: Any = None, weights: Any = None) -> Any:
    if np.ndim(bins):
        return lift(bins)
    if isinstance(bins, str):
        raise errors.DataDependentShapeError(
            f"bins={bins!r} depends on the data; give the number of bins", user_loc()
        )
    x = ravel(a)
    if range is not None:
        low, high = range
    elif not x.size:
        low, high = 0.0, 1.0
    else:
        low, high = x.min(), x.max()
    dtype = result_type(low, high, x)
    dtype = dtype if DTYPE_NAMES.get(dtype) in FLOATS else np.dtype(np.float64)
    same = np.equal(low, high)
    low, high = np.where(same, low - 0.5, low), np.where(same, high + 0.5, high)
    return np.linspace(low, high, operator.index(bins) + 1, dtype=dtype)


def histogram(
    a: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None
) -> tuple[Any, Any]:
    x = ravel(a)
    edges = lift(histogram_bin_edges(x, bins, range))
    count = edges.shape[0] - 1
    bin_of, inside = _bins_of(x, edges)
    counts: Any = _counted_inside(bin_of, inside, weights, count)
    if density:
        return counts / np.diff(edges) / sum(counts), edges
    return counts, edges


def _bins_of(x: Any, edges: Any) -> tuple[Any, Any]:
    """In which bin each number is, and whether it is in any; the last bin has both its edges."""
    count = edges.shape[0] - 1
    bin_of: Any = searchsorted(edges, x, "right") - 1
    bin_of = np.where(np.equal(x, edges[-1]), count - 1, bin_of)
    inside = np.logical_and(bin_of >= 0, bin_of < count)
    return np.clip(bin_of, 0, count - 1), inside


def _counted_inside(bin_of: Any, inside: Any, weights: Any, count: int) -> Tracer:
    added: Any = lift(np.ones(bin_of.shape, np.int64)) if weights is None else ravel(weights)
    return _counts(bin_of, np.where(inside, added, np.zeros((), added.dtype)), count)


def _edges_of(x: Any, bins: Any, range: Any) -> Any:
    """Of one axis of several: a range that is given keeps its own dtype there."""
    if range is None or np.ndim(bins):
        return histogram_bin_edges(x, bins, range)
    return histogram_bin_edges(np.zeros(0), bins, range)


def histogramdd(
    sample: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None
) -> tuple[Any, Any]:
    """Counts in boxes, as floats: a bin of each axis, and the boxes counted as one axis."""
    points = lift(sample) if isinstance(sample, Tracer) else lift(np.stack(list(sample), 1))
    points = points if points.ndim == 2 else points.reshape(-1, 1)
    dimensions = points.shape[1]
    bins = list(bins) if np.iterable(bins) else [bins] * dimensions
    range = [None] * dimensions if range is None else list(range)
    if len(bins) != dimensions or len(range) != dimensions:
        raise errors.ShapeError(
            f"histogramdd: {len(bins)} bins and {len(range)} ranges for {dimensions} axes",
            user_loc(),
        )
    columns = [points[:, i] for i in builtins.range(dimensions)]
    rows = zip(columns, bins, range, strict=True)
    edges: list[Any] = [lift(_edges_of(x, b, r)) for x, b, r in rows]
    shape = tuple(e.shape[0] - 1 for e in edges)
    box: Any = np.zeros(points.shape[0], np.int64)
    inside: Any = np.ones(points.shape[0], bool)
    for x, own in zip(columns, edges, strict=True):
        bin_of, is_inside = _bins_of(x, own)
        box = box * (own.shape[0] - 1) + bin_of
        inside = np.logical_and(inside, is_inside)
    counts: Any = _counted_inside(box, inside, weights, math.prod(shape)).astype(float)
    counts = counts.reshape(shape)
    if density:
        total = sum(counts)
        for axis, own in enumerate(edges):
            wide = [1] * dimensions
            wide[axis] = -1
            counts = counts / np.diff(own).reshape(wide)
        counts = counts / total
    return counts, tuple(edges)


def histogram2d(
    x: Any,
    y: Any,
    bins: Any = 10,
    range: Any = None,
    density: Any = None,
    weights: Any = None,
) -> tuple[Any, Any, Any]:
    if np.iterable(bins) and len(list(bins)) != 2:
        bins = [bins, bins]  # the edges of both
    counts, edges = histogramdd(np.stack([x, y], 1), bins, range, density, weights)
    return counts, *edges
