"""Loops in machine code, against the interpreter: values, memory, and what is copied."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import assert_same, branch, build, compiled, cond, fused, interpret, op

from graphc import errors
from graphc.build import Builder, Value
from graphc.ir import OPS, Graph, Type
from graphc.ops import elementwise as ew
from graphc.ops import index, shape
from graphc.runtime.plan import plan_arena
from graphc.runtime.planner import make_program
from graphc.runtime.program import Call, Item, Repeat, parts
from graphc.runtime.step import Step

F64, I64 = Type("f64"), Type("i64")
X = Type("f64", (5,))


def check(graph: Graph, *arrays: Any) -> None:
    """Machine code gives what the interpreter gives."""
    given = [np.asarray(array) for array in arrays]
    for got, expected in zip(compiled(graph)(*given), interpret(graph, given), strict=True):
        assert_same(got, expected)


def while_(carried: list[Value], constants: list[Value], test: Any, body: Any) -> list[Value]:
    """A `while` whose parts are functions of carried values and constants."""
    types = [value.type for value in (*carried, *constants)]
    attrs = {"carried": len(carried), "test": branch(types, test), "body": branch(types, body)}
    atoms = [value.atom for value in (*carried, *constants)]
    return list(carried[0].builder.emit(OPS["while"], atoms, attrs))


def scan(
    carried: list[Value],
    sequences: list[Value],
    constants: list[Value],
    body: Any,
    length: int,
    reverse: bool = False,
    builder: Builder | None = None,
) -> list[Value]:
    """A `scan` whose body is a function of index, carried values, slices and constants."""
    slices = [Type(s.dtype, s.shape[1:]) for s in sequences]
    types = [I64, *(c.type for c in carried), *slices, *(c.type for c in constants)]
    operands = [*carried, *sequences, *constants]
    attrs = {
        "carried": len(carried),
        "sequences": len(sequences),
        "length": length,
        "reverse": reverse,
        "body": branch(types, body),
    }
    builder = builder or operands[0].builder
    return list(builder.emit(OPS["scan"], [o.atom for o in operands], attrs))


def calls(items: tuple[Item, ...]) -> list[Call]:
    """The kernels inside of a list of items, those of what it holds too."""
    own = [item for item in items if isinstance(item, Call)]
    return own + [call for item in items for part in parts(item) for call in calls(part)]


def inside(graph: Graph) -> list[str]:
    """The kernels that the only loop of a graph runs in each iteration."""
    program = make_program(fused(graph))
    (repeat,) = (item for item in program.items if isinstance(item, Repeat))
    return [call.kernel.name for call in calls((*repeat.test, *repeat.body))]


# ---- what loops compute --------------------------------------------------------------------------


def count_down(x: Value, n: Value) -> list[Value]:
    return while_(
        [x, n],
        [],
        lambda x, n: ew.greater(n, 0),
        lambda x, n: (x * 2.0 + 1.0, n - 1),
    )


@pytest.mark.parametrize("n", [0, 1, 2, 9])
def test_while(n: int) -> None:
    check(build([X, I64], count_down), np.arange(5.0), np.int64(n))


def swapped(a: Value, b: Value, n: Value) -> list[Value]:
    return while_([a, b, n], [], lambda a, b, n: ew.greater(n, 0), lambda a, b, n: (b, a, n - 1))


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_carried_values_may_change_places(n: int) -> None:
    check(build([X, X, I64], swapped), np.arange(5.0), np.ones(5), np.int64(n))


def three_in_turn(a: Value, b: Value, c: Value, n: Value) -> list[Value]:
    body = lambda a, b, c, n: (b, c, a + b * c, n - 1)
    return while_([a, b, c, n], [], lambda a, b, c, n: ew.greater(n, 0), body)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 7])
def test_blocks_take_turns(n: int) -> None:
    graph = build([X, X, X, I64], three_in_turn)
    check(graph, np.arange(5.0), np.ones(5), np.full(5, 2.0), np.int64(n))
    assert "copy" not in inside(graph)


def one_value_twice(a: Value, b: Value, n: Value) -> list[Value]:
    body = lambda a, b, n: (a + b, a + b, n - 1)
    return while_([a, b, n], [], lambda a, b, n: ew.greater(n, 0), body)


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_one_value_may_be_carried_twice(n: int) -> None:
    check(build([X, X, I64], one_value_twice), np.arange(5.0), np.ones(5), np.int64(n))


def windowed(a: Value, b: Value, n: Value) -> list[Value]:
    """The second carried value becomes a part of the first: of other strides, and smaller."""
    part = {"starts": (1,), "sizes": (2,), "steps": (2,)}
    return while_(
        [a, b, n],
        [],
        lambda a, b, n: ew.greater(n, 0),
        lambda a, b, n: (a * 2.0, shape.slice(a, **part), n - 1),
    )


def test_a_view_of_a_carried_value_is_carried() -> None:
    graph = build([X, Type("f64", (2,)), I64], windowed)
    check(graph, np.arange(5.0), np.zeros(2), np.int64(3))


def constants_carried(a: Value, c: Value, n: Value) -> list[Value]:
    body = lambda a, n, c: (c, n - 1)
    a, n = while_([a, n], [c], lambda a, n, c: ew.greater(n, 0), body)
    return [a, c + 1.0]


@pytest.mark.parametrize("n", [0, 1, 3])
def test_a_constant_becomes_carried_and_stays_as_it_was(n: int) -> None:
    check(build([X, X, I64], constants_carried), np.arange(5.0), np.ones(5), np.int64(n))


def sums(x: Value, xs: Value, k: Value, length: int, reverse: bool) -> list[Value]:
    def body(i: Value, total: Value, part: Value, k: Value) -> tuple[Value, ...]:
        after = total + part * shape.broadcast(k, shape=(5,), axes=())
        return after, after, total, ew.cast(i, dtype="f64")

    return scan([x], [xs], [k], body, length, reverse)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [0, 1, 4])
def test_scan(length: int, reverse: bool) -> None:
    graph = build([X, Type("f64", (length, 5)), F64], lambda *args: sums(*args, length, reverse))
    check(graph, np.arange(5.0), np.arange(5.0 * length).reshape(length, 5), np.float64(3.0))


def test_a_sequence_is_read_in_any_layout() -> None:
    def columns(xs: Value) -> list[Value]:
        turned = shape.transpose(xs, axes=(1, 0))
        zero = xs.builder.literal(0.0, X)
        return scan([zero], [turned], [], lambda i, t, x: (t + x, x * 2.0), 3)

    graph = build([Type("f64", (5, 3))], columns)
    check(graph, np.arange(15.0).reshape(5, 3))
    assert "copy" not in inside(graph)


def test_literals_as_sequence_carried_and_stacked() -> None:
    def make(x: Value) -> list[Value]:
        ones = x.builder.literal(1.0, Type("f64", (4, 5)))
        zero = x.builder.literal(0.0, X)
        return scan([zero, zero], [ones], [x], lambda i, t, u, o, x: (t + o, x, u, o), 4)

    check(build([X], make), np.arange(5.0))


@pytest.mark.parametrize("n", [0, 1, 4])
def test_loops_in_loops_and_conditionals(n: int) -> None:
    def outer(i: Value, x: Value, n: Value) -> tuple[Value, ...]:
        return (count_down(x, n)[0],)

    def make(x: Value, n: Value, p: Value) -> Any:
        (first,) = scan([x], [], [n], outer, 3)
        return cond(p, [first, n], lambda x, n: count_down(x, n)[0], lambda x, n: x - 1.0)

    graph = build([X, I64, Type("bool")], make)
    for p in (False, True):
        check(graph, np.arange(5.0), np.int64(n), np.bool_(p))


def test_conditionals_in_loops() -> None:
    def body(i: Value, x: Value, y: Value, n: Value) -> tuple[Value, ...]:
        either = cond(ew.less(i, n), [x, y], lambda x, y: x * 2.0, lambda x, y: y)
        return either, x

    def make(x: Value, y: Value, n: Value) -> Any:
        return scan([x, y], [], [n], body, 6)

    graph = build([X, X, I64], make)
    for n in (0, 3, 6):
        check(graph, np.arange(5.0), np.ones(5), np.int64(n))


def test_a_check_that_fails_in_an_iteration() -> None:
    def body(i: Value, x: Value) -> tuple[Value, ...]:
        index.check(ew.less(i, 3), i, error="IndexError", message="at {value}")
        return (x + 1.0,)

    graph = build([X], lambda x: scan([x], [], [], body, 5))
    with pytest.raises(errors.IndexOutOfRangeError, match="at 3"):
        Step(fused(graph))([np.zeros(5)])
    graph = build([X], lambda x: scan([x], [], [], body, 3))
    check(graph, np.zeros(5))


# ---- memory --------------------------------------------------------------------------------------


def test_a_loop_updates_in_place_what_it_carries() -> None:
    """`x[1:3] = y` and `x = x * 2` write where x lies; the result is the caller's memory."""
    window = {"starts": (1,), "steps": (1,)}

    def body(i: Value, x: Value, y: Value, v: Value) -> tuple[Value, ...]:
        return shape.update_slice(x, v, **window), y * 2.0

    def make(x: Value, y: Value, v: Value) -> list[Value]:
        return scan([x, y], [], [v], body, 3)

    graph = build([Type("f64", (100,)), Type("f64", (100,)), Type("f64", (2,))], make)
    check(graph, np.arange(100.0), np.ones(100), np.array([7.0, 8.0]))
    program = make_program(fused(graph))
    assert plan_arena(program).nbytes == 0
    assert "copy" not in inside(graph)


def test_an_element_at_a_computed_position_is_written_in_place() -> None:
    def body(i: Value, x: Value, y: Value) -> tuple[Value, ...]:
        before = index.take(x, i - 1, axis=0)
        place = shape.reshape(i, shape=(1,))
        value = shape.reshape(before + 1.0, shape=(1,))
        return index.put(x, place, value, axis=0), index.scatter_add(y, place, value, axis=0)

    graph = build([Type("f64", (100,))] * 2, lambda x, y: scan([x, y], [], [], body, 50))
    check(graph, np.arange(100.0), np.ones(100))
    assert "copy" not in inside(graph)
    program = make_program(fused(graph))
    (repeat,) = (item for item in program.items if isinstance(item, Repeat))
    assert not repeat.blocks, "nothing takes turns"
    assert all(100 not in call.kernel.domain for call in calls(repeat.body))


def test_an_update_under_a_condition_is_in_place() -> None:
    def then(x: Value, v: Value) -> Value:
        return shape.update_slice(x, v, starts=(1,), steps=(1,))

    def body(i: Value, x: Value, v: Value, n: Value) -> Value:
        return cond(ew.less(i, n), [x, v], then, lambda x, v: x)

    def make(x: Value, v: Value, n: Value) -> list[Value]:
        return scan([x], [], [v, n], body, 3)

    graph = build([Type("f64", (100,)), Type("f64", (2,)), I64], make)
    for n in (0, 1, 3):
        check(graph, np.arange(100.0), np.array([7.0, 8.0]), np.int64(n))
    copied = [call for call in calls(make_program(fused(graph)).items) if call.eqn is None]
    assert len(copied) == 1, "the initial value, before the loop"


def test_an_inner_loop_updates_what_the_outer_carries() -> None:
    def inner(i: Value, x: Value, j: Value) -> Value:
        return x * 2.0 + shape.broadcast(ew.cast(i + j, dtype="f64"), shape=(100,), axes=())

    def body(j: Value, x: Value) -> Value:
        return scan([x], [], [j], inner, 4)[0]

    graph = build([Type("f64", (100,))], lambda x: scan([x], [], [], body, 3))
    check(graph, np.arange(100.0))
    copied = [call for call in calls(make_program(fused(graph)).items) if call.eqn is None]
    assert len(copied) == 1, "the initial value, before the loops"


def test_the_old_value_is_not_overwritten_while_it_is_read() -> None:
    """A stencil reads its neighbours: it has two blocks, which take turns, and copies nothing."""
    left, right = ({"starts": (k,), "sizes": (98,), "steps": (1,)} for k in (0, 2))

    def body(i: Value, u: Value) -> Value:
        middle = (shape.slice(u, **left) + shape.slice(u, **right)) * 0.5
        return shape.pad(middle, low=(1,), high=(1,), value=0.0)

    graph = build([Type("f64", (100,))], lambda u: scan([u], [], [], body, 7))
    check(graph, np.random.default_rng(0).random(100))
    assert "copy" not in inside(graph)


# ---- random loops --------------------------------------------------------------------------------

CHOICES = st.lists(st.integers(0, 1 << 20), min_size=4, max_size=12)


class _Maker:
    """Random equations over carried values of one type, loops and conditionals among them."""

    def __init__(self, numbers: list[int], depth: int):
        self.numbers = numbers
        self.depth = depth
        self.at = 0

    def draw(self, n: int) -> int:
        self.at += 1
        return (self.numbers[self.at % len(self.numbers)] >> (self.at % 7)) % n

    def grow(self, values: list[Value]) -> list[Value]:
        for _ in range(2 + self.draw(3)):
            a, b = values[self.draw(len(values))], values[self.draw(len(values))]
            values.append(self.one(a, b))
        return values

    def one(self, a: Value, b: Value) -> Value:
        kind = self.draw(8 if self.depth else 5)
        window = {"starts": (self.draw(3),), "steps": (1,)}
        if kind == 0:
            return a + b
        if kind == 1:
            return ew.maximum(a, b * 0.5)
        if kind == 2:
            part = shape.slice(b, starts=(1,), sizes=(2,), steps=(2,))
            return shape.update_slice(a, part, **window)
        if kind == 3:
            return shape.reshape(shape.reshape(a, shape=(5, 1)), shape=(5,))
        if kind == 4:
            return a
        inner = _Maker(self.numbers[::-1], self.depth - 1)
        if kind == 5:
            p = op("any")(ew.less(a, b), axes=(0,))
            return cond(p, [a, b], lambda a, b: inner.last(a, b), lambda a, b: inner.last(b, a))
        return scan([a, b], [], [a], lambda i, x, y, c: inner.pair(x, y, c), self.draw(4))[
            self.draw(2)
        ]

    def last(self, *values: Value) -> Value:
        return self.grow(list(values))[-1]

    def pair(self, *values: Value) -> tuple[Value, Value]:
        made = self.grow(list(values))
        return made[-1], made[self.draw(len(made))]


def random_loop(numbers: list[int]) -> Graph:
    length = numbers[0] % 4

    def body(i: Value, x: Value, y: Value, s: Value, c: Value) -> tuple[Value, ...]:
        maker = _Maker(numbers, 2)
        a, b = maker.pair(x, y, s, c)
        return a, b, maker.last(a, y), b

    types = [X, X, Type("f64", (length, 5)), X]
    return build(
        types, lambda x, y, xs, c: scan([x, y], [xs], [c], body, length, numbers[1] % 2 == 1)
    )


@given(CHOICES)
def test_random_loops(numbers: list[int]) -> None:
    graph = random_loop(numbers)
    values = np.random.default_rng(0).integers(-3, 4, 100).astype(float)
    length = numbers[0] % 4
    check(
        graph,
        values[:5],
        values[5:10],
        values[10 : 10 + 5 * length].reshape(length, 5),
        values[40:45],
    )
