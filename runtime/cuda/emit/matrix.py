"""Factors of small matrices by the threads of a warp: Cholesky's, LU with pivots, and solutions.

They stand for LAPACK's routines of the same names, which lie in the memory of the processor, and
are called like these: matrices lie column by column, `info` is 0 or the number of the first column
that has no pivot.  Each thread has rows of its own.  A step of the elimination needs what others
have made in the step before, and so the threads wait for each other twice or three times in each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from graphc.runtime.cuda.emit.branches import in_turns, only_if
from graphc.runtime.kernel import Native
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.math import ELEMS, SCALARS
from graphc.runtime.llvm.registers import Reg, constant

I64, I32 = "i64", "i32"

Argument = Reg | int | str


class Company(Protocol):
    """The threads that share the work on a matrix: how many, which this one is, how they wait."""

    @property
    def size(self) -> int: ...

    @property
    def rank(self) -> Reg: ...

    def wait(self, f: Function) -> None: ...


class Alone(NamedTuple):
    """One thread for the whole matrix."""

    size: int = 1
    rank: Reg = constant(0, I64)

    def wait(self, f: Function) -> None:
        """There is nobody to wait for."""


def emit_matrix(
    f: Function, team: Company, statement: Native, arguments: Sequence[Argument]
) -> None:
    """Write the routine for `arguments`: addresses, sizes and letters in LAPACK's order."""
    _ROUTINES[statement.routine](_Emitter(f, team, ELEMS[statement.dtype]), *arguments)


class _Matrix(NamedTuple):
    """Where a matrix begins, and how far its rows and its columns lie apart."""

    start: Reg
    row: int
    column: int


class _Emitter:
    """Writes steps of an elimination."""

    def __init__(self, f: Function, team: Company, elem: str):
        self.f = f
        self.team = team
        self.elem = elem

    # ---- elements --------------------------------------------------------------------------------

    def place(self, matrix: _Matrix, row: Reg, column: Reg) -> Reg:
        f = self.f
        down = f.mul(row, constant(matrix.row, I64))
        across = f.mul(column, constant(matrix.column, I64))
        return f.offset(matrix.start, self.elem, f.add(down, across))

    def load(self, matrix: _Matrix, row: Reg, column: Reg) -> Reg:
        return self.f.load(self.place(matrix, row, column), self.elem)

    def store(self, value: Reg, matrix: _Matrix, row: Reg, column: Reg) -> None:
        self.f.store(value, self.place(matrix, row, column))

    def less(self, total: Reg, x: Reg, y: Reg) -> Reg:
        """total - x * y"""
        return self.f.fma(SCALARS["negative"](self.f, x), y, total)

    # ---- loops -----------------------------------------------------------------------------------

    def wait(self) -> None:
        self.team.wait(self.f)

    def each(self, first: Reg, stop: Reg, visit: Callable[[Reg], None]) -> None:
        """Every thread visits every number, one after the other."""

        def run(index: Reg, carried: list[Reg]) -> list[Reg]:
            visit(index)
            return carried

        in_turns(self.f, first, stop, 1, [], run)

    def shared(self, first: Reg, stop: Reg, visit: Callable[[Reg], None]) -> None:
        """Each number is visited by one thread."""

        def run(index: Reg, carried: list[Reg]) -> list[Reg]:
            visit(index)
            return carried

        in_turns(self.f, self.f.add(first, self.team.rank), stop, self.team.size, [], run)

    def first_only(self, write: Callable[[], None]) -> None:
        with only_if(self.f, self.f.icmp("eq", self.team.rank, constant(0, I64))):
            write()

    def after(self, index: Reg) -> Reg:
        return self.f.add(index, constant(1, I64))

    def noted(self, info: Reg, is_bad: Reg, column: Reg) -> Reg:
        """`info` with the number of this column, if it is the first bad one."""
        f = self.f
        number = f.convert("trunc", self.after(column), I32)
        is_first = f.and_(is_bad, f.icmp("eq", info, constant(0, I32)))
        return f.select(is_first, number, info)

    # ---- Cholesky --------------------------------------------------------------------------------

    def cholesky_column(self, l: _Matrix, n: Reg, column: Reg, info: Reg) -> Reg:  # noqa: E741
        """Column by column: what the columns before it leave of one, divided by its pivot."""
        f = self.f

        def reduce(row: Reg) -> None:
            def take_off(k: Reg, total: list[Reg]) -> list[Reg]:
                return [self.less(total[0], self.load(l, row, k), self.load(l, column, k))]

            start = [self.load(l, row, column)]
            (rest,) = in_turns(f, constant(0, I64), column, 1, start, take_off)
            self.store(rest, l, row, column)

        self.shared(column, n, reduce)
        self.wait()
        pivot = self.load(l, column, column)
        info = self.noted(info, f.fcmp("ule", pivot, constant(0, self.elem)), column)
        root = SCALARS["sqrt"](f, pivot)
        self.wait()  # before the pivot is overwritten

        def divide(row: Reg) -> None:
            quotient = SCALARS["divide"](f, self.load(l, row, column), root)
            value = f.select(f.icmp("eq", row, column), root, quotient)
            self.store(value, l, row, column)

        self.shared(column, n, divide)
        self.wait()
        return info

    # ---- LU --------------------------------------------------------------------------------------

    def pivot_row(self, a: _Matrix, n: Reg, column: Reg) -> Reg:
        """The first row, from the diagonal on, whose element of this column is largest."""
        f = self.f

        def compare(row: Reg, best: list[Reg]) -> list[Reg]:
            size = f.intrinsic("fabs", self.load(a, row, column))
            is_larger = f.fcmp("ogt", size, best[0])
            return [f.select(is_larger, size, best[0]), f.select(is_larger, row, best[1])]

        start = [f.intrinsic("fabs", self.load(a, column, column)), column]
        return in_turns(f, self.after(column), n, 1, start, compare)[1]

    def exchange(self, matrix: _Matrix, columns: Reg, one: Reg, other: Reg) -> None:
        def swap(column: Reg) -> None:
            x, y = (self.load(matrix, row, column) for row in (one, other))
            self.store(y, matrix, one, column)
            self.store(x, matrix, other, column)

        self.shared(constant(0, I64), columns, swap)

    def lu_column(
        self, a: _Matrix, n: Reg, pivots: Reg, sides: tuple[_Matrix, Reg] | None, state: list[Reg]
    ) -> Reg:
        """One step: `state` is the column and `info`."""
        f, (column, info) = self.f, state
        other = self.pivot_row(a, n, column)
        self.first_only(
            lambda: f.store(
                f.convert("trunc", self.after(other), I32), f.offset(pivots, I32, column)
            )
        )
        self.wait()  # until all have looked for the pivot
        self.exchange(a, n, column, other)
        if sides is not None:
            self.exchange(*sides, column, other)
        self.wait()
        pivot = self.load(a, column, column)
        is_zero = f.fcmp("oeq", pivot, constant(0, self.elem))
        divisor = f.select(is_zero, constant(1, self.elem), pivot)

        def eliminate(row: Reg) -> None:
            factor = SCALARS["divide"](f, self.load(a, row, column), divisor)
            self.store(factor, a, row, column)

            def take_off(matrix: _Matrix, k: Reg) -> None:
                rest = self.less(self.load(matrix, row, k), factor, self.load(matrix, column, k))
                self.store(rest, matrix, row, k)

            self.each(self.after(column), n, lambda k: take_off(a, k))
            if sides is not None:
                self.each(constant(0, I64), sides[1], lambda k: take_off(sides[0], k))

        self.shared(self.after(column), n, eliminate)
        self.wait()
        return self.noted(info, is_zero, column)

    def lu(self, a: _Matrix, n: Reg, pivots: Reg, sides: tuple[_Matrix, Reg] | None) -> Reg:
        def step(column: Reg, info: list[Reg]) -> list[Reg]:
            return [self.lu_column(a, n, pivots, sides, [column, info[0]])]

        return in_turns(self.f, constant(0, I64), n, 1, [constant(0, I32)], step)[0]

    def substitute(self, a: _Matrix, n: Reg, sides: tuple[_Matrix, Reg]) -> None:
        """The sides of a triangular system by its solution, from the last row upwards."""
        f, (b, columns) = self.f, sides

        def step(number: Reg) -> None:
            row = f.sub(f.sub(n, constant(1, I64)), number)
            pivot = self.load(a, row, row)

            def quotient(column: Reg) -> Reg:
                return SCALARS["divide"](f, self.load(b, row, column), pivot)

            def take_off(column: Reg) -> None:
                x = quotient(column)

                def above(other: Reg) -> None:
                    factor = self.load(a, other, row)
                    rest = self.less(self.load(b, other, column), factor, x)
                    self.store(rest, b, other, column)

                self.shared(constant(0, I64), row, above)

            self.each(constant(0, I64), columns, take_off)
            self.wait()
            self.shared(constant(0, I64), columns, lambda c: self.store(quotient(c), b, row, c))

        self.each(constant(0, I64), n, step)
        self.wait()


# ---- LAPACK's arguments --------------------------------------------------------------------------


def _potrf(e: _Emitter, uplo: str, n: int, l: Reg, lead: int, info: Reg) -> None:  # noqa: E741
    """The upper triangle column by column is the lower one row by row."""
    assert uplo == "U"
    rows = _Matrix(l, lead, 1)
    size = constant(n, I64)
    (found,) = in_turns(
        e.f,
        constant(0, I64),
        size,
        1,
        [constant(0, I32)],
        lambda column, known: [e.cholesky_column(rows, size, column, known[0])],
    )
    e.first_only(lambda: e.f.store(found, info))


def _getrf(e: _Emitter, rows: int, columns: int, a: Reg, lead: int, pivots: Reg, info: Reg) -> None:
    assert rows == columns
    found = e.lu(_Matrix(a, 1, lead), constant(rows, I64), pivots, None)
    e.first_only(lambda: e.f.store(found, info))


def _gesv(
    e: _Emitter,
    n: int,
    columns: int,
    a: Reg,
    lead: int,
    pivots: Reg,
    b: Reg,
    other: int,
    info: Reg,
) -> None:
    matrix, size = _Matrix(a, 1, lead), constant(n, I64)
    sides = _Matrix(b, 1, other), constant(columns, I64)
    found = e.lu(matrix, size, pivots, sides)
    e.substitute(matrix, size, sides)
    e.first_only(lambda: e.f.store(found, info))


_ROUTINES: dict[str, Callable[..., None]] = {"potrf": _potrf, "getrf": _getrf, "gesv": _gesv}
