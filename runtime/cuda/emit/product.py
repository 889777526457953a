"""Matrix products: a block of threads makes a tile, from panels in shared memory.

Each thread has a small square of the tile in registers.  The finished tile goes through shared
memory to the epilogue, which runs over it element by element, neighbours side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from graphc.runtime.cuda.emit.branches import digits, in_turns, only_if
from graphc.runtime.cuda.emit.elements import I64
from graphc.runtime.cuda.emit.simt import shared_array, wait_for_block
from graphc.runtime.cuda.emit.statements import multiply_add
from graphc.runtime.cuda.plan.device_kernel import VECTOR_BYTES
from graphc.runtime.cuda.plan.tiling import DEPTH, PADDING, Tiling, tile_bytes
from graphc.runtime.cuda.plan.whole import wholes
from graphc.runtime.kernel import Access, Product
from graphc.runtime.llvm.math import ELEMS
from graphc.runtime.llvm.math.narrow import load_wide
from graphc.runtime.llvm.registers import BITS, Reg, constant, type_name

if TYPE_CHECKING:
    from graphc.runtime.cuda.emit.team_work import TeamEmitter


class Depths(NamedTuple):
    """The terms of inner products from `low`, a multiple of `DEPTH`, up to `high`, a larger one."""

    low: Reg
    high: Reg


Finish = Callable[[Reg, Reg, Reg], None]
"""What is done with an element of a product: its row, its column, its value."""


def emit_tile(
    emitter: TeamEmitter,
    product: Product,
    tiling: Tiling,
    row: Reg,
    column: Reg,
    depths: Depths | None = None,
    finish: Finish | None = None,
) -> None:
    """The tile in this row and column of tiles; of the terms in `depths` alone, if these are given.

    Each element goes to `finish`, or through what comes after the product.
    """
    f, elem = emitter.f, ELEMS[product.out.dtype]
    nbytes = tile_bytes(tiling, elem)
    shared = shared_array(f.module, f"{f.name}_tile_{elem}", nbytes)
    first_row = f.mul(row, constant(tiling.rows, I64))
    first_column = f.mul(column, constant(tiling.columns, I64))
    tile = _Tile(emitter, product, tiling, shared, first_row, first_column)
    squares = tile.accumulated(depths)
    tile.leave(squares)
    wait_for_block(f)
    tile.finished(finish or tile.epilogue)
    emitter.waits += 1  # the next tile may not begin before all threads are here


class _Tile:
    """One tile while its code is written."""

    def __init__(
        self,
        emitter: TeamEmitter,
        product: Product,
        tiling: Tiling,
        shared: Reg,
        first_row: Reg,
        first_column: Reg,
    ):
        self.emitter = emitter
        self.f = emitter.f
        self.product = product
        self.tiling = tiling
        self.shared = shared
        self.first_row = first_row
        self.first_column = first_column
        self.elem = ELEMS[product.out.dtype]
        self.square = tiling.square
        self.pitch = tiling.rows + PADDING
        self.right_panel = self.f.offset(shared, self.elem, constant(DEPTH * self.pitch, I64))
        down, across = digits(self.f, emitter.team.rank, [tiling.down, tiling.across])
        self.own_row = self.f.mul(down, constant(self.square, I64))
        self.own_column = self.f.mul(across, constant(self.square, I64))

    def accumulated(self, depths: Depths | None) -> list[Reg]:
        """The square of this thread: panel after panel."""
        f, product = self.f, self.product
        totals = [constant(0, self.elem)] * self.square**2
        if not product.inner:
            return totals
        left, right = (self.emitter.address(a) for a in (product.left, product.right))
        low, high = depths or (constant(0, I64), f.number(product.inner))
        with f.loop(low, high, DEPTH, totals) as state:
            self.load_left(left, state.index)
            self.load_right(right, state.index)
            wait_for_block(f)
            state.next = self.multiplied(state.carried)
            wait_for_block(f)
        return state.results

    def load_left(self, pointer: Reg, start: Reg) -> None:
        """Rows x DEPTH of the left matrix, column by column."""
        product, f = self.product, self.f
        row_step, step = wholes(product.left_strides)

        def element(row: Reg, depth: Reg) -> None:
            at = f.add(self.first_row, row), f.add(start, depth)
            sizes = wholes((product.rows, product.inner))
            value = self.inside(pointer, product.left, at, sizes, (row_step, step))
            place = f.add(f.mul(depth, constant(self.pitch, I64)), row)
            f.store(value, f.offset(self.shared, self.elem, place))

        if step == 1:
            self.each(self.tiling.rows, DEPTH, element)
        else:
            self.each(DEPTH, self.tiling.rows, lambda depth, row: element(row, depth))

    def load_right(self, pointer: Reg, start: Reg) -> None:
        """DEPTH x columns of the right matrix, row by row."""
        product, f = self.product, self.f
        step, column_step = wholes(product.right_strides)

        def element(depth: Reg, column: Reg) -> None:
            at = f.add(start, depth), f.add(self.first_column, column)
            sizes = wholes((product.inner, product.columns))
            value = self.inside(pointer, product.right, at, sizes, (step, column_step))
            place = f.add(f.mul(depth, constant(self.tiling.columns, I64)), column)
            f.store(value, f.offset(self.right_panel, self.elem, place))

        if step == 1 and column_step != 1:
            self.each(self.tiling.columns, DEPTH, lambda column, depth: element(depth, column))
        else:
            self.each(DEPTH, self.tiling.columns, element)

    def each(self, outer: int, inner_size: int, visit: Callable[[Reg, Reg], None]) -> None:
        """`visit` for outer x inner, divided among the threads, the inner ones side by side."""
        f, size = self.f, self.emitter.team.size

        def run(number: Reg, carried: list[Reg]) -> list[Reg]:
            visit(*digits(f, number, [outer, inner_size]))
            return carried

        in_turns(f, self.emitter.team.rank, outer * inner_size, size, [], run)

    def inside(
        self,
        pointer: Reg,
        access: Access,
        at: Sequence[Reg],
        sizes: Sequence[int],
        steps: Sequence[int],
    ) -> Reg:
        """An element of a matrix, and 0 beyond its ends: the first element is read there."""
        f = self.f
        fits = [f.icmp("slt", x, constant(n, I64)) for x, n in zip(at, sizes, strict=True)]
        here = f.and_(*fits)
        terms = [f.mul(x, constant(s, I64)) for x, s in zip(at, steps, strict=True)]
        place = f.select(here, f.add(*terms), constant(0, I64))
        stored = self.emitter.elem(access)
        value = load_wide(f, f.offset(pointer, stored, place), stored, 1)
        return f.select(here, value, f.const(0, value))

    def multiplied(self, totals: list[Reg]) -> list[Reg]:
        """The totals with the products of a panel's columns and rows."""
        f, results = self.f, list(totals)
        for depth in range(DEPTH):
            left = self.panel(self.shared, depth * self.pitch, self.own_row)
            right = self.panel(self.right_panel, depth * self.tiling.columns, self.own_column)
            for i, x in enumerate(left):
                for j, y in enumerate(right):
                    place = i * self.square + j
                    results[place] = multiply_add(f, x, y, results[place])
        return results

    def panel(self, base: Reg, start: int, own: Reg) -> list[Reg]:
        """What this thread needs of a row of a panel, read in one or two accesses."""
        f, size = self.f, self.square
        place = f.offset(f.offset(base, self.elem, own), self.elem, constant(start, I64))
        align = min(size * BITS[self.elem] // 8, VECTOR_BYTES)
        kind = type_name(self.elem, size)
        row = f.let(f"load {kind}, ptr {place.text}, align {align}", self.elem, size)
        return [f.extract(row, i) for i in range(size)]

    def leave(self, squares: Sequence[Reg]) -> None:
        """Put the squares into shared memory, where the panels were."""
        f = self.f
        for i in range(self.square):
            row = f.add(self.own_row, constant(i, I64))
            place = f.add(f.mul(row, constant(self.tiling.columns, I64)), self.own_column)
            at = f.offset(self.shared, self.elem, place)
            for j in range(self.square):
                value = squares[i * self.square + j]
                f.store(value, f.offset(at, self.elem, constant(j, I64)))

    def epilogue(self, row: Reg, column: Reg, value: Reg) -> None:
        """What comes after the product, for an element of it."""
        emitter, product = self.emitter, self.product
        with emitter.bound_if(product.row_axis, row), emitter.bound_if(product.column_axis, column):
            emitter.values[product.out.number] = value
            emitter.block(product.epilogue)

    def finished(self, finish: Finish) -> None:
        """`finish` for each element of the tile."""
        f, emitter, product = self.f, self.emitter, self.product

        def element(row: Reg, column: Reg) -> None:
            at_row, at_column = f.add(self.first_row, row), f.add(self.first_column, column)
            fits = f.and_(
                f.icmp("slt", at_row, f.number(product.rows)),
                f.icmp("slt", at_column, f.number(product.columns)),
            )
            place = f.add(f.mul(row, constant(self.tiling.columns, I64)), column)
            with only_if(f, fits):
                value = f.load(f.offset(self.shared, self.elem, place), self.elem)
                finish(at_row, at_column, value)

        emitter.alone = True
        self.each(self.tiling.rows, self.tiling.columns, element)
        emitter.alone = False
