"""Which rows are copied to nearer memory, and that results stay what they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from row_kernels import COLUMNS, FAR_ROWS, ROW, VECTOR, X, rows

import graphc as gc
from graphc.runtime.kernel import Access, Buffer, Load, Loop, Store
from graphc.runtime.llvm.prefetch import rows_ahead
from graphc.runtime.near_rows import copied_rows

pytestmark = pytest.mark.cpu_only("its caches")


def test_the_first_of_three_loops_copies_its_row_for_the_others() -> None:
    kernel = copied_rows(rows(3)[0])
    assert kernel.buffers[3] == Buffer("near3", "f32", COLUMNS, "scratch")
    copy = Access(3, 0, (0, 1))
    (outer,) = kernel.body
    assert isinstance(outer, Loop)
    first, second, third = (loop.body for loop in outer.body if isinstance(loop, Loop))
    assert first == (Load(X, ROW), Store(copy, X))
    assert second == (Load(X, copy),)
    assert third[0] == Load(X, copy)
    assert isinstance(third[1], Load)
    assert third[1].access == VECTOR


def test_the_next_row_is_still_fetched_ahead() -> None:
    kernel = copied_rows(rows(3)[0])
    (outer,) = kernel.body
    assert isinstance(outer, Loop)
    assert rows_ahead(kernel) == {id(outer.body[0]): {ROW: COLUMNS}}


def test_one_loop_reads_the_row_where_it_is() -> None:
    kernel, _ = rows(1)
    assert copied_rows(kernel) == kernel


def test_small_arrays_are_near_already() -> None:
    kernel, _ = rows(3, rows=FAR_ROWS - 1)
    assert copied_rows(kernel) == kernel


def test_rows_that_would_not_stay_near_are_not_copied() -> None:
    kernel, _ = rows(3)
    long = kernel._replace(domain=(FAR_ROWS // 4, 4 * COLUMNS))
    assert copied_rows(long) == long


def test_what_is_read_under_a_condition_is_not_copied() -> None:
    kernel, loops = rows(3)
    guarded = [
        loop._replace(
            body=tuple(s._replace(guard=X) if isinstance(s, Load) else s for s in loop.body)
        )
        for loop in loops
    ]
    kernel = kernel._replace(body=(Loop((0,), False, tuple(guarded)),))
    assert copied_rows(kernel) == kernel


def centred(x: Any) -> Any:
    return x - np.mean(x, axis=1, keepdims=True)


def layer_norm(x: Any) -> Any:
    return centred(x) / np.sqrt(np.mean(centred(x) ** 2, axis=1, keepdims=True) + 1e-5)


def update(x: Any) -> None:
    x[...] = layer_norm(x)


def in_a_loop(x: Any) -> Any:
    for _ in range(2):
        x = layer_norm(x)
    return x


def in_a_branch(x: Any) -> Any:
    return layer_norm(x) if x[0, 0] < 9.0 else x


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("function", [layer_norm, in_a_loop, in_a_branch])
@pytest.mark.parametrize("columns", [1024, 1003, 17])
def test_values(function: Callable[[Any], Any], columns: int, threads: int) -> None:
    x = np.random.default_rng(0).normal(5.0, 2.0, (300_000 // columns, columns)).astype("f4")
    compiled = gc.compile(function, threads=threads)
    exact = function(x.astype("f8"))
    np.testing.assert_allclose(compiled(x), exact, rtol=0, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 2])
def test_rows_that_are_overwritten(threads: int) -> None:
    x = np.random.default_rng(0).normal(5.0, 2.0, (300, 1003)).astype("f4")
    exact = layer_norm(x.astype("f8"))
    gc.compile(update, threads=threads)(x)
    np.testing.assert_allclose(x, exact, rtol=0, atol=1e-5)
