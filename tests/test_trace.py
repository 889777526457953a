"""Traces: parameters, results, updates, closures, source lines, and errors with the line."""

from __future__ import annotations

import functools
import sys
import traceback
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import errors
from graphc.ir import all_eqns

X = np.arange(3.0)
HERE = "test_trace.py"


def ops(graph: gc.Graph) -> list[str]:
    return [eqn.op.name for eqn in graph.eqns]


def test_results_come_before_updates() -> None:
    def f(x, y):
        x += 1
        y[0] = x[1]
        return x.sum(), y

    graph = gc.trace(f, X, X)
    assert graph.updates == ((0, 1), (1, 2))
    assert [str(out.type) for out in graph.outs] == ["f64[]", "f64[3]", "f64[3]"]
    assert [p.hint for p in graph.params] == ["x", "y"]


def test_names_of_parameters() -> None:
    graph = gc.trace(lambda p, *rest, k: p["w"][0] + rest[0] + k, {"w": [1.0]}, 2.0, k=3.0)
    assert [p.hint for p in graph.params] == ["p__w___0", "args_0", "k"]


def test_assignments_to_local_names_and_arrays_update_nothing() -> None:
    def f(x):
        y = x
        y = y + 1
        y += 1
        z = x.copy()
        z *= 2
        return y + z

    assert gc.trace(f, X).updates == ()


def test_closures_become_constants() -> None:
    table, scale = np.arange(3.0), np.ones(3)
    graph = gc.trace(lambda x: x * table + scale, X)
    assert ops(graph) == ["constant", "multiply", "add"]
    table[:] = 9
    np.testing.assert_array_equal(gc.evaluate(graph, X)[0], X * np.arange(3.0) + 1)


def test_every_equation_knows_its_line() -> None:
    def helper(y):
        return np.exp(y)  # line A

    def f(x):
        y = x * 2  # line B
        return helper(y) if x[0] > 0 else helper(-y)

    base = f.__code__.co_firstlineno
    lines = [(e.op.name, e.loc.line - base) for e in all_eqns(gc.trace(f, X))]
    assert ("multiply", 1) in lines and ("exp", -2) in lines and ("cond", 2) in lines
    assert {e.loc.file for e in all_eqns(gc.trace(f, X))} == {
        next(iter(all_eqns(gc.trace(f, X)))).loc.file
    }


def test_messages_name_the_line_in_the_helper() -> None:
    def helper(y):
        return np.max(y[:0], axis=0)  # here

    def f(x):
        return helper(x) if x.sum() > 0 else x[0]

    line = helper.__code__.co_firstlineno + 1
    with pytest.raises(errors.ShapeError) as raised:
        gc.compile(f)(X)
    assert f"{HERE}:{line}: " in str(raised.value)
    assert raised.value.loc.line == line
    ours = [
        frame.name
        for frame in traceback.extract_tb(raised.value.__traceback__)
        if HERE not in frame.filename
    ]
    assert not ours


def test_the_users_own_errors_pass_through() -> None:
    def f(x):
        if x.ndim == 1:
            raise RuntimeError("mine")
        return x

    with pytest.raises(RuntimeError, match="mine"):
        gc.compile(f)(X)


@pytest.mark.parametrize(
    "function",
    [
        functools.partial(lambda x, s: x * s, s=2.0),
        np.exp,
        functools.partial(np.sum, axis=0),
        type("Callable", (), {"__call__": lambda self, x: x + 1})(),
        eval("lambda x: x + 1"),
    ],
)
def test_callables_of_every_kind(function: Any) -> None:
    np.testing.assert_allclose(gc.compile(function)(X), function(X), rtol=1e-15)


def test_a_function_without_source() -> None:
    """Straight-line code needs no source; a conditional says that it is missing."""
    scope: dict[str, Any] = {}
    exec("def f(x):\n    return x * 2\ndef g(x):\n    return x if x > 0 else -x", scope)
    assert gc.compile(scope["f"])(2.0) == 4.0
    with pytest.raises((errors.ConcreteValueError, errors.NoSourceError)) as raised:
        gc.compile(scope["g"])(2.0)
    assert "source" in str(raised.value) or "gc.cond" in str(raised.value)


def test_traces_of_other_threads_do_not_mix() -> None:
    from concurrent.futures import ThreadPoolExecutor

    def f(x, k):
        for _ in range(20):
            x = np.sin(x) + k
        return x

    with ThreadPoolExecutor(4) as pool:
        graphs = list(pool.map(lambda k: gc.trace(f, np.zeros(2), float(k)), range(8)))
    assert {len(graph.eqns) for graph in graphs} == {len(graphs[0].eqns)}


def test_an_exception_closes_the_scopes() -> None:
    from graphc.trace.scope import is_tracing

    def f(x):
        if x[0] > 0:
            y = x.nonsense
        else:
            y = x
        return y

    with pytest.raises(errors.UnsupportedAttributeError):
        gc.trace(f, X)
    assert not is_tracing()
    sys.exc_info()


@pytest.mark.parametrize("value", [np.ones(3), 1.0])
def test_a_new_value_in_an_argument_would_be_lost(value):
    def rebind(state):
        state["w"] = state["w"] * 2
        return state["w"]

    with pytest.raises(gc.errors.ArgumentError, match=r"state\['w'\].*return the new value"):
        gc.compile(rebind)({"w": value})


def test_a_conditional_without_source_says_so():
    namespace = {}
    exec("def magnitude(x):\n    return x if x > 0 else -x", namespace)
    with pytest.raises(gc.errors.NoSourceError, match="put the function into a file"):
        gc.compile(namespace["magnitude"])(1.0)


def scaled_by_text(x):  # type: ignore[no-untyped-def]
    return x * "three"


def frames_of(call) -> list[str]:  # type: ignore[no-untyped-def]
    with pytest.raises(Exception) as raised:
        call()
    return [frame.filename for frame in traceback.extract_tb(raised.value.__traceback__)]


CALLS = [
    lambda: gc.compile(scaled_by_text)(np.ones(3)),
    lambda: gc.compile(scaled_by_text).graph(np.ones(3)),
    lambda: gc.compile(scaled_by_text).explain(np.ones(3)),
    lambda: gc.trace(scaled_by_text, np.ones(3)),
    lambda: gc.grad(scaled_by_text)(np.ones(3)),
    pytest.param(
        lambda: gc.compile(lambda x, i: x[i])(np.ones(3), 7),
        marks=pytest.mark.cpu_only("the call of another goes through a frame of on_device.py"),
    ),
]


@pytest.mark.parametrize("call", CALLS)
def test_a_traceback_shows_the_users_frames_alone(
    call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GRAPHC_DEBUG", raising=False)
    assert set(frames_of(call)) == {__file__}
    monkeypatch.setenv("GRAPHC_DEBUG", "1")
    assert any("compiled.py" in frame or "api.py" in frame for frame in frames_of(call))
