"""Barriers stand where a share reads what another wrote, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from models import dense, softmax
from running import build, cond, fused, op

from graphc.build import Value
from graphc.ir import Graph, Type
from graphc.ops.elementwise import less
from graphc.runtime.barriers import place_barriers
from graphc.runtime.plan import plan_arena
from graphc.runtime.planner import make_program
from graphc.runtime.program import Barrier, Branch, Call, Fail, Item
from graphc.runtime.shares import ALWAYS, divide

X, W, ROW = Type("f32", (64, 32)), Type("f32", (32, 32)), Type("f32", (32,))


def items(graph: Graph, shares: int = 2) -> Sequence[Item]:
    program = divide(make_program(fused(graph)), shares, 64, ALWAYS)
    return place_barriers(program, plan_arena(program)).items


def shape_of(items: Sequence[Item]) -> str:
    """D for a divided call, 1 for one on one thread, | for a barrier, ? for a branch, ! a check."""
    letters = {Barrier: "|", Branch: "?", Fail: "!"}
    return "".join(
        ("D" if item.cuts else "1") if isinstance(item, Call) else letters[type(item)]
        for item in items
    )


def matmul(x: Value, w: Value) -> Value:
    return op("matmul")(x, w)


CASES: dict[str, tuple[str, Sequence[Type], Callable]] = {
    "rows stay with their share": (
        "DDD", [X, W, W, W], lambda x, a, b, c: matmul(matmul(matmul(x, a), b), c)),
    "the right operand is read by all": (
        "D|D", [X, W], lambda x, w: matmul(x, matmul(w, w))),
    "rows of a product and of its softmax, in blocks": (
        "D", [X, W, ROW], lambda x, w, b: softmax(dense(x, w, b))),
    "a sum in shares, which one thread combines": (
        "D|1|D", [X, ROW], lambda x, b: dense_like(x, op("sum")(b, axes=(0,)))),
}  # fmt: skip


def dense_like(x: Value, s: Value) -> Value:
    return matmul(x, op("broadcast")(s, shape=(32, 32), axes=()))


@pytest.mark.parametrize(("expected", "types", "make"), CASES.values(), ids=CASES)
def test_barriers(expected, types, make):
    assert shape_of(items(build(types, make))) == expected


def test_who_decides_by_a_value_waits_for_it():
    def make(x: Value, n: Value) -> Value:
        def scaled(a: Value) -> Value:
            return matmul(a, a)

        return cond(less(n, 3.0), [x], scaled, lambda a: a * 2.0)

    found = items(build([W, Type("f32")], make))
    assert shape_of(found) == "1|?"
    (branch,) = (item for item in found if isinstance(item, Branch))
    assert shape_of(branch.then) == "D"


def test_memory_that_is_used_again_is_waited_for():
    """Each product is dead after the next, and lies where one of the others was."""

    def make(x: Value) -> Value:
        for _ in range(4):
            x = matmul(x, x)
        return x

    assert shape_of(items(build([W], make))) == "D|D|D|D"
