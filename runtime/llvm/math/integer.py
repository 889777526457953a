"""Integer division and power, which machines define in fewer cases than NumPy does.

All exact.  `TABLE` holds rows for integers only; the package joins them with the rows of the
same names for floats.
"""

from __future__ import annotations

from collections.abc import Callable

from graphc.dims import Size
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.math._lanes import is_constant, is_unsigned, while_any
from graphc.runtime.llvm.math._steps import ieee
from graphc.runtime.llvm.registers import BITS, Reg


def lowest(x: Reg) -> int:
    """The most negative integer of the element type."""
    return -(1 << (BITS[x.elem] - 1))


def floor_divide(f: Function, a: Reg, b: Reg) -> Reg:
    """a // b rounded down; 0 where b is 0, and INT_MIN // -1 = INT_MIN."""
    if _fits_double(a) and not is_constant(b):
        return _quotient_through_float(f, a, b)
    quotient, remainder = _divide(f, a, b)
    if is_unsigned(a):
        return quotient
    return f.select(_signs_differ(f, remainder, b), f.sub(quotient, f.const(1, a)), quotient)


def mod(f: Function, a: Reg, b: Reg) -> Reg:
    """a - (a // b) * b, with the sign of b; 0 where b is 0."""
    if _fits_double(a) and not is_constant(b):
        quotient = _quotient_through_float(f, a, b)
        remainder = f.sub(a, f.mul(quotient, b))
        return f.select(_is_zero(f, b), f.const(0, a), remainder)
    _, remainder = _divide(f, a, b)
    if is_unsigned(a):
        return remainder
    return f.select(_signs_differ(f, remainder, b), f.add(remainder, b), remainder)


def _fits_double(a: Reg) -> bool:
    return BITS[a.elem] < 64


def power(f: Function, base: Reg, exponent: Reg) -> Reg:
    """base ** exponent modulo the word, by squaring; a negative exponent counts as unsigned."""
    zero, one = f.const(0, base), f.const(1, base)

    def step(rest: Reg, square: Reg, result: Reg) -> list[Reg]:
        odd = f.icmp("ne", f.and_(rest, one), zero)
        factor = f.select(odd, square, one)
        return [f.lshr(rest, one), f.mul(square, square), f.mul(result, factor)]

    start = [exponent, base, one]
    return while_any(f, start, lambda rest, *_: f.icmp("ne", rest, zero), step)[2]


@ieee
def _quotient_through_float(f: Function, a: Reg, b: Reg) -> Reg:
    """a // b in f32 or f64: no machine divides vectors of integers, but all divide vectors of
    floats.

    Exact: of n bits, a/b is an integer or at least 1/|b| away from one, relative to a/b at least
    2**-n; the rounding error of the division is below 2**-24 for n = 8 and 16, below 2**-53 for 32.
    """
    elem, narrow = ("double", "i64") if BITS[a.elem] == 32 else ("float", "i32")
    opcode = "uitofp" if is_unsigned(a) else "sitofp"
    ratio = f.fdiv(f.convert(opcode, a, elem), f.convert(opcode, b, elem))
    down = f.intrinsic("floor", ratio)
    by_zero = _is_zero(f, b)
    if a.elem != "i32":
        # Every quotient fits a wider word; INT_MIN // -1 wraps around to INT_MIN in this one.
        safe = f.select(by_zero, f.const(0.0, down), down)
        return f.convert("trunc", f.convert("fptosi", safe, narrow), a.elem)
    # Left out are INT_MIN / -1 and x / 0, whose conversion would be poison, and INT_MIN itself.
    fits = f.fcmp("olt", f.intrinsic("fabs", down), f.const(2.0**31, down))
    overflow = f.select(by_zero, f.const(0, a), f.const(lowest(a), a))
    return f.select(fits, f.convert("fptosi", down, "i32"), overflow)


def _divide(f: Function, a: Reg, b: Reg) -> tuple[Reg, Reg]:
    """Quotient towards zero and remainder: (0, 0) for b = 0, (INT_MIN, 0) for INT_MIN / -1."""
    by_zero = bad = _is_zero(f, b)
    if not is_unsigned(a):
        lowest_over = f.icmp("eq", a, f.const(lowest(a), a))
        bad = f.or_(by_zero, f.and_(f.icmp("eq", b, f.const(-1, b)), lowest_over))
    # Division by 1 cannot trap, and INT_MIN / 1 is what INT_MIN / -1 wraps around to.
    safe = f.select(bad, f.const(1, b), b)
    dividend = f.select(by_zero, f.const(0, a), a)
    quotient = f.binary("udiv" if is_unsigned(a) else "sdiv", dividend, safe)
    return quotient, f.sub(dividend, f.mul(quotient, safe))


def _is_zero(f: Function, x: Reg) -> Reg:
    return f.icmp("eq", x, f.const(0, x))


def _signs_differ(f: Function, remainder: Reg, b: Reg) -> Reg:
    """Whether a remainder that is not zero has not the sign of the divisor."""
    zero = f.const(0, b)
    opposite = f.icmp("slt", f.xor(remainder, b), zero)
    return f.and_(opposite, f.icmp("ne", remainder, zero))


def dimension(f: Function, *, size: Size) -> Reg:
    """A size as a number."""
    return f.number(size)


TABLE: dict[str, Callable[..., Reg]] = {
    "floor_divide": floor_divide,
    "mod": mod,
    "power": power,
}
