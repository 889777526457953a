"""Which rows are fetched ahead, and where."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc.runtime.kernel import Access, Accumulator, Buffer, Kernel, Load, Loop, Name, Store
from graphc.runtime.llvm.prefetch import FAR, rows_ahead

COLUMNS = 1024
ROW, VECTOR, OUT = Access(0, 0, (COLUMNS, 1)), Access(1, 0, (0, 1)), Access(2, 0, (COLUMNS, 1))


def rows(passes: int, rows: int = FAR // (4 * COLUMNS)) -> tuple[Kernel, list[Loop]]:
    """A kernel that reads each of its rows in so many loops, the last of which writes it."""
    x, weight = Name(0, "f32"), Name(1, "f32")
    inner = [
        Loop((1,), True, (Load(x, ROW),), (Accumulator(Name(2 + i, "f32"), "sum", x),))
        for i in range(passes - 1)
    ]
    inner.append(Loop((1,), True, (Load(x, ROW), Load(weight, VECTOR), Store(OUT, x))))
    buffers = (
        Buffer("x", "f32", rows * COLUMNS, "in"),
        Buffer("weight", "f32", COLUMNS, "in"),
        Buffer("y", "f32", rows * COLUMNS, "out"),
    )
    outer = Loop((0,), False, tuple(inner))
    return Kernel("kernel", (rows, COLUMNS), buffers, (outer,)), inner


@pytest.mark.parametrize("passes", [2, 3])
def test_the_next_row_is_fetched_in_the_last_loop_but_one(passes: int) -> None:
    kernel, loops = rows(passes)
    assert rows_ahead(kernel) == {id(loops[-2]): {ROW: COLUMNS}}


def test_one_loop_is_left_to_the_processor() -> None:
    assert rows_ahead(rows(1)[0]) == {}


def test_small_arrays_stay_in_the_cache() -> None:
    assert rows_ahead(rows(3, rows=FAR // (4 * COLUMNS) - 1)[0]) == {}


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_layer_norm_of_a_large_array(dtype: str) -> None:
    @gc.compile
    def layer_norm(x):  # type: ignore[no-untyped-def]
        centred = x - np.mean(x, axis=1, keepdims=True)
        return centred / np.sqrt(np.mean(centred * centred, axis=1, keepdims=True))

    x = np.random.default_rng(0).normal(size=(600, 1003)).astype(dtype)
    expected = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    np.testing.assert_allclose(
        layer_norm(x), expected, rtol=0, atol=1e-5 if dtype == "f4" else 1e-12
    )
