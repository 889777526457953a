"""Argument reduction: what is left of an angle when multiples of pi are taken off it.

Angles of everyday size lose their multiple of pi in three pieces, with fused multiply-adds.  Huge
ones need their own digits of 1/pi, which `huge_angles` looks up.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.math._steps import rounded, word
from graphc.runtime.llvm.registers import BITS, Reg, constant

PI = (3.141592653589793, 1.2246467991473532e-16)

PI_PIECES = {
    "float": (3.141592502593994, 1.5099578831723193e-07, 1.078060505991553e-14),
    "double": (3.141592653589793, 1.224646799147353e-16, 2.1657133478438278e-32),
}
"""pi cut, not rounded, so that every piece is positive: n * piece keeps the sign of n = -0.0."""

LARGEST_PLAIN = {"float": 2.0**16, "double": 2.0**30}
"""Up to here the rounding of x / pi moves the rest by less than the fits below allow for."""


class Period(NamedTuple):
    """An angle is (count + offset) * pi / per_pi + rest."""

    per_pi: int = 1
    offset: float = 0.0
    bias: int = 0
    """Added to the count before its oddness is taken."""


def angles(f: Function, x: Reg, period: Period) -> tuple[Reg, Reg]:
    """(rest, odd) of x: odd is a word whose top bit says whether the count is.

    The first step is exact: the rest is below 2 and a multiple of the last bit of the first piece
    of pi.  So the other pieces have all of the rest to add to, however much has cancelled.
    """
    scale = period.per_pi / math.pi
    if period.offset:
        position = f.fma(x, f.const(scale, x), f.const(-period.offset, x))
        count = rounded(f, position, 1.0, period.bias)
    else:
        count = rounded(f, x, scale, period.bias)
    multiple = f.fadd(count.value, f.const(period.offset, x)) if period.offset else count.value
    rest = x
    for piece in PI_PIECES[x.elem]:
        rest = f.fma(multiple, f.const(-piece / period.per_pi, x), rest)
    return rest, _top_bit(f, count.bits)


def _top_bit(f: Function, bits: Reg) -> Reg:
    return f.shl(bits, f.const(BITS[bits.elem] - 1, bits))


# ---- huge angles ---------------------------------------------------------------------------------

DIGIT_BITS = 26
DIGITS = 46
COLUMNS = {"float": 5, "double": 7}
"""Enough that what is left out is below 2**-24 (2**-53) of the rest nearest to zero."""


@functools.cache
def inverse_pi_digits() -> tuple[float, ...]:
    """0.0, and the digits of 1 / pi to the base 2**26, between -1/2 and 1/2 (of that base)."""
    guard = 64
    one = 1 << (DIGIT_BITS * DIGITS + guard)
    machin = 4 * (4 * _arctan_of_inverse(5, one) - _arctan_of_inverse(239, one))
    rest = (one * one // machin) >> guard
    digits = []
    for _ in range(DIGITS):
        digit = (rest + (1 << (DIGIT_BITS - 1))) % (1 << DIGIT_BITS) - (1 << (DIGIT_BITS - 1))
        digits.append(math.ldexp(digit, -DIGIT_BITS))
        rest = (rest - digit) >> DIGIT_BITS
    return (0.0, *reversed(digits))


def _arctan_of_inverse(n: int, one: int) -> int:
    """arctan(1/n) * one, by its series."""
    power, total, k = one // n, 0, 0
    while power:
        total += (-1) ** k * (power // (2 * k + 1))
        power //= n * n
        k += 1
    return total


def huge_angles(f: Function, x: Reg, period: Period) -> tuple[Reg, Reg]:
    """(rest, odd) of any x beyond `LARGEST_PLAIN`, in double precision.

    x / pi is needed modulo 2 only.  x, scaled by 2**(-26 i), is a high and a low half of 27 and 26
    bits; times the digits of 1/pi after the i-th they give columns whose sums are exact.  Digits
    before those give multiples of 2, and are left out.
    """
    wide = x if x.elem == "double" else f.convert("fpext", x, "double")
    bits = word(f, wide)
    skipped = _skipped_digits(f, bits)
    shift = f.mul(skipped, f.const(DIGIT_BITS << 52, bits))
    scaled = f.fmul(f.bitcast(f.sub(bits, shift), "double"), f.const(float(period.per_pi), wide))
    columns = _columns(f, scaled, skipped, COLUMNS[x.elem], halves=x.elem == "double")
    nearest, high, low = _fraction(f, columns, period.offset)
    pi_high, pi_low = (part / period.per_pi for part in PI)
    rest = f.fma(high, f.const(pi_low, high), f.fmul(low, f.const(pi_high, low)))
    rest = f.fma(high, f.const(pi_high, high), rest)
    count = word(f, f.fadd(nearest, f.const(1.5 * 2.0**52 + period.bias, nearest)))
    if x.elem == "float":
        rest, count = f.convert("fptrunc", rest, "float"), f.convert("trunc", count, "i32")
    return rest, _top_bit(f, count)


def _skipped_digits(f: Function, bits: Reg) -> Reg:
    """How many digits of 1/pi, times x, are multiples of 2; in the range of the table for any x."""
    exponent = f.and_(f.lshr(bits, f.const(52, bits)), f.const(0x7FF, bits))
    above = f.intrinsic("smax", f.sub(exponent, f.const(1023 + 27, bits)), f.const(0, bits))
    # (n * 2521) >> 16 is n // 26 for n < 1100; vectors of i64 have no division.
    return f.lshr(f.mul(above, f.const(2521, bits)), f.const(16, bits))


def _columns(f: Function, x: Reg, skipped: Reg, count: int, halves: bool) -> list[Reg]:
    """Terms of x / pi, each 2**-26 of the one before; without `halves` x has 27 bits at most."""
    table = f.module.table("inverse_pi", "double", inverse_pi_digits())
    digits = [_digit(f, table, skipped, i) for i in range(0 if halves else 1, count + 1)]
    if not halves:
        terms = [f.fmul(x, digit) for digit in digits]
    else:
        mask = f.const(-(1 << DIGIT_BITS), word(f, x))
        high = f.bitcast(f.and_(word(f, x), mask), "double")
        low = f.fmul(f.fsub(x, high), f.const(2.0**DIGIT_BITS, x))
        terms = [f.fma(low, digits[i], f.fmul(high, digits[i + 1])) for i in range(count)]
    return [f.fmul(t, f.const(2.0 ** (-DIGIT_BITS * i), t)) for i, t in enumerate(terms)]


def _digit(f: Function, table: Reg, index: Reg, offset: int) -> Reg:
    base = f.offset(table, "double", constant(offset, "i64"))
    if index.lanes == 1:
        return f.load(f.offset(base, "double", index), "double")
    text = f"getelementptr double, ptr {base.text}, {index.typed}"
    return f.gather(f.let(text, "ptr", index.lanes), "double", constant(True, "i1", index.lanes))


def _fraction(f: Function, columns: Sequence[Reg], offset: float) -> tuple[Reg, Reg, Reg]:
    """(n, high, low): sum of the columns = n + offset + high + low modulo 2, |high| <= 1/2.

    Large columns come first, and n is subtracted before anything is rounded: where the rest
    cancels, the sums that make it do are exact.
    """
    first, second = (_modulo_two(f, column) for column in columns[:2])
    shift = f.const(offset, first)
    rough = f.fadd(f.fadd(first, second), columns[2])
    nearest = f.intrinsic("roundeven", f.fsub(rough, shift))
    high = f.fadd(f.fsub(first, f.fadd(nearest, shift)), second)
    low = columns[-1]
    for column in columns[2:-1]:
        high, error = _sum(f, high, column)
        low = f.fadd(low, error)
    return nearest, high, low


def _modulo_two(f: Function, x: Reg) -> Reg:
    halves = f.intrinsic("roundeven", f.fmul(x, f.const(0.5, x)))
    return f.fma(halves, f.const(-2.0, x), x)


def _sum(f: Function, a: Reg, b: Reg) -> tuple[Reg, Reg]:
    """a + b as high + low, exactly, whichever is larger."""
    high = f.fadd(a, b)
    b_part = f.fsub(high, a)
    a_part = f.fsub(high, b_part)
    return high, f.fadd(f.fsub(a, a_part), f.fsub(b, b_part))
