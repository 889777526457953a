"""Instructions that a machine lacks, made of others.

LLVM would call the C library for them, once for each element.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.registers import Reg
from graphc.runtime.llvm.target import HostTarget

Emulation = Callable[..., Reg]


def emulations(target: HostTarget) -> Mapping[str, Emulation]:
    """What stands for the intrinsics that a target has no instruction for."""
    missing: dict[str, Emulation] = {}
    if not target.has_fma:
        missing["fma"] = fma
    if not target.has_rounding:
        missing.update(rint=rint, roundeven=rint, floor=floor, ceil=ceil, trunc=trunc)
    if not target.has_half:
        missing.update(widen_f16=widen_f16, narrow_f16=narrow_f16)
    return missing


# ---- fused multiply-add --------------------------------------------------------------------------


def fma(f: Function, a: Reg, b: Reg, c: Reg) -> Reg:
    """a*b + c.  f32: exact in f64 but for two roundings.  f64: within one and a half ULP."""
    if a.elem == "float":
        a, b, c = (f.convert("fpext", x, "double") for x in (a, b, c))
        return f.convert("fptrunc", _add(f, _multiply(f, a, b), c), "float")
    return _fma_of_doubles(f, a, b, c)


def _fma_of_doubles(f: Function, a: Reg, b: Reg, c: Reg) -> Reg:
    """Dekker's product and Knuth's sum with what each of them rounds away.

    Infinities, NaN and operands too large to be split have no such rests: there it is a*b + c.
    """
    product, lost = _product(f, a, b)
    total = _add(f, product, c)
    shown = _subtract(f, total, product)
    rest = _add(f, _subtract(f, product, _subtract(f, total, shown)), _subtract(f, c, shown))
    exact = _add(f, total, _add(f, rest, lost))
    infinity = f.const(float("inf"), exact)
    is_finite = f.fcmp("olt", f.intrinsic("fabs", exact), infinity)
    return f.select(is_finite, exact, total)


def _product(f: Function, a: Reg, b: Reg) -> tuple[Reg, Reg]:
    """a*b, and what its rounding lost."""
    product = _multiply(f, a, b)
    (a_high, a_low), (b_high, b_low) = _halves(f, a), _halves(f, b)
    lost = _subtract(f, _multiply(f, a_high, b_high), product)
    lost = _add(f, lost, _multiply(f, a_high, b_low))
    lost = _add(f, lost, _multiply(f, a_low, b_high))
    return product, _add(f, lost, _multiply(f, a_low, b_low))


def _halves(f: Function, a: Reg) -> tuple[Reg, Reg]:
    """a as a sum of two numbers of 26 bits (Veltkamp)."""
    shifted = _multiply(f, a, f.const(2.0**27 + 1, a))
    high = _subtract(f, shifted, _subtract(f, shifted, a))
    return high, _subtract(f, a, high)


# ---- rounding ------------------------------------------------------------------------------------


def rint(f: Function, x: Reg) -> Reg:
    """The nearest whole number, of two the even one: what adding 2**23 (or 2**52) rounds to."""
    size = f.intrinsic("fabs", x)
    whole_from = f.const(2.0**23 if x.elem == "float" else 2.0**52, x)
    rounded = _subtract(f, _add(f, size, whole_from), whole_from)
    is_small = f.fcmp("olt", size, whole_from)
    return f.select(is_small, f.intrinsic("copysign", rounded, x), x)


def floor(f: Function, x: Reg) -> Reg:
    nearest = rint(f, x)
    below = _subtract(f, nearest, f.const(1.0, x))
    # copysign: the floor of -0.0 is -0.0, and that of 0.5 is 0.0
    return f.intrinsic("copysign", f.select(f.fcmp("ogt", nearest, x), below, nearest), x)


def ceil(f: Function, x: Reg) -> Reg:
    return f.fneg(floor(f, f.fneg(x)))


def trunc(f: Function, x: Reg) -> Reg:
    return f.intrinsic("copysign", floor(f, f.intrinsic("fabs", x)), x)


# ---- floats of 16 bits --------------------------------------------------------------------------

EXPONENTS = 112
"""How much larger the exponents of f32 are stored than those of f16."""


def widen_f16(f: Function, x: Reg) -> Reg:
    """The bits in their place make a number 2**-112 as large, subnormal ones included."""
    word = f.convert("zext", x, "i32")
    size = f.and_(word, f.const(0x7FFF, word))
    small = f.bitcast(f.shl(size, f.const(13, size)), "float")
    scaled = f.bitcast(_multiply(f, small, f.const(2.0**EXPONENTS, small)), "i32")
    # Infinity and NaN became numbers from 2**16 upwards: their exponent is all ones.
    is_special = f.icmp("uge", size, f.const(0x7C00, size))
    scaled = f.select(is_special, f.or_(scaled, f.const(0x7F800000, scaled)), scaled)
    sign = f.shl(f.and_(word, f.const(0x8000, word)), f.const(16, word))
    return f.bitcast(f.or_(scaled, sign), "float")


def narrow_f16(f: Function, x: Reg) -> Reg:
    """x rounded to f16, to nearest even."""
    bits = f.bitcast(x, "i32")
    size = f.and_(bits, f.const(0x7FFFFFFF, bits))
    # Normal numbers: half of what is dropped, less one or not, carries, up to infinity.
    is_odd = f.and_(f.lshr(size, f.const(13, size)), f.const(1, size))
    carried = f.add(size, f.add(is_odd, f.const(0xFFF, size)))
    normal = f.lshr(f.sub(carried, f.const(EXPONENTS << 23, size)), f.const(13, size))
    # Subnormal ones are multiples of 2**-24, which is the last bit of 0.5.
    half = f.const(0.5, x)
    shifted = f.bitcast(_add(f, f.bitcast(size, "float"), half), "i32")
    subnormal = f.sub(shifted, f.const(0x3F000000, shifted))
    is_small = f.icmp("ult", size, f.const((EXPONENTS + 1) << 23, size))
    result = f.select(is_small, subnormal, normal)
    is_large = f.icmp("uge", size, f.const((EXPONENTS + 31) << 23, size))
    result = f.select(is_large, f.const(0x7C00, result), result)
    is_nan = f.icmp("ugt", size, f.const(0x7F800000, size))
    result = f.select(is_nan, f.const(0x7E00, result), result)
    sign = f.and_(f.lshr(bits, f.const(16, bits)), f.const(0x8000, bits))
    return f.convert("trunc", f.or_(result, sign), "f16")


# ---- arithmetic that fast-math leaves alone ------------------------------------------------------


def _add(f: Function, a: Reg, b: Reg) -> Reg:
    return f.binary("fadd", a, b)


def _subtract(f: Function, a: Reg, b: Reg) -> Reg:
    return f.binary("fsub", a, b)


def _multiply(f: Function, a: Reg, b: Reg) -> Reg:
    return f.binary("fmul", a, b)
