"""Matrix products: register-tiled micro-kernels and the loops over tiles around them.

A product is computed tile by tile.  For each tile a shared internal function (the micro-kernel)
accumulates the whole inner dimension in registers and stores the block into a scratch buffer that
stays in L1; the caller's epilogue then reads it there.  Micro-kernels take strides and extents at
run time, so one serves every shape that wants its tile size, and there is one copy of the epilogue.

Edges need no masks and no smaller kernels.  The last tile of a row range is computed a little
earlier, over rows that exist, and the epilogue is shown only the rows that are new; the last
columns likewise, or from a panel of the right matrix that was packed with zeros beyond its edge.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from graphc.dims import Dim, Size
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.gemm_kernels import (
    MatmulShape,
    add_kernel,
    call,
    counted,
    dot_kernel,
    index,
    known,
    maximum,
    minimum,
    minus,
    plus,
    row_kernel,
    tile_kernel,
    times,
    when,
)
from graphc.runtime.llvm.gemm_packing import pack_kernel
from graphc.runtime.llvm.gemm_tiling import (
    WIDEST,
    Tiling,
    areas,
    heights,
    plan,
    round_up,
    tile_bytes,
)
from graphc.runtime.llvm.registers import BITS, Reg, constant
from graphc.runtime.llvm.target import HostTarget
from graphc.runtime.sizes import applied

__all__ = ["Epilogue", "MatmulShape", "Tile", "emit_matmul", "workspace_bytes"]


class Tile(NamedTuple):
    """A finished block of the product: element (r, c) is at pointer[r * stride + c].

    What lies beyond `columns` in a row may be read but means nothing.
    """

    pointer: Reg
    stride: Size
    row: Reg
    column: Reg
    rows: Reg
    columns: Reg


Epilogue = Callable[[Function, Tile], None]


def workspace_bytes(shape: MatmulShape, target: HostTarget, shares: int = 1) -> Size:
    """The scratch memory that `emit_matmul` needs (per thread), a multiple of 64."""
    if 0 in (shape.rows, shape.columns):
        return 0
    seen, tiling, _ = plan(shape, target, shares)
    return sum(areas(seen, tiling))


def emit_matmul(
    f: Function,
    shape: MatmulShape,
    left: Reg,
    right: Reg,
    epilogue: Epilogue,
    target: HostTarget,
    workspace: Reg,
    rows: tuple[Reg, Reg] | None = None,
    shares: int = 1,
    columns: tuple[Reg, Reg] | None = None,
) -> None:
    """Append to `f` the product of `left` and `right`, handing each finished tile to `epilogue`.

    Every element of the product is in exactly one tile.  `workspace` is 64-byte aligned memory of
    `workspace_bytes`, one per thread.  `rows` limits the work to rows low <= row < high, which
    exist, and `columns` likewise; `shares` is among how many threads the rows are divided.
    """
    if 0 in (shape.rows, shape.columns):
        return
    seen, tiling, transposed = plan(shape, target, shares)
    rows = rows or (index(0), f.number(shape.rows))
    columns = columns or (index(0), f.number(shape.columns))
    if transposed:
        left, right, rows, columns = right, left, columns, rows
    Matmul(f, seen, tiling, transposed, left, right, epilogue, workspace).emit(rows, columns)


Range = tuple[Reg, Reg]


class Panel(NamedTuple):
    """Some columns of the product: `columns` new ones from `column`, computed from `base` on."""

    column: Reg
    base: Reg
    columns: Reg
    kernel: Reg


class Band(NamedTuple):
    """A panel's part of right for `depth` values of k from `start`: its address and row stride."""

    start: Reg
    depth: Reg
    right: Reg
    right_stride: Size


class Matmul(NamedTuple):
    """Emits one product; `shape`, `left` and `right` are as computed, perhaps transposed."""

    f: Function
    shape: MatmulShape
    tiling: Tiling
    transposed: bool
    left: Reg
    right: Reg
    epilogue: Epilogue
    workspace: Reg

    @property
    def read(self) -> MatmulShape:
        """The shape as the kernels read it: what is packed has been widened."""
        left, right = self.shape.stored
        stored = "" if self.tiling.pack_left else left, "" if self.tiling.pack_right else right
        return self.shape._replace(stored=stored)

    @property
    def blocked(self) -> bool:
        return self.tiling.is_blocked

    def emit(self, rows: Range, columns: Range) -> None:
        if self.shape.inner == 0:
            self.clear_tile()
        if self.tiling.pack_left or self.blocked:
            self.row_blocks(rows, columns)
        else:
            self.panels(rows, columns)

    def row_blocks(self, rows: Range, columns: Range) -> None:
        with counted(self.f, *rows, self.tiling.row_block, is_some=True) as low:
            end = plus(self.f, low, self.f.number(self.tiling.row_block))
            block = low, minimum(self.f, end, rows[1])
            if self.tiling.pack_left:
                self.pack_left(block)
            self.panels(block, columns)

    def panels(self, rows: Range, columns: Range) -> None:
        """Panels of columns outside and rows inside, so that a panel stays in cache."""
        with counted(self.f, *columns, self.tiling.width, is_some=True) as column:
            panel = self.panel(column, columns[1])
            if self.blocked:
                self.tiles_by_blocks(panel, rows)
            else:
                band = self.band(panel, index(0))
                with counted(self.f, *rows, self.tiling.height, is_some=True) as row:
                    self.multiply(panel, band, row, rows[0], self.workspace)
                    self.finish(panel, row, rows[1], self.workspace)

    def tiles_by_blocks(self, panel: Panel, rows: Range) -> None:
        """All tiles of a panel, block after block of k; then the epilogue, tile by tile."""
        f = self.f
        size = f.number(self.tiling.height * self.tiling.width * self.shape.size)
        with counted(f, index(0), f.number(self.shape.inner), self.tiling.inner_block) as start:
            band = self.band(panel, start)
            later = f.icmp("sgt", start, index(0))
            with counted(f, *rows, self.tiling.height, is_some=True) as row:
                sums = self.sums(row, rows[0])
                self.multiply(panel, band, row, rows[0], f.select(later, self.workspace, sums))
                with when(f, later):
                    adder = add_kernel(f.module, self.shape, self.tiling.lanes)
                    call(f, adder, [sums, self.workspace, size])
        with counted(f, *rows, self.tiling.height, is_some=True) as row:
            self.finish(panel, row, rows[1], self.sums(row, rows[0]))

    # ---- columns ---------------------------------------------------------------------------------

    def panel(self, column: Reg, high: Reg) -> Panel:
        f, tiling = self.f, self.tiling
        left_over = minus(f, high, column)
        columns = minimum(f, left_over, index(tiling.width))
        kernel, width = self.choose_kernel(left_over)
        last = minus(f, f.number(self.shape.columns), width)
        padded = tiling.pack_right and not tiling.dot
        base = column if padded else minimum(f, column, last)
        return Panel(column, base, columns, kernel)

    def band(self, panel: Panel, start: Reg) -> Band:
        shape, tiling = self.shape, self.tiling
        left_over = minus(self.f, self.f.number(shape.inner), start)
        depth = minimum(self.f, left_over, self.f.number(tiling.inner_block))
        along_k, along_columns = shape.right_strides
        right = self.address(self.right, panel.base, along_columns, shape.right_elem)
        right = self.address(right, start, along_k, shape.right_elem)
        if tiling.pack_right:
            return Band(start, depth, *self.pack_right(right, depth, panel.columns))
        stride = shape.right_strides[1 if tiling.dot else 0] * nbytes(shape.right_elem)
        return Band(start, depth, right, stride)

    def choose_kernel(self, columns: Reg) -> tuple[Reg, Reg]:
        """The micro-kernel for the columns that are left, and the width that it computes."""
        f, tiling = self.f, self.tiling
        full, tail = index(tiling.width), index(tiling.tail_vectors * tiling.lanes)
        if tiling.vectors == tiling.tail_vectors:
            return self.kernel(tiling.vectors), full
        if known(columns, tail) and int(columns.text) > int(tail.text):
            return self.kernel(tiling.vectors), full
        if known(columns, tail):
            return self.kernel(tiling.tail_vectors), tail
        fits = f.icmp("sle", columns, tail)
        kernels = self.kernel(tiling.tail_vectors), self.kernel(tiling.vectors)
        return f.select(fits, *kernels), f.select(fits, tail, full)

    def kernel(self, vectors: int) -> Reg:
        """The micro-kernel of this width, of the height that the table of sizes says."""
        f, height = self.f, self.tiling.height
        if not isinstance(height, Dim):
            return self.kernel_of(height, vectors)
        *others, chosen = [self.kernel_of(h, vectors) for h in heights(self.tiling)]
        for known_height, kernel in zip(heights(self.tiling), others, strict=False):
            is_it = f.icmp("eq", f.number(height), index(known_height))
            chosen = f.select(is_it, kernel, chosen)
        return chosen

    def kernel_of(self, height: int, vectors: int) -> Reg:
        module, shape, tiling = self.f.module, self.read, self.tiling
        if tiling.dot:
            return dot_kernel(module, shape, height, tiling.dot, tiling.lanes)
        if vectors > WIDEST:
            return row_kernel(module, shape, tiling.lanes)
        return tile_kernel(module, shape, height, vectors, tiling.lanes)

    # ---- rows ------------------------------------------------------------------------------------

    def multiply(self, panel: Panel, band: Band, row: Reg, low: Reg, out: Reg) -> None:
        """The two kinds of kernel differ in one stride: along k, or between columns of the tile."""
        if self.shape.inner == 0:
            return
        left, row_stride, k_stride = self.left_of(row, low, band.start)
        number = self.f.number
        common = [band.right, number(band.right_stride), band.depth, out]
        out_row, out_column = (number(stride * self.shape.size) for stride in self.tile_strides())
        if self.tiling.dot:
            arguments = [left, number(row_stride), *common, out_row, out_column]
        else:
            arguments = [left, number(row_stride), number(k_stride), *common, out_row]
        call(self.f, panel.kernel, arguments)

    def finish(self, panel: Panel, row: Reg, high: Reg, sums: Reg) -> None:
        f, height = self.f, self.f.number(self.tiling.height)
        row_stride, column_stride = self.tile_strides()
        pointer = self.address(sums, minus(f, row, self.first_row(row)), row_stride)
        pointer = self.address(pointer, minus(f, panel.column, panel.base), column_stride)
        rows = minimum(f, minus(f, high, row), height)
        if self.transposed:
            tile = Tile(pointer, column_stride, panel.column, row, panel.columns, rows)
        else:
            tile = Tile(pointer, row_stride, row, panel.column, rows, panel.columns)
        self.epilogue(f, tile)

    def first_row(self, row: Reg) -> Reg:
        """The first row that is computed in the tile for `row`: the tile is always full."""
        return minimum(self.f, row, self.f.number(self.shape.rows - self.tiling.height))

    def left_of(self, row: Reg, low: Reg, start: Reg) -> tuple[Reg, Size, Size]:
        """The address of the tile's part of left, and its strides in bytes along rows and k."""
        f, shape, tiling = self.f, self.shape, self.tiling
        first, (row_step, k_step) = self.first_row(row), shape.left_strides
        if tiling.pack_left:
            first = minus(f, first, self.first_packed(row))
            left, row_step, k_step = self.packed_left(row, low), 1, tiling.left_width
        else:
            left = self.left
        elem = self.read.left_elem
        left = self.address(self.address(left, first, row_step, elem), start, k_step, elem)
        return left, row_step * nbytes(elem), k_step * nbytes(elem)

    def sums(self, row: Reg, low: Reg) -> Reg:
        """Where the sums of the tile for `row` are kept, in the block that starts at `low`."""
        size = tile_bytes(self.shape, self.tiling)
        kept = self.f.offset(self.workspace, "i8", self.f.number(size))
        return self.f.offset(kept, "i8", times(self.f, self.tile_number(row, low), size))

    def tile_number(self, row: Reg, low: Reg) -> Reg:
        distance = minus(self.f, row, low)
        height = self.f.number(self.tiling.height)
        if known(distance, height):
            return index(int(distance.text) // int(height.text))
        return self.f.binary("udiv exact", distance, height)

    def tile_strides(self) -> tuple[Size, Size]:
        """Of the tile as computed; dot products can store theirs already transposed."""
        if self.tiling.dot and self.transposed:
            return 1, self.tiling.height
        return self.tiling.width, 1

    def clear_tile(self) -> None:
        """An empty sum is zero, in each tile the same."""
        zero = constant(0, self.shape.elem)
        with counted(self.f, index(0), index(self.tiling.highest * self.tiling.width), 1) as i:
            self.f.store(zero, self.address(self.workspace, i, 1))

    # ---- packing ---------------------------------------------------------------------------------

    def pack_right(self, source: Reg, depth: Reg, columns: Reg) -> tuple[Reg, Size]:
        """Copy a part of right; its new address and the stride between its rows, in bytes.

        For dot products those rows are the columns of right.
        """
        shape, tiling = self.shape, self.tiling
        packed = self.f.offset(self.workspace, "i8", self.f.number(areas(shape, tiling)[0]))
        width: Size = tiling.width
        strides = shape.right_strides
        if tiling.dot:
            width, strides = applied(round_up, shape.inner, tiling.lanes), strides[::-1]
            depth, columns = index(tiling.dot), depth
        self.pack(source, shape.right_elem, strides, depth, columns, packed, width)
        return packed, width * shape.size

    def pack_left(self, rows: Range) -> None:
        """Copy a block of left, tile by tile: its rows become columns there."""
        tiling, (row_stride, k_stride) = self.tiling, self.shape.left_strides
        with counted(self.f, *rows, tiling.height, is_some=True) as row:
            elem = self.shape.left_elem
            source = self.address(self.left, self.first_packed(row), row_stride, elem)
            packed = self.packed_left(row, rows[0])
            width = tiling.left_width
            strides = k_stride, row_stride
            inner = self.f.number(self.shape.inner)
            columns = minimum(self.f, index(width), self.f.number(self.shape.rows))
            self.pack(source, elem, strides, inner, columns, packed, width)

    def first_packed(self, row: Reg) -> Reg:
        """The first row in the packed tile for `row`: full, where there are so many rows."""
        last = maximum(self.f, index(0), self.f.number(self.shape.rows - self.tiling.left_width))
        return minimum(self.f, row, last)

    def packed_left(self, row: Reg, low: Reg) -> Reg:
        """Where the packed tile for `row` is, in the block that starts at `low`."""
        f, shape, tiling = self.f, self.shape, self.tiling
        tile, right, _ = areas(shape, tiling)
        packed = f.offset(self.workspace, "i8", f.number(tile + right))
        return self.address(packed, self.tile_number(row, low), shape.inner * tiling.left_width)

    def pack(
        self,
        source: Reg,
        elem: str,
        strides: tuple[Size, Size],
        rows: Reg,
        columns: Reg,
        packed: Reg,
        width: Size,
    ) -> None:
        shape = self.shape
        if shape.inner == 0:
            return
        packer = pack_kernel(self.f.module, shape, strides, self.tiling.lanes, elem)
        steps = [self.f.number(stride * nbytes(elem)) for stride in strides]
        call(self.f, packer, [source, *steps, rows, columns, packed, self.f.number(width)])

    def address(self, base: Reg, position: Reg, stride: Size, elem: str = "") -> Reg:
        """Where an element is; those of tiles are of the type of the product."""
        return self.f.offset(base, elem or self.shape.elem, times(self.f, position, stride))


def nbytes(elem: str) -> int:
    return BITS[elem] // 8
