"""Matrix products by tensor cores: a block of warps makes a tile, from panels in shared memory.

While one pair of panels is multiplied the next ones are copied.  Each warp has a part of the tile
in registers, in fragments (`plan/fragments.py`), and does there what comes after the product.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from graphc.runtime.cuda.emit.branches import only_if
from graphc.runtime.cuda.emit.elements import I64
from graphc.runtime.cuda.emit.panel_copies import Operand, PanelCopies
from graphc.runtime.cuda.emit.panels import ElementReader, MatrixReader
from graphc.runtime.cuda.emit.product import Depths, Finish, emit_tile
from graphc.runtime.cuda.emit.simt import shared_array, together, wait_for_block
from graphc.runtime.cuda.emit.tensor_simt import end_of_copies, multiply_matrices, wait_for_copies
from graphc.runtime.cuda.plan.device_kernel import WARP
from graphc.runtime.cuda.plan.phases import PLAIN
from graphc.runtime.cuda.plan.tensor_tiling import TensorTiling
from graphc.runtime.cuda.plan.tiling import Tiling
from graphc.runtime.cuda.plan.whole import whole, wholes
from graphc.runtime.kernel import Compute, Product
from graphc.runtime.llvm.registers import Reg, constant

if TYPE_CHECKING:
    from graphc.runtime.cuda.emit.team_work import TeamEmitter

SHORT = frozenset(
    "abs add cast divide equal greater greater_equal less less_equal logical_and logical_not"
    " logical_or maximum minimum multiply narrow negative reciprocal rsqrt sqrt square subtract"
    " where widen".split()
)
"""Operations of a few instructions."""
MOST_WRITTEN = 8
"""An epilogue of at most so many short operations is written once for each pair of elements that a
thread has; a longer one once, in loops that hand it one pair after the other."""


def write_tile(
    emitter: TeamEmitter,
    product: Product,
    tiling: Tiling | TensorTiling,
    row: Reg,
    column: Reg,
    depths: Depths | None = None,
    finish: Finish | None = None,
) -> None:
    """The tile in this row and column of tiles: see `emit_tile`."""
    if isinstance(tiling, TensorTiling):
        emit_tensor_tile(emitter, product, tiling, row, column, depths, finish)
    else:
        emit_tile(emitter, product, tiling, row, column, depths, finish)


def emit_tensor_tile(
    emitter: TeamEmitter,
    product: Product,
    tiling: TensorTiling,
    row: Reg,
    column: Reg,
    depths: Depths | None = None,
    finish: Finish | None = None,
) -> None:
    """The tile in this row and column of tiles; of the terms in `depths` alone, if these are given.

    Each element, or two neighbours of a row as a vector, goes to `finish`, or through what comes
    after the product.
    """
    tile = _Tile(emitter, product, tiling, row, column)
    totals = tile.accumulated(depths)
    tile.finished(totals, finish)
    emitter.waits += 1  # the next tile may not begin before all threads are here


class _Tile:
    """One tile while its code is written."""

    def __init__(
        self, emitter: TeamEmitter, product: Product, tiling: TensorTiling, row: Reg, column: Reg
    ):
        self.emitter = emitter
        self.f = f = emitter.f
        self.product = product
        self.tiling = tiling
        self.mma = tiling.mma
        shape = tiling.shape
        self.part = shape.rows // shape.down, shape.columns // shape.across
        self.blocks = self.part[0] // self.mma.rows, self.part[1] // self.mma.columns
        self.panels = tiling.panels(product)
        self.stages = tiling.stages(product)
        self.stage_bytes = sum(panel.nbytes for panel in self.panels)
        self.shared = shared_array(f.module, f"{f.name}_panels", self.stages * self.stage_bytes)
        self.first_row = f.mul(row, constant(tiling.rows, I64))
        self.first_column = f.mul(column, constant(tiling.columns, I64))
        rank = emitter.team.rank
        self.lane = f.and_(rank, constant(WARP - 1, I64))
        warp = f.lshr(rank, constant(WARP.bit_length() - 1, I64))
        down = f.lshr(warp, constant(shape.across.bit_length() - 1, I64))
        across = f.and_(warp, constant(shape.across - 1, I64))
        self.own_row = f.mul(down, constant(self.part[0], I64))
        self.own_column = f.mul(across, constant(self.part[1], I64))

    # ---- the product -----------------------------------------------------------------------------

    def accumulated(self, depths: Depths | None) -> list[Reg]:
        """What this thread has of the tile: block after block, row by row."""
        f, product = self.f, self.product
        count = self.blocks[0] * self.blocks[1] * len(self.mma.out.steps)
        totals = [constant(0, self.mma.total)] * count
        if not product.inner:
            return totals
        copies, readers = self._copies(), self._readers()
        low, high = depths or (constant(0, I64), f.number(product.inner))
        for stage in range(self.stages - 1):
            slot = constant(stage * self.stage_bytes, I64)
            self._fill(copies, slot, f.add(low, self._deep(stage)), high)
        slots = [constant(0, I64), constant((self.stages - 1) * self.stage_bytes, I64)]
        with f.loop(low, high, self.tiling.depth, [*slots, *totals]) as state:
            read, write, *carried = state.carried
            wait_for_copies(f, self.stages - 2)
            wait_for_block(f)
            self._fill(copies, write, f.add(state.index, self._deep(self.stages - 1)), high)
            totals = self._multiplied(readers, read, carried)
            state.next = [self._after(read), self._after(write), *totals]
        return state.results[2:]

    def _deep(self, stages: int) -> Reg:
        return constant(stages * self.tiling.depth, I64)

    def _after(self, slot: Reg) -> Reg:
        """The next of the places of panels, in turn."""
        f = self.f
        following = f.add(slot, constant(self.stage_bytes, I64))
        is_last = f.icmp("eq", slot, constant((self.stages - 1) * self.stage_bytes, I64))
        return f.select(is_last, constant(0, I64), following)

    def _copies(self) -> tuple[PanelCopies, PanelCopies]:
        product, emitter, threads = self.product, self.emitter, self.tiling.threads
        rows, inner, columns = wholes((product.rows, product.inner, product.columns))
        left_row, left_step = wholes(product.left_strides)
        right_step, right_column = wholes(product.right_strides)
        left = Operand(product.left, rows, left_row, inner, left_step)
        right = Operand(product.right, columns, right_column, inner, right_step)
        return (
            PanelCopies(emitter, threads, self.panels[0], left, self.first_row),
            PanelCopies(emitter, threads, self.panels[1], right, self.first_column),
        )

    def _fill(self, copies: Sequence[PanelCopies], slot: Reg, start: Reg, high: Reg) -> None:
        """Begin to fill a place, unless all terms are on their way: a group of copies or none."""
        f = self.f
        with only_if(f, f.icmp("slt", start, high)):
            at = f.offset(self.shared, "i8", slot)
            copies[0].fill(at, start)
            copies[1].fill(f.offset(at, "i8", constant(self.panels[0].nbytes, I64)), start)
        end_of_copies(f)

    def _readers(self) -> list[MatrixReader] | list[ElementReader]:
        f, mma = self.f, self.mma
        owns = (self.own_row, self.own_column)
        tiles = (mma.rows, mma.columns)
        every = [*zip(self.panels, owns, tiles, self.blocks, strict=True)]
        if self.panels[0].size == 2:
            return [
                MatrixReader(f, panel, own, self.lane, tile, count)
                for panel, own, tile, count in every
            ]
        fragments = ((mma.left, True), (mma.right, False))
        return [
            ElementReader(f, panel, own, self.lane, fragment, first, tile, count, mma.depth)
            for (panel, own, tile, count), (fragment, first) in zip(every, fragments, strict=True)
        ]

    def _multiplied(
        self, readers: Sequence[MatrixReader | ElementReader], slot: Reg, totals: Sequence[Reg]
    ) -> list[Reg]:
        """The totals with the products of a pair of panels."""
        f, results, each = self.f, list(totals), len(self.mma.out.steps)
        left = f.offset(self.shared, "i8", slot)
        right = f.offset(left, "i8", constant(self.panels[0].nbytes, I64))
        for step in range(self.tiling.depth // self.mma.depth):
            lefts = readers[0].fragments(left, step)
            rights = readers[1].fragments(right, step)
            for i, a in enumerate(lefts):
                for j, b in enumerate(rights):
                    at = slice((i * len(rights) + j) * each, (i * len(rights) + j + 1) * each)
                    results[at] = multiply_matrices(
                        f, self.mma, self.tiling.elem, a, b, results[at]
                    )
        return results

    # ---- what comes after it ---------------------------------------------------------------------

    def finished(self, totals: list[Reg], finish: Finish | None) -> None:
        """`finish` for what this thread has, pairs of neighbours at once."""
        f, mma = self.f, self.mma
        down = self._held(mma.out.row)
        across = self._held(mma.out.column)
        row = f.add(f.add(self.first_row, self.own_row), down)
        column = f.add(f.add(self.first_column, self.own_column), across)
        visit = finish or self._epilogue
        self.emitter.alone = True
        if finish is not None or self.is_short():
            for i in range(self.blocks[0]):
                for j in range(self.blocks[1]):
                    number = (i * self.blocks[1] + j) * len(mma.out.steps)
                    block = totals[number : number + len(mma.out.steps)]
                    at = constant(i * mma.rows, I64), constant(j * mma.columns, I64)
                    self._block(f.add(row, at[0]), f.add(column, at[1]), block, visit)
        else:
            self._in_loops(row, column, totals, visit)
        self.emitter.alone = False

    def _held(self, factors: tuple[int, int]) -> Reg:
        """The row or the column of the first element that this thread has of a block."""
        f = self.f
        group, thread = (
            f.lshr(self.lane, constant(2, I64)),
            f.and_(self.lane, constant(3, I64)),
        )
        parts = zip((group, thread), factors, strict=True)
        return f.add(*(f.mul(x, constant(n, I64)) for x, n in parts))

    def is_short(self) -> bool:
        """Whether what comes after the product may be written many times."""
        body = self.product.epilogue
        plain = all(isinstance(s, PLAIN) for s in body)
        long = (s for s in body if isinstance(s, Compute) and s.op not in SHORT)
        return plain and len(body) <= MOST_WRITTEN and not any(True for _ in long)

    def _in_loops(self, row: Reg, column: Reg, totals: list[Reg], visit: Finish) -> None:
        """Block after block: a register has no number, so that each turn moves all of them on."""
        f, each = self.f, len(self.mma.out.steps)
        size = self.blocks[1] * each
        zero = constant(0, I64)
        with f.loop(zero, constant(self.blocks[0], I64), 1, totals) as down:
            own = down.carried[:size]
            at_row = f.add(row, f.mul(down.index, constant(self.mma.rows, I64)))
            with f.loop(zero, constant(self.blocks[1], I64), 1, own) as across:
                step = f.mul(across.index, constant(self.mma.columns, I64))
                self._block(at_row, f.add(column, step), across.carried[:each], visit)
                across.next = [*across.carried[each:], *across.carried[:each]]
            down.next = [*down.carried[size:], *across.results]

    def _block(self, row: Reg, column: Reg, held: Sequence[Reg], visit: Finish) -> None:
        """`visit` for the elements that this thread has of one block."""
        for number in range(0, len(held), 2):
            down, _ = self.mma.out.steps[number]
            pair = list(held[number : number + 2])
            self._pair(self.f.add(row, constant(down, I64)), column, pair, visit)

    def _pair(self, row: Reg, column: Reg, pair: list[Reg], visit: Finish) -> None:
        """`visit` for two neighbours, together if both are there or none is."""
        f = self.f
        if self._takes_pairs():
            with self._inside(row, column):
                visit(row, column, together(f, pair))
            return
        for i, value in enumerate(pair):
            at = f.add(column, constant(i, I64))
            with self._inside(row, at):
                visit(row, at, value)

    def _takes_pairs(self) -> bool:
        """Whether vectors go through the epilogue: of statements that know them alone."""
        product = self.product
        plain = all(isinstance(s, PLAIN) for s in product.epilogue)
        return plain and whole(product.columns) % 2 == 0 and product.column_axis is not None

    def _inside(self, row: Reg, column: Reg) -> AbstractContextManager[None]:
        """The block is run where an element of the product is there; always, if all are."""
        f, product = self.f, self.product
        fits = []
        if whole(product.rows) % self.tiling.rows:
            fits.append(f.icmp("slt", row, f.number(product.rows)))
        if whole(product.columns) % self.tiling.columns:
            fits.append(f.icmp("slt", column, f.number(product.columns)))
        return only_if(f, f.and_(*fits) if len(fits) > 1 else fits[0]) if fits else nullcontext()

    def _epilogue(self, row: Reg, column: Reg, value: Reg) -> None:
        """What comes after the product, for one element or two."""
        emitter, product = self.emitter, self.product
        with emitter.bound_if(product.row_axis, row), emitter.bound_if(product.column_axis, column):
            if value.lanes > 1:
                emitter.lanes, emitter.vector_axis = value.lanes, product.column_axis
            emitter.values[product.out.number] = value
            emitter.block(product.epilogue)
            emitter.lanes, emitter.vector_axis = 1, None
