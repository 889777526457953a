"""print, f-strings and assert on traced values: the same text, as often, in the same order."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import graphc as gc
from graphc import errors

X = np.array([1.0, 2.0, 3.0])


def outcome(function, args, capsys):
    """What a call prints, and its error."""
    try:
        function(*args)
        error = None
    except Exception as raised:  # noqa: BLE001
        error = raised
    return capsys.readouterr(), error


def same_text(function, cases, capsys):
    compiled = gc.compile(function)
    for args in cases:
        for _ in range(2):  # the second call may take another way into the step
            wanted, plain = outcome(function, args, capsys)
            got, error = outcome(compiled, args, capsys)
            assert isinstance(error, type(plain)), error
            assert str(plain).partition("\n")[0] in str(error)  # pytest adds to assertions
            assert got == wanted


def every_way(x, k):
    print("start", x, x[0], k, [x[1], 2], {"k": k}, sep="|")
    print(f"{x.sum():.3f} {x[0]!r:>30} {k=} {k:{'>6'}}", end="!\n")
    print("%5.2f and %s %d%%" % (x[0], x, k), "{:.1f}{k}".format(x[1], k=k), str(x[2]) + " end")
    print(repr(x[0]), format(x[1], ".2f"), "plain", 1.5, None, file=sys.stderr)
    print()


def in_branches_and_loops(x, k):
    if x[0] > k:
        print("then")
    elif x[1] > k:
        print(f"elif {x[1]}")
    for i in range(20):
        x = x * 0.9
        if i % 5 == 1:
            print("for", i, x[0])
            continue
        if x[0] < 0.2:
            print("break")
            break
    n = 0
    while x.sum() > 0.5:
        x = x * 0.5
        n += 1
        print("while", n, f"{x.sum():.4f}")
    return x


def fails_after_printing(x, k):
    print("before", x)
    assert k < 2, "k"
    print("after")
    assert x[0] < k, f"{x[0]} is not below {k}"
    if k > 0:
        raise ValueError(f"no {k}")
    return x


def in_a_loop_that_fails(x, k):
    total = 0.0
    for i in range(20):
        print(i)
        assert total < 5, "too large in iteration " + str(i)
        total = total + x[i % 3] * k
    return total


@pytest.mark.parametrize("function", [every_way, in_branches_and_loops])
def test_prints(function, capsys):
    same_text(function, [(X, 0), (X, 1), (X, 2)], capsys)


@pytest.mark.parametrize("function", [fails_after_printing, in_a_loop_that_fails])
def test_what_is_printed_before_a_failure(function, capsys):
    same_text(function, [(X, k) for k in (-1, 0, 1, 2, 3)], capsys)


def test_prints_run_once_when_differentiated(capsys):
    def loss(x):
        if x[0] > 0:
            print("loss", x.sum())
        return np.sum(x * x)

    np.testing.assert_allclose(gc.grad(loss)(X), 2 * X)
    assert capsys.readouterr().out == "loss 6.0\n"


def test_an_assertion_says_its_line():
    def positive(x):
        x = x - 2.0
        assert x[0] > 0, "not positive"
        return x

    compiled = gc.compile(positive)
    np.testing.assert_array_equal(compiled(X + 5), X + 3)
    for _ in range(2):
        with pytest.raises(AssertionError, match="not positive") as raised:
            compiled(X)
        assert raised.value.loc.line == positive.__code__.co_firstlineno + 2


def test_an_assertion_without_a_message_shows_its_test():
    def check(x):
        assert x.sum() < 5
        return x

    with pytest.raises(AssertionError, match=r"assert x\.sum\(\) < 5"):
        gc.compile(check)(X)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: print(x, file=open(__file__)), "sys.stdout or sys.stderr"),
        (lambda x: print([x, object()]), "a object inside of a list"),
        (lambda x: f"{x}" == "1", "digits are known only when the step runs"),
        (lambda x: len(str(x)), "digits are known only when the step runs"),
    ],
)
def test_what_text_cannot_do(function, message):
    with pytest.raises(errors.GraphcError, match=message):
        gc.compile(function)(X)
