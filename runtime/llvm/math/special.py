"""erf, sigmoid, softplus and hypot on vectors: branch-free, f32 and f64.

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
    matters,
    parts,
    polynomial,
    power_of_two,
    rounded,
    scaled,
    with_sign,
)
from graphc.runtime.llvm.math.exponential import (
    EXP_RANGE,
    EXPM1_NARROW,
    expm1_polynomial,
)
from graphc.runtime.llvm.registers import Reg

ERF_LIMIT = {"float": 3.93, "double": 5.95}  # erf rounds to 1 from here
TWICE_PI_ROOT_INVERSE = (1.1283791670955126, 1.533545961316588e-17)  # 2 / sqrt(pi), erf'(0)
ERFC_TAIL = {
    "float": (
        1.1737723752958118e-06, -2.1150905013200827e-05, 0.00016661081463098526,
        -0.0007387122022919357, 0.0017967765452340245, -0.00025109591661021113,
        -0.019118545576930046, 0.10277148336172104, 0.6366198062896729,
    ),
    "double": (
        7.898106929335569e-16, -3.8800505812698224e-14, 8.909062054430712e-13,
        -1.2695462234961044e-11, 1.2562023396874666e-10, -9.135192241138712e-10,
        5.0252079749373585e-09, -2.1074323975551643e-08, 6.609338419237373e-08,
        -1.4269133686494443e-07, 1.3911543981037446e-07, 3.33118707938339e-07,
        -1.7371535104427367e-06, 2.8303629326988804e-06, 3.411409036249054e-06,
        -2.9726884438140624e-05, 6.449337497238476e-05, 2.5877987023044188e-05,
        -0.0005901253654463528, 0.0016962063447946507, -0.0002091946887144431,
        -0.019128447005654747, 0.10277260330182042, 0.6366197723675828,
    ),
}  # fmt: skip
"""(-log(1 - erf(x)) - erf'(0) x) / x**2 on [0, ERF_LIMIT], for an error relative to erf(x)."""


@ieee
def erf(f: Function, x: Reg) -> Reg:
    """-erf|x| = exp(g(|x|)) - 1, where g = log(1 - erf) is one smooth polynomial, without pieces.

    Error 1.9 / 1.5 ULP.
    """
    exponent = _log_erfc(f, at_most(f, magnitude(f, x), ERF_LIMIT[x.elem]))
    n = rounded(f, exponent, LOG2_E[0], layout(x).bias)
    r = less_multiple(f, exponent, n.value, LN2, rough=True)
    p = expm1_polynomial(f, r, EXPM1_NARROW[x.elem])
    scale = power_of_two(f, n, x.elem)
    return with_sign(f, f.fma(scale, p, f.fsub(scale, f.const(1.0, x))), x)


def _log_erfc(f: Function, size: Reg) -> Reg:
    square = f.fmul(size, size)
    powers = (size, square, f.fmul(square, square))
    slope = parts(TWICE_PI_ROOT_INVERSE, size.elem)
    small = f.fmul(square, polynomial(f, powers, scaled(ERFC_TAIL[size.elem], -1.0)))
    if matters(slope, size.elem):
        small = f.fma(size, f.const(-slope[1], size), small)
    return f.fma(size, f.const(-slope[0], size), small)


SIGMOID_SHIFT = {"float": 64, "double": 512}


@ieee
def sigmoid(f: Function, x: Reg) -> Reg:
    """1 / (1 + z) for x >= 0, z / (1 + z) for x < 0, with z = exp(-|x|).  Error 2.5 / 2.3 ULP."""
    one = f.const(1.0, x)
    z = _exp_negative(f, at_least(f, f.fneg(magnitude(f, x)), EXP_RANGE[x.elem][0]))
    numerator = f.select(f.fcmp("olt", x, f.const(0.0, x)), z, one)
    return f.fdiv(numerator, f.fadd(one, z))


def _exp_negative(f: Function, x: Reg) -> Reg:
    """exp(x) for x <= 0: 2**n is always normal when shifted up, so that it needs no halving."""
    shift = SIGMOID_SHIFT[x.elem]
    n = rounded(f, x, LOG2_E[0], layout(x).bias + shift)
    r = less_multiple(f, x, n.value, LN2)
    factor = f.fadd(f.const(1.0, x), expm1_polynomial(f, r, EXPM1_NARROW[x.elem]))
    shifted = f.fmul(factor, power_of_two(f, n, x.elem))
    return f.fmul(shifted, f.const(2.0**-shift, x))


@ieee
def softplus(f: Function, x: Reg) -> Reg:
    """log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)).  Error 3.0 / 3.0 ULP."""
    zero = f.const(0.0, x)
    z = _exp_negative(f, at_least(f, f.fneg(magnitude(f, x)), EXP_RANGE[x.elem][0]))
    positive = f.select(f.fcmp("olt", x, zero), zero, x)  # NaN for NaN
    return f.fadd(positive, log1p_finite(f, z))


HYPOT_SCALE = 600
"""Powers of two by which f64 operands are scaled, so that no square leaves the normal numbers."""


@ieee
def hypot(f: Function, x: Reg, y: Reg) -> Reg:
    """sqrt(x**2 + y**2); f32 in f64, f64 scaled by a power of two.  Error 0.6 / 1.1 ULP.

    As in C, hypot(inf, NaN) is inf.
    """
    a, b = magnitude(f, x), magnitude(f, y)
    length = _hypot_f32(f, a, b) if x.elem == "float" else _hypot_f64(f, a, b)
    infinity = f.const(math.inf, x)
    infinite = f.or_(f.fcmp("oeq", a, infinity), f.fcmp("oeq", b, infinity))
    return f.select(infinite, infinity, length)


def _hypot_f32(f: Function, a: Reg, b: Reg) -> Reg:
    """In f64 the squares of f32 are exact, and their sum neither overflows nor underflows."""
    a, b = (f.convert("fpext", side, "double") for side in (a, b))
    return f.convert("fptrunc", f.intrinsic("sqrt", f.fma(a, a, f.fmul(b, b))), "float")


def _hypot_f64(f: Function, a: Reg, b: Reg) -> Reg:
    big = f.select(f.fcmp("ogt", a, b), a, b)
    up, down = (f.const(2.0**power, a) for power in (HYPOT_SCALE, -HYPOT_SCALE))
    is_small = f.fcmp("olt", big, f.const(2.0**-400, a))
    is_large = f.fcmp("ogt", big, f.const(2.0**400, a))
    one = f.const(1.0, a)
    scale = f.select(is_small, up, f.select(is_large, down, one))
    back = f.select(is_small, down, f.select(is_large, up, one))
    a, b = f.fmul(a, scale), f.fmul(b, scale)
    return f.fmul(f.intrinsic("sqrt", f.fma(a, a, f.fmul(b, b))), back)


TABLE: dict[str, Callable[..., Reg]] = {
    "erf": erf,
    "sigmoid": sigmoid,
    "softplus": softplus,
    "hypot": hypot,
}
