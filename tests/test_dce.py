"""Dead code: what goes, what stays."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from pass_helpers import build, op_names, random_graph, same_values

from graphc.equal import structurally_equal
from graphc.ops import elementwise as e
from graphc.passes.dce import eliminate_dead
from graphc.text import parse


def test_unread_chains_go_and_parameters_stay() -> None:
    def function(x, y):  # type: ignore[no-untyped-def]
        e.exp(e.tanh(y))
        return e.sin(x)

    graph = eliminate_dead(build(function, "f32[3]", "f32[3]"))
    assert op_names(graph) == ["sin"] and len(graph.params) == 2


def test_effects_stay_in_branches_too() -> None:
    text = (
        "graph g(%p: bool[], %i: i64[]) {\n"
        "  %y: i64[] = cond(%p, %i) then(%a: i64[]) {\n    %q: bool[] = less(%a, 3)\n"
        '    check(%q, %a, error="IndexError", message="no")\n    return %a\n'
        "  } else(%b: i64[]) {\n    return %b\n  }\n  return\n}"
    )
    graph = eliminate_dead(parse(text))
    assert op_names(graph) == ["cond", "less", "check"]
    assert graph.eqns[0].outs == ()


BEFORE = """\
graph g(%p: bool[], %x: f32[3], %y: f32[3], %z: f32[3]) {
  %a: f32[3] = exp(%x)
  %b: f32[3], %c: f32[3] = cond(%p, %a, %y, %z) then(%d: f32[3], %e: f32[3], %f: f32[3]) {
    %g: f32[3] = tanh(%d)
    return %g, %e
  } else(%h: f32[3], %i: f32[3], %j: f32[3]) {
    %k: f32[3] = sin(%j)
    return %h, %k
  }
  return %c
}"""

AFTER = """\
graph g(%p: bool[], %x: f32[3], %y: f32[3], %z: f32[3]) {
  %c: f32[3] = cond(%p, %y, %z) then(%e: f32[3], %f: f32[3]) {
    return %e
  } else(%i: f32[3], %j: f32[3]) {
    %k: f32[3] = sin(%j)
    return %k
  }
  return %c
}"""


def test_unread_results_and_operands_of_a_conditional_go() -> None:
    before = parse(BEFORE)
    after = eliminate_dead(before)
    assert structurally_equal(after, parse(AFTER)), str(after)
    same_values(before, after)


def test_an_unread_conditional_goes() -> None:
    assert not eliminate_dead(parse(BEFORE.replace("return %c\n}", "return %x\n}"))).eqns


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
def test_random_graphs_keep_their_values(seed: int) -> None:
    graph = random_graph(seed)
    same_values(graph, eliminate_dead(graph), seeds=2)
