"""Lowering: the values of argmax, argmin and check, exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pass_helpers import build, op_names, same_values

from graphc import errors
from graphc.ir import Graph
from graphc.ops import reduce
from graphc.passes.lower import lower
from graphc.runtime.reference import evaluate
from graphc.text import parse


@pytest.mark.parametrize("op", [reduce.argmax, reduce.argmin])
@pytest.mark.parametrize("type", ["f32[4,6]", "f64[6]", "i32[4,6]", "i64[1,1]", "bool[4,6]"])
def test_positions(op: Any, type: str) -> None:
    for axis in range(type.count(",") + 1):
        graph = build(lambda x, axis=axis: op(x, axis=axis), type)
        lowered = lower(graph)
        assert not {"argmax", "argmin"} & set(op_names(lowered))
        same_values(graph, lowered, seeds=20)


def test_nan_wins_at_its_first_position() -> None:
    graph = lower(build(lambda x: reduce.argmax(x, axis=0), "f64[5]"))
    assert evaluate(graph, np.array([1.0, np.inf, np.nan, 5.0, np.nan]))[0] == 2


def checking(shape: str) -> Graph:
    return parse(
        f"graph g(%ok: bool[{shape}], %v: i64[{shape}]) {{\n"
        '  check(%ok, %v, error="IndexError", message="no {value}")  # m.py:7\n  return %v\n}'
    )


def outcome(graph: Graph, *arrays: np.ndarray) -> str:
    try:
        return str(evaluate(graph, *arrays))
    except errors.IndexOutOfRangeError as error:
        return f"raises {error}"


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 3)])
def test_checks_fail_alike_with_the_same_value(shape: tuple[int, ...]) -> None:
    graph = checking(",".join(map(str, shape)))
    lowered = lower(graph)
    assert "check" not in op_names(lowered)
    source = np.random.default_rng(0)
    for _ in range(20):
        arrays = source.integers(0, 4, shape) > 0, source.integers(-9, 9, shape)
        assert outcome(graph, *map(np.asarray, arrays)) == outcome(
            lowered, *map(np.asarray, arrays)
        )


def test_a_check_of_one_value_needs_no_reduction() -> None:
    assert op_names(lower(checking(""))) == ["logical_not", "fail_if"]
    assert op_names(lower(checking("0,3"))) == []


def test_the_line_stays() -> None:
    assert {str(eqn.loc) for eqn in lower(checking("3")).eqns} == {"m.py:7"}
