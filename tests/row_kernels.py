"""Kernels over rows, for the tests of what is done about where rows lie."""

from __future__ import annotations

from graphc.runtime.kernel import Access, Accumulator, Buffer, Kernel, Load, Loop, Name, Store
from graphc.runtime.near_rows import FAR

COLUMNS = 1024
FAR_ROWS = FAR // (4 * COLUMNS)
ROW, VECTOR, OUT = Access(0, 0, (COLUMNS, 1)), Access(1, 0, (0, 1)), Access(2, 0, (COLUMNS, 1))
X = Name(0, "f32")


def rows(passes: int, rows: int = FAR_ROWS) -> tuple[Kernel, list[Loop]]:
    """A kernel that reads each of its rows in so many loops, the last of which writes it."""
    weight = Name(1, "f32")
    inner = [
        Loop((1,), True, (Load(X, ROW),), (Accumulator(Name(2 + i, "f32"), "sum", X),))
        for i in range(passes - 1)
    ]
    inner.append(Loop((1,), True, (Load(X, ROW), Load(weight, VECTOR), Store(OUT, X))))
    buffers = (
        Buffer("x", "f32", rows * COLUMNS, "in"),
        Buffer("weight", "f32", COLUMNS, "in"),
        Buffer("y", "f32", rows * COLUMNS, "out"),
    )
    outer = Loop((0,), False, tuple(inner))
    return Kernel("kernel", (rows, COLUMNS), buffers, (outer,)), inner
