"""Tiles: what is read across its rows is transposed on the way, with the same values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_graphs import NUMBERS, arguments, random_graph, recipes
from running import (
    all_results,
    assert_same,
    assert_ulps,
    assert_within,
    build,
    fused,
    interpret,
    op,
)

import graphc as gc
from graphc import errors
from graphc.build import Value
from graphc.ir import Type
from graphc.runtime import tiling
from graphc.runtime.kernel import (
    Access,
    Blocks,
    Buffer,
    Compute,
    Kernel,
    Load,
    Loop,
    Name,
    Statement,
    Store,
    Transpose,
    inner,
)
from graphc.runtime.listing import listing
from graphc.runtime.shares import ALWAYS
from graphc.runtime.step import Step
from graphc.runtime.tiling import tile, vector_axis


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tiles for the smallest of loops, so that small arrays have several."""
    monkeypatch.setattr(tiling, "LEAST_EDGE", 2)
    monkeypatch.setattr(tiling, "LEAST_ELEMENTS", 4)
    monkeypatch.setattr(tiling, "GRAIN", 8)
    monkeypatch.setattr(tiling, "EDGES", ((5, 3),))
    yield


def statements(kernel: Kernel, kind: type) -> list[Statement]:
    return [s for s in inner(kernel.body) if isinstance(s, kind)]


def crossing(rows: int, columns: int, *strides: tuple[int, int]) -> Kernel:
    """y[rows, columns] = the sum of arrays with these strides."""
    names = [Name(i, "f32") for i in range(2 * len(strides))]
    loads = [Load(names[i], Access(i, 0, s)) for i, s in enumerate(strides)]
    total, body = names[0], list[Statement](loads)
    for i in range(1, len(strides)):
        body.append(Compute(names[len(strides) + i], "add", (total, names[i])))
        total = names[len(strides) + i]
    body.append(Store(Access(len(strides), 0, (columns, 1)), total))
    inputs = [Buffer(f"x{i}", "f32", rows * columns, "in") for i in range(len(strides))]
    nest = Loop((0,), False, (Loop((1,), True, tuple(body)),))
    buffers = (*inputs, Buffer("y", "f32", rows * columns, "out"))
    return Kernel("kernel", (rows, columns), buffers, (nest,))


# ---- which loops, which tiles --------------------------------------------------------------------


def test_the_vector_axis_is_that_of_most_accesses():
    along, across = Access(0, 0, (64, 1)), Access(1, 0, (1, 64))
    assert vector_axis([along, across, across], now=1, other=0) == 0
    assert vector_axis([along, along, across], now=1, other=0) == 1
    assert vector_axis([along, across], now=1, other=0) == 1, "a tie changes nothing"


def test_what_is_read_across_goes_through_a_tile():
    kernel = tile(crossing(256, 128, (128, 1), (1, 256)))
    assert "transpose x1[i0 + i1*256] to tile3" in str(kernel)
    (moved,) = statements(kernel, Transpose)
    assert (moved.row, moved.column) == (0, 1)  # type: ignore[attr-defined]
    assert [b.axis for b in statements(kernel, Blocks)] == [0, 1]  # type: ignore[attr-defined]
    assert kernel.buffers[-1].role == "scratch"


def test_loops_are_interchanged_where_that_is_less_work():
    kernel = tile(crossing(256, 128, (1, 256), (1, 256)))
    assert "vector for i0" in str(kernel)
    assert len(statements(kernel, Transpose)) == 1, "of the result alone"


@pytest.mark.parametrize(
    "kernel",
    [
        crossing(256, 128, (128, 1)),
        crossing(256, 4, (4, 1), (1, 256)),
        crossing(16, 16, (16, 1), (1, 16)),
        crossing(256, 128, (128, 1), (0, 1)),
        crossing(256, 128, (128, 1), (2, 512)),
    ],
    ids=["straight", "short axis", "small", "the same for all rows", "contiguous nowhere"],
)
def test_others_are_left_alone(kernel: Kernel):
    assert tile(kernel) == kernel


def test_memory_that_the_nest_writes_is_read_directly():
    kernel = crossing(256, 128, (1, 256), (128, 1))
    (outer,) = kernel.body
    assert isinstance(outer, Loop)
    reading = Load(Name(9, "f32"), Access(2, 0, (1, 256)))
    (row,) = outer.body
    assert isinstance(row, Loop)
    nest = Loop((0,), False, (row._replace(body=(reading, *row.body)),))
    assert tile(kernel._replace(body=(nest,))).body == (nest,)


# ---- values --------------------------------------------------------------------------------------

Make = Callable[..., Any]


def transposed(x: Value, *axes: int) -> Any:
    return op("transpose")(x, axes=axes or (1, 0))


VALUES: dict[str, tuple[list[tuple[int, ...]], Make]] = {
    "x.T + y": ([(70, 131), (131, 70)], lambda x, y: transposed(x) + y),
    "x + x.T": ([(97, 97)], lambda x: x + transposed(x)),
    "f(x).T, f(x)": ([(65, 129)], lambda x: (transposed(op("tanh")(x)), op("tanh")(x))),
    "x.T + y.T + z": (
        [(90, 33), (90, 33), (33, 90)],
        lambda x, y, z: transposed(x) + transposed(y) + z,
    ),
    "a copy": ([(130, 67)], lambda x: transposed(x)),
    "columns": ([(70, 131), (131, 70)], lambda x, y: op("sum")(transposed(x) * y, axes=(0,))),
    "rows": ([(70, 131), (131, 70)], lambda x, y: op("max")(transposed(x) * y, axes=(1,))),
    "one number": ([(70, 131), (131, 70)], lambda x, y: op("sum")(transposed(x) * y, axes=(0, 1))),
    "all axes turned": ([(21, 6, 70)], lambda x: transposed(x, 2, 1, 0) * transposed(x, 2, 1, 0)),
    "a batch": ([(3, 40, 50), (3, 50, 40)], lambda x, y: transposed(x, 0, 2, 1) - y),
    "rows of vectors": ([(9, 40, 50)], lambda x: transposed(x, 1, 2, 0) + transposed(x, 1, 2, 0)),
}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("name", VALUES)
def test_values(name: str, dtype: str, threads: int):
    shapes, make = VALUES[name]
    graph = build([Type(dtype, shape) for shape in shapes], make)
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape).astype(dtype.replace("f", "float")) for shape in shapes]
    step = Step(fused(graph), threads=threads, thresholds=ALWAYS)
    assert "transpose" in listing(step)
    for got, expected in zip(step(list(arrays)), interpret(graph, arrays), strict=True):
        assert_within(got, expected, np.full(got.shape, 1e-4 if dtype == "f32" else 1e-10))


@pytest.mark.parametrize("dtype", ["i32", "i64", "bool"])
def test_dtypes(dtype: str):
    graph = build([Type(dtype, (70, 131)), Type(dtype, (131, 70))], _unequal)
    rng = np.random.default_rng(0)
    arrays = [
        rng.integers(0, 2, shape).astype(dtype.replace("i", "int"))
        for shape in ((70, 131), (131, 70))
    ]
    assert_same(Step(fused(graph))(list(arrays))[0], interpret(graph, arrays)[0])


def _unequal(x: Value, y: Value) -> Any:
    return op("not_equal")(transposed(x), y)


def test_in_place_the_old_value_is_read_whole():
    @gc.compile
    def turn(x):
        x[...] = x.T * 2.0

    x = np.arange(65.0 * 65.0).reshape(65, 65)
    expected = x.T * 2.0
    turn(x)
    assert_same(x, expected)


@settings(
    max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
@given(
    st.lists(NUMBERS, min_size=1, max_size=4),
    recipes(longest=10),
    st.lists(NUMBERS, max_size=3),
    st.sampled_from([1, 3]),
)
def test_random_graphs_in_small_tiles(small_tiles, params, recipe, outs, threads):
    graph = random_graph(params, recipe, outs)
    arrays = arguments(graph, 1)
    try:
        expected = interpret(graph, arrays)
    except errors.GraphcError:
        return
    got = all_results(Step(fused(graph), threads=threads, thresholds=ALWAYS), graph, arrays)
    for one, other in zip(got, expected, strict=True):
        if one.dtype.kind == "f":
            assert_ulps(one, other, 5)
        else:
            assert_same(one, other)


def test_the_stores_of_a_nest_are_counted_once() -> None:
    """A kernel of many results took time that grew with the square of their number."""

    def passes_over(count: int) -> int:
        def results(x: Any) -> Any:
            return tuple(np.sin(x * k) for k in range(1, count + 1))

        with mock.patch.object(tiling, "inner", wraps=tiling.inner) as asked:
            assert len(gc.compile(results).explain(np.ones(5)).kernels) == 1
        return asked.call_count

    assert passes_over(40) == passes_over(10)
