"""Running operations by a thread for each piece of a column, emulated, beside the interpreter."""

from __future__ import annotations

import numpy as np
import pytest
from emulated_device import SMALL, Emulated, assemble, device_module
from running import assert_same, build, fused, interpret, op

import graphc as gc
from graphc.ir import NUMPY_DTYPES, Graph, Type
from graphc.runtime.cuda.emit.ptx import ptx
from graphc.runtime.cuda.plan.device_kernel import Limits

RUNNING = ["cumsum", "cumprod", "cummax", "cummin"]
LONG = 20_000


def running(name: str, dtype: str, shape: tuple[int, ...], axis: int, reverse: bool) -> Graph:
    count = 2 if name == "recurrence" else 1
    attrs = {"axis": axis, "reverse": reverse}
    return build([Type(dtype, shape)] * count, lambda *x: op(name)(*x, **attrs))


def check(
    name: str, arrays: list[np.ndarray], dtype: str, axis: int, reverse: bool, ulps: float = 1e5
) -> list[int]:
    """Compare forwards and backwards; how many blocks each launch has."""
    graph = running(name, dtype, arrays[0].shape, axis, reverse)
    with np.errstate(all="ignore"):
        (expected,) = interpret(graph, arrays)
    for backwards in (False, True):
        emulated = Emulated(fused(graph), SMALL, backwards)
        (got,) = emulated(arrays)
        if dtype[0] != "f":
            assert_same(got, expected)
            continue
        eps = np.finfo(got.dtype).eps
        np.testing.assert_allclose(got, expected, ulps * eps, np.finfo(got.dtype).tiny)
    return [k.grid for launches in emulated.launches for k in launches.kernels]


@pytest.mark.parametrize("name", RUNNING)
@pytest.mark.parametrize("dtype", ["f64", "i32"])
@pytest.mark.parametrize("size", [4096, 4097, 33_000])
def test_a_long_column(name: str, dtype: str, size: int) -> None:
    x = (np.random.default_rng(0).normal(size=size) * 0.01 + 1).astype(NUMPY_DTYPES[dtype])
    for reverse in (False, True):
        blocks = check(name, [x], dtype, 0, reverse)
    in_levels = size > 33_000 - 1 and (dtype == "i32" or name != "cumprod")
    assert len(blocks) == (5 if in_levels else 3)


@pytest.mark.parametrize("name", [*RUNNING, "recurrence"])
@pytest.mark.parametrize("shape, axis", [((700, 3), 0), ((2, 1000, 5), 1), ((3, 5000), 1)])
@pytest.mark.parametrize("dtype", ["f64", "f32", "i64"])
def test_few_columns(name: str, shape: tuple[int, ...], axis: int, dtype: str) -> None:
    """Of three columns one thread ran down all."""
    rng = np.random.default_rng(1)
    scale = 0.9 if dtype[0] == "f" else 5
    arrays = [(rng.normal(size=shape) * scale).astype(NUMPY_DTYPES[dtype]) for _ in range(2)]
    blocks = check(name, arrays[: 1 + (name == "recurrence")], dtype, axis, True, 1e6)
    assert len(blocks) >= 3


def test_a_running_maximum_passes_nan_on() -> None:
    x = np.random.default_rng(0).normal(size=6000)
    x[1234] = np.nan
    check("cummax", [x], "f64", 0, False)


# ---- what is too large or too small on the way ---------------------------------------------------


def levels(low: float, high: float) -> np.ndarray:
    """Factors of which products of 1500 are out of range, and those of 3000 are not."""
    return np.where(np.arange(LONG) % 3000 < 1500, low, high)


FACTORS = {
    "small, then large": levels(0.5, 2.0),
    "large, then small": levels(2.0, 0.5),
    "underflow, then large": np.r_[np.full(4000, 0.1), np.full(LONG - 4000, 10.0)],
    "overflow, then small": np.r_[np.full(4000, 10.0), np.full(LONG - 4000, -0.1)],
    "a zero": np.where(np.arange(LONG) == 7000, 0.0, 1.5),
    "many zeros": np.where(np.arange(LONG) % 1000 == 0, 0.0, -1.5),
    "NaN": np.where(np.arange(LONG) == 7000, np.nan, 1.01),
    "infinite": np.where(np.arange(LONG) == 7000, np.inf, 0.99),
    "decay": np.full(LONG, 0.9),
    "random": np.random.default_rng(2).normal(size=LONG),
}


@pytest.mark.parametrize("name", FACTORS)
def test_products_are_those_of_rows_one_after_the_other(name: str) -> None:
    """A part of a product that is infinite or 0 made NaN, or 0, of what is neither."""
    check("cumprod", [FACTORS[name]], "f64", 0, False)


@pytest.mark.parametrize("name", FACTORS)
@pytest.mark.parametrize("terms", ["none", "one", "all"])
def test_recurrences_are_those_of_rows_one_after_the_other(name: str, terms: str) -> None:
    at = np.arange(LONG)
    known = {"none": np.zeros(LONG), "one": np.where(at == 100, 1e300, 0.0)}
    b = known.get(terms, np.random.default_rng(3).normal(size=LONG))
    check("recurrence", [FACTORS[name], b], "f64", 0, False, 1e8)


def test_signs_of_zeros() -> None:
    x = np.full(LONG, -0.1)
    graph = running("cumprod", "f64", x.shape, 0, False)
    (got,), (expected,) = Emulated(fused(graph), SMALL)([x]), interpret(graph, [x])
    assert_same(np.signbit(got), np.signbit(expected))
    b = np.full(LONG, -0.0)
    graph = running("recurrence", "f64", b.shape, 0, False)
    (got,) = Emulated(fused(graph), SMALL)([x * 0, b])
    assert np.signbit(got[0])


# ---- gradients, threads, text --------------------------------------------------------------------


@pytest.mark.parametrize("fn", [np.cumsum, np.cumprod, np.maximum.accumulate])
def test_gradients(fn) -> None:  # type: ignore[no-untyped-def]
    x = np.random.default_rng(4).normal(size=3000) * 0.01 + 1
    w = np.cos(np.arange(3000.0))
    slope = gc.grad(lambda x: (fn(x) * w).sum())
    graph = gc.compile(slope).graph(x, stage="fused")
    (got,) = Emulated(graph, SMALL)([x])
    np.testing.assert_allclose(got, gc.compile(slope)(x), 1e-9)


@pytest.mark.parametrize("name, launches", [("cumsum", 5), ("cumprod", 3), ("recurrence", 3)])
def test_a_million_rows_have_many_threads(name: str, launches: int) -> None:
    module = device_module(fused(running(name, "f32", (1_000_000,), 0, False)))
    ((*kernels,),) = (run.kernels for run in module._known.values())
    assert len(kernels) == launches
    assert kernels[-1].grid * kernels[-1].block >= (15_625 if name == "cumsum" else 977)


def test_many_columns_have_a_thread_each() -> None:
    graph = running("cumsum", "f32", (600, 200_000), 0, False)
    (run,) = device_module(fused(graph))._known.values()
    assert len(run.kernels) == 1
    assert Limits().threads * Limits().most_blocks // 16 < 200_000


@pytest.mark.parametrize("name", [*RUNNING, "recurrence"])
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_it_is_assembled(name: str, architecture: str) -> None:
    for dtype in ("f32", "f64", "i64"):
        graph = running(name, dtype, (40_000, 2), 0, True)
        assemble(ptx(device_module(fused(graph)).text, architecture), architecture)


@pytest.mark.parametrize("name", [*RUNNING, "recurrence"])
def test_its_ptx_runs_without_races(name: str) -> None:
    rng = np.random.default_rng(5)
    arrays = [rng.normal(size=(1100, 2)) for _ in range(1 + (name == "recurrence"))]
    graph = running(name, "f64", (1100, 2), 0, False)
    (got,), (expected,) = (
        Emulated(fused(graph), SMALL, as_ptx=True)(arrays),
        interpret(graph, arrays),
    )
    np.testing.assert_allclose(got, expected, 1e-9, 1e-300)
