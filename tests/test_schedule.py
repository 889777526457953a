"""Loop nests: where each value is computed, how often, and over how many loops."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest
from models import layer_norm, log_softmax, softmax, spread
from running import build, compiled, fused, op

from graphc.build import Value
from graphc.ir import Type
from graphc.ops.elementwise import exp, maximum
from graphc.runtime.kernel import Compute, Kernel, Loop, Statement
from graphc.runtime.planner import make_program
from graphc.runtime.step import Step

X = Type("f32", (64, 100))
ROW = Type("f32", (100,))
COLUMN = Type("f32", (64,))


def kernel(make, *types: Type) -> Kernel:  # type: ignore[no-untyped-def]
    (call,) = make_program(fused(build(types, make))).items
    return call.kernel


def loops(statements: tuple[Statement, ...], depth: int = 0) -> Iterator[tuple[int, Loop]]:
    for statement in statements:
        if isinstance(statement, Loop):
            yield depth, statement
            yield from loops(statement.body, depth + 1)


def depths(nest: Kernel) -> list[int]:
    return [depth for depth, _ in loops(nest.body)]


def computed(nest: Kernel, name: str) -> int:
    """How many times an op stands in the code of a kernel."""
    bodies = [nest.body, *(loop.body for _, loop in loops(nest.body))]
    return sum(isinstance(s, Compute) and s.op == name for body in bodies for s in body)


SOFTMAX = """\
kernel kernel(in x0: f32[6400], out y1: f32[6400], scratch row2: f32[100]) {
  for i0 < 64 {
    t2 = max over:
    vector for i1 < 100 {
      t1 = load x0[i0*100 + i1]
      t2 <- t1
    }
    t5 = sum over:
    vector for i1 < 100 {
      t1 = load x0[i0*100 + i1]
      t3 = subtract(t1, t2)
      t4 = exp(t3)
      store row2[i1] = t4
      t5 <- t4
    }
    vector for i1 < 100 {
      t4 = load row2[i1]
      t6 = divide(t4, t5)
      store y1[i0*100 + i1] = t6
    }
  }
}"""


def test_softmax_has_three_stages() -> None:
    assert str(kernel(softmax, X)) == SOFTMAX


def test_costly_values_are_kept_and_cheap_ones_done_again() -> None:
    nest = kernel(log_softmax, X)
    assert computed(nest, "exp") == computed(nest, "log") == 1
    assert computed(nest, "subtract") == 3
    assert not [buffer for buffer in nest.buffers if buffer.role == "scratch"]


def test_a_row_too_long_for_the_cache_is_computed_again() -> None:
    nest = kernel(softmax, Type("f64", (2, 200_000)))
    assert computed(nest, "exp") == 2
    assert not [buffer for buffer in nest.buffers if buffer.role == "scratch"]


def test_layer_norm_reads_each_row_in_three_stages() -> None:
    assert depths(kernel(layer_norm, X, ROW, ROW)) == [0, 1, 1, 1]


def test_values_of_a_row_are_computed_once_for_it() -> None:
    """exp of the column stands in the outer loop, before the inner one."""
    nest = kernel(lambda x, c: x * spread(exp(c), X.shape, 0), X, COLUMN)
    outer = nest.body[0]
    assert isinstance(outer, Loop) and outer.axes == (0,)
    assert any(isinstance(s, Compute) and s.op == "exp" for s in outer.body)


@pytest.mark.parametrize(
    ("name", "types", "make", "domain"),
    [
        ("elementwise", [Type("f32", (4, 5, 6))], exp, (120,)),
        ("with a scalar", [X, Type("f32")], lambda x, s: x * spread(s, X.shape), (6400,)),
        ("with a row", [X, ROW], lambda x, r: x * spread(r, X.shape, 1), (64, 100)),
        (
            "with a row of rows",
            [Type("f32", (4, 5, 6)), Type("f32", (5, 6))],
            lambda x, r: x * spread(r, (4, 5, 6), 1, 2),
            (4, 30),
        ),
        ("sum of all", [X], lambda x: op("sum")(x, axes=(0, 1)), (6400,)),
        ("sum of rows", [X], lambda x: op("sum")(x, axes=(1,)), (64, 100)),
        ("sum of two axes", [Type("f32", (4, 5, 6))], lambda x: op("sum")(x, axes=(1, 2)), (4, 30)),
        ("sizes of one", [Type("f32", (1, 7, 1))], exp, (7,)),
        ("scalars", [Type("f32")], exp, ()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_loops_without_gaps_are_one(name: str, types: list, make, domain: tuple) -> None:  # type: ignore[no-untyped-def]
    assert kernel(make, *types).domain == domain


def test_an_index_keeps_its_loop() -> None:
    def make(x: Value) -> Value:
        (steps,) = x.builder.emit(op("iota"), (), {"shape": (4, 5), "axis": 1, "dtype": "f32"})
        return x + steps

    assert kernel(make, Type("f32", (4, 5))).domain == (4, 5)


def test_epilogues_stand_in_the_tile() -> None:
    def make(x: Value, w: Value, b: Value) -> Value:
        return maximum(op("matmul")(x, w) + spread(b, (64, 10), 1), 0.0)

    text = str(kernel(make, X, Type("f32", (100, 10)), Type("f32", (10,))))
    tile = text[text.index("tiles of") :]
    assert "add(" in tile and "maximum(" in tile and "store" in tile


def test_one_by_one_products_keep_their_epilogue() -> None:
    """Nothing that reads the product may be moved out in front of it."""

    def make(x: Value, y: Value) -> Value:
        return op("matmul")(x, y) + 1.0

    text = str(kernel(make, Type("f32", (1, 9)), Type("f32", (9, 1))))
    assert text.index("tiles of") < text.index("add(")


def test_a_reduction_over_no_axis_is_no_loop() -> None:
    def make(x: Value) -> tuple[Value, ...]:
        same = op("max")(x, axes=())
        return same, op("sum")(same, axes=(1,))

    assert len(kernel(make, X).body) == 1


def test_a_row_outside_of_the_array_reads_no_page_outside() -> None:
    """Where a guard holds for no lane, the address is one of the buffer all the same."""
    x = np.random.default_rng(0).normal(size=(3, 100)).astype("f4")
    graph = build([Type("f32", (3, 100))], rolled)
    text = Step(fused(graph)).text
    assert "if t" in str(make_program(fused(graph)).items[0].kernel)
    assert re.search(r"select i1 %t\d+, ptr %t\d+, ptr %b0", text)
    np.testing.assert_array_equal(compiled(graph)(x)[0], x + np.roll(x, 1, 0))


def rolled(x: Value) -> Value:
    rows = ((2, 1), (0, 2))
    parts = [op("slice")(x, starts=(s, 0), sizes=(n, 100), steps=(1, 1)) for s, n in rows]
    return x + op("concatenate")(*parts, axis=0)
