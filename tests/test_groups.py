"""Grouping: groups are convex and cover the graph, axis maps fit, and large graphs are quick."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import NUMBERS, Recipe, random_graph, recipes
from running import build, op

from graphc.build import Builder, Value
from graphc.ir import Graph, Type, Var
from graphc.ops.elementwise import exp, sin, square
from graphc.ops.reduce import REDUCTIONS
from graphc.passes.fuse import fuse
from graphc.passes.groups import Grouping, find_groups
from graphc.passes.lower import lower


def members(make, *types: Type) -> list[list[int]]:  # type: ignore[no-untyped-def]
    grouping = find_groups(build(types, make))
    return sorted(sorted(group.members) for group in grouping.groups.values())


def test_a_path_through_another_group_keeps_two_apart() -> None:
    """exp(x) and the sum that reads it cannot be one kernel if the product between them is not."""

    def make(x: Value) -> Value:
        a = exp(x)
        b = op("matmul")(a, x)
        return a * b

    # The second half joins the product, as its epilogue; exp(x) stays before it.
    assert members(make, Type("f64", (6, 6))) == [[0], [1, 2]]


def test_an_operand_of_a_product_does_not_join_its_epilogue() -> None:
    def make(x: Value) -> Value:
        a = exp(x)
        return op("matmul")(a, a) + x + a

    for group in find_groups(build([Type("f64", (6, 6))], make)).groups.values():
        assert not {0, 1} <= set(group.members)


# ---- any graph -----------------------------------------------------------------------------------


def in_order(graph: Graph, grouping: Grouping) -> bool:
    """Whether the groups can run one after the other: no cycle among them."""
    root = grouping.group_of
    made = {out: root[i] for i, eqn in enumerate(graph.eqns) for out in eqn.outs}
    waits = {
        key: {
            made[atom]
            for i in group.members
            for atom in graph.eqns[i].ins
            if isinstance(atom, Var) and made.get(atom, key) != key
        }
        for key, group in grouping.groups.items()
    }
    while ready := {key for key, sources in waits.items() if not sources & waits.keys()}:
        waits = {key: sources for key, sources in waits.items() if key not in ready}
    return not waits


@settings(max_examples=300, derandomize=True, database=None, deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=3), recipes(40), st.lists(NUMBERS, max_size=3))
def test_groups_are_convex(params: list[int], recipe: Recipe, outs: list[int]) -> None:
    graph = lower(random_graph(params, recipe, outs))
    grouping = find_groups(graph)
    everything = [i for group in grouping.groups.values() for i in group.members]
    assert sorted(everything) == sorted(grouping.absorption.regular)
    absorbed = {i for closure in grouping.absorption.closure.values() for i in closure}
    assert set(everything) | absorbed == set(range(len(graph.eqns)))
    assert in_order(graph, grouping)
    check_maps(graph, grouping)


def check_maps(graph: Graph, grouping: Grouping) -> None:
    """In a loop group each axis of an equation runs along a domain axis of its own size."""
    for group in grouping.groups.values():
        for i in group.members if group.kind == "loop" else ():
            eqn = graph.eqns[i]
            assert grouping.is_loop_eqn(i)
            looped = eqn.ins[0].type if eqn.op in REDUCTIONS else eqn.out.type
            for size, axis in zip(looped.shape, grouping.maps[i], strict=True):
                assert size == (1 if axis is None else group.domain[axis])


# ---- large graphs --------------------------------------------------------------------------------


def ladder(count: int) -> Graph:
    """Many small groups: chains between products, and values that are read far away."""
    builder = Builder("ladder")
    x = builder.param(Type("f32", (8, 8)))
    first = x
    while len(builder.eqns) < count:
        x = op("matmul")(sin(x), first)
        x = op("sum")(square(x) + first, axes=(1,))
        x = op("broadcast")(x, shape=(8, 8), axes=(0,))
    return builder.finish([x.atom])


def chain(count: int) -> Graph:
    """One group."""
    builder = Builder("chain")
    x = builder.param(Type("f32", (8, 8)))
    for _ in range(count):
        x = sin(x)
    return builder.finish([x.atom])


def fan(count: int) -> Graph:
    """Groups that share an operand, each with its own domain after it."""
    builder = Builder("fan")
    x = builder.param(Type("f32", (8, 8)))
    outs = [op("sum")(exp(x), axes=(i % 2,)) for i in range(count // 2)]
    return builder.finish([out.atom for out in outs])


def seconds(graph: Graph) -> float:
    start = time.process_time()
    fuse(graph)
    return time.process_time() - start


@pytest.mark.parametrize("make", [ladder, chain, fan])
def test_ten_times_the_equations_take_about_ten_times_as_long(make) -> None:  # type: ignore[no-untyped-def]
    small = min(seconds(make(500)) for _ in range(3))
    large = min(seconds(make(5000)) for _ in range(4))
    assert large < 40 * small
