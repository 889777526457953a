"""Which products tensor cores do, in tiles of which size: decisions alone, no code."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from graphc.runtime.cuda.device_kernel import SHARED_BYTES, WARP
from graphc.runtime.cuda.fragments import MMA_16, MMA_32, MMA_64, Mma
from graphc.runtime.cuda.panels import Panel
from graphc.runtime.cuda.whole import whole, wholes
from graphc.runtime.kernel import Kernel, Product
from graphc.runtime.llvm.elements import memory_elem

LEAST_SIDE = 8
"""Of a product with fewer rows or columns most of each instruction would be wasted."""
LEAST_INNER = 16
MOST_SIDE = 1 << 30
"""What is left of a side is counted in 32 bits."""
ENOUGH_TILES = 128
"""With fewer tiles much of a device has nothing to do; smaller ones are more."""
MOST_STAGES = 3
"""Panels that are copied while others are multiplied, and those."""


class Shape(NamedTuple):
    """A tile of `rows` x `columns`, by `down` x `across` warps, from panels `depth` deep."""

    rows: int
    columns: int
    depth: int
    down: int
    across: int


SHAPES = {
    "f16": (
        Shape(128, 128, 32, 2, 4),
        Shape(128, 64, 32, 2, 2),
        Shape(64, 64, 32, 2, 2),
        Shape(32, 32, 32, 1, 2),
    ),
    "float": (Shape(128, 128, 16, 2, 4), Shape(64, 64, 16, 2, 2), Shape(32, 32, 16, 1, 2)),
    "double": (Shape(64, 64, 16, 2, 2), Shape(32, 32, 16, 1, 2)),
}
SHAPES["bf16"] = SHAPES["f16"]
"""Large tiles read less for each multiplication.  What a warp has of one fits in registers: at most
64 x 32 numbers of 32 bits, or 32 x 32 of 64."""

INSTRUCTIONS = {"f16": MMA_16, "bf16": MMA_16, "float": MMA_32, "double": MMA_64}


class TensorTiling(NamedTuple):
    """The tile of a block whose warps use tensor cores; `elem` is what lies in memory."""

    shape: Shape
    mma: Mma
    elem: str

    @property
    def rows(self) -> int:
        return self.shape.rows

    @property
    def columns(self) -> int:
        return self.shape.columns

    @property
    def depth(self) -> int:
        """Inner products are taken in steps of so many terms."""
        return self.shape.depth

    @property
    def threads(self) -> int:
        return WARP * self.shape.down * self.shape.across

    def tiles(self, product: Product) -> tuple[int, int]:
        """How many rows and columns of tiles a product has."""
        rows, columns = wholes((product.rows, product.columns))
        return -(-rows // self.rows), -(-columns // self.columns)

    def panels(self, product: Product) -> tuple[Panel, Panel]:
        """How the two operands lie in shared memory."""
        left_row, left_step = wholes(product.left_strides)
        right_column = whole(product.right_strides[1])
        return (
            Panel(self.rows, self.depth, left_step == 1 or left_row != 1, self.elem),
            Panel(self.columns, self.depth, right_column != 1, self.elem),
        )

    def stages(self, product: Product) -> int:
        """How many pairs of panels shared memory has room for."""
        each = sum(panel.nbytes for panel in self.panels(product))
        return min(MOST_STAGES, SHARED_BYTES // each)


def tensor_tiling(
    kernel: Kernel, product: Product, threads: int, units: int = 1, fast: bool = False
) -> TensorTiling | None:
    """The tile for a product of `units` like it, by at most so many threads; None for one that
    tensor cores do not do.

    Those multiply f32 with 10 bits of each fraction alone, so only `fast` arithmetic uses them.
    """
    elem = input_elem(kernel, product)
    if elem not in SHAPES or (elem == "float" and not fast) or not _fits(product):
        return None
    tilings = [TensorTiling(shape, INSTRUCTIONS[elem], elem) for shape in SHAPES[elem]]
    tilings = [t for t in tilings if t.threads <= threads]
    if not tilings:
        return None
    enough = (
        t for t in _fitting(tilings, product) if units * math.prod(t.tiles(product)) >= ENOUGH_TILES
    )
    return next(enough, tilings[-1])


def input_elem(kernel: Kernel, product: Product) -> str | None:
    """The type that both operands have in memory, None if they differ."""
    left, right = (kernel.buffers[a.buffer].dtype for a in (product.left, product.right))
    return memory_elem(left) if left == right else None


def _fits(product: Product) -> bool:
    rows, inner, columns = wholes((product.rows, product.inner, product.columns))
    is_large = min(rows, columns) >= LEAST_SIDE and inner >= LEAST_INNER
    return is_large and max(rows, inner, columns) <= MOST_SIDE


def _fitting(tilings: list[TensorTiling], product: Product) -> Iterator[TensorTiling]:
    """Those of which no more than half is beyond the ends of a product."""
    for tiling in tilings:
        if tiling.rows < 2 * whole(product.rows) and tiling.columns < 2 * whole(product.columns):
            yield tiling
