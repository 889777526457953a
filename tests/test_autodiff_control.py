"""Gradients through conditionals and loops, in every nesting of two: against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.ir import Graph, all_eqns

X = np.array([[0.3, -0.8, 1.1], [0.9, 0.2, -0.5], [-0.4, 0.7, 0.6], [0.1, 1.2, -0.9]])
W = np.array([0.7, -0.3, 0.5])


# Loops and conditionals as functions of a state, so that any of them can be put into any other.

Step = Callable[[Any, Any], Any]


def straight(s: Any, w: Any) -> Any:
    return np.sin(s * w) + 0.5 * s


def chosen(inner: Step) -> Step:
    def step(s: Any, w: Any) -> Any:
        return gc.cond(
            np.sum(s) > 0.2, lambda s, w: inner(s, w) * w, lambda s, w: np.exp(-inner(s, w)), s, w
        )

    return step


def repeated(inner: Step) -> Step:
    def step(s: Any, w: Any) -> Any:
        last, states = gc.scan(lambda s, x: (0.5 * inner(s, w) + x, s * w), s, X)
        return last + np.sum(states, axis=0)

    return step


def backwards(inner: Step) -> Step:
    def step(s: Any, w: Any) -> Any:
        last, states = gc.scan(lambda s, _: (inner(s, w), s), s, length=3, reverse=True)
        return last * states[0]

    return step


def until(inner: Step) -> Step:
    """Three iterations, which only the data knows."""

    def step(s: Any, w: Any) -> Any:
        more = lambda state: state[1] < np.sum(state[0] > -100.0)
        body = lambda state: (0.5 * inner(state[0], w) + s, state[1] + 1)
        return gc.while_loop(more, body, (s, 0))[0]

    return step


KINDS = {"cond": chosen, "scan": repeated, "reverse": backwards, "while": until}
STEPS: dict[str, Step] = {outer: KINDS[outer](straight) for outer in KINDS} | {
    f"{outer} of {inner}": KINDS[outer](KINDS[inner](straight))
    for outer in KINDS
    for inner in KINDS
}
STEPS |= {  # only one branch has the arrays of tapes that a loop of loops keeps
    f"cond of {middle} of while": chosen(KINDS[middle](until(straight))) for middle in KINDS
}


def loss(step: Step) -> Callable[[Any, Any], Any]:
    return lambda s, w: np.sum(np.cos(step(s, w)) * np.arange(1.0, 4.0))


def slope(fn: Callable[..., Any], args: list[np.ndarray], direction: list[np.ndarray]) -> float:
    """The derivative of `fn` along a direction, by central differences of fourth order."""
    h = 1e-4
    at = {k: fn(*(a + k * h * d for a, d in zip(args, direction))) for k in (-2, -1, 1, 2)}
    return float((8 * (at[1] - at[-1]) - (at[2] - at[-2])) / (12 * h))


def check_gradient(fn: Callable[..., Any], *args: np.ndarray) -> None:
    """In three directions; at a value on which no condition is about to change."""
    random = np.random.default_rng(0)
    grads = gc.compile(gc.grad(fn, argnums=tuple(range(len(args)))))(*args)
    compiled = gc.compile(fn)
    for _ in range(3):
        direction = [random.standard_normal(a.shape) for a in args]
        expected = slope(compiled, list(args), direction)
        got = sum(np.sum(g * d) for g, d in zip(grads, direction))
        assert got == pytest.approx(expected, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("name", STEPS)
def test_gradients(name: str) -> None:
    check_gradient(loss(STEPS[name]), X[0], W)


@pytest.mark.parametrize("name", KINDS)
def test_second_derivatives(name: str) -> None:
    first = gc.grad(loss(STEPS[name]), argnums=1)
    check_gradient(lambda s, w: np.sum(first(s, w) * np.array([1.0, -2.0, 0.5])), X[0], W)


def test_gradients_of_sequences_and_of_constants_of_any_shape() -> None:
    def fn(xs: Any, matrix: Any, scale: Any) -> Any:
        def f(h: Any, x: Any) -> Any:
            after = np.tanh(h @ matrix + x * scale)
            return after, np.sum(after)

        h, sums = gc.scan(f, xs[0], xs)
        return np.sum(h) + np.sum(sums**2)

    random = np.random.default_rng(1)
    check_gradient(fn, X, random.standard_normal((3, 3)), np.array(0.7))


def test_a_carried_value_that_depends_on_another_later() -> None:
    """b depends on w from the second iteration on, c from the third."""

    def fn(w: Any) -> Any:
        def f(s: Any, _: Any) -> Any:
            a, b, c = s
            return (a * w, a + b, np.sin(b) + c), None

        (_, _, c), _ = gc.scan(f, (1.0, 0.0, 0.0), length=4)
        return c

    check_gradient(fn, np.array(0.8))


def test_a_while_loop_whose_length_the_data_decides() -> None:
    def fn(x: Any, w: Any) -> Any:
        last = gc.while_loop(lambda s: np.sum(s) < 10.0, lambda s: s * w + 0.1 * np.sin(s), x)
        return np.sum(last**2)

    check_gradient(fn, np.array([0.3, 0.2, 0.5]), np.array([1.5, 1.2, 1.3]))
    np.testing.assert_array_equal(gc.grad(fn)(np.full(3, 9.0), W), np.full(3, 18.0))


def test_no_iterations() -> None:
    fn = lambda w: gc.scan(lambda s, _: (s * w, None), w * w, length=0)[0]
    assert gc.grad(fn)(3.0) == 6.0


# ---- what is kept, and what runs -----------------------------------------------------------------


def equations(graph: Graph, op: str) -> int:
    return sum(eqn.op.name == op for eqn in all_eqns(graph))


def test_the_backward_reads_what_the_forward_has_computed() -> None:
    fn = lambda w: np.sum(gc.scan(lambda h, x: (np.tanh(h * w + x), None), X[0], X)[0])
    graph = gc.compile(gc.grad(fn)).graph(W)
    assert equations(graph, "tanh") == 1
    fn = lambda x, w: np.sum(gc.cond(x[0] > 0, lambda x: np.exp(x * w), lambda x: x, x))
    graph = gc.compile(gc.grad(fn)).graph(X[0], W)
    assert equations(graph, "exp") == 1


def test_what_is_cheap_is_computed_again_rather_than_kept() -> None:
    fn = lambda w: np.sum(gc.scan(lambda h, x: (np.sin(h * w + x), None), X[0], X)[0])
    graph = gc.compile(gc.grad(fn)).graph(W)
    forward = next(eqn for eqn in graph.eqns if eqn.op.name == "scan")
    assert len(forward.outs) == 2, "h, and nothing else"


def test_the_branch_that_is_not_taken_does_not_poison_the_gradient() -> None:
    def fn(x: Any) -> Any:
        step = lambda s, x: (s + gc.cond(x > 0, np.sqrt, lambda x: x * 2.0, x), None)
        return gc.scan(step, 0.0, x)[0]

    gradient = gc.compile(gc.grad(fn))(np.array([4.0, 0.0, -1.0]))
    np.testing.assert_array_equal(gradient, [0.25, 2.0, 2.0])


def test_a_check_in_a_loop_is_made_once() -> None:
    def fn(x: Any, i: Any) -> Any:
        return gc.scan(lambda s, k: (s * x[k + i], None), 1.0, np.arange(3))[0]

    graph = gc.compile(gc.grad(fn)).graph(np.ones(5), 1)
    assert equations(graph, "check") == 1
    with pytest.raises(IndexError):
        gc.compile(gc.grad(fn))(np.ones(5), 3)


def test_a_table_filled_row_by_row() -> None:
    def fn(x: Any, w: Any) -> Any:
        table = np.zeros((40, 3))
        table[0] = x
        for i in range(1, 40):
            table[i] = table[i - 1] * w + np.cos(table[i - 1])
        return np.sum(table * table)

    check_gradient(fn, X[0], W)
