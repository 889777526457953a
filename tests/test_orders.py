"""Results that are written in the order in which they are wanted, without a copy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from running import all_results, assert_within, build, fused, interpret, make_step, op

from graphc.build import Value
from graphc.ir import Type
from graphc.ops.elementwise import exp
from graphc.runtime.orders import ordered, preferred_orders
from graphc.runtime.planner import make_program

X = Type("f32", (2, 3, 4, 5))
W = Type("f32", (15, 6))


def transpose(x: Value, *axes: int) -> Value:
    return op("transpose")(x, axes=axes)


def reshape(x: Value, *shape: int) -> Value:
    return op("reshape")(x, shape=shape)


def product(x: Value) -> Value:
    return op("matmul")(x, transpose(x, 0, 1, 3, 2))


def heads_together(x: Value, w: Value) -> Value:
    """What follows attention: the heads of a position side by side, and a projection."""
    y = op("matmul")(product(x), x)
    return op("matmul")(reshape(transpose(y, 0, 2, 1, 3), 8, 15), w)


CASES: list[tuple[str, Callable, int]] = [
    ("a reshaped result", lambda x, w: reshape(product(x), 6, 16), 1),
    ("a transposed result", lambda x, w: transpose(product(x), 0, 2, 1, 3), 1),
    ("heads together", heads_together, 3),
    ("the last axis moves", lambda x, w: transpose(product(x), 0, 1, 3, 2), 2),
    ("wanted twice", lambda x, w: both(transpose(product(x), 0, 2, 1, 3)), 2),
    (
        "wanted in its own order, too",
        lambda x, w: (lambda y: (y, transpose(y, 1, 0, 2, 3)))(product(x)),
        2,
    ),
    ("a view of an argument", lambda x, w: transpose(x, 1, 0, 2, 3), 1),
]


def both(y: Value) -> tuple[Value, ...]:
    return y, reshape(y, 120 * 4 // 5)


@pytest.mark.parametrize(("name", "make", "count"), CASES, ids=[c[0] for c in CASES])
def test_calls(name: str, make: Callable, count: int) -> None:
    """So many kernels, copies among them; and the values."""
    graph = build([X, W], make)
    assert len(make_program(fused(graph)).items) == count
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=t.shape).astype("f4") for t in (X, W)]
    expected = interpret(graph, arrays)
    for got, out in zip(all_results(make_step(fused(graph)), graph, arrays), expected, strict=True):
        assert_within(got, out, 1e-4 * (1 + np.abs(out)))


def test_two_readers_that_want_different_orders_get_the_usual_one() -> None:
    def make(x: Value) -> tuple[Value, ...]:
        y = product(x)
        return exp(transpose(y, 0, 2, 1, 3)), exp(transpose(y, 1, 0, 2, 3))

    assert preferred_orders(fused(build([X], make))) == {}


def test_ordered() -> None:
    layout = ordered(Type("f32", (2, 3, 4)), (1, 0, 2))
    assert layout.strides == (4, 8, 1)
