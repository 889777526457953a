"""Which phases of a kernel run in one launch on a device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from emulated_device import SMALL, Emulated, calls
from running import build, fused, op

from graphc.ir import Type
from graphc.runtime.cuda.plan.device_kernel import Limits
from graphc.runtime.cuda.plan.forms import choose_form
from graphc.runtime.cuda.plan.phases import phases_of
from graphc.runtime.cuda.plan.rejoin import rejoined
from graphc.runtime.cuda.plan.side_by_side import MOST_TOGETHER, Touched, are_apart, side_by_side
from graphc.runtime.planner import make_program
from graphc.runtime.program import Call, Root


def only_call(types: list[Type], make: Callable[..., Any]) -> Call:
    (call,) = calls(rejoined(make_program(fused(build(types, make)))))
    return call


def groups(call: Call, roots: list[Root] | None = None) -> list[int]:
    """How many phases each launch has."""
    plan = phases_of(call.kernel, call.roots)
    chosen = [(p, choose_form(call.kernel, call.roots, p, Limits())) for p in plan.phases]
    return [len(group) for group in side_by_side(call.kernel, roots or call.roots, chosen)]


def optimizer(count: int) -> Call:
    """A step of momentum for some parameters of one shape: more arrays than one loop goes over."""
    types = [Type("f32", (70, 100))] * (3 * count)

    def make(*values: Any) -> Any:
        outs = []
        for i in range(count):
            p, g, m = values[3 * i : 3 * i + 3]
            moved = m * 0.9 + g
            outs += [p - moved * 0.1, moved]
        return outs

    return only_call(types, make)


def test_elementwise_loops_share_a_launch() -> None:
    call = optimizer(4)
    assert len(call.kernel.body) > 1
    assert groups(call) == [len(call.kernel.body)]


def test_what_reads_what_another_writes_is_launched_after_it() -> None:
    call = optimizer(4)
    assert set(groups(call, [call.roots[0]] * len(call.roots))) == {1}


# ---- pieces of one memory ------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_pieces_of_a_join_share_launches(axis: int) -> None:
    """Each of 600 arrays had a launch of its own."""
    count = MOST_TOGETHER + 6
    shapes = [tuple(5 + i % 3 if a == axis else 12 for a in range(3)) for i in range(count)]
    types = [Type("f32", shape) for shape in shapes]

    def join(*parts: Any) -> Any:
        return op("concatenate")(*parts, axis=axis)

    assert groups(only_call(types, join)) == [MOST_TOGETHER, 6]
    arrays = [np.random.default_rng(i).normal(size=s).astype("f4") for i, s in enumerate(shapes)]
    for limits in (None, SMALL):
        (got,) = Emulated(fused(build(types, join)), limits, backwards=True)(arrays)
        np.testing.assert_array_equal(got, np.concatenate(arrays, axis))


X = Root("argument", 0, "f32", 4000)
CHOICE = Root("choice", 0, "f32", 4000, (X, Root("argument", 1, "f32", 4000)))


def writes(start: int, *steps: tuple[int, int], root: Root = X, dtype: str = "f32") -> Touched:
    return Touched(root, dtype, True, start, steps)


@pytest.mark.parametrize(
    "one, other, apart",
    [
        (writes(0, (1, 10)), writes(10, (1, 10)), True),
        (writes(0, (1, 11)), writes(10, (1, 10)), False),
        (writes(19, (-1, 10)), writes(0, (1, 10)), True),
        (writes(19, (-1, 11)), writes(0, (1, 10)), False),
        (writes(0, (10, 5), (1, 4)), writes(4, (10, 5), (1, 6)), True),
        (writes(0, (10, 5), (1, 5)), writes(4, (10, 5), (1, 6)), False),
        (writes(0, (10, 5), (1, 4)), writes(4, (10, 5), (1, 7)), False),  # goes into the next row
        (writes(0, (20, 5), (1, 4)), writes(14, (10, 5), (1, 4)), True),
        (writes(0, (2, 9)), writes(1, (2, 9)), True),
        (writes(0, (2, 9)), writes(1, (3, 9)), False),
        (writes(0, (1, 10)), writes(10, (1, 10), dtype="f64"), False),
        (writes(0, (1, 10)), writes(10, (1, 10), root=CHOICE), False),
        (writes(0, (1, 10)), writes(10, (1, 10))._replace(steps=None), False),
        (writes(0)._replace(writes=False), writes(0)._replace(writes=False), True),
        (writes(0), writes(0)._replace(writes=False), False),
    ],
)
def test_who_touches_what_another_writes(one: Touched, other: Touched, apart: bool) -> None:
    assert are_apart([one], [other]) is apart
    assert are_apart([other], [one]) is apart


def test_accesses_that_are_said_to_be_apart_are() -> None:
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(2000):
        starts, steps = rng.integers(0, 30, 2).tolist(), rng.integers(1, 9, (2, 2, 2)).tolist()
        some = [writes(start, *map(tuple, own)) for start, own in zip(starts, steps, strict=True)]
        if are_apart(some[:1], some[1:]):
            found += 1
            assert places(some[0]).isdisjoint(places(some[1]))
    assert found > 100


def places(touched: Touched) -> set[int]:
    found = {touched.start}
    for stride, turns in touched.steps or ():
        found = {place + stride * turn for place in found for turn in range(turns)}
    return found
