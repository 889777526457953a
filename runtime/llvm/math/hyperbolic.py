"""Hyperbolic functions and their inverses on vectors: branch-free, f32 and f64.

Errors are stated as in `exponential.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.math._logarithms import log1p_finite
from graphc.runtime.llvm.math._steps import (
    LN2,
    LOG2_E,
    at_least,
    at_most,
    ieee,
    layout,
    less_multiple,
    magnitude,
    polynomial,
    power_of_two,
    rounded,
    with_sign,
)
from graphc.runtime.llvm.math.exponential import EXPM1_NARROW, expm1_polynomial
from graphc.runtime.llvm.registers import Reg

SINH_TAIL = {
    "float": (0.00020098696404602379, 0.008332595229148865, 0.16666673123836517),
    "double": (
        1.6187254755654075e-10, 2.505127002123378e-08, 2.755732191895443e-06,
        0.00019841269836891134, 0.008333333333336603, 0.16666666666666657,
    ),
}  # fmt: skip
"""(sinh(r) - r) / r**3 in powers of r**2, for |r| <= ln 2."""

COSH_TAIL = {
    "float": (0.0014120894484221935, 0.041660111397504807, 0.500000536441803),
    "double": (
        2.1069170978271544e-09, 2.755606082266726e-07, 2.4801591347150943e-05,
        0.0013888888882315395, 0.041666666666715764, 0.4999999999999988,
    ),
}  # fmt: skip
"""(cosh(r) - 1) / r**2 in powers of r**2, for |r| <= ln 2."""

SINH_LIMIT = {"float": 90.0, "double": 711.0}  # both functions are infinite from here
TANH_LIMIT = {"float": -18.1, "double": -38.2}  # of -2x: tanh rounds to 1 from here
HUGE = {"float": 2.0**30, "double": 2.0**60}  # x**2 + 1 == x**2 long before; x**2 is finite


@ieee
def sinh(f: Function, x: Reg) -> Reg:
    """sinh(n ln 2 + r) = sinh(n ln 2) cosh(r) + cosh(n ln 2) sinh(r).  Error 2.0 / 2.4 ULP.

    cosh(r) enters as 1 + small: the large term sinh(n ln 2) is added last, and exactly known.
    """
    sinh_n, cosh_n, sinh_r, cosh_r_less_1 = _hyperbolic_parts(f, x)
    small = f.fma(sinh_n, cosh_r_less_1, f.fmul(cosh_n, sinh_r))
    return with_sign(f, f.fadd(sinh_n, small), x)


@ieee
def cosh(f: Function, x: Reg) -> Reg:
    """cosh(n ln 2 + r) = cosh(n ln 2) cosh(r) + sinh(n ln 2) sinh(r).  Error 1.7 / 1.6 ULP."""
    sinh_n, cosh_n, sinh_r, cosh_r_less_1 = _hyperbolic_parts(f, x)
    small = f.fma(cosh_n, cosh_r_less_1, f.fmul(sinh_n, sinh_r))
    return f.fadd(cosh_n, small)


def _hyperbolic_parts(f: Function, x: Reg) -> tuple[Reg, Reg, Reg, Reg]:
    """For |x| = n ln 2 + r: sinh(n ln 2), cosh(n ln 2), sinh(r), cosh(r) - 1.

    The bias of the rounding makes the powers of two halves of 2**n and 2**-n, so that n may go one
    further than the format's exponent; after that r grows, up to ln 2.
    """
    kind = layout(x)
    size = at_most(f, magnitude(f, x), SINH_LIMIT[x.elem])
    n = rounded(f, size, LOG2_E[0], kind.bias - 1, most=kind.bias + 1)
    r = less_multiple(f, size, n.value, LN2)
    square = f.fmul(r, r)
    fourth = f.fmul(square, square)
    sinh_r = f.fma(f.fmul(r, square), polynomial(f, (square, fourth), SINH_TAIL[x.elem]), r)
    cosh_r_less_1 = f.fmul(square, polynomial(f, (square, fourth), COSH_TAIL[x.elem]))
    growing = power_of_two(f, n, x.elem)
    # The exponent of 2**-n / 2 is minus the other one, cut off at 0, where it counts no more.
    bits = f.bitcast(growing, kind.word)
    opposite = f.sub(f.const(2 * (kind.bias - 1) << kind.fraction_bits, bits), bits)
    zero = f.const(0, bits)
    shrinking = f.bitcast(f.select(f.icmp("sgt", opposite, zero), opposite, zero), x.elem)
    return f.fsub(growing, shrinking), f.fadd(growing, shrinking), sinh_r, cosh_r_less_1


@ieee
def tanh(f: Function, x: Reg) -> Reg:
    """-tanh|x| = E / (E + 2), E = exp(-2|x|) - 1 = 2**n p + (2**n - 1).  Error 2.0 / 2.1 ULP.

    With the negative exponent no step cancels, and E + 2 lies where its rounding is finest.  It
    does not use the rounded E: that error would count twice.
    """
    one = f.const(1.0, x)
    double = at_least(f, f.fmul(magnitude(f, x), f.const(-2.0, x)), TANH_LIMIT[x.elem])
    n = rounded(f, double, LOG2_E[0], layout(x).bias)
    r = less_multiple(f, double, n.value, LN2, rough=True)
    p = expm1_polynomial(f, r, EXPM1_NARROW[x.elem])
    scale = power_of_two(f, n, x.elem)
    numerator = f.fma(scale, p, f.fsub(scale, one))
    denominator = f.fma(scale, p, f.fadd(scale, one))
    return with_sign(f, f.fdiv(numerator, denominator), x)


@ieee
def arcsinh(f: Function, x: Reg) -> Reg:
    """arcsinh|x| = log1p(|x| + x**2 / (1 + sqrt(1 + x**2))), or log(2|x|) when huge.

    Error 1.9 / 2.0 ULP.
    """
    one, size = f.const(1.0, x), magnitude(f, x)
    huge, twice = _huge(f, size)
    root = f.intrinsic("sqrt", f.fma(size, size, one))
    more = f.fdiv(f.fmul(size, size), f.fadd(one, root))
    result = log1p_finite(f, f.select(huge, size, f.fadd(size, more)), twice)
    result = f.select(f.fcmp("olt", size, f.const(math.inf, x)), result, size)
    return with_sign(f, result, x)


@ieee
def arccosh(f: Function, x: Reg) -> Reg:
    """arccosh(1 + t) = log1p(t + sqrt(t**2 + 2t)), or log(2x) when huge.  Error 2.1 / 2.0 ULP."""
    huge, twice = _huge(f, x)
    t = f.fsub(x, f.const(1.0, x))
    root = f.intrinsic("sqrt", f.fma(t, t, f.fadd(t, t)))
    result = log1p_finite(f, f.select(huge, x, f.fadd(t, root)), twice)
    result = f.select(f.fcmp("olt", x, f.const(math.inf, x)), result, x)
    return f.select(f.fcmp("uge", x, f.const(1.0, x)), result, f.const(math.nan, x))


@ieee
def arctanh(f: Function, x: Reg) -> Reg:
    """arctanh|x| = log1p(2|x| + 2|x| |x| / (1 - |x|)) / 2.  Error 1.9 / 1.8 ULP."""
    one, size = f.const(1.0, x), magnitude(f, x)
    double = f.fadd(size, size)
    t = f.fma(double, f.fdiv(size, f.fsub(one, size)), double)
    result = f.fmul(log1p_finite(f, t), f.const(0.5, x))
    pole = f.select(f.fcmp("oeq", size, one), f.const(math.inf, x), f.const(math.nan, x))
    return with_sign(f, f.select(f.fcmp("olt", size, one), result, pole), x)


def _huge(f: Function, size: Reg) -> tuple[Reg, Reg]:
    """Where log(2 size) is the answer, as a mask and as 1.0 or 0.0."""
    huge = f.fcmp("ogt", size, f.const(HUGE[size.elem], size))
    return huge, f.select(huge, f.const(1.0, size), f.const(0.0, size))


TABLE: dict[str, Callable[..., Reg]] = {
    "sinh": sinh,
    "cosh": cosh,
    "tanh": tanh,
    "arcsinh": arcsinh,
    "arccosh": arccosh,
    "arctanh": arctanh,
}
