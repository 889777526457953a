"""Taking a kernel apart into its loop nests, so that each can be divided along an axis of its own.

Before:  kernel(x, y) { t1 = load x[0]; for i0 { ... t1 ... store y[i0] }; for i1 { ... } }
After:   kernel(x, y) { t1 = load x[0]; for i0 { ... t1 ... store y[i0] } }
         kernel(x) { for i0 { ... } }

Sound because the nests still run one after the other, and what a nest needs from outside of all
loops is computed again in it, from memory that no nest writes.  A kernel of which this cannot be
said (a total that another nest reads) stays whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from graphc.runtime.kernel import (
    Access,
    AddAt,
    Blocks,
    Compute,
    Index,
    Kernel,
    Load,
    Loop,
    Name,
    Native,
    Product,
    Statement,
    Store,
    accesses,
    inner,
    loop_axes,
)
from graphc.runtime.program import Root


class Nest(NamedTuple):
    """A part of a kernel as a kernel, and which of the whole's buffers its own are."""

    kernel: Kernel
    buffers: tuple[int, ...]


def nests(kernel: Kernel, roots: Sequence[Root]) -> list[Nest]:
    """The kernel's loop nests in order; the whole kernel where it cannot be taken apart."""
    whole = [Nest(kernel, tuple(range(len(kernel.buffers))))]
    shared = [s for s in kernel.body if isinstance(s, (Load, Compute, Index))]
    runs = list(_runs(kernel.body))
    if len(runs) < 2 or not _is_separable(kernel, shared, runs, roots):
        return whole
    return [_nest(kernel, [*_needed(shared, run), *run]) for run in runs]


def _runs(body: Iterable[Statement]) -> Iterator[list[Statement]]:
    """Each loop and product by itself, stores outside of loops together."""
    stores: list[Statement] = []
    for statement in body:
        if isinstance(statement, Store):
            stores.append(statement)
        elif not isinstance(statement, (Load, Compute, Index)):
            if stores:
                yield stores
                stores = []
            yield [statement]
    if stores:
        yield stores


def _is_separable(
    kernel: Kernel,
    shared: Sequence[Statement],
    runs: Sequence[Sequence[Statement]],
    roots: Sequence[Root],
) -> bool:
    if any(isinstance(s, Loop) and s.accumulators for run in runs for s in run):
        return False
    if any(not isinstance(s, (Loop, Product, Blocks, Store)) for run in runs for s in run):
        return False
    written = {
        memory
        for s in inner(statement for run in runs for statement in run)
        if isinstance(s, (Store, AddAt))
        for memory in roots[s.access.buffer].memories()
    }
    read = {
        memory
        for access in accesses(tuple(shared))
        for memory in roots[access.buffer].memories()
    }
    scratch = [
        {a.buffer for a in accesses(tuple(run)) if kernel.buffers[a.buffer].role == "scratch"}
        for run in runs
    ]
    apart = sum(map(len, scratch)) == len(set().union(*scratch))
    return apart and written.isdisjoint(read)


def _reads(statement: Statement) -> Iterator[int]:
    """The numbers of the values that a statement itself reads."""
    match statement:
        case Compute(ins=ins):
            operands: tuple[object, ...] = ins
        case Load(position=position, guard=guard):
            operands = (position, guard)
        case Store(value=value):
            operands = (value,)
        case AddAt(position=position, value=value):
            operands = (position, value)
        case Loop(accumulators=accumulators):
            operands = tuple(a.value for a in accumulators)
        case _:
            operands = ()
    yield from (x.number for x in operands if isinstance(x, Name))


def _needed(shared: Sequence[Statement], run: Sequence[Statement]) -> list[Statement]:
    """Those of the shared statements, in order, whose values the run needs."""
    wanted = {number for statement in inner(run) for number in _reads(statement)}
    kept: list[Statement] = []
    for statement in reversed(shared):
        assert isinstance(statement, (Load, Compute, Index))
        if statement.out.number in wanted:
            kept.append(statement)
            wanted.update(_reads(statement))
    return kept[::-1]


# ---- a kernel of its own -------------------------------------------------------------------------


def _nest(kernel: Kernel, body: Sequence[Statement]) -> Nest:
    """A kernel of these statements, with only the axes and buffers that they use.

    Equal nests become equal kernels, which share their machine code.
    """
    axes = sorted({axis for statement in inner(body) for axis in loop_axes(statement)})
    buffers = sorted({access.buffer for access in accesses(tuple(body))})
    values: dict[int, int] = {}
    renaming = _Renaming(
        {axis: i for i, axis in enumerate(axes)}, {b: i for i, b in enumerate(buffers)}, values
    )
    part = Kernel(
        kernel.name,
        tuple(kernel.domain[axis] for axis in axes),
        tuple(kernel.buffers[b]._replace(name=f"b{i}") for i, b in enumerate(buffers)),
        renaming.statements(body),
    )
    return Nest(part, tuple(buffers))


class _Renaming(NamedTuple):
    """New numbers for axes, buffers and values."""

    axes: Mapping[int, int]
    buffers: Mapping[int, int]
    values: dict[int, int]

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
            case AddAt(access, position, step, value):
                at = self.operand(position)
                return AddAt(self.access(access), at, step, self.operand(value))
            case Loop():
                return self.loop(statement)
            case Blocks(axis, size, body):
                return Blocks(self.axes[axis], size, self.statements(body))
            case Native(routine, dtype, arguments):
                own = (self.access(a) if isinstance(a, Access) else a for a in arguments)
                return Native(routine, dtype, tuple(own))
            case Product():
                return self.product(statement)
        raise TypeError(statement)

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
        strides = tuple(access.strides[axis] for axis in self.axes)
        return Access(self.buffers[access.buffer], access.offset, strides)

    def name(self, name: Name) -> Name:
        return name._replace(number=self.values.setdefault(name.number, len(self.values)))

    def operand(self, operand: Any) -> Any:
        return self.name(operand) if isinstance(operand, Name) else operand
