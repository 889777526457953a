"""`scipy.stats.norm.pdf` and its like on traced values.

A distribution is described for location 0 and scale 1, by what scipy's documentation defines it by;
everything else is derived.  They are recognised by name, so that scipy need not be imported.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphc import errors
from graphc.trace.scope import user_loc
from graphc.trace.tracer import holds_tracer, lift, wrap
from graphc.trace.ufuncs import NAMED_UFUNCS, unify

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
}


# ---- methods -------------------------------------------------------------------------------------


def _standard(which: Distribution, x: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """The shape parameters, the location, the scale (a discrete one has none), and x."""
    shapes, rest = args[: which.shapes], args[which.shapes :]
    names = ("loc",) if which.is_discrete else ("loc", "scale")
    placed = {"loc": 0.0, "scale": 1.0, **dict(zip(names, rest, strict=False)), **kwargs}
    if len(shapes) < which.shapes or placed.keys() - {"loc", "scale"} or len(rest) > len(names):
        raise errors.ArityError(
            f"the distribution can be traced with {which.shapes} shape parameters given by"
            f" position, and {' and '.join(names)}",
            user_loc(),
        )
    shapes = tuple(s if np.ndim(s) == 0 and not holds_tracer((s,)) else lift(s) for s in shapes)
    scale = None if which.is_discrete else placed["scale"]
    return shapes, placed["loc"], scale, lift(x)


def _reduced(which: Distribution, x: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """(x - loc) / scale, a number inside of the support in its place where it is outside of it."""
    shapes, loc, scale, value = _standard(which, x, args, kwargs)
    y: Any = np.subtract(value, loc) if scale is None else np.true_divide(value - loc, scale)
    y = np.multiply(y, 1.0)
    low, high = which.support(*shapes)
    is_below, is_above = y < low, y > high
    safe = np.where(np.logical_or(is_below, is_above), 0.5, y)
    return shapes, scale, y, safe, is_below, is_above


def _log_density(which: Distribution, x: Any, *args: Any, **kwargs: Any) -> Any:
    shapes, scale, y, safe, is_below, is_above = _reduced(which, x, args, kwargs)
    result = which.log_density(safe, *shapes)
    result = result if scale is None else result - np.log(scale)
    outside = np.logical_or(is_below, is_above)
    if which.is_discrete:
        outside = np.logical_or(outside, y != np.floor(y))
    return np.where(outside, -np.inf, result)


def _density(which: Distribution, x: Any, *args: Any, **kwargs: Any) -> Any:
    return np.exp(_log_density(which, x, *args, **kwargs))


def _probability(part: str, below: float, above: float) -> Part:
    """A distribution function by its parts, with what it is below and above the support."""

    def method(which: Distribution, x: Any, *args: Any, **kwargs: Any) -> Any:
        shapes, _, _, safe, is_below, is_above = _reduced(which, x, args, kwargs)
        result = _part(which, part)(safe, *shapes)
        return np.where(is_below, below, np.where(is_above, above, result))

    return method


def _part(which: Distribution, part: str) -> Part:
    """A part that is given, or made of another one."""
    known: Part | None = getattr(which, part)
    if known is not None:
        return known
    if part == "sf":
        return lambda *args: 1.0 - which.cdf(*args)
    inner = _part(which, part.removeprefix("log_"))
    return lambda *args: np.log(inner(*args))


def _quantile(which: Distribution, q: Any, *args: Any, **kwargs: Any) -> Any:
    shapes, loc, scale, p = _standard(which, q, args, kwargs)
    if which.ppf is None:
        raise errors.UnsupportedFunctionError(
            "the quantiles of this distribution cannot be traced; compute them outside", user_loc()
        )
    return which.ppf(np.multiply(p, 1.0), *shapes) * scale + loc


def _upper_quantile(which: Distribution, q: Any, *args: Any, **kwargs: Any) -> Any:
    return _quantile(which, np.subtract(1.0, q), *args, **kwargs)


METHODS: dict[str, Part] = {
    "pdf": _density,
    "logpdf": _log_density,
    "pmf": _density,
    "logpmf": _log_density,
    "cdf": _probability("cdf", 0.0, 1.0),
    "sf": _probability("sf", 1.0, 0.0),
    "logcdf": _probability("log_cdf", -np.inf, 0.0),
    "logsf": _probability("log_sf", 0.0, -np.inf),
    "ppf": _quantile,
    "isf": _upper_quantile,
}


def method_of_scipy(function: Any) -> Part | None:
    """What stands for a method of a distribution of scipy.stats, None for anything else."""
    owner = getattr(function, "__self__", None)
    if not type(owner).__module__.startswith("scipy.stats"):
        return None
    name = getattr(owner, "name", None)
    method = METHODS.get(getattr(function, "__name__", ""))
    if not isinstance(name, str) or name not in DISTRIBUTIONS or method is None:
        return None
    which = DISTRIBUTIONS[name]
    if not hasattr(owner, function.__name__) or owner.__class__.__name__ == "rv_frozen":
        return None
    return lambda *args, **kwargs: method(which, *args, **kwargs)
