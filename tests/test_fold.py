"""Constant folding: what becomes a literal, what is too large, known branches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pass_helpers import build, op_names, random_graph, rewrites, same_values, stays

from graphc.build import Builder, literal
from graphc.equal import structurally_equal
from graphc.ir import OPS, Lit, Type
from graphc.ops import elementwise as e
from graphc.ops import index, reduce, shape
from graphc.passes.dce import eliminate_dead
from graphc.passes.fold import LIMIT, fold_constants
from graphc.text import parse

F = "f32[3]"


def filled(x: Any, number: Any, text: str) -> Any:
    graph = parse(f"graph g() {{\n  return {number}: {text}\n}}")
    return x.builder.value(graph.outs[0])


ROWS: list[tuple[Any, Any, str]] = [
    (lambda x: x + x.literal(2.0) * 3.0, lambda x: x + 6.0, F),
    (lambda x: x * -x.literal(0.0), lambda x: x * -0.0, F),
    (
        lambda x: x + shape.broadcast(filled(x, 2.0, "f32[]"), shape=(3,), axes=()),
        lambda x: x + 2.0,
        F,
    ),
    (lambda x: x + shape.reshape(filled(x, 2.0, "f32[1,3]"), shape=(3,)), lambda x: x + 2.0, F),
    (lambda x: x + e.cast(filled(x, 1, "i64[3]"), dtype="f32"), lambda x: x + 1.0, F),
    (lambda x: e.where(e.equal(x.literal(1.0), 1.0), x, -x), lambda x: x, F),
    (lambda x: x + reduce.max(filled(x, -0.0, "f32[9,3]"), axes=(0,)), lambda x: x + -0.0, F),
    (lambda x: x + reduce.sum(filled(x, 0.5, "f32[4,3]"), axes=(0,)), lambda x: x + 2.0, F),
    (lambda x: x + reduce.sum(filled(x, 2.0, "f32[9999,3]"), axes=(0,)), lambda x: x + 19998.0, F),
    (lambda x: x + reduce.sum(filled(x, 3, "i32[999,3]"), axes=(0,)), lambda x: x + 2997, "i32[3]"),
    (lambda x: x * reduce.sum(filled(x, 3, "i32[9999]"), axes=(0,)), lambda x: x * 29997, "i32[]"),
    (
        lambda x: reduce.any(filled(x, "true", "bool[0,3]"), axes=(0,)),
        lambda x: filled(x, "false", "bool[3]"),
        F,
    ),
    (
        lambda x: index.take(filled(x, 7.0, "f32[5]"), x, axis=0),
        lambda x: filled(x, 7.0, F),
        "i64[3]",
    ),
    (
        lambda x: reduce.argmax(filled(x, "nan", "f32[4]"), axis=0),
        lambda x: filled(x, 0, "i64[]"),
        F,
    ),
]


@pytest.mark.parametrize("before, after, type", ROWS)
def test_literals(before: Any, after: Any, type: str) -> None:
    rewrites(fold_constants, before, after, type)


def test_the_value_is_rounded_in_its_own_dtype() -> None:
    graph = build(lambda x: x.literal(0.1) + 0.2, "f32[]")
    (out,) = fold_constants(graph).outs
    assert out == Lit(float(np.float32(0.1) + np.float32(0.2)), Type("f32"))


def test_small_arrays_are_computed() -> None:
    graph = build(lambda x: x + x.builder.constant(np.array([1.0, 2.0, 3.0])) * 2.0, "f64[3]")
    folded = eliminate_dead(fold_constants(graph))
    assert op_names(folded) == ["constant", "add"]
    same_values(graph, folded)


def test_large_arrays_are_not() -> None:
    size = LIMIT // 2 + 1
    array = np.arange(float(size))
    stays(fold_constants, lambda x: x.builder.constant(array) * 2.0, "f64[]")
    stays(
        fold_constants,
        lambda x: shape.broadcast(x.builder.constant(array[:2]), shape=(2, 2), axes=(1,)),
        "f64[]",
    )


def test_inexact_sums_of_many_are_left_to_run_time() -> None:
    stays(fold_constants, lambda x: reduce.sum(filled(x, 0.1, "f64[9999]"), axes=(0,)), "f64[]")


def test_integer_division_by_zero_is_numpys() -> None:
    graph = build(lambda x: e.floor_divide(x.literal(1), 0), "i32[]")
    assert fold_constants(graph).outs == (literal(0, Type("i32")),)


def test_a_known_branch_is_taken_with_its_effects() -> None:
    check = 'check(%q, %k, error="ValueError", message="no")'
    branch = f"(%a: f32[3], %k: i64[]) {{\n %q: bool[] = less(%k, 3)\n {check}\n"
    graph = parse(
        "graph g(%x: f32[3], %i: i64[]) {\n"
        f"  %y: f32[3] = cond(true: bool[], %x, %i) then{branch} %b: f32[3] = exp(%a)\n return %b\n"
        "  } else(%c: f32[3], %j: i64[]) {\n    return %c\n  }\n  return %y\n}"
    )
    assert op_names(fold_constants(graph)) == ["less", "check", "exp"]
    other = parse(str(graph).replace("cond(true", "cond(false"))
    folded = fold_constants(other)
    assert not folded.eqns and folded.outs == folded.params[:1]


def test_nested_known_branches_and_checks_that_hold() -> None:
    builder = Builder("g")
    x = builder.param(Type("f32", (3,)))
    zero = builder.literal(0, Type("i64"))
    OPS["check"](e.less(zero, 3), zero, error="IndexError", message="no")
    graph = builder.finish([x.atom])
    assert eliminate_dead(fold_constants(graph)).eqns == ()
    failing = parse(
        'graph g() {\n  check(false: bool[], 3: i64[], error="IndexError", message="")\n  return\n}'
    )
    assert structurally_equal(fold_constants(failing), failing)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
def test_random_graphs_keep_their_values(seed: int) -> None:
    graph = random_graph(seed)
    same_values(graph, fold_constants(graph), seeds=2)
