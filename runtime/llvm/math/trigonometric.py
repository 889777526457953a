"""Sine, cosine, tangent and their inverses on vectors, f32 and f64.

Each docstring ends with the largest error found, in units in the last place (ULP) of the result,
as `f32 / f64`.  Coefficients are minimax fits, highest power first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.math._angles import (
    LARGEST_PLAIN,
    PI,
    Period,
    angles,
    huge_angles,
)
from graphc.runtime.llvm.math._lanes import replace_rare
from graphc.runtime.llvm.math._steps import at_most, ieee, magnitude, parts, with_sign, word
from graphc.runtime.llvm.registers import BITS, Reg

HALF_PI = (1.5707963267948966, 6.123233995736766e-17)

# ---- sine, cosine, tangent -----------------------------------------------------------------------

SINE = {
    "float": (
        2.605112740639015e-06, -0.00019809434888884425, 0.00833306647837162,
        -0.16666659712791443,
    ),
    "double": (
        2.7206674709045917e-15, -7.642951765580193e-13, 1.6058938579601194e-10,
        -2.5052106860511093e-08, 2.755731921114993e-06, -0.00019841269841210508,
        0.008333333333333203, -0.16666666666666666,
    ),
}  # fmt: skip
"""(sin r - r) / r**3 in r**2, for |r| <= pi/2 + 0.01."""

TANGENT_OVER = {
    "float": (0.001074996660463512, -0.11135835945606232),
    "double": (-7.483635006764858e-06, 0.0028059185645320423, -0.12828347377430124),
}
TANGENT_UNDER = {
    "float": (0.015972191467881203, -0.4446916878223419, 1.0),
    "double": (-0.0002084480773064704, 0.023344854267013944, -0.4616168071076325, 1.0),
}
"""tan r = (r + r**3 * OVER(r**2)) / UNDER(r**2), for |r| <= pi/4 + 0.005."""


class Wave(NamedTuple):
    """How a function repeats, and what it is of the rest and the oddness of an angle."""

    name: str
    period: Period
    evaluate: Callable[[Function, Reg, Reg], Reg]


def _sine(f: Function, rest: Reg, odd: Reg) -> Reg:
    size = magnitude(f, rest)
    square = f.fmul(size, size)
    tail = f.polynomial(square, SINE[rest.elem])
    # Rounding could give more than 1, whose arcsin would be NaN.
    value = at_most(f, f.fma(f.fmul(size, square), tail, size), 1.0)
    return _with_sign_of_word(f, value, f.xor(word(f, rest), odd))


def _with_sign_of_word(f: Function, size: Reg, bits: Reg) -> Reg:
    sign = f.and_(bits, f.const(-(1 << (BITS[bits.elem] - 1)), bits))
    return f.bitcast(f.or_(word(f, size), sign), size.elem)


def _tangent(f: Function, rest: Reg, odd: Reg) -> Reg:
    square = f.fmul(rest, rest)
    over = f.polynomial(square, TANGENT_OVER[rest.elem])
    # The sum loses the sign of -0.0.
    over = with_sign(f, f.fma(f.fmul(rest, square), over, rest), rest)
    under = f.polynomial(square, TANGENT_UNDER[rest.elem])
    # tan(r + pi/2) = -1 / tan(r)
    flip = f.icmp("slt", odd, f.const(0, odd))
    return f.fdiv(f.select(flip, f.fneg(under), over), f.select(flip, over, under))


SIN = Wave("sine", Period(), _sine)
COS = Wave("cosine", Period(offset=0.5, bias=1), _sine)  # cos((n + 1/2) pi + r) = -sin(n pi + r)
TAN = Wave("tangent", Period(per_pi=2), _tangent)


@ieee
def sin(f: Function, x: Reg) -> Reg:
    """sin x.  1.73 / 1.71"""
    return _periodic(f, x, SIN)


@ieee
def cos(f: Function, x: Reg) -> Reg:
    """cos x.  1.73 / 1.73"""
    return _periodic(f, x, COS)


@ieee
def tan(f: Function, x: Reg) -> Reg:
    """tan x.  2.95 / 3.05"""
    return _periodic(f, x, TAN)


def _periodic(f: Function, x: Reg, wave: Wave) -> Reg:
    def of_huge(g: Function, y: Reg) -> Reg:
        value = wave.evaluate(g, *huge_angles(g, y, wave.period))
        return g.fadd(value, g.fsub(y, y))  # NaN for infinity, else + 0

    value = wave.evaluate(f, *angles(f, x, wave.period))
    huge = f.fcmp("ogt", magnitude(f, x), f.const(LARGEST_PLAIN[x.elem], x))
    return replace_rare(f, huge, value, f"{wave.name}_of_huge", [x], of_huge)


# ---- arcsine, arccosine --------------------------------------------------------------------------

ARCSINE = {
    "float": (
        0.042158279567956924, 0.024184783920645714, 0.04546914994716644, 0.074953094124794,
        0.16666752099990845,
    ),
    "double": (
        0.031914173866872515, -0.01622696313410982, 0.01952994996550697, 0.006527374585408333,
        0.01216934731272175, 0.013885215238562168, 0.017359706774321255, 0.02237175791892872,
        0.030381959142396706, 0.044642856828198345, 0.07500000000337165, 0.16666666666665408,
    ),
}  # fmt: skip
"""(arcsin s - s) / s**3 in s**2, for s <= 1/2."""


@ieee
def arcsin(f: Function, x: Reg) -> Reg:
    """arcsin x; NaN outside [-1, 1].  2.02 / 2.06"""
    steep, s, tail = _arcsine(f, magnitude(f, x))
    factor = f.select(steep, f.const(-2.0, x), f.const(1.0, x))
    high, low = (
        f.select(steep, f.const(part, x), f.const(0.0, x)) for part in parts(HALF_PI, x.elem)
    )
    return with_sign(f, f.fadd(f.fma(factor, s, high), f.fma(factor, tail, low)), x)


@ieee
def arccos(f: Function, x: Reg) -> Reg:
    """arccos x; NaN outside [-1, 1].  1.15 / 1.19"""
    steep, s, tail = _arcsine(f, magnitude(f, x))
    negative = f.fcmp("olt", x, f.const(0.0, x))
    size = f.select(steep, f.const(2.0, x), f.const(-1.0, x))
    factor = f.select(negative, f.fneg(size), size)
    # arccos is pi/2 -+ arcsin |x|, and where that is steep 2 arcsin s or pi - 2 arcsin s.
    quarters = f.select(negative, f.const(2.0, x), f.const(0.0, x))
    quarters = f.select(steep, quarters, f.const(1.0, x))
    high, low = parts(HALF_PI, x.elem)
    tail = f.fma(quarters, f.const(low, x), f.fmul(factor, tail))
    return f.fadd(f.fma(quarters, f.const(high, x), f.fmul(factor, s)), tail)


def _arcsine(f: Function, size: Reg) -> tuple[Reg, Reg, Reg]:
    """(steep, s, tail) with arcsin s = s + tail, where s is |x|, or sqrt((1 - |x|) / 2) if steep.

    arcsin |x| = pi/2 - 2 arcsin(sqrt((1 - |x|) / 2)), and 1 - |x| is exact for |x| > 1/2.
    """
    half = f.const(0.5, size)
    steep = f.fcmp("ogt", size, half)
    lowered = f.fma(size, f.const(-0.5, size), half)
    square = f.select(steep, lowered, f.fmul(size, size))
    s = f.select(steep, f.intrinsic("sqrt", lowered), size)
    series = f.polynomial(square, ARCSINE[size.elem])
    return steep, s, f.fmul(f.fmul(s, square), series)


# ---- arctangent ----------------------------------------------------------------------------------

ARCTANGENT = {
    "float": (
        -0.0017825074028223753, 0.010867681354284286, -0.03109574504196644, 0.05788065120577812,
        -0.0839928537607193, 0.10950878262519836, -0.14264015853405, 0.1999852955341339,
        -0.33333298563957214,
    ),
    "double": (
        1.3223864618789529e-05, -0.00015215285848874343, 0.0008313044186528243,
        -0.002884926733515744, 0.0071966366535301295, -0.013900923743002233, 0.021985437612947363,
        -0.02990450765305681, 0.036642439534317776, -0.0421921134700237, 0.04722337320162523,
        -0.05253523920172606, 0.05880529259329001, -0.06666404348069362, 0.07692279881941863,
        -0.09090907007407027, 0.11111111007331913, -0.14285714282588122, 0.19999999999951754,
        -0.3333333333333307,
    ),
}  # fmt: skip
"""(arctan t - t) / t**3 in t**2, for t <= 1."""


@ieee
def arctan(f: Function, x: Reg) -> Reg:
    """arctan x.  1.13 / 1.18"""
    size, one, zero = magnitude(f, x), f.const(1.0, x), f.const(0.0, x)
    steep = f.fcmp("ogt", size, one)
    ratio = f.fdiv(f.select(steep, f.const(-1.0, x), size), f.select(steep, size, one))
    base = [f.select(steep, f.const(part, x), zero) for part in parts(HALF_PI, x.elem)]
    return with_sign(f, _arctangent(f, ratio, base), x)


@ieee
def arctan2(f: Function, y: Reg, x: Reg) -> Reg:
    """The angle of the point (x, y); signs of zeros count for the quadrant.  1.51 / 1.48"""
    zero = f.const(0.0, x)
    width, height = magnitude(f, x), magnitude(f, y)
    steep = f.fcmp("ogt", height, width)
    over, under = f.select(steep, width, height), f.select(steep, height, width)
    ratio = f.fdiv(over, under)
    # 0/0 is to be 0 and inf/inf 1.
    alike = f.select(f.fcmp("oeq", over, zero), zero, f.const(1.0, x))
    ratio = f.select(f.fcmp("oeq", over, under), alike, ratio)
    bits = word(f, x)
    left = f.icmp("slt", bits, f.const(0, bits))
    base = [
        f.select(steep, f.const(half, x), f.select(left, f.const(whole, x), zero))
        for half, whole in zip(parts(HALF_PI, x.elem), parts(PI, x.elem), strict=True)
    ]
    ratio = f.select(f.xor(steep, left), f.fneg(ratio), ratio)
    return with_sign(f, _arctangent(f, ratio, base), y)


def _arctangent(f: Function, t: Reg, base: Sequence[Reg]) -> Reg:
    """base + arctan t for |t| <= 1; base is high + low, and 0 or larger than |arctan t|."""
    high, low = base
    square = f.fmul(t, t)
    series = f.polynomial(square, ARCTANGENT[t.elem])
    tail = f.fma(f.fmul(t, square), series, low)
    return f.fadd(high, f.fadd(t, tail))


TABLE: dict[str, Callable[..., Reg]] = {
    "sin": sin,
    "cos": cos,
    "tan": tan,
    "arcsin": arcsin,
    "arccos": arccos,
    "arctan": arctan,
    "arctan2": arctan2,
}
