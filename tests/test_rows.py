"""Rows at a traced position are views: what is assigned to them is assigned to the array."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import errors

X = np.random.default_rng(3).uniform(0.1, 1.0, (4, 3))
CUBE = np.random.default_rng(4).uniform(0.1, 1.0, (3, 3, 3))


def one_element(x, i, value):
    x[i][1] += value
    return x * 2


def in_place(x, i, value):
    x[i] += value
    x[i, 1:] *= 2
    row = x[i]
    row[:] = row + 1
    return x, row


def swapped_without_a_copy(x, i, j):
    first = x[i]
    x[i] = x[j]
    x[j] = first
    return x


def swapped(x, i, j):
    first = x[i].copy()
    x[i] = x[j]
    x[j] = first
    return x


def read_after_the_array_has_changed(x, i):
    row = x[i]
    x[0] = 5.0
    return row.sum(), x


def read_after_a_branch(x, i):
    row = x[i]
    if row[1] > 0.5:
        x[0] = 5.0
        row *= 2
    return row.sum(), x


def in_a_loop(x, n):
    row = x[0]
    for i in range(n):
        row = x[i]
        if row[0] > 0.5:
            row += 1.0
    return x, row


def normalised(x, n):
    for i in range(n):
        row = x[i]
        total = row.sum()
        x[i] = row / total
    return x


def the_best(x, i):
    best = x[i]
    for other in range(4):
        if best[0] < x[other, 0]:
            best = x[other]
    return best


def rows_of_rows(x, i, j):
    x[i][j][1] = 3.0
    x[i][:, 0] -= 1
    x[i, :, j] += 2
    x[:, i, j] *= 3
    return x


def eliminated(x, n):
    x = x.copy()
    while n > 0:
        pivot = np.argmax(np.abs(x[:, n]))
        row = x[pivot].copy()
        x[pivot] = x[n]
        x[n] = row
        x[n] /= x[n, n]
        for m in range(x.shape[0]):
            if m != n:
                x[m] -= x[n] * x[m, n]
        n -= 1
    return x


PROGRAMS: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    (one_element, (X, 2, 3.0)),
    (one_element, (X, -1, 3.0)),
    (in_place, (X, -1, X[0])),
    (swapped_without_a_copy, (X, 1, 2)),
    (swapped_without_a_copy, (X, 1, 1)),
    (swapped, (X, 1, 2)),
    (read_after_the_array_has_changed, (X, 0)),
    (read_after_the_array_has_changed, (X, 2)),
    (read_after_a_branch, (X, 0)),
    (read_after_a_branch, (X, 1)),
    (in_a_loop, (X, 4)),
    (normalised, (X, 3)),
    (the_best, (X, 1)),
    (rows_of_rows, (CUBE, 1, 2)),
    (eliminated, (CUBE[0], 2)),
]


@pytest.mark.parametrize(("function", "args"), PROGRAMS)
def test_as_in_numpy(function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    plain, given = copy.deepcopy(args), copy.deepcopy(args)
    wanted, got = function(*plain), gc.compile(function)(*given)
    if not isinstance(wanted, tuple):
        wanted, got = (wanted,), (got,)
    for a, b in zip((*got, *given), (*wanted, *plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_gradients() -> None:
    def loss(x, i):
        y = x * x
        y[i][1] *= 3.0
        row = y[i]
        y[0] += row
        return np.sum(row) + np.sum(y)

    wanted = np.full(X.shape, 2.0) * X
    wanted[2] *= 3.0  # as itself, in y[0], and in the sum of y
    wanted[2, 1] *= 3.0
    np.testing.assert_allclose(gc.compile(gc.grad(loss))(X, 2), wanted, rtol=1e-12)


def test_an_addition_in_place_writes_once() -> None:
    def step(x, i, row):
        x[i] += row
        return x

    graph = gc.compile(step).graph(X.copy(), 1, X[0])
    assert [eqn.op.name for eqn in graph.eqns].count("put") == 1


def test_a_row_that_a_loop_left_is_not_read_after_the_array_has_changed() -> None:
    def step(x, n):
        row = x[0]
        for i in range(n):
            row = x[i]
        x[0] = 1.0
        return row

    with pytest.raises(errors.StaleValueError, match=r"\.copy\(\) it before"):
        gc.compile(step)(X.copy(), np.int64(2))


def test_an_index_outside_is_an_error_of_the_step() -> None:
    def step(x, i):
        x[i][0] = 1.0
        return x

    with pytest.raises(IndexError, match="index 4 is out of bounds for an axis of size 4"):
        gc.compile(step)(X.copy(), 4)
