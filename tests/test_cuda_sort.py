"""Rows sorted by the threads of a device, emulated, beside the interpreter."""

from __future__ import annotations

import numpy as np
import pytest
from emulated_device import SMALL, Emulated, assemble, device_module
from running import assert_same, build, fused, interpret, op

from graphc.ir import NUMPY_DTYPES, Type
from graphc.runtime.cuda.emit.ptx import ptx
from graphc.runtime.cuda.plan.device_kernel import Limits
from graphc.runtime.cuda.plan.sorting import tiles_of

DTYPES = ["f32", "f64", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"]
TILE = 512
"""Elements of a tile of the small device."""


def rows(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Rows with many equal elements; of floats also NaN and zeros of both signs."""
    rng = np.random.default_rng(1)
    low = 0 if dtype[0] == "u" else -20
    x = rng.integers(low, 20, shape).astype(NUMPY_DTYPES[dtype])
    if dtype[0] == "f":
        x.reshape(-1)[::7] = np.nan
        x.reshape(-1)[3::11] = -0.0
    return x


def check(name: str, x: np.ndarray, dtype: str, limits: Limits | None = SMALL) -> Emulated:
    graph = build([Type(dtype, x.shape)], lambda x: op(name)(x))
    (expected,) = interpret(graph, [x])
    for backwards in (False, True):
        emulated = Emulated(fused(graph), limits, backwards)
        (got,) = emulated([x])
        assert_same(got, expected)
    return emulated


SIZES = [0, 1, 2, 3, 63, 64, 65, TILE - 1, TILE, TILE + 1, 2 * TILE, 3 * TILE + 1, 4 * TILE + 1]


@pytest.mark.parametrize("name", ["sort", "argsort"])
@pytest.mark.parametrize("size", SIZES)
def test_lengths_beside_those_of_tiles(name: str, size: int) -> None:
    check(name, rows("f32", (size,)), "f32")


@pytest.mark.parametrize("name", ["sort", "argsort"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(name: str, dtype: str) -> None:
    for shape in ((40,), (2 * TILE + 3,)):
        check(name, rows(dtype, shape), dtype)


@pytest.mark.parametrize("name", ["sort", "argsort"])
@pytest.mark.parametrize(
    "shape", [(7, 40), (900, 3), (3, 2 * TILE + 1), (2, 2, 600), (5, 0), (0, 5), (400, 1)]
)
def test_batches_of_rows(name: str, shape: tuple[int, ...]) -> None:
    check(name, rows("f64", shape), "f64")


@pytest.mark.parametrize("name", ["sort", "argsort"])
def test_on_a_device_of_the_usual_size(name: str) -> None:
    emulated = check(name, rows("f64", (5000,)), "f64", None)
    ((first, *passes),) = (launches.kernels for launches in emulated.launches)
    assert [k.grid for k in (first, *passes)] == [3, 3, 3]


def test_extremes_of_the_dtype_are_elements_like_others() -> None:
    """A row is not filled up with large elements, which might be mistaken for those of the row."""
    x = np.full(TILE + 30, np.iinfo(np.int64).max)
    x[::3] = np.iinfo(np.int64).min
    check("argsort", x, "i64")
    check("sort", np.where(np.arange(90) % 2, np.inf, np.nan), "f64")


# ---- how many threads have part in it ------------------------------------------------------------


@pytest.mark.parametrize(
    "count, size, blocks, passes",
    [
        (1, 1_000_000, 489, 9),
        (1, 2048, 1, 0),
        (1, 100, 1, 0),
        (100, 20_000, 1000, 4),
        (1000, 100, 500, 0),
        (1_000_000, 16, 7813, 0),
    ],
)
def test_tiles(count: int, size: int, blocks: int, passes: int) -> None:
    tiles = tiles_of(count, size, Limits())
    assert (tiles.total, tiles.passes) == (blocks, passes)


@pytest.mark.parametrize("name", ["sort", "argsort"])
def test_a_long_row_has_many_blocks(name: str) -> None:
    """It had one thread."""
    module = device_module(fused(build([Type("f32", (1_000_000,))], lambda x: op(name)(x))))
    (kernels,) = (launches.kernels for launches in module._known.values())
    assert len(kernels) == 1 + 9
    assert all(k.grid * k.block > 100_000 for k in kernels)


@pytest.mark.parametrize("name, nbytes", [("sort", 4), ("argsort", 4 + 4 + 8)])
def test_workspace_holds_what_goes_back_and_forth(name: str, nbytes: int) -> None:
    module = device_module(fused(build([Type("f32", (1 << 20,))], lambda x: op(name)(x))))
    (launches,) = module._known.values()
    assert launches.workspace_bytes == nbytes << 20


@pytest.mark.parametrize("name", ["sort", "argsort"])
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_it_is_assembled(name: str, architecture: str) -> None:
    for dtype, shape in (("f64", (100_000,)), ("i8", (300, 70)), ("f32", (3, 5000))):
        graph = build([Type(dtype, shape)], lambda x: op(name)(x))
        assemble(ptx(device_module(fused(graph)).text, architecture), architecture)


@pytest.mark.parametrize("name", ["sort", "argsort"])
@pytest.mark.parametrize(
    "dtype, shape", [("f32", (TILE + 100,)), ("f64", (2 * TILE + 7,)), ("i8", (9, 40))]
)
def test_its_ptx_runs_without_races(name: str, dtype: str, shape: tuple[int, ...]) -> None:
    x = rows(dtype, shape)
    graph = build([Type(dtype, shape)], lambda x: op(name)(x))
    (got,) = Emulated(fused(graph), SMALL, as_ptx=True)([x])
    assert_same(got, interpret(graph, [x])[0])
