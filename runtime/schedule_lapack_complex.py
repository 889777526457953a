"""How each decomposition of complex matrices calls LAPACK: as those of real ones do.

A complex number is a pair of neighbouring elements, which is what LAPACK takes for one.  Where a
transpose serves a real matrix as well, the conjugate of the complex one is meant, so an operand is
copied as it is or transposed with a view to that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from graphc.ir import WHOLES, Type
from graphc.runtime.kernel import Access, Native, Statement
from graphc.runtime.routine_calls import Calls
from graphc.runtime.schedule_lapack import BLOCK


def _batch(calls: Calls) -> tuple[int, int, str, str]:
    """Rows, columns and both dtypes of operand 0; sets the number of parts."""
    a: Type = calls.eqn.ins[0].type
    rows, columns = a.shape[-3:-1]
    calls.count = math.prod(a.shape[:-3]) if rows and columns else 0
    return rows, columns, a.dtype, WHOLES[a.dtype]


def _copied(
    calls: Calls,
    source: Access,
    target: Access,
    shape: tuple[int, int],
    read: tuple[int, int],
    write: tuple[int, int],
    keep: str = "",
) -> list[Statement]:
    """A copy of complex numbers, part by part; strides count numbers."""
    reading, writing = ((2 * a, 2 * b) for a, b in (read, write))
    return [
        calls.copied(
            source._replace(offset=source.offset + part),
            target._replace(offset=target.offset + part),
            shape,
            reading,
            writing,
            keep,
        )
        for part in (0, 1)
    ]


def _transposed(
    calls: Calls, source: Access, target: Access, rows: int, columns: int
) -> list[Statement]:
    """rows x columns at `source` into its transpose at `target`."""
    return _copied(calls, source, target, (rows, columns), (columns, 1), (1, rows))


def _solve(calls: Calls) -> list[Statement]:
    n, _, part, dtype = _batch(calls)
    k = calls.eqn.ins[1].type.shape[-2]
    calls.count = calls.count if k else 0
    a, b = calls.operand(0, 2 * n * n), calls.operand(1, 2 * n * k)
    x, info = calls.result(2 * n * k), calls.result(1, 1)
    work, sides = calls.scratch(part, 2 * n * n), calls.scratch(part, 2 * n * k)
    pivots = calls.scratch("i32", n)
    return [
        *_transposed(calls, a, work, n, n),
        *_transposed(calls, b, sides, n, k),
        Native("gesv", dtype, (n, k, work, n, pivots, sides, n, info)),
        *_transposed(calls, sides, x, k, n),
    ]


def _lu_diagonal(calls: Calls) -> list[Statement]:
    n, _, part, dtype = _batch(calls)
    a, work = calls.operand(0, 2 * n * n), calls.scratch(part, 2 * n * n)
    diagonal, pivots, info = calls.result(2 * n), calls.result(n, 1), calls.scratch("i32", 1)
    return [
        *_copied(calls, a, work, (n, n), (n, 1), (n, 1)),
        Native("getrf", dtype, (n, n, work, n, pivots, info)),
        *_copied(calls, work, diagonal, (1, n), (0, n + 1), (0, 1)),
    ]


def _cholesky(calls: Calls) -> list[Statement]:
    """The factor of the conjugate, column by column, is the transpose of that of the matrix."""
    n, _, _, dtype = _batch(calls)
    a, l, info = calls.operand(0, 2 * n * n), calls.result(2 * n * n), calls.result(1, 1)  # noqa: E741
    return [
        *_copied(calls, a, l, (n, n), (n, 1), (n, 1), keep="lower"),
        Native("potrf", dtype, ("U", n, l, n, info)),
    ]


def _qr(calls: Calls) -> list[Statement]:
    rows, columns, part, dtype = _batch(calls)
    least = min(rows, columns)
    inner = rows if calls.eqn.attrs["full"] else least
    a, q = calls.operand(0, 2 * rows * columns), calls.result(2 * rows * inner)
    r = calls.result(2 * inner * columns, 1)
    work = calls.scratch(part, 2 * rows * max(inner, columns))
    tau, info = calls.scratch(part, 2 * least), calls.scratch("i32", 1)
    size = BLOCK * max(rows, columns)
    space = calls.scratch(part, 2 * size)
    return [
        *_transposed(calls, a, work, rows, columns),
        Native("geqrf", dtype, (rows, columns, work, rows, tau, space, size, info)),
        *_copied(calls, work, r, (inner, columns), (1, rows), (columns, 1), keep="upper"),
        Native("ungqr", dtype, (rows, inner, least, work, rows, tau, space, size, info)),
        *_transposed(calls, work, q, inner, rows),
    ]


def _eigh(calls: Calls) -> list[Statement]:
    n, _, part, dtype = _batch(calls)
    a, work = calls.operand(0, 2 * n * n), calls.scratch(part, 2 * n * n)
    w, v, info = calls.result(n), calls.result(2 * n * n, 1), calls.result(1, 2)
    size, reals, integers = (BLOCK + 2) * n + n * n, 1 + 5 * n + 2 * n * n, 3 + 5 * n
    space, numbers = calls.scratch(part, 2 * size), calls.scratch("i32", integers)
    places = (w, space, size, calls.scratch(part, reals), reals, numbers, integers, info)
    return [
        *_transposed(calls, a, work, n, n),
        Native("heevd", dtype, ("V", "L", n, work, n, *places)),
        *_transposed(calls, work, v, n, n),
    ]


def _eig(calls: Calls) -> list[Statement]:
    n, _, part, dtype = _batch(calls)
    a, work = calls.operand(0, 2 * n * n), calls.scratch(part, 2 * n * n)
    w, v, info = calls.result(2 * n), calls.result(2 * n * n, 1), calls.result(1, 2)
    vectors, unused = calls.scratch(part, 2 * n * n), calls.scratch(part, 2)
    size = (BLOCK + 2) * n
    space, reals = calls.scratch(part, 2 * size), calls.scratch(part, 2 * n)
    places = (w, unused, 1, vectors, n, space, size, reals, info)
    return [
        *_transposed(calls, a, work, n, n),
        Native("geev", dtype, ("N", "V", n, work, n, *places)),
        *_transposed(calls, vectors, v, n, n),
    ]


def _geev(calls: Calls) -> list[Statement]:
    """Of real matrices, the eigenvalues in two arrays."""
    a_type: Type = calls.eqn.ins[0].type
    n, dtype = a_type.shape[-1], a_type.dtype
    calls.count = math.prod(a_type.shape[:-2]) if n else 0
    a, work = calls.operand(0, n * n), calls.scratch(dtype, n * n)
    real, imag = calls.result(n), calls.result(n, 1)
    v, info = calls.result(n * n, 2), calls.result(1, 3)
    vectors, unused = calls.scratch(dtype, n * n), calls.scratch(dtype, 1)
    size = (BLOCK + 4) * n
    places = (real, imag, unused, 1, vectors, n, calls.scratch(dtype, size), size, info)
    return [
        calls.copied(a, work, (n, n), (n, 1), (1, n)),
        Native("geev", dtype, ("N", "V", n, work, n, *places)),
        calls.copied(vectors, v, (n, n), (n, 1), (1, n)),
    ]


def _svd(calls: Calls) -> list[Statement]:
    """Not of the transpose, as for real matrices: the phases of the vectors are those of NumPy."""
    rows, columns, part, _ = _batch(calls)
    inner = min(rows, columns)
    full = calls.eqn.attrs["full"]
    left, right = (rows, columns) if full else (inner, inner)
    u, vt = calls.result(2 * rows * left), calls.result(2 * right * columns, 2)
    s, info = calls.result(inner, 1), calls.result(1, 3)
    sides = calls.scratch(part, 2 * rows * left), calls.scratch(part, 2 * right * columns)
    return [
        *_gesdd(calls, "A" if full else "S", s, (sides[0], rows, sides[1], right), info),
        *_transposed(calls, sides[0], u, left, rows),
        *_transposed(calls, sides[1], vt, columns, right),
    ]


def _singular_values(calls: Calls) -> list[Statement]:
    rows, _, part, _ = _batch(calls)
    unused = calls.scratch(part, 2)
    inner = calls.eqn.outs[0].type.shape[-1]
    s, info = calls.result(inner), calls.result(1, 1)
    return _gesdd(calls, "N", s, (unused, rows, unused, inner), info)


def _gesdd(
    calls: Calls, vectors: str, s: Access, sides: tuple[Access, int, Access, int], info: Access
) -> list[Statement]:
    rows, columns, part, dtype = _batch(calls)
    a, work = calls.operand(0, 2 * rows * columns), calls.scratch(part, 2 * rows * columns)
    least, most = max(min(rows, columns), 1), max(rows, columns, 1)
    size = 2 * least * least + 3 * least + (BLOCK + 1) * (rows + columns)
    reals = 5 * least * least + 2 * most * least + 7 * least
    space, numbers = calls.scratch(part, 2 * size), calls.scratch("i32", 8 * least)
    places = (s, *sides, space, size, calls.scratch(part, reals), numbers, info)
    return [
        *_transposed(calls, a, work, rows, columns),
        Native("gesdd", dtype, (vectors, rows, columns, work, rows, *places)),
    ]


SCHEDULES: dict[str, Callable[[Calls], list[Any]]] = {
    "complex_solve": _solve,
    "complex_lu_diagonal": _lu_diagonal,
    "complex_cholesky": _cholesky,
    "complex_qr": _qr,
    "complex_eigh": _eigh,
    "complex_eig": _eig,
    "geev": _geev,
    "complex_svd": _svd,
    "complex_singular_values": _singular_values,
}
