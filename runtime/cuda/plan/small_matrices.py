"""Which of LAPACK's routines a warp does, and on which matrices: decisions alone, no code."""

from __future__ import annotations

from graphc.runtime.kernel import Native, Statement

LARGEST = 32
"""Matrices of more rows are LAPACK's: a warp has a thread for each row of one of these."""
MOST_COLUMNS = 64
"""Of right-hand sides."""


def is_small_matrix(statement: Statement) -> bool:
    """Whether a statement is a routine that is written here, on a matrix that is small enough."""
    if not isinstance(statement, Native) or statement.dtype not in ("f32", "f64"):
        return False
    sizes = [n for n in statement.arguments if isinstance(n, int)]
    match statement.routine:
        case "potrf" | "getrf":
            return max(sizes) <= LARGEST
        case "gesv":
            n, columns, *_ = sizes
            return n <= LARGEST and columns <= MOST_COLUMNS
    return False
