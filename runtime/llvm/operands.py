"""The registers of what a statement computes with: for kernels of processors and of devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphc.ir import Lit
from graphc.runtime.kernel import Operand
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.math import ELEMS
from graphc.runtime.llvm.registers import Reg, constant


def operand_of(values: Mapping[int, Reg], operand: Operand) -> Reg:
    """A constant, or the value of that number."""
    if isinstance(operand, Lit):
        return constant(operand.value, ELEMS[operand.type.dtype])
    return values[operand.number]


def operands_of(f: Function, values: Mapping[int, Reg], operands: Sequence[Operand]) -> list[Reg]:
    """All of them, with as many lanes as the one that has the most."""
    found = [operand_of(values, operand) for operand in operands]
    lanes = max((register.lanes for register in found), default=1)
    return [f.splat(register, lanes) for register in found]
