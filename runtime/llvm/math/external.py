"""External functions of numbers: called lane by lane."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphc.ops import external
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.math.basic import ELEMS
from graphc.runtime.llvm.registers import Reg, type_name

COMPLEX = "{ double, double }"
"""How C gives a complex number; it takes one as two doubles."""


def scalar_call(f: Function, *operands: Reg, function: str, result: str) -> Reg:
    """A bool is a byte where a function takes or gives one."""
    given = [f.convert("zext", x, "i8") if x.elem == "i1" else x for x in operands]
    elem = "i8" if result == "bool" else ELEMS[result]
    lanes = max(x.lanes for x in operands)
    whole = Reg("poison", elem, lanes)
    for lane in range(lanes):
        one = _call(f, function, [f.extract(x, lane) for x in given], elem)
        whole = one if lanes == 1 else _with_lane(f, whole, one, lane)
    return f.icmp("ne", whole, f.const(0, whole)) if result == "bool" else whole


def _with_lane(f: Function, vector: Reg, value: Reg, lane: int) -> Reg:
    text = f"insertelement {vector.typed}, {value.typed}, i64 {lane}"
    return f.let(text, vector.elem, vector.lanes)


def _call(f: Function, function: str, operands: Sequence[Reg], elem: str) -> Reg:
    known = external.known(function)
    if not known.form:
        f.module.declare(function, type_name(elem), [type_name(x.elem) for x in operands])
        return f.call(function, operands, elem)
    letters, _, results = known.form.partition(">")
    given = _as_taken(f, letters, operands)
    if results == "d":
        f.module.declare(function, "double", [x.type for x in given])
        return f.call(function, given, "double")
    if results == "z":
        f.module.declare(function, COMPLEX, [x.type for x in given])
        listed = ", ".join(x.typed for x in given)
        pair = f.let(f"call {COMPLEX} @{function}({listed})", "double")
        return f.let(f"extractvalue {COMPLEX} {pair.text}, {known.part}", "double")
    return _from_memory(f, function, given, results, known.part)


def _as_taken(f: Function, letters: str, operands: Sequence[Reg]) -> list[Reg]:
    """The operands, with the integers among them as such; a complex one has two."""
    wide = letters.replace("z", "dd")
    pairs = zip(wide, operands, strict=True)
    return [_integer(f, x) if letter == "l" else x for letter, x in pairs]


def _integer(f: Function, x: Reg) -> Reg:
    """Saturated: what is beyond the range of integers has to be some integer."""
    f.module.declare("llvm.fptosi.sat.i64.f64", "i64", ["double"])
    return f.call("llvm.fptosi.sat.i64.f64", [x], "i64")


def _from_memory(
    f: Function, function: str, operands: Sequence[Reg], results: str, part: int
) -> Reg:
    """One of the numbers that the function writes to pointers."""
    width = 2 if results[0] == "z" else 1
    memory = f.on_stack(8 * width * len(results))
    places = [f.offset(memory, "double", Reg(str(width * i), "i64")) for i in range(len(results))]
    given = [*operands, *places]
    f.module.declare(function, "void", [x.type for x in given])
    f.call(function, given)
    return f.load(f.offset(memory, "double", Reg(str(part), "i64")), "double")


TABLE: dict[str, Callable[..., Reg]] = {"scalar_call": scalar_call}
