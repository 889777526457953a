"""A tile of memory transposed, square by square in registers."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.math import ELEMS
from graphc.runtime.llvm.registers import BITS, Reg, constant

WIDEST = 16
"""Rows of a square: as many vectors are in registers at once."""


def transpose(
    f: Function,
    dtype: str,
    source: Reg,
    target: Reg,
    rows: int,
    columns: int,
    source_step: int,
    target_step: int,
    vector_bytes: int,
) -> None:
    """target[r * target_step + c] = source[c * source_step + r], for all r < rows, c < columns.

    The last squares begin early enough to be whole: what they share with others is written twice.
    """
    elem = "i8" if dtype == "bool" else ELEMS[dtype]
    edge = square_edge(rows, columns, vector_bytes * 8 // BITS[elem])
    zero = constant(0, "i64")
    with f.loop(zero, constant(columns, "i64"), edge) as across:
        column = f.intrinsic("smin", across.index, constant(columns - edge, "i64"))
        into = f.offset(target, elem, column)
        out_of = f.offset(source, elem, f.mul(column, constant(source_step, "i64")))
        with f.loop(zero, constant(rows, "i64"), edge) as down:
            row = f.intrinsic("smin", down.index, constant(rows - edge, "i64"))
            first = f.offset(out_of, elem, row)
            last = f.offset(into, elem, f.mul(row, constant(target_step, "i64")))
            vectors = [
                f.load(_further(f, first, elem, i * source_step), elem, edge) for i in range(edge)
            ]
            for i, vector in enumerate(transposed(f, vectors)):
                f.store(vector, _further(f, last, elem, i * target_step))


def square_edge(rows: int, columns: int, lanes: int) -> int:
    """The largest power of two that the tile and a register hold."""
    edge = 1
    while 2 * edge <= min(rows, columns, lanes, WIDEST):
        edge *= 2
    return edge


def _further(f: Function, pointer: Reg, elem: str, elements: int) -> Reg:
    return f.offset(pointer, elem, constant(elements, "i64"))


def transposed(f: Function, vectors: Sequence[Reg]) -> list[Reg]:
    """The columns of a square whose rows are `vectors`.

    Step by step the off-diagonal halves of squares change places: of the whole, its quarters, ...
    """
    rows, edge = list(vectors), len(vectors)
    half = edge // 2
    while half:
        for low in range(edge):
            if not low & half:
                high = low + half
                rows[low], rows[high] = _exchanged(f, rows[low], rows[high], half)
        half //= 2
    return rows


def _exchanged(f: Function, low: Reg, high: Reg, half: int) -> tuple[Reg, Reg]:
    lanes = range(low.lanes)
    first = [lane + low.lanes - half if lane & half else lane for lane in lanes]
    second = [lane + low.lanes if lane & half else lane + half for lane in lanes]
    return f.shuffle(low, high, first), f.shuffle(low, high, second)


TABLE = {"transpose": transpose}
