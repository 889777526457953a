"""Random graphs of symbolic sizes: one code gives what the interpreter gives, for each size."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from random_graphs import Recipe, arguments, random_graph, recipes
from running import all_results, fused, interpret
from test_random_graphs import OUTS, PARAMS, assert_equal, outcome, sized

from graphc.binding import symbol_names
from graphc.dims import dim
from graphc.ir import Graph
from graphc.questions import Question, answering, exemplified
from graphc.runtime.shares import ALWAYS
from graphc.runtime.step import Steps

EXAMPLE = 9
B = dim("B", EXAMPLE)
SHAPES = [
    *[(B,), (3, B), (B, 5), (B, B), (2, B, 3), (1, B), (B, 1), (33, B)],
    *[(B,), (), (7,), (5, 3)],
]
SIZES = (EXAMPLE, 2, 3, 17, 40)


def made(params: list[int], recipe: Recipe, outs: list[int]) -> tuple[Graph, Graph, list[int]]:
    """A graph, fused, and the sizes for which it would have been made and fused alike."""
    answers: dict[Question, bool] = {}

    def answer(question: Question) -> bool:
        return answers.setdefault(question, question.holds({"B": EXAMPLE}))

    with answering(answer), exemplified({"B": EXAMPLE}):
        graph = random_graph(params, recipe, outs, shapes=SHAPES)
        ready = fused(graph)
    sizes = [n for n in SIZES if all(q.holds({"B": n}) == a for q, a in answers.items())]
    return graph, ready, sizes


def check(params: list[int], recipe: Recipe, outs: list[int], **options: Any) -> None:
    graph, ready, sizes = made(params, recipe, outs)
    if not symbol_names(graph):
        return
    steps = Steps(ready, **options)
    for size in sizes:
        known = graph.bind(B=size)
        arrays = arguments(known, 1)
        expected = outcome(interpret, known, arrays)
        got = outcome(all_results, steps.at({"B": size}), known, arrays)
        if isinstance(expected, Exception):
            assert (type(got), str(got)) == (type(expected), str(expected))
        else:
            assert not isinstance(got, Exception), got
            for a, b in zip(got, expected, strict=True):
                assert_equal(a, b, (size, graph))


@sized(60)
@given(PARAMS, recipes(), OUTS)
def test_one_code_equals_the_interpreter(
    params: list[int], recipe: Recipe, outs: list[int]
) -> None:
    check(params, recipe, outs)


@sized(20)
@given(PARAMS, recipes(), OUTS)
def test_shares_of_one_code(params: list[int], recipe: Recipe, outs: list[int]) -> None:
    check(params, recipe, outs, threads=2, thresholds=ALWAYS)


@pytest.mark.slow
@sized(1000)
@given(PARAMS, recipes(), OUTS)
def test_many_more_graphs(params: list[int], recipe: Recipe, outs: list[int]) -> None:
    check(params, recipe, outs)
