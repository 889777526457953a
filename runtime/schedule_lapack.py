"""How each decomposition calls LAPACK, matrix by matrix.

LAPACK's matrices lie column by column, which is the transpose of ours: an operand is copied into
working memory transposed, or taken for the transpose that it is where that serves as well.  `info`
of the routines is the last result.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from graphc.ir import Type
from graphc.runtime.kernel import Access, Native, Statement
from graphc.runtime.routine_calls import Calls

BLOCK = 64
"""Columns that LAPACK's blocked routines are given working memory for."""


def _batch(calls: Calls) -> tuple[int, int, str]:
    """Rows, columns and dtype of operand 0; sets the number of parts."""
    a: Type = calls.eqn.ins[0].type
    rows, columns = a.shape[-2:]
    calls.count = math.prod(a.shape[:-2]) if rows and columns else 0
    return rows, columns, a.dtype


def _transposed(calls: Calls, source: Access, target: Access, rows: int, columns: int) -> Statement:
    """rows x columns at `source` into its transpose at `target`."""
    return calls.copied(source, target, (rows, columns), (columns, 1), (1, rows))


def _solve(calls: Calls) -> list[Statement]:
    n, _, dtype = _batch(calls)
    k = calls.eqn.ins[1].type.shape[-1]
    calls.count = calls.count if k else 0
    a, b = calls.operand(0, n * n), calls.operand(1, n * k)
    x, info = calls.result(n * k), calls.result(1, 1)
    work, sides = calls.scratch(dtype, n * n), calls.scratch(dtype, n * k)
    pivots = calls.scratch("i32", n)
    return [
        _transposed(calls, a, work, n, n),
        _transposed(calls, b, sides, n, k),
        Native("gesv", dtype, (n, k, work, n, pivots, sides, n, info)),
        _transposed(calls, sides, x, k, n),
    ]


def _lu_diagonal(calls: Calls) -> list[Statement]:
    n, _, dtype = _batch(calls)
    a, work = calls.operand(0, n * n), calls.scratch(dtype, n * n)
    diagonal, pivots, info = calls.result(n), calls.result(n, 1), calls.scratch("i32", 1)
    return [
        calls.copied(a, work, (n, n), (n, 1), (n, 1)),
        Native("getrf", dtype, (n, n, work, n, pivots, info)),
        calls.copied(work, diagonal, (1, n), (0, n + 1), (0, 1)),
    ]


def _cholesky(calls: Calls) -> list[Statement]:
    """The lower triangle of a row-wise matrix is the upper one column by column."""
    n, _, dtype = _batch(calls)
    a, l, info = calls.operand(0, n * n), calls.result(n * n), calls.result(1, 1)  # noqa: E741
    return [
        calls.copied(a, l, (n, n), (n, 1), (n, 1), keep="lower"),
        Native("potrf", dtype, ("U", n, l, n, info)),
    ]


def _qr(calls: Calls) -> list[Statement]:
    rows, columns, dtype = _batch(calls)
    least = min(rows, columns)
    inner = rows if calls.eqn.attrs["full"] else least
    a, q, r = (
        calls.operand(0, rows * columns),
        calls.result(rows * inner),
        calls.result(inner * columns, 1),
    )
    work = calls.scratch(dtype, rows * max(inner, columns))
    tau, info = calls.scratch(dtype, least), calls.scratch("i32", 1)
    size = BLOCK * max(rows, columns)
    space = calls.scratch(dtype, size)
    return [
        _transposed(calls, a, work, rows, columns),
        Native("geqrf", dtype, (rows, columns, work, rows, tau, space, size, info)),
        calls.copied(work, r, (inner, columns), (1, rows), (columns, 1), keep="upper"),
        Native("orgqr", dtype, (rows, inner, least, work, rows, tau, space, size, info)),
        _transposed(calls, work, q, inner, rows),
    ]


def _eigh(calls: Calls) -> list[Statement]:
    n, _, dtype = _batch(calls)
    a, work = calls.operand(0, n * n), calls.scratch(dtype, n * n)
    w, v, info = calls.result(n), calls.result(n * n, 1), calls.result(1, 2)
    size, integers = 1 + (6 + BLOCK) * n + 2 * n * n, 3 + 5 * n
    space, numbers = calls.scratch(dtype, size), calls.scratch("i32", integers)
    return [
        calls.copied(a, work, (n, n), (n, 1), (n, 1)),
        Native("syevd", dtype, ("V", "U", n, work, n, w, space, size, numbers, integers, info)),
        _transposed(calls, work, v, n, n),
    ]


def _svd(calls: Calls) -> list[Statement]:
    """Of the transpose that LAPACK sees, the right vectors are the left ones of the matrix."""
    rows, columns, _ = _batch(calls)
    inner = min(rows, columns)
    full = calls.eqn.attrs["full"]
    left, right = (rows, columns) if full else (inner, inner)
    u, vt = calls.result(rows * left), calls.result(right * columns, 2)
    s, info = calls.result(inner, 1), calls.result(1, 3)
    return _gesdd(calls, "A" if full else "S", s, (vt, columns, u, left), info)


def _singular_values(calls: Calls) -> list[Statement]:
    _, columns, dtype = _batch(calls)
    unused = calls.scratch(dtype, 1)
    inner = calls.eqn.outs[0].type.shape[-1]
    s, info = calls.result(inner), calls.result(1, 1)
    return _gesdd(calls, "N", s, (unused, columns, unused, inner), info)


def _gesdd(
    calls: Calls, vectors: str, s: Access, sides: tuple[Access, int, Access, int], info: Access
) -> list[Statement]:
    rows, columns, dtype = _batch(calls)
    a, work = calls.operand(0, rows * columns), calls.scratch(dtype, rows * columns)
    least = max(min(rows, columns), 1)
    size = 4 * least * least + 7 * least + (BLOCK + 1) * (rows + columns)
    space, numbers = calls.scratch(dtype, size), calls.scratch("i32", 8 * least)
    left, lead, right, other = sides
    places = (work, columns, s, left, lead, right, other, space, size, numbers, info)
    return [
        calls.copied(a, work, (rows, columns), (columns, 1), (columns, 1)),
        Native("gesdd", dtype, (vectors, columns, rows, *places)),
    ]


SCHEDULES: dict[str, Callable[[Calls], list[Any]]] = {
    "solve": _solve,
    "lu_diagonal": _lu_diagonal,
    "cholesky": _cholesky,
    "qr": _qr,
    "eigh": _eigh,
    "svd": _svd,
    "singular_values": _singular_values,
}
