"""Reading an index: which part of it is a view, and which positions are computed.

Slices, integers, None and ... give a view; index arrays and traced integers are positions along an
axis of that view; a traced mask stands for the axes that it covers.
"""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np

from graphc import errors
from graphc.dims import Dim, Size
from graphc.trace.scope import user_loc
from graphc.trace.sizes import as_size
from graphc.trace.tracer import Tracer, holds_tracer, lift
from graphc.trace.views import ReshapeView, SliceView


class _Window(NamedTuple):
    """What basic indexing does to one axis; `kept` is False where an integer drops the axis."""

    start: Size
    size: Size
    step: int
    kept: bool = True


def is_mask(item: Any) -> bool:
    return isinstance(item, Tracer) and item.dtype_name == "bool"


def is_mask_index(items: list[Any]) -> bool:
    return any(map(is_mask, items))


# ---- reading the index ---------------------------------------------------------------------------


def as_tuple(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


def expanded(x: Tracer, index: Any) -> list[Any]:
    """One item for each axis of x (and Nones), the ellipsis and missing ends filled in."""
    items = [_as_positions(i) if isinstance(i, list) else i for i in as_tuple(index)]
    items = [part for item in items for part in _without_masks(item)]
    used = sum(_axes_used(item) for item in items)
    if used > x.ndim:
        raise errors.UnsupportedIndexError(
            f"too many indices: {x.type} has {x.ndim} axes, {used} were indexed", user_loc()
        )
    fill = [slice(None)] * (x.ndim - used)
    dots = [i for i, item in enumerate(items) if item is Ellipsis]
    if len(dots) > 1:
        raise errors.UnsupportedIndexError("an index can have one ellipsis (...)", user_loc())
    at = dots[0] if dots else len(items)
    return [*items[:at], *fill, *items[at + 1 :]]


def _axes_used(item: Any) -> int:
    if item is None or item is Ellipsis:
        return 0
    return item.ndim if is_mask(item) else 1


def _as_positions(item: list[Any]) -> Any:
    if holds_tracer(item):
        return lift(item)
    array = np.asarray(item)
    return array if array.size else array.astype(np.intp)


def _without_masks(item: Any) -> list[Any]:
    """A mask known while tracing becomes the positions of its true elements."""
    if isinstance(item, np.ndarray) and item.dtype == np.bool_ and item.ndim:
        return list(np.nonzero(item))
    return [item]


def separated(items: list[Any]) -> tuple[list[Any], dict[int, Any]]:
    """The basic part of an index, and the computed positions by axis of what that part leaves."""
    computed = _has_axes(items)
    basic: list[Any] = []
    positions: dict[int, Any] = {}
    axis = 0
    for item in items:
        if is_positions(item) or (computed and _is_integer(item)):
            positions[axis] = item
            item = slice(None)
        basic.append(item)
        axis += item is None or isinstance(item, slice)
    return basic, positions


def _has_axes(items: list[Any]) -> bool:
    """Whether an integer array with axes takes part: integers then count as arrays, too."""
    return any(is_positions(item) and np.ndim(item) for item in items)


def _is_integer(item: Any) -> bool:
    return isinstance(item, (int, np.integer)) and not isinstance(item, bool)


def is_positions(item: Any) -> bool:
    if isinstance(item, Tracer):
        return True
    return isinstance(item, np.ndarray) and item.ndim > 0


# ---- basic indexing ------------------------------------------------------------------------------


def basic_view(x: Tracer, items: list[Any]) -> Tracer:
    present = [item for item in items if item is not None]
    windows = [_window(item, n) for item, n in zip(present, x.shape, strict=True)]
    sliced = x
    sizes = tuple(w.size for w in windows)
    if sizes != x.shape or any((w.start, w.step) != (0, 1) for w in windows):
        view = SliceView(tuple(w.start for w in windows), sizes, tuple(w.step for w in windows))
        sliced = x.through(view, sizes)
    shape = _kept_shape(items, windows)
    return sliced if shape == sizes else sliced.through(ReshapeView(sizes, shape), shape)


def _kept_shape(items: list[Any], windows: list[_Window]) -> tuple[Any, ...]:
    remaining = iter(windows)
    shape: list[Size] = []
    for item in items:
        if item is None:
            shape.append(1)
            continue
        window = next(remaining)
        if window.kept:
            shape.append(window.size)
    return tuple(shape)


def _bounds(item: slice, extent: Size) -> tuple[Any, Any, int]:
    """`item.indices(extent)`, also where the numbers are symbolic."""
    parts = (item.start, item.stop, item.step)
    start, stop, step = (None if part is None else as_size(part) for part in parts)
    if not any(isinstance(part, Dim) for part in (start, stop, step, extent)):
        return slice(start, stop, step).indices(operator.index(extent))
    step = 1 if step is None else operator.index(step)
    if step == 0:
        raise ValueError("slice step cannot be zero")
    least, most = (0, extent) if step > 0 else (-1, extent - 1)
    first, last = (least, most) if step > 0 else (most, least)
    return (
        first if start is None else _clamped(start, extent, least, most),
        last if stop is None else _clamped(stop, extent, least, most),
        step,
    )


def _clamped(position: Size, extent: Size, least: int, most: Size) -> Size:
    """Negative positions count from the end; what lies outside is moved to the nearest end."""
    if position < 0:
        position = position + extent
        return least if position < least else position
    return most if position > most else position


def _window(item: Any, extent: Size) -> _Window:
    if isinstance(item, slice):
        start, stop, step = _bounds(item, extent)
        gap = stop - start if step > 0 else start - stop
        size = (gap + abs(step) - 1) // abs(step) if gap > 0 else 0
        return _Window(start if size else 0, size, step)
    position = _position(item)
    if not -extent <= position < extent:
        raise errors.IndexOutOfRangeError(
            f"index {position} is out of bounds for an axis of size {extent}", user_loc()
        )
    return _Window(position % extent, 1, 1, kept=False)


def _position(item: Any) -> Any:
    if isinstance(item, (bool, np.bool_)) or not hasattr(item, "__index__"):
        raise errors.UnsupportedIndexError(
            f"an array is indexed by integers, slices, None, ... and integer arrays, not by"
            f" {type(item).__name__}; convert it to one of these",
            user_loc(),
        )
    return as_size(item)
