"""`scipy.stats.norm.pdf` and its like on traced values: the methods of distributions.

They are recognised by name, so that scipy need not be imported.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc import errors
from graphc.trace.distribution_table import DISTRIBUTIONS, Distribution, Part
from graphc.trace.scope import user_loc
from graphc.trace.tracer import holds_tracer, lift

# ---- methods -------------------------------------------------------------------------------------


def _standard(which: Distribution, x: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """The shape parameters, the location, the scale (a discrete one has none), and x."""
    shapes, rest = args[: which.shapes], args[which.shapes :]
    names = ("loc",) if which.is_discrete else ("loc", "scale")
    placed = {"loc": 0.0, "scale": 1.0, **dict(zip(names, rest, strict=False)), **kwargs}
    if len(shapes) < which.shapes or placed.keys() - {"loc", "scale"} or len(rest) > len(names):
        raise errors.ArityError(
            f"the distribution can be traced with {which.shapes} shape parameters, and"
            f" {' and '.join(names)}",
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
    method = METHODS.get(getattr(function, "__name__", ""))
    is_frozen = type(owner).__name__ in ("rv_continuous_frozen", "rv_discrete_frozen")
    kind: Any = owner.dist if is_frozen else owner  # type: ignore[union-attr]
    name = getattr(kind, "name", None)
    if not isinstance(name, str) or name not in DISTRIBUTIONS or method is None:
        return None
    if not hasattr(owner, function.__name__):
        return None
    given = (owner.args, owner.kwds) if is_frozen else ((), {})  # type: ignore[union-attr]
    return _applied(method, DISTRIBUTIONS[name], _shape_names(kind), *given)


def _applied(
    method: Part, which: Distribution, names: list[str], args: Any, kwargs: dict[str, Any]
) -> Part:
    """The method, with the parameters that a frozen distribution holds; shapes also by name."""

    def call(x: Any, *more: Any, **named: Any) -> Any:
        named = {**kwargs, **named}
        placed = [*args, *more]
        while len(placed) < len(names) and names[len(placed)] in named:
            placed.append(named.pop(names[len(placed)]))
        return method(which, x, *placed, **named)

    return call


def _shape_names(kind: Any) -> list[str]:
    shapes = getattr(kind, "shapes", None)
    return [name.strip() for name in shapes.split(",")] if shapes else []
