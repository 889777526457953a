"""From a fused sequence of row-wise kernels to one kernel, which runs block of rows by block.

The body of a `fused` equation of kind "rows" holds kernels (and free views) whose domains begin
with the same axes: those of a batch, and then the rows.  Each is scheduled by itself; then they
run one after the other on a block of rows, and the values between them live in scratch memory
that holds one block:

    for i0 < 8 {                                    # batch
      for blocks of 64 of i1 < 1024 {               # rows
        t1 = tiles of q[i0] @ k[i0] { store scores }
        for i1 < 1024 { softmax of a row of scores }
        t9 = tiles of scores @ v[i0] { store y[i0] }
      }
    }
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from graphc.dims import Dim, Size
from graphc.ir import Eqn, Graph, Type, Var
from graphc.ops import control
from graphc.runtime.kernel import (
    Blocks,
    Kernel,
    Loop,
    Product,
    Statement,
)
from graphc.runtime.layout import Layout, view
from graphc.runtime.nest import Buffers, extent
from graphc.runtime.renaming import Renaming
from graphc.runtime.schedule import schedule_nest
from graphc.runtime.schedule_matmul import schedule_product
from graphc.runtime.sizes import applied, same

BLOCK_BYTES = 256 * 1024
"""The most scratch memory for a block: a part of the L2 cache."""

SETS_BYTES = 4096
"""Rows a multiple of this apart would share one set of the L1 cache."""


def schedule_rows(
    name: str, eqn: Eqn, operands: Sequence[Layout], results: Sequence[Layout]
) -> Kernel:
    """The kernel of a `fused` equation of kind "rows"."""
    body: Graph = eqn.attrs["body"]
    leading = tuple(eqn.attrs["domain"])
    rank = len(leading)
    values = between(body)
    size = block_size(leading[-1], sum(_row_bytes(value.type, rank) for value in values))
    rows = _Rows(rank)
    for param, layout in zip(body.params, operands, strict=True):
        rows.add_buffer(param, layout, extent(layout), "in")
    for out, layout in zip(body.outs, results, strict=True):
        assert isinstance(out, Var)
        rows.add_buffer(out, layout, extent(layout), "out")
    for value in values:
        layout = _block_layout(value.type, rank)
        rows.add_buffer(value, layout, size * _row_size(value.type, rank), "scratch")
    for inner in body.eqns:
        rows.add(inner)
    return rows.joined(name, leading, size)


def between(body: Graph) -> list[Var]:
    """The values that one kernel makes for another, and nobody else."""
    made = [out for eqn in body.eqns if eqn.op is control.fused for out in eqn.outs]
    return [out for out in made if out not in body.outs]


def block_size(rows: Size, row_bytes: Size) -> Size:
    """Rows in a block: equal blocks, none larger than `BLOCK_BYTES` unless one row is.

    A block of a named number of rows has two at least, as has whatever a name stands for.
    """
    fewest = 2 if isinstance(rows, Dim) or isinstance(row_bytes, Dim) else 1
    return applied(rows_in_block, rows, row_bytes, fewest)  # type: ignore[no-any-return]


def rows_in_block(rows: int, row_bytes: int, fewest: int) -> int:
    """How many of some rows a block has."""
    most = max(BLOCK_BYTES // max(row_bytes, 1), fewest)
    blocks = -(-rows // most)
    return min(max(-(-rows // blocks), fewest), rows)


# ---- a block of a value --------------------------------------------------------------------------


def _block_layout(type: Type, rank: int) -> Layout:
    """A value whose first `rank` axes (of those longer than 1) are batch and rows, in a block.

    The block is used again for each index of the batch.
    """
    step: Size = 1
    strides: list[Size] = []
    left = sum(not same(n, 1) for n in type.shape)
    for n in reversed(type.shape):
        if same(n, 1):
            strides.append(0)
            continue
        strides.append(step if left > rank else _row_size(type, rank) if left == rank else 0)
        step *= n
        left -= 1
    return Layout(type.shape, tuple(reversed(strides)))


def _row_size(type: Type, rank: int) -> Size:
    """The elements from one row of a block to the next."""
    size: Size = 1
    for n in [n for n in type.shape if not same(n, 1)][rank:]:
        size = size * n
    return applied(row_step, size, type.numpy_dtype.itemsize)  # type: ignore[no-any-return]


def row_step(size: int, itemsize: int) -> int:
    """From one row to the next, so that neighbours share no set of the cache."""
    return size + 64 // itemsize if size * itemsize % SETS_BYTES == 0 else size


def _row_bytes(type: Type, rank: int) -> Size:
    return _row_size(type, rank) * type.numpy_dtype.itemsize


# ---- joining kernels -----------------------------------------------------------------------------


@dataclass
class _Rows:
    """The kernel under construction: its buffers, and the kernels that it runs on each block."""

    rank: int
    buffers: Buffers = field(default_factory=Buffers)
    places: dict[Var, tuple[int, Layout]] = field(default_factory=dict)
    parts: list[tuple[Kernel, list[int]]] = field(default_factory=list)

    def add_buffer(self, value: Var, layout: Layout, size: Size, role: str) -> None:
        letter = {"in": "x", "out": "y", "scratch": "block"}[role]
        self.places[value] = self.buffers.add(letter, value.type.dtype, size, role), layout

    def add(self, eqn: Eqn) -> None:
        """Schedule a kernel, or note where a view lies."""
        places = [self.places[atom] for atom in eqn.ins if isinstance(atom, Var)]
        if eqn.op is not control.fused:
            ((buffer, below),) = places
            layout = view(eqn, below)
            assert layout is not None, "only views that need no copy are taken into a kernel"
            self.places[eqn.out] = buffer, layout
            return
        places += [self.places[out] for out in eqn.outs]
        layouts, count = [layout for _, layout in places], len(eqn.ins)
        schedule = schedule_product if eqn.attrs["kind"] == "matmul" else schedule_nest
        kernel = schedule("part", eqn, layouts[:count], layouts[count:])
        buffers = [buffer for buffer, _ in places]
        for own in kernel.buffers[len(buffers) :]:
            buffers.append(self.buffers.add("row", own.dtype, own.size, "scratch"))
        self.parts.append((kernel, buffers))

    def joined(self, name: str, leading: tuple[Size, ...], size: Size) -> Kernel:
        """One kernel: what the parts do outside of their rows first, then all of them in blocks."""
        inner = [n for kernel, _ in self.parts for n in kernel.domain[self.rank :]]
        domain = (*leading, *inner)
        outer: list[Statement] = []
        block: list[Statement] = []
        row, next_axis, names = self.rank - 1, self.rank, 0
        for kernel, buffers in self.parts:
            count = len(kernel.domain) - self.rank
            axes = (*range(self.rank), *range(next_axis, next_axis + count))
            own = dict(enumerate(axes)), dict(enumerate(buffers))
            moved = Renaming(*own, rank=len(domain), values={}, first=names)
            between_loops, rows = _without_batch(kernel.body, row)
            outer += moved.statements(between_loops)
            block += [_blockwise(s, row, size) for s in moved.statements(rows)]
            next_axis, names = next_axis + count, names + len(moved.values)
        statements: tuple[Statement, ...] = (*outer, Blocks(row, size, tuple(block)))
        if row:
            statements = (Loop(tuple(range(row)), False, statements),)
        return Kernel(name, domain, tuple(self.buffers.buffers), statements)


def _without_batch(
    statements: Sequence[Statement], batch: int
) -> tuple[list[Statement], Sequence[Statement]]:
    """What stands between the loops over the first `batch` axes, and what is in the last."""
    outer: list[Statement] = []
    while isinstance(loop := statements[-1], Loop) and max(loop.axes) < batch:
        outer += statements[:-1]
        statements = loop.body
    return outer, statements


def _blockwise(statement: Statement, row: int, size: Size) -> Statement:
    """A product has as many rows as a block; its left operand begins where the block does."""
    if not isinstance(statement, Product):
        return statement
    strides = [*statement.left.strides]
    strides[row] = statement.left_strides[0]
    return statement._replace(left=statement.left._replace(strides=tuple(strides)), rows=size)
