"""vjp, jvp, jacobian, hessian, hvp: against finite differences, on trees, nested, and wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import errors
from graphc.ir import all_eqns

X = np.array([0.3, -1.2, 2.5])
V = np.array([1.0, 0.5, -2.0])


def differences(fn: Any, x: np.ndarray) -> np.ndarray:
    """The Jacobian, column by column."""
    columns = []
    for i in range(x.size):
        step = np.zeros_like(x).reshape(-1)
        step[i] = 1e-6
        step = step.reshape(x.shape)
        columns.append((np.asarray(fn(x + step)) - np.asarray(fn(x - step))) / 2e-6)
    return np.stack(columns, axis=-1).reshape(*np.shape(fn(x)), *x.shape)


def wave(x: Any) -> Any:
    return np.sin(x) * np.sum(x * x)


def narrow(x: Any) -> Any:
    return np.stack([np.sum(x**3), x[0] * x[1]])


def wide(x: Any) -> Any:
    return np.concatenate([x, np.exp(x), x[::-1] * x])


def matrix(x: Any) -> Any:
    return np.outer(x, np.tanh(x))


def branching(x: Any) -> Any:
    if x[0] > 0:
        return x * x[1]
    return np.cos(x)


FUNCTIONS = [wave, narrow, wide, matrix, branching, lambda x: np.sum(np.exp(x))]

# ---- products ------------------------------------------------------------------------------------


@pytest.mark.parametrize("fn", FUNCTIONS)
def test_jvp_and_vjp_multiply_with_the_jacobian(fn: Any) -> None:
    expected = differences(fn, X)
    value, tangent = gc.jvp(fn, (X,), (V,))
    np.testing.assert_allclose(value, fn(X), rtol=1e-12)
    np.testing.assert_allclose(tangent, expected @ V, rtol=1e-6, atol=1e-6)
    out, pullback = gc.vjp(fn, X)
    np.testing.assert_allclose(out, fn(X), rtol=1e-12)
    cotangent = np.cos(np.arange(np.size(out), dtype=float)).reshape(np.shape(out))
    (pulled,) = pullback(cotangent)
    flat = cotangent.reshape(-1) @ expected.reshape(-1, X.size)
    np.testing.assert_allclose(pulled, flat, rtol=1e-6, atol=1e-6)


def test_trees() -> None:
    def affine(params: Any, x: Any) -> Any:
        return {"y": params["w"] @ x + params["b"], "n": np.sum(x)}

    params = {"w": np.ones((2, 3)), "b": np.zeros(2)}
    _, pullback = gc.vjp(affine, params, X)
    by_params, by_x = pullback({"y": np.array([1.0, 2.0]), "n": 1.0})
    np.testing.assert_allclose(by_params["w"], np.outer([1.0, 2.0], X))
    np.testing.assert_allclose(by_params["b"], [1.0, 2.0])
    np.testing.assert_allclose(by_x, [4.0, 4.0, 4.0])
    tangents = ({"w": np.zeros((2, 3)), "b": np.ones(2)}, V)
    _, moved = gc.jvp(affine, (params, X), tangents)
    np.testing.assert_allclose(moved["y"], np.sum(V) + np.ones(2))
    np.testing.assert_allclose(moved["n"], np.sum(V))


def test_inside_of_a_compiled_function() -> None:
    @gc.compile
    def both(x: Any, v: Any) -> Any:
        y, pullback = gc.vjp(wave, x)
        return gc.jvp(wave, (x,), (v,))[1], pullback(y)[0]

    tangent, pulled = both(X, V)
    jacobian = differences(wave, X)
    np.testing.assert_allclose(tangent, jacobian @ V, rtol=1e-6)
    np.testing.assert_allclose(pulled, wave(X) @ jacobian, rtol=1e-6)


def test_the_forward_part_is_computed_once() -> None:
    def pulled(x: Any) -> Any:
        y, pullback = gc.vjp(np.exp, x)
        return pullback(y)

    graph = gc.compile(pulled).graph(X)
    assert [eqn.op.name for eqn in all_eqns(graph)].count("exp") == 1


def test_nested_forward_and_reverse() -> None:
    def slope(x: Any) -> Any:
        return gc.jvp(np.sin, (x,), (1.0,))[1]

    assert np.isclose(gc.jvp(slope, (0.3,), (1.0,))[1], -np.sin(0.3))
    assert np.isclose(gc.grad(slope)(0.3), -np.sin(0.3))
    assert np.isclose(gc.grad(gc.grad(gc.grad(np.sin)))(0.3), -np.cos(0.3))


def test_integer_results_have_no_tangent() -> None:
    value, tangent = gc.jvp(lambda x: (np.argmax(x), x), (X,), (V,))
    assert value[0] == 2 and tangent[0] == 0
    np.testing.assert_array_equal(tangent[1], V)


# ---- whole matrices ------------------------------------------------------------------------------


@pytest.mark.parametrize("fn", FUNCTIONS)
def test_jacobian(fn: Any) -> None:
    got = gc.jacobian(fn)(X)
    expected = differences(fn, X)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


def test_jacobian_of_trees_by_several_arguments() -> None:
    def pair(x: Any, y: Any) -> Any:
        return {"product": x * y, "sum": np.sum(x)}

    by_x, by_y = gc.jacobian(pair, (0, 1))(X, 2.0)["product"]
    np.testing.assert_allclose(by_x, 2.0 * np.eye(3))
    np.testing.assert_allclose(by_y, X)
    np.testing.assert_allclose(gc.jacobian(pair, "y")(X, y=2.0)["sum"], 0.0)


def test_jacobian_of_nothing() -> None:
    assert gc.jacobian(lambda x: x[:0])(X).shape == (0, 3)


def rosenbrock(x: Any) -> Any:
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def test_hessian_and_its_product() -> None:
    expected = differences(lambda x: gc.grad(rosenbrock)(x), X)
    hessian = gc.hessian(rosenbrock)(X)
    np.testing.assert_allclose(hessian, expected, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-12)
    np.testing.assert_allclose(gc.hvp(rosenbrock, (X,), (V,)), hessian @ V, rtol=1e-12)


def test_hessian_by_two_arguments() -> None:
    def product(x: Any, y: Any) -> Any:
        return np.sum(x * y**2)

    blocks = gc.hessian(product, (0, 1))(X, V)
    np.testing.assert_allclose(blocks[0][0], np.zeros((3, 3)))
    np.testing.assert_allclose(blocks[0][1], np.diag(2 * V))
    np.testing.assert_allclose(blocks[1][1], np.diag(2 * X))
    products = gc.hvp(product, (X, V), (V, X))
    np.testing.assert_allclose(products[0], 2 * V * X)


def test_gradients_by_name() -> None:
    def scaled(x: Any, scale: Any = 1.0) -> Any:
        return np.sum(x * scale)

    assert np.isclose(gc.grad(scaled, "scale")(X, scale=2.0), np.sum(X))
    by_x, by_scale = gc.grad(scaled, ("x", "scale"))(X, 2.0)
    np.testing.assert_array_equal(by_x, np.full(3, 2.0))
    assert np.isclose(by_scale, np.sum(X))


# ---- errors --------------------------------------------------------------------------------------


def in_place(x: Any) -> Any:
    x[0] = 1.0
    return x


WRONG = [
    (lambda: gc.jvp(np.sin, (X,), (V[:2],)), errors.GradientError, "pass one of the shape"),
    (lambda: gc.jvp(np.sin, (X,), (V, V)), errors.GradientError, "not the structure"),
    (lambda: gc.vjp(np.sin, X)[1]((V, V)), errors.GradientError, "2 leaves for 1"),
    (lambda: gc.vjp(np.abs, np.arange(3))[1](V), errors.GradientError, "convert it with .astype"),
    (lambda: gc.jacobian(np.argmax)(X), errors.GradientError, "leave the others out"),
    (lambda: gc.jvp(in_place, (X,), (V,)), errors.GradientError, "assign to a copy"),
    (lambda: gc.grad(rosenbrock, "z")(X), errors.ArgumentError, "the name of an argument"),
    (lambda: gc.grad(rosenbrock, 3)(X), errors.ArgumentError, "1 positional arguments"),
]


@pytest.mark.parametrize("call, error, message", WRONG)
def test_wrong_arguments(call: Any, error: type, message: str) -> None:
    with pytest.raises(error) as raised:
        call()
    assert message in str(raised.value)


def test_a_pullback_may_be_called_in_a_branch_and_in_a_loop() -> None:
    def energy(v: Any) -> Any:
        return np.sum(np.sin(v) * v)

    def chosen(x: Any) -> Any:
        y, pullback = gc.vjp(energy, x)
        if y > 0:
            return pullback(1.0)[0]
        return x

    np.testing.assert_allclose(gc.compile(chosen)(X), np.sin(X) + X * np.cos(X), rtol=1e-12)

    def drifting(x: Any, slopes: Any) -> Any:
        _, pullback = gc.vjp(np.sin, x)
        for _ in range(50):
            slopes = slopes + 0.01 * pullback(slopes)[0]
        return slopes

    expected = V * (1 + 0.01 * np.cos(X)) ** 50
    np.testing.assert_allclose(gc.compile(drifting)(X, V), expected, rtol=1e-12)


def test_a_jacobian_traces_its_function_once() -> None:
    calls = []

    def counted(x: Any) -> Any:
        calls.append(1)
        return narrow(x)

    gc.trace(gc.jacobian(counted), X)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("function", "wanted"), [(np.logaddexp, 0.25), (np.logaddexp2, 0.25 * np.log(2))]
)
def test_second_derivatives_where_both_operands_are_equal(function: Any, wanted: float) -> None:
    """Their maximum has a kink there, their sum of exponentials has none."""
    second = gc.compile(gc.grad(gc.grad(function)))
    assert second(0.4, 0.4) == pytest.approx(wanted, rel=1e-12)
    mixed = gc.compile(gc.grad(gc.grad(function), argnums=1))
    assert mixed(0.4, 0.4) == pytest.approx(-wanted, rel=1e-12)


@pytest.mark.parametrize("function", [np.linalg.norm, np.std, lambda x: np.linalg.norm(x[None])])
def test_a_root_of_squares_that_are_all_zero_has_the_gradient_zero(function: Any) -> None:
    x = np.zeros(3)
    np.testing.assert_array_equal(gc.compile(gc.grad(function))(x), x)
    assert gc.compile(lambda x, t: gc.jvp(function, (x,), (t,)))(x, np.ones(3)) == (0.0, 0.0)
    assert np.isnan(gc.compile(function)(np.array([np.nan, 0.0])))
