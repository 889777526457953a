"""The distributions of scipy.stats that can be traced, by what scipy's manual defines them by.

Each is described for location 0 and scale 1; everything else is derived from that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphc.trace.broadcasting import unify
from graphc.trace.tracer import lift, wrap
from graphc.trace.ufuncs import NAMED_UFUNCS

Part = Callable[..., Any]


def _sc(name: str) -> Part:
    """A ufunc of scipy.special."""

    def apply(*args: Any) -> Any:
        operands = [lift(x) for x in args]
        rule, emit = NAMED_UFUNCS[name]
        return wrap(emit(*unify(name, operands, rule(name, operands))))

    return apply


_gammaln, _xlogy, _xlog1py = _sc("gammaln"), _sc("xlogy"), _sc("xlog1py")
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class Distribution:
    """What one is defined by; each is a function of x and the shape parameters.

    log_density  of a discrete one the logarithm of the probability
    cdf          the probability of x or less
    ppf          its inverse
    sf           1 - cdf, where it can be said more exactly
    support      the least and the greatest x, which may depend on the parameters
    """

    shapes: int
    log_density: Part
    cdf: Part
    ppf: Part | None = None
    sf: Part | None = None
    log_cdf: Part | None = None
    log_sf: Part | None = None
    support: Callable[..., tuple[Any, Any]] = field(default=lambda *shapes: (-np.inf, np.inf))
    is_discrete: bool = False


def _positive(*shapes: Any) -> tuple[Any, Any]:
    return 0.0, np.inf


def _unit(*shapes: Any) -> tuple[Any, Any]:
    return 0.0, 1.0


def _student(x: Any, df: Any) -> Any:
    half = np.true_divide(df, 2)
    scale = _gammaln(half + 0.5) - _gammaln(half) - 0.5 * np.log(np.multiply(df, np.pi))
    return scale - (half + 0.5) * np.log1p(np.square(x) / df)


def _log_gamma_density(x: Any, a: Any) -> Any:
    return _xlogy(np.subtract(a, 1.0), x) - x - _gammaln(a)


def _log_beta_density(x: Any, a: Any, b: Any) -> Any:
    scale = _gammaln(a) + _gammaln(b) - _gammaln(np.add(a, b))
    return _xlogy(np.subtract(a, 1.0), x) + _xlog1py(np.subtract(b, 1.0), -x) - scale


def _log_binomial(k: Any, n: Any, p: Any) -> Any:
    ways = _gammaln(np.add(n, 1.0)) - _gammaln(k + 1.0) - _gammaln(np.subtract(n, k) + 1.0)
    return ways + _xlogy(k, p) + _xlog1py(np.subtract(n, k), np.negative(p))


def _binomial_cdf(k: Any, n: Any, p: Any) -> Any:
    """At the greatest count the first parameter is 0, which has no density."""
    count = np.floor(k)
    is_last = count >= n
    rest = np.where(is_last, 1.0, np.subtract(n, count))
    return np.where(is_last, 1.0, _sc("betainc")(rest, count + 1.0, np.subtract(1.0, p)))


def _log_negative_binomial(k: Any, n: Any, p: Any) -> Any:
    ways = _gammaln(np.add(n, k)) - _gammaln(k + 1.0) - _gammaln(n)
    return ways + np.multiply(n, np.log(p)) + _xlog1py(k, np.negative(p))


def _log_fisher_density(x: Any, n: Any, d: Any) -> Any:
    half, other = np.true_divide(n, 2), np.true_divide(d, 2)
    scale = _gammaln(half) + _gammaln(other) - _gammaln(np.add(half, other))
    ratio = np.true_divide(n, d)
    spread = np.add(half, other) * np.log1p(ratio * x)
    return half * np.log(ratio) + _xlogy(half - 1.0, x) - spread - scale


def _from_one(*shapes: Any) -> tuple[Any, Any]:
    return 1.0, np.inf


def _laplace_cdf(x: Any) -> Any:
    tail = 0.5 * np.exp(-np.absolute(x))
    return np.where(x > 0, 1.0 - tail, tail)


DISTRIBUTIONS: dict[str, Distribution] = {
    "norm": Distribution(
        0,
        lambda x: -0.5 * np.square(x) - HALF_LOG_2PI,
        _sc("ndtr"),
        _sc("ndtri"),
        lambda x: _sc("ndtr")(-x),
        _sc("log_ndtr"),
        lambda x: _sc("log_ndtr")(-x),
    ),
    "uniform": Distribution(0, np.zeros_like, lambda x: x, lambda p: p, support=_unit),
    "expon": Distribution(
        0,
        np.negative,
        lambda x: -np.expm1(-x),
        lambda p: -np.log1p(-p),
        lambda x: np.exp(-x),
        log_sf=np.negative,
        support=_positive,
    ),
    "gamma": Distribution(
        1,
        _log_gamma_density,
        lambda x, a: _sc("gammainc")(a, x),
        lambda p, a: _sc("gammaincinv")(a, p),
        lambda x, a: _sc("gammaincc")(a, x),
        support=_positive,
    ),
    "chi2": Distribution(
        1,
        lambda x, df: _log_gamma_density(x / 2, np.true_divide(df, 2)) - math.log(2.0),
        lambda x, df: _sc("gammainc")(np.true_divide(df, 2), x / 2),
        lambda p, df: 2.0 * _sc("gammaincinv")(np.true_divide(df, 2), p),
        lambda x, df: _sc("gammaincc")(np.true_divide(df, 2), x / 2),
        support=_positive,
    ),
    "beta": Distribution(
        2,
        _log_beta_density,
        lambda x, a, b: _sc("betainc")(a, b, x),
        lambda p, a, b: _sc("betaincinv")(a, b, p),
        lambda x, a, b: _sc("betaincc")(a, b, x),
        support=_unit,
    ),
    "t": Distribution(
        1,
        _student,
        lambda x, df: _sc("stdtr")(df, x),
        lambda p, df: _sc("stdtrit")(df, p),
        lambda x, df: _sc("stdtr")(df, -x),
    ),
    "cauchy": Distribution(
        0,
        lambda x: -np.log(np.pi * (1.0 + np.square(x))),
        lambda x: 0.5 + np.arctan(x) / np.pi,
        lambda p: np.tan(np.pi * p - np.pi / 2),
        lambda x: 0.5 - np.arctan(x) / np.pi,
    ),
    "laplace": Distribution(
        0,
        lambda x: -np.absolute(x) - math.log(2.0),
        _laplace_cdf,
        lambda p: np.where(p > 0.5, -np.log(2 * (1 - p)), np.log(2 * p)),
        lambda x: _laplace_cdf(-x),
    ),
    "logistic": Distribution(
        0,
        lambda x: -np.absolute(x) - 2.0 * np.log1p(np.exp(-np.absolute(x))),
        _sc("expit"),
        _sc("logit"),
        lambda x: _sc("expit")(-x),
        _sc("log_expit"),
        lambda x: _sc("log_expit")(-x),
    ),
    "lognorm": Distribution(
        1,
        lambda x, s: -0.5 * np.square(np.log(x) / s) - np.log(s * x) - HALF_LOG_2PI,
        lambda x, s: _sc("ndtr")(np.log(x) / s),
        lambda p, s: np.exp(s * _sc("ndtri")(p)),
        lambda x, s: _sc("ndtr")(-np.log(x) / s),
        support=lambda s: (np.finfo(float).tiny, np.inf),  # 0 itself is outside
    ),
    "poisson": Distribution(
        1,
        lambda k, mu: _xlogy(k, mu) - _gammaln(k + 1.0) - mu,
        lambda k, mu: _sc("gammaincc")(np.floor(k) + 1.0, mu),
        sf=lambda k, mu: _sc("gammainc")(np.floor(k) + 1.0, mu),
        support=_positive,
        is_discrete=True,
    ),
    "halfnorm": Distribution(
        0,
        lambda x: 0.5 * math.log(2.0 / math.pi) - 0.5 * np.square(x),
        lambda x: _sc("erf")(x * math.sqrt(0.5)),
        lambda p: _sc("ndtri")(0.5 * (1.0 + p)),
        lambda x: _sc("erfc")(x * math.sqrt(0.5)),
        support=_positive,
    ),
    "rayleigh": Distribution(
        0,
        lambda x: np.log(x) - 0.5 * np.square(x),
        lambda x: -np.expm1(-0.5 * np.square(x)),
        lambda p: np.sqrt(-2.0 * np.log1p(-p)),
        lambda x: np.exp(-0.5 * np.square(x)),
        support=_positive,
    ),
    "gumbel_r": Distribution(
        0,
        lambda x: -x - np.exp(-x),
        lambda x: np.exp(-np.exp(-x)),
        lambda p: -np.log(-np.log(p)),
        lambda x: -np.expm1(-np.exp(-x)),
        lambda x: -np.exp(-x),
    ),
    "gumbel_l": Distribution(
        0,
        lambda x: x - np.exp(x),
        lambda x: -np.expm1(-np.exp(x)),
        lambda p: np.log(-np.log1p(-p)),
        lambda x: np.exp(-np.exp(x)),
        log_sf=lambda x: -np.exp(x),
    ),
    "pareto": Distribution(
        1,
        lambda x, b: np.log(b) - np.add(b, 1.0) * np.log(x),
        lambda x, b: 1.0 - np.power(x, np.negative(b)),
        lambda p, b: np.power(1.0 - p, np.true_divide(-1.0, b)),
        lambda x, b: np.power(x, np.negative(b)),
        support=_from_one,
    ),
    "weibull_min": Distribution(
        1,
        lambda x, c: np.log(c) + _xlogy(np.subtract(c, 1.0), x) - np.power(x, c),
        lambda x, c: -np.expm1(-np.power(x, c)),
        lambda p, c: np.power(-np.log1p(-p), np.true_divide(1.0, c)),
        lambda x, c: np.exp(-np.power(x, c)),
        log_sf=lambda x, c: -np.power(x, c),
        support=_positive,
    ),
    "invgamma": Distribution(
        1,
        lambda x, a: -np.add(a, 1.0) * np.log(x) - _gammaln(a) - 1.0 / x,
        lambda x, a: _sc("gammaincc")(a, 1.0 / x),
        lambda p, a: 1.0 / _sc("gammainccinv")(a, p),
        lambda x, a: _sc("gammainc")(a, 1.0 / x),
        support=lambda a: (np.finfo(float).tiny, np.inf),  # 0 itself is outside
    ),
    "f": Distribution(
        2,
        _log_fisher_density,
        lambda x, n, d: _sc("fdtr")(n, d, x),
        lambda p, n, d: _sc("fdtri")(n, d, p),
        lambda x, n, d: _sc("fdtrc")(n, d, x),
        support=_positive,
    ),
    "binom": Distribution(
        2,
        _log_binomial,
        _binomial_cdf,
        support=lambda n, p: (0.0, n),
        is_discrete=True,
    ),
    "bernoulli": Distribution(
        1,
        lambda k, p: _log_binomial(k, 1.0, p),
        lambda k, p: _binomial_cdf(k, 1.0, p),
        support=_unit,
        is_discrete=True,
    ),
    "geom": Distribution(
        1,
        lambda k, p: np.log(p) + _xlog1py(k - 1.0, np.negative(p)),
        lambda k, p: -np.expm1(np.floor(k) * np.log1p(np.negative(p))),
        sf=lambda k, p: np.exp(np.floor(k) * np.log1p(np.negative(p))),
        support=_from_one,
        is_discrete=True,
    ),
    "nbinom": Distribution(
        2,
        _log_negative_binomial,
        lambda k, n, p: _sc("betainc")(n, np.floor(k) + 1.0, p),
        sf=lambda k, n, p: _sc("betaincc")(n, np.floor(k) + 1.0, p),
        support=_positive,
        is_discrete=True,
    ),
}
"""Name in scipy.stats -> the distribution."""
