"""Indexing of traced arrays: `x[...]` and `x[...] = v`.

Basic indexing (integers, slices, None, ...) gives views.  Integer arrays and traced integers read
through `take`, after a check that raises IndexError when the step runs.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc import errors
from graphc.build import Value
from graphc.ir import FLOATS, Lit
from graphc.ops import elementwise as ew
from graphc.ops import index as index_ops
from graphc.ops import shape as shape_ops
from graphc.trace.scope import user_loc
from graphc.trace.tracer import Tracer, cast_to, lift, wrap
from graphc.trace.ufuncs import broadcast_to
from graphc.trace.views import ReshapeView, SliceView, TransposeView


@dataclass(frozen=True)
class _Window:
    """What basic indexing does to one axis; `kept` is False where an integer drops the axis."""

    start: int
    size: int
    step: int
    kept: bool = True


def get_item(x: Tracer, index: Any) -> Any:
    """`x[index]`"""
    items = _expand(x, index)
    if _is_mask_index(x, items):
        raise errors.DataDependentShapeError(
            "x[mask] with a traced mask has as many elements as the mask has true ones; use"
            " np.where(mask, x, 0), whose shape is known",
            user_loc(),
        )
    basic, positions = _separate(x, items)
    view = _basic_view(x, basic)
    if not positions:
        scalar = not view.ndim and not any(item is Ellipsis for item in _as_tuple(index))
        return wrap(view.value()) if scalar else view
    return _advanced(view, positions)


def set_item(x: Tracer, index: Any, new: Any) -> None:
    """`x[index] = new`"""
    items = [_fixed(item) for item in _expand(x, index)]
    if _is_mask_index(x, items):
        _set_where(x, items[0], new)
        return
    basic, positions = _separate(x, items)
    if positions:
        raise errors.UnsupportedIndexError(
            "assignment at positions that are integer arrays or traced integers cannot be traced;"
            " use slices, or np.where with a mask over the whole array",
            user_loc(),
        )
    target = _basic_view(x, basic)
    value = cast_to(lift(new).value(), x.dtype_name)
    target.store(_fit(value, target.shape))


def _fixed(item: Any) -> Any:
    """A Python int argument as its value: the trace holds for that value alone, and says so."""
    known = isinstance(item, Tracer) and item.argument is not None and item.weak
    return operator.index(item) if known and item.argument.value is not None else item


def _fit(value: Value, shape: tuple[int, ...]) -> Value:
    """`value` broadcast to `shape` as assignment does: leading axes of size 1 may be dropped."""
    extra = len(value.shape) - len(shape)
    if extra > 0 and value.shape[:extra] == (1,) * extra:
        value = shape_ops.reshape(value, shape=value.shape[extra:])
    try:
        fits = np.broadcast_shapes(value.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise errors.ShapeError(
            f"could not broadcast {value.type} into the assigned shape {shape}", user_loc()
        )
    return broadcast_to(value, shape)


def _is_mask_index(x: Tracer, items: list[Any]) -> bool:
    return any(isinstance(item, Tracer) and item.dtype_name == "bool" for item in items)


def _set_where(x: Tracer, mask: Tracer, new: Any) -> None:
    """`x[mask] = scalar`, for a mask of x's shape."""
    value = lift(new)
    if mask.shape != x.shape or value.ndim:
        raise errors.UnsupportedIndexError(
            "x[mask] = v can be traced for a mask of x's shape and one number v; otherwise use"
            " np.where(mask, v, x)",
            user_loc(),
        )
    filled = broadcast_to(cast_to(value.value(), x.dtype_name), x.shape)
    x.store(ew.where(mask.value(), filled, x.value()))


# ---- reading the index --------------------------------------------------------------------------------


def _as_tuple(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


def _expand(x: Tracer, index: Any) -> list[Any]:
    """One item for each axis of x (and Nones), the ellipsis and missing ends filled in."""
    items = [np.asarray(i) if isinstance(i, list) else i for i in _as_tuple(index)]
    items = [part for item in items for part in _without_masks(item)]
    used = sum(item is not None and item is not Ellipsis for item in items)
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


def _without_masks(item: Any) -> list[Any]:
    """A mask known while tracing becomes the positions of its true elements."""
    if isinstance(item, np.ndarray) and item.dtype == np.bool_ and item.ndim:
        return list(np.nonzero(item))
    return [item]


def _separate(x: Tracer, items: list[Any]) -> tuple[list[Any], dict[int, Any]]:
    """The basic part of an index, and the computed positions by axis of x."""
    computed = any(_is_positions(item) for item in items)
    basic: list[Any] = []
    positions: dict[int, Any] = {}
    axis = 0
    for item in items:
        if _is_positions(item) or (computed and _is_integer(item) and _has_axes(items)):
            positions[axis] = item
            basic.append(slice(None))
        else:
            basic.append(item)
        axis += item is not None
    if positions and any(item is None for item in items):
        raise errors.UnsupportedIndexError(
            "None together with integer arrays in one index cannot be traced; index first, then"
            " add the axis with np.expand_dims",
            user_loc(),
        )
    return basic, positions


def _has_axes(items: list[Any]) -> bool:
    """Whether an integer array with axes takes part: integers then count as arrays, too."""
    return any(_is_positions(item) and np.ndim(item) for item in items)


def _is_integer(item: Any) -> bool:
    return isinstance(item, (int, np.integer)) and not isinstance(item, bool)


def _is_positions(item: Any) -> bool:
    if isinstance(item, Tracer):
        return True
    return isinstance(item, np.ndarray) and item.ndim > 0


# ---- basic indexing -------------------------------------------------------------------------------------


def _basic_view(x: Tracer, items: list[Any]) -> Tracer:
    windows = [
        _window(item, n) for item, n in zip((i for i in items if i is not None), x.shape)
    ]
    sliced = x
    sizes = tuple(w.size for w in windows)
    if any((w.start, w.step) != (0, 1) or w.size != n for w, n in zip(windows, x.shape)):
        view = SliceView(
            tuple(w.start for w in windows), sizes, tuple(w.step for w in windows)
        )
        sliced = x.view(view, sizes)
    shape = _kept_shape(items, windows)
    return sliced if shape == sizes else sliced.view(ReshapeView(sizes, shape), shape)


def _kept_shape(items: list[Any], windows: list[_Window]) -> tuple[int, ...]:
    remaining = iter(windows)
    shape = []
    for item in items:
        if item is None:
            shape.append(1)
            continue
        window = next(remaining)
        if window.kept:
            shape.append(window.size)
    return tuple(shape)


def _window(item: Any, extent: int) -> _Window:
    if isinstance(item, slice):
        start, stop, step = item.indices(extent)
        size = len(range(start, stop, step))
        return _Window(start if size else 0, size, step)
    position = _position(item)
    if not -extent <= position < extent:
        raise errors.IndexOutOfRangeError(
            f"index {position} is out of bounds for an axis of size {extent}", user_loc()
        )
    return _Window(position % extent, 1, 1, kept=False)


def _position(item: Any) -> int:
    try:
        return operator.index(item)
    except TypeError as error:
        if isinstance(error, errors.GraphcError):
            raise
        raise errors.UnsupportedIndexError(
            f"an array is indexed by integers, slices, None, ... and integer arrays, not by"
            f" {type(item).__name__}",
            user_loc(),
        ) from None


# ---- computed positions -----------------------------------------------------------------------------------


def _advanced(x: Tracer, positions: dict[int, Any]) -> Tracer:
    """NumPy's rule: adjacent index arrays leave their axes in place, separated ones move in front."""
    axes = sorted(positions)
    checked = [_checked(positions[axis], x.shape[axis]) for axis in axes]
    if axes != list(range(axes[0], axes[-1] + 1)):
        rest = [axis for axis in range(x.ndim) if axis not in axes]
        order = (*axes, *rest)
        x = x.view(TransposeView(order), tuple(x.shape[axis] for axis in order))
        axes = list(range(len(axes)))
    shape = _common_shape(checked)
    sizes = [x.shape[axis] for axis in axes]
    linear = broadcast_to(checked[0], shape)
    for position, size in zip(checked[1:], sizes[1:], strict=True):
        linear = ew.add(linear * size, broadcast_to(position, shape))
    first, last = axes[0], axes[-1] + 1
    merged = (*x.shape[:first], int(np.prod(sizes)), *x.shape[last:])
    source = x.value() if len(axes) == 1 else shape_ops.reshape(x.value(), shape=merged)
    return wrap(index_ops.take(source, linear, axis=first))


def _common_shape(positions: list[Value]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*(p.shape for p in positions))
    except ValueError:
        listed = ", ".join(str(p.type) for p in positions)
        raise errors.ShapeError(
            f"index arrays of {listed} do not broadcast together", user_loc()
        ) from None


def _checked(item: Any, size: int) -> Value:
    """Positions in 0 .. size-1, negative ones counted from the end; out of range is an IndexError."""
    if not isinstance(item, Tracer):
        return _checked_now(np.asarray(item), size)
    if item.dtype_name in FLOATS or item.dtype_name == "bool":
        raise errors.UnsupportedIndexError(
            f"positions are integers, not {item.dtype}; convert them with .astype(int)", user_loc()
        )
    position = cast_to(item.value(), "i64")
    if isinstance(position.atom, Lit):
        return _checked_now(np.full(position.shape, position.atom.value), size)
    inside = ew.logical_and(ew.greater_equal(position, -size), ew.less(position, size))
    index_ops.check(
        inside,
        position,
        error="IndexError",
        message=f"index {{value}} is out of bounds for an axis of size {size}",
    )
    return ew.where(ew.less(position, 0), position + size, position)  # type: ignore[no-any-return]


def _checked_now(positions: np.ndarray, size: int) -> Value:
    if positions.dtype.kind not in "iu":
        raise errors.UnsupportedIndexError(
            f"positions are integers, not {positions.dtype}; convert them with .astype(int)",
            user_loc(),
        )
    wrong = positions[(positions < -size) | (positions >= size)]
    if wrong.size:
        raise errors.IndexOutOfRangeError(
            f"index {wrong[0]} is out of bounds for an axis of size {size}", user_loc()
        )
    return lift(np.where(positions < 0, positions + size, positions).astype(np.int64)).value()
