"""No stage takes more than in proportion to the graph: counted in calls, not in time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.ir import Graph
from graphc.passes import pipeline
from graphc.runtime.llvm.emit_step import emit_step
from graphc.runtime.llvm.target import host_target
from graphc.runtime.plan import plan_arena
from graphc.runtime.planner import make_program
from graphc.text import parse

X = np.ones(8)
SMALL, LARGE = 60, 240
"""Repetitions of each function below.  By `reduce`: a `for` would be traced once, as a loop."""

Made = tuple[Callable[..., Any], tuple[Any, ...]]


def chain(n: int) -> Made:
    def f(x: Any, w: Any) -> Any:
        return reduce(lambda x, _: np.tanh(x * 1.5 + w) - x, range(n), x)

    return f, (X, X)


def layers(n: int) -> Made:
    def f(x: Any, weights: Any) -> Any:
        return reduce(lambda x, w: np.tanh(x @ w), weights, x)

    return f, (np.ones((4, 4)), [np.ones((4, 4)) for _ in range(n)])


def side_by_side(n: int) -> Made:
    return lambda xs: [np.exp(x) * 2.0 - x for x in xs], ([np.ones(8 + i % 7) for i in range(n)],)


def conditionals(n: int) -> Made:
    def f(x: Any, s: Any) -> Any:
        def step(x: Any, i: int) -> Any:
            return gc.cond(s > i, lambda x: x * 2.0, lambda x: x + 1.0, x)

        return reduce(step, range(n), x)

    return f, (X, 3.0)


def updates(n: int) -> Made:
    def f(params: Any, grads: Any) -> None:
        for p, g in zip(params, grads):
            p -= 0.1 * g

    return f, ([np.ones(8) for _ in range(n)], [np.ones(8) for _ in range(n)])


def gradient(n: int) -> Made:
    def loss(x: Any, w: Any) -> Any:
        return reduce(lambda x, _: np.tanh(x * 1.5 + w) - x, range(n), x).sum()

    return gc.grad(loss), (X, X)


def calls(function: Callable[[], Any]) -> tuple[Any, int]:
    """What the function gives, and how many calls it makes."""
    count = 0

    def seen(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        return function(), count
    finally:
        sys.setprofile(before)


def stages(made: Made) -> dict[str, int]:
    """The calls that each stage of a compilation makes."""
    function, arguments = made
    counts: dict[str, int] = {}

    def count(name: str, stage: Callable[[], Any]) -> Any:
        result, counts[name] = calls(stage)
        return result

    graph: Graph = count("trace", lambda: gc.trace(function, *arguments))
    for step in pipeline.PIPELINE:
        graph = count(step.name, lambda: pipeline.run(graph, [step])[0])  # noqa: B023 - at once
    text = count("print", lambda: str(graph))
    count("parse", lambda: parse(text))
    program = count("plan", lambda: make_program(graph))
    arena = count("arena", lambda: plan_arena(program))
    count("emit", lambda: emit_step(program, arena, host_target(), "step"))
    return counts


@pytest.mark.parametrize(
    "make", [chain, layers, side_by_side, conditionals, updates, gradient], ids=lambda f: f.__name__
)
def test_four_times_the_graph_takes_four_times_the_calls(make: Callable[[int], Made]) -> None:
    stages(make(2))  # fills the caches that do not depend on the graph
    small, large = stages(make(SMALL)), stages(make(LARGE))
    ratios = {name: large[name] / small[name] for name in small if large[name] > 5_000}
    slow = {name: round(ratio, 1) for name, ratio in ratios.items() if ratio > 5.5}
    assert ratios and not slow
