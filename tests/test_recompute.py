"""Recomputation: what later kernels make again, and that the values stay to the bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models import gelu
from random_graphs import NUMBERS, Recipe, arguments, random_graph, recipes
from running import (
    all_results,
    assert_same,
    assert_ulps,
    assert_within,
    build,
    interpret,
    kernels,
    make_step,
    op,
)

import graphc as gc
from graphc import errors
from graphc.build import Value
from graphc.equal import structurally_equal
from graphc.ir import OPS, Eqn, Graph, Type
from graphc.ops.elementwise import exp, sin, square, tanh
from graphc.passes import recompute as module
from graphc.passes.autodiff import gradient
from graphc.passes.cse import eliminate_common
from graphc.passes.dce import eliminate_dead
from graphc.passes.fuse import fuse
from graphc.passes.lower import lower
from graphc.passes.recompute import recompute
from graphc.passes.row_blocks import fuse_rows
from graphc.text import parse
from graphc.verify import verify

X = Type("f64", (12, 8))
W = Type("f64", (8, 8))


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGE", 1)


def compiled_graph(graph: Graph) -> Graph:
    after = recompute(fuse(lower(graph)))
    verify(after)
    assert structurally_equal(parse(str(after)), after)
    return after


def check(graph: Graph) -> list[Eqn]:
    """The kernels; the interpreter gives the same bits, the machine the same values."""
    after = compiled_graph(graph)
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=p.type.shape) for p in graph.params]
    expected = interpret(graph, arrays)
    for got, out in zip(interpret(after, arrays), expected, strict=True):
        assert_same(got, out)
    got = all_results(make_step(fuse_rows(after)), graph, arrays)
    for result, out in zip(got, expected, strict=True):
        assert_within(result, out, 1e-11 * (1 + np.abs(out)))
    return kernels(after)


def op_names(eqn: Eqn) -> list[str]:
    return [inner.op.name for inner in eqn.attrs["body"].eqns]


def matmul(a: Value, b: Value) -> Value:
    return OPS["matmul"](a, b)


def test_the_backward_of_an_activation_reads_its_argument() -> None:
    def loss(x: Value, w: Value, v: Value) -> Value:
        return op("sum")(square(matmul(gelu(matmul(x, w)), v)), axes=(0, 1))

    graph = eliminate_dead(eliminate_common(gradient(build([X, W, W], loss), [0, 1, 2])))
    without = kernels(fuse(lower(graph)))
    after = check(graph)
    assert len(without[0].outs) > 2
    assert len(after[0].outs) == 2, "the argument and the value of the activation"
    assert len(after) == len(without)


def test_a_chain_ends_at_what_is_kept() -> None:
    def make(x: Value, w: Value) -> tuple[Value, ...]:
        y = matmul(x, w)
        z = exp(square(y))
        return matmul(z, w), matmul(y, w) * z * square(y)

    first, *_, last = check(build([X, W], make))
    assert [out.type for out in first.outs] == [X, X]
    assert "square" in op_names(last) and "exp" not in op_names(last)


def test_gradient_of_forces_between_pairs() -> None:
    """A kernel makes again what another one had made again itself."""

    def energy(x, m):
        apart = x[None] - x[:, None]
        squared = (apart**2).sum(-1) + 0.01
        force = (apart * (m[None] / squared**1.5)[..., None]).sum(1)
        return ((x + force) ** 2).sum()

    rng = np.random.default_rng(0)
    x, m = rng.normal(size=(7, 3)), rng.uniform(1, 2, 7)
    found = gc.compile(gc.grad(energy))(x, m)
    step = 1e-6
    for place in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[place] += step
        down[place] -= step
        slope = (energy(up, m) - energy(down, m)) / (2 * step)
        assert abs(found[place] - slope) <= 1e-5 * (1 + abs(slope))


def returned(x: Value, w: Value) -> tuple[Value, ...]:
    y = matmul(x, w)
    return tanh(y), matmul(y, w) * tanh(y)


def read_by_a_product(x: Value, w: Value) -> Value:
    y = tanh(matmul(x, w))
    return matmul(y, w) * y


def too_dear(x: Value, w: Value) -> Value:
    y = z = matmul(x, w)
    for _ in range(10):
        z = tanh(sin(z))
    return matmul(y, w) * z * y


STAYS: list[tuple[Callable, int]] = [(returned, 2), (read_by_a_product, 1), (too_dear, 2)]


@pytest.mark.parametrize(("make", "outs"), STAYS, ids=[m.__name__ for m, _ in STAYS])
def test_what_stays(make: Callable, outs: int) -> None:
    first, *_ = check(build([X, W], make))
    assert len(first.outs) == outs


def test_small_values_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGE", X.nbytes + 1)

    def make(x: Value, w: Value) -> Value:
        y = matmul(x, w)
        return matmul(y, w) * tanh(y)

    first, *_ = check(build([X, W], make))
    assert len(first.outs) == 2


@settings(
    max_examples=150,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(NUMBERS, min_size=1, max_size=4), recipes(24), st.lists(NUMBERS, max_size=3))
def test_random_graphs(params: list[int], recipe: Recipe, outs: list[int]) -> None:
    graph = random_graph(params, recipe, outs)
    after = compiled_graph(graph)
    arrays = arguments(graph, 1)
    try:
        expected = interpret(graph, arrays)
    except errors.GraphcError:
        return
    for got, out in zip(interpret(after, arrays), expected, strict=True):
        assert_same(got, out)
    for got, out in zip(all_results(make_step(after), graph, arrays), expected, strict=True):
        if got.dtype.kind == "f":
            assert_ulps(got, out, 5)
        else:
            assert_same(got, out)
