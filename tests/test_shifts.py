"""Maxima whose value cancels, and the gradients that do not go through them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.ir import all_eqns
from graphc.passes.shifts import hold_shifts

Function = Callable[[Any], Any]
LABELS = np.array([1, 0, 4, -1])
WEIGHTS = np.random.default_rng(1).normal(size=(4, 5))


def softmax(x: Any) -> Any:
    raised = np.exp(x - x.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def log_softmax(x: Any) -> Any:
    shifted = x - np.max(x, 1)[:, None]
    return shifted - np.log(np.exp(shifted).sum(1))[:, None]


def log_sum_exp(x: Any) -> Any:
    largest = x.max(axis=1)
    return largest + np.log(np.exp(x - largest[:, None]).sum(axis=1))


def cross_entropy(x: Any) -> Any:
    shifted = x - np.max(x, axis=1, keepdims=True)
    chosen = np.take_along_axis(shifted, LABELS[:, None], axis=1)[:, 0]
    return np.mean(np.log(np.sum(np.exp(shifted), axis=1)) - chosen)


def of_columns(x: Any) -> Any:
    return np.sum(WEIGHTS * softmax(x.T).T)


def masked(x: Any) -> Any:
    raised = np.where(WEIGHTS > 0, np.exp(x - x.max(axis=1, keepdims=True)), 0.0)
    return np.sum(WEIGHTS * raised / raised.sum(axis=1, keepdims=True))


def squared(x: Any) -> Any:
    raised = np.exp(2.0 * (x - x.max()))
    return np.sum(raised * raised) / np.sum(-raised) / np.sum(raised)


CANCELS: dict[str, Function] = {
    "softmax": lambda x: np.sum(WEIGHTS * softmax(x)),
    "log softmax": lambda x: np.sum(WEIGHTS * log_softmax(x)),
    "log sum exp": lambda x: np.sum(log_sum_exp(x) ** 2),
    "cross entropy": cross_entropy,
    "cross entropy by rows at labels": lambda x: -np.mean(log_softmax(x)[np.arange(4), LABELS]),
    "of columns": of_columns,
    "masked": masked,
    "of everything, twice": squared,
    "a mean of differences": lambda x: np.sum(
        np.exp((x - x.max()) / 2.0 - (x - x.max()).mean() * 0.5)
    ),
}
STAYS: dict[str, Function] = {
    "a maximum that is returned": lambda x: np.sum(softmax(x)) + np.sum(x.max(axis=1)),
    "along another axis": lambda x: np.sum(np.exp(x - x.max(axis=0)) / np.exp(x).sum(1)[:, None]),
    "without a quotient": lambda x: np.sum(np.exp(x - x.max(axis=1, keepdims=True))),
    "multiplied by what varies": lambda x: np.sum(x * (x - x.max(axis=1, keepdims=True))),
    "in another function": lambda x: np.sum(np.tanh(x - x.max(axis=1, keepdims=True))),
    "sums of rows with shifts of their own": lambda x: np.sum(
        np.exp(x - x.max(axis=1, keepdims=True)) / np.exp(x - x.max(axis=1, keepdims=True)).sum(0)
    ),
    "once too often": lambda x: np.sum(
        (x - x.max(axis=1, keepdims=True)) - 2.0 * np.log(np.exp(x - x.max()).sum())
    ),
}


def slope_by_differences(function: Function, x: np.ndarray) -> np.ndarray:
    slope, step = np.empty_like(x), 1e-6
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += step
        down[i] -= step
        slope[i] = (function(up) - function(down)) / (2 * step)
    return slope


@pytest.mark.parametrize(
    ("function", "cancels"),
    [*((f, True) for f in CANCELS.values()), *((f, False) for f in STAYS.values())],
    ids=[*CANCELS, *STAYS],
)
def test_gradients(function: Function, cancels: bool) -> None:
    x = np.random.default_rng(0).normal(size=(4, 5))
    slope = gc.grad(function)
    np.testing.assert_allclose(slope(x), slope_by_differences(function, x), rtol=1e-6, atol=1e-8)
    names = [eqn.op.name for eqn in all_eqns(gc.compile(slope).graph(x))]
    # The gradient of a maximum asks which elements are equal to it.
    by_maximum = [name for name in names if name == "equal"]
    of_labels = 1 if function is cross_entropy else 0
    assert (len(by_maximum) == of_labels) == cancels


def test_ties_take_no_part_in_it() -> None:
    x = np.ones((4, 5))
    np.testing.assert_array_equal(gc.grad(cross_entropy)(x), (0.2 - np.eye(5)[LABELS]) / 4.0)


def test_inside_a_conditional() -> None:
    def chosen(x: Any, limit: Any) -> Any:
        if limit > 0:
            return np.sum(WEIGHTS * softmax(x))
        return np.sum(x)

    x = np.random.default_rng(0).normal(size=(4, 5))
    compiled = gc.compile(gc.grad(chosen))
    np.testing.assert_allclose(compiled(x, 1.0), gc.grad(CANCELS["softmax"])(x), rtol=1e-12)
    assert "equal" not in {eqn.op.name for eqn in all_eqns(compiled.graph(x, 1.0))}


def test_other_graphs_are_left_alone() -> None:
    graph = gc.trace(lambda x: np.sum(x * x.max()), gc.Spec((3,), "f64"))
    assert hold_shifts(graph) is graph
