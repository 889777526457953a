"""`checkpoint` and `custom_vjp`, and loops that keep some of their iterations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import errors
from graphc.ir import Graph, all_eqns

X, W = np.array([0.3, -0.8, 1.1]), np.array([0.7, -0.3, 0.5])


def equations(graph: Graph, op: str) -> int:
    return sum(eqn.op.name == op for eqn in all_eqns(graph))


def same_gradient(fn: Callable[..., Any], plain: Callable[..., Any], *args: Any) -> None:
    """Value, gradient and second derivative are those of `plain`."""
    every = tuple(range(len(args)))
    for make in (gc.grad, gc.value_and_grad):
        got = gc.compile(make(fn, every))(*args)
        expected = gc.compile(make(plain, every))(*args)
        for a, b in zip(flat(got), flat(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
    second = lambda fn: lambda *a: np.sum(gc.grad(fn)(*a) ** 2)
    got, expected = (gc.compile(gc.grad(second(f)))(*args) for f in (fn, plain))
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def flat(value: Any) -> list[Any]:
    return [x for part in value for x in flat(part)] if isinstance(value, tuple) else [value]


# ---- checkpoint ----------------------------------------------------------------------------------


def layer(x: Any, w: Any) -> Any:
    return np.tanh(x * w) + np.exp(-x * x)


def deep(layer: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, w: np.sum(layer(layer(layer(x, w), w), w) ** 2)


def test_checkpoint_changes_no_value() -> None:
    same_gradient(deep(gc.checkpoint(layer)), deep(layer), X, W)
    assert np.array_equal(gc.checkpoint(layer)(X, W), layer(X, W)), "on plain arrays"


def test_checkpoint_computes_again() -> None:
    counts = [
        equations(gc.compile(gc.grad(deep(f))).graph(X, W), "tanh")
        for f in (layer, gc.checkpoint(layer))
    ]
    assert counts == [3, 6], "each of them once more"


def test_checkpoint_takes_less_memory() -> None:
    x = gc.Spec((1000, 100), "f64")
    peaks = [
        gc.compile(gc.grad(chain(f), 1)).explain(x, gc.Spec((), "f64")).arena_bytes
        for f in (layer, gc.checkpoint(layer))
    ]
    assert peaks[1] < peaks[0]


def chain(layer: Callable[..., Any]) -> Callable[..., Any]:
    def fn(x: Any, w: Any) -> Any:
        for _ in range(6):
            x = x - np.mean(layer(layer(x, w), w), axis=0)
        return np.sum(x * x)

    return fn


def test_checkpoint_of_keyword_arguments_trees_and_assignments() -> None:
    def fn(params: Any, x: Any) -> Any:
        def shifted(tree: Any, *, by: Any) -> Any:
            y = tree["x"] * tree["w"]
            y[0] = by
            return {"y": y, "z": np.sin(y)}

        out = gc.checkpoint(shifted)({"x": x, "w": params}, by=x[1])
        return np.sum(out["y"] * out["z"])

    def plain(params: Any, x: Any) -> Any:
        y = np.concatenate([x[1:2], (x * params)[1:]])
        return np.sum(y * np.sin(y))

    same_gradient(fn, plain, W, X)


# ---- loops that keep some iterations -------------------------------------------------------------


def recurrence(keep_every: Any, length: int, reverse: bool = False) -> Callable[..., Any]:
    def fn(w: Any, xs: Any) -> Any:
        f = lambda h, x: (np.sin(h * w + x), h * x)
        h, ys = gc.scan(f, w, xs, reverse=reverse, keep_every=keep_every)
        return h + np.sum(ys * np.arange(length))

    return fn


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("keep_every", "length"), [(3, 9), (4, 11), ("sqrt", 10), (50, 7), (1, 4)])
def test_scan_that_keeps_some(keep_every: Any, length: int, reverse: bool) -> None:
    xs = np.sin(np.arange(float(length)))
    fns = [recurrence(keep, length, reverse) for keep in (keep_every, None)]
    same_gradient(fns[0], fns[1], np.array(0.7), xs)
    assert fns[0](0.7, xs) == pytest.approx(fns[1](0.7, xs)), "on plain arrays"


@pytest.mark.cpu_only("a million turns, each of them several launches")
def test_scan_that_keeps_few_takes_the_memory_that_explain_says() -> None:
    def fn(keep_every: Any) -> Any:
        step = lambda h, _: (np.sin(h) * 0.99 + 0.1, None)
        return gc.compile(
            gc.grad(lambda w: gc.scan(step, w, length=10**6, keep_every=keep_every)[0])
        )

    assert fn(None).explain(0.5).arena_bytes >= 8 * 10**6
    sparse = fn("sqrt")
    assert sparse.explain(0.5).arena_bytes < 8 * 10**4
    assert np.isfinite(sparse(0.5))


@pytest.mark.parametrize("keep_every", [1, 2, 7, 100])
def test_while_that_keeps_some(keep_every: int) -> None:
    def fn(keep: int | None) -> Callable[..., Any]:
        body = lambda s: s * 1.2 + 0.2 * np.sin(s) * W + 0.5
        return lambda x: np.sum(
            gc.while_loop(lambda s: np.sum(s) < 2.0, body, x, keep_every=keep) ** 2
        )

    same_gradient(fn(keep_every), fn(None), X)


@pytest.mark.parametrize("keep_every", [0, -1, True, 2.0, "cube"])
def test_what_keep_every_may_be(keep_every: Any) -> None:
    fn = gc.compile(lambda x: gc.scan(lambda s, v: (s + v, None), 0.0, x, keep_every=keep_every)[0])
    with pytest.raises(errors.ArgumentError, match="keep_every="):
        fn(X)


# ---- custom_vjp ----------------------------------------------------------------------------------


@gc.custom_vjp
def norm(x: Any, scale: Any) -> Any:
    return np.sqrt(np.sum(x * x)) * scale["a"]


def _norm_forward(x: Any, scale: Any) -> Any:
    value = norm.fn(x, scale)
    return value, (x, value, scale["a"])


def _norm_backward(kept: Any, g: Any) -> Any:
    x, value, a = kept
    return g * a * a * x / np.maximum(value, 1e-12), {"a": 42.0}


norm.defvjp(_norm_forward, _norm_backward)


def test_a_gradient_of_ones_own() -> None:
    scale = {"a": np.array(2.0)}
    by_x, by_scale = gc.grad(lambda x, s: norm(x, s) * 3.0, (0, 1))(X, scale)
    np.testing.assert_allclose(by_x, 6.0 * X / np.sqrt(np.sum(X * X)))
    assert by_scale["a"] == 42.0, "what the user says"
    np.testing.assert_array_equal(gc.grad(lambda x: norm(x, scale))(np.zeros(3)), np.zeros(3))
    assert gc.compile(norm)(X, scale) == norm(X, scale)


def test_custom_vjp_in_a_loop_and_twice_differentiated() -> None:
    square = gc.custom_vjp(
        lambda x: x * x, lambda x: (x * x, x), lambda x, g: (2.0 * x * g + 0.0 * x,)
    )

    def fn(square: Callable[..., Any]) -> Callable[..., Any]:
        return lambda x: np.sum(gc.scan(lambda s, _: (0.5 * square(s) + x, None), x, length=3)[0])

    same_gradient(fn(square), fn(lambda x: x * x), X)


def test_custom_vjp_reads_what_lies_around_it() -> None:
    def fn(x: Any, w: Any) -> Any:
        scaled = gc.custom_vjp(
            lambda x: x * w, lambda x: (x * w, None), lambda kept, g: (g * w * 10.0,)
        )
        return np.sum(scaled(x))

    by_x, by_w = gc.grad(fn, (0, 1))(X, W)
    np.testing.assert_allclose(by_x, 10.0 * W)
    np.testing.assert_array_equal(by_w, 0.0)


def test_integer_arguments_have_no_cotangent() -> None:
    power = gc.custom_vjp(
        lambda x, n: x**n,
        lambda x, n: (x**n, (x, n)),
        lambda kept, g: (g * kept[1] * kept[0], None),
    )
    assert gc.grad(lambda x, n: power(x, n))(2.0, 3) == 6.0


WRONG: list[tuple[Callable[..., Any], Callable[..., Any], str]] = [
    (lambda x: x, lambda kept, g: (g,), "forward returns a pair"),
    (lambda x: ((x, x), x), lambda kept, g: (g,), "another structure or type"),
    (lambda x: (x * 2.0, x), lambda kept, g: g, "returns a tuple with one cotangent"),
    (lambda x: (x * 2.0, x), lambda kept, g: (g, g), "returns a tuple with one cotangent"),
    (lambda x: (x * 2.0, x), lambda kept, g: (g[0],), "the cotangent of argument 0 is (f64[])"),
]


@pytest.mark.parametrize(("forward", "backward", "message"), WRONG)
def test_a_gradient_that_does_not_fit(forward: Any, backward: Any, message: str) -> None:
    wrong = gc.custom_vjp(lambda x: x * 2.0, forward, backward)
    with pytest.raises(errors.GradientError) as caught:
        gc.grad(lambda x: np.sum(wrong(x)))(X)
    assert message in str(caught.value)
    assert "test_custom.py" in str(caught.value)


def test_a_gradient_that_is_missing() -> None:
    with pytest.raises(errors.GradientError, match="defvjp"):
        gc.grad(lambda x: np.sum(gc.custom_vjp(np.sin)(x)))(X)


def test_forward_mode_needs_another_rule() -> None:
    with pytest.raises(errors.GradientError, match="custom_vjp"):
        gc.jvp(lambda x: norm(x, {"a": 1.0}), (X,), (X,))
