"""The public functions: what they take and what they refuse."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import api, errors, transforms
from graphc.trace import trace as trace_module


@pytest.mark.parametrize("module", [api, transforms, trace_module], ids=lambda m: m.__name__)
def test_examples_in_docstrings(module: Any) -> None:
    outcome = doctest.testmod(module)
    assert outcome.attempted and not outcome.failed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "gpu"}, "compile: target='gpu' is not available; use 'cpu'"),
        ({"threads": 0}, "threads=0 is no number of threads; use an int from 1, or None"),
        ({"threads": True}, "threads=True is no number of threads"),
        ({"threads": 2.0}, "threads=2.0 is no number of threads"),
    ],
)
def test_options_that_are_not_available(options: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.ArgumentError, match=message) as raised:
        gc.compile(**options)
    assert "test_api.py:" in str(raised.value)


def test_compile_with_and_without_options() -> None:
    @gc.compile
    def f(x):
        return x + 1

    @gc.compile(fastmath=True, threads=1, donate="x")
    def g(x):
        return x + 1

    assert f(1.0) == g(1.0) == 2.0
    with pytest.raises(errors.ArgumentError, match="compile takes a function, not int"):
        gc.compile(3)


def test_trace_takes_arrays_numbers_and_specs() -> None:
    def f(p, s):
        return p["a"] * s

    for a in (np.zeros((2, 3), np.float32), gc.Spec((2, 3), "f32"), gc.Spec((2, 3), np.float32)):
        graph = gc.trace(f, {"a": a}, 2.0)
        assert [str(p.type) for p in graph.params] == ["f32[2,3]", "f64[]"]
        assert str(graph.outs[0].type) == "f32[2,3]"
    assert gc.trace(gc.compile(f), {"a": 1.0}, 1.0).name == "f"


@pytest.mark.parametrize(
    ("shape", "dtype", "kind", "message"),
    [
        ((2, -1), "f32", errors.ShapeError, "whole numbers >= 0, not -1"),
        ((2.5,), "f32", errors.ShapeError, "not 2.5"),
        ((True,), "f32", errors.ShapeError, "not True"),
        ((2,), "f5", errors.DTypeError, "no dtype 'f5'; choose from f32, f64"),
        ((2,), np.clongdouble, errors.DTypeError, "no dtype"),
        ((2,), "nonsense", errors.DTypeError, "no dtype 'nonsense'"),
    ],
)
def test_bad_specs(shape: Any, dtype: Any, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        gc.Spec(shape, dtype)


def test_evaluate_expects_what_the_graph_takes() -> None:
    graph = gc.trace(lambda x: x + 1, gc.Spec((2,), "f64"))
    np.testing.assert_array_equal(gc.evaluate(graph, np.zeros(2))[0], [1, 1])
    for arrays, kind in (((), errors.ArityError), ((np.zeros(3),), errors.ShapeError)):
        with pytest.raises(kind):
            gc.evaluate(graph, *arrays)
    with pytest.raises(errors.DTypeError, match="float32"):
        gc.evaluate(graph, np.zeros(2, np.float32))
