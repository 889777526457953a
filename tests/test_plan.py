"""The arena: what is alive at the same time does not overlap, and memory is used again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import gelu
from random_graphs import NUMBERS, Recipe, random_graph, recipes
from running import build, fused, op

from graphc.build import Value
from graphc.ir import Type
from graphc.runtime.plan import ALIGNMENT, Arena, plan_arena
from graphc.runtime.planner import make_program
from graphc.runtime.program import Branch, Call, Choice, Item, Program, Root

X = Type("f64", (100,))


def steps(items: Sequence[Item], taken: bool, chosen: dict[Root, Root]) -> Iterator[list[Root]]:
    """What each item uses if every conditional takes the same side."""
    for item in items:
        if isinstance(item, Branch):
            yield [item.predicate.root]
            yield from steps(item.then if taken else item.otherwise, taken, chosen)
            for choice in item.choices:
                chosen[choice.root] = source(choice, taken)
        elif isinstance(item, Call):
            yield list(item.roots)
        else:
            yield [item.failed.root, item.value.root]


def source(choice: Choice, taken: bool) -> Root:
    return (choice.then if taken else choice.otherwise)[0]


def check_arena(program: Program, arena: Arena) -> None:
    """Run both ways over the program: from its first use to its last nobody else uses its bytes."""
    for taken in (True, False):
        chosen: dict[Root, Root] = {}
        spans: dict[Root, list[int]] = {}
        for moment, roots in enumerate(steps(program.items, taken, chosen)):
            for root in roots:
                while root in chosen:
                    root = chosen[root]
                if root.kind == "arena":
                    spans.setdefault(root, [moment, moment])[1] = moment
        for a in spans:
            begin, end = arena.offsets[a], arena.offsets[a] + a.nbytes
            assert begin % ALIGNMENT == 0 and end <= arena.nbytes
            for b in spans:
                apart = spans[a][1] < spans[b][0] or spans[b][1] < spans[a][0]
                other = arena.offsets[b]
                assert a is b or apart or end <= other or other + b.nbytes <= begin


@settings(max_examples=150, derandomize=True, database=None, deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=3), recipes(30), st.lists(NUMBERS, max_size=3))
def test_nothing_alive_overlaps(params: list[int], recipe: Recipe, outs: list[int]) -> None:
    program = make_program(fused(random_graph(params, recipe, outs)))
    check_arena(program, plan_arena(program))


def arena_of(make, *types: Type) -> Arena:  # type: ignore[no-untyped-def]
    return plan_arena(make_program(fused(build(types, make))))


def scattered(x: Value) -> Value:
    """A kernel of its own."""
    at, one = x.builder.literal(0, Type("i64", (1,))), x.builder.literal(1.0, Type("f64", (1,)))
    return op("scatter_add")(x, at, one, axis=0)


def test_one_kernel_needs_no_memory() -> None:
    assert arena_of(gelu, X) == Arena({}, 0, 0)


@pytest.mark.parametrize("length", [3, 4, 20])
def test_a_chain_takes_turns_in_two_places(length: int) -> None:
    def make(x: Value) -> Value:
        for _ in range(length):
            x = scattered(x)
        return x

    arena = arena_of(make, X)
    assert arena.nbytes == arena.peak == 2 * 832  # 800 bytes, in whole cache lines


def test_what_is_read_at_the_end_stays() -> None:
    def make(x: Value) -> Value:
        first = y = scattered(x)
        for _ in range(4):
            y = scattered(y)
        return scattered(y) + first

    assert arena_of(make, X).nbytes == 3 * 832


def test_a_choice_of_choices_names_each_memory_once() -> None:
    """Without that, n choices one after the other reach their memory on 2**n ways."""
    first, second = (Root("arena", i, "f64", 8) for i in range(2))
    for i in range(60):
        first, second = second, Root("choice", i, "f64", 8, (first, second))
    assert len(second.memories()) == 2
