"""Stable forms: what formulas become, and values and gradients where the naive ones fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from pass_helpers import build, rewrites

import graphc as gc
from graphc.build import Value
from graphc.ir import all_eqns
from graphc.ops import elementwise as e
from graphc.ops import reduce, shape
from graphc.passes.cse import eliminate_common
from graphc.passes.dce import eliminate_dead
from graphc.passes.stabilize import CONCERNED, FORMULAS, stabilize

Function = Callable[..., Any]

# ---- the table -----------------------------------------------------------------------------------

FORMS: list[tuple[Function, Function]] = [
    (lambda x: e.log(e.exp(x) + 1.0), lambda x: e.softplus(x)),
    (lambda x: e.log(1.0 + e.exp(x)), lambda x: e.softplus(x)),
    (lambda x: e.log1p(e.exp(x)), lambda x: e.softplus(x)),
    (lambda x: 1.0 / (1.0 + e.exp(x)), lambda x: e.sigmoid(-x)),
    (lambda x: e.log(1.0 - e.exp(x) / (e.exp(x) + 1.0)), lambda x: -e.softplus(x)),
    (lambda x: e.log(x + 1.0), lambda x: e.log1p(x)),
    (lambda x: e.log(1.0 - x), lambda x: e.log1p(-x)),
    (lambda x: e.exp(x) - 1.0, lambda x: e.expm1(x)),
    (lambda x: 1.0 - e.exp(x), lambda x: -e.expm1(x)),
    (lambda x: 1.0 - e.cos(x), lambda x: e.square(e.sin(x * 0.5)) * 2.0),
    (lambda x: e.log(e.exp(x)), lambda x: x),
    (lambda x: e.sqrt(x * x + e.square(-x)), lambda x: e.hypot(x, -x)),
]


@pytest.mark.parametrize("before, after", FORMS)
@pytest.mark.parametrize("type", ["f32[3]", "f64[]"])
def test_formula(before: Function, after: Function, type: str) -> None:
    def change(graph: Any) -> Any:
        return stabilize(eliminate_common(graph))

    changed, expected = (eliminate_dead(change(build(form, type))) for form in (before, after))
    assert str(changed) == str(expected)


@pytest.mark.parametrize("formula", [left for left, _ in FORMULAS], ids=lambda term: term.op)
def test_every_formula_is_looked_for(formula: Any) -> None:
    def names(term: Any) -> set[str]:
        if not hasattr(term, "op"):
            return set()
        return {term.op}.union(*(names(part) for part in term.parts))

    spelling = {"multiply", "power", "negative"}  # of one and the same value
    assert names(formula) & CONCERNED or formula.op in spelling


def log_sum_exp(x: Value) -> Any:
    return e.log(reduce.sum(e.exp(x), axes=(1,)))


def test_a_sum_of_exponentials_is_shifted_once() -> None:
    once = stabilize(build(log_sum_exp, "f64[2,3]"))
    assert [eqn.op.name for eqn in all_eqns(once)].count("max") == 1
    assert str(eliminate_dead(stabilize(once))) == str(eliminate_dead(once))


def test_what_is_shifted_already_stays() -> None:
    def shifted(x: Value) -> Any:
        return log_sum_exp(x - reduce.spread(reduce.max(x, axes=(1,)), x, (1,)))

    rewrites(stabilize, shifted, shifted, "f64[2,3]")


def test_a_sum_over_other_axes_is_no_softmax() -> None:
    def other(x: Value) -> Any:
        total = reduce.sum(e.exp(x), axes=(0,))
        return e.log(e.exp(x) / shape.broadcast(total, shape=(3, 3), axes=(0,)))

    graph = eliminate_common(build(other, "f64[3,3]"))
    names = [eqn.op.name for eqn in all_eqns(stabilize(graph))]
    assert "subtract" not in names or names.count("divide") == 0


# ---- values and gradients at the hard points -----------------------------------------------------

m = mpmath
SCALAR: dict[str, tuple[Function, Function, list[float]]] = {
    "softplus": (
        lambda x: np.log(1 + np.exp(x)),
        lambda x: m.log1p(m.exp(x)),
        [-700.0, -80.0, -1.0, 0.0, 1.0, 80.0, 1000.0],
    ),
    "sigmoid": (
        lambda x: 1 / (1 + np.exp(-x)),
        lambda x: 1 / (1 + m.exp(-x)),
        [-700.0, -80.0, 0.0, 1.0, 80.0, 1000.0],
    ),
    "log sigmoid": (
        lambda x: np.log(1 / (1 + np.exp(-x))),
        lambda x: -m.log1p(m.exp(-x)),
        [-1000.0, -80.0, 0.0, 80.0],
    ),
    "log of one minus sigmoid": (
        lambda x: np.log(1 - 1 / (1 + np.exp(-x))),
        lambda x: -m.log1p(m.exp(x)),
        [-80.0, 0.0, 80.0, 1000.0],
    ),
    "exp(x) - 1": (lambda x: np.exp(x) - 1, m.expm1, [-50.0, 1e-20, 1e-8, 0.5, 80.0]),
    "1 - exp(x)": (lambda x: 1 - np.exp(x), lambda x: -m.expm1(x), [-50.0, 1e-20, 1e-8, 0.5]),
    "log(1 - x)": (lambda x: np.log(1 - x), lambda x: m.log1p(-x), [1e-20, 1e-8, 0.5, -3.0]),
    "log(1 + x)": (lambda x: np.log(1 + x), m.log1p, [1e-20, 1e-8, 0.5, 3.0]),
    "1 - cos(x)": (lambda x: 1 - np.cos(x), lambda x: 2 * m.sin(x / 2) ** 2, [1e-15, 1e-4, 0.5]),
    "hypot": (
        lambda x: np.sqrt(x**2 + (3 * x) ** 2),
        lambda x: m.hypot(x, 3 * x),
        [1e-30, 2.0, 1e30],
    ),
    "log sum exp": (
        lambda x: np.log(np.sum(np.exp(x * np.array([1.0, 2.0], np.result_type(x))))),
        lambda x: m.log(m.exp(x) + m.exp(2 * x)),
        [-1000.0, -1.0, 1.0, 1000.0],
    ),
}  # fmt: skip

POINTS = [
    pytest.param(function, exact, point, id=f"{name} {point:g}")
    for name, (function, exact, points) in SCALAR.items()
    for point in points
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("function, exact, point", POINTS)
def test_values_and_gradients(
    function: Function, exact: Function, point: float, dtype: Any
) -> None:
    x = dtype(point)
    info = np.finfo(dtype)
    tolerance = 8 * float(info.eps)
    value, slope = _compiled(function)(x)
    with mpmath.workprec(2500):
        expected = float(exact(m.mpf(float(x))))
        slope_expected = float(m.diff(exact, m.mpf(float(x))))
    tiny = float(info.tiny)
    assert abs(float(value) - expected) <= tolerance * abs(expected) + tiny
    assert abs(float(slope) - slope_expected) <= 4 * tolerance * abs(slope_expected) + tiny


_known: dict[Function, Function] = {}
"""A cache: one compiled function for all points of a formula."""


def _compiled(function: Function) -> Function:
    return _known.setdefault(function, gc.compile(gc.value_and_grad(function)))


def naive_softmax(x: Any) -> Any:
    return np.exp(x) / np.sum(np.exp(x), axis=-1, keepdims=True)


def shifted_softmax(x: Any) -> Any:
    shifted = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return shifted / np.sum(shifted, axis=-1, keepdims=True)


def chosen(softmax: Function) -> Function:
    return lambda x: -np.mean(np.log(softmax(x)[np.arange(2), np.array([0, 2])]))


def one_hot(softmax: Function) -> Function:
    labels = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    return lambda x: -np.sum(labels * np.log(softmax(x))) / 2


@pytest.mark.parametrize("loss", [chosen, one_hot])
@pytest.mark.parametrize("softmax", [naive_softmax, shifted_softmax])
def test_cross_entropy_of_a_softmax(loss: Function, softmax: Function) -> None:
    x = np.array([[0.0, 200.0, 1000.0], [3.0, -1000.0, 2.0]])
    value, slope = gc.value_and_grad(loss(softmax))(x)
    second = np.log(1 + np.exp(-1.0)) + 1.0
    assert np.isclose(value, (1000.0 + second) / 2, rtol=1e-14)
    p = 1 / (1 + np.exp(-1.0))
    expected = np.array([[-0.5, 0.0, 0.5], [p / 2, 0.0, (1 - p - 1) / 2]])
    assert np.allclose(slope, expected, rtol=1e-13, atol=1e-300)


def test_infinities_of_a_sum_of_exponentials() -> None:
    function = gc.compile(lambda x: np.log(np.sum(np.exp(x))))
    assert function(np.array([-np.inf, -np.inf])) == -np.inf
    assert function(np.array([np.inf, 1.0])) == np.inf
    assert np.isnan(function(np.array([np.nan, 1.0])))


def test_a_norm_has_slope_zero_at_zero() -> None:
    value, slope = gc.value_and_grad(lambda x: np.sqrt(np.sum(x * x)))(np.zeros(3))
    assert value == 0.0 and np.all(slope == 0.0)
    value, slope = gc.value_and_grad(lambda x: np.sqrt(np.sum(x * x)))(np.array([3.0, 4.0]))
    assert value == 5.0 and np.allclose(slope, [0.6, 0.8])
