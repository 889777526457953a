"""disable_compile, and check_nan: which equation made a NaN, on which line, from what."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc import errors

X = np.array([1.0, 4.0, 9.0])

# ---- disable_compile -----------------------------------------------------------------------------


def test_a_disabled_function_is_plain_numpy():
    kinds = []

    @gc.compile
    def f(x):
        kinds.append(type(x).__name__)
        if x.sum() > 0:
            return np.sqrt(x)
        return x

    with gc.disable_compile():
        np.testing.assert_allclose(f(X), [1, 2, 3])
    f(X)
    assert kinds == ["ndarray", "Tracer"]


def test_gradients_and_updates_work_without_compiling():
    def loss(w):
        return np.sum(w * w) if w[0] > 0 else np.sum(w)

    @gc.compile
    def step(w):
        value, gradient = gc.value_and_grad(loss)(w)
        w -= 0.25 * gradient
        return value

    plain, compiled = X.copy(), X.copy()
    with gc.disable_compile():
        value = step(plain)
    assert value == pytest.approx(step(compiled))
    np.testing.assert_allclose(plain, compiled)


def test_disabling_ends_with_its_context():
    with pytest.raises(ZeroDivisionError), gc.disable_compile():
        gc.compile(lambda x: x / 0)(1)
    assert type(gc.compile(lambda x: x + 1)(1)) is np.int64


# ---- check_nan -----------------------------------------------------------------------------------


def normalized(x):
    y = x - x[0]
    z = np.log(y)
    return z / x.sum()


def in_a_branch(x):
    if x[0] > 0:
        x = np.sqrt(x - 2.0)
    return x


def in_a_loop(x):
    for _ in range(20):
        x = x * x
        x = x * 1000.0
    return x


def in_a_while(x):
    s = x[0]
    while s < 100:
        s = s / (x[1] - 4.0)
    return s


@pytest.mark.parametrize(
    ("function", "line", "message"),
    [
        (normalized, 2, r"log makes infinity at \[0\], from 0\.0"),
        (in_a_branch, 2, r"sqrt makes NaN at \[0\], from -1\.0"),
        (in_a_loop, 2, r"square makes infinity at \[0\], from 1\.\d+e\+189"),
        (in_a_while, 3, r"divide makes infinity, from 1\.0, 0\.0"),
    ],
)
def test_the_first_equation_that_made_one(function, line, message):
    checked = gc.compile(function, check_nan=True)
    for _ in range(2):
        with pytest.raises(errors.NonFiniteError, match=message) as raised:
            checked(X)
        first = function.__code__.co_firstlineno
        assert first + line <= raised.value.loc.line <= first + line + 1
    assert isinstance(raised.value, FloatingPointError)


def test_the_backward_pass_is_checked_too():
    def loss(x):
        return np.sum(np.sqrt(x))

    checked = gc.compile(gc.grad(loss), check_nan=True)
    np.testing.assert_allclose(checked(X), 0.5 / np.sqrt(X))
    with pytest.raises(errors.NonFiniteError, match="makes infinity") as raised:
        checked(np.array([0.0, 1.0, 4.0]))
    assert raised.value.loc.line == loss.__code__.co_firstlineno + 1


def test_updates_are_checked_and_arguments_are_named():
    def update(w, g):
        w -= g / (g - g)

    with pytest.raises(errors.NonFiniteError, match="divide makes infinity"):
        gc.compile(update, check_nan=True)(X.copy(), X)
    with pytest.raises(errors.NonFiniteError, match="argument x holds NaN already"):
        gc.compile(lambda x: x + 1, check_nan=True)(np.array([1.0, np.nan]))


def test_numbers_pass():
    f = gc.compile(lambda x: np.where(x > 2, np.log(x - 2), 0.0), check_nan=True)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(f(X), np.where(X > 2, np.log(X - 2), 0.0))
