"""From the kernel IR to LLVM functions for a CPU.

`kernel_values.py` has arithmetic and memory, `kernel_vectors.py` and `kernel_loops.py` the loops
around them, and this file what calls routines and matrix products, and a kernel as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

from graphc.dims import Dim, Size
from graphc.runtime.kernel import (
    Access,
    AddAt,
    Blocks,
    Compute,
    Index,
    Kernel,
    Load,
    Loop,
    Native,
    Product,
    Statement,
    Store,
    Transpose,
    accesses,
)
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.gemm import MatmulShape, Tile, emit_matmul, workspace_bytes
from graphc.runtime.llvm.gemm_kernels import known
from graphc.runtime.llvm.kernel_loops import HIGH, LOW, LoopEmitter
from graphc.runtime.llvm.math import ELEMS
from graphc.runtime.llvm.module import Module
from graphc.runtime.llvm.registers import Reg, constant, lane_constants
from graphc.runtime.llvm.routines import ANY_SIZE, call_routine
from graphc.runtime.llvm.target import HostTarget
from graphc.runtime.sizes import applied, largest, same

STRAIGHT_VECTORS = 2
"""Rows of tiles that are known to be no wider than so many vectors are finished without a loop."""

WORK = Reg("%work", "ptr")
SIZES = Reg("%sizes", "ptr")
"""The table of sizes, for kernels of a step whose sizes have names."""


def product_shape(kernel: Kernel, product: Product) -> MatmulShape:
    left, right = (kernel.buffers[a.buffer].dtype for a in (product.left, product.right))
    dtype = product.out.dtype
    return MatmulShape(
        product.rows,
        product.inner,
        product.columns,
        dtype,
        product.left_strides,
        product.right_strides,
        (left if left != dtype else "", right if right != dtype else ""),
    )


def workspace_size(kernel: Kernel, target: HostTarget) -> Size:
    """The bytes of 64-byte aligned working memory that a kernel needs."""
    needed = [
        workspace_bytes(product_shape(kernel, p), target, row_shares(kernel, p))
        for p in _products(kernel.body)
    ]
    return applied(largest, *needed)  # type: ignore[no-any-return]


def row_shares(kernel: Kernel, product: Product) -> int:
    """Among how many shares the rows of a product are divided."""
    division, axis = kernel.division, product.row_axis
    if division is None or axis is None or division.axis != axis:
        return 1
    in_block = not same(product.rows, kernel.domain[axis])
    return 1 if in_block else division.shares


def _products(statements: Sequence[Statement]) -> Iterator[Product]:
    for statement in statements:
        if isinstance(statement, Product):
            yield statement
        elif isinstance(statement, (Loop, Blocks)):
            yield from _products(statement.body)


def is_flat(product: Product, tile: Tile, width: int) -> bool:
    """Whether the rows of a tile lie side by side in all that is done with it, and not in vectors.

    Row by row, what is read of an updated array would share lines with what has just been written.
    """
    row, column, columns = product.row_axis, product.column_axis, product.columns
    if row is None or column is None or isinstance(columns, Dim) or columns % width == 0:
        return False
    if tile.columns.text != str(columns) or tile.stride != columns:
        return False
    return all(_is_along_rows(s, row, column, columns) for s in product.epilogue)


def _is_along_rows(statement: Statement, row: int, column: int, columns: int) -> bool:
    """Whether a statement of an epilogue may run over rows that lie side by side as over one."""
    match statement:
        case Compute():
            return True
        case Load(access=access, position=None, guard=None):
            return (access.strides[row], access.strides[column]) in ((columns, 1), (0, 0))
        case Store(access=access):
            return (access.strides[row], access.strides[column]) == (columns, 1)
    return False


def is_sized(module: Module) -> bool:
    """Whether kernels are given a table of sizes."""
    return module.sizing is not None and not module.sizing.is_fixed


def emit_kernel(module: Module, kernel: Kernel, target: HostTarget, flags: str = "") -> None:
    """Add the function of a kernel: a pointer for each buffer, then one to its workspace, and one
    to the table of sizes if there is one.

    A divided kernel also takes the range low <= index < high of its share, which is not empty.
    """
    parameters = [Reg(f"%b{i}", "ptr") for i in range(len(kernel.buffers))]
    parameters.append(WORK)
    if is_sized(module):
        parameters.append(SIZES)
    if kernel.division is not None:
        parameters += [LOW, HIGH]
    f = Function(module, kernel.name, parameters, flags=flags)
    f.sizes = SIZES
    _Emitter(f, kernel, target).emit()
    if any(buffer.streams for buffer in kernel.buffers):
        f.fence()
    f.line("ret void")
    module.add(f)


class _Emitter(LoopEmitter):
    """Emits the statements of one kernel."""

    def emit(self) -> None:
        for access in accesses(self.kernel.body):
            base = self.f.parameters[access.buffer]
            self.pointers[access] = self._advance(access, base, self.f.number(access.offset))
        self.block(self.kernel.body)

    def statement(self, statement: Statement) -> None:
        match statement:
            case Load():
                self.values[statement.out.number] = self.load(statement)
            case Compute():
                self.values[statement.out.number] = self.compute(statement)
            case Index(out, axis):
                self.values[out.number] = self.index(axis)
            case Store(access, value):
                self.store(access, self.operand(value))
            case AddAt():
                self.add_at(statement)
            case Loop():
                self.loop(statement)
            case Blocks():
                self.blocks(statement)
            case Product():
                self.product(statement)
            case Transpose() | Native():
                self.routine(statement)

    # ---- routines --------------------------------------------------------------------------------

    def routine(self, statement: Transpose | Native) -> None:
        """Call a routine on the places where the pointers are; a tile is transposed by one."""
        if isinstance(statement, Native):
            name, dtype, arguments = statement
        else:
            source, target, row, column = statement
            sizes, steps = (
                (self.sizes[row], self.sizes[column]),
                (source.strides[column], target.strides[row]),
            )
            name, dtype = "transpose", self.kernel.buffers[source.buffer].dtype
            arguments = (source, target, *sizes, *steps, self.target.vector_bytes)
        call_routine(self.f, name, dtype, [self.routine_argument(name, a) for a in arguments])

    def routine_argument(self, routine: str, argument: Access | Size | str) -> Reg | int | str:
        """Most routines are written for numbers."""
        if isinstance(argument, Access):
            return self.pointers[argument]
        if not isinstance(argument, Dim):
            return argument
        return self.f.number(argument) if routine in ANY_SIZE else int(argument)

    # ---- matrix products -------------------------------------------------------------------------

    def product(self, product: Product) -> None:
        emit_matmul(
            self.f,
            product_shape(self.kernel, product),
            self.pointers[product.left],
            self.pointers[product.right],
            self.epilogue(product),
            self.target,
            WORK,
            rows=self.share_of(product.row_axis),
            columns=self.share_of(product.column_axis),
            shares=row_shares(self.kernel, product),
        )

    def share_of(self, axis: int | None) -> tuple[Reg, Reg] | None:
        return None if axis is None or axis != self.divided_axis else (LOW, HIGH)

    def epilogue(self, product: Product) -> Callable[[Function, Tile], None]:
        """What runs over a finished tile: row by row, in masked vectors along the columns."""

        def run(f: Function, tile: Tile) -> None:
            with (
                self.shifted(product.row_axis, tile.row, product.epilogue),
                self.shifted(product.column_axis, tile.column, product.epilogue),
            ):
                if is_flat(product, tile, self.width):
                    self.tile_vectors(product, tile.pointer, f.mul(tile.rows, tile.columns))
                else:
                    self.tile_rows(product, tile)

        return run

    def tile_rows(self, product: Product, tile: Tile) -> None:
        with self.f.loop(constant(0, "i64"), tile.rows, 1) as row:
            distance = self.f.mul(row.index, self.f.number(tile.stride))
            pointer = self.f.offset(tile.pointer, self._elem(product), distance)
            with self.shifted(product.row_axis, row.index, product.epilogue):
                self.tile_row(product, tile, pointer)

    def _elem(self, product: Product) -> str:
        return ELEMS[product.out.dtype]

    def shifted(
        self, axis: int | None, index: Reg, statements: Sequence[Statement]
    ) -> AbstractContextManager[None]:
        """`bound`; nothing for an axis of size 1."""
        return nullcontext() if axis is None else self.bound(axis, index, accesses(statements))

    def tile_row(self, product: Product, tile: Tile, pointer: Reg) -> None:
        f = self.f
        axis = product.column_axis
        if axis is None:
            self.values[product.out.number] = f.load(pointer, self._elem(product))
            self.block(product.epilogue)
            return
        if known(tile.columns) and int(tile.columns.text) <= STRAIGHT_VECTORS * self.width:
            for start in range(0, int(tile.columns.text), self.width):
                mask = self.mask_of_rest(int(tile.columns.text) - start)
                self.tile_vector(product, pointer, constant(start, "i64"), mask)
            return
        self.tile_vectors(product, pointer, tile.columns)

    def tile_vectors(self, product: Product, pointer: Reg, count: Reg) -> None:
        """The epilogue on `count` elements side by side."""
        with self.f.loop(constant(0, "i64"), count, self.width) as column:
            mask = self.lanes_below(self.f.sub(count, column.index))
            self.tile_vector(product, pointer, column.index, mask)

    def mask_of_rest(self, rest: int) -> Reg | None:
        """The lanes of a vector that are still in a row of which `rest` elements are left."""
        if rest >= self.width:
            return None
        return lane_constants([int(lane < rest) for lane in range(self.width)], "i1")

    def tile_vector(self, product: Product, pointer: Reg, column: Reg, mask: Reg | None) -> None:
        """The epilogue on one vector of a row."""
        f, axis, elem = self.f, product.column_axis, self._elem(product)
        assert axis is not None
        at = f.offset(pointer, elem, column)
        with self.shifted(axis, column, product.epilogue), self.vectors(axis, mask):
            if mask is None:
                value = f.load(at, elem, self.width)
            else:
                value = f.masked_load(at, elem, self.width, mask)
            self.values[product.out.number] = value
            self.block(product.epilogue)
