"""Objects that the branches of a conditional make are merged field by field."""

import numpy as np
import pytest

import graphc as gc
from graphc import errors

VALUES = [[1.0, 2.0, 3.0], [-1.0, 2.0, 3.0], [6.0, -2.0, 1.0]]


class Pair:
    def __init__(self, a, b):
        self.a = a
        self.b = b

    def total(self):
        if self.a > 0.0:
            return self.a + self.b
        return self.b


class Framed(Pair):
    def __init__(self, a, b, inner):
        super().__init__(a, b)
        self.inner = inner


def assigned(x):
    if x[0] > 0.0:
        pair = Pair(x[0], 1.0)
    else:
        pair = Pair(x[1], x[2])
    pair.b = pair.b * 2.0
    return pair.total()


def made(x):
    if x[0] > 0.0:
        return [Pair(x[0], 1.0), 2.0]
    return [Pair(x[1], x[2]), 3.0]


def returned(x):
    pair, factor = made(x)
    return pair.total() * factor


def expression(x):
    return (Pair(x[0], x[1]) if x[2] > 2.0 else Pair(x[1], x[2])).total()


def nested(x):
    if x[0] > 0.0:
        frame = Framed(x[0], 1.0, Pair(x[1], 2.0))
    else:
        frame = Framed(x[1], x[2], Pair(3.0, x[0]))
    return frame.total() + frame.inner.total()


def attribute(x):
    outer = Pair(x, 1.0)
    if x[0] > 0.0:
        outer.b = Pair(x[0], x[1])
    else:
        outer.b = Pair(x[1], x[2])
    return outer.b.total()


def order_of_fields(x):
    if x[0] > 0.0:
        pair = Pair(x[0], x[1])
    else:
        pair = Pair.__new__(Pair)
        pair.b = x[2]
        pair.a = x[1]
    return pair.a - pair.b


@pytest.mark.parametrize("f", [assigned, returned, expression, nested, attribute, order_of_fields])
@pytest.mark.parametrize("x", VALUES)
def test_values(f, x):
    assert gc.compile(f)(np.array(x)) == f(np.array(x))


def test_the_gradient_goes_through_the_fields():
    gradient = gc.grad(returned)(np.array(VALUES[0]))
    assert np.array_equal(gradient, [2.0, 0.0, 0.0])


def held_twice(x):
    if x[0] > 0.0:
        p = q = Pair(x[0], x[1])
    else:
        p, q = Pair(x[1], x[2]), Pair(x[2], x[2])
    q.a = q.a * 10.0
    return p.a


def of_two_classes(x):
    p = Pair(x[0], 1.0) if x[0] > 0.0 else Framed(x[0], 1.0, 1.0)
    return p.a


def old_or_new(x):
    p = Pair(x[0], x[1])
    if x[0] > 0.0:
        p = Pair(x[1], x[2])
    return p.a


@pytest.mark.parametrize("f", [held_twice, of_two_classes, old_or_new])
def test_objects_whose_identity_matters_are_refused(f):
    with pytest.raises(errors.BranchMismatchError):
        gc.compile(f)(np.array(VALUES[0]))
