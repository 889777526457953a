"""External functions of numbers: called lane by lane."""

from __future__ import annotations

from collections.abc import Callable

from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.math.basic import ELEMS
from graphc.runtime.llvm.registers import Reg, type_name


def scalar_call(f: Function, *operands: Reg, function: str, result: str) -> Reg:
    """A bool is a byte where a function takes or gives one."""
    given = [f.convert("zext", x, "i8") if x.elem == "i1" else x for x in operands]
    elem = "i8" if result == "bool" else ELEMS[result]
    f.module.declare(function, type_name(elem), [type_name(x.elem) for x in given])
    lanes = max(x.lanes for x in operands)
    whole = Reg("poison", elem, lanes)
    for lane in range(lanes):
        one = f.call(function, [f.extract(x, lane) for x in given], elem)
        whole = one if lanes == 1 else _with_lane(f, whole, one, lane)
    return f.icmp("ne", whole, f.const(0, whole)) if result == "bool" else whole


def _with_lane(f: Function, vector: Reg, value: Reg, lane: int) -> Reg:
    text = f"insertelement {vector.typed}, {value.typed}, i64 {lane}"
    return f.let(text, vector.elem, vector.lanes)


TABLE: dict[str, Callable[..., Reg]] = {"scalar_call": scalar_call}
