"""Special functions of scipy.special, elementwise.  Lowering makes them of elementary ones.

Derivatives are those of the NIST Digital Library of Mathematical Functions (DLMF), chapters 5, 7,
10 and 25.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import errors
from graphc.build import Value
from graphc.ir import FLOATS, Op
from graphc.ops.elementwise import (
    Rule,
    define,
    equal,
    exp,
    less,
    round,
    sign,
    sin,
    square,
    where,
)
from graphc.ops.zeta_slope import zeta_slope

TWO_OVER_ROOT_PI = 2.0 / math.sqrt(math.pi)


def _scipy(name: str) -> Callable[..., Any]:
    """scipy's function: who compiles one of these has called it."""

    def reference(*xs: np.ndarray) -> Any:
        try:
            from scipy import special  # type: ignore[import-untyped]
        except ImportError:
            raise errors.MissingLibraryError(
                f"the reference of {name} is scipy's; pip install graphc-compiler[linalg]"
            ) from None
        return np.asarray(getattr(special, name)(*xs), xs[0].dtype)

    return reference


def _define(name: str, vjp: Rule, arity: int = 1, scipy_name: str = "") -> Op:
    return define(name, _scipy(scipy_name or name), arity, FLOATS, vjp)


def _zeta_vjp(g: Value, out: Value, s: Value, q: Value) -> tuple[Any, ...]:
    return (g * zeta_slope(s, q), -(g * s * zeta(s + 1.0, q)))


erfc = _define("erfc", lambda g, out, x: (-(g * exp(-square(x)) * TWO_OVER_ROOT_PI),))
erfcx = _define("erfcx", lambda g, out, x: (g * (x * out * 2.0 - TWO_OVER_ROOT_PI),))
erfinv: Op = _define("erfinv", lambda g, out, x: (g * exp(square(out)) * (1.0 / TWO_OVER_ROOT_PI),))
zeta: Op = _define("zeta", _zeta_vjp, arity=2)


def _digamma_vjp(g: Value, out: Value, x: Value) -> tuple[Any, ...]:
    """The trigamma function: zeta(2, x), reflected left of 0 (DLMF 5.15.6)."""
    is_left = less(x, 0.0)
    right = zeta(x.literal(2.0), where(is_left, 1.0 - x, x))
    sine = sin((x - round(x)) * math.pi)
    return (g * where(is_left, square(math.pi / where(is_left, sine, 1.0)) - right, right),)


digamma = _define("digamma", _digamma_vjp)
gammaln = _define("gammaln", lambda g, out, x: (g * digamma(x),))
gamma = _define("gamma", lambda g, out, x: (g * out * digamma(x),))


def _i1e_vjp(g: Value, out: Value, x: Value) -> tuple[Any, ...]:
    """i1e' = i0e - i1e / x - sign(x) i1e, whose limit at 0 is 1/2."""
    zero = equal(x, 0.0)
    ratio = where(zero, x.literal(0.5), out / where(zero, x.literal(1.0), x))
    return (g * (i0e(x) - ratio - sign(x) * out),)


i0e: Op = _define("i0e", lambda g, out, x: (g * (i1e(x) - sign(x) * out),))
i1e: Op = _define("i1e", _i1e_vjp)


def _log_ndtr_vjp(g: Value, out: Value, x: Value) -> tuple[Any, ...]:
    """The density over the distribution, both in logarithms."""
    density = square(x) * -0.5 - 0.5 * math.log(2.0 * math.pi)
    return (g * exp(density - out),)


log_ndtr = _define("log_ndtr", _log_ndtr_vjp)

SPECIAL = (erfc, erfcx, erfinv, zeta, digamma, gammaln, gamma, i0e, i1e, log_ndtr)
"""All of them."""
