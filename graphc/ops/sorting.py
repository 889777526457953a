"""Sorting along the last axis, and searching in what is sorted.  NaN comes last, as in NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphc import errors
from graphc.build import Value
from graphc.ir import FLOATS, OPS, Op, Type, register
from graphc.ops.elementwise import NUMBERS, expect_dtype
from graphc.ops.index import scatter_add, take
from graphc.ops.shape import reshape
from graphc.ops.single import in_single


def _expect_sortable(name: str, x: Type) -> None:
    expect_dtype(name, x, NUMBERS)
    if not x.rank:
        raise errors.ShapeError(f"{name}: {x} has no axis to sort along")


def _infer_sort(x: Type) -> tuple[Type, ...]:
    _expect_sortable("sort", x)
    return (x,)


def _infer_argsort(x: Type) -> tuple[Type, ...]:
    _expect_sortable("argsort", x)
    return (x.with_dtype("i64"),)


def rows_flattened(positions: Value, size: int) -> Value:
    """Positions along the last axis, of rows of `size`, as positions among all elements."""
    flat: Value = reshape(positions, shape=(math.prod(positions.shape),))
    rows = math.prod(positions.shape[:-1])
    if rows <= 1:
        return flat
    shape = (rows, positions.shape[-1])
    attrs = {"shape": shape, "axis": 0, "dtype": positions.dtype}
    (row,) = positions.builder.emit(OPS["iota"], (), attrs)
    start: Value = reshape(row * size, shape=flat.shape)
    return flat + start


def _sort_vjp(g: Value, out: Value, x: Value) -> tuple[Any, ...]:
    """The cotangent of each element goes back to where the element came from."""
    if x.dtype not in FLOATS or x.type.size == 0:
        return (None,)
    count = (x.type.size,)
    places = rows_flattened(argsort(x), x.shape[-1])
    flat: Value = reshape(g, shape=count)
    zeros = x.builder.literal(0.0, flat.type)
    return (reshape(scatter_add(zeros, places, flat, axis=0), shape=x.shape),)


sort = register(
    Op(
        "sort",
        _infer_sort,
        in_single(lambda x: np.sort(x, axis=-1, kind="stable")),
        _sort_vjp,
        native=True,
        doc="Each row in increasing order.",
    )
)
argsort: Op = register(
    Op(
        "argsort",
        _infer_argsort,
        in_single(lambda x: np.argsort(x, axis=-1, kind="stable")),
        native=True,
        doc="The positions that sort each row; equal elements stay in order.",
    )
)


def take_along_rows(x: Value, positions: Value) -> Value:
    """x[..., positions[...]] along the last axis, row by row; positions are not negative."""
    flat: Value = reshape(x, shape=(x.type.size,))
    taken = take(flat, rows_flattened(positions, x.shape[-1]), axis=0)
    return reshape(taken, shape=positions.shape)


# ---- searching -----------------------------------------------------------------------------------


def _infer_searchsorted(table: Type, x: Type, *, side: str) -> tuple[Type, ...]:
    expect_dtype("searchsorted", table, NUMBERS)
    if table.rank != 1 or table.dtype != x.dtype:
        raise errors.ShapeError(f"searchsorted: {x} cannot be looked for in {table}")
    if side not in ("left", "right"):
        raise errors.AttributeValueError(f"searchsorted: side is left or right, not {side!r}")
    return (x.with_dtype("i64"),)


searchsorted = register(
    Op(
        "searchsorted",
        _infer_searchsorted,
        in_single(lambda table, x, side: np.searchsorted(table, x, side=side)),
        native=True,
        doc="How many elements of the sorted table are below x (`left`), or not above it.",
    )
)
