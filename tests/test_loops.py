"""Loops from plain Python: which of them are nodes, which are unrolled, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import errors
from graphc.ir import all_eqns

X = np.array([1.0, 2.0, 3.0])


def ops(function: Any, *args: Any) -> list[str]:
    return [eqn.op.name for eqn in all_eqns(gc.trace(function, *args))]


def loops(function: Any, *args: Any) -> list[str]:
    return list(gc.compile(function).explain(*args).loops)


# ---- the rule ------------------------------------------------------------------------------------


def test_a_long_loop_is_one_equation_however_long():
    def steps(x, n):
        for _ in range(n):
            x = np.tanh(x) * 1.01
        return x

    traces = [gc.trace(lambda x, n=n: steps(x, n), X) for n in (100, 10_000)]
    assert [len(list(all_eqns(graph))) for graph in traces] == [5, 5]
    (note,) = loops(lambda x: steps(x, 10_000), X)
    assert "test_loops.py:30: scan (10000 iterations of 4 operations)" in note


def test_a_short_loop_is_unrolled():
    def thrice(x):
        for k in range(3):
            x = x * k
        return x

    assert "scan" not in ops(thrice, X)
    (note,) = loops(thrice, X)
    assert "unrolled (3 iterations)" in note


def test_a_body_that_needs_its_index_is_unrolled():
    def layers(x):
        names = ["a" * k for k in range(30)]
        for k in range(30):
            x = x + 2.0 * len(names[k])
        return x

    assert "scan" not in ops(layers, X)
    assert "needs a known value" in " ".join(loops(layers, X))
    np.testing.assert_allclose(gc.compile(layers)(X), layers(X))


def test_a_loop_over_numbers_stays_python():
    def table(x):
        total = 0
        for k in range(1000):
            total += k
        return x[total % 3] * total

    assert "scan" not in ops(table, X) and "while" not in ops(table, X)
    assert gc.compile(table)(X) == table(X)


def test_a_list_of_numbers_is_read_by_a_loop():
    def layers(x):
        weights = [2.0 * k for k in range(100)]
        for k in range(100):
            x = x + weights[k]
        return x

    assert "scan" in ops(layers, X)
    np.testing.assert_allclose(gc.compile(layers)(X), layers(X))


def test_a_list_needs_the_values_of_an_int_argument():
    def chosen(x, n):
        names = ["a", "bb", "ccc", "dddd", "eeeee", "ffffff"]
        for k in range(n):
            x = x * len(names[k])
        return x

    compiled = gc.compile(chosen)
    for n in (2, 6, 0):
        np.testing.assert_allclose(compiled(X, n), chosen(X, n))
    assert "n = 2" in compiled.explain(X, 2).specialisations[0]


def test_a_while_whose_test_is_known_becomes_a_node_after_a_while():
    def counted(x):
        k = 0
        while k < 10_000:
            x = x * 0.999
            k += 1
        return x

    graph = gc.trace(counted, X)
    assert len(list(all_eqns(graph))) < 40
    np.testing.assert_allclose(gc.compile(counted)(X), counted(X), rtol=1e-10)


# ---- types that grow -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_python_number_takes_the_type_of_the_fixed_point(dtype):
    def total(x):
        s = 0
        while s < 10:
            s = s + x[0]
        return s

    x = X.astype(dtype)
    got = gc.compile(total)(x)
    assert got == 10.0 and got.dtype == dtype


def test_an_int_that_becomes_a_float():
    def halves(limit):
        x = 0
        while x < limit:
            x = x + 0.5
        return x

    assert gc.compile(halves)(2.2) == halves(2.2)


def test_a_bool_that_the_body_sets():
    def crossed(x, limit):
        seen = False
        total = 0.0
        while total < limit:
            if x[1] > total:
                seen = True
            total = total + x[0]
        return total * 2 if seen else total

    for limit in (-1.0, 5.0):
        assert gc.compile(crossed)(X, limit) == crossed(X, limit)


# ---- names ---------------------------------------------------------------------------------------


def test_a_name_of_the_loop_alone_after_no_iteration():
    def last(x, n):
        for k in range(n):
            y = x * k
        return y

    compiled = gc.compile(last)
    np.testing.assert_allclose(compiled(X, 4), last(X, 4))
    with pytest.raises(UnboundLocalError, match=r"'y': the loop at .*test_loops.py:\d+, which"):
        compiled(X, 0)


def test_a_name_of_the_loop_alone_that_nobody_reads():
    def unread(x, n):
        for k in range(n):
            y = x * k
            x = x + y
        return x

    np.testing.assert_allclose(gc.compile(unread)(X, 0), X)


def test_arguments_are_updated_in_place():
    def decay(w, n):
        for _ in range(n):
            w -= 0.1 * w
            w[0] = 1.0

    compiled, plain = X.copy(), X.copy()
    gc.compile(decay)(compiled, 30)
    decay(plain, 30)
    np.testing.assert_allclose(compiled, plain)


def test_attributes_and_entries_are_carried():
    class Counter:
        def __init__(self):
            self.count = 0

    def count(x):
        counter = Counter()
        seen = {"largest": x[0], "all": [x, 0.0]}
        while x.sum() > 1.0:
            x = x * 0.9
            counter.count += 1
            seen["largest"] = np.maximum(seen["largest"], x[1])
            seen["all"][1] = seen["all"][1] + x[0]
        return x, counter.count, seen["largest"], seen["all"][1]

    for got, wanted in zip(gc.compile(count)(X), count(X), strict=True):
        np.testing.assert_allclose(got, wanted)


def test_swapped_arrays_may_not_be_assigned_to():
    def swap(x, y, n):
        for _ in range(n):
            x, y = y, x
        x += 1.0
        return x

    with pytest.raises(errors.ReadOnlyError, match="copy"):
        gc.compile(swap)(X.copy(), X.copy(), 3)


# ---- what is refused -----------------------------------------------------------------------------


def grows(x):
    while x.sum() < 100:
        x = np.concatenate([x, x])
    return x


def becomes_an_array(x):
    total = 0
    while np.sum(total) < x[0] * 10:
        total = total + x
    return total


def changes_its_dtype(x):
    n = x.astype(np.int64)[0]
    while n < 10:
        n = n + 0.5
    return n


def appends(x):
    parts = []
    while x.sum() > 1:
        parts.append(x)
        x = x * 0.5
    return parts[0]


def changes_its_structure(x):
    pair = (x, x)
    while x.sum() > 1:
        x = x * 0.5
        pair = (x,)
    return pair


COUNT = 0


def counts_in_a_global(x):
    global COUNT
    while x.sum() > 1:
        COUNT += 1
        x = x * 0.5
    return x


@pytest.mark.parametrize(
    ("function", "kind", "message", "line"),
    [
        (grows, errors.CarriedTypeError, r"`x` is f64\[3\] before .* f64\[6\] after", 1),
        (becomes_an_array, errors.CarriedTypeError, r"`total` is i64\[\] before .* f64\[3\]", 2),
        (changes_its_dtype, errors.CarriedTypeError, r"`n` is i64\[\] before .* f64\[\]", 2),
        (appends, errors.CarriedTypeError, "a list grows in every iteration", 2),
        (changes_its_structure, errors.CarriedTypeError, r"`pair` is \(f64\[3\], f64\[3\]\)", 2),
        (counts_in_a_global, errors.UnsupportedSyntaxError, "the global 'COUNT'", 2),
    ],
)
def test_what_is_refused(function, kind, message, line):
    with pytest.raises(kind, match=message) as raised:
        gc.compile(function)(X)
    assert raised.value.loc.line == function.__code__.co_firstlineno + line


# ---- lists of floats -----------------------------------------------------------------------------

FACTORS = [1.0 + 0.01 * i for i in range(100)]


def test_a_long_list_of_floats_is_one_loop():
    def search(x):
        best = x * 0.0
        for factor in FACTORS:
            best = np.maximum(best, np.sin(x * factor))
            if best.sum() > 2.9:
                break
        return best, factor

    (note,) = loops(search, X)
    assert "while (it stops on data)" in note
    np.testing.assert_allclose(gc.compile(search)(X)[0], search(X)[0])
    assert gc.compile(search)(X)[1] == search(X)[1]


def test_floats_of_a_list_take_the_dtype_of_what_they_meet():
    def weighted(x):
        total = x * 0
        for i, (factor, other) in enumerate(zip(FACTORS, reversed(FACTORS))):
            total = total + factor * x / other + i
        return total

    x = X.astype(np.float32)
    result = gc.compile(weighted)(x)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, weighted(x), rtol=1e-5)


def test_a_body_that_must_know_the_floats_of_a_list_finds_them():
    def shaped(x):
        for factor in FACTORS:
            x = x + np.ones(int(factor) * 3)[:3] * TABLE[factor]
        return x

    np.testing.assert_allclose(gc.compile(shaped)(X), shaped(X))
    assert "unrolled" in loops(shaped, X)[0]


TABLE = {factor: -factor for factor in FACTORS}


def shorter(left, factor):
    left.pop()


def longer(left, factor):
    if len(left) < 150:
        left.append(0.5)


def other(left, factor):
    left[-1] = left[-1] + 1.0


@pytest.mark.parametrize("change", [shorter, longer, other])
def test_a_long_list_that_the_body_changes_is_gone_over_as_python_does(change):
    def consumed(x):
        left = list(FACTORS)
        for factor in left:
            x = x + factor
            change(left, factor)
        return x

    np.testing.assert_allclose(gc.compile(consumed)(X), consumed(X))


def test_the_gradient_through_a_long_list_of_floats():
    def product(x):
        for factor in FACTORS:
            if x.sum() > 3.0:
                x = x * 0.9
            x = x + np.sin(factor * x) * 0.1
        return x.sum()

    def slope(direction):
        return (product(X + 1e-6 * direction) - product(X - 1e-6 * direction)) / 2e-6

    expected = [slope(direction) for direction in np.eye(3)]
    np.testing.assert_allclose(gc.compile(gc.grad(product))(X), expected, rtol=1e-4)


# ---- exits of loops inside of other statements ---------------------------------------------------


def test_a_loop_that_breaks_inside_of_a_branch_inside_of_a_loop():
    """Its flag begins anew in each iteration, and is nothing that the outer loop carries."""

    def search(x, table):
        out = table * 1.0
        for k in range(9):
            if x < 3.0:
                x = x + 1.0
            else:
                while x > 5.0:
                    for entry in table:
                        x = x - entry
                        out[k % 4] = entry
                        if x < 4.0:
                            break
        return x, out

    table = np.array([0.5, 0.25, 1.5, 1.0])
    for x in (0.5, 20.0):
        for got, expected in zip(gc.compile(search)(x, table), search(x, table)):
            np.testing.assert_allclose(got, expected)


def test_a_loop_that_returns_inside_of_a_branch_inside_of_a_loop():
    def search(x, table):
        out = table * 1.0
        for k in range(9):
            if x > 5.0:
                for entry in table:
                    x = x - entry
                    out[k % 4] += entry
                    if x < 4.0:
                        return x * out.sum()
            else:
                x = x + 1.5
        return x

    table = np.array([0.5, 0.25, 1.5, 1.0])
    for x in (-20.0, 0.5, 20.0):
        np.testing.assert_allclose(gc.compile(search)(x, table), search(x, table))


def test_what_exits_of_inner_loops_set_is_not_carried_by_outer_ones():
    def search(x):
        for _ in range(9):
            for entry in range(9):
                x = x * 0.9
                if x < entry:
                    break
        return x

    graph = gc.trace(search, 20.0)
    (outer,) = [eqn for eqn in graph.eqns if eqn.op.name in ("scan", "while")]
    assert len(outer.outs) == 3  # x, _ and entry


# ---- arrays that iterations hand on --------------------------------------------------------------


def test_a_variable_that_becomes_an_argument_after_an_iteration():
    """From the second iteration on, the argument is what the loop assigns into."""

    def handed_on(x, y):
        a = x * 1.0
        for _ in range(9):
            a[0] += 1.0
            a = y
        return y * 1.0

    own, expected = np.array([1.0, 2.0]), np.array([1.0, 2.0])
    np.testing.assert_array_equal(gc.compile(handed_on)(X, own), handed_on(X, expected))
    np.testing.assert_array_equal(own, expected)


def test_a_variable_that_may_be_an_argument_is_not_assigned_into():
    def handed_on(x, y):
        a = x * 1.0
        n = 0
        while n < 5 and x.sum() < 100.0:
            n += 1
            part = a[::2]
            part *= 2.0
            a = y
        return y * 1.0

    with pytest.raises(errors.ReadOnlyError, match="may be either of two others"):
        gc.compile(handed_on)(X, X.copy())


def test_a_variable_that_an_inner_branch_may_have_left_an_argument_is_not_assigned_into():
    def handed_on(x, y):
        a = x * 1.0
        n = 0
        while n < 5 and x.sum() < 100.0:
            n += 1
            if np.all(x < 30.0):
                part = a[::2]
                part *= 2.0
                a = y
                if a[0] < -2.0:
                    a = np.cos(a)
        return y * 1.0

    with pytest.raises(errors.ReadOnlyError, match="may be either of two others"):
        gc.compile(handed_on)(X, X.copy())


def test_two_buffers_in_turn():
    def smoothed(u):
        u, after = u.copy(), np.zeros_like(u)
        for _ in range(20):
            after[1:-1] = u[1:-1] + 0.1 * (u[2:] - 2.0 * u[1:-1] + u[:-2])
            u, after = after, u
        return u

    x = np.linspace(0.0, 1.0, 12) ** 2
    np.testing.assert_allclose(gc.compile(smoothed)(x), smoothed(x), rtol=1e-14)


def test_a_variable_that_a_branch_replaces_by_an_array_of_the_iteration():
    def stepped(y):
        n = 0
        while n < 20 and y.sum() > 0.1:
            tried = y - 0.1 * y * y
            if np.abs(tried - y).max() < 0.5:
                y = tried
            n += 1
        return y, n

    x = np.array([0.9, 0.5, 0.1])
    np.testing.assert_allclose(gc.compile(stepped)(x)[0], stepped(x)[0], rtol=1e-14)
