"""Indexing of traced arrays: `x[...]` and `x[...] = v`.

Basic indexing (integers, slices, None, ...) gives views.  Integer arrays and traced integers read
through `take`, after a check that raises IndexError when the step runs.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from graphc import errors
from graphc.build import Value
from graphc.dims import Dim, Size
from graphc.ir import INEXACT, Lit
from graphc.ops import elementwise as ew
from graphc.ops import index as index_ops
from graphc.ops import reduce as reduce_ops
from graphc.ops import shape as shape_ops
from graphc.questions import hint
from graphc.trace import selection, sizes
from graphc.trace.broadcasting import broadcast_to
from graphc.trace.index_reading import (
    as_tuple,
    basic_view,
    expanded,
    is_mask,
    is_mask_index,
    is_positions,
    separated,
)
from graphc.trace.promotion import cast_to, fits
from graphc.trace.rows import row_of
from graphc.trace.scope import user_loc
from graphc.trace.sizes import message_text
from graphc.trace.tracer import Tracer, lift, wrap
from graphc.trace.views import TransposeView


def get_item(x: Tracer, index: Any) -> Any:
    """`x[index]`"""
    items = expanded(x, index)
    if is_mask_index(items):
        return _selected(x, items)
    basic, positions = separated(items)
    view = basic_view(x, basic)
    if not positions:
        scalar = not view.ndim and not any(item is Ellipsis for item in as_tuple(index))
        return wrap(view.value()) if scalar else view
    if (
        view.ndim > len(positions)
        and view.storage.mutable
        and not any(map(np.ndim, positions.values()))
    ):
        axes = sorted(positions)
        return row_of(view, positions, _moved_to_front(view, axes), _linear(view, positions))
    return _advanced(view, positions)


def set_item(x: Tracer, index: Any, new: Any) -> None:
    """`x[index] = new`"""
    items = expanded(x, index)
    if is_mask_index(items):
        target, mask, before = _masked(x, items)
        selection.assign(target, mask, new, before)
        return
    basic, positions = separated(items)
    target = basic_view(x, basic)
    if _is_same(target, new, positions):  # what is left of x[1:] += y, which has changed x already
        return
    value = cast_assigned(new, x)
    if positions:
        _set_at(target, positions, value)
    else:
        target.store(_fit(value, target.shape))


def _is_same(target: Tracer, new: Any, positions: dict[int, Any]) -> bool:
    """Whether `new` reads and writes the same elements as `target[positions]`."""
    if not isinstance(new, Tracer):
        return False
    if positions:
        home = new.storage.home
        return home is not None and not new.views and home.is_at(target, positions)
    same = new.storage is target.storage and new.views == target.views
    return same and new.storage.mutable


def cast_assigned(new: Any, x: Tracer) -> Value:
    value = lift(new)
    atom = value.storage.atom
    if value.weak and isinstance(atom, Lit) and not fits(atom.value, x.dtype_name):
        raise errors.IntegerRangeError(
            f"Python integer {atom.value} out of bounds for {x.dtype}", user_loc()
        )
    return cast_to(value.value(), x.dtype_name)


def _fit(value: Value, shape: tuple[int, ...]) -> Value:
    """`value` broadcast to `shape` as assignment does: leading axes of size 1 may be dropped."""
    extra = len(value.shape) - len(shape)
    if extra > 0 and value.shape[:extra] == (1,) * extra:
        value = shape_ops.reshape(value, shape=value.shape[extra:])
    try:
        fitting = sizes.broadcast_shapes(value.shape, shape) == shape
    except ValueError:
        fitting = False
    if not fitting:
        raise errors.ShapeError(
            f"could not broadcast {value.type} into the assigned shape {shape}; give a value of"
            " that shape or one that broadcasts to it",
            user_loc(),
        )
    return broadcast_to(value, shape)


def _masked(x: Tracer, items: list[Any]) -> tuple[Tracer, Tracer, int]:
    """The view that the rest of an index gives, its one mask, and how many axes go before that."""
    at = next(i for i, item in enumerate(items) if is_mask(item))
    mask = items[at]
    rest = [*items[:at], *[slice(None)] * mask.ndim, *items[at + 1 :]]
    if any(is_positions(item) for item in rest):
        raise errors.UnsupportedIndexError(
            "a traced mask cannot stand beside another mask or an index array; use np.where",
            user_loc(),
        )
    before = sum(item is None or isinstance(item, slice) for item in items[:at])
    return basic_view(x, rest), mask, before


def _selected(x: Tracer, items: list[Any]) -> selection.Selection:
    view, mask, before = _masked(x, items)
    if mask.shape != view.shape[before : before + mask.ndim]:
        raise errors.IndexOutOfRangeError(
            f"boolean index {mask.type} did not match the indexed axes of {x.type}", user_loc()
        )
    if before:
        raise selection.unknown_size("x[:, mask]")
    return selection.Selection(wrap(view.value()), wrap(mask.value()))


def add_at(x: Tracer, index: Any, new: Any, sign: int = 1) -> None:
    """`np.add.at(x, index, new)`: a place that occurs twice is added to twice."""
    _expect_kind(x, new, "add" if sign > 0 else "subtract")
    items = expanded(x, index)
    if is_mask_index(items):
        target, mask, before = _masked(x, items)
        selection.assign(target, mask, np.add(target, np.multiply(sign, new)), before)
        return
    basic, positions = separated(items)
    target = basic_view(x, basic)
    value = cast_assigned(new, x)
    value = value if sign > 0 else ew.negative(value)
    if not positions:
        target.store(ew.add(target.value(), _fit(value, target.shape)))
        return
    places, linear, rows = _rows_at(target, positions, value)
    if linear.type.size:
        count = math.prod(places.shape[: len(positions)])
        old = shape_ops.reshape(places.value(), shape=(count, *rows.shape[1:]))
        total = index_ops.scatter_add(old, linear, rows, axis=0)
        places.store(shape_ops.reshape(total, shape=places.shape))


def _expect_kind(x: Tracer, new: Any, name: str) -> None:
    """NumPy adds a float to an integer and then drops what is behind the point, each time anew."""
    given = lift(new).dtype_name
    if given in INEXACT and x.dtype_name not in INEXACT:
        raise errors.DTypeError(
            f"np.{name}.at puts {given} into an array of {x.dtype_name}; convert one of them with"
            " .astype first",
            user_loc(),
        )


def extremum_at(x: Tracer, index: Any, new: Any, is_max: bool) -> None:
    """`np.maximum.at(x, index, new)`: each place is compared with all values."""
    _expect_kind(x, new, "maximum" if is_max else "minimum")
    items = expanded(x, index)
    basic, positions = separated(items)
    if is_mask_index(items) or not positions:
        raise errors.UnsupportedIndexError(
            "np.maximum.at and np.minimum.at can be traced with integer arrays as index",
            user_loc(),
        )
    target = basic_view(x, basic)
    places, linear, rows = _rows_at(target, positions, cast_assigned(new, x))
    if not linear.type.size:
        return
    count, rest = math.prod(places.shape[: len(positions)]), rows.shape[1:]
    shape = (count, linear.type.size, *rest)
    emit = linear.builder.emit
    place = emit(shape_ops.iota, (), {"shape": shape, "axis": 0, "dtype": "i64"})[0]
    here = ew.equal(shape_ops.broadcast(linear, shape=shape, axes=(1,)), place)
    spread = shape_ops.broadcast(rows, shape=shape, axes=tuple(range(1, len(shape))))
    reduce, better = (reduce_ops.max, ew.maximum) if is_max else (reduce_ops.min, ew.minimum)
    best = reduce(ew.where(here, spread, selection.worst(x.dtype, is_max)), axes=(1,))
    old = shape_ops.reshape(places.value(), shape=(count, *rest))
    places.store(shape_ops.reshape(better(old, best), shape=places.shape))


# ---- computed positions --------------------------------------------------------------------------


def _advanced(x: Tracer, positions: dict[int, Any]) -> Tracer:
    """By NumPy's rule adjacent index arrays leave their axes in place, others move in front."""
    axes = sorted(positions)
    picked = _picked_axis(x, positions)
    if picked is not None:
        return _picked(x, positions, picked)
    linear = _linear(x, positions)
    if not _are_adjacent(axes):
        x, axes = _moved_to_front(x, axes), list(range(len(axes)))
    first, last = axes[0], axes[-1] + 1
    merged = (*x.shape[:first], math.prod(x.shape[first:last]), *x.shape[last:])
    source = x.value() if len(axes) == 1 else shape_ops.reshape(x.value(), shape=merged)
    return wrap(index_ops.take(source, linear, axis=first))


def _picked_axis(x: Tracer, positions: dict[int, Any]) -> int | None:
    """The axis along which `x[np.arange(n), labels]` reads one element of each row, if it does.

    All axes are indexed, all but one of them by a grid that names each row once, in order.
    """
    counted = [axis for axis, item in positions.items() if _counts(item, x.shape[axis])]
    traced = [
        axis for axis, item in positions.items() if isinstance(item, Tracer) and axis not in counted
    ]
    if len(traced) != 1 or len(positions) != x.ndim:
        return None
    (axis,) = traced
    rows = (*x.shape[:axis], *x.shape[axis + 1 :])
    if counted:
        return axis if (positions[axis].shape, len(rows)) == (rows, 1) else None
    try:
        shape = sizes.broadcast_shapes(*(np.shape(item) for item in positions.values()))
    except ValueError:
        return None
    known = [item for other, item in sorted(positions.items()) if other != axis]
    if math.prod(shape) != math.prod(rows):
        return None
    grids = zip(known, np.indices(tuple(map(operator.index, rows)), sparse=True), strict=True)
    return axis if all(_is_grid(item, grid, shape, rows) for item, grid in grids) else None


def _counts(item: Any, extent: Size) -> bool:
    """Whether positions are `np.arange(extent)` of a symbolic size."""
    if not isinstance(item, Tracer) or item.shape != (extent,) or item.views:
        return False
    for eqn in reversed(item.storage.scope.builder.eqns):
        if item.storage.atom in eqn.outs:
            return eqn.op is shape_ops.iota
    return False


def _is_grid(item: Any, grid: np.ndarray, shape: tuple[int, ...], rows: tuple[int, ...]) -> bool:
    given = np.broadcast_to(np.asarray(item), shape).reshape(rows)
    return np.array_equal(given, np.broadcast_to(grid, rows))


def _picked(x: Tracer, positions: dict[int, Any], axis: int) -> Tracer:
    shape = sizes.broadcast_shapes(*(np.shape(item) for item in positions.values()))
    rows = (*x.shape[:axis], *x.shape[axis + 1 :])
    place = broadcast_to(_checked(positions[axis], x.shape[axis]), shape)
    value: Value = index_ops.pick(x.value(), shape_ops.reshape(place, shape=rows), axis=axis)
    return wrap(shape_ops.reshape(value, shape=shape))


def _rows_at(x: Tracer, positions: dict[int, Any], value: Value) -> tuple[Tracer, Value, Value]:
    """The view of x with the indexed axes in front, the positions in these axes merged into one,
    and the values that belong there, a row for each position."""
    axes = sorted(positions)
    linear = _linear(x, positions)
    rest = [n for axis, n in enumerate(x.shape) if axis not in axes]
    before = axes[0] if _are_adjacent(axes) else 0
    value = _fit(value, (*rest[:before], *linear.shape, *rest[before:]))
    after = before + len(linear.shape)
    front = (*range(before, after), *range(before), *range(after, len(value.shape)))
    rows = shape_ops.reshape(
        shape_ops.transpose(value, axes=front), shape=(linear.type.size, *rest)
    )
    linear = shape_ops.reshape(linear, shape=(linear.type.size,))
    return _moved_to_front(x, axes), linear, rows


def _set_at(x: Tracer, positions: dict[int, Any], value: Value) -> None:
    """Assign at computed positions; of several values for one place the last one stays.

    Each place asks which value it gets (`source`, or -1), so that no order of writing matters.
    """
    places, linear, rows = _rows_at(x, positions, value)
    if not linear.type.size:
        return
    rest = rows.shape[1:]
    count = math.prod(places.shape[: len(positions)])
    if linear.type.size == 1:  # in a loop it is written in place
        old = shape_ops.reshape(places.value(), shape=(count, *rest))
        new = index_ops.put(old, linear, rows, axis=0)
        places.store(shape_ops.reshape(new, shape=places.shape))
        return
    source = _last_writer(linear, count)
    hit = ew.greater_equal(source, 0)
    taken = index_ops.take(rows, ew.maximum(source, 0), axis=0)
    old = shape_ops.reshape(places.value(), shape=(count, *rest))
    written = shape_ops.broadcast(hit, shape=(count, *rest), axes=(0,))
    places.store(shape_ops.reshape(ew.where(written, taken, old), shape=places.shape))


FEW = 4
"""So many positions are compared with every place, in the kernel that writes."""


def _last_writer(positions: Value, count: int) -> Value:
    """For each of `count` places the last j with positions[j] there, or -1."""
    size = positions.type.size
    if size > FEW:
        return index_ops.last_writer(positions, count=count)
    emit = positions.builder.emit
    shape = (count, size)
    place = emit(shape_ops.iota, (), {"shape": shape, "axis": 0, "dtype": "i64"})[0]
    writer = emit(shape_ops.iota, (), {"shape": shape, "axis": 1, "dtype": "i64"})[0]
    here = ew.equal(shape_ops.broadcast(positions, shape=shape, axes=(1,)), place)
    return reduce_ops.max(ew.where(here, writer, -1), axes=(1,))


def _are_adjacent(axes: list[int]) -> bool:
    return axes == list(range(axes[0], axes[-1] + 1))


def _moved_to_front(x: Tracer, axes: list[int]) -> Tracer:
    order = (*axes, *(axis for axis in range(x.ndim) if axis not in axes))
    return x.through(TransposeView(order), tuple(x.shape[axis] for axis in order))


def _linear(x: Tracer, positions: dict[int, Any]) -> Value:
    """The positions along several axes as one along these axes merged into one, checked."""
    axes = sorted(positions)
    checked = [_checked(positions[axis], x.shape[axis]) for axis in axes]
    shape = _common_shape(checked)
    linear = broadcast_to(checked[0], shape)
    for axis, position in zip(axes[1:], checked[1:], strict=True):
        linear = ew.add(linear * x.shape[axis], broadcast_to(position, shape))
    return linear


def _common_shape(positions: list[Value]) -> tuple[int, ...]:
    try:
        return sizes.broadcast_shapes(*(p.shape for p in positions))
    except ValueError:
        listed = ", ".join(str(p.type) for p in positions)
        raise errors.ShapeError(
            f"index arrays of {listed} do not broadcast together; sizes must be equal or 1",
            user_loc(),
        ) from None


def _checked(item: Any, size: Size) -> Value:
    """Positions from 0 to size-1, negative ones counted from the end; others are an IndexError."""
    if not isinstance(item, Tracer):
        return _checked_now(np.asarray(item), size)
    if item.dtype_name in INEXACT or item.dtype_name == "bool":
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
        message=f"index {{value}} is out of bounds for an axis of size {message_text(size)}",
    )
    return ew.where(ew.less(position, 0), position + size, position)


def _checked_now(positions: np.ndarray, size: Size) -> Value:
    if positions.dtype.kind not in "iu":
        raise errors.UnsupportedIndexError(
            f"positions are integers, not {positions.dtype}; convert them with .astype(int)",
            user_loc(),
        )
    positions = positions.astype(np.int64)
    for extreme in (int(positions.min()), int(positions.max())) if positions.size else ():
        if not -size <= extreme < size:
            wrong = positions[(positions < -hint(size)) | (positions >= hint(size))]
            raise errors.IndexOutOfRangeError(
                f"index {wrong[0]} is out of bounds for an axis of size {size}", user_loc()
            )
    given = lift(positions).value()
    if not (positions < 0).any():
        return given
    if isinstance(size, Dim):
        return ew.where(ew.less(given, 0), given + size, given)
    return lift(np.where(positions < 0, positions + size, positions)).value()
