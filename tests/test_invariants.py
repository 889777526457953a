"""What loops do not change moves out of them, and what nobody reads goes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pass_helpers import op_names
from test_loop_planning import random_loop

import graphc as gc
from graphc.ir import Eqn, Graph
from graphc.passes.dce import eliminate_dead
from graphc.passes.loops import simplify_loops
from graphc.passes.pipeline import optimize
from graphc.runtime.reference import evaluate
from graphc.verify import verify

X, W = np.arange(3.0), np.array([0.5, -1.0, 2.0])


def loop(graph: Graph) -> Eqn:
    (eqn,) = (eqn for eqn in graph.eqns if eqn.op.name in ("while", "scan"))
    return eqn


def traced(fn: Any, *args: Any) -> Graph:
    """The graph after the pass, which has changed no value."""
    graph = gc.trace(fn, *args)
    changed = eliminate_dead(simplify_loops(graph))
    verify(changed)
    given = [np.asarray(a) for a in args]
    for a, b in zip(evaluate(changed, *given), evaluate(graph, *given)):
        np.testing.assert_array_equal(a, b)
    return changed


def test_invariant_equations_move_out() -> None:
    fn = lambda x, w: gc.scan(lambda s, _: (s * np.exp(w) + np.sum(w), None), x, length=3)[0]
    graph = traced(fn, X, W)
    assert op_names(loop(graph).attrs["body"]) == ["multiply", "broadcast", "add"]


def test_out_of_the_test_of_a_while_loop_and_of_both_loops() -> None:
    def fn(x: Any, w: Any) -> Any:
        small = lambda s: np.sum(s) < np.sum(np.exp(w)) * 10.0
        inner = lambda s, _: (gc.while_loop(small, lambda s: s + np.cosh(w), s), None)
        return gc.scan(inner, x, length=2)[0]

    outer = loop(traced(fn, X, W))
    inner = loop(outer.attrs["body"])
    assert op_names(inner.attrs["test"]) == ["sum", "less"]
    assert op_names(inner.attrs["body"]) == ["add"]
    assert op_names(outer.attrs["body"])[0] == "while", "all the way"


def test_a_carried_value_that_never_changes_is_a_constant() -> None:
    def fn(x: Any, w: Any) -> Any:
        body = lambda s: (s[0] * s[1], s[1], s[2] + 1)
        return gc.while_loop(lambda s: s[2] < 3, body, (x, np.sin(w), 0))[:2]

    assert loop(traced(fn, X, W)).attrs["carried"] == 2


def test_what_no_result_depends_on_is_not_computed() -> None:
    def fn(x: Any, w: Any) -> Any:
        f = lambda s, v: ((s[0] + v, s[1] * s[2], s[2] + w), (s[0], s[1]))
        (total, _, _), (sums, _) = gc.scan(f, (0.0, w, w), x)
        return total, sums

    graph = traced(fn, X, W[0])
    assert loop(graph).attrs["carried"] == 1
    assert [str(out.type) for out in loop(graph).outs] == ["f64[]", "f64[3]"]
    assert len(loop(graph).ins) == 2


def test_what_the_test_reads_stays() -> None:
    fn = lambda x: gc.while_loop(lambda s: s[0] < 5.0, lambda s: (s[0] * 2.0, s[1] + 1), (x, 0))[1]
    assert loop(traced(fn, 1.0)).attrs["carried"] == 2


def test_a_check_in_a_loop_stays_in_it() -> None:
    """A loop without iterations fails no check."""

    def fn(x: Any, i: Any, n: Any) -> Any:
        return gc.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, s[1] + x[i]), (0, 0.0))[1]

    step = gc.compile(fn)
    assert step(X, 7, 0) == 0.0
    with pytest.raises(IndexError):
        step(X, 7, 1)


def test_random_loops() -> None:
    source = np.random.default_rng(5)
    for _ in range(60):
        numbers = [int(n) for n in source.integers(0, 1 << 20, 9)]
        graph = random_loop(numbers)
        values = [source.integers(-3, 4, param.type.shape).astype(float) for param in graph.params]
        changed = optimize(graph)
        verify(changed)
        for a, b in zip(evaluate(changed, *values), evaluate(graph, *values)):
            np.testing.assert_array_equal(a, b)
