"""Which rows are fetched ahead, and where."""

from __future__ import annotations

import numpy as np
import pytest
from row_kernels import COLUMNS, FAR_ROWS, OUT, ROW, X, rows

import graphc as gc
from graphc.runtime.kernel import Load, Loop, Store
from graphc.runtime.llvm.prefetch import rows_ahead

pytestmark = pytest.mark.cpu_only("its caches")


@pytest.mark.parametrize("passes", [2, 3])
def test_the_next_row_is_fetched_in_the_first_loop(passes: int) -> None:
    kernel, loops = rows(passes)
    assert rows_ahead(kernel) == {id(loops[0]): {ROW: COLUMNS}}


def test_one_loop_is_left_to_the_processor() -> None:
    assert rows_ahead(rows(1)[0]) == {}


def test_a_row_that_is_read_where_results_are_written_is_not_fetched_there() -> None:
    kernel, loops = rows(2)
    reads_late = (loops[0]._replace(body=(), accumulators=()), loops[1])
    late = kernel._replace(body=(Loop((0,), False, reads_late),))
    assert rows_ahead(late) == {}


def test_a_row_that_one_loop_reads_is_fetched_before_others_write() -> None:
    kernel, loops = rows(2)
    writes = Loop((1,), True, (Store(OUT, X),))
    assert not any(isinstance(s, Load) for s in writes.body)
    early = kernel._replace(body=(Loop((0,), False, (loops[0], writes)),))
    assert rows_ahead(early) == {id(loops[0]): {ROW: COLUMNS}}


def test_small_arrays_stay_in_the_cache() -> None:
    assert rows_ahead(rows(3, rows=FAR_ROWS - 1)[0]) == {}


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
