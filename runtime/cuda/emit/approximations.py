"""What a device computes in one instruction or two, if fast-math allows: of f32 alone.

Each is within two units in the last place, but for `exp`, whose error grows with its operand: x is
multiplied by log2(e) first, and |x| units are lost.  Left out is what has no small error relative
to its result: sines, which are good near zero alone, logarithms near one, `tanh` with its 11 bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from graphc.runtime.cuda.emit.shifts import SHIFTS
from graphc.runtime.cuda.emit.simt import PREFIX, together
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.registers import BITS, Reg


def _instruction(name: str) -> Callable[..., Reg]:
    full = f"{PREFIX}{name}.approx.f"

    def row(f: Function, *operands: Reg) -> Reg:
        f.module.declare(full, "float", ["float"] * len(operands))
        lanes = max(x.lanes for x in operands)
        parts = [
            f.call(full, [f.extract(x, lane) for x in operands], "float") for lane in range(lanes)
        ]
        return together(f, parts)

    return row


_power, _quotient = _instruction("ex2"), _instruction("div")

APPROXIMATE: dict[str, Callable[..., Reg]] = {
    "exp2": _power,
    "exp": lambda f, x: _power(f, f.fmul(x, f.const(1 / math.log(2), x))),
    "divide": _quotient,
    "reciprocal": lambda f, x: _quotient(f, f.const(1.0, x), x),
    "sqrt": _instruction("sqrt"),
    "rsqrt": _instruction("rsqrt"),
}
"""Rows that stand for those of the scalar table."""


def scalar_row(f: Function, op: str, elem: str, usual: Callable[..., Reg]) -> Callable[..., Reg]:
    """What computes `op` on elements of this type: `usual`, its approximation, or what a device
    needs instead."""
    if op in SHIFTS and BITS[elem] == 64:
        return SHIFTS[op]
    may = bool(f.flags) and elem == "float"
    return APPROXIMATE.get(op, usual) if may else usual
