"""NumPy's functions that give the same elements another shape: mostly views."""

from __future__ import annotations

import builtins
import math
import operator
from typing import Any

import numpy as np

from graphc import errors
from graphc.dims import same
from graphc.ir import PARTS, WHOLES
from graphc.ops import shape as shape_ops
from graphc.trace import sizes
from graphc.trace.broadcasting import broadcast_shapes
from graphc.trace.numpy_reductions import normalise_axes, normalise_axis
from graphc.trace.promotion import known_dtype
from graphc.trace.scope import user_loc
from graphc.trace.tracer import Tracer, lift, wrap
from graphc.trace.views import (
    BroadcastView,
    NumbersView,
    ReshapeView,
    SliceView,
    TransposeView,
    WindowView,
    is_contiguous,
    reshape_is_view,
)

Shape = tuple[Any, ...]


def _as_shape(shape: Any, size: int) -> Shape:
    given = list(sizes.as_shape(shape))
    free = [i for i, n in enumerate(given) if n == -1]
    if len(free) == 1:
        rest = math.prod(n for n in given if n != -1)
        if rest and size % rest == 0:
            given[free[0]] = size // rest
    if not same(math.prod(given), size) or builtins.any(n < 0 for n in given):
        raise errors.ShapeError(
            f"cannot reshape an array of size {size} into shape {sizes.as_shape(shape)}",
            user_loc(),
        )
    return tuple(given)


def reshape(a: Any, shape: Any, order: str = "C", *, copy: Any = None) -> Tracer:
    x = lift(a)
    new = _as_shape(shape, x.size)
    if order == "F":  # the first axis runs fastest: the order of the transposed array
        return transpose(reshape(wrap(transpose(x).value()), new[::-1]))
    if order != "C" and (order not in ("A", "K") or x.ndim > 1):
        raise errors.AttributeValueError(
            f"order is 'C' or 'F', not {order!r}, which depends on where elements lie", user_loc()
        )
    if x.is_scalar or not reshape_is_view(x.storage.type.shape, x.views, new):
        return wrap(shape_ops.reshape(x.value(), shape=new))
    return x.through(ReshapeView(x.shape, new), new)


def view(x: Tracer, dtype: Any = None, type: Any = None) -> Tracer:
    """`x.view(dtype)`, of complex numbers as real ones and back: the same memory."""
    name = x.dtype_name if dtype is None else known_dtype(dtype)
    if type not in (None, np.ndarray):
        raise errors.UnsupportedFunctionError(
            f".view() can be traced as an ndarray, not as {type!r}", user_loc()
        )
    if name == x.dtype_name:
        return x[...]  # type: ignore[no-any-return]
    to_complex = WHOLES.get(x.dtype_name) == name
    if not to_complex and PARTS.get(x.dtype_name) != name:
        raise errors.UnsupportedFunctionError(
            f".view() of {x.type} can be traced as {_partner(x)}, not as {name}: the bits of other"
            " dtypes are not known; use .astype for their values",
            user_loc(),
        )
    if not x.ndim or not is_contiguous(x.storage.type.shape, x.views):
        raise errors.UnsupportedFunctionError(
            f".view() of {x.type} with another dtype can be traced on a contiguous array that has"
            " axes; .copy() it first",
            user_loc(),
        )
    if to_complex and x.shape[-1] % 2:
        raise errors.ShapeError(
            f".view({name}) of {x.type}: the size of the last axis must be even", user_loc()
        )
    size = x.shape[-1] // 2 if to_complex else 2 * x.shape[-1]
    return x.through(NumbersView(to_complex), (*x.shape[:-1], size))


def _partner(x: Tracer) -> str:
    return WHOLES.get(x.dtype_name) or PARTS.get(x.dtype_name) or x.dtype_name


def ravel(a: Any, order: str = "C") -> Tracer:
    x = lift(a)
    if order == "F":
        return reshape(wrap(transpose(x).value()), -1)
    if order in ("A", "K") and x.ndim > 1:
        raise errors.AttributeValueError(
            f"order={order!r} depends on where the elements lie in memory, which a traced array"
            " does not say; use order='C' or 'F'",
            user_loc(),
        )
    if x.is_scalar or is_contiguous(x.storage.type.shape, x.views):
        return reshape(x, -1, order)
    return reshape(wrap(x.value()), -1, order)


def transpose(a: Any, axes: Any = None) -> Tracer:
    x = lift(a)
    if axes is None:
        order = tuple(reversed(range(x.ndim)))
    else:
        order = tuple(normalise_axis(a, x.ndim) for a in axes)
        if sorted(order) != list(range(x.ndim)):
            raise errors.AttributeValueError(f"axes {axes} do not match the array", user_loc())
    return x.through(TransposeView(order), tuple(x.shape[a] for a in order))


def swapaxes(a: Any, axis1: Any, axis2: Any) -> Tracer:
    x = lift(a)
    a, b = normalise_axis(axis1, x.ndim), normalise_axis(axis2, x.ndim)
    order = list(range(x.ndim))
    order[a], order[b] = order[b], order[a]
    return transpose(x, order)


def moveaxis(a: Any, source: Any, destination: Any) -> Tracer:
    x = lift(a)
    sources = source if np.iterable(source) else (source,)
    targets = destination if np.iterable(destination) else (destination,)
    moved = [normalise_axis(a, x.ndim) for a in sources]
    placed = [normalise_axis(a, x.ndim) for a in targets]
    order = [a for a in range(x.ndim) if a not in moved]
    for target, axis in sorted(zip(placed, moved, strict=True)):
        order.insert(target, axis)
    return transpose(x, order)


def expand_dims(a: Any, axis: Any) -> Tracer:
    x = lift(a)
    given = axis if isinstance(axis, (tuple, list)) else (axis,)
    rank = x.ndim + len(given)
    axes = normalise_axes(tuple(given), rank)
    rest = iter(x.shape)
    shape = tuple(1 if i in axes else next(rest) for i in range(rank))
    return x.through(ReshapeView(x.shape, shape), shape)


def squeeze(a: Any, axis: Any = None) -> Tracer:
    x = lift(a)
    axes = normalise_axes(axis, x.ndim)
    if axis is None:
        axes = tuple(a for a in axes if x.shape[a] == 1)
    for a in axes:
        if x.shape[a] != 1:
            raise errors.ShapeError(
                f"cannot squeeze axis {a} of size {x.shape[a]}; only axes of size 1", user_loc()
            )
    if not axes:
        return x
    shape = tuple(n for i, n in enumerate(x.shape) if i not in axes)
    return x.through(ReshapeView(x.shape, shape), shape)


def np_broadcast_to(array: Any, shape: Any) -> Tracer:
    x = lift(array)
    target = sizes.as_shape(shape)
    try:
        fits = sizes.broadcast_shapes(x.shape, target) == target
    except ValueError:
        fits = False
    if not fits:
        raise errors.ShapeError(f"{x.type} cannot be broadcast to shape {target}", user_loc())
    return x.through(BroadcastView(target), target)


def broadcast_arrays(*arrays: Any) -> tuple[Tracer, ...]:
    lifted = [lift(x) for x in arrays]
    shape = broadcast_shapes("broadcast_arrays", lifted)
    return tuple(np_broadcast_to(x, shape) for x in lifted)


def matrix_transpose(x: Any) -> Tracer:
    return swapaxes(x, -1, -2)


def flip(m: Any, axis: Any = None) -> Tracer:
    x = lift(m)
    axes = normalise_axes(axis, x.ndim)
    view = SliceView(
        tuple(n - 1 if i in axes and n else 0 for i, n in enumerate(x.shape)),
        x.shape,
        tuple(-1 if i in axes else 1 for i in range(x.ndim)),
    )
    return x.through(view, x.shape)


def rot90(m: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Tracer:
    x = lift(m)
    first, second = (normalise_axis(axis, x.ndim) for axis in axes)
    turns = operator.index(k) % 4
    if turns == 2:
        return flip(x, (first, second))
    if turns == 1:
        return swapaxes(flip(x, second), first, second)
    return flip(swapaxes(x, first, second), second) if turns else x[...]


def atleast_1d(x: Any) -> Tracer:
    return lift(x) if lift(x).ndim else reshape(x, (1,))


def atleast_2d(x: Any) -> Tracer:
    x = atleast_1d(x)
    return x if x.ndim >= 2 else expand_dims(x, 0)


def atleast_3d(x: Any) -> Tracer:
    array = lift(x)
    if array.ndim >= 3:
        return array
    return expand_dims(reshape(array, (1, -1)) if array.ndim < 2 else array, -1)


def each(function: Any) -> Any:
    """`np.atleast_1d` and its like take several arrays, too."""

    def apply(*arys: Any) -> Any:
        return function(arys[0]) if len(arys) == 1 else tuple(function(x) for x in arys)

    return apply


def rollaxis(a: Any, axis: Any, start: Any = 0) -> Tracer:
    x = lift(a)
    source = normalise_axis(axis, x.ndim)
    target = operator.index(start)
    target += x.ndim if target < 0 else 0
    return moveaxis(x, source, target - 1 if source < target else target)


def sliding_window_view(
    x: Any, window_shape: Any, axis: Any = None, *, writeable: bool = False
) -> Tracer:
    """Windows along axes, which get axes of their own at the end."""
    array = lift(x)
    ndim = array.ndim
    extents = window_shape if isinstance(window_shape, (tuple, list)) else (window_shape,)
    axes = normalise_axes(None, array.ndim) if axis is None else axis
    axes = axes if isinstance(axes, (tuple, list)) else (axes,)
    if writeable or len(axes) != len(extents):
        raise errors.ShapeError(
            f"sliding_window_view: a window of {len(extents)} sizes, read-only, for {len(axes)}"
            " axes",
            user_loc(),
        )
    for size, along in zip(map(operator.index, extents), axes, strict=True):
        at = normalise_axis(along, ndim)
        count = array.shape[at] - size + 1
        if size < 1 or count < 1:
            raise errors.ShapeError(f"no window of {size} fits {array.type}", user_loc())
        shape = (*array.shape[:at], count, *array.shape[at + 1 :], size)
        array = array.through(WindowView(at, size), shape)
    return array


def shape_of(a: Any) -> Shape:
    return lift(a).shape
