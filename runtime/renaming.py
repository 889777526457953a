"""A kernel's statements as those of another kernel: other axes, buffers and values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from graphc.dims import Size
from graphc.runtime.kernel import (
    Access,
    AddAt,
    Blocks,
    Compute,
    Index,
    Load,
    Loop,
    Name,
    Native,
    Product,
    Statement,
    Store,
    Transpose,
)


class Renaming(NamedTuple):
    """New numbers for axes, buffers and values; the kernel that they are for has `rank` axes.

    Values are numbered from `first` on as they are met, and noted in `values`.
    """

    axes: Mapping[int, int]
    buffers: Mapping[int, int]
    rank: int
    values: dict[int, int]
    first: int = 0

    def statements(self, statements: Sequence[Statement]) -> tuple[Statement, ...]:
        return tuple(self.statement(statement) for statement in statements)

    def statement(self, statement: Statement) -> Statement:
        match statement:
            case Load(out, access, position, step, guard):
                at, where = self.operand(position), self.operand(guard)
                return Load(self.name(out), self.access(access), at, step, where)
            case Compute(out, op, ins, attrs):
                return Compute(self.name(out), op, tuple(map(self.operand, ins)), attrs)
            case Index(out, axis):
                return Index(self.name(out), self.axes[axis])
            case Store(access, value):
                return Store(self.access(access), self.operand(value))
            case AddAt(access, position, step, value, replaces):
                at = self.operand(position)
                return AddAt(self.access(access), at, step, self.operand(value), replaces)
            case Loop():
                return self.loop(statement)
            case Blocks(axis, size, body):
                return Blocks(self.axes[axis], size, self.statements(body))
            case Transpose() | Native():
                return self.routine(statement)
            case Product():
                return self.product(statement)
        raise TypeError(statement)

    def routine(self, statement: Transpose | Native) -> Statement:
        if isinstance(statement, Native):
            own = (self.access(a) if isinstance(a, Access) else a for a in statement.arguments)
            return statement._replace(arguments=tuple(own))
        source, target, row, column = statement
        places = self.access(source), self.access(target)
        return Transpose(*places, self.axes[row], self.axes[column])

    def loop(self, loop: Loop) -> Loop:
        return loop._replace(
            axes=tuple(self.axes[axis] for axis in loop.axes),
            body=self.statements(loop.body),
            accumulators=tuple(
                a._replace(out=self.name(a.out), value=self.operand(a.value))
                for a in loop.accumulators
            ),
        )

    def product(self, product: Product) -> Product:
        rows, columns = product.row_axis, product.column_axis
        return product._replace(
            out=self.name(product.out),
            left=self.access(product.left),
            right=self.access(product.right),
            row_axis=None if rows is None else self.axes[rows],
            column_axis=None if columns is None else self.axes[columns],
            epilogue=self.statements(product.epilogue),
        )

    def access(self, access: Access) -> Access:
        strides: list[Size] = [0] * self.rank
        for axis, new in self.axes.items():
            strides[new] = access.strides[axis]
        return Access(self.buffers[access.buffer], access.offset, tuple(strides))

    def name(self, name: Name) -> Name:
        number = self.values.setdefault(name.number, self.first + len(self.values))
        return name._replace(number=number)

    def operand(self, operand: Any) -> Any:
        return self.name(operand) if isinstance(operand, Name) else operand
