"""`:=` in the tests of an `if` on data; names that a returning branch leaves out."""

import numpy as np
import pytest

import graphc as gc
from graphc import errors

VALUES = [[1.0, 2.0, 3.0], [-1.0, 2.0, 3.0], [6.0, -2.0, 1.0], [-6.0, 8.0, 1.0], [1.0, -1.7, 0.5]]


def chained(x):
    if x[0] > 0.0 and (n := x[1] * 2.0) > 0.0 and (m := n + x[2]) > 0.0:
        return n + m
    elif x[0] < -5.0 or (q := x[1]) < 0.0:
        return x[0]
    return q * 100.0


def either(x):
    if x[0] > 5.0 or (n := x[1] * 2.0) < 0.0:
        y = x[0] + 1.0
    else:
        y = n
    return y


def plain(x, k=3):
    if k > 2 and (n := k + 1) and n > 3:
        return x * n
    return x


def one_path_returns(x):
    if x[0] > 5.0:
        s = 1.0
        y = x * 1.0
    elif x[0] > 0.0:
        s = 2.0
        y = x * 2.0
    else:
        return x * 0.0
    return y * s


def returns_in_a_loop(x):
    for k in range(3):
        if x[k] > 2.0:
            y = x * 2.0
        elif x[k] < -1.5:
            return x * 7.0
        else:
            y = x
        x = y + 1.0
    return x


@pytest.mark.parametrize("f", [chained, either, plain, one_path_returns, returns_in_a_loop])
@pytest.mark.parametrize("x", VALUES)
def test_values(f, x):
    assert np.array_equal(gc.compile(f)(np.array(x)), f(np.array(x)))


def missing(x):
    if x[0] > 5.0:
        s = 1.0
    elif x[0] > 0.0:
        return x
    return x * s


def test_a_name_that_a_path_which_goes_on_lacks_is_missed():
    step = gc.compile(missing)
    assert np.array_equal(step(np.array(VALUES[2])), VALUES[2])
    with pytest.raises(errors.UnboundNameError, match="'s'"):
        step(np.array(VALUES[1]))
