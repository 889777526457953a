"""What a statement computes with, as registers."""

from __future__ import annotations

from graphc.ir import Lit, Type
from graphc.runtime.kernel import Name
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.module import Module
from graphc.runtime.llvm.operands import operand_of, operands_of
from graphc.runtime.llvm.registers import Reg

WIDE, NARROW = Reg("%wide", "float", 4), Reg("%narrow", "float")
VALUES = {0: WIDE, 1: NARROW}


def test_an_operand_is_a_constant_or_a_value() -> None:
    assert operand_of(VALUES, Name(1, "f32")) is NARROW
    assert operand_of({}, Lit(3, Type("i64"))).typed == "i64 3"


def test_operands_have_the_same_lanes() -> None:
    f = Function(Module(), "f", [])
    found = operands_of(f, VALUES, [Name(0, "f32"), Name(1, "f32"), Lit(2.0, Type("f32"))])
    assert found[0] is WIDE
    assert [register.lanes for register in found] == [4, 4, 4]
    alone = operands_of(f, VALUES, [Name(1, "f32"), Lit(2.0, Type("f32"))])
    assert [register.lanes for register in alone] == [1, 1]
    assert operands_of(f, VALUES, []) == []
