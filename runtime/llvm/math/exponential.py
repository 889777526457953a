"""exp, log and their relatives on vectors: branch-free, no tables, f32 and f64.

Each docstring states the largest error found (rounded up), in units in the last place (ULP) of the
result, as `f32 / f64`.  Coefficients are minimax fits, highest power first.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.math._lanes import is_constant, out_of_line
from graphc.runtime.llvm.math._logarithms import log, log1p, log2, log10
from graphc.runtime.llvm.math._steps import (
    LN2,
    LOG2_E,
    Rounded,
    Split,
    clamp,
    ieee,
    layout,
    less_multiple,
    magnitude,
    ordered_sum,
    polynomial,
    power_of_two,
    product,
    rounded,
    scaled,
    split,
    split_normal,
    with_sign,
    word,
)
from graphc.runtime.llvm.math.half_powers import half_power
from graphc.runtime.llvm.registers import Reg

# ---- exponentials --------------------------------------------------------------------------------

EXP_WIDE = {
    "float": (
        0.00019611773313954473, 0.0014104321599006653, 0.008336084894835949,
        0.041661251336336136, 0.1666661500930786, 0.5000003576278687,
    ),
    "double": (
        1.5935595601196884e-10, 2.10623416855161e-09, 2.5055033152615464e-08,
        2.755615792876454e-07, 2.755730065305621e-06, 2.4801590830363436e-05,
        0.0001984126989277165, 0.0013888888883576546, 0.008333333333269927,
        0.04166666666670209, 0.16666666666666938, 0.4999999999999993,
    ),
}  # fmt: skip
"""(exp(r) - 1 - r) / r**2 on [-ln 2, ln 2], for an error relative to exp(r)."""

EXPM1_WIDE = {
    "float": (
        0.0002304445515619591, 0.00138524966314435, 0.008327453397214413,
        0.041667673736810684, 0.1666669398546219, 0.4999999701976776,
    ),
    "double": (
        1.885515511624402e-10, 2.0696830300242756e-09, 2.5049261875614068e-08,
        2.755795382644436e-07, 2.7557310064528227e-06, 2.4801586555769198e-05,
        0.0001984126985809191, 0.0013888888889272174, 0.008333333333324377,
        0.04166666666666581, 0.1666666666666668, 0.5,
    ),
}  # fmt: skip
"""The same on [-ln(2)/2, ln 2], for an error relative to exp(r) - 1."""

EXPM1_NARROW = {
    "float": (
        0.001388251199387014, 0.008366536349058151, 0.04166731610894203,
        0.1666654348373413, 0.4999999701976776,
    ),
    "double": (
        2.096027976943298e-09, 2.5110509774681495e-08, 2.7557149817400514e-07,
        2.755724024547327e-06, 2.4801587440188346e-05, 0.0001984126988975515,
        0.0013888888888842503, 0.008333333333320344, 0.04166666666666671,
        0.16666666666666677, 0.5,
    ),
}  # fmt: skip
"""The same on [-ln(2)/2, ln(2)/2], for an error relative to exp(r) - 1."""

EXP_RANGE = {"float": (-104.5, 89.0), "double": (-746.0, 710.0)}
EXP2_RANGE = {"float": (-151.0, 129.0), "double": (-1076.0, 1025.0)}
EXPM1_RANGE = {"float": (-20.0, 89.0), "double": (-40.0, 710.0)}
"""Beyond these the results are 0 (or -1) and infinity, which the ends already give."""

TWICE_LN2 = (2 * LN2[0], 2 * LN2[1])


@ieee
def exp(f: Function, x: Reg) -> Reg:
    """exp(x) = 2**m * 2**m * exp(r), x = 2m ln 2 + r.  Error 1.7 / 1.5 ULP.

    Halving the power of two keeps both factors normal over the whole range: the first product is
    exact, the second rounds once, into subnormal results or infinity where it must.
    """
    x = clamp(f, x, *EXP_RANGE[x.elem])
    m = rounded(f, x, 0.5 * LOG2_E[0], layout(x).bias)
    rest = less_multiple(f, x, m.value, TWICE_LN2)
    factor = f.fadd(f.const(1.0, x), expm1_polynomial(f, rest, EXP_WIDE[x.elem]))
    return scaled_twice(f, factor, m)


def expm1_polynomial(f: Function, r: Reg, coefficients: tuple[float, ...]) -> Reg:
    """exp(r) - 1 = r + r**2 Q(r) on the small interval of the coefficients."""
    square = f.fmul(r, r)
    return f.fma(square, polynomial(f, (r, square), coefficients), r)


def scaled_twice(f: Function, factor: Reg, m: Rounded) -> Reg:
    scale = power_of_two(f, m, factor.elem)
    return f.fmul(f.fmul(factor, scale), scale)


@ieee
def exp2(f: Function, x: Reg) -> Reg:
    """2**x = 2**m * 2**m * 2**r, x = 2m + r exactly.  Error 1.4 / 1.4 ULP; none at integers."""
    x = clamp(f, x, *EXP2_RANGE[x.elem])
    m = rounded(f, x, 0.5, layout(x).bias)
    return scaled_twice(f, exp2_polynomial(f, f.fma(m.value, f.const(-2.0, x), x)), m)


EXP2_WIDE = {
    elem: tuple(c * LN2[0] ** (k + 2) for k, c in zip(range(len(cs))[::-1], cs, strict=True))
    for elem, cs in EXP_WIDE.items()
}


def exp2_polynomial(f: Function, r: Reg) -> Reg:
    """2**r for -1 <= r <= 1."""
    square = f.fmul(r, r)
    tail = f.fmul(square, polynomial(f, (r, square), EXP2_WIDE[r.elem]))
    return f.fadd(f.const(1.0, r), f.fma(r, f.const(LN2[0], r), tail))


@ieee
def expm1(f: Function, x: Reg) -> Reg:
    """exp(x) - 1 = 2**n (exp(r) - 1) + (2**n - 1).  Error 1.7 / 2.0 ULP.

    n stops one short of overflow, where r grows up to ln 2 instead.
    """
    kind = layout(x)
    near = clamp(f, x, *EXPM1_RANGE[x.elem])
    n = rounded(f, near, LOG2_E[0], kind.bias, most=kind.bias)
    rest = less_multiple(f, near, n.value, LN2)
    part = expm1_polynomial(f, rest, EXPM1_WIDE[x.elem])
    scale = power_of_two(f, n, x.elem)
    result = f.fma(scale, part, f.fsub(scale, f.const(1.0, x)))
    return with_sign(f, result, x)


# ---- powers and roots ----------------------------------------------------------------------------

POWER_F32_LOG_TAIL = (
    0.053587206296750296, -0.09872050355828123, 0.10015463088119797, -0.09927287957578523,
    0.11009595179924031, -0.12497412484472796, 0.14290572275919466, -0.16666927519861277,
    0.19999898107908815, -0.24999994827432456, 0.3333333404393881, -0.5000000002153305,
)  # fmt: skip
"""As LOG_TAIL, to 35 bits."""

POWER_F32_EXP = (
    0.0013814540651732887, 0.008368745127697834, 0.04166839077088458, 0.16666520398899418,
    0.49999993432222417,
)  # fmt: skip
"""As EXP_WIDE on [-ln(2)/2, ln(2)/2], to 28 bits."""

ATANH_TAIL = (
    0.05994584346695101, 0.058373999454904776, 0.06668159166646552, 0.07692278423651681,
    0.09090909435330527, 0.11111111108766823, 0.14285714285722562, 0.1999999999999999,
)  # fmt: skip
"""(atanh(s)/s - 1 - z/3) / z**2, z = s**2, for |s| <= (sqrt(2) - 1) / (sqrt(2) + 1)."""

TWICE_LOG2_E = (2.8853900817779268, 4.0710547481862066e-17)
TWICE_LOG2_E_THIRD = (0.9617966939259756, 5.0577616648125907e-17)


@ieee
def power(f: Function, x: Reg, y: Reg) -> Reg:
    """x**y = 2**(y log2|x|), with a sign where x < 0 and y is odd.  Error 0.6 / 1.5 ULP.

    The exponent needs about 12 bits more than the result.  f32 takes them from f64 arithmetic,
    f64 from a logarithm in double-double.  Exponents that are known halves take square roots.
    """
    known = half_power(f, x, y)
    if known is not None:
        return known
    if x.lanes > 1:
        return _power(f, x, y)
    if is_constant(x):  # and so is its logarithm
        return out_of_line(f, f"power_of_{x.text}", (y,), lambda f, y: _power(f, x, y))
    return out_of_line(f, "power", (x, y), _power)


def _power(f: Function, x: Reg, y: Reg) -> Reg:
    size = _power_f32(f, x, y) if x.elem == "float" else _power_f64(f, x, y)
    return _power_special(f, x, y, size)


def _power_special(f: Function, x: Reg, y: Reg, size: Reg) -> Reg:
    """Sign and the cases that |x|**y does not show; y = inf is an even integer, as in C."""
    zero, half = f.const(0.0, x), f.fmul(y, f.const(0.5, y))
    nearest = f.intrinsic("rint", y)
    odd = f.and_(f.fcmp("oeq", nearest, y), f.fcmp("one", f.intrinsic("rint", half), half))
    signed = with_sign(f, size, f.select(odd, x, f.const(1.0, x)))
    # A finite negative base has no real power of fractional exponent; -inf and -0.0 have.
    base_negative = f.and_(f.fcmp("olt", x, zero), f.fcmp("ogt", x, f.const(-math.inf, x)))
    invalid = f.and_(base_negative, f.fcmp("one", nearest, y))
    signed = f.select(invalid, f.const(math.nan, x), signed)
    # Even for NaN in the other argument.
    always_one = f.or_(f.fcmp("oeq", x, f.const(1.0, x)), f.fcmp("oeq", y, zero))
    return f.select(always_one, f.const(1.0, x), signed)


def _log2_special(f: Function, x: Reg, log2_x: Reg) -> Reg:
    """log2|x| for finite x other than 0; -inf for 0, inf and NaN for themselves."""
    log2_x = f.select(f.fcmp("oeq", x, f.const(0.0, x)), f.const(-math.inf, x), log2_x)
    return f.select(f.fcmp("olt", x, f.const(math.inf, x)), log2_x, x)


def _power_f32(f: Function, x: Reg, y: Reg) -> Reg:
    """|x|**y in f64; subnormal and overflowing results come from the final rounding to f32."""
    base = magnitude(f, f.convert("fpext", x, "double"))
    parted = split_normal(f, base)
    t = f.fsub(parted.fraction, f.const(1.0, base))
    square = f.fmul(t, t)
    tail = polynomial(f, (t, square), scaled(POWER_F32_LOG_TAIL, LOG2_E[0]))
    log2_fraction = f.fma(square, tail, f.fmul(t, f.const(LOG2_E[0], t)))
    log2_base = _log2_special(f, base, f.fadd(parted.exponent, log2_fraction))
    # |log2| = 0 times an infinite exponent must stay 0: any exponent this large acts as infinite.
    exponent = clamp(f, f.convert("fpext", y, "double"), -(2.0**127), 2.0**127)
    z = clamp(f, f.fmul(exponent, log2_base), -152.0, 129.0)
    n = rounded(f, z, 1.0, layout(z).bias)
    r = f.fmul(f.fsub(z, n.value), f.const(LN2[0], z))
    factor = f.fadd(f.const(1.0, z), expm1_polynomial(f, r, POWER_F32_EXP))
    return f.convert("fptrunc", f.fmul(factor, power_of_two(f, n, "double")), "float")


def _power_f64(f: Function, x: Reg, y: Reg) -> Reg:
    """|x|**y, the logarithm and its product with y in double-double."""
    base = magnitude(f, x)
    log2_high, log2_low = _log2_pair(f, base)
    log2_high = _log2_special(f, base, log2_high)
    # Zero times an infinite exponent must stay 0: any exponent this large acts as infinite.
    exponent = clamp(f, y, -(2.0**80), 2.0**80)
    high, error = product(f, exponent, log2_high)
    low = f.fma(exponent, log2_low, error)
    z = clamp(f, high, *EXP2_RANGE["double"])
    # Out of range the low part is meaningless (or NaN), and the ends need none.
    low = f.select(f.fcmp("oeq", z, high), low, f.const(0.0, x))
    m = rounded(f, z, 0.5, layout(x).bias)
    r = f.fadd(f.fma(m.value, f.const(-2.0, x), z), low)
    return scaled_twice(f, exp2_polynomial(f, r), m)


def _log2_pair(f: Function, x: Reg) -> tuple[Reg, Reg]:
    """log2(x) to about 65 bits: e + 2 log2(e) atanh(s), s = (m - 1) / (m + 1), x = 2**e m.

    With z = s**2, atanh(s) / s = 1 + z/3 + z**2 T(z).  Everything up to z/3 is double-double.  The
    rest is below 2**-12 of the sum, so that plain f64 suffices.
    """
    parted = split(f, x)
    s_high, s_low = _atanh_argument(f, parted)
    z_high, z_error = product(f, s_high, s_high)
    z_low = f.fma(f.fadd(s_high, s_high), s_low, z_error)
    fourth = f.fmul(z_high, z_high)
    tail = polynomial(f, (z_high, fourth), scaled(ATANH_TAIL, TWICE_LOG2_E[0]))
    third = f.const(TWICE_LOG2_E_THIRD[0], x), f.const(TWICE_LOG2_E_THIRD[1], x)
    b_high, b_low = ordered_sum(f, third[0], f.fmul(z_high, tail))
    b_low = f.fadd(b_low, third[1])
    u_high, u_low = product(f, z_high, b_high)
    u_low = f.fma(z_high, b_low, f.fma(z_low, b_high, u_low))
    v_high, v_low = ordered_sum(f, f.const(TWICE_LOG2_E[0], x), u_high)
    v_low = f.fadd(v_low, f.fadd(u_low, f.const(TWICE_LOG2_E[1], x)))
    w_high, w_low = product(f, s_high, v_high)
    w_low = f.fma(s_high, v_low, f.fma(s_low, v_high, w_low))
    high, low = ordered_sum(f, parted.exponent, w_high)
    return high, f.fadd(low, w_low)


def _atanh_argument(f: Function, parted: Split) -> tuple[Reg, Reg]:
    """(m - 1) / (m + 1) in double-double: m - 1 is exact, m + 1 has one low bit too many."""
    one = f.const(1.0, parted.fraction)
    numerator = f.fsub(parted.fraction, one)
    denominator = f.fadd(parted.fraction, one)
    lost = f.fsub(parted.fraction, f.fsub(denominator, one))
    reciprocal = f.fdiv(one, denominator)
    quotient = f.fmul(numerator, reciprocal)
    minus = f.fneg(quotient)
    remainder = f.fma(minus, lost, f.fma(minus, denominator, numerator))
    return quotient, f.fmul(remainder, reciprocal)


CBRT_SHIFT = {"float": (24, 8), "double": (54, 18)}
CBRT_START = {"float": 0x54A1F5B5, "double": 0x553EE961F5068000}


@ieee
def cbrt(f: Function, x: Reg) -> Reg:
    """Cube root, without division, from y = |x|**(-1/3).  Error 0.9 / 0.8 ULP.

    The bits of |x| divided by -3 (plus a constant) are those of y to 4 or 5 bits.  A fourth-order
    step and, in f64, one of second order sharpen it; a Newton step on the root |x| y**2 itself
    removes what rounding left.
    """
    up, down = CBRT_SHIFT[x.elem]
    size = magnitude(f, x)
    small = f.fcmp("olt", size, f.const(layout(x).smallest_normal, x))
    a = f.select(small, f.fmul(size, f.const(2.0**up, x)), size)
    root = _refined_cbrt(f, a, _inverse_cbrt_guess(f, a))
    root = f.select(small, f.fmul(root, f.const(2.0**-down, x)), root)
    root = f.select(f.fcmp("olt", size, f.const(math.inf, x)), root, size)
    return with_sign(f, root, x)


def _inverse_cbrt_guess(f: Function, a: Reg) -> Reg:
    bits = word(f, a)
    start = f.const(CBRT_START[a.elem], bits)
    if a.elem == "float":
        as_float = f.convert("sitofp", bits, "float")
        third = f.convert("fptosi", f.fmul(as_float, f.const(1 / 3, as_float)), "i32")
    else:  # the high half by a third of 2**32: a product of two 32-bit numbers
        third = f.mul(f.lshr(bits, f.const(32, bits)), f.const(0x55555556, bits))
    return f.bitcast(f.sub(start, third), a.elem)


def _refined_cbrt(f: Function, a: Reg, y: Reg) -> Reg:
    third = f.const(1 / 3, a)
    h = _cbrt_defect(f, a, y)
    y = f.fma(f.fmul(y, h), f.polynomial(h, (14 / 81, 2 / 9, 1 / 3)), y)
    if a.elem == "double":
        y = f.fma(f.fmul(y, _cbrt_defect(f, a, y)), third, y)
    square = f.fmul(y, y)
    root = f.fmul(a, square)
    remainder = f.fma(f.fneg(f.fmul(root, root)), root, a)
    return f.fma(f.fmul(remainder, square), third, root)


def _cbrt_defect(f: Function, a: Reg, y: Reg) -> Reg:
    """1 - a y**3, in an order that neither overflows nor underflows."""
    return f.fma(f.fneg(f.fmul(a, y)), f.fmul(y, y), f.const(1.0, a))


TABLE: dict[str, Callable[..., Reg]] = {
    "exp": exp,
    "exp2": exp2,
    "expm1": expm1,
    "log": log,
    "log1p": log1p,
    "log2": log2,
    "log10": log10,
    "power": power,
    "cbrt": cbrt,
}
