"""Functions of `math` on traced numbers: what Python computes, as Python numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

import graphc as gc

X, Y = 3.7, -1.25


def arithmetic(x, y):
    return math.copysign(x, y), math.fmod(x, y), math.fabs(y), math.hypot(x, y), math.atan2(x, y)


def parts(x, y):
    return math.modf(x), math.modf(y), math.frexp(x), math.frexp(y), math.ldexp(y, 3)


def whole(x, y):
    return math.floor(y), math.ceil(y), math.trunc(y), math.floor(x)


def special(x, y):
    return math.gamma(x), math.lgamma(x), math.erf(y), math.erfc(y), math.log(x, 3.0)


def distance(x, y):
    return math.dist([x, 1.0, y], (y, x, 0.5)), math.dist((x,), (x,))


@pytest.mark.parametrize("function", [arithmetic, parts, whole, special, distance])
def test_the_values_are_those_of_python(function):
    got, expected = gc.compile(function)(X, Y), function(X, Y)
    for a, b in zip(flat(got), flat(expected)):
        assert a == pytest.approx(b, rel=1e-14)
        assert np.asarray(a).dtype == np.asarray(b).dtype


def flat(values):
    return [x for value in values for x in (value if isinstance(value, tuple) else (value,))]


@pytest.mark.parametrize(
    "point",
    [(1e200, 2.0, -1e200), (3e-200, 4e-200, 0.0), (4_000_000_000, 1, 7), (-2.5,), (1.0, -2.0, 2.0)],
)
def test_lengths_whose_squares_are_out_of_range(point):
    def lengths(*x):
        return math.hypot(*x), math.dist(x, [0] * len(x)), math.dist([0.0] * len(x), x)

    got, expected = gc.compile(lengths)(*point), lengths(*point)
    np.testing.assert_allclose([float(x) for x in got], expected, rtol=1e-15)


@pytest.mark.parametrize("function", [math.floor, math.ceil, math.trunc])
@pytest.mark.parametrize("number", [2**53 + 1, -(2**62) - 1, True, 2.5, -2.5])
def test_integers_keep_all_their_digits(function, number):
    got = gc.compile(lambda x: function(x))(number)
    assert got == function(number)
    assert np.asarray(got).dtype == np.int64


def test_points_of_different_dimensions():
    with pytest.raises(ValueError, match="the same number of dimensions"):
        gc.compile(lambda x: math.dist([x, x], [x]))(X)


def test_they_promote_nothing():
    def scaled(array, x):
        return array * math.gamma(x) + math.modf(x)[0] + math.dist([x], [1.0])

    array = np.array([1.0, 2.0], np.float32)
    assert gc.compile(scaled)(array, X).dtype == np.float32
    np.testing.assert_allclose(gc.compile(scaled)(array, X), scaled(array, X), rtol=1e-6)


def test_derivatives():
    def total(x, y):
        return math.lgamma(x) + math.dist([x, y], [0.0, 1.0]) + math.modf(x)[0] * math.ldexp(y, 2)

    h = 1e-6
    expected = (total(X + h, Y) - total(X - h, Y)) / (2 * h)
    assert gc.compile(gc.grad(total))(X, Y) == pytest.approx(expected, rel=1e-8)


def test_an_array_is_refused():
    with pytest.raises(gc.errors.ConcreteValueError, match="math functions take single numbers"):
        gc.compile(lambda x: math.gamma(x))(np.ones(3))
