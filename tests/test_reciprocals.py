"""Rows that are divided by a number in a known range."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from running import assert_ulps, build, op

import graphc as gc
from graphc.build import Value
from graphc.ir import Eqn, Type, Var, all_eqns
from graphc.passes.reciprocals import multiply_by_reciprocals, range_of


def softmax(x: Any) -> Any:
    raised = np.exp(x - x.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def normed(x: Any) -> Any:
    centred = x - x.mean(axis=1, keepdims=True)
    return centred / np.sqrt((centred * centred).mean(axis=1, keepdims=True) + 1e-5)


def clamped(x: Any) -> Any:
    return x / np.maximum(np.sqrt(np.sum(x * x, axis=1, keepdims=True)), 1e-6)


KNOWN = {"softmax": softmax, "layer norm": normed, "norm and a least one": clamped}
UNKNOWN = {
    "a sum of anything": lambda x: x / x.sum(axis=1, keepdims=True),
    "a norm that may be 0": lambda x: x / np.sqrt(np.sum(x * x, axis=1, keepdims=True)),
    "exp without a maximum": lambda x: x / np.exp(x).sum(axis=1, keepdims=True),
    "the maximum of other axes": lambda x: x / np.exp(x - x.max(axis=0)).sum(axis=1)[:, None],
    "too small": lambda x: x / (np.sum(x * x, axis=1, keepdims=True) + 1e-37),
    "each element": lambda x: x / (x * x + 1.0),
}


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(
    ("function", "is_known"),
    [*((f, True) for f in KNOWN.values()), *((f, False) for f in UNKNOWN.values())],
    ids=[*KNOWN, *UNKNOWN],
)
def test_divisions(function: Any, is_known: bool, dtype: str) -> None:
    x = np.random.default_rng(0).normal(size=(6, 40)).astype(dtype)
    compiled = gc.compile(function)
    divided = [
        eqn
        for eqn in all_eqns(compiled.graph(x))
        if eqn.op.name == "divide" and eqn.out.type.shape == x.shape
    ]
    assert bool(divided) is not is_known
    np.testing.assert_allclose(compiled(x), function(x), rtol=1e-5 if dtype == "f4" else 1e-13)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e15, 1e25])
def test_extremes(scale: float) -> None:
    x = (np.random.default_rng(0).normal(size=(6, 40)) * scale).astype(np.float32)
    x[0] = 0.0
    x[1, 3], x[2, 4] = np.inf, np.nan
    for function in KNOWN.values():
        with np.errstate(all="ignore"):
            expected = function(x)
        np.testing.assert_allclose(gc.compile(function)(x), expected, rtol=1e-5, atol=1e-30)


def test_two_units_in_the_last_place() -> None:
    e = np.exp(-np.random.default_rng(0).uniform(0, 9, size=(50, 200)))

    def quotient(e: Any) -> Any:
        return e / np.sqrt((e * e).sum(axis=1, keepdims=True) + 1.0)

    assert_ulps(gc.compile(quotient)(e), quotient(e), 4)  # 2, and the sum's own


# ---- ranges --------------------------------------------------------------------------------------

UNARY = ["abs", "square", "sqrt", "exp", "negative"]
BINARY = ["add", "subtract", "multiply", "divide", "maximum", "minimum"]


@settings(max_examples=200)
@given(st.lists(st.sampled_from(UNARY + BINARY), min_size=1, max_size=6), st.data())
def test_values_lie_in_their_range(names: list[str], data: st.DataObject) -> None:
    shape = (3, 4)

    def make(x: Value) -> Value:
        value = x
        for name in names:
            other = value.literal(data.draw(st.sampled_from([-2.0, 0.5, 3.0, 1e-3])))
            value = op(name)(value, other) if name in BINARY else op(name)(value)
            if data.draw(st.booleans()):
                total = op("sum")(value, axes=(1,))
                value = op("broadcast")(total, shape=shape, axes=(0,))
        return value

    graph = build([Type("f64", shape)], make)
    made: dict[Var, Eqn] = {out: eqn for eqn in graph.eqns for out in eqn.outs}
    low, high = range_of(made, graph.outs[0])
    with np.errstate(all="ignore"):
        (value,) = gc.evaluate(graph, np.random.default_rng(0).normal(size=shape) * 3.0)
    known = value[np.isfinite(value)]
    assert np.all(known >= low - 1e-12 * abs(low)) and np.all(known <= high + 1e-12 * abs(high))


@pytest.mark.parametrize("length", [30, 300])
def test_values_that_are_read_twice_are_looked_at_once(length: int) -> None:
    def make(x: Value) -> Value:
        total = op("sum")(x, axes=(1,))
        for _ in range(length):
            total = total * total + total  # two ways back, and again two from there
        return x / op("broadcast")(total, shape=(3, 40), axes=(0,))

    graph = build([Type("f64", (3, 40))], make)
    assert [eqn.op.name for eqn in multiply_by_reciprocals(graph).eqns][-1] == "divide"
