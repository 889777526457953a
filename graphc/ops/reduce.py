"""Operations that combine elements along axes.  The reduced axes disappear from the shape."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import errors
from graphc.build import Value
from graphc.dims import Shape
from graphc.ir import FLOATS, OPS, Op, Type, register
from graphc.ops.elementwise import ANY, BOOL, FIELD, Rule, cast, equal, expect_dtype, where
from graphc.ops.single import in_single

Axes = tuple[int, ...]


def without(shape: Shape, axes: Axes) -> Shape:
    """`shape` with the given axes left out."""
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def spread(x: Value, like: Value, axes: Axes) -> Value:
    """`x`, a reduction of something of `like`'s shape over `axes`, repeated over those axes."""
    kept = tuple(i for i in range(len(like.shape)) if i not in axes)
    return OPS["broadcast"](x, shape=like.shape, axes=kept)


def _expect_axes(name: str, x: Type, axes: Axes) -> None:
    if list(axes) != sorted(set(axes)) or builtins.any(not 0 <= axis < x.rank for axis in axes):
        raise errors.AttributeValueError(f"{name}: {axes} are not increasing axes of {x}")


def _define(
    name: str,
    ufunc: Callable[..., Any],
    dtypes: frozenset[str],
    vjp: Rule | None = None,
    has_identity: bool = True,
) -> Op:
    def infer(x: Type, *, axes: Axes) -> tuple[Type, ...]:
        expect_dtype(name, x, dtypes)
        _expect_axes(name, x, axes)
        if not has_identity and builtins.any(x.shape[axis] == 0 for axis in axes):
            raise errors.ShapeError(f"{name} of {x} along {axes} has no elements and no identity")
        return (x.with_shape(without(x.shape, axes)),)

    def reference(x: np.ndarray, axes: Axes) -> Any:
        return ufunc(x, axis=axes).astype(x.dtype) if axes else x

    return register(Op(name, infer, in_single(reference), vjp))


def _extremum_vjp(g: Value, out: Value, x: Value, *, axes: Axes) -> tuple[Any, ...]:
    """Elements that tie for the extremum share the cotangent equally."""
    if x.dtype not in FLOATS:
        return (None,)
    hit = equal(x, spread(out, x, axes))
    count = sum(cast(hit, dtype=x.dtype), axes=axes)
    return (where(hit, spread(g / count, x, axes), 0.0),)


def _prod_vjp(g: Value, out: Value, x: Value, *, axes: Axes) -> tuple[Any, ...]:
    """out / x where no factor is zero; with exactly one zero, only that factor has a gradient."""
    if x.dtype not in FLOATS:
        return (None,)
    is_zero = equal(x, 0.0)
    safe = where(is_zero, x.literal(1.0), x)
    zeros = sum(cast(is_zero, dtype=x.dtype), axes=axes)
    others = spread(g * prod(safe, axes=axes), x, axes)
    zeros = spread(zeros, x, axes)
    alone = where(is_zero, where(equal(zeros, 1.0), others, 0.0), x.literal(0.0))
    return (where(equal(zeros, 0.0), others / safe, alone),)


sum = _define("sum", np.sum, FIELD, lambda g, out, x, *, axes: (spread(g, x, axes),))
prod = _define("prod", np.prod, FIELD, _prod_vjp)
max = _define("max", np.max, ANY, _extremum_vjp, has_identity=False)
min = _define("min", np.min, ANY, _extremum_vjp, has_identity=False)
any = _define("any", np.any, BOOL)
all = _define("all", np.all, BOOL)

# ---- positions -----------------------------------------------------------------------------------


def _define_position(name: str, function: Callable[..., Any]) -> Op:
    def infer(x: Type, *, axis: int) -> tuple[Type, ...]:
        expect_dtype(name, x, ANY)
        _expect_axes(name, x, (axis,))
        if x.shape[axis] == 0:
            raise errors.ShapeError(f"{name} of {x} along axis {axis} has no elements")
        return (Type("i64", without(x.shape, (axis,))),)

    return register(Op(name, infer, in_single(lambda x, axis: function(x, axis=axis))))


argmax = _define_position("argmax", np.argmax)
argmin = _define_position("argmin", np.argmin)

REDUCTIONS = frozenset({sum, prod, max, min, any, all})
"""Reductions that combine values by an associative operation."""
