"""Logarithms on vectors: branch-free, no tables, f32 and f64; part of `exponential.py`."""

from __future__ import annotations

import math

from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.math._steps import (
    LN2,
    LOG2_E,
    LOG10_2,
    LOG10_E,
    ONE,
    ieee,
    inverse_scale,
    matters,
    parts,
    polynomial,
    scaled,
    split,
    split_normal,
    with_sign,
)
from graphc.runtime.llvm.registers import Reg

LOG_TAIL = {
    "float": (
        -0.07621895521879196, 0.1290464550256729, -0.1324305683374405, 0.14181824028491974,
        -0.16609086096286774, 0.20001979172229767, -0.25001585483551025, 0.33333325386047363,
        -0.49999988079071045,
    ),
    "double": (
        0.02617482628037287, -0.060062891419710565, 0.06529641285572918, -0.056780879998034835,
        0.05658928946293601, -0.061943600822595916, 0.0668594076900104, -0.07149938840640578,
        0.07691432662706273, -0.08332863962623618, 0.09090927464067063, -0.1000001794481721,
        0.11111111098516455, -0.1249999960433777, 0.14285714279625816, -0.16666666671357938,
        0.20000000000085177, -0.24999999999974903, 0.33333333333333026, -0.5000000000000003,
    ),
}  # fmt: skip
"""(log(1 + t) - t) / t**2 on [sqrt(1/2) - 1, sqrt(2) - 1], relative to log(1 + t)."""


@ieee
def log(f: Function, x: Reg) -> Reg:
    """log(x) = e ln 2 + log(m), x = 2**e m, sqrt(1/2) <= m < sqrt(2).  Error 1.0 / 1.1 ULP."""
    return _logarithm(f, x, LN2, ONE)


@ieee
def log2(f: Function, x: Reg) -> Reg:
    """log2(x) = e + log(m) log2(e).  Powers of two give exact integers.  Error 1.1 / 1.4 ULP."""
    return _logarithm(f, x, ONE, LOG2_E)


@ieee
def log10(f: Function, x: Reg) -> Reg:
    """log10(x) = e log10(2) + log(m) log10(e).  Error 1.0 / 1.1 ULP."""
    return _logarithm(f, x, LOG10_2, LOG10_E)


@ieee
def log1p(f: Function, x: Reg) -> Reg:
    """log(1 + x), accurate near 0: see `log1p_finite`.  Error 1.6 / 1.5 ULP."""
    result = log_special(f, f.fadd(x, f.const(1.0, x)), log1p_finite(f, x))
    return with_sign(f, result, x)


def _logarithm(f: Function, x: Reg, of_two: tuple[float, float], of_e: tuple[float, float]) -> Reg:
    parted = split(f, x)
    t = f.fsub(parted.fraction, f.const(1.0, x))
    return log_special(f, x, log_sum(f, parted.exponent, t, of_two, of_e))


def log_sum(
    f: Function, exponent: Reg, t: Reg, of_two: tuple[float, float], of_e: tuple[float, float]
) -> Reg:
    """exponent * of_two + log(1 + t) * of_e: the logarithms of 2 and e name the base."""
    square = f.fmul(t, t)
    tail = polynomial(f, (t, square), scaled(LOG_TAIL[t.elem], of_e[0]))
    two, e = parts(of_two, t.elem), parts(of_e, t.elem)
    low = f.fmul(square, tail)
    if matters(e, t.elem):
        low = f.fma(t, f.const(e[1], t), low)
    if matters(two, t.elem):
        low = f.fma(exponent, f.const(two[1], t), low)
    small = f.fadd(t, low) if e == ONE else f.fma(t, f.const(e[0], t), low)
    if two == ONE:
        return f.fadd(exponent, small)
    return f.fma(exponent, f.const(two[0], t), small)


def log_special(f: Function, x: Reg, result: Reg) -> Reg:
    """`result` for 0 < x < inf; -inf for 0, NaN below it, inf and NaN for themselves."""
    result = f.select(f.fcmp("olt", x, f.const(math.inf, x)), result, x)
    at_zero = f.fcmp("oeq", x, f.const(0.0, x))
    pole = f.select(at_zero, f.const(-math.inf, x), f.const(math.nan, x))
    return f.select(f.fcmp("ugt", x, f.const(0.0, x)), result, pole)


def log1p_finite(f: Function, x: Reg, twice: Reg | None = None) -> Reg:
    """log(1 + x) for finite x > -1; where `twice` is 1.0 (else 0.0), log(2 (1 + x)).

    Only the exponent e is taken from the rounded sum: t = 2**-e x + (2**-e - 1) is one fma of exact
    terms (for large e the bracket rounds to -1, which no longer matters), and x itself when e = 0.
    """
    one = f.const(1.0, x)
    parted = split_normal(f, f.fadd(x, one))
    scale = inverse_scale(f, parted)
    t = f.fma(x, scale, f.fsub(scale, one))
    exponent = parted.exponent if twice is None else f.fadd(parted.exponent, twice)
    return log_sum(f, exponent, t, LN2, ONE)
