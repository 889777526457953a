"""Loops inside of loops: each is traced about as often as it stands in the source."""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
import pytest

import graphc as gc
from graphc.equal import structurally_equal as equal
from graphc.trace import loop_memory, loop_state, loop_values


def damped(x, k):
    y = x * k
    if y > 0.5:
        y = y - 0.1 * x
    elif x > 0.1:
        y = np.sin(y)
    return y - 0.3


def solver(inner):
    """A secant step around `inner`, whose float and bools become traced in the first iterations."""

    def solve(x, k):
        a = 0
        b = 0.5
        before = inner(a + 0.1 * x, k)
        for _ in range(20):
            now = inner(b + 0.1 * x, k)
            if abs(now) < 1e-6:
                return b
            if now == before:
                break
            a, before, b = b, now, b - 0.1 * now
        return a * 0.5

    return solve


def search(inner):
    def solve(x, k):
        a = 0
        while True:
            value = inner(a + 0.1 * x, k)
            if abs(value) < 0.5:
                return a
            a = a - 0.3 * value
            if a < -5:
                break
        return x * 0.1

    return solve


def nested(wrap, depth):
    function = damped
    for _ in range(depth):
        function = wrap(function)
    return function


def rounds(function: Any, *args: Any) -> int:
    """How often a body is traced, of whichever loop."""
    with mock.patch.object(loop_state, "Body", wraps=loop_state.Body) as counted:
        gc.trace(function, *args)
    return counted.call_count


@pytest.mark.parametrize("wrap", [solver, search])
def test_the_types_of_a_loop_are_searched_once(wrap):
    few, many = (rounds(nested(wrap, depth), 1.3, 0.7) for depth in (2, 4))
    calls = 2 if wrap is solver else 1  # of the inner function, in one text of the outer one
    assert many <= 2 * calls**2 * few + 8


@pytest.mark.parametrize("wrap", [solver, search])
def test_a_loop_traced_again_is_the_same_graph(monkeypatch, wrap):
    function = nested(wrap, 2)
    known = gc.trace(function, 1.3, 0.7)
    monkeypatch.setattr(loop_state, "Found", lambda carried, arrays: None)  # nothing is kept
    assert equal(known, gc.trace(function, 1.3, 0.7))


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("wrap", [solver, search])
def test_nested_solvers_compute_what_python_computes(wrap, depth):
    function = nested(wrap, depth)
    np.testing.assert_allclose(gc.compile(function)(1.3, 0.7), function(1.3, 0.7), rtol=1e-12)


def test_arrays_written_by_inner_loops_are_found_again():
    def table(x):
        out = np.zeros((9, 9, 9))
        for i in range(9):
            for j in range(9):
                for k in range(9):
                    out[i, j, k] = x[i] * x[j] + np.sin(x[k])
        return out

    x = np.linspace(0.0, 1.0, 9)
    np.testing.assert_allclose(gc.compile(table)(x), table(x), rtol=1e-15)
    assert rounds(table, x) == 2 + 3 + 4  # each level searches once, and proves what is inside


def test_what_a_loop_carried_before_may_be_wrong_for_it():
    """The same types, and a constant that only one of the calls needs to know."""

    def grown(x, parts, is_long):
        total = x
        for _ in range(30):
            if is_long:
                parts[0] = parts[0] + x
            total = total + np.ones(3) * len(parts) + parts[0]
        return total

    def both(x):
        return grown(x, [x], True) + grown(x, [x], False)

    x = np.arange(3.0)
    np.testing.assert_allclose(gc.compile(both)(x), both(x))


def test_a_failed_guess_leaves_the_loop_as_it_was():
    """After the first call carries the bool, the second one needs to know it."""

    def counted(x, known):
        done = False
        for _ in range(20):
            x = x * 1.01
            if known:
                x = x + np.zeros(3 if not done else 1)
            elif x.sum() > 4.0:
                done = True
        return x, done

    def both(x):
        return counted(x, False), counted(x, True)

    x = np.arange(3.0)
    (first, was_done), (second, is_done) = gc.compile(both)(x)
    (first_, was_done_), (second_, is_done_) = both(x)
    np.testing.assert_allclose(first, first_)
    np.testing.assert_allclose(second, second_)
    assert (was_done, is_done) == (was_done_, is_done_)


def test_shapes_name_types_and_weakness():
    def seen(x):
        starts = {"n": loop_values.Start.of(0), "x": loop_values.Start.of(x)}
        rows.append(loop_memory.shapes_of(starts))
        return x

    rows: list = []
    gc.trace(seen, np.ones(3, np.float32))
    n, array = rows[0]
    assert (n[0], str(n[2][0][0]), n[2][0][1]) == ("n", "i64[]", True)
    assert (array[0], str(array[2][0][0]), array[2][0][1]) == ("x", "f32[3]", False)
