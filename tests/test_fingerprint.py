"""Fingerprints: equal where the values are, different wherever a value might be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.fingerprint import fingerprint
from graphc.ir import Graph

X, Y = np.ones((3, 4), np.float32), np.ones((3, 4), np.float32)


def of(fn: Any, *args: Any) -> str | None:
    return fingerprint(gc.trace(fn, *(args or (X, Y))))


def test_names_and_lines_do_not_count() -> None:
    def first(x: Any, y: Any) -> Any:
        product = x * y
        return product + 1.0

    def second(a: Any, b: Any) -> Any:
        return a * b + 1.0

    assert of(first) == of(second) is not None


def test_whatever_changes_a_value_counts() -> None:
    def branch(x: Any, y: Any) -> Any:
        return gc.cond(x.sum() > 0, lambda a: a * 2.0, lambda a: a * 3.0, y)

    def other_branch(x: Any, y: Any) -> Any:
        return gc.cond(x.sum() > 0, lambda a: a * 2.0, lambda a: a * 4.0, y)

    def update(x: Any, y: Any) -> None:
        x += y

    def update_other(x: Any, y: Any) -> None:
        y += x

    table = np.arange(4, dtype=np.float32)
    half = np.float16
    prints = [
        of(lambda x, y: x * y),
        of(lambda x, y: x * x),
        of(lambda x, y: (x * y, x + y)),
        of(lambda x, y: (x + y, x * y)),
        of(lambda x, y: x + y),
        of(lambda x, y: x * y, X, Y[:, :3].T[:, :3].repeat(4, 0)[:3, :1]),
        of(lambda x, y: x * y, X.astype(half), Y.astype(half)),
        of(lambda x, y: x + 0.0),
        of(lambda x, y: x + -0.0),
        of(lambda x, y: x + 1.0),
        of(lambda x, y: x + float("nan")),
        of(lambda x, y: x.sum(0)),
        of(lambda x, y: x.sum(1)),
        of(lambda x, y: x + table),
        of(lambda x, y: x + table[::-1]),
        of(branch),
        of(other_branch),
        of(update),
        of(update_other),
    ]
    twins = [(i, j) for i, a in enumerate(prints) for j, b in enumerate(prints[:i]) if a == b]
    assert None not in prints and not twins


def test_what_belongs_to_this_process_has_none() -> None:
    doubled = gc.elementwise(lambda x: x * 2.0)

    def printing(x: Any, y: Any) -> Any:
        print(x)  # noqa: T201
        return x

    assert of(lambda x, y: doubled(x)) is None
    assert of(printing) is None
    assert of(lambda x: x + 1.0, gc.Spec(("n",), "f32")) is None


@pytest.mark.parametrize("stage", ["traced", "optimized", "fused"])
def test_every_stage_has_one(stage: str) -> None:
    def step(w: Any, x: Any) -> Any:
        loss, grad = gc.value_and_grad(lambda w: np.sum(np.tanh(x @ w) ** 2))(w)
        return loss, w - 0.1 * grad

    graph: Graph = gc.compile(step).graph(np.ones((4, 2)), X.astype(np.float64), stage=stage)
    again: Graph = gc.compile(step).graph(np.ones((4, 2)), X.astype(np.float64), stage=stage)
    assert graph is not again and fingerprint(graph) == fingerprint(again) is not None
