"""Gradients and explicit conditionals: alone, compiled, nested, on trees, through assignments."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import errors
from graphc.ir import all_eqns

Point = namedtuple("Point", "x y")
X = np.array([1.0, -2.0, 3.0])


def loss(x, y):
    if x.sum() > 0:
        return np.sum(x * x * y)
    return np.sum(x) * y


def test_argnums() -> None:
    value, gx = gc.value_and_grad(loss)(X, 3.0)
    assert value == 42.0
    np.testing.assert_array_equal(gx, 6 * X)
    assert gc.grad(loss, 1)(X, 3.0) == gc.grad(loss, -1)(X, 3.0) == 14.0
    gx, gy = gc.grad(loss, argnums=(0, 1))(X, 3.0)
    assert gy == 14.0 and isinstance(gc.grad(loss, argnums=(0,))(X, 3.0), tuple)
    gy, gx = gc.grad(loss, argnums=(1, 0))(-X, 3.0)
    np.testing.assert_array_equal(gx, [3, 3, 3])
    for bad in (2, (0, -3), "z", 1.0):
        with pytest.raises(errors.ArgumentError, match=r"argnums=.* 2 positional arguments"):
            gc.grad(loss, argnums=bad)(X, 3.0)


def test_in_a_compiled_function_and_nested() -> None:
    @gc.compile
    def step(x, rate):
        value, gradient = gc.value_and_grad(loss)(x, 2.0)
        x -= rate * gradient
        return value

    x = X.copy()
    assert step(x, 0.25) == 28.0
    np.testing.assert_array_equal(x, X - 0.25 * 4 * X)

    third = gc.grad(gc.grad(gc.grad(lambda x: x**4 if x > 0 else x**3)))
    assert third(2.0) == 48.0
    assert third(-2.0) == 6.0


def test_has_aux() -> None:
    def with_aux(x):
        y = x * 2
        return np.sum(y**2), {"y": y, "n": None}

    (value, aux), gradient = gc.value_and_grad(with_aux, has_aux=True)(X)
    assert value == 56.0 and aux["n"] is None
    np.testing.assert_array_equal(aux["y"], 2 * X)
    np.testing.assert_array_equal(gradient, 8 * X)
    gradient, aux = gc.grad(with_aux, has_aux=True)(X)
    np.testing.assert_array_equal(gradient, 8 * X)
    with pytest.raises(errors.GradientError, match=r"returns a pair \(value, aux\)"):
        gc.grad(lambda x: x.sum(), has_aux=True)(X)


def test_trees() -> None:
    def f(p, scale):
        return np.sum(p["w"] ** 2) * p["s"][0] + p["q"].x * scale

    p = {"w": X, "s": [2.0, None], "q": Point(1.0, 5.0)}
    g = gc.grad(f)(p, 3.0)
    np.testing.assert_array_equal(g["w"], 4 * X)
    assert g["s"] == [14.0, None]
    assert g["q"] == Point(3.0, 0.0)


def test_unused_arguments_and_constants_have_zero_gradients() -> None:
    gx, gy, gz = gc.grad(lambda x, y, z: 1.0, argnums=(0, 1, 2))(X, 2.0, np.float32(1))
    np.testing.assert_array_equal(gx, np.zeros(3))
    assert gy == gz == 0.0
    assert gz.dtype == np.float32
    assert gc.grad(lambda x, n: x * n)(2.0, 3) == 3.0


def test_closures_over_traced_values() -> None:
    @gc.compile
    def f(x, y):
        z = y * 2
        return gc.grad(lambda x: np.sum(x * z) if z > 0 else np.sum(x))(x)

    np.testing.assert_array_equal(f(X, 3.0), [6, 6, 6])
    np.testing.assert_array_equal(f(X, -3.0), [1, 1, 1])


def test_assignments_in_the_loss() -> None:
    def f(x, log):
        y = np.zeros(3)
        y[1:] = x[:2] ** 2
        x *= 3
        log[0] += 1
        return np.sum(y * x)

    x, log = X.copy(), np.zeros(1)
    value, gradient = gc.value_and_grad(f)(x, log)
    np.testing.assert_array_equal(x, 3 * X)
    assert log[0] == 1 and value == np.sum(np.array([0, 1, 4]) * 3 * X)
    np.testing.assert_array_equal(gradient, np.array([-12, -33, 12]))


def test_only_the_taken_branch_is_differentiated() -> None:
    def f(x, i):
        return x[i] ** 2 if i < 3 else np.sum(x)

    g = gc.compile(gc.grad(f))
    np.testing.assert_array_equal(g(X, np.array(1)), [0, -4, 0])
    np.testing.assert_array_equal(g(X, np.array(99)), [1, 1, 1])
    assert gc.grad(lambda x: np.sqrt(x) if x > 0 else 0.0)(0.0) == 0.0


@pytest.mark.parametrize(
    ("function", "args", "message"),
    [
        (
            lambda x: x * 2,
            (X,),
            r"a floating-point scalar, the function returns f64\[3\]; reduce it",
        ),
        (lambda x: (x > 0).sum(), (X,), r"returns i64\[\]"),
        (
            lambda x: (x.sum(), x),
            (X,),
            "a number, not a tuple; for further results use has_aux=True",
        ),
        (lambda x: None, (X,), "not a NoneType"),
        (lambda n: n * 2.0, (3,), r"floating-point arguments, not for i64\[\]; convert it"),
        (lambda n: n.sum() * 1.0, (np.arange(3),), r"not for i64\[3\]"),
    ],
)
def test_what_has_no_gradient(function: Any, args: Any, message: str) -> None:
    with pytest.raises(errors.GradientError, match=message):
        gc.grad(function)(*args)


def test_cond() -> None:
    @gc.compile
    def f(x, s):
        return gc.cond(s > 0, lambda x: {"r": np.exp(x)}, lambda x: {"r": x * s}, x)

    np.testing.assert_allclose(f(X, 1.0)["r"], np.exp(X), rtol=1e-15)
    np.testing.assert_array_equal(f(X, -2.0)["r"], X * -2)
    graph = f.graph(X, 1.0, stage="traced")
    assert sum(eqn.op.name == "cond" for eqn in all_eqns(graph)) == 1
    assert gc.cond(True, lambda: 1, lambda: 2) == 1
    assert gc.cond(0, lambda x: x, lambda x: -x, 5) == -5


def test_mismatched_cond() -> None:
    with pytest.raises(
        errors.BranchMismatchError, match=r"result is f64\[3\] in the then .* f64\[\]"
    ):
        gc.compile(lambda x: gc.cond(x[0] > 0, lambda: x, lambda: x.sum()))(X)
    with pytest.raises(errors.BranchMismatchError, match="make both the same"):
        gc.compile(lambda x: gc.cond(x[0] > 0, lambda: (x,), lambda: [x]))(X)
    with pytest.raises(errors.AmbiguousTruthError, match=r"np.any or np.all"):
        gc.compile(lambda x: gc.cond(x > 0, lambda: x, lambda: x))(X)


# ---- stop_gradient -------------------------------------------------------------------------------


def test_stop_gradient_is_a_constant_to_gradients() -> None:
    def loss(params: dict[str, Any], x: Any) -> Any:
        frozen = gc.stop_gradient({"w": params["w"], "scale": 2.0})
        return np.sum(params["w"] * frozen["w"] * x) * frozen["scale"]

    w, x = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    value, gradient = gc.value_and_grad(loss)({"w": w}, x)
    assert value == 2 * np.sum(w * w * x)
    np.testing.assert_array_equal(gradient["w"], 2 * w * x)
    assert loss({"w": w}, x) == value, "as plain NumPy"


def test_stop_gradient_holds_for_higher_orders_too() -> None:
    second = gc.grad(gc.grad(lambda x: x**2 * gc.stop_gradient(x**2)))
    assert second(3.0) == 2 * 9.0
