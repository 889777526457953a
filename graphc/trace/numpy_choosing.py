"""NumPy's functions that choose between elements, compare, and take them by position."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from graphc import errors
from graphc.ir import FLOATS
from graphc.ops import elementwise as ew
from graphc.trace.numpy_joining import pad
from graphc.trace.numpy_reductions import all, normalise_axis, sum
from graphc.trace.numpy_shapes import ravel
from graphc.trace.scope import user_loc
from graphc.trace.tracer import Tracer, cast_to, lift, promoted_dtype, wrap
from graphc.trace.ufuncs import broadcast_shapes, broadcast_to


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


# ---- taking --------------------------------------------------------------------------------------


def take(a: Any, indices: Any, axis: Any = None) -> Any:
    x = lift(a)
    if axis is None:
        x, axis = ravel(x), 0
    before = (slice(None),) * normalise_axis(axis, x.ndim)
    positions = np.asarray(indices) if isinstance(indices, (list, tuple)) else indices
    return np.copy(x[(*before, positions)])


def take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> Any:
    x, positions = lift(arr), lift(indices)
    along = normalise_axis(axis, x.ndim)
    if positions.ndim != x.ndim:
        raise errors.ShapeError(
            f"take_along_axis: indices of {x.ndim} axes are needed, not {positions.type}",
            user_loc(),
        )
    grid = np.ogrid[tuple(slice(n) for n in x.shape)]
    return x[(*grid[:along], positions, *grid[along + 1 :])]


# ---- diagonals -----------------------------------------------------------------------------------


def diag(v: Any, k: int = 0) -> Tracer:
    """The diagonal of a matrix, or a matrix with a given diagonal."""
    x = lift(v)
    if x.ndim == 2:
        rows, columns = x.shape
        start = k if k >= 0 else -k * columns
        count = builtins.min([columns - k, rows] if k >= 0 else [rows + k, columns])
        positions = start + (columns + 1) * np.arange(count if count > 0 else 0)
        return ravel(x)[positions]  # type: ignore[no-any-return]
    if x.ndim != 1:
        raise errors.ShapeError("diag takes one or two axes", user_loc())
    size = x.shape[0] + abs(k)
    mask = np.eye(size, k=k, dtype=bool)
    spread = pad(x, (0, abs(k))) if k <= 0 else pad(x, (abs(k), 0))
    return where(mask, spread, np.zeros((), x.dtype))


def diagonal(a: Any, offset: int = 0) -> Tracer:
    """The diagonal of a matrix; unlike NumPy's, not a view of it."""
    if lift(a).ndim != 2:
        raise errors.ShapeError(f"diagonal: a matrix is needed, not {lift(a).type}", user_loc())
    return diag(a, offset)


def trace(a: Any, offset: int = 0) -> Any:
    return sum(diagonal(a, offset))


def triu(m: Any, k: int = 0) -> Tracer:
    x = lift(m)
    return where(np.triu(np.ones(x.shape[-2:], bool), k), x, np.zeros((), x.dtype))


def tril(m: Any, k: int = 0) -> Tracer:
    x = lift(m)
    return where(np.tril(np.ones(x.shape[-2:], bool), k), x, np.zeros((), x.dtype))


# ---- comparing -----------------------------------------------------------------------------------


def isclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    finite = np.isfinite(b)
    near = np.less_equal(np.absolute(np.subtract(a, b)), atol + rtol * np.absolute(b))
    result = np.where(finite, near, np.equal(a, b))
    if equal_nan:
        result = np.logical_or(result, np.logical_and(np.isnan(a), np.isnan(b)))
    return result


def allclose(*args: Any, **kwargs: Any) -> Any:
    return all(isclose(*args, **kwargs))


def array_equal(a: Any, b: Any) -> Any:
    if np.shape(a) != np.shape(b):
        return False
    return all(np.equal(a, b))


def nan_to_num(
    x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None
) -> Any:
    value = lift(x)
    if value.dtype_name not in FLOATS:
        return np.copy(value)
    limits = np.finfo(value.dtype)
    result = where(np.isnan(value), nan, value)
    result = where(np.equal(value, np.inf), limits.max if posinf is None else posinf, result)
    return where(np.equal(value, -np.inf), limits.min if neginf is None else neginf, result)
