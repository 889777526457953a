"""Loops in the text form, and what they mean: the interpreter against plain Python."""

from __future__ import annotations

import numpy as np
import pytest

from graphc import errors
from graphc.equal import structurally_equal
from graphc.ir import Graph, Lit, Type
from graphc.ops import control
from graphc.runtime.reference import evaluate
from graphc.text import parse

COLLATZ = """
graph collatz(%n: i64[], %one: i64[]) {
  %steps: i64[], %last: i64[] = while(0, %n, %one, carried=2) test(%a: i64[], %m: i64[], %b: i64[]) {
    %go: bool[] = less(%b, %m)
    return %go
  } body(%count: i64[], %k: i64[], %c: i64[]) {
    %rest: i64[] = mod(%k, 2)
    %odd: bool[] = equal(%rest, 1)
    %half: i64[] = floor_divide(%k, 2)
    %triple: i64[] = multiply(%k, 3)
    %up: i64[] = add(%triple, %c)
    %next: i64[] = where(%odd, %up, %half)
    %more: i64[] = add(%count, %c)
    return %more, %next
  }
  return %steps, %last
}
"""

SUMS = """
graph sums(%xs: f64[3,2], %s: f64[]) {
  %t: f64[2], %ys: f64[3,2], %is: i64[3] = scan(0.0:f64[2], %xs, %s, carried=1, sequences=1, length=3, reverse=REVERSE) body(%i: i64[], %sum: f64[2], %x: f64[2], %k: f64[]) {
    %ks: f64[2] = broadcast(%k, shape=(2,), axes=())
    %part: f64[2] = multiply(%x, %ks)
    %next: f64[2] = add(%sum, %part)
    return %next, %next, %i
  }
  return %t, %ys, %is
}
"""


def sums(reverse: bool) -> Graph:
    return parse(SUMS.replace("REVERSE", str(reverse).lower()))


@pytest.mark.parametrize("n", [1, 2, 27])
def test_while_runs_until_its_test_fails(n: int) -> None:
    steps, last = 0, n
    while last > 1:
        steps, last = steps + 1, 3 * last + 1 if last % 2 else last // 2
    assert evaluate(parse(COLLATZ), np.int64(n), np.int64(1)) == (steps, last)


@pytest.mark.parametrize("reverse", [False, True])
def test_scan_carries_and_stacks(reverse: bool) -> None:
    xs = np.arange(6.0).reshape(3, 2)
    total, partial, indices = evaluate(sums(reverse), xs, np.float64(2.0))
    order = xs[::-1] if reverse else xs
    expected = np.cumsum(2.0 * order, axis=0)
    np.testing.assert_array_equal(total, expected[-1])
    np.testing.assert_array_equal(partial, expected[::-1] if reverse else expected)
    assert list(indices) == [0, 1, 2]


@pytest.mark.parametrize("text", [COLLATZ, SUMS.replace("REVERSE", "true")])
def test_the_text_form_is_exact(text: str) -> None:
    graph = parse(text)
    assert str(graph) == text.strip()
    assert structurally_equal(parse(str(graph)), graph)


def test_held_operands_are_those_that_never_change() -> None:
    graph = sums(False)
    (eqn,) = graph.eqns
    assert control.held_operands(eqn, "body") == (None, None, None, graph.params[1])
    graph = parse(COLLATZ)
    (eqn,) = graph.eqns
    assert control.held_operands(eqn, "test") == (None, None, graph.params[1])
    assert eqn.ins[0] == Lit(0, Type("i64"))


WRONG = [
    (COLLATZ, "carried=2", "carried=4", "it counts operands, of which there are 3"),
    (COLLATZ, "carried=2", "carried=1", "body returns 2 value(s) and carries 1"),
    (COLLATZ, "return %go", "return %a", "test returns (i64[]), not (bool[])"),
    (COLLATZ, "return %more, %next", "return %more, %odd", "a carried value keeps its type"),
    (COLLATZ, "test(%a: i64[]", "test(%a: i32[]", "test takes (i32[], i64[], i64[])"),
    (SUMS, "length=3", "length=4", "its first axis has the length 4"),
    (SUMS, "length=3", "length=-1", "it is an int from 0 upwards"),
    (SUMS, "sequences=1", "sequences=3", "it counts operands, of which there are 2"),
    (SUMS, "reverse=REVERSE", "reverse=2", "reverse=2; it is true or false"),
    (SUMS, "body(%i: i64[]", "body(%i: i32[]", "body takes (i32[]"),
    (SUMS, "return %next, %next, %i", "return %i, %next, %next", "a carried value keeps its type"),
    (SUMS, "return %next, %next, %i", "return", "body returns 0 value(s) and carries 1"),
]


@pytest.mark.parametrize(("text", "old", "new", "message"), WRONG)
def test_a_wrong_loop_is_refused(text: str, old: str, new: str, message: str) -> None:
    with pytest.raises(errors.TypeRuleError) as caught:
        parse(text.replace(old, new).replace("REVERSE", "false"))
    assert message in str(caught.value)
