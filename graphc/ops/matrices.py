"""Matrices in the last two axes, in the language of gradient rules."""

from __future__ import annotations

from typing import Any

from graphc.build import Value
from graphc.ir import OPS, Lit, Op
from graphc.ops import elementwise as ew
from graphc.ops.shape import broadcast, transpose


def emit_all(op: Op, *ins: Value, **attrs: Any) -> tuple[Value, ...]:
    """All results of an op."""
    return ins[0].builder.emit(op, tuple(x.atom for x in ins), attrs)


def swapped(x: Value) -> Value:
    """The transposes of the matrices."""
    rank = len(x.shape)
    return transpose(x, axes=(*range(rank - 2), rank - 1, rank - 2))


def _index(like: Value, axis: int) -> Value:
    attrs = {"shape": like.shape, "axis": len(like.shape) + axis, "dtype": "i64"}
    return like.builder.emit(OPS["iota"], (), attrs)[0]


def lower_triangle(x: Value, diagonal: float) -> Value:
    """The lower triangle, its diagonal times a number."""
    row, column = _index(x, -2), _index(x, -1)
    rest = ew.where(ew.equal(row, column), x * diagonal, 0.0)
    return ew.where(ew.greater(row, column), x, rest)


def identity_like(x: Value) -> Value:
    """The identity, for square matrices as many as x holds."""
    same = ew.equal(_index(x, -2), _index(x, -1))
    return ew.cast(same, dtype=x.dtype)


def diagonal_matrices(x: Value) -> Value:
    """Rows as the diagonals of matrices."""
    shape = (*x.shape, x.shape[-1])
    spread: Value = broadcast(x, shape=shape, axes=tuple(range(len(x.shape))))
    return ew.where(ew.equal(_index(spread, -2), _index(spread, -1)), spread, 0.0)


def columns_scaled(x: Value, factors: Value) -> Value:
    """Each column of the matrices times its factor."""
    rank = len(x.shape)
    axes = (*range(rank - 2), rank - 1)
    return x * broadcast(factors, shape=x.shape, axes=axes)


def gaps(values: Value) -> Value:
    """values[j] - values[i] as matrices."""
    shape = (*values.shape, values.shape[-1])
    rank = len(shape)
    of_columns: Value = broadcast(values, shape=shape, axes=(*range(rank - 2), rank - 1))
    return of_columns - broadcast(values, shape=shape, axes=tuple(range(rank - 1)))


def inverse_or_zero(x: Value) -> Value:
    zero = ew.equal(x, 0.0)
    return ew.where(zero, x.literal(0.0), 1.0 / ew.where(zero, x.literal(1.0), x))


def is_zero(x: Value) -> bool:
    return isinstance(x.atom, Lit) and x.atom.value == 0
