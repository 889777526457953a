"""Elementwise operations on the parts of a number: sign, exponent, neighbour; and divisors."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.build import Value
from graphc.ir import FLOATS, INTS, NARROW, Op
from graphc.ops.elementwise import LN_2, define, equal, where


def _copysign_vjp(g: Value, out: Value, x: Value, y: Value) -> tuple[Any, ...]:
    return (where(equal(signbit(x), signbit(y)), g, -g), None)


def _ldexp_reference(x: np.ndarray, n: np.ndarray) -> Any:
    return np.ldexp(x, np.clip(n, -5000, 5000).astype(np.int32))


signbit: Op = define("signbit", np.signbit, 1, FLOATS, result="bool")
copysign = define("copysign", np.copysign, 2, FLOATS, _copysign_vjp)
nextafter = define("nextafter", np.nextafter, 2, FLOATS - NARROW, lambda g, out, x, y: (g, None))
ldexp: Op = define(
    "ldexp", _ldexp_reference, 2, FLOATS, lambda g, out, x, n: (ldexp(g, n), g * out * LN_2)
)
"""x * 2**n for a whole number n, which is given as a float."""
frexp_exponent = define("frexp_exponent", lambda x: np.frexp(x)[1].astype(x.dtype), 1, FLOATS)
gcd = define("gcd", np.gcd, 2, INTS)
