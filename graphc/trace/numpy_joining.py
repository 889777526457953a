"""NumPy's functions that join arrays, cut them, and repeat or pad them."""

from __future__ import annotations

import builtins
import operator
from typing import Any

import numpy as np

from graphc import errors
from graphc.build import Value
from graphc.ir import NUMPY_DTYPES
from graphc.ops import index as index_ops
from graphc.ops import shape as shape_ops
from graphc.ops import sorting
from graphc.trace.numpy_reductions import normalise_axis
from graphc.trace.numpy_shapes import (
    atleast_1d,
    atleast_2d,
    atleast_3d,
    expand_dims,
    ravel,
    reshape,
    transpose,
)
from graphc.trace.promotion import cast_to, known_dtype, promoted_dtype
from graphc.trace.scope import current, user_loc
from graphc.trace.tracer import Tracer, holds_tracer, lift, strong, wrap


def concatenate(
    arrays: Any, /, axis: Any = 0, *, dtype: Any = None, casting: Any = "same_kind"
) -> Tracer:
    parts = [strong(x) for x in arrays]
    if not parts:
        raise errors.ShapeError("need at least one array to concatenate", user_loc())
    if axis is None:
        parts, axis = [ravel(x) for x in parts], 0
    rank = parts[0].ndim
    if rank == 0 or builtins.any(x.ndim != rank for x in parts):
        listed = ", ".join(str(x.type) for x in parts)
        raise errors.ShapeError(f"concatenate: ranks differ or are zero: {listed}", user_loc())
    chosen = promoted_dtype(parts) if dtype is None else known_dtype(dtype)
    for part in parts:
        if not np.can_cast(part.dtype, NUMPY_DTYPES[chosen], casting):
            raise errors.DTypeError(
                f"concatenate: {part.dtype} does not become {NUMPY_DTYPES[chosen]} by"
                f" casting={casting!r}; use .astype first",
                user_loc(),
            )
    values = [cast_to(x.value(), chosen) for x in parts]
    try:
        return wrap(_concatenate(values, normalise_axis(axis, rank)))
    except errors.ShapeError as error:
        raise errors.ShapeError(str(error), user_loc()) from None


def _concatenate(values: list[Value], axis: int) -> Value:
    builder = current().builder
    outs = builder.emit(shape_ops.concatenate, [v.atom for v in values], {"axis": axis})
    return outs[0]


def stack(arrays: Any, axis: Any = 0, *, dtype: Any = None, casting: Any = "same_kind") -> Tracer:
    parts = [strong(x) for x in arrays]
    if len({x.shape for x in parts}) != 1:
        listed = ", ".join(str(x.type) for x in parts)
        raise errors.ShapeError(f"stack: all arrays need one shape: {listed}", user_loc())
    at = normalise_axis(axis, parts[0].ndim + 1)
    return concatenate([expand_dims(x, at) for x in parts], at, dtype=dtype, casting=casting)


def vstack(tup: Any, *, dtype: Any = None, casting: Any = "same_kind") -> Tracer:
    return concatenate([atleast_2d(x) for x in tup], 0, dtype=dtype, casting=casting)


def hstack(tup: Any, *, dtype: Any = None, casting: Any = "same_kind") -> Tracer:
    parts = [atleast_1d(x) for x in tup]
    axis = 0 if parts and parts[0].ndim == 1 else 1
    return concatenate(parts, axis, dtype=dtype, casting=casting)


def split(ary: Any, indices_or_sections: Any, axis: Any = 0) -> list[Tracer]:
    x = lift(ary)
    sections = indices_or_sections
    along = normalise_axis(axis, x.ndim)
    size = x.shape[along]
    if isinstance(sections, (list, tuple, np.ndarray)):
        cuts = [operator.index(i) for i in sections]
    else:
        count = operator.index(sections)
        if count < 1 or size % count:
            raise errors.ShapeError(
                f"split: an axis of {size} does not divide into {count} equal parts", user_loc()
            )
        cuts = [size // count * i for i in range(1, count)]
    return _cut(x, cuts, along)


def _cut(x: Tracer, cuts: list[int], axis: int) -> list[Tracer]:
    before = (slice(None),) * axis
    bounds = zip([0, *cuts], [*cuts, None], strict=True)
    return [x[(*before, slice(start, stop))] for start, stop in bounds]


def array_split(ary: Any, indices_or_sections: Any, axis: Any = 0) -> list[Tracer]:
    """`split` into parts whose sizes differ by one where they must."""
    if isinstance(indices_or_sections, (list, tuple, np.ndarray)):
        return split(ary, indices_or_sections, axis)
    x = lift(ary)
    along = normalise_axis(axis, x.ndim)
    count = operator.index(indices_or_sections)
    if count < 1:
        raise errors.ShapeError(f"array_split: {count} parts; give 1 or more", user_loc())
    small, larger = divmod(x.shape[along], count)
    return _cut(x, [small * i + min(i, larger) for i in range(1, count)], along)


def tile(A: Any, reps: Any) -> Tracer:  # noqa: N803 - NumPy's name
    x = lift(A)
    counts = tuple(map(operator.index, reps if isinstance(reps, (tuple, list)) else (reps,)))
    rank = len(counts) if len(counts) > x.ndim else x.ndim
    counts = (1,) * (rank - len(counts)) + counts
    x = reshape(x, (1,) * (rank - x.ndim) + x.shape)
    for axis, count in enumerate(counts):
        x = concatenate([x] * count, axis) if count > 1 else x
        x = x[(slice(None),) * axis + (slice(0),)] if count == 0 else x
    return wrap(x.value())


def column_stack(tup: Any) -> Tracer:
    parts = [lift(x) for x in tup]
    return concatenate([x if x.ndim > 1 else expand_dims(atleast_1d(x), 1) for x in parts], 1)


def _end_like(x: Tracer, end: Any, axis: int) -> list[Any]:
    if end is np._NoValue:
        return []
    shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    return [np.broadcast_to(end, shape) if np.ndim(end) == 0 else end]


def append(arr: Any, values: Any, axis: Any = None) -> Tracer:
    return concatenate([arr, values], axis)


def repeat(a: Any, repeats: Any, axis: Any = None) -> Tracer:
    x = lift(a)
    if axis is None:
        x, axis = ravel(x), 0
    along = normalise_axis(axis, x.ndim)
    times = np.asarray(repeats) if isinstance(repeats, (list, tuple)) else repeats
    if not isinstance(times, np.ndarray):
        times = operator.index(times)
    positions = np.repeat(np.arange(operator.index(x.shape[along])), times)
    return x[(slice(None),) * along + (positions,)]  # type: ignore[no-any-return]


def roll(a: Any, shift: Any, axis: Any = None) -> Tracer:
    x = lift(a)
    if axis is None:
        return reshape(roll(ravel(x), shift, 0), x.shape)
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    shifts = shift if isinstance(shift, (tuple, list)) else (shift,) * len(axes)
    for along, places in zip(axes, shifts, strict=True):
        at = normalise_axis(along, x.ndim)
        size = x.shape[at]
        if _is_data(places):
            x = x[(*(slice(None),) * at, (np.arange(size) - places) % size)]
            continue
        places = operator.index(places)
        if size and places % size:
            before = (slice(None),) * at
            cut = size - places % size
            x = concatenate([x[(*before, slice(cut, None))], x[(*before, slice(cut))]], at)
    return wrap(x.value())


def _is_data(number: Any) -> bool:
    """Whether a number is traced, and no argument fixes it."""
    return isinstance(number, Tracer) and number.argument is None


def diff(
    a: Any,
    n: int = 1,
    axis: Any = -1,
    prepend: Any = np._NoValue,
    append: Any = np._NoValue,
) -> Any:
    x = lift(a)
    if operator.index(n) == 0:
        return x
    along = normalise_axis(axis, x.ndim)
    ends = [_end_like(x, end, along) for end in (prepend, append)]
    parts = [*ends[0], x, *ends[1]]
    x = concatenate(parts, along) if len(parts) > 1 else x
    before = (slice(None),) * normalise_axis(axis, x.ndim)
    for _ in range(operator.index(n)):
        later, earlier = x[(*before, slice(1, None))], x[(*before, slice(-1))]
        x = np.not_equal(later, earlier) if x.dtype_name == "bool" else later - earlier
    return x


def dstack(tup: Any) -> Tracer:
    return concatenate([atleast_3d(x) for x in tup], 2)


def hsplit(ary: Any, indices_or_sections: Any) -> list[Tracer]:
    return split(ary, indices_or_sections, 0 if lift(ary).ndim == 1 else 1)


def vsplit(ary: Any, indices_or_sections: Any) -> list[Tracer]:
    return split(ary, indices_or_sections, 0)


def dsplit(ary: Any, indices_or_sections: Any) -> list[Tracer]:
    return split(ary, indices_or_sections, 2)


def unstack(x: Any, *, axis: int = 0) -> tuple[Tracer, ...]:
    return tuple(np.moveaxis(x, axis, 0))


def block(arrays: Any) -> Tracer:
    """Nested lists: the innermost along the last axis, those around along the one before it."""
    depth = _depth(arrays)
    rank = builtins.max(depth, _rank(arrays))
    return _block(arrays, depth, rank)


def _depth(arrays: Any) -> int:
    return 1 + _depth(arrays[0]) if isinstance(arrays, list) else 0


def _rank(arrays: Any) -> int:
    if isinstance(arrays, list):
        return builtins.max(map(_rank, arrays))
    return lift(arrays).ndim


def _block(arrays: Any, depth: int, rank: int) -> Tracer:
    if not isinstance(arrays, list):
        x = lift(arrays)
        return reshape(x, (1,) * (rank - x.ndim) + x.shape)
    return concatenate([_block(part, depth - 1, rank) for part in arrays], -depth)


def delete(arr: Any, obj: Any, axis: Any = None) -> Tracer:
    x = lift(arr)
    if axis is None:
        x, axis = ravel(x), 0
    along = normalise_axis(axis, x.ndim)
    kept = np.delete(np.arange(operator.index(x.shape[along])), obj)
    return wrap(x[(slice(None),) * along + (kept,)].value())


def insert(arr: Any, obj: Any, values: Any, axis: Any = None) -> Tracer:
    """The new values go behind the array, and every element is taken to its place."""
    x: Any = lift(arr)
    new: Any = lift(values)
    if axis is None:
        x, axis = ravel(x), 0
    along = normalise_axis(axis, x.ndim)
    new = reshape(new, (1,) * (x.ndim - new.ndim) + new.shape)
    size = operator.index(x.shape[along])
    places = _places(obj, size)
    if places.size == 1:
        new = new if places.ndim else np.moveaxis(new, 0, along)
        places = np.broadcast_to(np.reshape(places, ()), (new.shape[along],))
    shape = (*x.shape[:along], places.size, *x.shape[along + 1 :])
    new = np.broadcast_to(new.astype(x.dtype), shape)
    # Each new value goes before the element at its place, in the order given among equals.
    keys = concatenate([2 * np.arange(size) + 1, lift(2 * places)])
    order = sorting.argsort(keys.value())
    joined = concatenate([x, new], along)
    return wrap(joined[(slice(None),) * along + (wrap(order),)].value())


def _places(obj: Any, size: int) -> Any:
    """Before which elements of an axis of `size` new ones are put, counted from its start."""
    if not holds_tracer((obj,)):
        places = np.arange(size)[obj] if isinstance(obj, slice) else np.asarray(obj)
        if places.dtype == np.bool_:
            places = np.flatnonzero(places)
        places = places if places.size else places.astype(int)
        np.insert(np.arange(size), places, 0)  # which says what is wrong with them
        return np.where(places < 0, places + size, places)
    traced: Any = lift(obj)
    if traced.dtype_name == "bool" or traced.ndim > 1:
        raise errors.DataDependentShapeError(
            f"np.insert at {traced.type}: as many elements as are true; give their positions",
            user_loc(),
        )
    inside = np.logical_and(np.greater_equal(traced, -size), np.less_equal(traced, size))
    index_ops.check(
        lift(inside).value(),
        cast_to(traced.value(), "i64"),
        error="IndexError",
        message=f"index {{value}} is out of bounds for axis 0 with size {size}",
    )
    return np.where(np.less(traced, 0), traced + size, traced)


def apply_along_axis(func1d: Any, axis: Any, arr: Any, *args: Any, **kwargs: Any) -> Any:
    """The function of each row in turn: the graph holds it as often as there are rows."""
    x = lift(arr)
    along = normalise_axis(axis, x.ndim)
    rows = np.moveaxis(x, along, -1)  # type: ignore[type-var]
    batch = rows.shape[:-1]
    count = int(np.prod(batch, dtype=int))
    if not 0 < count <= MOST_ROWS:
        raise errors.UnsupportedFunctionError(
            f"apply_along_axis can be traced for 1 to {MOST_ROWS} rows, not {count}; call the"
            " function on the whole array, with axis=",
            user_loc(),
        )
    results = [lift(func1d(rows[at], *args, **kwargs)) for at in np.ndindex(*batch)]
    inner = results[0].ndim
    joined = reshape(stack(results), (*batch, *results[0].shape))
    if not inner:
        return joined
    order = [*range(along), *range(len(batch), len(batch) + inner), *range(along, len(batch))]
    return transpose(joined, order)


MOST_ROWS = 256


def apply_over_axes(func: Any, a: Any, axes: Any) -> Any:
    """The function of one axis after the other; axes that it drops come back with size 1."""
    x = lift(a)
    for axis in axes if isinstance(axes, (tuple, list)) else np.ravel(axes).tolist():
        along = normalise_axis(axis, x.ndim)
        result = lift(func(x, along))
        x = result if result.ndim == x.ndim else expand_dims(result, along)
    return x


def resize(a: Any, new_shape: Any) -> Tracer:
    x = ravel(a)
    sizes = new_shape if isinstance(new_shape, (tuple, list)) else (new_shape,)
    order = np.resize(np.arange(operator.index(x.size)), tuple(map(operator.index, sizes)))
    return wrap(x[order].value())
