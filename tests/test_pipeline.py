"""The pipeline: values, times, the debug log, and time that grows with the graph."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pass_helpers import op_names, random_graph, same_values

from graphc import errors
from graphc.build import Builder
from graphc.compiled import Compiled
from graphc.ir import OPS, Graph, Type
from graphc.ops.control import fused
from graphc.passes import pipeline
from graphc.passes.pipeline import FUSE, OPTIMIZE, PIPELINE, Pass, optimize, run
from graphc.specialised import Options
from graphc.text import parse

PLAIN = "graph g(%x: f32[3]) {\n  %y: f32[3] = multiply(%x, 1.0)\n  return %y\n}"


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**9))
def test_random_graphs_keep_their_values(seed: int) -> None:
    graph = random_graph(seed, size=40)
    same_values(graph, run(graph, OPTIMIZE + FUSE[:3])[0], seeds=2)


def test_times_and_observers_see_each_pass_once() -> None:
    seen: list[str] = []
    graph, milliseconds = run(parse(PLAIN), observe=lambda name, graph: seen.append(name))
    assert graph.eqns == ()
    assert seen == [step.name for step in PIPELINE] == list(milliseconds)
    assert all(value >= 0 for value in milliseconds.values())


def test_the_optimized_stage_keeps_composite_ops() -> None:
    graph = parse("graph g(%x: f32[3]) {\n  %y: i64[] = argmax(%x, axis=0)\n  return %y\n}")
    assert op_names(optimize(graph)) == ["argmax"]


def test_a_pass_that_breaks_a_graph_is_caught() -> None:
    broken = Pass("broken", lambda graph: graph.replace(params=()))
    with pytest.raises(errors.VerifyError):
        run(parse(PLAIN), (broken,))


def test_what_a_pass_leaves_alone_is_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[Graph] = []
    monkeypatch.setattr(pipeline, "verify", lambda graph, checked: verified.append(graph))
    graph = parse(PLAIN)
    same = Pass("same", lambda graph: graph.replace(eqns=(*graph.eqns,)))
    other = Pass("other", lambda graph: graph.replace(eqns=()))
    run(graph, (same, same, other, other))
    assert [len(graph.eqns) for graph in verified] == [1, 0]


def test_outside_of_tests_and_debugging_the_ends_are_verified(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    verified: list[str] = []
    monkeypatch.setattr(pipeline, "verify", lambda graph, checked: verified.append(graph.name))
    monkeypatch.setattr(pipeline.EachPass, "is_verified", False)
    passes = [
        Pass(name, lambda graph, name=name: graph.replace(name=name, eqns=(*graph.eqns, name)))  # type: ignore[misc]
        for name in "abcd"
    ]
    run(parse(PLAIN), passes)
    assert verified == ["a", "d"]
    verified.clear()
    run(parse(PLAIN), [*passes, Pass("e", lambda graph: graph)])
    assert verified == ["a", "d"]
    verified.clear()
    run(parse(PLAIN), passes, checked=set(parse(PLAIN).eqns))
    assert verified == ["d"]
    verified.clear()
    monkeypatch.setenv("GRAPHC_DEBUG", "0")
    monkeypatch.setattr(pipeline.EachPass, "is_verified", True)
    run(parse(PLAIN), passes)
    assert verified == ["a", "b", "c", "d"]


def test_a_broken_graph_is_caught_though_no_pass_changes_it() -> None:
    broken = parse(PLAIN).replace(params=())
    with pytest.raises(errors.VerifyError):
        run(broken, (Pass("same", lambda graph: graph),))


def test_debug_log(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_DEBUG", "1")
    run(parse(PLAIN), OPTIMIZE)
    log = capsys.readouterr().err
    assert log.count("(unchanged)") == len(OPTIMIZE) - 1
    assert "simplify" in log and "1 -> 0 equations" in log and "graph g" not in log
    monkeypatch.setenv("GRAPHC_DEBUG", "3")
    run(parse(PLAIN), OPTIMIZE)
    assert capsys.readouterr().err.count("graph g") == 1


def long_graph(size: int) -> Graph:
    source = random.Random(0)
    builder = Builder("long")
    type = Type("f32", (64,))
    values = [builder.param(type), builder.param(type)]
    while len(builder.eqns) < size:
        x, y = source.choice(values[-20:]), source.choice(values[-20:])
        name = source.choice(["add", "subtract", "maximum", "multiply", "tanh", "one", "reshape"])
        if name == "tanh":
            values.append(OPS["tanh"](x))
        elif name == "one":
            values.append(x * 1.0)
        elif name == "reshape":
            values.append(OPS["reshape"](OPS["reshape"](x, shape=(8, 8)), shape=(64,)))
        else:
            values.append(OPS[name](x, y))
    return builder.finish([values[-1].atom])


def seconds(graph: Graph) -> float:
    start = time.process_time()
    run(graph, OPTIMIZE + FUSE[:3])
    return time.process_time() - start


def test_time_is_linear_in_the_number_of_equations() -> None:
    small, large = long_graph(500), long_graph(5000)
    fast = min(seconds(small) for _ in range(3))
    slow = min(seconds(large) for _ in range(2))
    assert slow < 30 * fast  # ten times the equations; a quadratic pass would be near 100
    assert slow < 2.0


def test_without_fusion_each_equation_is_a_kernel() -> None:
    x = np.random.default_rng(0).normal(size=(8, 50)).astype("f4")
    apart = Compiled(softmax_of_rows, Options(fusion=False))
    graph = apart.graph(x, stage="fused")
    kernels = [eqn for eqn in graph.eqns if eqn.op is fused]
    # max, subtract, exp, sum, reciprocal, multiply
    assert [len(eqn.attrs["body"].eqns) for eqn in kernels] == [1] * 6
    np.testing.assert_allclose(apart(x), Compiled(softmax_of_rows)(x), rtol=1e-6)
    assert len(apart.explain(x).kernels) == 6


def softmax_of_rows(x):  # type: ignore[no-untyped-def]
    e = np.exp(x - np.max(x, axis=1, keepdims=True))
    return np.concatenate([e / np.sum(e, axis=1, keepdims=True)])
