"""Simplification: golden pairs, what must not be rewritten, and values on random graphs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pass_helpers import op_names, random_graph, rewrites, same_values, stays

from graphc.build import Value
from graphc.equal import structurally_equal
from graphc.ir import OPS, Type
from graphc.ops import elementwise as e
from graphc.ops import index, reduce, shape
from graphc.passes.dce import eliminate_dead
from graphc.passes.rules import IDENTITIES
from graphc.passes.simplify import simplify
from graphc.text import parse

F, G, N, J, B = "f32[3]", "f64[2,3]", "i32[3]", "i64[3]", "bool[3]"


def windowed(x: Value, starts: tuple[int, ...], sizes: tuple[int, ...], step: int = 1) -> Any:
    return shape.slice(x, starts=starts, sizes=sizes, steps=(step,) * len(sizes))


def spread(x: Value, sizes: tuple[int, ...], axes: tuple[int, ...]) -> Any:
    return shape.broadcast(x, shape=sizes, axes=axes)


# ---- algebra -------------------------------------------------------------------------------------

ALGEBRA = [
    (lambda x: x * 1.0, lambda x: x, [F]),
    (lambda x: 1.0 * x, lambda x: x, [F]),
    (lambda x: x * 1, lambda x: x, [N]),
    (lambda x: x / 1.0, lambda x: x, [G]),
    (lambda x: x * -1.0, lambda x: -x, [F]),
    (lambda x: x / -1.0, lambda x: -x, [F]),
    (lambda x: e.negative(-x), lambda x: x, [N]),
    (lambda x, y: -x * -y, lambda x, y: x * y, [F, F]),
    (lambda x: -(x * 3.0), lambda x: x * -3.0, [F]),
    (lambda x: -x * 3, lambda x: x * -3, [N]),
    (lambda x, y: x + -y, lambda x, y: x - y, [F, F]),
    (lambda x, y: -x + y, lambda x, y: y - x, [F, F]),
    (lambda x, y: x - -y, lambda x, y: x + y, [F, F]),
    (lambda x: x + -0.0, lambda x: x, [F]),
    (lambda x: x - 0.0, lambda x: x, [F]),
    (lambda x: -0.0 - x, lambda x: -x, [F]),
    (lambda x: x + 0, lambda x: x, [J]),
    (lambda x: 0 - x, lambda x: -x, [J]),
    (lambda x: x - x, lambda x: x.literal(0), [N]),
    (lambda x: x * 0, lambda x: x.literal(0), [N]),
    (lambda x: (x + 2) + 3, lambda x: x + 5, [N]),
    (lambda x: (x + (2**31 - 1)) + 1, lambda x: x + -(2**31), [N]),
    (lambda x: (x * 2) * 3, lambda x: x * 6, [J]),
    (lambda x: x * x, lambda x: e.square(x), [F]),
    (lambda x: e.square(-x), lambda x: e.square(x), [N]),
    (lambda x: e.abs(-x), lambda x: e.abs(x), [N]),
    (lambda x: e.power(x, 0.0), lambda x: x.literal(1.0), [F]),
    (lambda x: e.power(x, 1.0), lambda x: x, [F]),
    (lambda x: e.power(x, 3), lambda x: e.square(x) * x, [N]),
    (lambda x: x / 4.0, lambda x: x * 0.25, [F]),
    (lambda x: x / -0.5, lambda x: x * -2.0, [G]),
    (lambda x: e.floor_divide(x, 1), lambda x: x, [N]),
    (lambda x: e.mod(x, 1), lambda x: x.literal(0), [N]),
    (lambda x: e.maximum(x, x), lambda x: x, [F]),
    (lambda p, x: e.where(p, x, x), lambda p, x: x, [B, F]),
    (
        lambda p, x, y: e.where(e.logical_not(p), x, y),
        lambda p, x, y: e.where(p, y, x),
        [B, F, F],
    ),
    (
        lambda p, x, y: e.where(p, e.where(p, x, y), y),
        lambda p, x, y: e.where(p, x, y),
        [B, F, F],
    ),
    (lambda p, q: e.where(p, q.literal(True), q.literal(False)), lambda p, q: p, [B, B]),
    (lambda p: e.logical_not(e.logical_not(p)), lambda p: p, [B]),
    (lambda p: e.logical_and(p, True), lambda p: p, [B]),
    (lambda p: e.logical_or(p, True), lambda p: p.literal(True), [B]),
    (lambda p: e.logical_xor(p, p), lambda p: p.literal(False), [B]),
    (lambda x, y: e.logical_not(e.equal(x, y)), lambda x, y: e.not_equal(x, y), [F, F]),
    (lambda x, y: e.logical_not(e.less(x, y)), lambda x, y: e.greater_equal(x, y), [N, N]),
    (lambda x: e.bitwise_xor(x, 0), lambda x: x, [N]),
    (lambda x: e.cast(x, dtype="f32"), lambda x: x, [F]),
    (lambda x: e.cast(e.cast(x, dtype="f64"), dtype="f32"), lambda x: x, [F]),
    (lambda x: e.cast(e.cast(x, dtype="i64"), dtype="f32"), lambda x: e.cast(x, dtype="f32"), [N]),
]


@pytest.mark.parametrize("before, after, types", ALGEBRA)
def test_algebra(before: Any, after: Any, types: list[str]) -> None:
    rewrites(simplify, before, after, *types)


POWERS = [
    (lambda x: e.power(x, 2.0), lambda x: e.square(x)),
    (lambda x: e.power(x, 3.0), lambda x: e.square(x) * x),
    (lambda x: e.power(x, 4.0), lambda x: e.square(e.square(x))),
    (lambda x: e.power(x, -1.0), lambda x: e.reciprocal(x)),
]


@pytest.mark.parametrize("before, after", POWERS)
@pytest.mark.parametrize("type", ["f32[]", "f64[]"])
def test_powers_within_three_ulps(before: Any, after: Any, type: str) -> None:
    rewrites(simplify, before, after, type, ulps=3)


UNSOUND = [
    (lambda x: x + 0.0, F),
    (lambda x: 0.0 - x, F),
    (lambda x: x - x, F),
    (lambda x: x * 0.0, F),
    (lambda x: x - -0.0, F),
    (lambda x: e.power(x, 0.5), F),
    (lambda x: e.power(x, -2.0), F),
    (lambda x: x / 3.0, F),
    (lambda x: e.exp(e.log(x)), F),
    (lambda x: (x * 3.0) * 5.0, F),
    (lambda x: e.equal(x, x), F),
    (lambda x: e.logical_not(e.less(x, 1.0)), F),
    (lambda x: e.cast(e.cast(x, dtype="f32"), dtype="f64"), G),
    (lambda x: e.cast(e.cast(x, dtype="f32"), dtype="i32"), N),
    (lambda x: e.cast(e.cast(x, dtype="f64"), dtype="i32"), F),
    (lambda x: reduce.sum(shape.broadcast(x, shape=(10, 3), axes=(1,)), axes=(0,)), F),
]


@pytest.mark.parametrize("function, type", UNSOUND)
def test_unsound_identities_are_not_applied(function: Any, type: str) -> None:
    stays(simplify, function, type)


def test_a_reciprocal_that_overflows_is_not_used() -> None:
    stays(simplify, lambda x: x / 2.0**-149, F)
    rewrites(simplify, lambda x: x / 2.0**-127, lambda x: x * 2.0**127, F)


def test_every_identity_has_a_known_op() -> None:
    assert all(left.op in OPS for left, _ in IDENTITIES)


# ---- views, windows, reductions ------------------------------------------------------------------

X = "f32[2,3]"
MOVEMENT = [
    (lambda x: shape.reshape(x, shape=(2, 3)), lambda x: x, X),
    (
        lambda x: shape.reshape(shape.reshape(x, shape=(6,)), shape=(3, 2)),
        lambda x: shape.reshape(x, shape=(3, 2)),
        X,
    ),
    (lambda x: shape.transpose(x, axes=(0, 1)), lambda x: x, X),
    (lambda x: shape.transpose(shape.transpose(x, axes=(1, 0)), axes=(1, 0)), lambda x: x, X),
    (
        lambda x: shape.transpose(shape.transpose(x, axes=(1, 2, 0)), axes=(1, 0, 2)),
        lambda x: shape.transpose(x, axes=(2, 1, 0)),
        "f32[2,3,4]",
    ),
    (lambda x: spread(x, (2, 3), (0, 1)), lambda x: x, X),
    (
        lambda x: spread(spread(x, (2, 3), (1,)), (4, 2, 5, 3), (1, 3)),
        lambda x: spread(x, (4, 2, 5, 3), (3,)),
        "f32[3]",
    ),
    (
        lambda x: spread(shape.skew(x, axis=1, by=0, step=1), (2, 4, 2, 5), (0, 2)),
        lambda x: shape.skew(spread(x, (2, 4, 3, 5), (0, 2)), axis=2, by=0, step=1),
        X,
    ),
    (
        lambda x: spread(shape.reshape(x, shape=(1, 3, 1)), (2, 3, 4), (0, 1, 2)),
        lambda x: spread(x, (2, 3, 4), (1,)),
        "f32[3]",
    ),
    (lambda x: windowed(x, (0, 0), (2, 3)), lambda x: x, X),
    (
        lambda x: windowed(windowed(x, (9,), (5,), -2), (1,), (2,), 2),
        lambda x: windowed(x, (7,), (2,), -4),
        "f32[10]",
    ),
    (lambda x: shape.pad(x, low=(0, 0), high=(0, 0), value=1.0), lambda x: x, X),
    (
        lambda x: windowed(shape.pad(x, low=(1, 0), high=(0, 2), value=0.0), (1, 0), (2, 3)),
        lambda x: x,
        X,
    ),
    (lambda x: shape.concatenate(x, axis=0), lambda x: x, X),
    (
        lambda x: shape.concatenate(x, windowed(x, (0, 0), (0, 3)), axis=0),
        lambda x: x,
        X,
    ),
    (
        lambda x: windowed(shape.concatenate(x, -x, x, axis=0), (3, 1), (1, 2)),
        lambda x: windowed(-x, (1, 1), (1, 2)),
        X,
    ),
    (
        lambda x: shape.update_slice(x, -x, starts=(0, 0), steps=(1, 1)),
        lambda x: -x,
        X,
    ),
    (
        lambda x: windowed(
            shape.update_slice(x, windowed(-x, (0, 0), (1, 3)), starts=(1, 0), steps=(1, 1)),
            (1, 0),
            (1, 3),
        ),
        lambda x: windowed(-x, (0, 0), (1, 3)),
        X,
    ),
    (
        lambda x: index.take(x, x.builder.constant(np.array([1, 2])), axis=1),
        lambda x: windowed(x, (0, 1), (2, 2)),
        X,
    ),
    (
        lambda x: index.take(x, x.builder.literal(1, Type("i64")), axis=0),
        lambda x: shape.reshape(windowed(x, (1, 0), (1, 3)), shape=(3,)),
        X,
    ),
    (lambda x: reduce.sum(x, axes=()), lambda x: x, X),
    (lambda x: reduce.max(x, axes=(0,)), lambda x: shape.reshape(x, shape=(3,)), "f32[1,3]"),
    (lambda x: reduce.max(spread(x, (4, 3), (1,)), axes=(0,)), lambda x: x, "f32[3]"),
    (lambda x: reduce.sum(spread(x, (4, 3), (1,)), axes=(0,)), lambda x: x * 4, "i32[3]"),
    (lambda x: reduce.any(spread(x, (4, 3), (1,)), axes=(0,)), lambda x: x, "bool[3]"),
]


@pytest.mark.parametrize("before, after, type", MOVEMENT)
def test_movement(before: Any, after: Any, type: str) -> None:
    rewrites(simplify, before, after, type)


def test_windows_that_are_not_the_whole_stay() -> None:
    stays(simplify, lambda x: windowed(x, (1, 2), (2, 3), -1), X)
    stays(simplify, lambda x: index.take(x, x.builder.constant(np.array([2, 1])), axis=1), X)
    stays(simplify, lambda x: index.take(x, x.builder.constant(np.array([2, 3])), axis=1), X)
    stays(simplify, lambda x: reduce.any(spread(x, (0, 3), (1,)), axes=(0,)), "bool[3]")


def test_the_sum_of_one_negative_zero_is_positive() -> None:
    rewrites(
        simplify,
        lambda x: reduce.sum(x, axes=(0,)),
        lambda x: shape.reshape(x, shape=(3,)) + 0.0,
        "f32[1,3]",
    )


# ---- conditionals --------------------------------------------------------------------------------

CHOOSE = """\
graph g(%p: bool[], %x: f32[3]) {
  %y: f32[3], %z: f32[3], %s: f32[3] = cond(%p, %x) then(%a: f32[3]) {
    %b: f32[3] = exp(%a)
    return %a, %b, %a
  } else(%c: f32[3]) {
    return 0.0: f32[3], %c, %c
  }
  return %y, %z, %s
}"""

CHOSEN = """\
graph g(%p: bool[], %x: f32[3]) {
  %z: f32[3] = cond(%p, %x) then(%a: f32[3]) {
    %b: f32[3] = exp(%a)
    return %b
  } else(%c: f32[3]) {
    return %c
  }
  %m: bool[3] = broadcast(%p, shape=(3,), axes=())
  %y: f32[3] = where(%m, %x, 0.0: f32[3])
  return %y, %z, %x
}"""


def test_results_that_no_branch_computes_leave_the_conditional() -> None:
    before = parse(CHOOSE)
    after = eliminate_dead(simplify(before))
    assert structurally_equal(after, parse(CHOSEN)), str(after)
    same_values(before, after)


def test_a_choice_between_two_arrays_stays_a_branch() -> None:
    graph = parse(
        "graph g(%p: bool[], %x: f32[3], %y: f32[3]) {\n"
        "  %z: f32[3] = cond(%p, %x, %y) then(%a: f32[3], %b: f32[3]) {\n    return %a\n"
        "  } else(%c: f32[3], %d: f32[3]) {\n    return %d\n  }\n  return %z\n}"
    )
    assert structurally_equal(simplify(graph), graph)


def test_branches_are_simplified_with_the_literals_they_are_given() -> None:
    graph = parse(
        "graph g(%p: bool[], %x: f32[3]) {\n"
        "  %z: f32[3] = cond(%p, %x, 1.0: f32[3]) then(%a: f32[3], %b: f32[3]) {\n"
        "    %c: f32[3] = multiply(%a, %b)\n    %e: f32[3] = exp(%c)\n    return %e\n"
        "  } else(%d: f32[3], %f: f32[3]) {\n    return %d\n  }\n  return %z\n}"
    )
    after = eliminate_dead(simplify(graph))
    assert op_names(after) == ["cond", "exp"]
    same_values(graph, after)


def test_the_line_and_the_name_of_a_rewritten_equation_stay() -> None:
    graph = parse(
        "graph g(%x: f32[3]) {\n  %named: f32[3] = power(%x, 2.0)  # a.py:3\n  return %named\n}"
    )
    (eqn,) = simplify(graph).eqns
    assert (eqn.op.name, str(eqn.loc), eqn.out.hint) == ("square", "a.py:3", "named")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
def test_random_graphs_keep_their_values(seed: int) -> None:
    graph = random_graph(seed)
    same_values(graph, simplify(graph), seeds=2)
