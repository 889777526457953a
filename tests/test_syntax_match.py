"""`match` on numbers, traced and not, beside Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import errors

X = np.array([0.5, -1.5, 2.0])
ONE = 1


class Names:
    TWO = 2


def scaled(x, k):
    match k:
        case 0:
            return x * 2
        case 1 | 3:
            return x * 3
        case Names.TWO if x[0] > 0:
            return x * 4
        case -1:
            return -x
        case other:
            y = x + other
            return y * 2


def states(x, k):
    state = 0
    total = x * 0.0
    for step in range(6):
        match (state + k) % 3:
            case 0:
                total = total + x
                state = 1
            case 1:
                total = total * 2
                state = 2
                if step > 3:
                    state = 0
            case _:
                total = total - 1
                state = 0
    return total, state


def nothing_matches(x, k):
    y = x
    match k + 1:
        case 1:
            y = x * 2
        case (2 | 4) as which:
            y = x * which
    return y


def mixed(x, mode):
    match mode:
        case None:
            return x
        case True:
            return x + 1
        case "double" | "twice":
            return x * 2
        case (a, b):
            return x * a + b
        case {"scale": scale}:
            return x * scale
    return -x


@pytest.mark.parametrize("function", [scaled, states, nothing_matches])
@pytest.mark.parametrize("k", [-1, 0, 1, 2, 3, 7])
def test_on_data(function: Any, k: int) -> None:
    for x in (X, -X):
        wanted, got = function(x, k), gc.compile(function)(x, np.int64(k))
        if not isinstance(wanted, tuple):
            wanted, got = (wanted,), (got,)
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-14)


def test_one_trace_for_all_values() -> None:
    step = gc.compile(scaled)
    for k in range(5):
        np.testing.assert_array_equal(step(X, np.int64(k)), scaled(X, k))
    assert "cond" in str(step.graph(X, np.int64(1)))


@pytest.mark.parametrize("mode", [None, True, "twice", (2.0, 1.0), {"scale": 3.0}, "other"])
def test_other_patterns_are_pythons(mode: Any) -> None:
    np.testing.assert_array_equal(gc.compile(mixed)(X, mode), mixed(X, mode))


def test_the_subject_is_evaluated_once() -> None:
    calls = []

    def subject(k):
        calls.append(k)
        return k

    def f(x, k):
        match subject(k):
            case 1:
                return x
            case 2:
                return x * 2
        return x * 3

    np.testing.assert_array_equal(gc.compile(f)(X, np.int64(2)), X * 2)
    assert len(calls) == 1


def test_a_pattern_that_looks_into_data_is_refused() -> None:
    def f(x):
        match x:
            case [a, b]:
                return a + b
        return x

    np.testing.assert_array_equal(gc.compile(f)(X), X)  # an array is no sequence to `match`

    def g(x, k):
        match (k, 1):
            case (1, y):
                return x * y
        return x

    with pytest.raises(errors.ConcreteValueError, match=r"test_syntax_match\.py"):
        gc.compile(g)(X, np.int64(1))
