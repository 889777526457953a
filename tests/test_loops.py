"""`while_loop` and `scan`: compiled as on plain arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import errors


def same(fn: Callable[..., Any], *args: Any) -> None:
    """Compiled, `fn` gives what it gives on plain arrays."""
    expected, got = fn(*args), gc.compile(fn)(*args)
    for a, b in zip(leaves(got), leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        return [leaf for part in value for leaf in leaves(part)]
    return [value]


def newton(a: Any) -> Any:
    far = lambda s: np.abs(s["x"] * s["x"] - a) > 1e-12 * a
    step = lambda s: {"x": 0.5 * (s["x"] + a / s["x"]), "n": s["n"] + 1}
    return gc.while_loop(far, step, {"x": a, "n": 0})


def test_while_loop() -> None:
    same(newton, 2.0)
    root = gc.compile(newton)(9.0)
    assert root["n"] > 2 and abs(root["x"] - 3.0) < 1e-12


def test_a_python_number_takes_the_dtype_that_the_body_gives_it() -> None:
    def mean(x: Any) -> Any:
        total, _ = gc.while_loop(lambda s: s[1] < 3, lambda s: (s[0] + x[s[1]], s[1] + 1), (0, 0))
        return total

    same(mean, np.array([0.5, 1.5, 2.5]))
    assert gc.compile(mean)(np.array([0.5, 1.5, 2.5], "f4")).dtype == np.float32


def test_a_state_that_is_assigned_to() -> None:
    def fill(x: Any) -> Any:
        def body(s: Any) -> Any:
            values, i = s
            values[i] = values[i - 1] * 2.0
            return values, i + 1

        return gc.while_loop(lambda s: s[1] < 5, body, (x, 1))[0]

    x = np.ones(5)
    same(fill, x)
    assert np.all(x == 1.0), "the argument is not the state"


@pytest.mark.parametrize("reverse", [False, True])
def test_scan(reverse: bool) -> None:
    def smooth(xs: Any, decay: Any) -> Any:
        def f(mean: Any, x: Any) -> Any:
            after = decay * mean + (1 - decay) * x["a"]
            return after, {"mean": after, "error": x["b"] - mean}

        return gc.scan(f, np.zeros(2), xs, reverse=reverse)

    same(smooth, {"a": np.arange(8.0).reshape(4, 2), "b": np.ones((4, 2))}, 0.9)


def test_scan_without_sequences() -> None:
    same(lambda x: gc.scan(lambda s, _: (s * x, s), 1.0, length=5), 1.5)
    same(lambda x: gc.scan(lambda s, _: (s * x, None), 1.0, length=3)[0], 1.5)


def test_loops_in_loops() -> None:
    def powers(xs: Any) -> Any:
        def f(total: Any, x: Any) -> Any:
            small = gc.while_loop(lambda y: y > 1.0, lambda y: y / 3.0, x)
            return total + small, small

        return gc.scan(f, 0.0, xs)

    same(powers, np.array([0.5, 7.0, 100.0, 3.0]))


# ---- what is refused -----------------------------------------------------------------------------

REFUSED: list[tuple[Callable[..., Any], type[Exception], str]] = [
    (
        lambda x: gc.while_loop(lambda s: s[0] < 3, lambda s: s[:1], (0, x)),
        errors.CarriedTypeError,
        "another structure",
    ),
    (
        lambda x: gc.while_loop(lambda s: np.sum(s) < 3, lambda s: np.concatenate([s, s]), x),
        errors.CarriedTypeError,
        "f64[3] into f64[6]",
    ),
    (
        lambda x: gc.while_loop(lambda s: s < 3, lambda s: s + 1, x),
        errors.AmbiguousTruthError,
        "",
    ),
    (lambda x: gc.scan(lambda s, v: (s, v), 0.0, x[0]), errors.ArgumentError, "holds a number"),
    (lambda x: gc.scan(lambda s, v: (s, v), 0.0), errors.ArgumentError, "neither xs nor length"),
    (lambda x: gc.scan(lambda s, v: (s, v), 0.0, x, length=2), errors.ArgumentError, "[2, 3]"),
    (lambda x: gc.scan(lambda s, v: s + v, 0.0, x), errors.ArgumentError, "a pair (carry, y)"),
]


@pytest.mark.parametrize(("fn", "kind", "message"), REFUSED)
def test_what_is_refused(fn: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        gc.compile(fn)(np.ones(3))
    assert message in str(caught.value)
    assert "test_loops.py" in str(caught.value)


def test_a_body_may_not_assign_to_what_lies_around_it() -> None:
    def wrong(x: Any) -> Any:
        def body(i: Any) -> Any:
            x[i] = 0.0
            return i + 1

        return gc.while_loop(lambda i: i < 3, body, 0), x

    with pytest.raises(errors.ArgumentError, match="make it part of the state"):
        gc.compile(wrong)(np.ones(3))
