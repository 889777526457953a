"""Lists and tuples at traced positions."""

import numpy as np
import pytest

import graphc as gc
from graphc import errors

POWERS = [1.0, 10.0, 100.0, 1000.0]


def found(x, table):
    low, high = 0, len(table)
    while low < high:
        middle = (low + high) // 2
        if x >= table[middle]:
            low = middle + 1
        else:
            high = middle
    return low


@pytest.mark.parametrize(
    "f",
    [
        lambda i: POWERS[i] * 2.0,
        lambda i: (2, 3, 5, 7)[i] // 2,
        lambda i: POWERS[i - 4],
        lambda i: np.ones(2, np.float32) * POWERS[i],
        lambda i: [4, 5][i > 1],
        lambda i: [i * 1.0, 2.0, i + 0.5][i % 3],
        lambda i: [True, False, True, True][i] * 1,
        lambda i: [np.arange(3.0), np.ones(3), np.zeros(3)][i % 3] + 1.0,
    ],
)
@pytest.mark.parametrize("i", [0, 1, 3])
def test_read_at_a_traced_position(f, i):
    got, expected = gc.compile(lambda k: f(k[0]))(np.array([i])), f(i)
    assert np.array_equal(got, expected) and np.asarray(got).dtype == np.asarray(expected).dtype


@pytest.mark.parametrize("x", [0.5, 1.0, 50.0, 2000.0])
def test_binary_search_in_a_list(x):
    assert gc.compile(lambda x: found(x, POWERS))(x) == found(x, POWERS)


def test_outside_of_the_list():
    with pytest.raises(errors.IndexOutOfRangeError):
        gc.compile(lambda k: POWERS[k[0]])(np.array([4]))


def test_an_argument_still_chooses_among_objects():
    assert gc.compile(lambda x, n: [x, "text", None][n])(2.0, 0) == 2.0


@pytest.mark.parametrize(
    "f, error",
    [
        (lambda k: ["a", "b"][k[0]], errors.ConcreteValueError),
        (lambda k: [np.ones(2), 1.0][k[0]], errors.ConcreteValueError),
    ],
)
def test_refusals(f, error):
    with pytest.raises(error, match="integer value"):
        gc.compile(f)(np.array([1]))


def test_a_row_from_a_list_cannot_be_assigned_to():
    def f(k, x):
        row = [x, x + 1.0][k[0]]
        row[0] = 5.0
        return x

    with pytest.raises(errors.ReadOnlyError):
        gc.compile(f)(np.array([1]), np.ones(2))


@pytest.mark.parametrize("n", [0, 1])
def test_an_int_argument_is_the_key_of_a_dict(n):
    assert gc.compile(lambda x, n: x * {0: 2.0, 1: 3.0}[n])(2.0, n) == 2.0 * (2.0 + n)


def test_a_key_that_depends_on_data_is_refused():
    with pytest.raises(errors.ConcreteValueError, match="key of a dict"):
        gc.compile(lambda k: {0: 2.0, 1: 3.0}[k[0]])(np.array([1]))
