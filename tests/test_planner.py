"""Programs: results and new values of parameters are right wherever they lie."""

from __future__ import annotations

import numpy as np
import pytest
from running import all_results, assert_same, fused, interpret

from graphc import errors
from graphc.ir import Graph
from graphc.passes.fuse import fuse
from graphc.runtime.planner import make_program
from graphc.runtime.program import Branch, Call, Item
from graphc.runtime.step import Step
from graphc.text import parse

# Bodies of `graph f(%a: f64[6], %b: f64[6], %p: bool[])`.
UPDATES = {
    "in place": "%c: f64[6] = add(%a, %b)\n return %a := %c",
    "swap": "return %a := %b, %b := %a",
    "turn of the same": "return %a := %a",
    "both get one": "%c: f64[6] = exp(%b)\n return %a := %b := %c",
    "both get the first": "return %a := %b := %a",
    "a literal": "return %a := 2.5:f64[6], %b := -0.0:f64[6]",
    "reversed": "%c: f64[6] = slice(%a, starts=(5,), sizes=(6,), steps=(-1,))\n return %a := %c",
    "reversed of the other": "%c: f64[6] = slice(%a, starts=(5,), sizes=(6,), steps=(-1,))\n"
    " return %a := %b, %b := %c",
    "shifted": "%c: f64[5] = slice(%a, starts=(0,), sizes=(5,), steps=(1,))\n"
    " %d: f64[6] = update_slice(%a, %c, starts=(1,), steps=(1,))\n return %a := %d",
    "shifted back": "%c: f64[5] = slice(%a, starts=(1,), sizes=(5,), steps=(1,))\n"
    " %d: f64[6] = update_slice(%a, %c, starts=(0,), steps=(1,))\n return %a := %d",
    "a window of the other": "%c: f64[3] = slice(%b, starts=(0,), sizes=(3,), steps=(2,))\n"
    " %d: f64[6] = update_slice(%a, %c, starts=(1,), steps=(2,))\n return %a := %d",
    "reversed sum": "%c: f64[6] = slice(%a, starts=(5,), sizes=(6,), steps=(-1,))\n"
    " %d: f64[6] = add(%a, %c)\n return %a := %d",
    "read later": "%c: f64[6] = add(%a, %b)\n"
    " %d: f64[6] = pad(%c, low=(0,), high=(0,), value=1.0)\n"
    " %e: f64[6] = multiply(%d, %a)\n return %a := %c, %e",
    "old value returned": "%c: f64[6] = negative(%a)\n return %a := %c, %a",
    "a view of the old value": "%c: f64[6] = negative(%a)\n"
    " %d: f64[2,3] = reshape(%a, shape=(2, 3))\n return %a := %c, %d",
    "new value returned": "%c: f64[6] = negative(%a)\n return %a := %c, %c, %c",
    "normalised": "%c: f64[] = max(%a, axes=(0,))\n"
    " %d: f64[6] = broadcast(%c, shape=(6,), axes=())\n"
    " %e: f64[6] = subtract(%a, %d)\n return %a := %e",
    "two from both": "%c: f64[6] = add(%a, %b)\n %d: f64[6] = subtract(%a, %b)\n"
    " return %a := %c, %b := %d",
    "the old value read beside the new one": "%c: f64[6] = add(%b, 1.0)\n"
    " %d: f64[6] = add(%a, %b)\n return %a := %c, %d",
    "chosen": "%c: f64[6] = cond(%p, %a, %b) then(%x: f64[6], %y: f64[6]) {\n return %y\n }"
    " else(%z: f64[6], %w: f64[6]) {\n return %z\n }\n return %a := %c",
    "chosen and swapped": "%c: f64[6], %d: f64[6] = cond(%p, %a, %b)"
    " then(%x: f64[6], %y: f64[6]) {\n return %y, %x\n }"
    " else(%z: f64[6], %w: f64[6]) {\n return %z, %w\n }\n return %a := %c, %b := %d",
    "a window of a choice": "%c: f64[6] = cond(%p, %a, %b) then(%x: f64[6], %y: f64[6]) {\n"
    " %n: f64[6] = slice(%x, starts=(5,), sizes=(6,), steps=(-1,))\n return %n\n }"
    " else(%z: f64[6], %w: f64[6]) {\n return %w\n }\n"
    " %d: f64[6] = subtract(%c, %a)\n return %a := %d, %b := %c",
    "computed in a branch": "%c: f64[6] = cond(%p, %a) then(%x: f64[6]) {\n"
    " %n: f64[6] = negative(%x)\n return %n\n } else(%z: f64[6]) {\n return 1.0:f64[6]\n }\n"
    " return %a := %c, %a",
}


def graph_of(body: str) -> Graph:
    return parse(f"graph f(%a: f64[6], %b: f64[6], %p: bool[]) {{\n {body}\n}}")


A, B = np.arange(6.0), np.array([3.0, -1.0, 4.0, -1.5, 5.0, 9.0])


@pytest.mark.parametrize("p", [True, False])
@pytest.mark.parametrize("body", UPDATES.values(), ids=UPDATES)
def test_updates(body: str, p: bool) -> None:
    graph = graph_of(body)
    arrays = [A, B, np.array(p)]
    step = Step(fused(graph))
    for _ in range(2):
        got = all_results(step, graph, arrays)
        for a, b in zip(got, interpret(graph, arrays), strict=True):
            if not np.allclose(a, b, rtol=1e-15, atol=0):
                assert_same(a, b)


CHECKED = """\
%n: f64[6] = negative(%a)
 %m: f64[6] = update_slice(%b, 1.0:f64[2], starts=(1,), steps=(1,))
 check(%p, 3:i64[], error="IndexError", message="index {value} is outside")  # model.py:9
 return %a := %n, %b := %m"""


def test_a_failed_check_leaves_the_arguments_alone() -> None:
    step = Step(fused(graph_of(CHECKED)))
    own = [A.copy(), B.copy(), np.array(False)]
    with pytest.raises(errors.IndexOutOfRangeError) as caught:
        step(own)
    assert str(caught.value) == "model.py:9: index 3 is outside"
    assert_same(own[0], A)
    assert_same(own[1], B)
    own[2] = np.array(True)
    step(own)
    assert_same(own[0], -A)


# ---- what does not need a kernel -----------------------------------------------------------------


def calls(items: tuple[Item, ...]) -> int:
    """How many kernels the items hold, those of both branches."""
    count = 0
    for item in items:
        if isinstance(item, Branch):
            count += calls(item.then) + calls(item.otherwise)
        count += isinstance(item, Call)
    return count


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("in place", 1),  # no copy
        ("turn of the same", 0),
        ("swap", 4),  # both through temporaries
        ("shifted", 3),  # the window overlaps: base, window, back
        ("a window of the other", 1),
        ("reversed sum", 2),
        ("normalised", 2),
        ("new value returned", 3),
        ("both get one", 2),
    ],
)
def test_copies(name: str, count: int) -> None:
    items = make_program(fused(graph_of(UPDATES[name]))).items
    assert calls(items) <= count


def test_a_branch_that_returns_an_operand_costs_nothing() -> None:
    program = make_program(fuse(graph_of(
        "%c: f64[6] = cond(%p, %a, %b) then(%x: f64[6], %y: f64[6]) {\n return %y\n }"
        " else(%z: f64[6], %w: f64[6]) {\n return %z\n }\n %d: f64[6] = exp(%c)\n return %d"
    )))  # fmt: skip
    branch, kernel = program.items
    assert isinstance(branch, Branch) and not (*branch.then, *branch.otherwise)
    assert isinstance(kernel, Call)
