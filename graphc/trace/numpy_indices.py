"""NumPy's functions of positions: of axes and of the whole array, of diagonals and triangles."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from graphc import errors
from graphc.ops import elementwise as ew
from graphc.ops import index as index_ops
from graphc.trace.numpy_choosing import into_range
from graphc.trace.numpy_shapes import ravel
from graphc.trace.promotion import cast_to
from graphc.trace.scope import user_loc
from graphc.trace.tracer import Tracer, holds_tracer, lift, wrap


def diag_indices_from(arr: Any) -> tuple[np.ndarray, ...]:
    return np.diag_indices_from(_of_shape(arr))


def tril_indices_from(arr: Any, k: int = 0) -> tuple[np.ndarray, ...]:
    return np.tril_indices_from(_of_shape(arr), operator.index(k))


def triu_indices_from(arr: Any, k: int = 0) -> tuple[np.ndarray, ...]:
    return np.triu_indices_from(_of_shape(arr), operator.index(k))


def einsum_path(*operands: Any, optimize: Any = "greedy") -> Any:
    known = (_of_shape(x) if isinstance(x, Tracer) else x for x in operands)
    return np.einsum_path(*known, optimize=optimize)


def _of_shape(x: Any) -> np.ndarray:
    """An ordinary array of that shape, for functions that ask for no more."""
    return np.broadcast_to(np.zeros(()), np.shape(x))


def ix_(*args: Any) -> tuple[Any, ...]:
    """Each 1-d array along an axis of its own; masks must be known while tracing."""
    parts = []
    for i, given in enumerate(args):
        x: Any = lift(given) if holds_tracer((given,)) else np.asarray(given)
        if x.ndim != 1:
            raise errors.ShapeError("ix_: arrays of one axis each", user_loc())
        if x.dtype == bool:
            if isinstance(x, Tracer):
                raise errors.DataDependentShapeError(
                    "ix_ of a traced mask has a shape that depends on the data", user_loc()
                )
            (x,) = np.nonzero(x)
        parts.append(x.reshape((1,) * i + (-1,) + (1,) * (len(args) - 1 - i)))
    return tuple(parts)


# ---- positions in the whole array ----------------------------------------------------------------


def ravel_multi_index(multi_index: Any, dims: Any, mode: Any = "raise", order: str = "C") -> Any:
    shape = tuple(map(operator.index, dims))
    modes = mode if isinstance(mode, (tuple, list)) else (mode,) * len(shape)
    axes = list(multi_index)
    if len(axes) != len(shape) or len(modes) != len(shape):
        raise errors.ShapeError(
            f"ravel_multi_index: {len(axes)} index arrays for {len(shape)} axes", user_loc()
        )
    rows = list(zip(axes, shape, modes, strict=True))
    result: Any = 0
    for index, size, how in rows if order == "C" else reversed(rows):
        at: Any = into_range(index, size, how)
        if how == "raise" and isinstance(at, Tracer):
            at = _checked(at, size, "invalid entry {value} in coordinates array")
        result = result * size + at
    return result


def unravel_index(indices: Any, shape: Any, order: str = "C") -> tuple[Any, ...]:
    sizes = tuple(map(operator.index, shape)) if np.iterable(shape) else (operator.index(shape),)
    total = math.prod(sizes)
    message = f"index {{value}} is out of bounds for array with size {total}"
    rest: Any = _checked(lift(indices), total, message)
    found = []
    for size in reversed(sizes) if order == "C" else sizes:
        found.append(rest % size)
        rest = rest // size
    return tuple(reversed(found) if order == "C" else found)


def _checked(index: Tracer, size: int, message: str) -> Tracer:
    value = cast_to(index.value(), "i64")
    inside = ew.logical_and(ew.greater_equal(value, 0), ew.less(value, size))
    index_ops.check(inside, value, error="ValueError", message=message)
    return wrap(value)


# ---- writing at positions ------------------------------------------------------------------------


def put(a: Any, ind: Any, v: Any, mode: str = "raise") -> None:
    """Values are used again from the first where there are fewer of them than positions."""
    target = _array("put", a)
    at = ravel(ind)
    values = ravel(v)
    if not at.size or not values.size:
        return
    at = into_range(at, target.size, mode)
    _flat(target)[at] = values[np.arange(at.size) % values.size]


def putmask(a: Any, mask: Any, values: Any) -> None:
    """Each element that the mask names gets the value at its own place."""
    target = _array("putmask", a)
    given = ravel(values)
    if given.size:
        spread = given[np.arange(target.size) % given.size].reshape(target.shape)
        target[...] = np.where(mask, spread.astype(target.dtype), target)


def place(arr: Any, mask: Any, vals: Any) -> None:
    """The elements that the mask names get the values in turn."""
    target = _array("place", arr)
    given = ravel(vals)
    if not given.size:
        raise errors.ShapeError("place: vals must not be empty", user_loc())
    chosen = ravel(mask).astype(bool)
    turn = np.maximum(np.cumsum(chosen) - 1, 0) % given.size
    taken = given[turn].reshape(target.shape).astype(target.dtype)
    target[...] = np.where(mask, taken, target)


def _array(name: str, a: Any) -> Tracer:
    if not isinstance(a, Tracer):
        raise errors.ReadOnlyError(
            f"np.{name} with traced values cannot change an ordinary array while tracing; pass the"
            " array to the function as an argument, or make it there with np.zeros",
            user_loc(),
        )
    return a


def _flat(x: Tracer) -> Any:
    flat = x.reshape(-1)
    if flat.storage is not x.storage:
        raise errors.UnsupportedFunctionError(
            "np.put can be traced on a contiguous array; assign by an index array", user_loc()
        )
    return flat
