"""What a traced value may not be asked, and what it answers in place of an array."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import errors

X = np.arange(3.0)


class Leak:
    """Where a traced value is kept past its end: what classes hold is not watched."""

    value: Any = None


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda x: x[0].__float__(),
            r"float\(\) of a traced value f64\[\] .* leave float\(\) out",
        ),
        (lambda x: x[0].__int__(), r"int\(\) of a traced value f64\[\] .* use .astype\(int\)"),
        (lambda x: complex(x[:2]), r"complex\(\) takes single numbers"),
        (lambda x: x[0].__bool__(), "call gc.cond"),
        (lambda x: np.zeros(x.astype(int)[0]), "Python int argument of its own"),
        (lambda x: ["a", "b", "c"][x.astype(int)[0]], "Python int argument of its own"),
        (lambda x: f"{x[0]:.2f}".upper(), "format the function's result"),
        (lambda x: f"{x[0]:.2f}", "format the function's result"),
        (lambda x: np.ma.array(x), "ordinary NumPy array"),
    ],
)
def test_questions_without_an_answer(function: Any, message: str) -> None:
    with pytest.raises(errors.ConcreteValueError, match=message) as raised:
        gc.compile(function)(X)
    assert "test_tracer.py:" in str(raised.value)


def test_the_repairs_work() -> None:
    def f(x, n):
        y = np.zeros(n)
        y[1] = np.take(X, x.astype(int), axis=0)[2]
        return y, np.array([x[0], 1.0])

    y, z = gc.compile(f)(X, 2)
    np.testing.assert_array_equal(y, [0, 2])
    np.testing.assert_array_equal(z, [0, 1])


def test_assignment_into_an_ordinary_array() -> None:
    table = np.zeros(3)

    def f(x):
        table[:] = x

    def g(x):
        table.__iadd__(x)
        return x

    for function in (f, g):
        with pytest.raises((errors.ConcreteValueError, errors.ReadOnlyError), match=r"np.zeros"):
            gc.compile(function)(X)
    assert not table.any()


def test_numbers_and_constants_cannot_be_assigned_to() -> None:
    def f(x):
        y = x.sum()
        y[...] = 1

    with pytest.raises(errors.ReadOnlyError, match=r"np.array\(x\)"):
        gc.compile(f)(X)

    def repaired(x):
        y = np.array(x.sum())
        y[...] = 1
        return y

    assert gc.compile(repaired)(X) == 1.0


def test_leaked_values() -> None:
    kept = []

    def f(x):
        kept.append(x * 2)
        return x

    gc.compile(f)(X)
    with pytest.raises(errors.LeakedValueError, match=r"test_tracer.py:\d+: .*return it"):
        kept[0] + 1

    def g(x):
        gc.cond(x[0] > 0, lambda x: setattr(Leak, "value", x * 2), lambda x: None, x)
        return Leak.value + 1

    with pytest.raises(errors.LeakedValueError, match="function or branch that made it has ended"):
        gc.compile(g)(X)

    def h(x):
        return x + kept[0]

    with pytest.raises(errors.LeakedValueError, match="return it from there"):
        gc.compile(h)(X)


def test_copies() -> None:
    def f(x):
        a, b = copy.copy(x), copy.deepcopy({"x": x})["x"]
        a += 1
        b *= 2
        return a, b, x

    x = X.copy()
    a, b, same = gc.compile(f)(x)
    np.testing.assert_array_equal(a, X + 1)
    np.testing.assert_array_equal(b, X * 2)
    assert same is x
    np.testing.assert_array_equal(x, X)


def test_repr_and_iteration() -> None:
    shown = []

    def f(x, s):
        shown.append((len(x), [r.shape for r in x], x.T.shape, x.dtype))
        with pytest.raises(TypeError, match="unsized"):
            len(s)
        with pytest.raises(TypeError, match="0-d"):
            iter(s)
        with pytest.raises(TypeError, match="unhashable"):
            hash(x)
        return x

    gc.trace(f, gc.Spec((2, 3), "f32"), 1.0)
    assert shown == [(2, [(3,), (3,)], (3, 2), np.float32)]
