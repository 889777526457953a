"""The scalar table of the code generator: what each elementwise op is on registers.

`SCALARS[name](f, *operands, **attrs)` appends the instructions of op `name` to the function `f`
and returns the result, for scalars and vectors alike.  It is the one table for every target.
"""

from __future__ import annotations

from collections.abc import Callable

from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.math import (
    basic,
    bits,
    exponential,
    external,
    hyperbolic,
    integer,
    narrow,
    random,
    special,
    trigonometric,
)
from graphc.runtime.llvm.math._lanes import is_float
from graphc.runtime.llvm.registers import Reg

Row = Callable[..., Reg]

ELEMS = basic.ELEMS
"""The element type in a register of every dtype."""


def _join(*tables: dict[str, Row]) -> dict[str, Row]:
    joined: dict[str, Row] = {}
    for table in tables:
        if twice := joined.keys() & table.keys():
            raise ValueError(f"rows defined twice in the scalar table: {sorted(twice)}")
        joined.update(table)
    return joined


def _by_element(floats: Row, integers: Row) -> Row:
    """One row from the two that different element types need."""

    def row(f: Function, x: Reg, y: Reg) -> Reg:
        return (floats if is_float(x) else integers)(f, x, y)

    return row


SCALARS = _join(
    basic.TABLE,
    bits.TABLE,
    exponential.TABLE,
    external.TABLE,
    hyperbolic.TABLE,
    narrow.TABLE,
    random.TABLE,
    special.TABLE,
    trigonometric.TABLE,
)
SCALARS["dimension"] = integer.dimension
SCALARS |= {name: _by_element(SCALARS[name], row) for name, row in integer.TABLE.items()}
