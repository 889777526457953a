"""Conditionals on traced values: one equation each, closed branches, and what cannot be merged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_syntax import define

import graphc as gc
from graphc import errors
from graphc.ir import Graph, all_eqns

X = np.arange(3.0)


def conds(graph: Graph) -> int:
    return sum(eqn.op.name == "cond" for eqn in all_eqns(graph))


def same(function: Any, *args: Any) -> None:
    """The function compiled gives what it gives, and does to its arguments what it does."""
    plain = [np.copy(a) if isinstance(a, np.ndarray) else a for a in args]
    given = [np.copy(a) if isinstance(a, np.ndarray) else a for a in args]
    wanted, got = function(*plain), gc.compile(function)(*given)
    for a, b in zip([got, *given], [wanted, *plain], strict=True):
        np.testing.assert_array_equal(a, b)


# ---- what stays Python ---------------------------------------------------------------------------


def test_python_values_stay_python() -> None:
    def f(x, names, flag=False):
        total = x * 0
        for name in names:
            if name == "skip" or not name:
                continue
            if flag and len(name) > 2:
                break
            total += len(name) if x.ndim == 1 else 0
        while total.ndim > 1:
            total = total[0]
        return total

    assert conds(gc.trace(f, X, ("a", "skip", "", "bcd"))) == 0
    same(f, X, ("a", "skip", "", "bcd"))
    same(f, X, ("a", "skip", "", "bcd"), True)


def test_constant_conditions_inside_branches() -> None:
    def f(x, n):
        if x[0] >= 0:
            y = x if n is None else x * 2
        else:
            y = -x
        return y

    assert conds(gc.trace(f, X, None)) == 1
    same(f, X, None)
    same(f, -1 - X, 3)


# ---- aliases and updates -------------------------------------------------------------------------


def test_a_branch_that_fails_to_assign_leaves_the_array() -> None:
    def f(x, y, s):
        if s > 0:
            x[0] = y[1]
            y += 1
        elif s < -1:
            y[:] = x
        return x + y

    for s in (1.0, -1.0, -2.0):
        same(f, X, X * 10, s)


def test_a_view_assigned_in_a_branch() -> None:
    def f(x, s):
        y = x[1:]
        z = x.T
        if s > 0:
            y[0] = 5
            z += 1
        y *= 2
        return x

    for s in (1.0, -1.0):
        same(f, X, s)


def test_assigning_to_one_of_two_arrays_chosen_by_a_condition_is_refused() -> None:
    def f(x, y, s):
        z = x if s > 0 else y
        z += 1
        return z

    with pytest.raises(errors.ReadOnlyError, match=r"either of two others.*use x = x"):
        gc.compile(f)(X.copy(), X.copy(), 1.0)

    def repaired(x, y, s):
        z = (x if s > 0 else y).copy()
        z += 1
        return z

    same(repaired, X, X * 2, 1.0)
    same(repaired, X, X * 2, -1.0)


def test_swaps_of_arrays_in_a_branch() -> None:
    def f(x, y, s):
        if s > 0:
            x, y = y, x
        return x - 2 * y

    same(f, X, X * 3, 1.0)
    same(f, X, X * 3, -1.0)


# ---- numbers -------------------------------------------------------------------------------------


def test_python_numbers_take_the_type_of_the_other_side() -> None:
    def f(x, s):
        y = 0 if s > 0 else x[0]
        z = 1 if s > 0 else 2.5
        return y, z * x

    for s in (1.0, -1.0):
        for x in (X, X.astype(np.float32)):
            y, z = gc.compile(f)(x, s)
            assert y.dtype == z.dtype == x.dtype


def test_conditions_of_one_element() -> None:
    same(lambda x: x * 2 if x[:1] > 5 else x, X)
    same(lambda x: x * 2 if x[None, 1:2] else x, X)
    same(lambda n: 1.5 if n else 2.5, 3)
    same(lambda n: n or 7, 0)
    same(lambda n: n and 7, 0)


def test_a_reused_condition_is_one_value() -> None:
    def f(x):
        p = x[0] > 0
        a = 1.0 if p else 2.0
        b = x if p else -x
        return a * b

    assert conds(gc.trace(f, X)) == 2
    same(f, X)


# ---- what cannot be ------------------------------------------------------------------------------


def one_sided(x):
    if x[0] > 0:
        extra = x * 2
    return extra


def one_sided_else(x):
    if x[0] > 0:
        pass
    else:
        extra = x * 2
    return extra + 1


def different_shapes(x):
    if x[0] > 0:
        y = x
    else:
        y = x[:2]
    return y


def different_dtypes(x):
    return x.astype(int) if x[0] > 0 else x


def different_structures(x):
    if x[0] > 0:
        return x, 1.0
    return x


def different_kinds(x):
    if x[0] > 0:
        y = {"a": x}
    else:
        y = [x]
    return y["a"]


def missing_return(x):
    if x[0] > 0:
        return x


def ambiguous(x):
    if x > 0:
        return x
    return -x


def ambiguous_and(x):
    return x if x > 0 and x < 1 else -x


def raise_in_a_branch(x):
    if x[0] > 0:
        raise KeyError("positive")
    return x


@pytest.mark.parametrize(
    ("function", "kind", "message"),
    [
        (
            different_shapes,
            errors.BranchMismatchError,
            r"f64\[3\] in the then .*f64\[2\] in the else",
        ),
        (different_dtypes, errors.BranchMismatchError, r"i64\[3\] in the then .*f64\[3\]"),
        (different_structures, errors.BranchMismatchError, "make both"),
        (different_kinds, errors.BranchMismatchError, "'y' is .* make both"),
        (missing_return, errors.GraphcError, "None"),
        (
            ambiguous,
            errors.AmbiguousTruthError,
            r"array bool\[3\] is ambiguous; use np.any or np.all",
        ),
        (ambiguous_and, errors.AmbiguousTruthError, "np.where"),
        (
            raise_in_a_branch,
            errors.UnsupportedSyntaxError,
            "raises KeyError.* can raise IndexError, Val",
        ),
    ],
)
def test_what_cannot_be_merged(function: Any, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message) as raised:
        gc.compile(function)(X)
    text = str(raised.value)
    first = function.__code__.co_firstlineno
    lines = range(first, first + 8)
    assert any(f"test_control.py:{line}: " in text for line in lines), text


def test_a_mismatch_names_the_lines_of_both_branches() -> None:
    with pytest.raises(errors.BranchMismatchError) as raised:
        gc.compile(different_shapes)(X)
    first = different_shapes.__code__.co_firstlineno
    assert f"test_control.py:{first + 2})" in str(raised.value)
    assert f"test_control.py:{first + 4})" in str(raised.value)


@pytest.mark.parametrize("function", [one_sided, one_sided_else])
def test_a_one_sided_name_is_missed_where_the_other_branch_runs(function: Any) -> None:
    step = gc.compile(function)
    for x in (X, -X):
        try:
            expected = function(x)
        except UnboundLocalError:
            with pytest.raises(errors.UnboundNameError, match="gave it no value") as raised:
                step(x)
            assert isinstance(raised.value, UnboundLocalError)
        else:
            np.testing.assert_array_equal(step(x), expected)


def test_a_one_sided_name_that_nobody_reads_is_no_error() -> None:
    def f(x):
        if x[0] > 0:
            t = x * 2
            x = t + 1
        else:
            u = 3
            x = x * u
        return x

    same(f, X)
    same(f, X + 1)


def test_a_one_sided_name_given_later_is_no_error() -> None:
    def f(x):
        if x[0] > 0:
            t = x * 2
            x = x + t
        t = x
        return t

    same(f, X + 1)


# ---- branches that raise -------------------------------------------------------------------------


def test_a_branch_that_raises_does_so_when_it_is_taken() -> None:
    def guarded(x, n):
        if n < 0:
            raise ValueError(f"n is {-1} at least")
        elif n == 0:
            y = x[7]
        elif n == 1:
            y = 1 // 0
        else:
            y = x[1]
            x[0] = y
        return y * 2

    same(guarded, X, 5)
    compiled = gc.compile(guarded)
    first = guarded.__code__.co_firstlineno
    for n, kind, line, message in (
        (-3, ValueError, 2, "n is -1 at least"),
        (0, IndexError, 4, "index 7 is out of bounds for an axis of size 3"),
        (1, ZeroDivisionError, 6, "integer division or modulo by zero"),
    ):
        with pytest.raises(kind, match=f"test_control.py:{first + line}: {message}"):
            compiled(X.copy(), n)


def test_gradients_beside_a_branch_that_raises() -> None:
    def f(x):
        if x.sum() < 0:
            raise ValueError("negative")
        return np.sum(np.sqrt(x)) if x[0] > 0 else x[5]

    np.testing.assert_allclose(gc.grad(f)(X + 1), 0.5 / np.sqrt(X + 1), rtol=1e-15)
    with pytest.raises(ValueError, match="negative"):
        gc.grad(f)(-X)
    with pytest.raises(IndexError, match="index 5"):
        gc.grad(f)(X)


def test_graphc_errors_in_a_branch_are_raised_at_once() -> None:
    def f(x):
        return np.unique(x) if x[0] > 0 else x

    with pytest.raises(errors.DataDependentShapeError):
        gc.compile(f)(X)


TABLE = np.arange(10.0) ** 2


def test_an_ordinary_array_is_read_at_traced_positions():
    def look_up(x, i):
        return TABLE[i] + TABLE[np.argmax(x)] + TABLE[2:4].sum()

    x = np.array([1.0, 5.0, 2.0])
    assert gc.compile(look_up)(x, 7) == look_up(x, 7)
    with pytest.raises(IndexError, match="index 10 is out of bounds"):
        gc.compile(look_up)(x, 10)


def test_what_follows_a_return_is_traced_once():
    """Twenty times an `if` of which a part returns: the graph grows in proportion, not doubling."""
    lines = ["def repeated(x):"]
    for k in range(20):
        lines += [f"    if x[0] > {k}:", f"        if x[1] > {k}: return x", "        x = x + 1.0"]
    function = define("\n".join([*lines, "    return -x"]))["repeated"]
    graph = gc.trace(function, gc.Spec((2,), "f64"))
    assert sum(1 for _ in all_eqns(graph)) < 500


def test_bools_that_branches_set():
    def find(x):
        found = False
        for v in x:
            if v > 1:
                found = True
        return found

    def differ(x):
        return (True, x) if x[0] > 0 else (False, -x)

    for sign in (1.0, -1.0):
        same(find, sign * X)
        same(lambda x: differ(x)[0], sign * X)


def rebound_and_assigned_into(x):
    y = x * 1.0
    if x[0] > 0.5:
        if x[1] > 0.5:
            y = y * 0.5 + x
        y[1] = 2.0
    else:
        y[2] = 5.0
        if x[1] < -0.5:
            y = y + 1.0
        y[0] = 7.0
    y[0] += 1.0
    return y


def assigned_into_by_one_branch_and_rebound_by_the_other(x):
    y = x * 1.0
    if x[0] > 0:
        y[0] = 3.0
    else:
        if x[1] > 0:
            y = y * 2.0
        y[1] = 4.0
    return y


@pytest.mark.parametrize(
    "function", [rebound_and_assigned_into, assigned_into_by_one_branch_and_rebound_by_the_other]
)
def test_an_array_that_no_variable_holds_any_more_may_be_assigned_into(function):
    for x in ([1.0, 1.0, 1.0], [1.0, 0.0, 1.0], [-1.0, -1.0, 1.0], [-1.0, 1.0, 1.0]):
        same(function, np.array(x))


def test_none_in_one_branch_is_told_what_to_begin_with():
    def last(x):
        found = None
        for value in x:
            if value > 0:
                found = value
        return 0.0 if found is None else found

    with pytest.raises(errors.BranchMismatchError, match="begin with a number instead of None"):
        gc.compile(last)(np.array([-1.0, 2.0, -3.0]))
