"""A handler does not catch that something cannot be traced; a branch may raise any exception."""

import numpy as np
import pytest

import graphc as gc
from graphc import errors

X = np.array([1.0, 2.0, 2.0])


def uncounted(x):
    try:
        return np.unique(x).sum()
    except Exception:  # noqa: BLE001
        return x[0] * 0.0


def undecided(x):
    try:
        if x[0] > 0.0:
            x = x + 1.0
    except:  # noqa: E722
        x = x * 0.0
    return x


def unnamed(x):
    try:
        return x.flags.owndata
    except AttributeError:
        return x * 0.0


def hidden(x):
    try:
        x = np.ma.masked_array(x)
    except (TypeError, ValueError):
        x = x * 0.0
    return x


@pytest.mark.parametrize(
    "f, error",
    [
        (uncounted, errors.DataDependentShapeError),
        (undecided, errors.ConcreteValueError),
        (unnamed, errors.UnsupportedAttributeError),
        (hidden, errors.GraphcError),
    ],
)
def test_a_refusal_is_not_caught(f, error):
    with pytest.raises(error) as raised:
        gc.compile(f)(X.copy())
    assert raised.value.loc.file.endswith("test_handlers.py")


def of_one(x):
    try:
        return len(x[0])
    except TypeError:
        return 1


def of_a_frame(x):
    try:
        return x.to_numpy()
    except AttributeError:
        return x * 2.0


def of_shapes(x):
    try:
        return x + np.ones(2)
    except ValueError:
        return x * 3.0


def of_keys(x):
    try:
        return {"a": x}["b"]
    except KeyError as error:
        return x * len(error.args)


@pytest.mark.parametrize("f", [of_one, of_a_frame, of_shapes, of_keys])
def test_what_numpy_raises_too_is_caught(f):
    assert np.array_equal(gc.compile(f)(X), f(X))


class NotConverged(Exception):
    pass


def converged(x):
    if x[0] > 5.0:
        raise NotConverged(f"after {3} steps")
    return x * 2.0


def test_an_exception_of_the_users_own_in_a_branch():
    step = gc.compile(converged)
    assert np.array_equal(step(X), 2.0 * X)
    with pytest.raises(errors.RaisedError, match="NotConverged: after 3 steps"):
        step(X * 6.0)
