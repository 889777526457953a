"""Numbers and short vectors in loops stay in registers, and mean what they meant in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from running import assert_same, build, compiled, cond, fused, interpret
from test_loop_planning import CHOICES, check, scan, while_

import graphc as gc
from graphc.build import Value
from graphc.ir import Graph, Type
from graphc.ops import elementwise as ew
from graphc.ops import reduce, shape
from graphc.runtime.llvm.emit_step import emit_step
from graphc.runtime.llvm.target import x86_target
from graphc.runtime.plan import plan_arena
from graphc.runtime.planner import make_program

F64, I64, BOOL = Type("f64"), Type("i64"), Type("bool")


def count_up(x: Value, n: Value) -> list[Value]:
    body = lambda x, i, n: (ew.sin(x) + x * 0.5, i + 1, n)
    return while_([x, n.literal(0), n], [], lambda x, i, n: ew.less(i, n), body)


def loop_text(graph: Graph) -> str:
    """The code of the loop of a step that has one."""
    program = make_program(fused(graph))
    text = emit_step(program, plan_arena(program), x86_target("x86-64-v4"), "step").text
    return text[text.index("\nagain") : text.rindex("br label %again")]


def test_a_loop_over_numbers_calls_no_function() -> None:
    graph = build([F64, I64], count_up)
    for n in (0, 1, 5):
        got, expected = (run(np.array(0.3), np.array(n)) for run in (compiled(graph), plain(graph)))
        np.testing.assert_allclose(got, expected, rtol=1e-14)
    loop = loop_text(graph)
    assert "call void @kernel" not in loop
    assert "load double" not in loop, "x is in a register"


def plain(graph: Graph) -> Any:
    return lambda *arrays: interpret(graph, arrays)


def test_an_array_beside_numbers() -> None:
    """A number is read by a kernel that is a function, and written by one."""

    def make(x: Value, xs: Value) -> list[Value]:
        def body(i: Value, total: Value, row: Value, last: Value) -> tuple[Value, ...]:
            scaled = row * shape.broadcast(total, shape=(4,), axes=())
            after = reduce.sum(scaled, axes=(0,)) * 0.25
            return after + last, after, total

        return scan([x], [xs], [x], lambda i, t, row, x: body(i, t, row, x)[:2], 6)

    graph = build([F64, Type("f64", (6, 4))], make)
    got = compiled(graph)(np.array(1.5), np.arange(24.0).reshape(6, 4))
    for a, b in zip(got, interpret(graph, [np.array(1.5), np.arange(24.0).reshape(6, 4)])):
        np.testing.assert_allclose(a, b, rtol=1e-13)


class _Maker:
    """Random equations on numbers or vectors: exact ones, conditionals, loops."""

    def __init__(self, numbers: list[int], depth: int):
        self.numbers = numbers
        self.depth = depth
        self.at = 0

    def draw(self, n: int) -> int:
        self.at += 1
        return (self.numbers[self.at % len(self.numbers)] >> (self.at % 9)) % n

    def one(self, a: Value, b: Value) -> Value:
        kind = self.draw(8 if self.depth else 5)
        if kind == 0:
            return a + b
        if kind == 1:
            return ew.maximum(a, b - 1.0)
        if kind == 2:
            return ew.where(ew.less(a, b), b, a * 0.5)
        if kind in (3, 4):
            return ew.negative(a) if kind == 3 else b
        inner = _Maker(self.numbers[::-1], self.depth - 1)
        if kind == 5:
            return cond(is_less(a, b), [a, b], inner.last, lambda a, b: inner.last(b, a))
        if kind == 6:
            body = lambda i, x, y, c: (inner.last(x, y, c), inner.last(y, x))
            return scan([a, b], [], [a], body, self.draw(4))[self.draw(2)]
        step = lambda n, x, y: (n - 1, inner.last(x, y), inner.last(y, x, x))
        start = a.builder.literal(self.draw(4), I64)
        more = lambda n, x, y: ew.logical_and(ew.greater(n, 0), is_less(x, y + 50.0))
        return while_([start, a, b], [], more, step)[1 + self.draw(2)]

    def last(self, *given: Value) -> Value:
        values = list(given)
        for _ in range(1 + self.draw(4)):
            values.append(self.one(values[self.draw(len(values))], values[self.draw(len(values))]))
        return values[-1]


def is_less(a: Value, b: Value) -> Value:
    """Of vectors, whether they are together."""
    axes = tuple(range(len(a.type.shape)))
    return ew.less(reduce.sum(a, axes=axes), reduce.sum(b, axes=axes)) if axes else ew.less(a, b)


def random_loop(numbers: list[int], size: tuple[int, ...] = ()) -> Graph:
    length = 1 + numbers[0] % 4

    def filled(x: Value) -> Value:
        return shape.broadcast(x, shape=size, axes=()) if size else x

    def body(i: Value, x: Value, y: Value, flag: Value, s: Value, c: Value) -> tuple[Value, ...]:
        maker = _Maker(numbers, 2)
        s = filled(s)
        a, b = maker.last(x, y, s, c), maker.last(y, c, filled(ew.cast(i, dtype="f64")))
        after = ew.where(filled(flag), a, b)
        changed = ew.logical_xor(flag, is_less(a, b))
        return after, maker.last(b, x), changed, maker.last(a, y), flag, x

    value = Type("f64", size)
    types = [value, value, BOOL, Type("f64", (length,)), value]
    return build(
        types,
        lambda x, y, p, xs, c: scan([x, y, p], [xs], [c], body, length, numbers[1] % 2 == 1),
    )


@given(CHOICES)
def test_random_loops_over_numbers(numbers: list[int]) -> None:
    graph = random_loop(numbers)
    values = np.random.default_rng(0).integers(-3, 4, 8).astype(float)
    length = 1 + numbers[0] % 4
    check(
        graph,
        values[0],
        values[1],
        np.bool_(numbers[1] % 3 == 0),
        values[2 : 2 + length],
        values[7],
    )


@settings(max_examples=25)
@given(CHOICES, st.sampled_from([2, 3, 4, 8]))
def test_random_loops_over_vectors(numbers: list[int], size: int) -> None:
    graph = random_loop(numbers, (size,))
    values = np.random.default_rng(0).integers(-3, 4, (4, size)).astype(float)
    length = 1 + numbers[0] % 4
    check(
        graph,
        values[0],
        values[1],
        np.bool_(numbers[1] % 3 == 0),
        np.arange(length) - 1.0,
        values[2],
    )


@pytest.mark.parametrize("size", [2, 3, 4, 8])
def test_a_loop_over_a_short_vector_calls_no_function(size: int) -> None:
    def body(x: Value, i: Value, n: Value) -> tuple[Value, ...]:
        return x * 0.5 + 1.0, i + 1, n

    def make(x: Value, n: Value) -> list[Value]:
        return while_([x, n.literal(0), n], [], lambda x, i, n: ew.less(i, n), body)

    graph = build([Type("f64", (size,)), I64], make)
    loop = loop_text(graph)
    assert "call void @kernel" not in loop
    assert f"load <{size} x double>" not in loop, "x is in a register"
    x = np.arange(size, dtype="f8")
    for n in (0, 1, 5):
        assert_same(compiled(graph)(x, np.array(n))[0], interpret(graph, [x, np.array(n)])[0])


@pytest.mark.parametrize("size", [5, 32])
def test_longer_and_odd_vectors_are_left_to_functions(size: int) -> None:
    def make(x: Value) -> list[Value]:
        return scan([x], [], [], lambda i, x: (ew.sin(x),), 5)

    assert "call void @kernel" in loop_text(build([Type("f64", (size,))], make))


def test_what_an_element_is_assigned_is_part_of_the_vector() -> None:
    def turn(x, n):  # type: ignore[no-untyped-def]
        for i in range(n):
            x = x + 1.0
            x[0] = x[3] * 0.5
            x[i % 4] = x[1] - x[2]
            x = x[::-1] * 0.5
        return x

    x = np.arange(4.0)
    for n in (0, 1, 7):
        np.testing.assert_array_equal(gc.compile(turn)(x, n), turn(x, n))


@pytest.mark.parametrize("combine", [np.sum, np.max, np.min, np.prod])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i8"])
def test_totals_of_vectors(combine, dtype: str) -> None:  # type: ignore[no-untyped-def]
    def turn(x, y, n):  # type: ignore[no-untyped-def]
        for _ in range(n):
            x, y = y, x + combine(x) * y
        return x, y

    x, y = np.array([1, 0, -2, 1], dtype), np.array([0, 1, 1, -1], dtype)
    for got, want in zip(gc.compile(turn)(x, y, 5), turn(x, y, 5), strict=True):
        np.testing.assert_array_equal(got, want)


def test_truth_values_and_a_nan() -> None:
    def turn(x, n):  # type: ignore[no-untyped-def]
        seen = x > 100.0
        for _ in range(n):
            seen = seen | (x > 2.0)
            x = np.maximum(x * 2.0, np.max(x))
        return seen, x, np.any(seen)

    for x in (np.array([0.1, 1.0, 3.0, -1.0]), np.array([0.1, np.nan, 3.0, -1.0])):
        for got, want in zip(gc.compile(turn)(x, 3), turn(x, 3), strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 16])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "u2", "i8"])
def test_elements_of_all_types_beside_what_must_not_be_written(dtype: str, size: int) -> None:
    def turn(x, y, n):  # type: ignore[no-untyped-def]
        odd = x != y
        for _ in range(n):
            larger = x > y
            odd = odd ^ larger
            x, y = np.where(larger, y, x + y), np.where(odd, x, y) + x.dtype.type(1)
        return x, y, odd

    rng = np.random.default_rng(size)
    x, y = (rng.integers(0, 5, size).astype(dtype) for _ in range(2))
    for n in (0, 1, 6):
        for got, want in zip(gc.compile(turn)(x, y, n), turn(x, y, n), strict=True):
            assert_same(got, want)


@pytest.mark.parametrize("size", [2, 3, 4, 8])
def test_functions_of_short_vectors(size: int) -> None:
    def turn(x, n):  # type: ignore[no-untyped-def]
        for _ in range(n):
            x = np.tanh(x) + np.exp(-x * x) / (1.5 + np.sin(x)) + np.log1p(np.sqrt(np.abs(x)))
            x = x / np.sqrt(np.sum(x * x)) + np.floor(x)
        return x

    x = np.linspace(-2.0, 3.0, size)
    np.testing.assert_allclose(gc.compile(turn)(x, 4), turn(x, 4), rtol=1e-12)
