"""Where the micro-kernels of a matrix product read its two operands: in place, or packed."""

from __future__ import annotations

from typing import NamedTuple

from graphc.dims import Size
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.gemm_kernels import (
    MatmulShape,
    at,
    call,
    counted,
    index,
    known,
    maximum,
    minimum,
    minus,
    plus,
    times,
)
from graphc.runtime.llvm.gemm_packing import pack_kernel, pack_pieces
from graphc.runtime.llvm.gemm_tiling import LINE_BYTES, Tiling, areas, round_up
from graphc.runtime.llvm.registers import BITS, Reg
from graphc.runtime.sizes import applied, same

Range = tuple[Reg, Reg]


class Band(NamedTuple):
    """A panel's part of right for `depth` values of k from `start`: its address and row stride."""

    start: Reg
    depth: Reg
    right: Reg
    right_stride: Size


class Operands(NamedTuple):
    """The operands of a product as computed, perhaps transposed, and the memory for packing."""

    f: Function
    shape: MatmulShape
    tiling: Tiling
    left: Reg
    right: Reg
    workspace: Reg

    @property
    def read(self) -> MatmulShape:
        """The shape as the kernels read it: what is packed has been widened."""
        left, right = self.shape.stored
        stored = "" if self.tiling.pack_left else left, "" if self.tiling.pack_right else right
        return self.shape._replace(stored=stored)

    def address(self, base: Reg, position: Reg, stride: Size, elem: str = "") -> Reg:
        """Where an element is; those of tiles are of the type of the product."""
        return self.f.offset(base, elem or self.shape.elem, times(self.f, position, stride))

    # ---- right -----------------------------------------------------------------------------------

    def band(self, base: Reg, columns: Reg, start: Reg) -> Band:
        """The part of right for the columns from `base`, of which `columns` are new."""
        shape, tiling = self.shape, self.tiling
        left_over = minus(self.f, self.f.number(shape.inner), start)
        depth = minimum(self.f, left_over, self.f.number(tiling.inner_block))
        along_k, along_columns = shape.right_strides
        right = self.address(self.right, base, along_columns, shape.right_elem)
        right = self.address(right, start, along_k, shape.right_elem)
        if tiling.pack_right:
            return Band(start, depth, *self.pack_right(right, depth, columns))
        stride = shape.right_strides[1 if tiling.dot else 0] * nbytes(shape.right_elem)
        return Band(start, depth, right, stride)

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

    def coming(self, column: Reg, tile: Reg) -> list[Reg]:
        """What the kernel for a tile is to ask for: a part of the panel after that at `column`.

        Its address and step along k.  Each tile takes one cache line of every row, or a column of
        its own, until the panel is through; the addresses may lie beyond the matrix.
        """
        f, shape, width = self.f, self.shape, self.tiling.width
        each = nbytes(shape.right_elem)
        along_k, along_columns = (stride * each for stride in shape.right_strides)
        parts, step = width, along_columns
        if same(shape.right_strides[1], 1):
            parts, step = width * each // LINE_BYTES + 1, LINE_BYTES
        following = at(f, self.right, times(f, plus(f, column, index(width)), along_columns))
        is_some = f.icmp("slt", tile, index(parts))
        part = at(f, following, times(f, tile, step))
        return [
            f.select(is_some, part, self.workspace),
            f.select(is_some, f.number(along_k), index(0)),
        ]

    # ---- left ------------------------------------------------------------------------------------

    def first_row(self, row: Reg) -> Reg:
        """The first row that is computed in the tile for `row`: the tile is always full."""
        return minimum(self.f, row, self.f.number(self.shape.rows - self.tiling.height))

    def tile_number(self, row: Reg, low: Reg) -> Reg:
        distance = minus(self.f, row, low)
        height = self.f.number(self.tiling.height)
        if known(distance, height):
            return index(int(distance.text) // int(height.text))
        return self.f.binary("udiv exact", distance, height)

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

    def pack_left(self, rows: Range) -> None:
        """Copy a block of left, tile by tile: its rows become columns there."""
        tiling, (row_stride, k_stride) = self.tiling, self.shape.left_strides
        begin, is_some = rows[0], True
        if tiling.left_group > 1:
            begin, is_some = self.pack_left_groups(rows), False
        with counted(self.f, begin, rows[1], tiling.height, is_some) as row:
            elem = self.shape.left_elem
            source = self.address(self.left, self.first_packed(row), row_stride, elem)
            packed = self.packed_left(row, rows[0])
            width = tiling.left_width
            strides = k_stride, row_stride
            inner = self.f.number(self.shape.inner)
            columns = minimum(self.f, index(width), self.f.number(self.shape.rows))
            self.pack(source, elem, strides, inner, columns, packed, width)

    def pack_left_groups(self, rows: Range) -> Reg:
        """Pack several tiles at a time, as long as there are whole groups; the row behind them.

        A packed tile is wider than a tile is high: behind a group there must be so many rows more.
        """
        f, shape, tiling = self.f, self.shape, self.tiling
        step = tiling.height * tiling.left_group
        spare = tiling.left_width - tiling.height
        end = minimum(f, rows[1], f.number(shape.rows - spare))
        whole = maximum(f, minus(f, end, rows[0]), index(0))
        groups = f.binary("udiv", whole, f.number(step))
        behind = plus(f, rows[0], times(f, groups, step))
        packer = pack_pieces(f.module, shape, tiling.lanes, shape.left_elem)
        with counted(f, rows[0], behind, step) as row:
            source = self.address(self.left, row, 1, shape.left_elem)
            k_stride = shape.left_strides[1] * nbytes(shape.left_elem)
            packed = self.packed_left(row, rows[0])
            each = shape.inner * tiling.left_width * shape.size
            sizes = (tiling.left_width, tiling.left_group, tiling.height, each)
            ends = [source, f.number(k_stride), f.number(shape.inner), packed]
            call(f, packer, ends + [f.number(size) for size in sizes])
        return behind

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


def nbytes(elem: str) -> int:
    return BITS[elem] // 8
