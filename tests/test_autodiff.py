"""Gradients: finite differences say whether a rule is right, the interpreter whether code is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from running import assert_same, assert_within, build, compiled, cond, interpret, op
from specs import SMOOTH_CASES, Case

from graphc import errors
from graphc.build import Builder, Value
from graphc.ir import FLOATS, OPS, Graph, Type
from graphc.ops.elementwise import cast, exp, greater, log, maximum, power, sin, square, where
from graphc.passes.autodiff import gradient
from graphc.verify import verify

SCALAR = Type("f64")
VECTOR = Type("f64", (5,))

STEP = 1e-5
"""Of the central differences: their error is about STEP**2, and roundings about 1e-16 / STEP."""


def total(x: Value) -> Value:
    return op("sum")(x, axes=tuple(range(len(x.shape))))


def weighted(graph: Graph, result: int, seed: int) -> Graph:
    """The scalar graph of a random weighted sum of one result."""
    builder = Builder(graph.name)
    args = [builder.param(param.type).atom for param in graph.params]
    out = builder.value(builder.inline(graph, args)[result])
    weights = np.random.default_rng(seed).normal(size=out.shape)
    return builder.finish([total(out * builder.constant(weights)).atom])


def float_params(graph: Graph) -> list[int]:
    return [i for i, param in enumerate(graph.params) if param.type.dtype in FLOATS]


def first_order(case: Case) -> Graph:
    """A scalar and its gradients."""
    scalar = weighted(case.graph(), 0, 1)
    return gradient(scalar, float_params(scalar))


def second_order(case: Case) -> Graph:
    """A weighted sum of the gradients, and its gradients."""
    first = first_order(case)
    builder = Builder(case.op)
    args = [builder.param(param.type).atom for param in first.params]
    _, *grads = map(builder.value, builder.inline(first, args))
    rng = np.random.default_rng(2)
    parts = [total(grad * builder.constant(rng.normal(size=grad.shape))) for grad in grads]
    scalar = builder.finish([sum(parts[1:], parts[0]).atom])
    return gradient(scalar, float_params(scalar))


def differences(graph: Graph, arrays: list[np.ndarray], directions: list[np.ndarray]) -> float:
    """The derivative of the first result along a direction, by central differences."""
    ends = [
        interpret(graph, [moved(a, s * d) for a, d in zip(arrays, directions, strict=True)])[0]
        for s in (STEP, -STEP)
    ]
    return float(ends[0] - ends[1]) / (2 * STEP)


def moved(array: np.ndarray, by: np.ndarray) -> np.ndarray:
    return array + by if array.dtype.kind == "f" else array


def still(arrays: list[np.ndarray]) -> list[np.ndarray]:
    return [np.zeros_like(array) for array in arrays]


def check_gradient(graph: Graph, arrays: list[np.ndarray], seed: int = 0) -> None:
    """The gradients that `graph` returns after its first result, along one random direction, and
    along each axis where there are few."""
    verify(graph)
    _, *grads = interpret(graph, arrays)
    where_floats = float_params(graph)
    rng = np.random.default_rng(seed)
    random = still(arrays)
    for i in where_floats:
        random[i] = np.asarray(rng.normal(size=arrays[i].shape))
    expected = sum(float(np.sum(g * random[i])) for g, i in zip(grads, where_floats, strict=True))
    assert differences(graph, arrays, random) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    for grad, i in zip(grads, where_floats, strict=True):
        for at in np.ndindex(grad.shape) if grad.size <= 6 else ():
            unit = still(arrays)
            unit[i][at] = 1.0
            found = differences(graph, arrays, unit)
            assert found == pytest.approx(float(grad[at]), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("case", SMOOTH_CASES, ids=str)
def test_first_derivative(case: Case) -> None:
    check_gradient(first_order(case), case.operands())


@pytest.mark.parametrize("case", SMOOTH_CASES, ids=str)
def test_second_derivative(case: Case) -> None:
    check_gradient(second_order(case), case.operands())


@pytest.mark.parametrize("order", [first_order, second_order])
def test_compiled_gradients_equal_the_interpreter(order: Callable[[Case], Graph]) -> None:
    """All in one module: of gradients, the rounding is that of a few operations."""
    builder = Builder("gradients")
    outs, arrays = [], []
    for case in SMOOTH_CASES:
        args = [builder.param(type).atom for type in case.ins]
        outs += builder.inline(order(case), args)
        arrays += case.operands()
    graph = builder.finish(outs)
    for got, expected in zip(compiled(graph)(*arrays), interpret(graph, arrays), strict=True):
        assert_within(got, expected, 1e-11 * (1 + np.abs(expected)))


# ---- particular points ---------------------------------------------------------------------------


def gradient_at(make: Callable[..., Value], *values: float) -> list[float]:
    graph = gradient(build([SCALAR] * len(values), make), range(len(values)))
    arrays = [np.float64(value) for value in values]
    _, *grads = interpret(graph, arrays)
    for a, b in zip(compiled(graph)(*arrays)[1:], grads, strict=True):
        assert_within(a, b, 1e-12 * np.abs(b))
    return [float(grad) for grad in grads]


def vector_gradient(make: Callable[[Value], Value], values: list[float]) -> list[float]:
    graph = gradient(build([Type("f64", (len(values),))], make), [0])
    return interpret(graph, [np.array(values)])[1].tolist()


def test_ties_share() -> None:
    assert gradient_at(maximum, 2.0, 2.0) == [0.5, 0.5]
    extremum = lambda x: op("max")(x, axes=(0,))
    assert vector_gradient(extremum, [3.0, 1.0, 3.0]) == [0.5, 0.0, 0.5]


def test_kinks_have_a_finite_gradient() -> None:
    assert gradient_at(lambda x: OPS["abs"](x), 0.0) == [0.0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [([2.0, 3.0, 4.0], [12, 8, 6]), ([2.0, 0.0, 4.0], [0, 8, 0]), ([0.0, 0.0, 4.0], [0, 0, 0])],
)
def test_product_with_zeros(values: list[float], expected: list[float]) -> None:
    assert vector_gradient(lambda x: op("prod")(x, axes=(0,)), values) == expected


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [(0.0, 2.0, [0, 0]), (0.0, 1.0, [1, 0]), (0.0, 0.0, [0, 0]), (-2.0, 3.0, [12, np.nan])],
)
def test_powers_at_the_edge(x: float, y: float, expected: list[float]) -> None:
    np.testing.assert_allclose(gradient_at(power, x, y), expected)


def test_a_value_used_twice_gets_both_cotangents() -> None:
    assert gradient_at(lambda x: x * x * x, 2.0) == [12.0]


def test_values_without_a_path_have_gradient_zero() -> None:
    assert gradient_at(lambda x, y: sin(x) * 0.0 + 1.0, 1.0, 2.0)[1] == 0.0


def test_a_detour_through_integers_has_no_gradient() -> None:
    def make(x: Value) -> Value:
        return x * cast(cast(x, dtype="i64"), dtype="f64")

    assert gradient_at(make, 3.5) == [3.0]


def test_a_cast_to_f32_keeps_the_gradient() -> None:
    graph = gradient(build([Type("f32")], lambda x: square(cast(x, dtype="f64"))), [0])
    assert graph.outs[1].type == Type("f32")
    assert_same(interpret(graph, [np.float32(3)])[1], np.array(6, np.float32))


def test_updates_and_other_results_stay() -> None:
    builder = Builder("f")
    w = builder.param(SCALAR)
    graph = builder.finish([square(w).atom, (w * 0.5).atom], [(0, 1)])
    after = gradient(graph, [0])
    assert (after.updates, len(after.outs)) == (((0, 1),), 3)


def test_one_parameter_asked_for_twice() -> None:
    graph = gradient(build([SCALAR], square), [0, 0])
    assert [float(x) for x in interpret(graph, [np.float64(3)])] == [9, 6, 6]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x, n: x, "the gradient needs a floating-point scalar, main returns f64[5];"),
        (lambda x, n: n, "the gradient needs a floating-point scalar, main returns i64[];"),
        (lambda x, n: total(x), "argument 1 of main is i64[]: gradients exist for floating"),
    ],
)
def test_what_has_no_gradient(make: Callable[..., Value], message: str) -> None:
    with pytest.raises(errors.GradientError) as caught:
        gradient(build([VECTOR, Type("i64")], make), [0, 1])
    assert str(caught.value).startswith(message)


# ---- conditionals --------------------------------------------------------------------------------


def choose(x: Value, y: Value) -> Value:
    """x*y*y where the sum of x is positive, else sin(x) + y."""
    chosen = cond(greater(total(x), 0.0), [x, y], lambda a, b: a * b * b, lambda a, b: sin(a) + b)
    return total(exp(chosen * 0.1))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_gradient_of_a_conditional(sign: float) -> None:
    graph = gradient(build([VECTOR, VECTOR], choose), [0, 1])
    rng = np.random.default_rng(0)
    arrays = [sign * np.abs(rng.normal(size=5)), rng.normal(size=5)]
    check_gradient(graph, arrays)
    for got, expected in zip(compiled(graph)(*arrays), interpret(graph, arrays), strict=True):
        assert_within(got, expected, 1e-13 * np.abs(expected))
    again = gradient(weighted(graph, 1, 3), [0, 1])
    check_gradient(again, arrays)


def test_the_backward_of_a_conditional_is_one_conditional() -> None:
    graph = gradient(build([VECTOR, VECTOR], choose), [0, 1])
    assert [eqn.op.name for eqn in graph.eqns].count("cond") == 2


@pytest.mark.parametrize("value", [1.0, -1.0, 3.0])
def test_nested_conditionals(value: float) -> None:
    def make(x: Value) -> Value:
        def inner(a: Value) -> Value:
            return cond(greater(a, 2.0), [a], lambda b: b * b, lambda b: b * 5.0)

        return cond(greater(x, 0.0), [x], inner, lambda a: a * a * a)

    expected = {1.0: 5.0, -1.0: 3.0, 3.0: 6.0}[value]
    assert gradient_at(make, value) == [expected]


def poison(x: Value) -> Value:
    """Fails if it runs: a check that never holds, and an integer division by zero."""
    builder = x.builder
    never = builder.literal(False, Type("bool"))
    zero = builder.literal(0, Type("i64"))
    op("check")(never, zero, error="IndexError", message="poison")
    divided = op("floor_divide")(cast(x, dtype="i64"), zero)
    return x * cast(divided, dtype="f64") * log(x * 0.0)


@pytest.mark.parametrize("taken", ["then", "else"])
def test_the_untaken_branch_runs_neither_forward_nor_backward(taken: str) -> None:
    branches = [square, poison] if taken == "then" else [poison, square]
    value = 3.0 if taken == "then" else -3.0
    graph = gradient(build([SCALAR], lambda x: cond(greater(x, 0.0), [x], *branches)), [0])
    for run in (compiled(graph), lambda *arrays: interpret(graph, arrays)):
        assert [float(out) for out in run(np.float64(value))] == [9.0, 2 * value]
        with pytest.raises(errors.IndexOutOfRangeError, match="poison"):
            run(np.float64(-value))


def test_the_gradient_of_where_keeps_the_sides_apart() -> None:
    def make(x: Value) -> Value:
        return total(where(greater(x, 0.0), x * 3.0, x * x))

    assert vector_gradient(make, [2.0, -1.0, 0.0]) == [3.0, -2.0, 0.0]
