"""Running sums, products, extrema and linear recurrences along the rows of a block.

The block has `rows` rows of `columns` elements.  A single column is carried in a register; of
several, each row is made from the one before it, in vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.gemm_kernels import counted, index, known, loop_if_any, minus
from graphc.runtime.llvm.math import ELEMS, SCALARS
from graphc.runtime.llvm.registers import Reg

LANES = 8
"""Elements at a time along a row."""

Combine = Callable[[Function, Reg, Sequence[Reg]], Reg]
"""The next element from the one before it and the elements of the operands."""


def _routine(combine: Combine, first: int) -> Callable[..., None]:
    """A routine whose first element is that of operand `first`."""

    def emit(f: Function, dtype: str, *arguments: Reg | int) -> None:
        *operands, out, rows, columns, reverse = arguments
        assert isinstance(out, Reg)
        elem, many, width = ELEMS[dtype], as_number(rows), as_number(columns)
        step, start = width, index(0)
        if reverse:
            step, start = minus(f, index(0), width), f.mul(minus(f, many, index(1)), width)
        ins = [f.offset(x, elem, start) for x in operands if isinstance(x, Reg)]
        out = f.offset(out, elem, start)
        if columns == 1:
            _carried(f, elem, ins, out, many, step, combine, first)
        else:
            _row_by_row(f, elem, ins, out, many, width, step, combine, first)

    return emit


def _carried(
    f: Function,
    elem: str,
    ins: Sequence[Reg],
    out: Reg,
    rows: Reg,
    step: Reg,
    combine: Combine,
    first: int,
) -> None:
    value = f.load(ins[first], elem)
    f.store(value, out)

    def advanced(row: Reg, carried: Sequence[Reg]) -> list[Reg]:
        at = f.mul(row, step)
        elements = [f.load(f.offset(x, elem, at), elem) for x in ins]
        value = combine(f, carried[0], elements)
        f.store(value, f.offset(out, elem, at))
        return [value]

    if rows.text != "1":
        loop_if_any(f, index(1), rows, 1, [value], advanced)


def _row_by_row(
    f: Function,
    elem: str,
    ins: Sequence[Reg],
    out: Reg,
    rows: Reg,
    columns: Reg,
    step: Reg,
    combine: Combine,
    first: int,
) -> None:
    def copied(at: Reg, lanes: int) -> None:
        value = f.load(f.offset(ins[first], elem, at), elem, lanes)
        f.store(value, f.offset(out, elem, at))

    _along(f, columns, copied)
    if rows.text == "1":
        return
    with counted(f, index(1), rows, 1) as row:
        ahead = f.mul(row, step)
        before = f.sub(ahead, step)

        def advanced(at: Reg, lanes: int) -> None:
            here = f.add(ahead, at)
            last = f.load(f.offset(out, elem, f.add(before, at)), elem, lanes)
            elements = [f.load(f.offset(x, elem, here), elem, lanes) for x in ins]
            f.store(combine(f, last, elements), f.offset(out, elem, here))

        _along(f, columns, advanced)


def _along(f: Function, size: Reg, visit: Callable[[Reg, int], None]) -> None:
    """`visit` over a row: whole vectors, then single elements."""
    if known(size):
        main = index(int(size.text) // LANES * LANES)
    else:
        main = f.and_(size, index(-LANES))
    for start, stop, lanes in ((index(0), main, LANES), (main, size, 1)):
        if start.text != stop.text:
            with counted(f, start, stop, lanes) as at:
                visit(at, lanes)


def as_number(size: Reg | int) -> Reg:
    """A size, known now or when the routine runs."""
    return size if isinstance(size, Reg) else index(size)


def _by_row(name: str) -> Combine:
    return lambda f, last, elements: SCALARS[name](f, last, elements[0])


def _recurrence(f: Function, last: Reg, elements: Sequence[Reg]) -> Reg:
    factor, term = elements
    return SCALARS["add"](f, SCALARS["multiply"](f, factor, last), term)


TABLE = {
    "cumsum": _routine(_by_row("add"), 0),
    "cumprod": _routine(_by_row("multiply"), 0),
    "cummax": _routine(_by_row("maximum"), 0),
    "cummin": _routine(_by_row("minimum"), 0),
    "recurrence": _routine(_recurrence, 1),
}
