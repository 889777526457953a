"""Kernels of several nests: what is joined, and that each part is written where it belongs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from running import assert_same, build, compiled, fused, interpret, kernels, op

from graphc.build import Builder, Value
from graphc.ir import OPS, Graph, Type
from graphc.ops.elementwise import cos, exp, sin, sqrt
from graphc.runtime.kernel import Store
from graphc.runtime.planner import make_program
from graphc.runtime.program import Call
from graphc.runtime.step import Step

X = Type("f64", (6, 9))
Y = Type("f64", (4, 9))


def calls(graph: Graph) -> list[Call]:
    """The nests that run, in order."""
    return [item for item in make_program(fused(graph)).items if isinstance(item, Call)]


def update(x: Value, v: Value, starts: Sequence[int], steps: Sequence[int] = (1, 1)) -> Value:
    return op("update_slice")(x, v, starts=tuple(starts), steps=tuple(steps))


def window(x: Value, starts: Sequence[int], sizes: Sequence[int]) -> Value:
    return op("slice")(x, starts=tuple(starts), sizes=tuple(sizes), steps=(1,) * len(starts))


PARTS: list[tuple[str, list[Type], Callable, int]] = [
    # name, parameters, function, and how many nests: none copies what another could have written
    ("concatenate", [X, Y], lambda x, y: op("concatenate")(exp(x), sin(y), axis=0), 2),
    ("with a parameter", [X, Y], lambda x, y: op("concatenate")(exp(x), y, axis=0), 2),
    ("a part twice", [X], lambda x: twice(exp(x)), 2),
    ("of parts", [X, Y], lambda x, y: op("concatenate")(padded(exp(x)), sin(y), axis=1), 3),
    ("pad", [X], lambda x: op("pad")(exp(x), low=(1, 2), high=(0, 3), value=-1.0), 2),
    ("window", [X, Y], lambda x, y: update(x, exp(window(y, (0, 0), (2, 3))), (1, 2)), 2),
    ("window of a value", [X, Y], lambda x, y: update(sin(x), exp(y), (1, 0)), 2),
    ("every other", [X, Y], lambda x, y: update(x, exp(half(y)), (0, 0), (2, 1)), 2),
    (
        "backwards",
        [X],
        lambda x: update(cos(x), exp(window(x, (0, 0), (6, 9))), (5, 0), (-1, 1)),
        2,
    ),
    ("stencil", [X], lambda x: update(x, around(x), (1, 1)), 2),
]


def twice(x: Value) -> Value:
    return op("concatenate")(x, x, axis=1)


def padded(x: Value) -> Value:
    """Four rows of it."""
    return op("pad")(window(x, (0, 0), (3, 9)), low=(1, 0), high=(0, 0), value=0.5)


def half(y: Value) -> Value:
    return window(y, (0, 0), (3, 9))


def around(x: Value) -> Value:
    """A sum of four neighbours."""
    corners = [(0, 1), (2, 1), (1, 0), (1, 2)]
    parts = [window(x, corner, (4, 7)) for corner in corners]
    return parts[0] + parts[1] + parts[2] + parts[3]


@pytest.mark.parametrize(("name", "types", "make", "nests"), PARTS, ids=[p[0] for p in PARTS])
def test_arrays_in_parts_are_one_kernel(
    name: str, types: list[Type], make: Callable, nests: int
) -> None:
    graph = build(types, make)
    assert len(kernels(fused(graph))) == 1
    assert len(calls(graph)) == nests
    rng = np.random.default_rng(0)
    arrays = [rng.uniform(-1, 1, type.shape) for type in types]
    for got, expected in zip(compiled(graph)(*arrays), interpret(graph, arrays), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-14)


def test_a_part_with_another_reader_is_copied() -> None:
    def make(x: Value, y: Value) -> tuple[Value, ...]:
        e = exp(x)
        return op("concatenate")(e, y, axis=0), e

    graph = build([X, Y], make)
    assert [len(call.kernel.buffers) for call in calls(graph)] == [2, 3]
    arrays = [np.zeros(X.shape), np.zeros(Y.shape)]
    for got, expected in zip(compiled(graph)(*arrays), interpret(graph, arrays), strict=True):
        assert_same(got, expected)


def test_a_window_of_an_argument_is_written_in_place() -> None:
    """u_new[1:-1, 1:-1] = stencil(u): one nest, which touches nothing else of u_new."""
    graph = build([X, X], lambda new, x: update(new, around(x), (1, 1))).replace(updates=((0, 0),))
    (call,) = calls(graph)
    assert call.roots[-1].kind == "argument"
    new, x = np.zeros(X.shape), np.arange(54.0).reshape(X.shape)
    expected = interpret(graph, [new, x])[0]
    Step(fused(graph))([new, x])
    assert_same(new, expected)


def test_a_window_that_reads_its_own_array_is_made_apart_first() -> None:
    """u[1:-1, 1:-1] = stencil(u): the neighbours must be the old ones."""
    graph = build([X], lambda x: update(x, around(x), (1, 1))).replace(updates=((0, 0),))
    x = np.arange(54.0).reshape(X.shape) ** 2
    expected = interpret(graph, [x])[0]
    Step(fused(graph))([x])
    assert_same(x, expected)


def test_a_check_between_a_part_and_its_argument() -> None:
    """A step that fails leaves its argument as it was: the part is not written before the check."""
    builder = Builder("checked")
    x, n = builder.param(X), builder.param(Type("i64"))
    part = exp(window(x, (1, 1), (2, 2)))
    op("check")(op("greater")(n, 0), n, error="ValueError", message="{value}")
    graph = builder.finish([update(x, part, (1, 1)).atom], [(0, 0)])
    before = np.ones(X.shape)
    with pytest.raises(ValueError, match="-5"):
        Step(fused(graph))([before, np.array(-5)])
    assert_same(before, np.ones(X.shape))


# ---- kernels that nothing waits for --------------------------------------------------------------


def adam(builder: Builder, shape: tuple[int, ...], rate: Value) -> tuple[list[Value], list[Value]]:
    """One parameter: its arguments (value, gradient, two moments), and their new values."""
    p, g, m, v = (builder.param(Type("f32", shape)) for _ in range(4))
    m1, v1 = m * 0.9 + g * 0.1, v * 0.999 + g * g * 0.001
    step = OPS["broadcast"](sqrt(rate) * 0.1, shape=shape, axes=())
    return [p, m, v], [p - step * m1 / (sqrt(v1) + 1e-8), m1, v1]


def optimiser(count: int) -> Graph:
    builder = Builder("adam")
    rate = builder.param(Type("f32"))
    outs: list[Value] = []
    updates: list[tuple[int, int]] = []
    for i in range(count):
        shape = [(3 + i, 5), (7 * i + 1,), (8, 8)][i % 3]
        old, new = adam(builder, shape, rate)
        for before, after in zip(old, new, strict=True):
            updates.append((builder.params.index(before.atom), len(outs)))  # type: ignore[arg-type]
            outs.append(after)
    return builder.finish([out.atom for out in outs], updates)


def test_adam_over_twenty_tensors_is_one_kernel() -> None:
    graph = optimiser(20)
    assert len(kernels(fused(graph))) == 1
    program = make_program(fused(graph))
    assert len(program.items) == 20
    assert len({repr(item.kernel) for item in program.items if isinstance(item, Call)}) <= 15
    rng = np.random.default_rng(0)
    arrays = [rng.uniform(0, 1, p.type.shape).astype("f4") for p in graph.params]
    expected = interpret(graph, arrays)
    Step(fused(graph))(arrays)
    for argument, result in graph.updates:
        np.testing.assert_allclose(arrays[argument], expected[result], rtol=1e-5)


def test_numbers_for_the_whole_step_are_made_again_in_each_kernel() -> None:
    """The rate is no kernel that the twenty nests wait for, and no memory."""
    program = make_program(fused(optimiser(4)))
    assert {root.kind for item in program.items for root in item.roots} == {"argument"}  # type: ignore[union-attr]


def test_a_kernel_that_another_waits_for_stays_alone() -> None:
    def make(x: Value, y: Value, z: Value) -> tuple[Value, ...]:
        total = op("sum")(exp(x), axes=(0,))
        other = OPS["matmul"](y, op("broadcast")(total, shape=(9, 9), axes=(1,)))
        return other, sin(y), cos(z)

    kinds = [eqn.attrs["kind"] for eqn in kernels(fused(build([X, Y, Type("f64", (5,))], make)))]
    assert sorted(kinds) == ["loop", "matmul", "nests"]


def test_nests_write_apart() -> None:
    """No element is stored twice by the nests of a kernel that frames a window."""
    graph = build([X], lambda x: update(x, around(x), (1, 1)))
    seen = np.zeros(54, int)
    for call in calls(graph):
        for statement, ranges in stores(call.kernel):
            at = np.full([len(r) for r in ranges] or [1], statement.access.offset)
            for axis, r in enumerate(ranges):
                at = at + np.reshape(
                    np.array(r), [-1 if i == axis else 1 for i in range(len(ranges))]
                )
            np.add.at(seen, at.ravel(), 1)
    assert (seen == 1).all()


def stores(kernel):  # type: ignore[no-untyped-def]
    """Each store, and along each of its axes the offsets that its loops give it."""

    def walk(statements, axes):  # type: ignore[no-untyped-def]
        for s in statements:
            if isinstance(s, Store):
                yield s, [[s.access.strides[a] * i for i in range(kernel.domain[a])] for a in axes]
            elif hasattr(s, "body"):
                yield from walk(s.body, (*axes, *s.axes))

    return walk(kernel.body, ())
