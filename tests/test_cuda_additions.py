"""Additions at computed positions, sorted first; and who wrote last.  Emulated."""

from __future__ import annotations

import numpy as np
import pytest
from emulated_device import SMALL, Emulated, assemble, calls, device_module
from running import assert_same, build, fused, interpret, op

import graphc as gc
from graphc.ir import NUMPY_DTYPES, Graph, Type
from graphc.runtime.cuda.emit.ptx import ptx
from graphc.runtime.cuda.plan.additions import STRETCH, additions_of
from graphc.runtime.cuda.plan.device_kernel import Limits
from graphc.runtime.cuda.plan.rejoin import rejoined
from graphc.runtime.planner import make_program

Shape = tuple[int, ...]


def adding(places: int, columns: Shape, positions: Shape, dtype: str, axis: int) -> Graph:
    """Values of the shape `columns` at each of `positions`, along the axis of the places."""
    before, behind = columns[:axis], columns[axis:]
    types = [
        Type(dtype, (*before, places, *behind)),
        Type("i64", positions),
        Type(dtype, (*before, *positions, *behind)),
    ]
    return build(types, lambda x, at, v: op("scatter_add")(x, at, v, axis=axis))


def check(
    places: int,
    columns: Shape,
    positions: np.ndarray,
    dtype: str = "f64",
    axis: int = 0,
) -> list[int]:
    """Compare, forwards and backwards, and how many blocks each launch of the kernel has."""
    graph = adding(places, columns, positions.shape, dtype, axis)
    rng = np.random.default_rng(0)
    arrays = [
        rng.normal(size=p.type.shape).astype(NUMPY_DTYPES[p.type.dtype]) for p in graph.params
    ]
    arrays[1] = positions
    (expected,) = interpret(graph, arrays)
    results = []
    for backwards in (False, True):
        emulated = Emulated(fused(graph), SMALL, backwards)
        results += emulated(arrays)
    bound = 64 * np.finfo(expected.dtype).eps * np.sqrt(positions.size)
    np.testing.assert_allclose(results[0], expected, bound, 8 * bound)
    assert_same(results[0], results[1])
    return [k.grid for k in emulated.launches[-1].kernels]


def drawn(places: int, shape: Shape) -> np.ndarray:
    return np.random.default_rng(1).integers(0, places, shape)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize(
    "places, columns, count",
    [(50, (8,), 70), (7, (), 300), (1, (5,), 2000), (1000, (), 3000), (40, (2, 3), 500)],
)
def test_rows_at_drawn_places(places: int, columns: Shape, count: int, dtype: str) -> None:
    check(places, columns, drawn(places, (count,)), dtype)


@pytest.mark.parametrize("count", [64, 65, 32 * STRETCH - 1, 32 * STRETCH, 32 * STRETCH + 1])
def test_counts_beside_those_of_stretches(count: int) -> None:
    check(17, (2,), drawn(17, (count,)))


@pytest.mark.parametrize(
    "positions",
    [
        np.full(1000, 3),
        np.full(1000, -5),
        np.full(1000, 99),
        np.arange(1000) % 10,
        np.repeat(np.arange(10), 100),
        np.repeat(np.arange(10), STRETCH),
        np.r_[np.zeros(600, int), np.arange(10)],
    ],
    ids=[
        "one",
        "left of all",
        "right of all",
        "in turn",
        "sorted",
        "whole stretches",
        "mostly one",
    ],
)
def test_places_that_few_or_many_name(positions: np.ndarray) -> None:
    check(10, (), positions)
    check(10, (3,), positions)


def test_axes_of_positions_and_places() -> None:
    check(40, (3,), drawn(40, (512,)), axis=1)
    check(30, (4,), drawn(30, (20, 30)))
    check(9, (4, 2), drawn(9, (20, 10)), axis=1)


def test_a_value_may_be_a_constant() -> None:
    def slope(w: np.ndarray, at: np.ndarray) -> np.ndarray:
        return gc.grad(lambda w: (w[at] * 2).sum())(w)

    w, at = np.ones((30, 4)), drawn(30, (12, 25))
    graph = gc.compile(slope).graph(w, at, stage="fused")
    emulated = Emulated(graph, SMALL)
    assert len(emulated.launches[-1].kernels) > 3
    counts = np.bincount(at.reshape(-1), minlength=30)
    assert_same(emulated([w, at])[0], np.repeat(2.0 * counts, 4).reshape(30, 4))


def found(graph: Graph, limits: Limits) -> bool:
    (call,) = calls(rejoined(make_program(fused(graph))))
    mains = call.kernel.body
    return any(additions_of(call.kernel, call.roots, main, limits) for main in mains)


def test_few_entries_are_added_by_ranges_of_places() -> None:
    assert not found(adding(1000, (8,), (70,), "f32", 0), Limits())
    assert found(adding(1000, (8,), (70,), "f32", 0), SMALL)
    assert found(adding(10, (), (5000,), "f32", 0), Limits())
    assert not found(adding(10, (), (5000,), "i64", 0), Limits()), "those are atomic"


def test_a_million_entries_have_many_threads() -> None:
    """Each of 1000 places had a thread, which went through all of them."""
    module = device_module(fused(adding(1000, (), (1_000_000,), "f32", 0)))
    (launches,) = module._known.values()
    grids = [k.grid * k.block for k in launches.kernels]
    filled, sorting, totals = grids[:1], grids[1:11], grids[11:]
    assert filled[0] >= 250 and min(sorting) > 100_000
    assert totals[0] >= 1_000_000 // STRETCH and len(totals) == 5


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_it_is_assembled(architecture: str) -> None:
    for dtype in ("f32", "f64"):
        graph = adding(300, (5,), (5000,), dtype, 0)
        assemble(ptx(device_module(fused(graph)).text, architecture), architecture)


# ---- who wrote last ------------------------------------------------------------------------------


@pytest.mark.parametrize("places, count", [(10, 100), (1000, 5), (3, 0), (1, 7), (300, 3000)])
def test_the_last_writer(places: int, count: int) -> None:
    graph = build([Type("i64", (count,))], lambda at: op("last_writer")(at, count=places))
    positions = np.random.default_rng(3).integers(-2, places + 2, count)
    (expected,) = interpret(graph, [positions])
    for backwards in (False, True):
        (got,) = Emulated(fused(graph), SMALL, backwards)([positions])
        assert_same(got, expected)


def test_each_position_has_a_thread() -> None:
    graph = build([Type("i64", (100_000,))], lambda at: op("last_writer")(at, count=50_000))
    module = device_module(fused(graph))
    (launches,) = module._known.values()
    assert [k.grid * k.block >= n for k, n in zip(launches.kernels, (50_000, 100_000), strict=True)]
    text = ptx(module.text)
    assert "max.s64" in text
    assemble(text, "sm_80")


def test_its_ptx_runs_without_races() -> None:
    graph, positions = adding(20, (3,), (200,), "f64", 0), drawn(20, (200,))
    rng = np.random.default_rng(4)
    arrays = [rng.normal(size=(20, 3)), positions, rng.normal(size=(200, 3))]
    (got,) = Emulated(fused(graph), SMALL, as_ptx=True)(arrays)
    np.testing.assert_allclose(got, interpret(graph, arrays)[0], 1e-12, 1e-12)
    graph = build([Type("i64", (200,))], lambda at: op("last_writer")(at, count=20))
    (got,) = Emulated(fused(graph), SMALL, as_ptx=True)([positions])
    assert_same(got, interpret(graph, [positions])[0])
