"""NumPy's quantiles, percentiles and medians: read off sorted values, or off running weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import errors
from graphc.ir import DTYPE_NAMES, FLOATS, INEXACT
from graphc.ops import index as index_ops
from graphc.ops import sorting
from graphc.trace.broadcasting import broadcast_to
from graphc.trace.numpy_reductions import normalise_axes, sum
from graphc.trace.numpy_shapes import np_broadcast_to, ravel, reshape
from graphc.trace.numpy_sorting import argsort, sort
from graphc.trace.promotion import cast_to
from graphc.trace.scope import user_loc
from graphc.trace.tracer import Tracer, lift, wrap

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
    "inverted_cdf": lambda n, q: np.ceil(n * q - 1),
    "averaged_inverted_cdf": lambda n, q: (np.floor(n * q) + np.ceil(n * q) - 1) / 2,
    "closest_observation": lambda n, q: _nearest_even(n * q - 1.5),
    "lower": lambda n, q: np.floor((n - 1) * q),
    "higher": lambda n, q: np.ceil((n - 1) * q),
    "nearest": lambda n, q: np.round((n - 1) * q),
    "midpoint": lambda n, q: (np.floor((n - 1) * q) + np.ceil((n - 1) * q)) / 2,
}


def _nearest_even(place: Any) -> Any:
    """The next whole number; `place` itself where it is one and odd, counted from zero."""
    below = np.floor(place)
    return below + 1 - np.logical_and(place == below, below % 2 == 1)


def _at_levels(name: str, in_percent: bool, skips_nan: bool) -> Callable[..., Any]:
    """One of NumPy's four functions of levels, which have one signature."""

    def function(
        a: Any,
        q: Any,
        axis: Any = None,
        overwrite_input: bool = False,
        method: str = "linear",
        keepdims: bool = False,
        *,
        weights: Any = None,
    ) -> Any:
        levels = _share(q) if in_percent else q
        return _quantile(a, levels, axis, method, keepdims, weights, skips_nan)

    function.__name__ = function.__qualname__ = name
    return function


quantile = _at_levels("quantile", in_percent=False, skips_nan=False)
nanquantile = _at_levels("nanquantile", in_percent=False, skips_nan=True)
percentile = _at_levels("percentile", in_percent=True, skips_nan=False)
nanpercentile = _at_levels("nanpercentile", in_percent=True, skips_nan=True)


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
    return _quantile(a, 0.5, axis, "linear", keepdims, None, skips_nan=True)


def _rows(x: Tracer, axis: Any, keepdims: bool) -> tuple[Tracer, tuple[int, ...]]:
    """The axes that are reduced merged into a last one, and the shape of the result."""
    axes = normalise_axes(axis, x.ndim)
    kept = [i for i in range(x.ndim) if i not in axes]
    order = np.transpose(x, (*kept, *axes))
    count = math.prod(x.shape[i] for i in axes)
    rows = reshape(order, (*(x.shape[i] for i in kept), count))
    shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape) if keepdims or i not in axes)
    return rows, shape


def _quantile(
    a: Any, q: Any, axis: Any, method: str, keepdims: bool, weights: Any, skips_nan: bool
) -> Any:
    if method not in _POSITIONS:
        raise errors.UnsupportedFunctionError(
            f"quantile with method={method!r} cannot be traced; choose from"
            f" {', '.join(_POSITIONS)}",
            user_loc(),
        )
    if method == "linear" and _is_whole(q):
        method = "lower"  # the first or the last element, and nothing between two
    x = _in_dtype_of(lift(a), q, method)
    rows, shape = _rows(x, axis, keepdims)
    if not rows.shape[-1]:
        raise errors.ShapeError("a quantile of no elements", user_loc())
    if weights is not None:
        counts = _counts(x, weights, axis, method)
        return _shaped(_weighted(rows, counts, _levels(q, x), skips_nan), q, shape)
    ordered = sort(rows)
    levels = _levels(q, x)
    has_nan = np.isnan(ordered[..., -1]) if x.dtype_name in INEXACT else False
    count: Any = rows.shape[-1]
    if skips_nan:
        count = sum(np.logical_not(np.isnan(rows)), -1)
    parts = [_at_level(ordered, level, count, method) for level in levels]
    if not skips_nan and has_nan is not False:
        parts = [np.where(has_nan, ordered[..., -1], part) for part in parts]
    return _shaped(parts, q, shape)


def _is_whole(q: Any) -> bool:
    return (q.dtype if isinstance(q, Tracer) else np.asarray(q).dtype).kind in "iub"


def _share(percent: Any) -> Any:
    """A percentage as a level; a number of Python stays one, which promotes nothing."""
    return percent / 100 if type(percent) in (int, float) else np.true_divide(percent, 100)


def _shaped(parts: list[Any], q: Any, shape: tuple[int, ...]) -> Any:
    results = [reshape(part, shape) for part in parts]
    return results[0] if np.ndim(q) == 0 else reshape(np.stack(results), (*np.shape(q), *shape))


_DISCRETE = ("lower", "higher", "nearest", "inverted_cdf", "closest_observation")
"""Methods that give one of the elements."""


def _in_dtype_of(x: Tracer, q: Any, method: str) -> Tracer:
    """The values in the dtype of the result: what is made of two of them has that of the levels."""
    if method in _DISCRETE:
        return x
    if type(q) in (int, float) or (isinstance(q, Tracer) and q.weak):
        return x if x.dtype_name in FLOATS else x.astype(np.float64)
    levels = q.dtype if isinstance(q, Tracer) else np.asarray(q).dtype
    levels = levels if DTYPE_NAMES.get(levels) in FLOATS else np.dtype(np.float64)
    return x.astype(np.result_type(x.dtype, levels))  # type: ignore[no-any-return]


def _levels(q: Any, x: Tracer) -> list[Any]:
    """The levels as numbers of their own dtype, whose digits decide in which element one falls."""
    own = x.dtype if x.dtype_name in FLOATS else np.dtype(np.float64)
    if isinstance(q, Tracer):
        if not q.weak:
            own = q.dtype if q.dtype_name in FLOATS else np.dtype(np.float64)
        levels = [ravel(q)[i] for i in range(q.size)] if q.ndim else [q]
        return [level.astype(own) for level in levels]
    if type(q) not in (int, float):
        given = np.asarray(q).dtype
        own = given if DTYPE_NAMES.get(given) in FLOATS else np.dtype(np.float64)
    numbers = np.asarray(q, dtype=own).ravel()
    if numbers.size and not (numbers.min() >= 0 and numbers.max() <= 1):
        raise errors.AttributeValueError(
            "quantiles are in the range [0, 1], percentiles in [0, 100]", user_loc()
        )
    return list(numbers)


def _at_level(ordered: Tracer, level: Any, count: Any, method: str) -> Any:
    """Between the two neighbours of the position of `level`, among the first `count` elements."""
    if isinstance(count, int) and not isinstance(level, Tracer):
        place = float(np.clip(_POSITIONS[method](count, level), 0, count - 1))
        low = math.floor(place)
        below, above = ordered[..., low], ordered[..., min(low + 1, count - 1)]
        return _between(below, above, place - low)
    if isinstance(count, Tracer):
        count = count.astype(level.dtype)
    last = max(count - 1, 0) if isinstance(count, int) else np.maximum(count - 1, 0)
    place = np.clip(_POSITIONS[method](count, level), 0, last)
    low = np.floor(place)
    below = _element(ordered, low)
    if method in _DISCRETE:
        return below
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


# ---- weights -------------------------------------------------------------------------------------


def _counts(x: Tracer, weights: Any, axis: Any, method: str) -> Tracer:
    """How often each element of the rows counts."""
    given: Any = lift(weights)
    if method != "inverted_cdf":
        raise errors.AttributeValueError(
            f"weights go with method='inverted_cdf', not {method!r}", user_loc()
        )
    axes = normalise_axes(axis, x.ndim)
    if given.shape != x.shape:
        if given.shape != tuple(x.shape[i] for i in axes):
            raise errors.ShapeError(
                f"weights {given.type} fit neither {x.type} nor its axes {axes}", user_loc()
            )
        order = np.argsort(np.argsort(axes)) if len(axes) > 1 else (0,)
        along = tuple(n if i in axes else 1 for i, n in enumerate(x.shape))
        given = np_broadcast_to(reshape(np.transpose(given, np.argsort(order)), along), x.shape)
    for holds, message in (
        (np.greater_equal(given, 0), "Weights must be non-negative."),
        (np.isfinite(given), "Weights included NaN, inf or were all zero."),
    ):
        _require(holds, message)
    return _rows(given, axis, False)[0]


def _require(holds: Any, message: str) -> None:
    ok = lift(holds).value()
    index_ops.check(ok, cast_to(ok, "i64"), error="ValueError", message=message)


def _weighted(rows: Any, counts: Any, levels: list[Any], skips_nan: bool) -> list[Any]:
    """The first element up to which the weights sum to that share of all of them."""
    has_nan = np.isnan(rows) if rows.dtype_name in INEXACT else None
    if skips_nan and has_nan is not None:
        counts = np.where(has_nan, 0, counts)
    order: Any = argsort(rows)
    ordered: Any = np.take_along_axis(rows, order, -1)
    running = np.cumsum(np.take_along_axis(counts, order, -1), -1, dtype=np.float64)
    _require(running[..., -1] > 0, "Weights included NaN, inf or were all zero.")
    share = running / running[..., -1:]
    share = np.where(share == 0, -1.0, share)  # the level 0 is the first with a weight
    last = rows.shape[-1] - 1
    parts = [_element(ordered, np.minimum(sum(share < q, -1), last)) for q in levels]
    if skips_nan or has_nan is None:
        return parts
    return [np.where(np.any(has_nan, -1), ordered[..., -1], part) for part in parts]
