"""Functions from outside: values, order and number of calls, gradients, errors."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numba
import numpy as np
import pytest

import graphc as gc
from graphc import errors
from graphc.ir import all_eqns
from graphc.runtime.shares import ALWAYS
from graphc.runtime.step import Step

X = np.array([0.3, -1.2, 2.5])

# ---- call ----------------------------------------------------------------------------------------


@numba.njit
def spread(x: Any) -> Any:
    return x.max() - x.min()


@numba.njit
def scaled(x: Any, factor: Any) -> Any:
    return x * factor, np.sum(x)


@numba.njit
def refuse_negative(x: Any) -> Any:
    if x < 0:
        raise ValueError("negative")
    return math.sqrt(x)


def test_a_numba_function_of_arrays() -> None:
    def model(x: Any) -> Any:
        return x / gc.call(spread, gc.Spec((), "f64"), x)

    np.testing.assert_allclose(gc.compile(model)(X), X / 3.7)
    np.testing.assert_allclose(model(X), X / 3.7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64])
def test_several_operands_and_results(dtype: Any) -> None:
    def model(x: Any, factor: Any) -> Any:
        return gc.call(scaled, (x, x[0]), x, factor)

    x = np.arange(6).astype(dtype)
    compiled = gc.compile(model)
    for factor in (dtype(2), dtype(3)):
        product, total = compiled(x, factor)
        np.testing.assert_array_equal(product, x * factor)
        assert product.dtype == dtype and total == 15


def test_operands_that_are_views_are_handed_over_in_row_major_order() -> None:
    @numba.njit
    def first_row(x: Any) -> Any:
        return x[0].copy()

    x = np.arange(6.0).reshape(2, 3)
    out = gc.compile(lambda x: gc.call(first_row, gc.Spec((2,), "f64"), x.T))(x)
    np.testing.assert_array_equal(out, [0.0, 3.0])


def test_the_graph_names_the_function_and_can_be_read_back() -> None:
    graph = gc.trace(lambda x: gc.call(spread, gc.Spec((), "f64"), x, pure=True), X)
    assert "pure_call(" in str(graph) and str(gc.parse(str(graph))) == str(graph)
    np.testing.assert_allclose(gc.evaluate(graph, X)[0], 3.7)
    with pytest.raises(errors.ExternalError, match="no function 'other' is known"):
        text = str(graph).replace(graph.eqns[0].attrs["function"], "other")
        gc.evaluate(gc.parse(text), X)


class Counter:
    """A C function that counts its calls, and gives twice its operand."""

    def __init__(self) -> None:
        self.seen: list[float] = []
        pointer = ctypes.POINTER(ctypes.c_double)
        self.function = ctypes.CFUNCTYPE(None, pointer, pointer)(self._run)

    def _run(self, operand: Any, result: Any) -> None:
        self.seen.append(operand[0])
        result[0] = 2.0 * operand[0]


def test_only_the_taken_branch_calls() -> None:
    counter = Counter()

    def model(x: Any) -> Any:
        if x > 0:
            y = gc.call(counter.function, 0.0, x)
        else:
            y = x
        return y + 1.0

    compiled = gc.compile(model)
    assert [compiled(v) for v in (3.0, -3.0, 4.0)] == [7.0, -2.0, 9.0]
    assert counter.seen == [3.0, 4.0]


def test_an_effect_happens_in_order_also_where_nobody_reads_its_result() -> None:
    counter = Counter()

    def model(x: Any) -> Any:
        gc.call(counter.function, 0.0, x)
        gc.call(counter.function, 0.0, x)
        gc.call(counter.function, 0.0, x * 2.0)
        return x

    assert gc.compile(model)(1.5) == 1.5
    assert counter.seen == [1.5, 1.5, 3.0]


def test_a_pure_call_is_made_once_and_only_if_it_is_needed() -> None:
    counter = Counter()

    def model(x: Any) -> Any:
        gc.call(counter.function, 0.0, x + 1.0, pure=True)
        return gc.call(counter.function, 0.0, x, pure=True) * gc.call(
            counter.function, 0.0, x, pure=True
        )

    assert gc.compile(model)(2.0) == 16.0
    assert counter.seen == [2.0]


def test_addresses_and_cfuncs() -> None:
    pointer = numba.types.CPointer(numba.float64)

    @numba.cfunc(numba.void(pointer, pointer))
    def halve(operand: Any, result: Any) -> None:
        result[0] = operand[0] / 2

    for function in (halve, halve.address):
        assert gc.compile(lambda x, f=function: gc.call(f, 0.0, x))(3.0) == 1.5
        assert gc.call(function, 0.0, 5.0) == 2.5


def test_an_exception_in_a_numba_function_is_an_error_with_the_line() -> None:
    def model(x: Any) -> Any:
        return gc.call(refuse_negative, 0.0, x)

    compiled = gc.compile(model)
    assert compiled(4.0) == 2.0
    with pytest.raises(errors.ExternalError, match=r"test_external.py:\d+: .*refuse_negative"):
        compiled(-4.0)
    assert compiled(9.0) == 3.0


WRONG = [
    (lambda: gc.call(len, 0.0, X), "has no address"),
    (lambda: gc.call(spread, "f64", X), "described by a Spec"),
    (lambda: gc.call(spread, (), X), "described by a Spec"),
]


@pytest.mark.parametrize("call, message", WRONG)
def test_wrong_calls(call: Any, message: str) -> None:
    with pytest.raises(errors.GraphcError) as raised:
        call()
    assert message in str(raised.value)
    with pytest.raises(errors.GraphcError) as raised:
        gc.compile(lambda x: call())(X)
    assert message in str(raised.value)


def test_what_numba_cannot_compile_is_an_error() -> None:
    @numba.njit
    def unknown(x: Any) -> Any:
        return x.no_such_attribute

    with pytest.raises(errors.ExternalError, match="numba cannot compile unknown for"):
        gc.compile(lambda x: gc.call(unknown, x, x))(X)


# ---- elementwise ---------------------------------------------------------------------------------


@gc.elementwise(derivative=lambda x: np.where(x > 0.0, 1.0, 0.1))
def leaky(x: Any) -> Any:
    if x > 0.0:
        return x
    return 0.1 * x


def steps_to_one(x: Any) -> Any:
    """Has a loop of its own."""
    n = 0
    while x > 1.0:
        x = math.sqrt(x) - 0.1
        n += 1
    return n


@gc.elementwise(derivative=lambda x, y: (y * np.cos(x * y), x * np.cos(x * y)))
def wave(x: Any, y: Any) -> Any:
    return math.sin(x * y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (3,), (5, 17), (0, 2)])
def test_elementwise_values(dtype: Any, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    expected = np.where(x > 0, x, dtype(0.1) * x)
    for function in (leaky, gc.compile(leaky)):
        y = function(x)
        assert y.dtype == dtype
        np.testing.assert_allclose(y, expected, rtol=1e-6)


def test_it_is_fused_with_what_is_around_it() -> None:
    compiled = gc.compile(lambda x: np.exp(leaky(x * 2.0)) + 1.0)
    assert len(compiled.explain(X).kernels) == 1
    np.testing.assert_allclose(compiled(X), np.exp(leaky(X * 2.0)) + 1.0)


def test_loops_integers_and_broadcasting() -> None:
    steps = gc.elementwise(steps_to_one)
    x = np.array([0.5, 2.0, 50.0, 1e6])
    got = gc.compile(steps)(x)
    assert got.dtype == np.int64 and got.tolist() == [steps_to_one(v) for v in x]
    table = gc.compile(wave)(X[:, None], np.arange(4.0))
    np.testing.assert_allclose(table, np.sin(X[:, None] * np.arange(4.0)))


def test_gradients_by_the_given_derivative() -> None:
    got = gc.grad(lambda x: np.sum(leaky(x) * x))(X)
    slope = np.where(X > 0, 1.0, 0.1)
    np.testing.assert_allclose(got, 2 * slope * X)
    by_x, by_y = gc.grad(lambda x, y: np.sum(wave(x, y)), (0, 1))(X, 2.0)
    np.testing.assert_allclose(by_x, 2.0 * np.cos(2.0 * X))
    np.testing.assert_allclose(by_y, np.sum(X * np.cos(2.0 * X)))


def test_a_derivative_by_numba() -> None:
    cubed = gc.elementwise(lambda x: x**3, derivative=gc.elementwise(lambda x: 3 * x**2))
    np.testing.assert_allclose(gc.grad(lambda x: np.sum(cubed(x)))(X), 3 * X**2)


def test_under_vmap() -> None:
    np.testing.assert_allclose(gc.vmap(leaky)(np.stack([X, -X])), leaky(np.stack([X, -X])))


def test_no_derivative_is_an_error() -> None:
    steps = gc.elementwise(steps_to_one)
    plain = gc.elementwise(lambda x: x * 2.0)
    assert gc.grad(lambda x: np.sum(steps(x) * x))(X).tolist() == steps(X).tolist()
    with pytest.raises(errors.GradientError, match="has no derivative"):
        gc.grad(lambda x: np.sum(plain(x)))(X)


ROW_BY_ROW = gc.elementwise(lambda x: x * 2.0, derivative=lambda x: np.stack([x, x])[0])
TWO_FOR_ONE = gc.elementwise(lambda x: x * 2.0, derivative=lambda x: (x, x))


@pytest.mark.parametrize(
    "function, message",
    [(ROW_BY_ROW, "each element by itself"), (TWO_FOR_ONE, "one number of the dtype f64")],
)
def test_derivatives_of_another_kind_are_refused(function: Any, message: str) -> None:
    with pytest.raises(errors.GradientError, match=message):
        gc.grad(lambda x: np.sum(function(x)))(X)


def test_what_numba_cannot_compile_as_numbers_is_an_error() -> None:
    odd = gc.elementwise(lambda x: x.no_such_attribute)
    with pytest.raises(errors.ExternalError, match="numba cannot compile <lambda>"):
        gc.compile(odd)(X)
    text = gc.elementwise(lambda x: "text")
    with pytest.raises(errors.ExternalError, match="not one number"):
        gc.compile(text)(X)
    with pytest.raises(errors.ArgumentError, match="takes a function, not int"):
        gc.elementwise(3)


def test_equations() -> None:
    graph = gc.trace(lambda x: leaky(x), X)
    assert [eqn.op.name for eqn in all_eqns(graph)] == ["scalar_call"]
    assert str(gc.parse(str(graph))) == str(graph)
    np.testing.assert_allclose(gc.evaluate(graph, X)[0], leaky(X))


# ---- several threads -----------------------------------------------------------------------------


def test_a_step_of_several_threads_calls_once_and_all_hear_of_a_failure() -> None:
    def model(x: Any) -> Any:
        y = np.exp(x)
        total = np.sum(y)
        return y * gc.call(refuse_negative, 0.0, total - 10.0)

    graph = gc.compile(model).graph(gc.Spec((64, 64), "f64"), stage="fused")
    step = Step(graph, threads=3, thresholds=ALWAYS)
    x = np.zeros((64, 64))
    for _ in range(20):
        np.testing.assert_allclose(step([x])[0], np.sqrt(4096.0 - 10.0))
        with pytest.raises(errors.ExternalError, match="refuse_negative"):
            step([x - 100.0])
