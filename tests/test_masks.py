"""Arrays of truth values made in the function: ordinary while that works, else traced."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc

R = np.random.default_rng(8)
G = R.uniform(0.1, 1.0, (5, 5))


def shortest(weights, start):
    """Dijkstra's algorithm: the nearest place that was not visited is visited next."""
    n = weights.shape[0]
    visited = np.zeros(n, dtype=bool)
    distance = np.full(n, np.inf)
    distance[start] = 0.0
    for _ in range(n):
        here = np.argmin(np.where(visited, np.inf, distance))
        visited[here] = True
        distance = np.minimum(distance, distance[here] + weights[here])
    return distance


def marked(x, i):
    mask = np.zeros(x.shape, dtype=bool)
    mask[i] = True
    mask[0] |= x[1] > 0.5
    return np.where(mask, x, 0.0), mask


def in_a_branch(x, limit):
    out = np.zeros(x.shape[0], bool)
    for i in range(x.shape[0]):
        if x[i, 0] > limit:
            out[i] = True
    return out


def in_a_loop(x, n):
    seen = np.zeros(8, bool)
    count = 0
    while n > 1 and not seen[n % 8]:
        seen[n % 8] = True
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        count += 1
    return count, seen


def rows(x):
    mask = np.ones((2, 3), dtype=bool)
    row = mask[1]
    row[:] = x[:3, 0] > 0.5
    return mask


def still_ordinary(x):
    mask = np.zeros(x.shape[0], bool)
    mask[1:3] = True
    chosen = x[mask]
    if mask[1]:
        mask[0] = True
    return chosen, x[mask].sum(), np.flatnonzero(mask)


def both(x, i):
    fixed = np.zeros(x.shape[0], bool)
    fixed[::2] = True
    moving = np.zeros(x.shape[0], bool)
    moving[i] = True
    return x[fixed] * 2, moving


def tall(x):
    eye = np.eye(5, dtype=bool)
    full = np.full((5, 5), True, dtype=bool)
    eye[1] = x[0] > 0.5
    full[2] &= x[1] > 0.5
    full &= x < 0.9
    return eye, full


PROGRAMS: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    (shortest, (G, 0)),
    (shortest, (G, 3)),
    (marked, (G[0], 3)),
    (in_a_branch, (G, 0.5)),
    (in_a_loop, (G, 7)),
    (rows, (G,)),
    (still_ordinary, (G,)),
    (both, (G, 2)),
    (tall, (G,)),
]


@pytest.mark.parametrize(("function", "args"), PROGRAMS)
def test_as_in_numpy(function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    plain, given = copy.deepcopy(args), copy.deepcopy(args)
    wanted, got = function(*plain), gc.compile(function)(*given)
    if not isinstance(wanted, tuple):
        wanted, got = (wanted,), (got,)
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)
        assert np.asarray(a).dtype == np.asarray(b).dtype


def test_gradients_through_a_search() -> None:
    total = gc.compile(gc.grad(lambda w: np.sum(shortest(w, 0))))(G)
    h = 1e-6
    step = R.standard_normal(G.shape)
    slope = (np.sum(shortest(G + h * step, 0)) - np.sum(shortest(G - h * step, 0))) / (2 * h)
    assert np.sum(total * step) == pytest.approx(slope, rel=1e-7)


def test_the_trace_starts_again_once_for_each_line() -> None:
    runs = []

    def f(x, i):
        runs.append(i)
        a = np.zeros(3, bool)
        b = np.zeros(3, bool)
        c = np.zeros(3, bool)
        a[i] = True
        b[i] = True
        c[0] = True
        return a, b, x[:3][c]

    step = gc.compile(f)
    for _ in range(2):
        got = step(G[0], 1)
    np.testing.assert_array_equal(got[0], [False, True, False])
    assert len(runs) == 3


def test_no_except_clause_of_the_program_stops_it() -> None:
    def f(x):
        mask = np.zeros(3, bool)
        try:
            mask[0] = x[0] > 0.5
        except Exception:  # noqa: BLE001 - a program's
            return mask, x
        return mask, x * 2

    for a, b in zip(gc.compile(f)(G[0]), f(G[0]), strict=True):
        np.testing.assert_array_equal(a, b)


TABLE = np.array([1.0, 2.0, 3.0])


def elements(x):
    q = np.array([1.0, 0.0, 0.0, 0.0])
    q[0] = x[0]
    q[1] = q[0] * 2.0
    return q


def scaled_in_place(x):
    q = np.arange(3.0)
    q *= x[0]
    return q


def in_a_loop(x):
    q = np.linspace(0.0, 1.0, 3)
    for _ in range(30):
        q[1] += x[0]
    return q


def in_a_branch(x):
    q = np.array([1.0, 2.0, 3.0])
    if x[0] > 0.0:
        q[0] = 5.0
    return q


def through_a_view(x):
    q = np.zeros_like(TABLE)
    r = q[1:]
    r[0] = x[1]
    return q


def of_integers(x):
    q = np.array([[1, 2], [3, 4]])
    q[0, 0] = x[0]
    return q


def a_shape(x):
    n = np.array([2, 3])
    return np.zeros(n) + x[0]


@pytest.mark.parametrize(
    "f",
    [elements, scaled_in_place, in_a_loop, in_a_branch, through_a_view, of_integers, a_shape],
)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_arrays_of_numbers_are_traced_where_they_are_assigned_to(f, sign):
    x = sign * np.array([1.5, 2.0, 3.0])
    expected, got = f(x), gc.compile(f)(x)
    assert np.array_equal(got, expected) and got.dtype == expected.dtype


def test_an_array_from_outside_is_not_assigned_to():
    def f(x):
        q = np.asarray(TABLE)
        q[0] = x[0]
        return q

    with pytest.raises(gc.errors.ConcreteValueError):
        gc.compile(f)(np.ones(3))
    assert TABLE[0] == 1.0
