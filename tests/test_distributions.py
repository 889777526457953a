"""scipy.stats on traced values: against scipy, with gradients, in and outside of the support."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats as st

import graphc as gc
from graphc import errors
from graphc.trace.distribution_table import DISTRIBUTIONS

X = np.array([-1.5, -0.2, 0.0, 0.3, 0.8, 1.0, 2.4, 6.0])
P = np.array([0.01, 0.3, 0.5, 0.77, 0.999])
SHAPES = {0: (), 1: (1.7,), 2: (2.3, 1.6)}
CONTINUOUS = [name for name, d in DISTRIBUTIONS.items() if not d.is_discrete]
DENSITIES = ["pdf", "logpdf", "cdf", "sf", "logcdf", "logsf"]


@pytest.mark.parametrize("method", DENSITIES)
@pytest.mark.parametrize("name", CONTINUOUS)
def test_densities_and_probabilities(name: str, method: str) -> None:
    function, shapes = getattr(getattr(st, name), method), SHAPES[DISTRIBUTIONS[name].shapes]
    step = gc.compile(lambda x, loc, scale: function(x, *shapes, loc, scale=scale))
    for loc, scale in ((0.0, 1.0), (-0.4, 2.5)):
        with np.errstate(all="ignore"):
            wanted = function(X, *shapes, loc, scale)
        np.testing.assert_allclose(step(X, loc, scale), wanted, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("method", ["ppf", "isf"])
@pytest.mark.parametrize("name", CONTINUOUS)
def test_quantiles(name: str, method: str) -> None:
    function, shapes = getattr(getattr(st, name), method), SHAPES[DISTRIBUTIONS[name].shapes]
    got = gc.compile(lambda p: function(p, *shapes, loc=0.5, scale=2.0))(P)
    np.testing.assert_allclose(got, function(P, *shapes, loc=0.5, scale=2.0), rtol=1e-9)


@pytest.mark.parametrize("method", ["pdf", "logpdf", "cdf", "logcdf"])
@pytest.mark.parametrize("name", CONTINUOUS)
def test_gradients(name: str, method: str) -> None:
    function, shapes = getattr(getattr(st, name), method), SHAPES[DISTRIBUTIONS[name].shapes]
    x = np.array([0.21, 0.47, 0.83]) + (1.5 if name == "pareto" else 0.0)

    def f(x: Any, loc: Any, scale: Any) -> Any:
        return np.sum(function(x, *shapes, loc, scale))

    grads = gc.compile(gc.grad(f, argnums=(0, 1, 2)))(x, 0.05, 1.3)
    h = 1e-6
    for got, up, down in (
        (np.sum(grads[0]), f(x + h, 0.05, 1.3), f(x - h, 0.05, 1.3)),
        (grads[1], f(x, 0.05 + h, 1.3), f(x, 0.05 - h, 1.3)),
        (grads[2], f(x, 0.05, 1.3 + h), f(x, 0.05, 1.3 - h)),
    ):
        assert got == pytest.approx((up - down) / (2 * h), rel=1e-6, abs=1e-8)


def test_gradients_outside_of_the_support_are_zero() -> None:
    got = gc.grad(lambda x: np.sum(st.gamma.pdf(x, 2.0) + st.beta.cdf(x, 2.0, 3.0)))(X[:2])
    np.testing.assert_array_equal(got, [0.0, 0.0])


def test_a_discrete_distribution() -> None:
    k = np.array([-1.0, 0.0, 1.0, 2.5, 4.0])

    def f(k: Any, mu: Any) -> Any:
        return [getattr(st.poisson, m)(k, mu, 1) for m in ("pmf", "logpmf", "cdf", "sf", "logcdf")]

    with np.errstate(all="ignore"):
        wanted = f(k, 2.2)
    for got, value in zip(gc.compile(f)(k, 2.2), wanted, strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-12)
    slope = gc.grad(lambda mu: np.sum(st.poisson.pmf(np.arange(3.0), mu)))(2.2)
    assert slope == pytest.approx(-(2.2**2) / 2 * np.exp(-2.2), rel=1e-12)


@pytest.mark.parametrize(
    ("name", "shapes"), [("binom", (5, 0.3)), ("bernoulli", (0.4,)), ("geom", (0.3,)),
                         ("nbinom", (3.5, 0.4)), ("poisson", (2.2,))],
)  # fmt: skip
def test_discrete_distributions(name: str, shapes: tuple[float, ...]) -> None:
    which, k = getattr(st, name), np.array([-1.0, 0, 1, 2, 2.5, 4, 5, 7])

    def f(k: Any, *shapes: Any) -> Any:
        return [getattr(which, m)(k, *shapes) for m in ("pmf", "logpmf", "cdf", "sf", "logsf")]

    with np.errstate(all="ignore"):
        wanted = f(k, *shapes)
    for got, value in zip(gc.compile(f)(k, *shapes), wanted, strict=True):
        np.testing.assert_allclose(got, value, 1e-10, 1e-14)
    place, h, counts = len(shapes) - 1, 1e-6, np.arange(5.0)

    def total(p: Any) -> Any:
        given = (*shapes[:place], p)
        return np.sum(which.logpmf(counts[1:2], *given) + which.cdf(counts, *given))

    slope = gc.compile(gc.grad(total))(shapes[place])
    up, down = total(shapes[place] + h), total(shapes[place] - h)
    assert slope == pytest.approx((up - down) / (2 * h), rel=1e-6)


def test_frozen_distributions_and_shapes_by_name() -> None:
    frozen = st.gamma(2.5, scale=1.5)

    def f(x, a):
        return (
            frozen.logpdf(x),
            st.norm(0.5, 2.0).cdf(x),
            st.beta.pdf(x, a=a, b=3.0),
            st.t.logpdf(x, df=a, loc=0.1),
            st.binom(6, 0.3).pmf(np.floor(x)),
            st.norm(loc=a, scale=a).logpdf(x),
        )

    with np.errstate(all="ignore"):
        wanted = f(X, 2.0)
    for got, value in zip(gc.compile(f)(X, 2.0), wanted, strict=True):
        np.testing.assert_allclose(got, value, 1e-11, 1e-14)


def test_the_price_of_an_option() -> None:
    def price(spot, strike, rate, sigma, years):
        d1 = (np.log(spot / strike) + (rate + sigma**2 / 2) * years) / (sigma * np.sqrt(years))
        d2 = d1 - sigma * np.sqrt(years)
        return spot * st.norm.cdf(d1) - strike * np.exp(-rate * years) * st.norm.cdf(d2)

    args = (100.0, 110.0, 0.02, 0.3, 1.5)
    assert gc.compile(price)(*args) == pytest.approx(price(*args), rel=1e-13)
    d1 = (np.log(100 / 110) + (0.02 + 0.045) * 1.5) / (0.3 * np.sqrt(1.5))
    assert gc.compile(gc.grad(price))(*args) == pytest.approx(st.norm.cdf(d1), rel=1e-12)


def test_what_is_not_known_says_so() -> None:
    with pytest.raises(errors.ArityError, match="2 shape parameters"):
        gc.compile(lambda x: st.beta.pdf(x, 2.0))(X)
    with pytest.raises(errors.UnsupportedFunctionError, match="quantiles"):
        gc.compile(lambda p: st.poisson.ppf(p, 2.0))(P)
    np.testing.assert_array_equal(
        gc.compile(lambda x: x * st.nct.pdf(0.5, 2, 1))(X), X * st.nct.pdf(0.5, 2, 1)
    )
