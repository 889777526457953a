"""What is recorded as one: programs cut where the host has to look at a value."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc.runtime.cuda.pieces import Chosen, Decided, Repeated, Straight, count_runs, cut
from graphc.runtime.cuda.settle import settled
from graphc.runtime.planner import make_program
from graphc.runtime.program import Foreign


def pieces(function, *args, most=4096):
    return cut(settled(make_program(gc.compile(function).graph(*args, stage="fused"))), most)


def kinds(found):
    return [type(piece) for piece in found]


X = np.ones(5)


def test_a_step_without_control_flow_is_one_run():
    (run,) = pieces(lambda x: (np.exp(x).sum(), np.sort(x)), X)
    assert run.calls == len(run.items) > 1
    assert {root.kind for root in run.moving} <= {"argument", "result"}


def test_a_loop_of_known_length_is_unrolled_into_its_run():
    def function(xs):
        total = 0.0
        for i in range(40):
            total = np.sin(total) + xs[i]
        return total

    (run,) = pieces(function, np.ones(40))
    assert isinstance(run, Straight)
    assert run.calls >= 40


def test_memory_moves_in_the_turns_of_a_loop_but_not_around_it():
    def function(w, xs):
        h = np.zeros((4, 8))
        for x in xs:
            h = np.tanh(x + h @ w)
        return h.sum()

    arguments = np.ones((8, 8)), np.ones((50, 4, 8))
    (run,) = pieces(function, *arguments)
    assert {root.kind for root in run.moving} == {"argument", "result"}
    (repeated,) = [p for p in pieces(function, *arguments, most=4) if isinstance(p, Repeated)]
    (turn,) = repeated.body
    assert {"arena", "slice"} <= {root.kind for root in turn.moving}


def test_a_long_loop_is_cut_into_runs():
    def function(xs):
        total = 0.0
        for i in range(400):
            total = np.sin(total) + xs[i]
        return total

    found = pieces(function, np.ones(400), most=100)
    assert Repeated in kinds(found)
    assert all(run.calls <= 100 for run in found if isinstance(run, Straight))


def test_a_conditional_is_part_of_its_run_and_two_sides_where_the_host_decides():
    def function(x):
        s = np.exp(x).sum()
        y = x * 2.0 if s > 1.0 else x - 1.0
        return np.cumsum(y)

    found = pieces(function, X)
    (run,) = found
    assert isinstance(run, Decided)
    assert not run.has_loop
    assert run.run.calls == 7
    assert {root.kind for root in run.run.moving} == {"argument", "result"}
    assert kinds(run.apart) == [Straight, Chosen, Straight]
    assert count_runs(found) == 1
    assert count_runs(run.apart) == 4


def test_memory_that_one_side_alone_touches_is_part_of_what_moves():
    def function(x, y):
        return np.sort(y) if x.sum() > 0 else x * 2.0

    (run,) = pieces(function, X, X + 1.0)
    moving = [(root.kind, root.number) for root in run.run.moving]
    assert sorted(moving) == [("argument", 0), ("argument", 1), ("result", 0)]


def test_what_a_loop_in_one_side_makes_does_not_move(emulated):
    def function(x):
        total = x * 1.0
        if total.sum() < 20.0:
            for k in range(12):
                total = np.roll(total, 1) + x[k % 5] * k
        return np.sort(total)

    (run,) = pieces(function, X)
    assert {root.kind for root in run.run.moving} == {"argument", "result"}
    on_device = gc.compile(function, target="cuda")
    for x in (X, X * 9.0, X):
        np.testing.assert_allclose(np.asarray(on_device(x)), function(x), rtol=1e-12)


def test_the_memory_that_a_branch_chose_moves_where_the_host_decides():
    def function(x, y):
        print(x.sum())  # noqa: T201
        if x.sum() > 0:
            z = x
        else:
            z = y
            print("less")  # noqa: T201
        return np.sort(z) * 2.0 + np.cumsum(z)

    *_, run = pieces(function, X, X + 1.0)
    assert "choice" in {root.kind for root in run.moving}


def test_a_while_loop_is_part_of_its_run_and_repeated_where_the_host_decides():
    def function(x):
        while x.sum() < 100.0:
            x = np.sort(np.exp(x))
        return x

    (run,) = pieces(function, X)
    assert isinstance(run, Decided)
    assert run.has_loop
    (loop,) = [piece for piece in run.apart if isinstance(piece, Repeated)]
    assert set(kinds(loop.test) + kinds(loop.body)) == {Straight}


def test_a_conditional_that_is_too_long_is_cut():
    def function(x):
        if x.sum() > 0:
            for _ in range(4):
                x = np.sort(x[::-1])
        return x

    found = pieces(function, X, most=3)
    assert Chosen in kinds(found)
    assert Decided not in kinds(found)


def test_a_function_of_this_machine_stands_alone():
    def function(x):
        print(x.sum())  # noqa: T201
        return x * 2.0

    assert Foreign in kinds(pieces(function, X))


@pytest.mark.parametrize("most", [1, 2, 3])
def test_runs_are_never_longer_than_they_may_be(most):
    found = pieces(lambda x: np.cumsum(np.sort(np.cumsum(np.sort(x)))), X, most=most)
    assert [run.calls <= most for run in found] == [True] * len(found)
    assert sum(run.calls for run in found) == 4
