"""scipy.special: errors against scipy over the whole range, gradients, and functions of arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.special as sc

import graphc as gc
from graphc import errors

rng = np.random.default_rng(8)
EVERYWHERE = np.concatenate([rng.uniform(-6, 6, 400), rng.normal(0, 40, 200), [0.0, -0.0, 1, 2, 3]])
POSITIVE = np.concatenate([rng.uniform(0.01, 12, 400), 10 ** rng.uniform(-3, 2, 200), [1, 2, 3.0]])
UNIT = np.concatenate([rng.uniform(-1, 1, 400), 1 - 10 ** rng.uniform(-12, 0, 100), [0, -1, 1.0]])
ENDS = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0])

Row = tuple[Callable[..., Any], Any, float]

ROWS: dict[str, Row] = {
    # function, where, relative error in f64 (and 1e-14 absolute)
    "erfc": (sc.erfc, [EVERYWHERE, ENDS], 1e-14),
    "erfcx": (sc.erfcx, [np.clip(EVERYWHERE, -26, 300), ENDS], 1e-13),
    "erfinv": (sc.erfinv, [UNIT, np.array([2.0, np.nan])], 1e-14),
    "gammaln": (sc.gammaln, [EVERYWHERE, POSITIVE, np.array([1e5, 1e300, np.inf])], 1e-12),
    "gamma": (sc.gamma, [EVERYWHERE, POSITIVE, np.array([np.inf, 0.0])], 2e-12),
    "digamma": (sc.digamma, [np.round(EVERYWHERE, 2) + 0.003, POSITIVE], 1e-11),
    "i0e": (sc.i0e, [EVERYWHERE, ENDS], 1e-14),
    "i1e": (sc.i1e, [EVERYWHERE, ENDS], 1e-14),
    "i0": (sc.i0, [EVERYWHERE], 1e-13),
    "i1": (sc.i1, [EVERYWHERE], 1e-13),
    "ndtr": (sc.ndtr, [EVERYWHERE, ENDS], 1e-13),
    "log_ndtr": (sc.log_ndtr, [EVERYWHERE, ENDS], 1e-13),
    "ndtri": (sc.ndtri, [rng.uniform(0.001, 0.999, 300)], 1e-12),
    "logit": (sc.logit, [rng.uniform(0, 1, 300), np.array([0.0, 1, 2])], 1e-13),
    "expit": (sc.expit, [EVERYWHERE, ENDS], 1e-14),
    "log_expit": (sc.log_expit, [EVERYWHERE], 1e-14),
    "entr": (sc.entr, [EVERYWHERE, ENDS], 1e-14),
    "gammasgn": (sc.gammasgn, [EVERYWHERE], 0),
    "zeta": (lambda x: sc.zeta(1.0 + x), [POSITIVE[:600]], 1e-12),
    "hurwitz": (lambda x: sc.zeta(2.5, x), [POSITIVE], 1e-12),
    "trigamma": (lambda x: sc.polygamma(1, x), [POSITIVE], 1e-12),
    "polygamma": (lambda x: sc.polygamma(3, x), [POSITIVE], 1e-12),
    "multigammaln": (lambda x: sc.multigammaln(3.5, 2) + x, [np.arange(3.0)], 1e-12),
    "exp10": (sc.exp10, [rng.uniform(-5, 5, 50)], 1e-13),
}


@pytest.mark.parametrize("name", ROWS)
def test_values(name: str) -> None:
    function, places, tolerance = ROWS[name]
    x = np.concatenate(places)
    compiled = gc.compile(lambda x: function(x))
    with np.errstate(all="ignore"):
        wanted = function(x)
        np.testing.assert_allclose(compiled(x), wanted, rtol=tolerance, atol=1e-14)
        single = np.clip(x, -30, 30).astype(np.float32)
        wanted = np.asarray(function(single))
        got = compiled(single)
    assert got.dtype == wanted.dtype
    finite = np.isfinite(wanted) & (np.abs(wanted) < 1e30)
    np.testing.assert_allclose(got[finite], wanted[finite], rtol=3e-4, atol=1e-5)


BINARY: dict[str, Callable[..., Any]] = {
    "xlogy": sc.xlogy,
    "xlog1py": sc.xlog1py,
    "rel_entr": sc.rel_entr,
    "kl_div": sc.kl_div,
    "beta": sc.beta,
    "betaln": sc.betaln,
    "boxcox": sc.boxcox,
    "huber": sc.huber,
}


@pytest.mark.parametrize("name", BINARY)
def test_of_two_numbers(name: str) -> None:
    function = BINARY[name]
    a, b = rng.uniform(0.1, 6, 200), rng.uniform(0.1, 6, 200)
    if name not in ("beta", "betaln"):
        a[:20] = 0.0
        b[10:30] = 0.0
    with np.errstate(all="ignore"):
        wanted = function(a, b)
    got = gc.compile(lambda a, b: function(a, b))(a, b)
    np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    ("function", "x"),
    [
        (sc.erfc, 0.7), (sc.erfcx, -0.4), (sc.erfinv, 0.3), (sc.erfinv, 0.0), (sc.gammaln, 2.3),
        (sc.gamma, 3.1), (sc.gamma, -1.3), (sc.digamma, 0.6), (sc.i0e, 1.2), (sc.i1e, -2.0),
        (sc.i0, 0.5), (sc.i1, 0.0), (sc.ndtr, -0.5), (sc.log_ndtr, -9.0), (sc.log_ndtr, 2.0),
        (sc.ndtri, 0.2), (sc.logit, 0.4), (sc.entr, 0.8), (lambda x: sc.xlogy(x, x + 1), 1.5),
        (lambda x: sc.beta(x, 2.5), 1.3), (lambda x: sc.betaln(2.0, x), 0.7), (sc.expit, 0.3),
        (lambda x: sc.polygamma(1, x), 1.7), (lambda x: sc.zeta(3.0, x), 1.2), (np.i0, 0.8),
    ],
)  # fmt: skip
def test_gradients(function: Callable[..., Any], x: float) -> None:
    got = gc.grad(lambda x: np.sum(function(x)))(np.array([x]))[0]
    h = 1e-5
    slope = (function(x + h) - function(x - h)) / (2 * h)
    assert got == pytest.approx(slope, rel=1e-7, abs=1e-9)


def test_the_zeta_function_left_of_one_and_its_derivative() -> None:
    s = np.array([-2.9, -2.0, -0.5, 0.0, 0.3, 0.9, 1.1, 2.0, 7.5, 40.0])
    np.testing.assert_allclose(gc.compile(lambda s: sc.zeta(s))(s), sc.zeta(s), 1e-12, 1e-16)
    with mpmath.workdps(30):
        wanted = [float(mpmath.zeta(value, 1, 1)) for value in s]
        shifted = [float(mpmath.zeta(value, mpmath.mpf("0.7"), 1)) for value in s[6:]]
    got = gc.compile(gc.grad(lambda s: np.sum(sc.zeta(s))))(s)
    np.testing.assert_allclose(got, wanted, 1e-9)
    got = gc.compile(gc.grad(lambda s: np.sum(sc.zeta(s, 0.7))))(s[6:])
    np.testing.assert_allclose(got, shifted, 1e-11)


def test_polygamma_and_zeta_left_of_zero() -> None:
    x = np.array([-9.7, -8.3, -4.5, -2.001, -0.7, -0.01, 0.3, 5.0])
    f = gc.compile(lambda x: [*(sc.polygamma(n, x) for n in (1, 2, 3, 5)), sc.zeta(3, x)])
    with mpmath.workdps(40):
        for n, got in zip((1, 2, 3, 5), f(x), strict=False):
            np.testing.assert_allclose(got, [float(mpmath.psi(n, t)) for t in x], 2e-11)
    np.testing.assert_allclose(f(x)[-1], sc.zeta(3, x), 1e-12)
    got = gc.grad(lambda x: np.sum(sc.polygamma(2, x)))(x)
    np.testing.assert_allclose(got, f(x)[2], 1e-10)


def test_functions_of_arrays() -> None:
    def f(x):
        return (
            sc.logsumexp(x),
            sc.logsumexp(x, axis=1),
            sc.logsumexp(x, axis=0, keepdims=True),
            sc.logsumexp(x, b=np.array([1.0, 0, 2, 1]), axis=1),
            sc.softmax(x, axis=1),
            sc.softmax(x),
            sc.log_softmax(x, axis=0),
            np.logaddexp.reduce(x),
        )

    x = rng.standard_normal((3, 4)) * 300
    for got, wanted in zip(gc.compile(f)(x), f(x), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-300)


def test_polygamma_of_an_order_below_zero() -> None:
    with pytest.raises(errors.AttributeValueError, match="order -1 is less than 0"):
        gc.compile(lambda x: sc.polygamma(-1, x))(np.array([1.0]))


def test_the_derivative_of_digamma_left_of_zero() -> None:
    """zeta(2, x) alone loses its digits there, and has none from -10 on."""
    x = np.array([-20.7, -8.999, -4.5, -0.3, 0.2, 3.0])
    with mpmath.workdps(30):
        wanted = [float(mpmath.psi(1, value)) for value in x]
    got = gc.grad(lambda x: np.sum(sc.digamma(x)))(x)
    np.testing.assert_allclose(got, wanted, rtol=1e-11)


def test_the_derivative_of_boxcox_at_the_power_zero() -> None:
    got = gc.grad(lambda power: np.sum(sc.boxcox(np.array([0.5, 3.0]), power)))(np.zeros(2))
    np.testing.assert_allclose(got, np.log([0.5, 3.0]) ** 2 / 2, rtol=1e-12)
