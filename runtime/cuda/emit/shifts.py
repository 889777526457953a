"""Shifts of 64 bits by computed distances.

A device's shift takes a distance of 32 bits, and gives 0 for what is too far.  LLVM relies on that
where the distance has 64 bits, too, and drops the question whether it is too far, along with the
upper half of the distance: x << 2**32 was x.  A distance that is small in any case stays so.
"""

from __future__ import annotations

from collections.abc import Callable

from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.math._lanes import is_unsigned
from graphc.runtime.llvm.registers import BITS, Reg


def _left(f: Function, x: Reg, count: Reg) -> Reg:
    return _unless_too_far(f, f.shl(x, _near(f, count)), count)


def _right(f: Function, x: Reg, count: Reg) -> Reg:
    near = _near(f, count)
    if not is_unsigned(x):
        return f.ashr(x, near)
    return _unless_too_far(f, f.lshr(x, near), count)


def _near(f: Function, count: Reg) -> Reg:
    return f.intrinsic("umin", count, f.const(BITS[count.elem] - 1, count))


def _unless_too_far(f: Function, shifted: Reg, count: Reg) -> Reg:
    width = f.const(BITS[count.elem], count)
    return f.select(f.icmp("ult", count, width), shifted, f.const(0, shifted))


SHIFTS: dict[str, Callable[..., Reg]] = {"left_shift": _left, "right_shift": _right}
"""Rows that stand for those of the scalar table."""
