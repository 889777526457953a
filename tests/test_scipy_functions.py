"""Functions of scipy.special that run in scipy's machine code: values, derivatives, graphs."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import scipy.special as sc

import graphc as gc
from graphc import errors
from graphc.ops import scipy_functions
from graphc.ops.scipy_functions import DERIVATIVES

X = np.array([0.15, 0.3, 0.42, 0.61])
FIRST = np.array([2.0, 1.0, 3.0, 2.0])
OPERANDS = {
    1: (X,),
    2: (FIRST, X),
    3: (FIRST, FIRST[::-1] + 2.0, X),
    4: (FIRST, FIRST[::-1] + 2.0, FIRST + 3.0, X),
}
OTHER = {
    "powm1": (FIRST, X),
    "binom": (FIRST + 5.5, X * 4),
    "pseudo_huber": (FIRST, X),
    "ellipkinc": (X, X[::-1]),
    "ellipeinc": (X, X[::-1]),
    "owens_t": (X, X[::-1]),
    "gdtr": (FIRST, FIRST + 1.0, X),
    "gdtrc": (FIRST, FIRST + 1.0, X),
    "ndtri_exp": (-X,),
    "chndtr": (FIRST, FIRST + 2.0, X),
    "erfcinv": (X,),
}
NAMES = sorted(DERIVATIVES)


def operands(name: str) -> tuple[np.ndarray, ...]:
    return OTHER.get(name) or OPERANDS[getattr(sc, name).nin]


@pytest.mark.parametrize("name", NAMES)
def test_values(name: str) -> None:
    function, args = getattr(sc, name), operands(name)
    step = gc.compile(lambda *xs: function(*xs))
    np.testing.assert_array_equal(step(*args), function(*args))
    single = [x.astype(np.float32) for x in args]
    got = step(*single)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, function(*(x.astype(float) for x in single)), 1e-6, 1e-37)


@pytest.mark.parametrize("name", [name for name in NAMES if DERIVATIVES[name] is not None])
def test_derivatives(name: str) -> None:
    function, args = getattr(sc, name), operands(name)
    rules = DERIVATIVES[name]
    assert rules is not None
    assert len(rules) == function.nin
    grads = gc.compile(gc.grad(lambda *xs: np.sum(function(*xs)), argnums=tuple(range(len(args)))))(
        *args
    )
    h = 1e-6
    for i, (rule, got) in enumerate(zip(rules, grads, strict=True)):
        if rule is None:
            constant = i in scipy_functions.WHOLE.get(name, ())  # between whole numbers
            assert (got == 0).all() if constant else np.isnan(got).all()
            continue
        up, down = ([*args[:i], args[i] + t, *args[i + 1 :]] for t in (h, -h))
        slope = (function(*up) - function(*down)) / (2 * h)
        np.testing.assert_allclose(got, slope, rtol=2e-6, atol=1e-7, err_msg=f"operand {i}")


@pytest.mark.parametrize(
    ("function", "x", "limit"),
    [
        (sc.spence, 1.0, -1.0),
        (sc.ellipk, 0.0, np.pi / 8),
        (sc.ellipe, 0.0, -np.pi / 8),
        (sc.ellipkm1, 1.0, -np.pi / 8),
        (sc.exprel, 0.0, 0.5),
    ],
)
def test_derivatives_where_their_formula_is_0_over_0(function: Any, x: float, limit: float) -> None:
    assert gc.grad(lambda x: function(x))(x) == pytest.approx(limit, rel=1e-12)


def test_what_has_no_known_derivative_says_so() -> None:
    with pytest.raises(errors.GradientError, match="scipy_special_zetac has no derivative"):
        gc.grad(lambda x: np.sum(sc.zetac(x)))(X)
    got = gc.grad(lambda x, y: np.sum(x * sc.zetac(y)))(X, FIRST + 1)  # no derivative is asked for
    np.testing.assert_array_equal(got, sc.zetac(FIRST + 1))


def test_functions_composed_of_them() -> None:
    def f(x, n):
        y = 10.0 * x
        return (
            sc.spherical_jn(0, y),
            sc.spherical_jn(2, np.append(y, 0.0)),
            sc.spherical_jn(2, -y, True),
            sc.spherical_jn(0, y, derivative=True),
            sc.spherical_in(1, y),
            sc.spherical_in(0, y, True),
            sc.comb(n, 2),
            sc.comb(n, np.arange(4), repetition=True),
            sc.perm(n, 2),
            sc.factorial(n - 2),
        )

    n = np.array([1, 2, 5, 9])
    for got, wanted in zip(gc.compile(f)(X, n), f(X, n), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-13)


def test_inside_of_loops_and_kernels() -> None:
    def f(x, n):
        total = np.zeros_like(x)
        for i in range(n):
            total = total + sc.jv(i, x) * np.exp(-x)
        return np.tanh(total)

    np.testing.assert_allclose(gc.compile(f)(X, 5), f(X, 5), rtol=1e-14)


def test_a_graph_in_another_process() -> None:
    """The text names the function; what it stands for is found where it is read."""
    text = str(gc.trace(lambda x: sc.j0(x), X))
    code = (
        "import sys, graphc as gc; print(*gc.evaluate(gc.parse(sys.argv[1]), [0.5, 1.0, 1.5, 2.0]))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, text], capture_output=True, text=True, check=True
    ).stdout
    assert out.split()[0].strip("[") == "0.93846981"


@pytest.mark.parametrize("name", sorted(scipy_functions.WHOLE))
def test_fractions_that_scipy_does_not_take(name: str) -> None:
    """scipy warns of them in Python; machine code takes the whole part without a word."""
    function, args = getattr(sc, name), operands(name)
    given = [x + 0.5 if i in scipy_functions.WHOLE[name] else x for i, x in enumerate(args)]
    got = gc.compile(lambda *xs: function(*xs))(*given)
    np.testing.assert_array_equal(got, function(*args))


def test_an_address_that_scipy_does_not_give_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scipy_functions, "_capsules", dict)
    with pytest.raises(errors.ExternalError, match=r"scipy\.special\.j0; update scipy"):
        scipy_functions.address("j0")
