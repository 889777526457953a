"""Common subexpressions: what merges, what must not."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pass_helpers import build, op_names, random_graph, rewrites, same_values, stays

from graphc.ops import elementwise as e
from graphc.ops import shape
from graphc.passes.cse import eliminate_common
from graphc.text import parse

F = "f32[3]"


def test_equal_equations_merge_and_chains_of_them() -> None:
    rewrites(
        eliminate_common,
        lambda x: e.tanh(e.exp(x)) + e.tanh(e.exp(x)),
        lambda x: (lambda y: y + y)(e.tanh(e.exp(x))),
        F,
    )


def test_operands_of_commutative_ops_may_be_swapped() -> None:
    rewrites(
        eliminate_common,
        lambda x, y: (x + y) * (y + x),
        lambda x, y: (lambda z: z * z)(x + y),
        F,
        F,
    )
    stays(eliminate_common, lambda x, y: (x - y) * (y - x), F, F)
    stays(eliminate_common, lambda x, y: e.maximum(x, y) * e.maximum(y, x), F, F)


def test_literals_are_told_apart_by_bits() -> None:
    stays(eliminate_common, lambda x: (x * 0.0) - (x * -0.0), F)


def test_attributes_are_told_apart_by_bits() -> None:
    stays(
        eliminate_common,
        lambda x: tuple(shape.pad(x, low=(1,), high=(0,), value=v) for v in (0.0, -0.0)),
        F,
    )


def test_equal_constants_merge() -> None:
    def twice(x: object) -> object:
        first, second = (x.builder.constant(np.arange(3.0)) for _ in range(2))  # type: ignore[attr-defined]
        return (first, second, x.builder.constant(np.array([0.0, 1.0, 3.0])))  # type: ignore[attr-defined]

    assert op_names(eliminate_common(build(twice, F))) == ["constant", "constant"]


def test_the_first_line_is_kept() -> None:
    graph = parse(
        "graph g(%x: f32[3]) {\n  %a: f32[3] = exp(%x)  # m.py:1\n"
        "  %b: f32[3] = exp(%x)  # m.py:2\n  return %a, %b\n}"
    )
    merged = eliminate_common(graph)
    assert [str(eqn.loc) for eqn in merged.eqns] == ["m.py:1"]
    assert merged.outs[0] is merged.outs[1]


CHECK = 'check({}, {}, error="IndexError", message="no {{value}}")'

CHECKED = f"""\
graph g(%p: bool[], %i: i64[]) {{
  %y: i64[] = cond(%p, %i) then(%a: i64[]) {{
    %q: bool[] = less(%a, 3)
    {CHECK.format("%q", "%a")}
    return %a
  }} else(%b: i64[]) {{
    return %b
  }}
  %r: bool[] = less(%i, 3)
  {CHECK.format("%r", "%i")}
  {CHECK.format("%r", "%i")}
  %z: i64[] = cond(%p, %i) then(%c: i64[]) {{
    %s: bool[] = less(%c, 3)
    {CHECK.format("%s", "%c")}
    return %c
  }} else(%d: i64[]) {{
    %t: bool[] = less(%d, 2)
    {CHECK.format("%t", "%d")}
    return %d
  }}
  return %y, %z
}}"""


def test_a_check_that_passed_before_or_outside_is_dropped() -> None:
    names = op_names(eliminate_common(parse(CHECKED)))
    # The check in the first branch proves nothing for the line after it.
    assert names == ["cond", "less", "check", "less", "check", "cond", "less", "less", "check"]


def test_branches_read_nothing_from_outside() -> None:
    graph = parse(
        "graph g(%p: bool[], %x: f32[3]) {\n  %e: f32[3] = exp(%x)\n"
        "  %y: f32[3] = cond(%p, %x) then(%a: f32[3]) {\n    %b: f32[3] = exp(%a)\n    return %b\n"
        "  } else(%c: f32[3]) {\n    return %c\n  }\n  return %e, %y\n}"
    )
    merged = eliminate_common(graph)
    assert op_names(merged) == ["exp", "cond", "exp"]
    same_values(graph, merged)


def test_a_branch_reads_an_operand_that_is_what_it_computes() -> None:
    graph = parse(
        "graph g(%p: bool[], %x: f32[3]) {\n  %e: f32[3] = exp(%x)\n"
        "  %y: f32[3] = cond(%p, %x, %e) then(%a: f32[3], %f: f32[3]) {\n"
        "    %b: f32[3] = exp(%a)\n    %g: f32[3] = add(%b, %f)\n    return %g\n"
        "  } else(%c: f32[3], %d: f32[3]) {\n    return %c\n  }\n  return %y\n}"
    )
    merged = eliminate_common(graph)
    assert op_names(merged) == ["exp", "cond", "add"]
    same_values(graph, merged)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
def test_random_graphs_keep_their_values(seed: int) -> None:
    graph = random_graph(seed)
    same_values(graph, eliminate_common(graph), seeds=2)
