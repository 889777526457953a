"""Functions of scipy.special that count: combinations, factorials; and those of known numbers.

`exact=True` means whole numbers of any length in Python.  Here Python ints that are arguments fix
the graph, so that scipy computes them; arrays of integers are looked up in a table of what fits
into 64 bits, and the step checks that they lie in it.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import errors
from graphc.ir import FLOATS, INTS
from graphc.ops import elementwise as ew
from graphc.ops import index as index_ops
from graphc.ops import special as ops
from graphc.ops.scipy_calls import scipy_special
from graphc.trace.promotion import cast_to
from graphc.trace.scope import user_loc
from graphc.trace.tracer import Tracer, lift, wrap

MOST = 2**63 - 1


def floats(a: Any) -> Any:
    x = lift(a)
    return x if x.dtype_name in FLOATS else x.astype(np.float64)


def comb(N: Any, k: Any, *, exact: bool = False, repetition: bool = False) -> Any:  # noqa: N803
    """How many ways there are to choose k of N things; none for less than 0 or more than N."""
    if exact:
        return _exactly("comb", N, k, repetition=repetition)
    total, chosen = floats(N), floats(k)
    if repetition:
        empty = np.logical_and(chosen == 0, total >= 0)
        return np.where(empty, 1.0, scipy_special().binom(total + chosen - 1.0, chosen))
    inside = np.logical_and(chosen <= total, np.logical_and(total >= 0, chosen >= 0))
    return np.where(inside, scipy_special().binom(total, chosen), 0.0)


def perm(N: Any, k: Any, exact: bool = False) -> Any:  # noqa: N803 - scipy's name
    """In how many orders k of N things may come."""
    if exact:
        return _exactly("perm", N, k)
    total, chosen = floats(N), floats(k)
    inside = np.logical_and(chosen <= total, np.logical_and(total >= 0, chosen >= 0))
    return np.where(inside, scipy_special().poch(total - chosen + 1.0, chosen), 0.0)


def _exactly(name: str, *numbers: Any, **options: Any) -> Any:
    try:
        known = [operator.index(n) for n in numbers]
    except (TypeError, errors.ConcreteValueError):
        raise errors.UnsupportedFunctionError(
            f"{name} with exact=True can be traced for Python ints; use exact=False for arrays",
            user_loc(),
        ) from None
    return getattr(scipy_special(), name)(*known, exact=True, **options)


# ---- factorials ----------------------------------------------------------------------------------


def factorial(n: Any, exact: bool = False, extend: str = "zero") -> Any:
    _expect_zero("factorial", extend)
    if exact:
        return _in_table("factorial", n, 1)
    x = floats(n)
    return np.where(x < 0, 0.0, wrap(ops.gamma((x + 1.0).value())))


def factorial2(n: Any, exact: bool = False, extend: str = "zero") -> Any:
    _expect_zero("factorial2", extend)
    return _in_table("factorial2", n, 2) if exact else _multifactorial("factorial2", n, 2)


def factorialk(n: Any, k: Any, exact: bool = False, extend: str = "zero") -> Any:
    _expect_zero("factorialk", extend)
    step = operator.index(k)
    return _in_table("factorialk", n, step) if exact else _multifactorial("factorialk", n, step)


def _expect_zero(name: str, extend: str) -> None:
    if extend != "zero":
        raise errors.UnsupportedFunctionError(
            f"{name} can be traced with extend='zero'; use scipy.special.gamma", user_loc()
        )


def _expect_integers(name: str, n: Tracer) -> None:
    if n.dtype_name not in INTS:
        raise errors.DTypeError(
            f"scipy.special.{name} takes integers here, not {n.type}; use scipy.special.gamma",
            user_loc(),
        )


def _multifactorial(name: str, n: Any, k: int) -> Any:
    """k**((n-r)/k) gamma(n/k + 1) / gamma(r/k + 1) max(r, 1) for the remainder r of n by k."""
    given = lift(n)
    if given.dtype_name not in INTS:
        raise errors.DTypeError(
            f"scipy.special.{name} takes integers, not {given.type}", user_loc()
        )
    x = given.astype(np.float64)
    rest = np.remainder(x, k)
    scale = scipy_special().gamma(x / k + 1.0) / scipy_special().gamma(rest / k + 1.0)
    value = np.power(float(k), (x - rest) / k) * scale * np.maximum(rest, 1.0)
    return np.where(x < 0, 0.0, value)


def _in_table(name: str, n: Any, k: int) -> Any:
    """The products of every k-th number from n downwards, 0 for an n below 0."""
    given = lift(n)
    if given.is_scalar and given.argument is not None:
        options = {"k": k} if name == "factorialk" else {}
        return getattr(scipy_special(), name)(operator.index(n), exact=True, **options)
    if given.dtype_name not in INTS:
        raise errors.DTypeError(
            f"{name} with exact=True takes integers, not {given.type}", user_loc()
        )
    table = _products(k)
    value = cast_to(given.value(), "i64")
    index_ops.check(
        ew.less(value, len(table)),
        value,
        error="OverflowError",
        message=f"{name} of {{value}} is beyond 64 bits; use exact=False",
    )
    return lift(np.append(table, 0))[wrap(ew.where(ew.less(value, 0), -1, value))]


@functools.cache
def _products(k: int) -> np.ndarray:
    """As many as 64 bits hold, and no more than a thousand."""
    found = [1]
    while len(found) < 1000:
        n = len(found)
        product = n * (found[n - k] if n > k else 1)
        if product > MOST:
            break
        found.append(product)
    return np.array(found, np.int64)


# ---- functions of known numbers ------------------------------------------------------------------


def of_known(function: Any) -> Callable[..., Any]:
    """A function without a traced form: its arguments are to be Python ints, which fix the graph.

    The result is a constant, of any kind.  Other traced arguments are an error.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        name = function.__name__
        try:
            known = [operator.index(x) if isinstance(x, Tracer) else x for x in args]
            named = {
                key: operator.index(x) if isinstance(x, Tracer) else x for key, x in kwargs.items()
            }
        except errors.ConcreteValueError:
            raise errors.UnsupportedFunctionError(
                f"scipy.special.{name} cannot be traced: it works for Python ints, which fix the"
                " graph; compute it outside of the traced function, and pass what it gives",
                user_loc(),
            ) from None
        return function(*known, **named)

    return call


COUNTING: dict[str, Callable[..., Any]] = {
    "comb": comb,
    "perm": perm,
    "factorial": factorial,
    "factorial2": factorial2,
    "factorialk": factorialk,
}
"""Functions of scipy.special, by name."""
