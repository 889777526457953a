"""Lists, dicts and objects that branches change: both branches start from the same contents."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import errors
from graphc.trace.mutations import Watched

X = np.arange(3.0)


class Box:
    """An object with attributes."""


def appended(x, s):
    out = [x]
    if s > 0:
        out.append(x)
    else:
        out.append(-x)
    return out[1] * len(out)


def appended_by_a_helper(x, s):
    def add(out, v):
        if s > 0:
            out.append(v)
        else:
            out.append(-v)

    out = []
    for v in x:
        add(out, v)
    return np.array(out)


def appended_before_a_return(x, s):
    out = [x]
    if s > 0:
        out.append(x * 2)
        return np.stack(out).sum()
    out.append(x * 3)
    out.append(x)
    return np.stack(out).sum()


def entries(x, s):
    d = {"a": x, "k": x * 3}
    if s > 0:
        d["a"] = x * 2
        d["n"] = 1.0
    else:
        d["n"] = 2.0
    return d["a"] * d["n"] + d["k"]


def nested_entries(x, s):
    d = {"a": [x, x * 2]}
    if s > 0:
        d["a"][1] = d["a"][1] + 1
        if s > 1:
            d["a"][0] = x * 9
    return d["a"][0] + d["a"][1]


def attributes(x, s):
    box = Box()
    box.v = x
    if s > 0:
        box.v = box.v * 2
    return box.v


def removed_entries(x, s):
    d = {"a": x}
    if s > 0:
        del d["a"]
        d["b"] = x
    else:
        d["b"] = d.pop("a") * 2
    return d["b"] + len(d)


def beside_a_branch_that_raises(x, s):
    d = {"a": x}
    if s > 100:
        raise ValueError("large")
    d["a"] = d["a"] + 1
    if s > 50:
        raise ValueError("large")
    else:
        d["b"] = x
    return d["a"] + d["b"]


@pytest.mark.parametrize(
    "function",
    [
        appended,
        appended_by_a_helper,
        appended_before_a_return,
        entries,
        nested_entries,
        attributes,
        removed_entries,
        beside_a_branch_that_raises,
    ],
)
def test_changes_are_those_of_the_taken_branch(function: Any) -> None:
    compiled = gc.compile(function)
    for s in (1.0, -1.0, 2.0):
        np.testing.assert_array_equal(compiled(X, s), function(X, s))


def different_lengths(x, s):
    out = []
    if s > 0:
        out.append(x)
    return len(out) * x


def one_sided_entry(x, s):
    d = {}
    if s > 0:
        d["q"] = x
    return d["q"]


def in_an_expression(x, s):
    out = []
    out.append(x) if s > 0 else None
    return x


def of_the_caller(x, s):
    def add(out):
        if s > 0:
            out.append(x)
            return 1.0
        return 2.0

    out = []
    return add(out) * len(out)


@pytest.mark.parametrize(
    ("function", "kind", "message"),
    [
        (different_lengths, errors.OneSidedNameError, r"list\[0\] is defined only in the then"),
        (one_sided_entry, errors.OneSidedNameError, r"dict\['q'\] is defined only in the then"),
        (in_an_expression, errors.UnsupportedSyntaxError, "a list that was made before it"),
        (of_the_caller, errors.OneSidedNameError, r"list\[0\] is defined only in the then"),
    ],
)
def test_changes_that_cannot_be_merged(function: Any, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message) as raised:
        gc.compile(function)(X, 1.0)
    assert "test_mutations.py:" in str(raised.value)


def test_a_one_sided_entry_that_nobody_reads_is_no_error() -> None:
    def f(x, s):
        d = {"x": x}
        if s > 0:
            d["note"] = 1.0
        return d["x"]

    np.testing.assert_array_equal(gc.compile(f)(X, 1.0), X)


def test_watched_containers() -> None:
    box = Box()
    box.inner = {"k": (1, [2])}
    names, marks = [box, box], {1}
    watched = Watched([names, marks, np, len, X])
    assert len(watched.containers) == 5
    assert not watched.changed()
    box.inner["k"][1].append(3)
    marks.add(2)
    assert sorted(map(repr, watched.changes(None))) == ["list[1]", "set[2]"]
    watched.restore()
    assert box.inner == {"k": (1, [2])} and marks == {1}
    assert not watched.changed()


CHANGES = [
    lambda d: d.sort(),
    lambda d: np.put(d, [0], [9.0]),
    lambda d: np.add.at(d, [0, 0], 1.0),
    lambda d: np.copyto(d, 9.0),
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("x", [1.0, -1.0])
def test_an_array_that_the_function_makes_is_changed_in_a_branch(change, x):
    def program(x):
        d = np.array([3.0, 1.0])
        if x > 0:
            change(d)
        return x * d

    assert np.array_equal(gc.compile(program)(x), program(x))


@pytest.mark.parametrize("change", CHANGES)
def test_an_ordinary_array_is_not_changed_in_a_branch(change):
    def program(x):
        d = np.tile([3.0, 1.0], 1)
        if x > 0:
            change(d)
        return x * d

    with pytest.raises(gc.errors.UnsupportedSyntaxError, match="changes an ordinary array"):
        gc.compile(program)(-1.0)


COUNT = 1.0


def bump():
    global COUNT
    COUNT = COUNT + 1.0


def test_a_global_variable_is_not_changed_by_what_a_branch_calls():
    def program(x):
        if x > 0:
            bump()
        return x * COUNT

    with pytest.raises(gc.errors.UnsupportedSyntaxError, match="global variable COUNT"):
        gc.compile(program)(-1.0)
    assert COUNT == 1.0


# ---- state out of sight --------------------------------------------------------------------------


def nested_dict(x):
    d = {}
    if x[0] > 0:
        if x[1] > 0:
            d["k"] = 1.0
        else:
            d["k"] = 2.0
    else:
        d["k"] = 3.0
    return d["k"] * x


def nonlocal_in_a_branch(x):
    t = 0.0

    def bump(v):
        nonlocal t
        t = t + v

    if x[0] > 0:
        bump(x[1])
    else:
        bump(-x[2])
    return t


def nonlocal_in_loops(x):
    t = 0.0

    def bump(v):
        nonlocal t
        t = t + v

    for i in range(20):
        bump(x[i % 3])
    while t < 500.0:
        bump(100.0)
    return t


def list_of_a_closure(x):
    t = [0.0]

    def bump(v):
        t[0] = t[0] + v

    for i in range(10):
        if x[i % 3] > 0:
            bump(x[1])
    return t[0] * x


@pytest.mark.parametrize(
    "function", [nested_dict, nonlocal_in_a_branch, nonlocal_in_loops, list_of_a_closure]
)
def test_state_out_of_sight_follows_the_taken_branch(function):
    for sign in (1.0, -1.0):
        x = sign * np.array([1.0, 2.0, 3.0])
        np.testing.assert_allclose(gc.compile(function)(x), function(x))


SEEN = []


def appends_to_a_deque(x):
    queue = deque([1.0])
    if x[0] > 0:
        queue.append(3.0)
    return x * len(queue)


def appends_to_a_global(x):
    if x[0] > 0:
        SEEN.append(1)
    return x


def advances_an_iterator(x):
    numbers = iter([1.0, 2.0])
    a = next(numbers) if x[0] > 0 else 5.0
    return x * a


def advances_a_generator(x):
    numbers = (k for k in range(3))
    if x[0] > 0:
        x = x * next(numbers)
    return x


def changes_a_large_array(x):
    table = np.arange(20_000)
    if x[0] > 0:
        table[0] = 5
    return x * table[0]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (appends_to_a_deque, "deque"),
        (appends_to_a_global, "list"),
        (advances_an_iterator, "changes a list_iterator"),
        (advances_a_generator, "changes a generator"),
        (changes_a_large_array, r"large ordinary array of shape \(20000,\)"),
    ],
)
def test_state_that_cannot_follow_is_an_error(function, message):
    with pytest.raises(gc.errors.GraphcError, match=message):
        gc.compile(function)(np.ones(3))
    assert not SEEN


class Tally:
    def __init__(self) -> None:
        self.total, self.count = 0.0, 0

    def add(self, v: Any) -> Tally:
        if v < 0.0:
            return self
        self.total += v
        self.count += 1
        return self

    @property
    def mean(self) -> Any:
        return self.total / self.count if self.count > 0 else 0.0


def tallied(x: Any, n: Any) -> Any:
    tally, i = Tally(), 0
    while i < n:
        tally.add(x[i % 4]).add(x[(i + 1) % 4])
        i += 1
    return tally.mean, tally.count


@pytest.mark.parametrize("n", [0, 3, 6])
def test_methods_that_return_early_and_properties(n: int) -> None:
    x = np.array([0.5, -1.5, 2.0, 3.0])
    assert np.allclose(gc.compile(tallied)(x, n), tallied(x, n))


def returned_object(x: Any, flag: Any) -> Any:
    def pick() -> Any:
        if flag > 0:
            return first
        return second

    first, second = Tally(), Tally()
    return pick().add(x[0]).total


def test_objects_that_only_one_branch_returns() -> None:
    with pytest.raises(errors.BranchMismatchError, match="returns an object"):
        gc.compile(returned_object)(np.ones(3), 1.0)


def chosen_after_it_was_assigned_to(x: Any, t: Any) -> Any:
    if x[2] > t:
        x[0] += 1.0
        y = x
    else:
        y = x * 1.0
    x[1] = 99.0
    return y


def test_an_array_that_its_branch_changed_may_still_be_the_same_one() -> None:
    with pytest.raises(errors.StaleValueError, match="was assigned to since"):
        gc.compile(chosen_after_it_was_assigned_to)(np.arange(4.0), 1.0)
