"""Random graphs: machine code gives what the interpreter gives, in place or not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_graphs import NUMBERS, Recipe, arguments, random_graph, recipes
from running import all_results, assert_same, assert_ulps, fused, interpret, make_step

from graphc import errors
from graphc.equal import structurally_equal
from graphc.ir import Graph
from graphc.runtime.step import Step
from graphc.text import parse
from graphc.verify import verify

PARAMS = st.lists(NUMBERS, min_size=1, max_size=4)
OUTS = st.lists(NUMBERS, max_size=4)

random_graphs = given(PARAMS, recipes(), OUTS)


def sized(examples: int):  # type: ignore[no-untyped-def]
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def outcome(run, *args):  # type: ignore[no-untyped-def]
    """The results, or the error."""
    try:
        return run(*args)
    except errors.GraphcError as error:
        return error


def check_graph(graph: Graph, seeds: Sequence[int]) -> None:
    verify(graph)
    assert structurally_equal(parse(str(graph)), graph)
    step = make_step(fused(graph))
    for seed in seeds:
        arrays = arguments(graph, seed)
        expected = outcome(interpret, graph, arrays)
        got = outcome(all_results, step, graph, arrays)
        if isinstance(expected, Exception):
            assert (type(got), str(got)) == (type(expected), str(expected))
            check_untouched(step, arrays)
        else:
            for a, b in zip(got, expected, strict=True):
                assert_equal(a, b, graph)


def assert_equal(got: np.ndarray, expected: np.ndarray, what: object) -> None:
    if got.dtype.kind == "f":
        assert_ulps(got, expected, 5, what)
    else:
        assert_same(got, expected, what)


def check_untouched(step: Step, arrays: list[np.ndarray]) -> None:
    """A step that fails leaves its arguments as they were."""
    own = [np.array(array) for array in arrays]
    with pytest.raises(errors.GraphcError):
        step(own)
    for array, before in zip(own, arrays, strict=True):
        assert_same(array, before)


@sized(500)
@random_graphs
def test_machine_code_equals_the_interpreter(
    params: list[int], recipe: Recipe, outs: list[int]
) -> None:
    check_graph(random_graph(params, recipe, outs), (1, 3))


@pytest.mark.slow
@sized(2000)
@random_graphs
def test_many_more_graphs(params: list[int], recipe: Recipe, outs: list[int]) -> None:
    check_graph(random_graph(params, recipe, outs), (2, 6))


@sized(250)
@given(PARAMS, recipes(40), OUTS)
def test_fusion_changes_no_bit(params: list[int], recipe: Recipe, outs: list[int]) -> None:
    """Whatever the order and the grouping: the interpreter gives the same bits."""
    graph = random_graph(params, recipe, outs)
    arrays = arguments(graph, 1)
    before = outcome(interpret, graph, arrays)
    after = outcome(interpret, fused(graph), arrays)
    if isinstance(before, Exception):
        assert str(after) == str(before)
    else:
        for a, b in zip(after, before, strict=True):
            assert_same(a, b)
