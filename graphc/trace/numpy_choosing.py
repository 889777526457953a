"""NumPy's functions that choose between elements, compare, and take them by position."""

from __future__ import annotations

import builtins
import operator
from typing import Any

import numpy as np

from graphc import errors
from graphc.dims import Dim
from graphc.ir import COMPLEXES, FLOATS
from graphc.ops import elementwise as ew
from graphc.rounding import FORMATS
from graphc.trace.broadcasting import broadcast_shapes, broadcast_to
from graphc.trace.complex_parts import joined
from graphc.trace.numpy_making import eye, iota
from graphc.trace.numpy_padding import pad
from graphc.trace.numpy_reductions import all, any, normalise_axis, sum
from graphc.trace.numpy_shapes import moveaxis, ravel, reshape
from graphc.trace.promotion import cast_to, is_python_scalar, promoted_dtype
from graphc.trace.scope import user_loc
from graphc.trace.tracer import Tracer, holds_tracer, lift, wrap


def where(condition: Any, x: Any = None, y: Any = None) -> Tracer:
    if x is None or y is None:
        raise errors.DataDependentShapeError(
            "np.where(condition) has as many results as the condition has true elements; use"
            " np.where(condition, x, y), whose shape is known",
            user_loc(),
        )
    parts = [lift(condition), lift(x), lift(y)]
    dtype = promoted_dtype(parts[1:])
    shape = broadcast_shapes("where", parts)
    values = [cast_to(parts[0].value(), "bool"), *(cast_to(p.value(), dtype) for p in parts[1:])]
    return wrap(ew.where(*(broadcast_to(v, shape) for v in values)))


def clip(a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    low = a_min if min is None else min
    high = a_max if max is None else max
    result = a
    if low is not None:
        result = np.maximum(result, low)
    if high is not None:
        result = np.minimum(result, high)
    return result if result is not a else lift(a).copy()


def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    if len(condlist) != len(choicelist):
        raise errors.ShapeError(
            f"select: {len(condlist)} conditions, {len(choicelist)} choices; give as many",
            user_loc(),
        )
    result = default
    for condition, choice in reversed(list(zip(condlist, choicelist, strict=True))):
        result = where(condition, choice, result)
    return result


def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Any:
    """Each function sees a selection, the elements of its condition; the last condition counts."""
    from graphc.trace.selection import Selection

    value = lift(x)
    conditions = _conditions(condlist, value.ndim)
    pieces = list(funclist)
    if len(pieces) == len(conditions) + 1:
        default = pieces.pop()
    elif len(pieces) == len(conditions):
        default = 0
    else:
        raise errors.ArityError(
            f"piecewise: {len(conditions)} conditions, {len(pieces)} functions; give as many, or"
            " one more",
            user_loc(),
        )

    masks = [np.broadcast_to(lift(c).astype(bool), value.shape) for c in conditions]
    none: Any = np.ones(value.shape, bool)
    for mask in masks:
        none = np.logical_and(none, np.logical_not(mask))

    def piece(of: Any, mask: Any) -> Any:
        made = of(Selection(value, mask), *args, **kw) if callable(of) else of
        return lift(made.array if isinstance(made, Selection) else made).astype(value.dtype)

    result: Any = np.broadcast_to(piece(default, lift(none)), value.shape)
    for mask, of in zip(masks, pieces, strict=True):
        result = where(mask, piece(of, mask), result)
    return result


def _conditions(condlist: Any, rank: int) -> list[Any]:
    """The conditions of a list; a list of truth values for the elements of an array is one."""
    if isinstance(condlist, (list, tuple)):
        if rank and not builtins.any(map(np.ndim, condlist)):
            return [condlist]
        first = condlist[0] if len(condlist) == 1 else None
        nested = isinstance(first, (list, tuple)) and builtins.any(map(np.ndim, first))
        return list(first if nested and first is not None else condlist)
    return list(condlist) if np.ndim(condlist) > rank else [condlist]


def isin(
    element: Any,
    test_elements: Any,
    assume_unique: bool = False,
    invert: bool = False,
    *,
    kind: Any = None,
) -> Any:
    x, tested = lift(element), ravel(test_elements)
    found = any(np.equal(np.expand_dims(x, -1), tested), -1)
    return np.logical_not(found) if invert else found


# ---- taking --------------------------------------------------------------------------------------


def take(a: Any, indices: Any, axis: Any = None, mode: str = "raise") -> Any:
    x = lift(a)
    if axis is None:
        x, axis = ravel(x), 0
    along = normalise_axis(axis, x.ndim)
    positions = lift(indices) if holds_tracer((indices,)) else np.asarray(indices)
    positions = into_range(positions, x.shape[along], mode)
    return np.copy(x[(slice(None),) * along + (positions,)])


def into_range(positions: Any, size: int, mode: str) -> Any:
    if mode == "raise":
        return positions
    if mode == "wrap":
        return np.remainder(positions, size)
    if mode == "clip":
        return np.clip(positions, 0, size - 1)
    raise errors.AttributeValueError(f"mode is raise, wrap or clip, not {mode!r}", user_loc())


def choose(a: Any, choices: Any, mode: str = "raise") -> Any:
    """For each element of `a` the element at its place of the choice that it names."""
    positions = lift(a)
    positions = positions.astype(np.int64) if positions.dtype_name == "bool" else positions
    parts = [lift(c) for c in (choices if isinstance(choices, (list, tuple)) else lift(choices))]
    dtype = promoted_dtype(parts)
    shape = broadcast_shapes("choose", [positions, *parts])
    values = [wrap(broadcast_to(cast_to(p.value(), dtype), shape)) for p in parts]
    at = into_range(np.broadcast_to(positions, shape), len(parts), mode)
    grid = np.ogrid[tuple(slice(operator.index(n)) for n in shape)]
    return np.stack(values)[(at, *grid)]


def put_along_axis(arr: Any, indices: Any, values: Any, axis: Any) -> None:
    x = lift(arr)
    if axis is None:
        x.flat[lift(indices)] = values
        return
    x[_along(x, lift(indices), axis)] = values


def _along(x: Tracer, positions: Tracer, axis: Any) -> tuple[Any, ...]:
    """The index arrays that reach the elements at `positions` along an axis."""
    along = normalise_axis(axis, x.ndim)
    if positions.ndim != x.ndim:
        raise errors.ShapeError(
            f"indices of {x.ndim} axes are needed, not {positions.type}", user_loc()
        )
    grid = np.ogrid[tuple(slice(operator.index(n)) for n in x.shape)]
    return (*grid[:along], positions, *grid[along + 1 :])


def take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> Any:
    x, positions = lift(arr), lift(indices)
    if axis is None:
        x, axis = ravel(x), 0
    return x[_along(x, positions, axis)]


def compress(condition: Any, a: Any, axis: Any = None) -> Any:
    if isinstance(condition, Tracer):
        raise errors.DataDependentShapeError(
            "np.compress has a result whose shape depends on the data; use"
            " np.where(condition, x, 0), or a condition that is known while tracing",
            user_loc(),
        )
    return take(a, np.flatnonzero(condition), axis)


def extract(condition: Any, arr: Any) -> Any:
    return compress(condition if isinstance(condition, Tracer) else np.ravel(condition), arr)


# ---- diagonals -----------------------------------------------------------------------------------


def diag(v: Any, k: int = 0) -> Tracer:
    """The diagonal of a matrix, or a matrix with a given diagonal."""
    x = lift(v)
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise errors.ShapeError("diag takes one or two axes", user_loc())
    k = operator.index(k)
    size = x.shape[0] + abs(k)
    mask = eye(size, k=k, dtype=bool)
    spread = pad(x, (0, abs(k))) if k <= 0 else pad(x, (abs(k), 0))
    return where(mask, spread, np.zeros((), x.dtype))


def diagonal(a: Any, offset: Any = 0, axis1: Any = 0, axis2: Any = 1) -> Tracer:
    """The diagonal of two axes, as the last axis; unlike NumPy's, not a view of the array."""
    x = lift(a)
    if x.ndim < 2:
        raise errors.ShapeError(f"diagonal: two axes or more, not {x.type}", user_loc())
    first, second = normalise_axis(axis1, x.ndim), normalise_axis(axis2, x.ndim)
    if first == second:
        raise errors.AttributeValueError("diagonal: axis1 and axis2 are the same", user_loc())
    matrices = moveaxis(x, (first, second), (-2, -1))
    rows, columns = matrices.shape[-2:]
    k = operator.index(offset)
    start = k if k >= 0 else -k * columns
    count = builtins.max(builtins.min(rows + builtins.min(k, 0), columns - builtins.max(k, 0)), 0)
    flat = reshape(matrices, (*matrices.shape[:-2], rows * columns))
    return wrap(flat[..., start : start + count * (columns + 1) : columns + 1].value())


def trace(a: Any, offset: Any = 0, axis1: Any = 0, axis2: Any = 1) -> Any:
    return sum(diagonal(a, offset, axis1, axis2), -1)


def diagflat(v: Any, k: int = 0) -> Tracer:
    return diag(ravel(v), k)


def fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    x = lift(a)
    if x.ndim < 2 or (x.ndim > 2 and len(set(x.shape)) > 1):
        raise errors.ShapeError(
            f"fill_diagonal: a matrix, or more axes of one length, not {x.type}", user_loc()
        )
    marked = np.zeros(tuple(map(operator.index, x.shape)), bool)
    np.fill_diagonal(marked, True, wrap)
    at = np.nonzero(marked)
    x[at] = val if np.ndim(val) == 0 else ravel(val)[np.arange(at[0].size) % lift(val).size]


def triu(m: Any, k: int = 0) -> Tracer:
    x = lift(m)
    above = _below(x.shape[-2:], k - 1)
    return where(above, np.zeros((), x.dtype), x)


def tril(m: Any, k: int = 0) -> Tracer:
    x = lift(m)
    return where(_below(x.shape[-2:], k), x, np.zeros((), x.dtype))


def _below(shape: tuple[Any, ...], k: int) -> Any:
    """Where a matrix is on or below its diagonal k."""
    if not builtins.any(isinstance(size, Dim) for size in shape):
        rows, columns = shape
        return np.tri(rows, columns, k, dtype=bool)
    return wrap(ew.less_equal(iota(shape, 1), iota(shape, 0) + operator.index(k)))


# ---- comparing -----------------------------------------------------------------------------------


def isclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    if not is_python_scalar(b):
        b = np.multiply(b, 1.0)  # of integers, whose differences and sizes may not fit
    finite = np.isfinite(b)
    size = builtins.abs(b) if is_python_scalar(b) else np.absolute(b)  # a number stays Python's
    near = np.less_equal(np.absolute(np.subtract(a, b)), atol + rtol * size)
    result = np.where(finite, near, np.equal(a, b))
    if equal_nan:
        result = np.logical_or(result, np.logical_and(np.isnan(a), np.isnan(b)))
    return result


def allclose(*args: Any, **kwargs: Any) -> Any:
    return all(isclose(*args, **kwargs))


def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Any:
    if np.shape(a1) != np.shape(a2):
        return False
    same = np.equal(a1, a2)
    if equal_nan:
        same = np.logical_or(same, np.logical_and(np.isnan(a1), np.isnan(a2)))
    return all(same)


def nan_to_num(
    x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None
) -> Any:
    value = lift(x)
    if not copy and value.ndim and value.dtype_name in (*COMPLEXES, *FLOATS):
        value[...] = nan_to_num(value, True, nan, posinf, neginf)
        return value
    if value.dtype_name in COMPLEXES:
        parts = [nan_to_num(part, True, nan, posinf, neginf) for part in (value.real, value.imag)]
        return joined(*parts)
    if value.dtype_name not in FLOATS:
        return np.copy(value)
    largest = FORMATS[value.dtype_name].largest
    result = where(np.isnan(value), nan, value)
    result = where(np.equal(value, np.inf), largest if posinf is None else posinf, result)
    return where(np.equal(value, -np.inf), -largest if neginf is None else neginf, result)
