"""Running sums, products, extrema and linear recurrences along the rows of a block.

The block has `rows` rows of `columns` elements.  A single column is carried in a register; of
several, each row is made from the one before it, in vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphc.runtime.llvm.builder import Function, Reg, constant
from graphc.runtime.llvm.math import ELEMS, SCALARS

LANES = 8
"""Elements at a time along a row."""

Combine = Callable[[Function, Reg, Sequence[Reg]], Reg]
"""The next element from the one before it and the elements of the operands."""


def _routine(combine: Combine, first: int) -> Callable[..., None]:
    """A routine whose first element is that of operand `first`."""

    def emit(f: Function, dtype: str, *arguments: Reg | int) -> None:
        *operands, out, rows, columns, reverse = arguments
        assert isinstance(rows, int) and isinstance(columns, int) and isinstance(out, Reg)
        elem = ELEMS[dtype]
        step = -columns if reverse else columns
        start = constant((rows - 1) * columns if reverse else 0, "i64")
        ins = [f.offset(x, elem, start) for x in operands if isinstance(x, Reg)]
        out = f.offset(out, elem, start)
        if columns == 1:
            _carried(f, elem, ins, out, rows, step, combine, first)
        else:
            _row_by_row(f, elem, ins, out, rows, columns, step, combine, first)

    return emit


def _carried(
    f: Function,
    elem: str,
    ins: Sequence[Reg],
    out: Reg,
    rows: int,
    step: int,
    combine: Combine,
    first: int,
) -> None:
    value = f.load(ins[first], elem)
    f.store(value, out)
    if rows == 1:
        return
    with f.loop(constant(1, "i64"), constant(rows, "i64"), 1, [value]) as row:
        at = f.mul(row.index, constant(step, "i64"))
        elements = [f.load(f.offset(x, elem, at), elem) for x in ins]
        value = combine(f, row.carried[0], elements)
        f.store(value, f.offset(out, elem, at))
        row.next = [value]


def _row_by_row(
    f: Function,
    elem: str,
    ins: Sequence[Reg],
    out: Reg,
    rows: int,
    columns: int,
    step: int,
    combine: Combine,
    first: int,
) -> None:
    def copied(at: Reg, lanes: int) -> None:
        value = f.load(f.offset(ins[first], elem, at), elem, lanes)
        f.store(value, f.offset(out, elem, at))

    _along(f, columns, copied)
    if rows == 1:
        return
    with f.loop(constant(1, "i64"), constant(rows, "i64"), 1) as row:
        ahead = f.mul(row.index, constant(step, "i64"))
        before = f.sub(ahead, constant(step, "i64"))

        def advanced(at: Reg, lanes: int) -> None:
            here = f.add(ahead, at)
            last = f.load(f.offset(out, elem, f.add(before, at)), elem, lanes)
            elements = [f.load(f.offset(x, elem, here), elem, lanes) for x in ins]
            f.store(combine(f, last, elements), f.offset(out, elem, here))

        _along(f, columns, advanced)


def _along(f: Function, size: int, visit: Callable[[Reg, int], None]) -> None:
    """`visit` over a row: whole vectors, then single elements."""
    main = size - size % LANES
    for start, stop, lanes in ((0, main, LANES), (main, size, 1)):
        if start < stop:
            with f.loop(constant(start, "i64"), constant(stop, "i64"), lanes) as loop:
                visit(loop.index, lanes)


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
