"""Variables that only some branches assign: read where they have a value, missed where not."""

import numpy as np
import pytest

import graphc as gc
from graphc import errors

VALUES = [
    [1.0, 2.0, 3.0],
    [-1.0, 2.0, 3.0],
    [6.0, -2.0, 1.0],
    [-6.0, 8.0, 1.0],
    [1.0, -1.7, 0.5],
    [-2.0, -3.0, 1.0],
]


def read_under_the_same_condition(x):
    if x[0] > 0.0:
        m = x[1] * 2.0
    y = x.sum()
    if x[0] > 0.0:
        y = y + m
    return y


def a_chain_without_else(x):
    if x[0] > 5.0:
        a, b = 1.0, 2.0
    elif x[0] > 0.0:
        a, b = 3.0, 4.0
    elif x[0] < -5.0:
        a, b = 5.0, 6.0
    return a * x + b


def given_before_break(x):
    for k in range(3):
        if x[k] < 0.0:
            found = x[k] * 2.0
            break
    else:
        found = x[0]
    return found


def two_chances(x):
    if x[0] > 0.0:
        t = x * 2.0
    if x[1] > 0.0:
        t = x * 3.0
    return t


def assigned_into(x):
    if x[0] > 0.0:
        t = np.zeros(3)
        t[1] = x[2]
    x = x * 9.0
    if x[1] > 0.0:
        t[0] = 7.0
    return t


def nested(x):
    if x[0] > 0.0:
        if x[1] > 0.0:
            q = x * 1.0
    else:
        q = x * 4.0
    return q


def of_another_shape_and_unread(x):
    if x[0] > 0.0:
        t = x[:2] * 2.0
        x = x + t[0]
    else:
        t = x * 3.0
        x = x - t[1]
    return x


def assigned_in_a_loop(x):
    s = 0.0
    if x[0] > 0.0:
        w = x[1]
    for k in range(20):
        w = x[2] * k
        s = s + w
    return s + w


def carried_by_a_loop(x):
    if x[0] > 0.0:
        w = x[1]
    for k in range(20):
        w = w + x[2] * k
    return w


def a_truth_value(x):
    if x[0] > 0.0:
        flag = True
    elif x[0] < -5.0:
        flag = False
    return 1.0 if flag else 2.0


def a_tree(x):
    if x[0] > 0.0:
        p = (x[0], [x[1], 2.0])
    return p[1][0] + p[1][1]


def beside_raise(x):
    if x[0] > 0.0:
        t = x[1]
    elif x[1] > 0.0:
        raise ValueError("no")
    return t


def read_by_an_inner_function(x):
    def double():
        return t * 2.0

    if x[0] > 0.0:
        t = x[1]
    return double()


FUNCTIONS = [
    read_under_the_same_condition,
    a_chain_without_else,
    given_before_break,
    two_chances,
    assigned_into,
    nested,
    of_another_shape_and_unread,
    assigned_in_a_loop,
    carried_by_a_loop,
    a_truth_value,
    a_tree,
    beside_raise,
    read_by_an_inner_function,
]


@pytest.mark.parametrize("f", FUNCTIONS)
def test_what_python_does(f):
    step = gc.compile(f)
    for x in map(np.array, VALUES):
        try:
            expected = f(x.copy())
        except (NameError, ValueError) as error:
            kind = NameError if isinstance(error, NameError) else ValueError
            with pytest.raises(kind):
                step(x.copy())
        else:
            assert np.allclose(step(x.copy()), expected, rtol=1e-14)


def carried_after_a_loop(x):
    k = 0
    while k < x[0]:
        y = x[1] * k
        k = k + 1
    for j in range(40):
        y = y + x[2] * j
    return y


def test_a_loop_carries_what_only_another_loop_assigned():
    x = np.array([4.0, 2.0, 3.0])
    assert gc.compile(carried_after_a_loop)(x) == carried_after_a_loop(x)
    with pytest.raises(UnboundLocalError):
        gc.compile(carried_after_a_loop)(-x)


def test_the_gradient_goes_along_the_branch():
    gradient = gc.grad(lambda x: a_chain_without_else(x).sum())
    assert np.array_equal(gradient(np.array(VALUES[0])), [3.0, 3.0, 3.0])


def test_a_variable_under_another_name_in_a_branch_is_refused():
    def f(x):
        if x[0] > 0.0:
            t = x[1]
        if x[1] > 0.0:
            u = t
        else:
            u = x[2]
        return u

    with pytest.raises(errors.OneSidedNameError, match="'t'"):
        gc.compile(f)(np.array(VALUES[0]))
