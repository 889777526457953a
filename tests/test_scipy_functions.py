"""Functions of scipy.special that run in scipy's machine code: values, derivatives, graphs."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import scipy.special as sc
from scipy_operands import operands

import graphc as gc
from graphc import errors
from graphc.build import Builder
from graphc.ir import Type
from graphc.ops import scipy_calls
from graphc.ops.external import known
from graphc.ops.scipy_functions import DERIVATIVES, ONE_RESULT

X = np.array([0.15, 0.3, 0.42, 0.61])
FIRST = np.array([2.0, 1.0, 3.0, 2.0])
NAMES = sorted(ONE_RESULT)


def given(name: str) -> tuple[np.ndarray, ...]:
    """The operands, integers where scipy's machine code takes them."""
    letters = scipy_calls.OF_INTEGERS.get(name, "dddd")
    pairs = zip(operands(name), letters, strict=False)
    return tuple(x.astype(int) if letter == "l" else x for x, letter in pairs)


@pytest.mark.parametrize("start", range(0, len(NAMES), 10))
def test_values(start: int) -> None:
    """Ten functions in each step."""
    names = NAMES[start : start + 10]
    functions = [getattr(sc, name) for name in names]
    step = gc.compile(lambda rows: [f(*row) for f, row in zip(functions, rows, strict=True)])
    rows = [given(name) for name in names]
    for name, f, row, got in zip(names, functions, rows, step(rows), strict=True):
        np.testing.assert_array_equal(got, f(*row), err_msg=name)
    single = [tuple(x.astype(np.float32) if x.dtype == float else x for x in row) for row in rows]
    for name, f, row, got in zip(names, functions, single, step(single), strict=True):
        wide = (x.astype(float) if x.dtype == np.float32 else x for x in row)
        assert got.dtype == f.resolve_dtypes((*(x.dtype for x in row), None))[-1]
        with np.errstate(over="ignore"):
            wanted = np.asarray(f(*wide), got.dtype)
        np.testing.assert_allclose(got, wanted, 1e-6, 1e-37, err_msg=name)


DIFFERENCES = {
    **dict.fromkeys(("itairy", "btdtria", "btdtrib", "ncfdtri", "nctdtrinc"), 1e-4),
    "ncfdtrinc": 1e-3,
}
"""Functions that scipy knows to fewer digits, which differences see."""


@pytest.mark.parametrize("key", [key for key, rules in DERIVATIVES.items() if rules is not None])
def test_derivatives(key: str) -> None:
    """Each rule against differences of the reference, whose steps are of several lengths."""
    args, rules = operands(key), DERIVATIVES[key]
    assert rules is not None
    assert len(rules) == len(args)
    builder = Builder("derivatives")
    params = [builder.param(Type("f64", x.shape)) for x in args]
    out = scipy_calls.call(key, *params)
    wanted = [(i, rule) for i, rule in enumerate(rules) if rule is not None]
    graph = builder.finish([rule(out, *params).atom for _, rule in wanted])
    found = gc.evaluate(graph, *args)
    reference = known(scipy_calls.PREFIX + key).reference
    for (i, _), got in zip(wanted, found if len(wanted) > 1 else [found], strict=True):
        slopes = [_slope(reference, args, i, h) for h in (1e-3, 1e-4, 1e-5)]
        scale = np.abs(got) + np.abs(got).max() * 1e-3 + 1e-9
        off = np.min([np.abs(slope - got) / scale for slope in slopes], axis=0)
        allowed = DIFFERENCES.get(key.split(".")[0], 1e-5)
        assert (off < allowed).all(), f"operand {i}: {got}, by differences {slopes[1]}"


def _slope(function: Any, args: tuple[np.ndarray, ...], place: int, h: float) -> np.ndarray:
    def at(step: float) -> Any:
        return function(*(x + step if i == place else x for i, x in enumerate(args)))

    return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)


def test_gradients_in_a_compiled_step() -> None:
    def f(x, m):
        sn, cn, dn, _ = sc.ellipj(x, m)
        return np.sum(sn * cn * dn + sc.voigt_profile(x, m, 1.0) + sc.airy(x)[2])

    m = np.array([0.2, 0.5, 0.7, 0.3])
    got = gc.compile(gc.grad(f, argnums=(0, 1)))(X, m)
    h, d = 1e-5, np.array([1.0, -2.0, 0.5, 3.0])
    for slope, moved in zip(got, ((d, 0.0), (0.0, d)), strict=True):
        up, down = (f(X + t * moved[0], m + t * moved[1]) for t in (h, -h))
        assert slope @ d == pytest.approx((up - down) / (2 * h), rel=1e-7)


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
    with pytest.raises(errors.GradientError, match=r"scipy\.special\.mathieu_a has no derivative"):
        gc.grad(lambda x: np.sum(sc.mathieu_a(FIRST, x)))(X)
    with pytest.raises(errors.GradientError, match=r"hyperu by its first argument has no closed"):
        gc.grad(lambda a: np.sum(sc.hyperu(a, 1.5, X)))(FIRST)
    with pytest.raises(errors.GradientError, match=r"hyperu by its first argument has no closed"):
        gc.jvp(lambda a: sc.hyperu(a, 1.5, X), (FIRST,), (FIRST,))
    got = gc.grad(lambda x: np.sum(sc.hyperu(np.floor(x + FIRST), 1.5, X)))(X)  # constant in steps
    np.testing.assert_array_equal(got, np.zeros(4))
    got = gc.grad(lambda x, y: np.sum(x * sc.mathieu_a(y, 0.5)))(X, FIRST)  # none is asked for
    np.testing.assert_array_equal(got, sc.mathieu_a(FIRST, 0.5))


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


TRUNCATING = sorted(scipy_calls.WHOLE.keys() - {"eval_hermite", "eval_hermitenorm"})


@pytest.mark.parametrize("name", TRUNCATING)
def test_fractions_that_scipy_does_not_take(name: str) -> None:
    """scipy warns of them in Python; machine code takes the whole part without a word."""
    function, args = getattr(sc, name), operands(name)
    whole = scipy_calls.WHOLE[name]
    given = [x + 0.5 if i in whole else x for i, x in enumerate(args)]
    got = gc.compile(lambda *xs: function(*xs))(*given)
    np.testing.assert_array_equal(got, function(*given))


def test_an_address_that_scipy_does_not_give_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scipy_calls, "_capsules", dict)
    with pytest.raises(errors.ExternalError, match=r"scipy\.special\.j0; update scipy"):
        scipy_calls.address("j0", "")


@pytest.mark.parametrize("symbol", ["j0", "scipy_special_airy", "scipy_special_airy.7", "x.1"])
def test_symbols_that_name_nothing(symbol: str) -> None:
    with pytest.raises(errors.ExternalError, match="no function"):
        known(symbol)
