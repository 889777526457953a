"""Rows that read or change the bits of a number, and the greatest common divisor."""

from __future__ import annotations

from collections.abc import Callable

from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.math._lanes import is_unsigned, while_any
from graphc.runtime.llvm.math._steps import (
    SUBNORMAL_SHIFT,
    ieee,
    layout,
    magnitude,
    with_sign,
    word,
)
from graphc.runtime.llvm.registers import Reg


def signbit(f: Function, x: Reg) -> Reg:
    bits = word(f, x)
    return f.icmp("slt", bits, f.const(0, bits))


def copysign(f: Function, x: Reg, y: Reg) -> Reg:
    return with_sign(f, x, y)


@ieee
def nextafter(f: Function, x: Reg, y: Reg) -> Reg:
    """One step in the order of the numbers is one step of the bits, away from zero or toward it."""
    zero, bits = f.const(0.0, x), word(f, x)
    away = f.not_(f.xor(f.fcmp("ogt", y, x), f.fcmp("ogt", x, zero)))
    stepped = f.select(away, f.add(bits, f.const(1, bits)), f.sub(bits, f.const(1, bits)))
    smallest = with_sign(f, f.bitcast(f.const(1, bits), x.elem), y)
    result = f.select(f.fcmp("oeq", x, zero), smallest, f.bitcast(stepped, x.elem))
    result = f.select(f.fcmp("oeq", x, y), y, result)
    return f.select(f.fcmp("uno", x, y), f.fadd(x, y), result)


@ieee
def ldexp(f: Function, x: Reg, n: Reg) -> Reg:
    """x * 2**n for a whole n.  Rounded once: on the way down, steps keep the number normal."""
    kind = layout(x)
    lowest, highest = 1 - kind.bias, kind.bias
    down = lowest + kind.fraction_bits + 1
    for _ in range(2):
        far = f.fcmp("olt", n, f.const(lowest, n))
        x = f.select(far, f.fmul(x, f.const(2.0**down, x)), x)
        n = f.select(far, f.fsub(n, f.const(down, n)), n)
        far = f.fcmp("ogt", n, f.const(highest, n))
        x = f.select(far, f.fmul(x, f.const(2.0**highest, x)), x)
        n = f.select(far, f.fsub(n, f.const(highest, n)), n)
    n = f.select(f.fcmp("olt", n, f.const(lowest, n)), f.const(lowest, n), n)
    n = f.select(f.fcmp("ogt", n, f.const(highest, n)), f.const(highest, n), n)
    exponent = f.convert("fptosi", n, kind.word)
    biased = f.add(exponent, f.const(kind.bias, exponent))
    scale = f.bitcast(f.shl(biased, f.const(kind.fraction_bits, biased)), x.elem)
    return f.fmul(x, scale)


@ieee
def frexp_exponent(f: Function, x: Reg) -> Reg:
    """The e of x = m * 2**e with 0.5 <= |m| < 1; 0 for zero, infinity and NaN."""
    kind, shift = layout(x), SUBNORMAL_SHIFT[x.elem]
    size = magnitude(f, x)
    small = f.fcmp("olt", size, f.const(kind.smallest_normal, x))
    bits = word(f, f.select(small, f.fmul(size, f.const(2.0**shift, x)), size))
    field = f.lshr(bits, f.const(kind.fraction_bits, bits))
    bias = f.select(small, f.const(kind.bias - 1 + shift, bits), f.const(kind.bias - 1, bits))
    exponent = f.convert("sitofp", f.sub(field, bias), x.elem)
    zero = f.const(0.0, x)
    plain = f.and_(f.fcmp("one", size, zero), f.fcmp("one", size, f.const(float("inf"), x)))
    return f.select(plain, exponent, zero)


def gcd(f: Function, x: Reg, y: Reg) -> Reg:
    """Euclid's algorithm on the sizes, which are unsigned words."""
    zero, one = f.const(0, x), f.const(1, x)

    def size(a: Reg) -> Reg:
        if is_unsigned(a):
            return a
        return f.select(f.icmp("slt", a, zero), f.sub(zero, a), a)

    def step(a: Reg, b: Reg) -> list[Reg]:
        done = f.icmp("eq", b, zero)
        rest = f.binary("urem", a, f.select(done, one, b))
        return [f.select(done, a, b), f.select(done, zero, rest)]

    start = [size(x), size(y)]
    return while_any(f, start, lambda a, b: f.icmp("ne", b, zero), step)[0]


TABLE: dict[str, Callable[..., Reg]] = {
    "signbit": signbit,
    "copysign": copysign,
    "nextafter": nextafter,
    "ldexp": ldexp,
    "frexp_exponent": frexp_exponent,
    "gcd": gcd,
}
