"""Lists, dicts and objects that branches change: both branches start from the same contents."""

from __future__ import annotations

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
        (of_the_caller, errors.UnsupportedSyntaxError, "return the new value"),
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


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.sort(),
        lambda d: np.put(d, [0], [9.0]),
        lambda d: np.add.at(d, [0, 0], 1.0),
        lambda d: np.copyto(d, 9.0),
    ],
)
def test_an_ordinary_array_is_not_changed_in_a_branch(change):
    def program(x):
        d = np.array([3.0, 1.0])
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
