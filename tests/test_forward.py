"""Forward mode: every op, conditionals and loops, against reverse mode and finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from specs import SMOOTH_CASES, Case

from graphc.build import Builder, Value
from graphc.ir import FLOATS, OPS, Graph, Type
from graphc.ops import control
from graphc.ops import elementwise as ew
from graphc.passes.autodiff import pullback
from graphc.passes.forward import pushforward
from graphc.runtime.reference import evaluate
from graphc.text import parse
from graphc.verify import verify

F = Type("f64")
RNG = np.random.default_rng(0)

# ---- every op ------------------------------------------------------------------------------------


def graph_of(case: Case) -> Graph:
    builder = Builder("case")
    params = [builder.param(type).atom for type in case.ins]
    return builder.finish(
        [out.atom for out in builder.emit(OPS[case.op], params, dict(case.attrs))]
    )


@pytest.mark.parametrize("case", SMOOTH_CASES, ids=str)
def test_it_is_the_transpose_of_reverse_mode(case: Case) -> None:
    """The product <c, J t> is <J^T c, t>."""
    graph, operands = graph_of(case), case.operands()
    wrt = [i for i, type in enumerate(case.ins) if type.dtype in FLOATS]
    results = range(len(graph.outs))
    tangents = [RNG.normal(size=case.ins[i].shape) for i in wrt]
    cotangents = [RNG.normal(size=out.type.shape) for out in graph.outs]
    pushed = pushforward(graph, wrt)
    verify(pushed)
    moved = evaluate(pushed, *operands, *tangents)[len(graph.outs) :]
    pulled = evaluate(pullback(graph, wrt, results), *operands, *cotangents)
    forward = sum(np.sum(c * m) for c, m in zip(cotangents, moved))
    backward = sum(np.sum(t * p) for t, p in zip(tangents, pulled))
    assert np.isclose(forward, backward, rtol=1e-9, atol=1e-9)


def test_what_depends_on_nothing_is_not_computed() -> None:
    builder = Builder("f")
    x = builder.param(F)
    graph = pushforward(builder.finish([ew.sin(x).atom]), [0])
    assert [eqn.op.name for eqn in graph.eqns] == ["sin", "cos", "multiply"]


# ---- control flow --------------------------------------------------------------------------------


def held(types: Sequence[Type], make: Callable[..., Sequence[Value]]) -> Graph:
    builder = Builder("held")
    return builder.finish([v.atom for v in make(*(builder.param(type) for type in types))])


def emitted(op: Any, ins: Sequence[Value], attrs: dict[str, Any]) -> tuple[Value, ...]:
    return ins[0].builder.emit(op, [value.atom for value in ins], attrs)


def branching(x: Value, y: Value) -> Sequence[Value]:
    branches = {
        "then": held([F, F], lambda a, b: [ew.sin(a) * b, a]),
        "else": held([F, F], lambda a, b: [b.literal(2.0), ew.exp(a) * ew.log(b)]),
    }
    return emitted(control.cond, [ew.greater(x, 0.5), x, y], branches)


def repeated(x: Value, y: Value) -> Sequence[Value]:
    """While the count is below 5: the power of x grows, the other value meets it one turn later."""
    types = [Type("i64"), F, F, F]
    attrs = {
        "carried": 3,
        "test": held(types, lambda n, a, b, y: [ew.less(n, 5)]),
        "body": held(types, lambda n, a, b, y: [n + 1, a * y, b + ew.sin(a)]),
    }
    one, zero = x.literal(1.0), x.literal(0.0)
    count = x.builder.literal(0, Type("i64"))
    return emitted(control.while_, [count, x, zero, y * one], attrs)[1:]


def scanned(x: Value, y: Value) -> Sequence[Value]:
    rows = x.builder.constant(np.array([0.5, -1.0, 2.0]))
    sequence = rows * OPS["broadcast"](y, shape=(3,), axes=())
    types = [Type("i64"), F, F, F]

    def body(i: Value, total: Value, row: Value, x: Value) -> Sequence[Value]:
        following = total * x + ew.square(row)
        return [following, ew.cast(i, dtype="f64") * following]

    attrs = {"carried": 1, "sequences": 1, "length": 3, "reverse": False}
    return emitted(
        control.scan, [x.literal(1.0), sequence, x], {**attrs, "body": held(types, body)}
    )


@pytest.mark.parametrize("make", [branching, repeated, scanned])
@pytest.mark.parametrize("point", [(0.3, 1.7), (0.8, 0.4)])
@pytest.mark.parametrize("wrt", [(0,), (1,), (0, 1)])
def test_control_flow(make: Any, point: tuple[float, float], wrt: tuple[int, ...]) -> None:
    graph = held([F, F], make)
    pushed = pushforward(graph, wrt)
    verify(pushed)
    assert str(parse(str(pushed))) == str(pushed)
    direction = np.array([0.7, -1.3])[: len(wrt)]
    values = evaluate(pushed, *map(np.array, point), *map(np.array, direction))
    step = 1e-6
    ends = []
    for sign in (1, -1):
        moved = list(point)
        for i, d in zip(wrt, direction):
            moved[i] += sign * step * d
        ends.append(evaluate(graph, *map(np.array, moved)))
    for i in range(len(graph.outs)):
        np.testing.assert_array_equal(values[i], evaluate(graph, *map(np.array, point))[i])
        difference = (ends[0][i] - ends[1][i]) / (2 * step)
        np.testing.assert_allclose(values[len(graph.outs) + i], difference, rtol=1e-7, atol=1e-8)
