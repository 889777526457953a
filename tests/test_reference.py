"""The interpreter: arguments in order, results in order, only the branch that is taken."""

from __future__ import annotations

import numpy as np
import pytest
from running import assert_same

from graphc import errors
from graphc.runtime.reference import evaluate
from graphc.text import parse

CHOOSE = parse("""\
graph choose(%p: bool[], %x: f64[3]) {
  %y: f64[3], %z: f64[3] = cond(%p, %x) then(%a: f64[3]) {
    %b: f64[3] = exp(%a)
    return %b, %a
  } else(%c: f64[3]) {
    check(false:bool[], 7:i64[], error="IndexError", message="index {value} is outside")  # m.py:3
    return %c, %c
  }
  return %y, %z, 2.0:f64[2]
}""")

X = np.array([0.0, 1.0, 2.0])


def test_results_in_order_literals_too() -> None:
    y, z, two = evaluate(CHOOSE, np.True_, X)
    assert_same(y, np.exp(X))
    assert_same(z, X)
    assert_same(two, np.array([2.0, 2.0]))


def test_only_the_taken_branch_runs() -> None:
    with pytest.raises(errors.IndexOutOfRangeError) as caught:
        evaluate(CHOOSE, np.False_, X)
    assert str(caught.value) == "m.py:3: index 7 is outside"
    assert isinstance(caught.value, IndexError)


def test_results_are_fresh_and_arguments_unchanged() -> None:
    own = X.copy()
    outs = evaluate(CHOOSE, np.True_, own)
    assert not any(np.shares_memory(out, own) for out in outs)
    outs[1][:] = 5.0
    assert_same(own, X)


def test_an_update_is_a_result_like_the_others() -> None:
    graph = parse("graph f(%w: f64[3]) {\n  %v: f64[3] = negative(%w)\n  return %w, %w := %v\n}")
    own = X.copy()
    old, new = evaluate(graph, own)
    assert_same(old, X)
    assert_same(new, -X)
    assert_same(own, X)


def test_fused_bodies_run_as_their_equations() -> None:
    graph = parse("""\
graph f(%x: f64[3]) {
  %y: f64[3] = fused(%x, kind="loop", domain=(3,), reduce=(), maps=((0,),)) body(%a: f64[3]) {
    %b: f64[3] = exp(%a)
    return %b
  }
  return %y
}""")
    assert_same(evaluate(graph, X)[0], np.exp(X))


@pytest.mark.parametrize(
    ("arrays", "kind", "message"),
    [
        ((X,), errors.ArityError, "choose takes 2 arrays, 1 were given"),
        ((np.True_, X[:2]), errors.ShapeError, "argument 1 has shape (2,), not (3,)"),
        ((np.True_, X.astype("f4")), errors.DTypeError, "argument 1 is float32, not float64"),
    ],
)
def test_arguments_that_do_not_fit(arrays: tuple, kind: type, message: str) -> None:
    with pytest.raises(kind) as caught:
        evaluate(CHOOSE, *arrays)
    assert str(caught.value) == message


def test_no_warnings() -> None:
    graph = parse("graph f(%x: f64[3]) {\n  %y: f64[3] = log(%x)\n  return %y\n}")
    with np.errstate(all="raise"):
        assert evaluate(graph, X)[0][0] == -np.inf
