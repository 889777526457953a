"""Steps that the vector functions of the exponential family share.

All of them append plain IEEE instructions: a row of the table is decorated with `ieee`, because
under fast-math flags the compensated arithmetic here would be optimised into nonsense.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.registers import BITS, Reg


class Layout(NamedTuple):
    """How a floating-point type is laid out in an integer word of the same width."""

    word: str
    fraction_bits: int
    bias: int

    @property
    def magic(self) -> float:
        """Added to a small number, it leaves that number as a rounded integer in the low bits."""
        return 1.5 * 2.0**self.fraction_bits

    @property
    def smallest_normal(self) -> float:
        return 2.0 ** (1 - self.bias)

    def signed(self, value: int) -> int:
        """An integer modulo the word, in the signed form that LLVM's text wants."""
        width = BITS[self.word]
        value %= 1 << width
        return value - (1 << width) if value >> (width - 1) else value


LAYOUTS = {"float": Layout("i32", 23, 127), "double": Layout("i64", 52, 1023)}

# Real constants as an unevaluated sum of two doubles, good for about 107 bits.
LN2 = (0.6931471805599453, 2.3190468138462996e-17)
LOG2_E = (1.4426950408889634, 2.0355273740931033e-17)
LOG10_2 = (0.3010299956639812, -2.8037281277851704e-18)
LOG10_E = (0.4342944819032518, 1.098319650216765e-17)
ONE = (1.0, 0.0)


def ieee(rule: Callable[..., Reg]) -> Callable[..., Reg]:
    """Run a rule with the user's fast-math flags put aside."""

    @functools.wraps(rule)
    def strict(f: Function, *args: Any, **attrs: Any) -> Reg:
        flags, f.flags = f.flags, ""
        try:
            return rule(f, *args, **attrs)
        finally:
            f.flags = flags

    return strict


def layout(x: Reg) -> Layout:
    return LAYOUTS[x.elem]


def word(f: Function, x: Reg) -> Reg:
    """The bits of x."""
    return f.bitcast(x, layout(x).word)


def parts(value: tuple[float, float], elem: str) -> tuple[float, float]:
    """A real constant as high + low, each of the element type."""
    high, low = value
    if elem == "double":
        return value
    narrow = to_f32(high)
    return narrow, to_f32(high - narrow + low)


def matters(part: tuple[float, float], elem: str) -> bool:
    """Whether the low part of a constant shows in a result to which the constant is a factor.

    Some constants are held with 5 or more bits to spare: ln 2 in f32 is one.
    """
    high, low = part
    return abs(low) > abs(high) * 2.0 ** -(LAYOUTS[elem].fraction_bits + 5)


def to_f32(value: float) -> float:
    rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    return rounded


def scaled(coefficients: Sequence[float], factor: float) -> list[float]:
    return [c * factor for c in coefficients]


# ---- comparing without losing NaN ----------------------------------------------------------------


def at_most(f: Function, x: Reg, bound: float) -> Reg:
    """min(x, bound), and NaN for NaN: one instruction, as x is the second operand."""
    limit = f.const(bound, x)
    return f.select(f.fcmp("olt", limit, x), limit, x)


def at_least(f: Function, x: Reg, bound: float) -> Reg:
    """max(x, bound), and NaN for NaN."""
    limit = f.const(bound, x)
    return f.select(f.fcmp("ogt", limit, x), limit, x)


def clamp(f: Function, x: Reg, low: float, high: float) -> Reg:
    return at_most(f, at_least(f, x, low), high)


def magnitude(f: Function, x: Reg) -> Reg:
    return f.intrinsic("fabs", x)


def with_sign(f: Function, size: Reg, sign: Reg) -> Reg:
    """|size| with the sign of `sign`: restores -0.0, which most formulas lose."""
    return f.intrinsic("copysign", size, sign)


# ---- polynomials ---------------------------------------------------------------------------------


def polynomial(f: Function, powers: Sequence[Reg], coefficients: Sequence[float]) -> Reg:
    """A polynomial in powers[0], highest coefficient first; powers[k+1] is powers[k] squared.

    Even and odd terms are separate chains, so each further power halves the latency of Horner's
    rule and costs no instruction but its own.
    """
    if len(powers) == 1 or len(coefficients) < 4:
        return f.polynomial(powers[0], coefficients)
    even = polynomial(f, powers[1:], coefficients[::-1][::2][::-1])
    odd = polynomial(f, powers[1:], coefficients[::-1][1::2][::-1])
    return f.fma(odd, powers[0], even)


# ---- powers of two -------------------------------------------------------------------------------


class Rounded(NamedTuple):
    """A number rounded to an integer: as a float, and as the low bits of a word (plus a bias)."""

    value: Reg
    bits: Reg


def rounded(f: Function, x: Reg, factor: float, bias: int, most: int | None = None) -> Rounded:
    """x * factor to the nearest integer (no larger than `most`), with `bias` added in the bits.

    Exact rounding for |x * factor| < 2**21: the sum with the magic number has one unit per ulp.
    """
    magic = layout(x).magic + bias
    shifted = f.fma(x, f.const(factor, x), f.const(magic, x))
    if most is not None:
        shifted = at_most(f, shifted, magic + most)
    return Rounded(f.fsub(shifted, f.const(magic, x)), word(f, shifted))


def power_of_two(f: Function, n: Rounded, elem: str) -> Reg:
    """2**(n + bias of the rounding - bias of the format), by moving the bits into the exponent."""
    shift = f.const(LAYOUTS[elem].fraction_bits, n.bits)
    return f.bitcast(f.shl(n.bits, shift), elem)


def less_multiple(
    f: Function, x: Reg, n: Reg, unit: tuple[float, float], rough: bool = False
) -> Reg:
    """x - n * unit, where that is small: the first step is exact, the second rounds once.

    `rough` is for small n: the low part is left out where it does not matter.
    """
    high, low = parts(unit, x.elem)
    rest = f.fma(n, f.const(-high, x), x)
    if rough and not matters((high, low), x.elem):
        return rest
    return f.fma(n, f.const(-low, x), rest)


# ---- exponent and fraction -----------------------------------------------------------------------


class Split(NamedTuple):
    """x = 2**exponent * fraction with sqrt(1/2) <= fraction < sqrt(2); `aligned` holds both."""

    exponent: Reg
    fraction: Reg
    aligned: Reg


SQRT_HALF_WORD = {"float": 0x3F3504F3, "double": 0x3FE6A09E667F3BCD}
SUBNORMAL_SHIFT = {"float": 24, "double": 54}
ALIGN_BIAS = {"float": 0, "double": 2048}
"""Added to exponents of doubles, so that a logical shift (fast everywhere) can extract them."""


def align_offset(elem: str, shift: int = 0) -> int:
    """What to subtract from the bits of 2**shift * x, to have the exponent of x above them."""
    kind = LAYOUTS[elem]
    moved = (shift - ALIGN_BIAS[elem]) << kind.fraction_bits
    return kind.signed(SQRT_HALF_WORD[elem] + moved)


def split(f: Function, x: Reg) -> Split:
    """For x > 0, subnormal or not (no meaning otherwise)."""
    elem = x.elem
    shift = SUBNORMAL_SHIFT[elem]
    small = f.fcmp("olt", x, f.const(layout(x).smallest_normal, x))
    x = f.select(small, f.fmul(x, f.const(2.0**shift, x)), x)
    bits = word(f, x)
    offset = f.select(
        small, f.const(align_offset(elem, shift), bits), f.const(align_offset(elem), bits)
    )
    return _split_aligned(f, f.sub(bits, offset), elem)


def split_normal(f: Function, x: Reg) -> Split:
    """For normal x > 0."""
    bits = word(f, x)
    return _split_aligned(f, f.sub(bits, f.const(align_offset(x.elem), bits)), x.elem)


def _split_aligned(f: Function, aligned: Reg, elem: str) -> Split:
    kind = LAYOUTS[elem]
    fraction_bits = f.and_(aligned, f.const((1 << kind.fraction_bits) - 1, aligned))
    fraction = f.bitcast(f.add(fraction_bits, f.const(SQRT_HALF_WORD[elem], aligned)), elem)
    shift = f.const(kind.fraction_bits, aligned)
    if elem == "float":
        return Split(f.convert("sitofp", f.ashr(aligned, shift), elem), fraction, aligned)
    # 2**52 + k has the integer k in its low bits: a conversion that needs no AVX-512.
    base = (kind.bias + kind.fraction_bits) << kind.fraction_bits
    biased = f.bitcast(f.or_(f.lshr(aligned, shift), f.const(base, aligned)), elem)
    zero = 2.0**kind.fraction_bits + ALIGN_BIAS[elem]
    return Split(f.fsub(biased, f.const(zero, biased)), fraction, aligned)


def inverse_scale(f: Function, parted: Split) -> Reg:
    """2**-exponent, also where that is subnormal (the product by 1/4 makes it so, exactly)."""
    elem = parted.fraction.elem
    kind = LAYOUTS[elem]
    exponent_mask = -(1 << kind.fraction_bits)
    exponent = f.and_(parted.aligned, f.const(exponent_mask, parted.aligned))
    top = kind.signed((kind.bias + 2 + ALIGN_BIAS[elem]) << kind.fraction_bits)
    quadruple = f.bitcast(f.sub(f.const(top, exponent), exponent), elem)
    return f.fmul(quadruple, f.const(0.25, quadruple))


# ---- double-double -------------------------------------------------------------------------------


def product(f: Function, a: Reg, b: Reg) -> tuple[Reg, Reg]:
    """a * b as high + low, exactly: the rounding error of a product is a float."""
    high = f.fmul(a, b)
    return high, f.fma(a, b, f.fneg(high))


def ordered_sum(f: Function, large: Reg, small: Reg) -> tuple[Reg, Reg]:
    """large + small as high + low, exactly when |large| >= |small| or large is 0."""
    high = f.fadd(large, small)
    return high, f.fadd(f.fsub(large, high), small)
