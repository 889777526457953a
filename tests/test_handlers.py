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
        x = x[: x.astype(int)[0]]
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


def decided(x):
    try:
        if x[0] > 0.0:
            y = x * 2.0
        else:
            y = x
        while np.abs(y[0]) < 10.0:
            y = y * 2.0
    except ValueError:
        y = -x
    return y


def of_a_number(x):
    y = x[0]
    try:
        y[y > 1.0] = 0.0
    except TypeError:
        y = y * 10.0
    return y


@pytest.mark.parametrize("f", [decided, of_a_number])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_conditionals_and_loops_inside_of_try(f, sign):
    assert np.array_equal(gc.compile(f)(sign * X), f(sign * X))


def handled(x):
    try:
        if x[0] > 0.0:
            raise ValueError("positive")
    except ValueError:
        x = -x
    return x


def test_a_raise_that_a_handler_would_catch_is_refused():
    with pytest.raises(errors.UnsupportedSyntaxError, match="ValueError inside of a `try`"):
        gc.compile(handled)(X)


def limited(x):
    if x[0] > 5.0:
        raise NotImplementedError("too large")
    return x


def test_not_implemented_is_a_runtime_error():
    assert np.array_equal(gc.compile(limited)(X), X)
    with pytest.raises(RuntimeError, match="NotImplementedError: too large"):
        gc.compile(limited)(X * 6.0)


class Held(np.ndarray):
    def __new__(cls, x):
        return np.asarray(x).view(cls)


def test_a_class_derived_from_arrays_is_refused():
    with pytest.raises(errors.UnsupportedFunctionError, match="Held derives from"):
        gc.compile(lambda x: Held(x) + 1.0)(X)


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
