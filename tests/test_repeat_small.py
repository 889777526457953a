"""What a broadcast repeats, made again beside it."""

from __future__ import annotations

import numpy as np
import pytest
from running import build, interpret, kernels, op

import graphc as gc
from graphc.build import Value
from graphc.ir import Graph, Type
from graphc.passes.pipeline import FUSE, run
from graphc.passes.repeat_small import MOST, repeat_small

ROWS, COLUMNS = 64, 512
X, LABELS = Type("f32", (ROWS, COLUMNS)), Type("f32", (ROWS,))


def spread(column: Value) -> Value:
    return op("broadcast")(column, shape=X.shape, axes=(0,))


def names(graph: Graph) -> list[str]:
    return [eqn.op.name for eqn in graph.eqns]


def test_a_chain_from_parameters_is_made_again() -> None:
    def make(x: Value, labels: Value) -> tuple[Value, Value]:
        column = op("exp")(labels * 2.0)
        return column, x + spread(column)

    graph = build([X, LABELS], make)
    changed = repeat_small(graph)
    assert names(graph).count("exp") == 1 and names(changed).count("exp") == 2
    arrays = [np.ones(t.shape, np.float32) for t in (X, LABELS)]
    for got, want in zip(interpret(changed, arrays), interpret(graph, arrays), strict=True):
        np.testing.assert_array_equal(got, want)


def long(labels: Value) -> Value:
    for _ in range(MOST + 1):
        labels = op("exp")(labels)
    return labels


@pytest.mark.parametrize(
    "make",
    [
        lambda x, labels: x + spread(op("exp")(labels)),
        lambda x, labels: (op("sum")(x, axes=(1,)), x + spread(op("sum")(x, axes=(1,)))),
        lambda x, labels: (long(labels), x + spread(long(labels))),
    ],
    ids=["nobody else reads it", "a reduction", "too long"],
)
def test_other_operands_stay(make) -> None:  # type: ignore[no-untyped-def]
    from graphc.passes.cse import eliminate_common

    graph = eliminate_common(build([X, LABELS], make))
    assert names(repeat_small(graph)) == names(graph)


def cross_entropy(x, labels):  # type: ignore[no-untyped-def]
    shifted = x - np.max(x, axis=1, keepdims=True)
    chosen = np.take_along_axis(shifted, labels[:, None], axis=1)[:, 0]
    return np.mean(np.log(np.sum(np.exp(shifted), axis=1)) - chosen)


def test_the_gradient_of_a_cross_entropy_is_written_once() -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(ROWS, COLUMNS)), rng.integers(-COLUMNS, COLUMNS, ROWS)
    step = gc.compile(gc.value_and_grad(cross_entropy))
    optimized = step.graph(x, labels)
    fused, _ = run(optimized, FUSE)
    (joined,) = kernels(fused)
    nests = joined.attrs["body"].eqns
    large = [out for nest in nests for out in nest.outs if out.type.shape == x.shape]
    assert len(large) == 1
    value, slope = step(x, labels)
    raised = np.exp(x - x.max(1, keepdims=True))
    expected = raised / raised.sum(1, keepdims=True)
    expected[np.arange(ROWS), labels] -= 1.0
    np.testing.assert_allclose(slope, expected / ROWS, rtol=1e-12, atol=1e-16)
    assert value == pytest.approx(cross_entropy(x, labels))
