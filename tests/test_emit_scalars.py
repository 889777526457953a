"""Numbers in loops stay in registers, and mean what they meant in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from running import build, compiled, cond, fused, interpret
from test_loop_planning import CHOICES, check, scan, while_

from graphc.build import Value
from graphc.ir import Graph, Type
from graphc.ops import elementwise as ew
from graphc.runtime.step import Step

F64, I64, BOOL = Type("f64"), Type("i64"), Type("bool")


def count_up(x: Value, n: Value) -> list[Value]:
    body = lambda x, i, n: (ew.sin(x) + x * 0.5, i + 1, n)
    return while_([x, n.literal(0), n], [], lambda x, i, n: ew.less(i, n), body)


def test_a_loop_over_numbers_calls_no_function() -> None:
    graph = build([F64, I64], count_up)
    for n in (0, 1, 5):
        got, expected = (run(np.array(0.3), np.array(n)) for run in (compiled(graph), plain(graph)))
        np.testing.assert_allclose(got, expected, rtol=1e-14)
    text = Step(fused(graph)).text
    loop = text[text.index("again") : text.index("done", text.index("br label %again"))]
    assert "call void @kernel" not in loop
    assert "load double" not in loop, "x is in a register"


def plain(graph: Graph) -> Any:
    return lambda *arrays: interpret(graph, arrays)


def test_an_array_beside_numbers() -> None:
    """A number is read by a kernel that is a function, and written by one."""

    def make(x: Value, xs: Value) -> list[Value]:
        from graphc.ops import reduce, shape

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
    """Random equations on numbers: exact ones, conditionals, loops."""

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
            return cond(ew.less(a, b), [a, b], inner.last, lambda a, b: inner.last(b, a))
        if kind == 6:
            body = lambda i, x, y, c: (inner.last(x, y, c), inner.last(y, x))
            return scan([a, b], [], [a], body, self.draw(4))[self.draw(2)]
        step = lambda n, x, y: (n - 1, inner.last(x, y), inner.last(y, x, x))
        start = a.builder.literal(self.draw(4), I64)
        more = lambda n, x, y: ew.logical_and(ew.greater(n, 0), ew.less(x, y + 50.0))
        return while_([start, a, b], [], more, step)[1 + self.draw(2)]

    def last(self, *given: Value) -> Value:
        values = list(given)
        for _ in range(1 + self.draw(4)):
            values.append(self.one(values[self.draw(len(values))], values[self.draw(len(values))]))
        return values[-1]


def random_loop(numbers: list[int]) -> Graph:
    length = 1 + numbers[0] % 4

    def body(i: Value, x: Value, y: Value, flag: Value, s: Value, c: Value) -> tuple[Value, ...]:
        maker = _Maker(numbers, 2)
        a, b = maker.last(x, y, s, c), maker.last(y, c, ew.cast(i, dtype="f64"))
        after = ew.where(flag, a, b)
        changed = ew.logical_xor(flag, ew.less(a, b))
        return after, maker.last(b, x), changed, maker.last(a, y), flag, x

    types = [F64, F64, BOOL, Type("f64", (length,)), F64]
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
