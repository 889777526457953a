"""Python numbers of traced values."""

import numpy as np
import pytest

import graphc as gc
from graphc import errors

X = np.array([2.75, -3.5, 7.0])


def position(x):
    return x[int(x[0]) - 2] * 2.0


def counted(x):
    total = 0.0
    for k in range(int(x[0])):
        total += float(k) * x[2]
    return total


@pytest.mark.parametrize(
    "f",
    [
        position,
        counted,
        lambda x: int(x[1]) // 2,
        lambda x: int(x[1] > 0.0) + 1,
        lambda x: float(x[1]) * np.float32(2.0),
        lambda x: np.ones(3, np.float32) * float(x[0]),
        lambda x: float(np.reshape(x[:1], ())),
        lambda x: x.item(1) + x.reshape(3, 1).item(2, 0) + x.reshape(3, 1).item(0),
        lambda x: x[:1].item() * np.ones(2, np.float32),
        lambda x: np.ndarray.item(x, 2),
        lambda x: [v * 2.0 for v in x.tolist()],
        lambda x: x.reshape(3, 1).tolist()[1],
        lambda x: (x > 0.0).tolist(),
        lambda x: np.roll(x, int(x[0])),
        lambda x: np.roll(np.stack([x, -x]), np.argmax(x), axis=1),
    ],
)
def test_values(f):
    expected, got = f(X.copy()), gc.compile(f)(X.copy())
    for a, b in zip(np.atleast_1d(expected), np.atleast_1d(got), strict=True):
        assert np.array_equal(a, b) and np.asarray(a).dtype == np.asarray(b).dtype


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1e19])
def test_int_of_no_integer_fails_as_in_python(bad):
    with pytest.raises(errors.CheckFailedError, match=r"int\(\) of a number"):
        gc.compile(lambda x: int(x[0]) + 1)(np.array([bad]))


def test_a_python_argument_stays_a_number():
    def f(x, n):
        return [x] * int(n / 2), np.zeros(int(n)) + x

    assert len(gc.compile(f)(1.0, 4)[0]) == 2
    assert gc.compile(f)(1.0, 4)[1].shape == (4,)


def test_the_gradient_goes_through_float():
    assert gc.grad(lambda x: float(x[0]) * x[1] ** 2)(X)[1] == 2.0 * X[0] * X[1]


@pytest.mark.parametrize(
    "f, error, message",
    [
        (lambda x: float(x), TypeError, "length-1 arrays"),
        (lambda x: int(x * 1j), TypeError, "not 'complex'"),
        (lambda x: x.item(), ValueError, "array of size 1"),
        (lambda x: np.resize(x, 1001).tolist(), errors.ConcreteValueError, "1001 numbers"),
    ],
)
def test_refusals(f, error, message):
    with pytest.raises(error, match=message):
        gc.compile(f)(X)


def test_bool_of_a_traced_number_is_a_traced_bool():
    def asked(n, x):
        found = bool(n)
        return found, bool(x.sum() > 1.0), x if bool(x[0]) else -x, bool([x]), bool([])

    for n, x in ((0, np.array([0.0, 3.0])), (2, np.array([1.0, -3.0]))):
        for got, expected in zip(gc.compile(asked)(n, x), asked(n, x)):
            np.testing.assert_array_equal(got, expected)
            assert np.asarray(got).dtype == np.asarray(expected).dtype


def test_bool_of_an_array_is_ambiguous():
    with pytest.raises(ValueError, match="ambiguous"):
        gc.compile(lambda x: bool(x))(np.ones(3))
