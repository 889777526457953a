"""Instructions that a machine lacks, made of others.

LLVM would call the C library for them, once for each element.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from graphc.runtime.llvm.builder import Function, Reg
from graphc.runtime.llvm.target import HostTarget

Emulation = Callable[..., Reg]


def emulations(target: HostTarget) -> Mapping[str, Emulation]:
    """What stands for the intrinsics that a target has no instruction for."""
    missing: dict[str, Emulation] = {}
    if not target.has_fma:
        missing["fma"] = fma
    if not target.has_rounding:
        missing.update(rint=rint, roundeven=rint, floor=floor, ceil=ceil, trunc=trunc)
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


# ---- arithmetic that fast-math leaves alone ------------------------------------------------------


def _add(f: Function, a: Reg, b: Reg) -> Reg:
    return f.binary("fadd", a, b)


def _subtract(f: Function, a: Reg, b: Reg) -> Reg:
    return f.binary("fsub", a, b)


def _multiply(f: Function, a: Reg, b: Reg) -> Reg:
    return f.binary("fmul", a, b)
