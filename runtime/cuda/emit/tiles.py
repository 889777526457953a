"""Matrix products: a block for each tile, or for a part of the inner products of one.

Where few tiles have long inner products (the gradient of a weight, summed over a batch), blocks sum
up parts of them side by side, and a second launch adds the parts, in their order, and does what
comes after the product.
"""

from __future__ import annotations

from typing import NamedTuple

from graphc.runtime.cuda.emit.branches import digits, in_turns
from graphc.runtime.cuda.emit.elements import I64
from graphc.runtime.cuda.emit.launches import WORK
from graphc.runtime.cuda.emit.parts import PartsEmitter
from graphc.runtime.cuda.emit.placement import place_for_teams
from graphc.runtime.cuda.emit.product import Depths
from graphc.runtime.cuda.emit.simt import place_in
from graphc.runtime.cuda.emit.tensor import write_tile
from graphc.runtime.cuda.plan.forms import Form, is_repeatable
from graphc.runtime.cuda.plan.phases import Phase
from graphc.runtime.cuda.plan.tensor_tiling import TensorTiling, described, tensor_tiling
from graphc.runtime.cuda.plan.tiling import DEPTH, ENOUGH_TILES, Tiling, tile_counts, tiling_of
from graphc.runtime.cuda.plan.whole import whole, wholes
from graphc.runtime.kernel import Product
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.math import ELEMS, SCALARS
from graphc.runtime.llvm.registers import BITS, Reg, constant

LEAST_DEPTH = 256
"""A part of inner products has at least so many terms."""


class Split(NamedTuple):
    """Inner products in `parts`, each of `depth` terms but the last."""

    parts: int
    depth: int


def split_of(product: Product, tiles: int, step: int = DEPTH) -> Split:
    """In how many parts the inner products are summed, for that many tiles; each but the last has
    a multiple of `step` terms."""
    inner = whole(product.inner)
    parts = max(1, min(inner // LEAST_DEPTH, ENOUGH_TILES // max(tiles, 1)))
    depth = -(-max(inner, 1) // parts)
    depth = -(-depth // step) * step
    return Split(-(-max(inner, 1) // depth), depth)


class TilesEmitter(PartsEmitter):
    """Writes the launches of matrix products."""

    def tiles(self, phase: Phase, form: Form) -> None:
        """A block for each tile, or for each part of one."""
        nest, product = form.nest, form.nest.body[-1]
        assert isinstance(product, Product)
        tiling = self.tiling(form, product)
        form = form._replace(team=tiling.threads)
        down, across = tile_counts(tiling, product)
        count = nest.size * down * across
        if not count:
            return
        split = split_of(product, count, tiling.depth)
        if not is_repeatable(self.kernel, self.roots, nest):
            split = Split(1, whole(product.inner))
        self.tile_launch(phase, form, product, tiling, split)
        if split.parts > 1:
            self.tiles_together(phase, form, product, split)

    def tiling(self, form: Form, product: Product) -> Tiling | TensorTiling:
        """The tiles of a product, by tensor cores where these do it."""
        found = tensor_tiling(self.kernel, product, form.team, form.nest.size, self.limits)
        return found or tiling_of(form.team, product, form.nest.size)

    def tile_launch(
        self,
        phase: Phase,
        form: Form,
        product: Product,
        tiling: Tiling | TensorTiling,
        split: Split,
    ) -> None:
        nest, f = form.nest, self.function()
        down, across = tile_counts(tiling, product)
        elems = self.limits.tensor_elems
        self.products.append(described(self.kernel, product, tiling, elems))
        counts = [split.parts, nest.size, down, across]
        count = split.parts * nest.size * down * across
        start = self.extra + (self.bytes_of_tiles(form, product, split) if split.parts > 1 else 0)
        placed = place_for_teams(self.kernel, self.roots, form, count, self.limits, start, f)
        self.reserve(placed.stop)
        emitter, number = self.team_emitter(f, form, placed)
        self.enter(emitter, (phase.main,) if phase.main else ())

        def run(number: Reg, carried: list[Reg]) -> list[Reg]:
            part, unit, row, column = digits(f, number, counts)

            def tile() -> None:
                if split.parts == 1:
                    write_tile(emitter, product, tiling, row, column)
                    return
                low, high = self.depths(f, product, split, part)

                def leave(at_row: Reg, at_column: Reg, value: Reg) -> None:
                    place = self.tile_place(f, form, product, part, unit, at_row, at_column)
                    f.store(value, f.offset(self.tile_parts(f), value.elem, place))

                write_tile(emitter, product, tiling, row, column, Depths(low, high), leave)

            with self.bind(emitter, nest.units, unit):
                emitter.turn((*nest.before, *nest.body[:-1]), tile)
            return carried

        in_turns(f, number, count, placed.teams, [], run)
        self.add(f, placed.grid, placed.block)

    # ---- inner products in parts -----------------------------------------------------------------

    def depths(self, f: Function, product: Product, split: Split, part: Reg) -> tuple[Reg, Reg]:
        low = f.mul(part, constant(split.depth, I64))
        high = f.add(low, constant(split.depth, I64))
        return low, f.intrinsic("smin", high, f.number(product.inner))

    def bytes_of_tiles(self, form: Form, product: Product, split: Split) -> int:
        rows, columns = wholes((product.rows, product.columns))
        nbytes = BITS[ELEMS[product.out.dtype]] // 8
        return split.parts * form.nest.size * rows * columns * nbytes

    def tile_parts(self, f: Function) -> Reg:
        return f.offset(WORK, "i8", constant(self.extra, I64))

    def tile_place(
        self,
        f: Function,
        form: Form,
        product: Product,
        part: Reg,
        unit: Reg,
        row: Reg,
        column: Reg,
    ) -> Reg:
        """Which element of the parts belongs to a part and an element of the product."""
        place = f.add(f.mul(part, constant(form.nest.size, I64)), unit)
        place = f.add(f.mul(place, f.number(product.rows)), row)
        return f.add(f.mul(place, f.number(product.columns)), column)

    def tiles_together(self, phase: Phase, form: Form, product: Product, split: Split) -> None:
        """A thread adds up the parts of an element, and does what comes after the product."""
        nest, f = form.nest, self.function()
        rows, columns = wholes((product.rows, product.columns))
        count = nest.size * rows * columns
        grid, threads = self.grid_of_threads(count)
        emitter = self.thread(f)
        self.enter(emitter, (phase.main,) if phase.main else ())
        first = f.add(f.mul(place_in(f, "block"), constant(threads, I64)), place_in(f, "thread"))
        elem = ELEMS[product.out.dtype]

        def run(number: Reg, carried: list[Reg]) -> list[Reg]:
            unit, row, column = digits(f, number, [nest.size, rows, columns])
            total = constant(0, elem)
            with f.loop(constant(0, I64), constant(split.parts, I64), 1, [total]) as state:
                place = self.tile_place(f, form, product, state.index, unit, row, column)
                value = f.load(f.offset(self.tile_parts(f), elem, place), elem)
                state.next = [SCALARS["add"](f, state.carried[0], value)]
            with (
                self.bind(emitter, nest.units, unit),
                emitter.bound_if(product.row_axis, row),
                emitter.bound_if(product.column_axis, column),
            ):
                emitter.block((*nest.before, *nest.body[:-1]))
                emitter.values[product.out.number] = state.results[0]
                emitter.block(product.epilogue)
            return carried

        in_turns(f, first, count, grid * threads, [], run)
        self.add(f, grid, threads)
