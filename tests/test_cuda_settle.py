"""Conditionals and loops that the device decides: memory that does not depend on the decision."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc.runtime.cuda.current import use
from graphc.runtime.cuda.emulated.host import HostDevice
from graphc.runtime.cuda.settle import settled
from graphc.runtime.planner import make_program
from graphc.runtime.program import Branch, Call, Repeat, parts

X = np.linspace(-1.0, 2.0, 12).reshape(3, 4)


def either_side(x):
    return np.cumsum(x * 2.0 if x.sum() > 1.0 else x - 1.0)


def an_argument_or_another(x, y):
    z = x if x.sum() > 0 else y
    return np.sort(z) * 2.0 + np.cumsum(z).reshape(z.shape)


def an_update_or_none(p, g):
    q = p - g if np.isfinite(g.sum()) else p
    return q, q.sum()


def a_result_that_is_chosen_from(x, y):
    a = np.sort(x) * 2.0
    b = a if x.sum() > 0 else np.sort(y)
    return a, b


def a_result_of_both_sides_that_is_chosen_from(x, y):
    if x.sum() > 0:
        a = np.sort(x)
        b = a
    else:
        a = np.cumsum(y).reshape(y.shape)
        b = np.sort(y) * 3.0
    return np.tanh(b), a


def exchanged(x, y):
    a, b = (x * 2.0, y + 1.0) if x.sum() > 0 else (y - 1.0, x)
    c, d = (b, a) if y.sum() > 1.0 else (a, b)
    return c, d, c - d


def one_value_twice(x):
    y, z = (np.sort(x), x) if x.sum() > 1.0 else (x, x * 3.0)
    return y, z + y


def a_side_that_reads_what_it_replaces(x):
    for _ in range(3):
        if x.sum() > 3.0:
            x = x * 0.5
        else:
            y = np.sort(x * 3.0)
            x = y + np.cumsum(x).reshape(x.shape)
    return x


def transposed(x):
    y = x @ x.T
    return (np.sort(y) if y.sum() > 1.0 else y * 2.0).T


def a_chain(x):
    s = x.sum()
    if s > 5.0:
        x = np.sort(x * 2.0)
    elif s > 1.0:
        x = x + 1.5
    elif s > -1.0:
        x = x[::-1] * 3.0
    return x * x


def until(x):
    n = 0
    while x.sum() < 100.0:
        x, n = np.sort(np.exp(x * 0.5) + x), n + 1
    return x, n


def in_turns(a, b):
    a, b, n = abs(a.sum()), abs(b.sum()) + 5.0, 0
    while a < 100.0:
        a, b, n = b, a + b, n + 1
    return a, b, n


def three_in_turns(x):
    a, b, c = abs(x[0]), abs(x[1]), abs(x[2]) + 2.0
    while a.sum() < 50.0:
        a, b, c = b, c, a + b + c
    return a, b, c


def a_chain_in_a_loop(x):
    x = np.abs(x)
    while x.sum() < 100.0:
        if x[0, 0] > 3:
            x = np.sort(x * 2.0)
        elif x[0, 1] > 4:
            x = x + 1.5
        else:
            x = x.T.reshape(x.shape) + 1.0
    return x


def a_loop_in_a_loop(x):
    while x.sum() < 200.0:
        y = x
        while y.sum() < x.sum() + 30.0:
            y = y + np.abs(np.cumsum(x)).reshape(x.shape) + 0.1
        x = np.sort(y)
    return x


def a_loop_on_one_side(x):
    if x.sum() > 0:
        while x.sum() < 100.0:
            x = np.sort(np.abs(x) * 1.5) + 0.1
    else:
        x = x * 2.0
    return np.cumsum(x)


def a_scan_with_a_conditional(x):
    total, seen = x[0], []
    for row in x:
        total = np.sort(total + row) if total.sum() < 3.0 else total * 0.5
        seen.append(total.sum())
    return total, np.stack(seen)


ONE = [
    either_side,
    one_value_twice,
    a_side_that_reads_what_it_replaces,
    transposed,
    a_chain,
    until,
    three_in_turns,
    a_chain_in_a_loop,
    a_loop_in_a_loop,
    a_loop_on_one_side,
    a_scan_with_a_conditional,
]
TWO = [an_argument_or_another, an_update_or_none, exchanged, in_turns]
TWO += [a_result_that_is_chosen_from, a_result_of_both_sides_that_is_chosen_from]
CASES = [(f, 1) for f in ONE] + [(f, 2) for f in TWO]
GIVEN = [(X, X[::-1]), (X - 1.5, X + 1.0), (X + 1.0, X - 2.0)]


@pytest.mark.parametrize(("function", "count"), CASES, ids=lambda v: getattr(v, "__name__", ""))
@pytest.mark.parametrize("decides", [True, False], ids=["device", "host"])
def test_whoever_decides_the_values_are_the_same(function, count, decides):
    step = gc.compile(function, target="cuda")
    with use(HostDevice(decides=decides)) as session:
        for _ in range(4):
            for given in GIVEN:
                got = step(*map(gc.to_device, given[:count]))
                wanted = function(*given[:count])
                pairs = zip(got, wanted, strict=True) if isinstance(got, tuple) else [(got, wanted)]
                for mine, right in pairs:
                    np.testing.assert_allclose(np.asarray(mine), right, rtol=1e-12)
        assert bool(session.device.replays) or not decides


@pytest.mark.parametrize("rows", [1, 3])
def test_results_that_are_kept_lie_somewhere_else_each_time(rows):
    step = gc.compile(a_chain, target="cuda")
    with use(HostDevice()) as session:
        given = [x[:rows] for pair in GIVEN for x in pair]
        arrays = [gc.to_device(x) for x in given]
        kept = [[step(x) for x in arrays] for _ in range(4)]
        for made in kept:
            for mine, x in zip(made, given, strict=True):
                np.testing.assert_allclose(np.asarray(mine), a_chain(x), rtol=1e-12)
        assert rows == 3 or session.device.replays


def test_an_update_in_place_that_is_skipped():
    @gc.compile(target="cuda")
    def step(p, m, g):
        if np.isfinite(g.sum()):
            m[:] = m * 0.9 + g
            p -= 0.1 * m
        return p.sum()

    bad = X.copy()
    bad[1, 1] = np.nan
    for decides in (True, False):
        with use(HostDevice(decides=decides)):
            p, m = gc.to_device(X), gc.to_device(X * 0.0)
            right_p, right_m = X.copy(), X * 0.0
            for g in (X, bad, X, X, bad, X):
                step(p, m, gc.to_device(g))
                if g is X:
                    right_m = right_m * 0.9 + g
                    right_p = right_p - 0.1 * right_m
                np.testing.assert_allclose(np.asarray(p), right_p, rtol=1e-12)
                np.testing.assert_allclose(np.asarray(m), right_m, rtol=1e-12)


# ---- what is copied ------------------------------------------------------------------------------


def program(function, *args):
    return make_program(gc.compile(function).graph(*args, stage="fused"))


def every(items):
    for item in items:
        yield item
        for part in parts(item):
            yield from every(part)


def copies(made):
    return [i for i in every(made.items) if isinstance(i, Call) and i.kernel.name == "copy"]


def test_sides_make_the_value_where_it_is_read():
    made = settled(program(either_side, X))
    (branch,) = (item for item in made.items if isinstance(item, Branch))
    assert branch.choices == ()
    assert branch.then[-1].roots[-1] is branch.otherwise[-1].roots[-1]
    assert not copies(made)


def test_a_result_is_made_where_it_is_wanted_and_copied_on_the_other_side_alone():
    made = settled(program(an_update_or_none, X, X))
    (branch,) = (item for item in made.items if isinstance(item, Branch))
    (copy,) = copies(made)
    assert branch.otherwise == (copy,)
    assert [root.kind for root in copy.roots] == ["argument", "result"]


def test_a_chain_of_conditionals_copies_once():
    """What it leaves as it was: each other side makes the value in its place."""
    assert len(copies(settled(program(a_chain, X)))) == 1


def test_what_a_loop_carries_goes_home_in_one_launch():
    made = settled(program(three_in_turns, X))
    (loop,) = (item for item in made.items if isinstance(item, Repeat))
    assert not (loop.blocks or loop.following or loop.results)
    assert len(copies(made._replace(items=loop.body))) == 1


def test_a_loop_that_keeps_records_is_left_as_it_is():
    def loss(x):
        while (x**2).sum() < 50.0:
            x = x * 1.5 + 0.1
        return (x**3).sum()

    made = program(gc.grad(loss), X)
    loops = [item for item in settled(made).items if isinstance(item, Repeat)]
    assert any(loop.results or loop.blocks for loop in loops)


def test_a_program_without_decisions_is_the_same():
    made = program(lambda x: np.cumsum(np.sort(x)), X)
    assert settled(made) is made
