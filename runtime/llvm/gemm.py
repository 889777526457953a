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
    minimum,
    minus,
    plus,
    row_kernel,
    tile_kernel,
    times,
    when,
)
from graphc.runtime.llvm.gemm_operands import Band, Operands, Range
from graphc.runtime.llvm.gemm_tiling import WIDEST, Tiling, areas, heights, plan, tile_bytes
from graphc.runtime.llvm.registers import Reg, constant
from graphc.runtime.llvm.target import HostTarget

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
    operands = Operands(f, seen, tiling, left, right, workspace)
    Matmul(f, seen, tiling, transposed, operands, epilogue, workspace, target).emit(rows, columns)


class Panel(NamedTuple):
    """Some columns of the product: `columns` new ones from `column`, computed from `base` on."""

    column: Reg
    base: Reg
    columns: Reg
    kernel: Reg


class Matmul(NamedTuple):
    """Emits one product; `shape` is as computed, perhaps transposed."""

    f: Function
    shape: MatmulShape
    tiling: Tiling
    transposed: bool
    operands: Operands
    epilogue: Epilogue
    workspace: Reg
    target: HostTarget

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
                self.operands.pack_left(block)
            self.panels(block, columns)

    def panels(self, rows: Range, columns: Range) -> None:
        """Panels of columns outside and rows inside, so that a panel stays in cache."""
        width = self.tiling.width
        is_whole = known(*columns) and (int(columns[1].text) - int(columns[0].text)) % width == 0
        with counted(self.f, *columns, width, is_some=True) as column:
            panel = self.whole_panel(column) if is_whole else self.panel(column, columns[1])
            if self.blocked:
                self.tiles_by_blocks(panel, rows)
            else:
                band = self.operands.band(panel.base, panel.columns, index(0))
                with counted(self.f, *rows, self.tiling.height, is_some=True) as row:
                    self.multiply(panel, band, row, rows[0], self.workspace)
                    self.finish(panel, row, rows[1], self.workspace)

    def tiles_by_blocks(self, panel: Panel, rows: Range) -> None:
        """All tiles of a panel, block after block of k; then the epilogue, tile by tile."""
        f = self.f
        size = f.number(self.tiling.height * self.tiling.width * self.shape.size)
        with counted(f, index(0), f.number(self.shape.inner), self.tiling.inner_block) as start:
            band = self.operands.band(panel.base, panel.columns, start)
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

    def whole_panel(self, column: Reg) -> Panel:
        """A panel of a product whose columns are whole panels."""
        tiling = self.tiling
        return Panel(column, column, index(tiling.width), self.kernel(tiling.vectors))

    def panel(self, column: Reg, high: Reg) -> Panel:
        f, tiling = self.f, self.tiling
        left_over = minus(f, high, column)
        columns = minimum(f, left_over, index(tiling.width))
        kernel, width = self.choose_kernel(left_over)
        last = minus(f, f.number(self.shape.columns), width)
        padded = tiling.pack_right and not tiling.dot
        base = column if padded else minimum(f, column, last)
        return Panel(column, base, columns, kernel)

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
        module, shape, tiling = self.f.module, self.operands.read, self.tiling
        if tiling.dot:
            return dot_kernel(module, shape, height, tiling.dot, tiling.lanes)
        if vectors > WIDEST:
            return row_kernel(module, shape, tiling.lanes)
        size = height, vectors, tiling.lanes
        return tile_kernel(module, shape, *size, tiling.asks_ahead, self.target)

    # ---- rows ------------------------------------------------------------------------------------

    def multiply(self, panel: Panel, band: Band, row: Reg, low: Reg, out: Reg) -> None:
        """The two kinds of kernel differ in one stride: along k, or between columns of the tile."""
        if self.shape.inner == 0:
            return
        left, row_stride, k_stride = self.operands.left_of(row, low, band.start)
        number = self.f.number
        common = [band.right, number(band.right_stride), band.depth, out]
        out_row, out_column = (number(stride * self.shape.size) for stride in self.tile_strides())
        if self.tiling.dot:
            arguments = [left, number(row_stride), *common, out_row, out_column]
        else:
            arguments = [left, number(row_stride), number(k_stride), *common, out_row]
        if self.tiling.asks_ahead:
            tile = self.operands.tile_number(row, low)
            arguments += self.operands.coming(panel.column, tile)
        call(self.f, panel.kernel, arguments)

    def finish(self, panel: Panel, row: Reg, high: Reg, sums: Reg) -> None:
        f, operands, height = self.f, self.operands, self.f.number(self.tiling.height)
        row_stride, column_stride = self.tile_strides()
        if self.tiling.turns:
            sums, row_stride, column_stride = self.turned(sums), 1, self.shape.rows
        pointer = operands.address(sums, minus(f, row, operands.first_row(row)), row_stride)
        pointer = operands.address(pointer, minus(f, panel.column, panel.base), column_stride)
        rows = minimum(f, minus(f, high, row), height)
        if self.transposed:
            tile = Tile(pointer, column_stride, panel.column, row, panel.columns, rows)
        else:
            tile = Tile(pointer, row_stride, row, panel.column, rows, panel.columns)
        self.epilogue(f, tile)

    def turned(self, sums: Reg) -> Reg:
        """The transposed tile, behind the tile: its columns become rows, side by side.

        All rows of the product are in one tile.  What is packed beyond them is written over by
        the next row.
        """
        f, shape, tiling = self.f, self.shape._replace(stored=("", "")), self.tiling
        turned = f.offset(sums, "i8", f.number(tile_bytes(shape, tiling)))
        strides = 1, tiling.width
        numbers = index(tiling.width), index(max(tiling.lanes, tiling.highest))
        self.operands.pack(sums, shape.elem, strides, *numbers, turned, shape.rows)
        return turned

    def sums(self, row: Reg, low: Reg) -> Reg:
        """Where the sums of the tile for `row` are kept, in the block that starts at `low`."""
        size = tile_bytes(self.shape, self.tiling)
        kept = self.f.offset(self.workspace, "i8", self.f.number(size))
        return self.f.offset(kept, "i8", times(self.f, self.operands.tile_number(row, low), size))

    def tile_strides(self) -> tuple[Size, Size]:
        """Of the tile as computed; dot products can store theirs already transposed."""
        if self.tiling.dot and self.transposed:
            return 1, self.tiling.height
        return (self.shape.columns if self.is_compact else self.tiling.width), 1

    @property
    def is_compact(self) -> bool:
        """Whether rows of a tile lie side by side though they are narrower than their vectors.

        Kernels store them in order: what is behind one row makes way for the next.
        """
        if self.transposed or self.blocked or self.tiling.dot or self.tiling.vectors > WIDEST:
            return False
        columns = self.shape.columns
        return not isinstance(columns, Dim) and columns < self.tiling.width

    def clear_tile(self) -> None:
        """An empty sum is zero, in each tile the same."""
        zero = constant(0, self.shape.elem)
        with counted(self.f, index(0), index(self.tiling.highest * self.tiling.width), 1) as i:
            self.f.store(zero, self.operands.address(self.workspace, i, 1))
