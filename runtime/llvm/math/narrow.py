"""Between floats of 16 bits, which are words in registers, and f32.  Exact, or rounded to nearest.

f16 by the machine's own instructions, where it has them; bf16, whose instructions make zeros of
subnormal numbers, by integer arithmetic, as f16 on machines that lack it (`emulated`).
"""

from __future__ import annotations

from collections.abc import Callable

from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.math._lanes import is_float, is_unsigned
from graphc.runtime.llvm.math._steps import ieee
from graphc.runtime.llvm.registers import Reg

NARROW = ("f16", "bf16")


def widen(f: Function, x: Reg) -> Reg:
    """The f32 that equals x."""
    if x.elem == "bf16":
        bits = f.convert("zext", x, "i32")
        return f.bitcast(f.shl(bits, f.const(16, bits)), "float")
    if "widen_f16" in f.module.emulations:
        return f.module.emulations["widen_f16"](f, x)
    return f.convert("fpext", f.bitcast(x, "half"), "float")


def load_wide(f: Function, address: Reg, elem: str, lanes: int, mask: Reg | None = None) -> Reg:
    """What lies at an address, under the mask if there is one; f32 where it lies in 16 bits."""
    if mask is None:
        loaded = f.load(address, elem, lanes)
    else:
        loaded = f.masked_load(address, elem, lanes, mask)
    return widen(f, loaded) if elem in NARROW else loaded


@ieee
def narrow(f: Function, x: Reg, *, dtype: str) -> Reg:
    """A number of any kind rounded to f16 or bf16: once, if it is a float or fits f32."""
    if x.elem == "double":
        x = _rounded_to_odd(f, x)
    elif not is_float(x):
        x = f.convert("uitofp" if is_unsigned(x) else "sitofp", x, "float")
    if dtype == "bf16":
        return _narrow_bf16(f, x)
    if "narrow_f16" in f.module.emulations:
        return f.module.emulations["narrow_f16"](f, x)
    return f.bitcast(f.convert("fptrunc", x, "half"), "f16")


def _narrow_bf16(f: Function, x: Reg) -> Reg:
    """The upper half of the word: half of what is dropped, less one or not, carries into it."""
    bits = f.bitcast(x, "i32")
    half = f.const(16, bits)
    upper = f.lshr(bits, half)
    is_odd = f.and_(upper, f.const(1, bits))
    carried = f.lshr(f.add(bits, f.add(is_odd, f.const(0x7FFF, bits))), half)
    quiet = f.or_(upper, f.const(0x40, bits))
    result = f.select(f.fcmp("uno", x, x), quiet, carried)
    return f.convert("trunc", result, "bf16")


def _rounded_to_odd(f: Function, x: Reg) -> Reg:
    """x as f32: towards zero, with the last bit set if that is not exact.

    A second rounding, to fewer bits, then sees on which side of a middle x was.
    """
    nearest = f.convert("fptrunc", x, "float")
    back = f.convert("fpext", nearest, "double")
    bits = f.bitcast(nearest, "i32")
    size, shown = f.intrinsic("fabs", x), f.intrinsic("fabs", back)
    down = f.sub(bits, f.const(1, bits))  # the word of the number that is next toward zero
    toward_zero = f.select(f.fcmp("ogt", shown, size), down, bits)
    odd = f.or_(toward_zero, f.const(1, bits))
    return f.bitcast(f.select(f.fcmp("one", shown, size), odd, bits), "float")


TABLE: dict[str, Callable[..., Reg]] = {"widen": widen, "narrow": narrow}
