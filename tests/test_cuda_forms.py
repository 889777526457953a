"""How the work of a kernel is divided among threads: decisions, before any code is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from emulated_device import calls
from running import build, fused, op

import graphc as gc
from graphc import errors
from graphc.dims import dim
from graphc.ir import Graph, Type
from graphc.ops.elementwise import exp
from graphc.runtime.cuda.emit.tiles import split_of
from graphc.runtime.cuda.plan.device_kernel import WARP, Limits
from graphc.runtime.cuda.plan.forms import Form, choose_form
from graphc.runtime.cuda.plan.mapping import peeled
from graphc.runtime.cuda.plan.phases import phases_of
from graphc.runtime.cuda.plan.rejoin import rejoined
from graphc.runtime.cuda.plan.row_totals import row_halves
from graphc.runtime.cuda.plan.smaller_blocks import with_smaller_blocks
from graphc.runtime.cuda.plan.spreading import Spread, merged
from graphc.runtime.cuda.plan.tiling import tiling_of
from graphc.runtime.cuda.plan.whole import whole
from graphc.runtime.kernel import Access, Blocks, Loop, Product, inner
from graphc.runtime.planner import make_program
from graphc.runtime.program import Call

LIMITS = Limits()


def only_call(types: list[Type], make: Callable[..., Any]) -> Call:
    (call,) = calls(rejoined(make_program(fused(build(types, make)))))
    return call


def forms(call: Call, limits: Limits = LIMITS) -> list[Form]:
    plan = phases_of(call.kernel, call.roots)
    return [choose_form(call.kernel, call.roots, phase, limits) for phase in plan.phases]


def total(*axes: int) -> Callable[..., Any]:
    return lambda x: op("sum")(x, axes=axes)


@pytest.mark.parametrize(
    "shape, make, kind, team, parts",
    [
        ((1000, 400), exp, "elements", 1, 1),
        ((5000, 100), total(1), "teams", WARP, 1),
        ((50, 2000), total(1), "teams", 128, 1),
        ((5000, 3), total(1), "elements", 1, 1),  # its three terms are written out
        ((5000, 5), total(1), "threads", 1, 1),
        ((100, 70000), total(0), "threads", 1, 1),
        ((30000, 50), total(0), "threads", 1, 910),
        ((2000, 2000), total(0, 1), "teams", 1024, 122),
        ((40, 40), total(0, 1), "together", 128, 1),
    ],
)
def test_forms(shape, make, kind, team, parts) -> None:  # type: ignore[no-untyped-def]
    call = only_call([Type("f32", shape)], make)
    (form,) = forms(call)
    assert (form.kind, form.team) == (kind, team)
    assert form.parts == pytest.approx(parts, rel=0.2)


@pytest.mark.parametrize("dtype, lanes", [("f32", 4), ("f64", 2), ("i16", 8)])
def test_an_access_has_16_bytes(dtype: str, lanes: int) -> None:
    (form,) = forms(only_call([Type(dtype, (64, 48))], lambda x: x + x))
    assert form.lanes == lanes


def test_rows_that_no_vector_fits_are_read_by_element() -> None:
    def make(x: Any, s: Any) -> Any:
        return x * op("broadcast")(s, shape=(64, 47), axes=(1,))

    (form,) = forms(only_call([Type("f32", (64, 47)), Type("f32", (47,))], make))
    assert (form.kind, form.lanes) == ("elements", 1)


def test_what_every_phase_needs_is_computed_by_each() -> None:
    def make(x: Any, s: Any) -> Any:
        scaled = x * op("broadcast")(exp(s), shape=(9000,), axes=())
        top = op("max")(scaled, axes=(0,))
        return scaled - op("broadcast")(top, shape=(9000,), axes=())

    call = only_call([Type("f32", (9000,)), Type("f32", ())], make)
    plan = phases_of(call.kernel, call.roots)
    assert len(plan.phases) == 2
    assert len(plan.again) >= 2  # the load of the scalar and its exponential
    assert [name.dtype for name in plan.kept] == ["f32"]  # the maximum


def test_loops_without_order_are_peeled() -> None:
    call = only_call([Type("f32", (6, 7, 8))], lambda x: op("sum")(exp(x), axes=(1,)))
    nest = peeled(call.kernel, call.roots, call.kernel.body[0])
    assert nest.size == 6 * 8
    assert isinstance(nest.body[0], Loop) and nest.body[0].accumulators


def test_turns_own_what_moves_along_every_axis() -> None:
    spread = Spread((0, 1), (4, 8), 4)
    assert spread.turns == 8
    assert spread.owns(Access(0, 0, (8, 1)))
    assert not spread.owns(Access(0, 0, (0, 1)))
    assert Spread((0, 1), (1, 8), 1).owns(Access(0, 0, (0, 1)))


def test_a_loop_in_a_loop_is_one() -> None:
    call = only_call([Type("f32", (64, 5)), Type("f32", (5,))], scaled_rows)
    (loop,) = call.kernel.body
    assert isinstance(loop, Loop) and len(loop.axes) == 1
    one = merged(call.kernel, call.roots, loop)
    assert isinstance(one, Loop) and one.axes == (0, 1)


def scaled_rows(x: Any, s: Any) -> Any:
    return x * op("broadcast")(s, shape=(64, 5), axes=(1,))


# ---- products ------------------------------------------------------------------------------------


def product(rows: int, inner: int, columns: int) -> Product:
    types = [Type("f32", (rows, inner)), Type("f32", (inner, columns))]
    call = only_call(types, lambda a, b: op("matmul")(a, b))
    (statement,) = call.kernel.body
    assert isinstance(statement, Product)
    return statement


@pytest.mark.parametrize("size, edge", [(2000, 64), (500, 32), (100, 16)])
def test_tiles_are_small_where_there_are_few(size: int, edge: int) -> None:
    tiling = tiling_of(256, product(size, 8, size))
    assert (tiling.rows, tiling.columns) == (edge, edge)


@pytest.mark.parametrize(
    "inner, tiles, parts", [(100, 4, 1), (8192, 4, 32), (8192, 64, 2), (8192, 128, 1), (0, 4, 1)]
)
def test_long_inner_products_are_divided(inner: int, tiles: int, parts: int) -> None:
    assert split_of(product(20, inner, 20) if inner else empty(), tiles).parts == parts


def empty() -> Product:
    return product(20, 1, 20)._replace(inner=0)


def attention() -> Call:
    q = np.zeros((2, 300, 16), np.float32)
    graph: Graph = gc.compile(scores).graph(q, q, q, stage="fused")
    (call,) = calls(make_program(graph))
    return call


def scores(q, k, v):  # type: ignore[no-untyped-def]
    s = q @ k.transpose(0, 2, 1)
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    return (e / e.sum(axis=-1, keepdims=True)) @ v


def test_blocks_of_rows_are_as_high_as_a_tile() -> None:
    kernel = attention().kernel
    smaller = with_smaller_blocks(kernel, LIMITS)
    (blocks,) = [s for s in inner(smaller.body) if isinstance(s, Blocks)]
    assert whole(blocks.size) <= 64
    assert {s.rows for s in inner(blocks.body) if isinstance(s, Product)} == {blocks.size}
    before, after = (sum(whole(b.size) for b in k.buffers) for k in (kernel, smaller))
    assert after < before
    assert with_smaller_blocks(smaller, LIMITS) == smaller


# ---- totals over rows, and what is refused -------------------------------------------------------


def test_totals_over_rows_are_halved() -> None:
    def loss(x, gain):  # type: ignore[no-untyped-def]
        centred = x - x.mean(axis=1, keepdims=True)
        return (centred / np.sqrt((centred * centred).mean(axis=1, keepdims=True)) * gain).sum()

    x = np.ones((200, 96), np.float32)
    graph = gc.compile(gc.grad(loss, argnums=(0, 1))).graph(x, x[0], stage="fused")
    found = []
    for call in calls(make_program(graph)):
        plan = phases_of(call.kernel, call.roots)
        found.append(row_halves(call.kernel, call.roots, plan, LIMITS))
    halves = next(h for h in found if h is not None)
    assert halves.shares == 50
    call = only_call([Type("f32", (64, 48))], exp)
    plan = phases_of(call.kernel, call.roots)
    assert row_halves(call.kernel, call.roots, plan, LIMITS) is None


def test_blocks_of_rows_are_enough_for_a_device() -> None:
    """A block has eight warps: with a row each, 100 000 short rows were added up by 32 blocks."""

    def loss(x, gain):  # type: ignore[no-untyped-def]
        return (x / np.sqrt((x * x).mean(axis=1, keepdims=True)) * gain).sum()

    for shape, team, blocks in (((100_000, 256), WARP, 500), ((8192, 1024), 2 * WARP, 512)):
        x = np.ones(shape, np.float32)
        graph = gc.compile(gc.grad(loss, argnums=(0, 1))).graph(x, x[0], stage="fused")
        (call,) = calls(rejoined(make_program(graph)))
        halves = row_halves(call.kernel, call.roots, phases_of(call.kernel, call.roots), LIMITS)
        assert halves is not None
        assert halves.team == team
        per_block = LIMITS.threads // WARP if team == WARP else 1
        assert -(-halves.shares // per_block) == blocks


def test_sizes_have_to_be_numbers() -> None:
    with pytest.raises(errors.DeviceOperationError, match="bind it"):
        whole(dim("B"))
    assert whole(3) == 3
