"""Fused matrix products: batches of which one right matrix is shared are one product."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from models import spread
from running import all_results, assert_within, build, fused, interpret, make_step, op

from graphc.build import Value
from graphc.ir import OPS, Type
from graphc.ops.elementwise import maximum
from graphc.runtime.kernel import Kernel, Loop, Product
from graphc.runtime.planner import make_program

X = Type("f64", (3, 4, 5, 6))
W = Type("f64", (6, 7))


def product(x: Value, w: Value) -> Value:
    """x @ w, as NumPy's broadcasting makes it."""
    shape = (*x.shape[:-2], *w.shape)
    rank = len(shape)
    return OPS["matmul"](x, spread(w, shape, rank - 2, rank - 1))


def with_bias_of_columns(x: Value, w: Value, b: Value) -> Value:
    y = product(x, w)
    return maximum(y + spread(b, y.shape, 3), 0.0)


def with_bias_of_batch(x: Value, w: Value, b: Value) -> Value:
    y = product(x, w)
    return y + spread(b, y.shape, 0)


def of_swapped_axes(x: Value, w: Value) -> Value:
    return product(op("transpose")(x, axes=(1, 0, 2, 3)), w)


def of_single_rows(x: Value, w: Value) -> Value:
    return product(op("reshape")(x, shape=(12, 5, 1, 6)), w)


def of_shared_left(x: Value, w: Value) -> Value:
    return OPS["matmul"](spread(w, (4, 6, 7), 1, 2), op("reshape")(x, shape=(4, 7, 2)))


CASES: list[tuple[str, list[Type], Callable, list[int]]] = [
    ("all in one", [X, W], product, [60]),
    ("epilogue", [X, W, Type("f64", (7,))], with_bias_of_columns, [60]),
    ("epilogue along the batch", [X, W, Type("f64", (3,))], with_bias_of_batch, [3, 4, 5]),
    ("swapped axes", [X, W], of_swapped_axes, [4, 3, 5]),
    ("single rows", [X, W], of_single_rows, [60]),
    ("shared left", [Type("f64", (8, 7)), W], of_shared_left, [4, 6]),
]


def sizes(kernel: Kernel) -> list[int]:
    """The sizes of the loops around the product, and its rows."""
    found, statements = [], kernel.body
    while not isinstance(statements[-1], Product):
        loop = statements[-1]
        assert isinstance(loop, Loop)
        found += [kernel.domain[axis] for axis in loop.axes]
        statements = loop.body
    return [*found, statements[-1].rows]


@pytest.mark.parametrize(("name", "types", "make", "loops"), CASES, ids=[c[0] for c in CASES])
def test_batches(name: str, types: list[Type], make: Callable, loops: list[int]) -> None:
    graph = build(types, make)
    after = fused(graph)
    assert sizes(make_program(after).items[0].kernel) == loops
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=t.shape) for t in types]
    expected = interpret(graph, arrays)
    for got, out in zip(all_results(make_step(after), graph, arrays), expected, strict=True):
        assert_within(got, out, 1e-12 * (1 + np.abs(out)))
