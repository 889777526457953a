"""Which products tensor cores do, in tiles of which size: decisions alone, no code."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from graphc.runtime.cuda.plan.device_kernel import SHARED_BYTES, WARP, Limits
from graphc.runtime.cuda.plan.fragments import MMA_16, MMA_32, MMA_64, Mma
from graphc.runtime.cuda.plan.panel_shapes import Panel
from graphc.runtime.cuda.plan.tiling import ENOUGH_TILES, Tiling, tile_bytes, tile_counts, tiling_of
from graphc.runtime.cuda.plan.whole import whole, wholes
from graphc.runtime.kernel import Kernel, Product, Statement, inner
from graphc.runtime.llvm.elements import memory_elem
from graphc.runtime.llvm.math import ELEMS

LEAST_SIDE = 8
"""Of a product with fewer rows or columns most of each instruction would be wasted."""
LEAST_INNER = 16
MOST_SIDE = 1 << 30
"""What is left of a side is counted in 32 bits."""
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

TEAM_SHAPES = (
    Shape(64, 128, 32, 2, 4),
    Shape(64, 64, 32, 2, 4),
    Shape(32, 128, 32, 1, 8),
    Shape(32, 64, 32, 2, 4),
    Shape(32, 32, 32, 1, 2),
)
"""For blocks that do more than a product: of rows of attention, say."""
TEAM_DEPTHS = {"f16": 32, "bf16": 32, "float": 16, "double": 8}
MOST_TEAM_BYTES = 24 * 1024
"""For their panels: there is other shared memory beside them."""

INSTRUCTIONS = {"f16": MMA_16, "bf16": MMA_16, "float": MMA_32, "double": MMA_64}


class TensorTiling(NamedTuple):
    """The tile of a block whose warps use tensor cores; `elem` is what lies in memory."""

    shape: Shape
    mma: Mma
    elem: str
    most_stages: int = MOST_STAGES

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
        return min(self.most_stages, SHARED_BYTES // each)

    def panel_bytes(self, product: Product) -> int:
        return self.stages(product) * sum(panel.nbytes for panel in self.panels(product))


def tensor_elems(fast: bool) -> frozenset[str]:
    """What tensor cores multiply; f32 with 10 bits of each fraction, so in `fast` arithmetic."""
    return frozenset(elem for elem in SHAPES if fast or elem != "float")


def tensor_tiling(
    kernel: Kernel, product: Product, threads: int, units: int, limits: Limits
) -> TensorTiling | None:
    """The tile for a product of `units` like it, by at most so many threads; None for one that
    tensor cores do not do."""
    elem = tensor_elem(kernel, product, limits.tensor_elems)
    if elem is None:
        return None
    tilings = [TensorTiling(shape, INSTRUCTIONS[elem], elem) for shape in SHAPES[elem]]
    tilings = [t for t in tilings if t.threads <= threads]
    fitting = _fitting(tilings, product)
    enough = (t for t in fitting if units * math.prod(tile_counts(t, product)) >= ENOUGH_TILES)
    return next(enough, tilings[-1] if tilings else None)


def team_tiling(
    kernel: Kernel, product: Product, threads: int, elems: frozenset[str]
) -> TensorTiling | None:
    """The tile for a product that a block of so many threads computes among other things: the one
    of which least is beyond the ends, and the largest of these."""
    elem = tensor_elem(kernel, product, elems)
    if elem is None:
        return None
    shapes = (shape._replace(depth=TEAM_DEPTHS[elem]) for shape in TEAM_SHAPES)
    tilings = [TensorTiling(shape, INSTRUCTIONS[elem], elem, 2) for shape in shapes]
    fitting = [
        t for t in tilings if t.threads == threads and t.panel_bytes(product) <= MOST_TEAM_BYTES
    ]

    def cost(tiling: TensorTiling) -> tuple[int, int]:
        own = tiling.rows * tiling.columns
        return math.prod(tile_counts(tiling, product)) * own, -own

    return min(fitting, key=cost, default=None)


def tiles_bytes(
    kernel: Kernel, statements: Sequence[Statement], threads: int, limits: Limits
) -> int:
    """The shared memory that the products among the statements of a block take."""
    sizes = [0]
    for product in inner(statements):
        if isinstance(product, Product):
            tiling = team_tiling(kernel, product, threads, limits.tensor_elems)
            if tiling is None:
                sizes.append(tile_bytes(tiling_of(threads), ELEMS[product.out.dtype]))
            else:
                sizes.append(tiling.panel_bytes(product))
    return max(sizes)


def tensor_elem(kernel: Kernel, product: Product, elems: frozenset[str]) -> str | None:
    """The type of the operands in memory, None where tensor cores do not do a product."""
    elem = input_elem(kernel, product)
    return elem if elem in elems and _fits(product) else None


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


# ---- in words ------------------------------------------------------------------------------------


def described(
    kernel: Kernel, product: Product, tiling: Tiling | TensorTiling, elems: frozenset[str]
) -> str:
    """How a product is multiplied, and why so."""
    dtype = kernel.buffers[product.left.buffer].dtype
    tiles = f"tiles of {tiling.rows} x {tiling.columns}"
    if not isinstance(tiling, TensorTiling):
        return f"{tiles} in plain arithmetic: {_why_plain(kernel, product, elems)}"
    how = "as TF32, " if dtype == "f32" else ""
    return f"{tiles} on tensor cores: {dtype}, {how}added up in {product.out.dtype}"


def _why_plain(kernel: Kernel, product: Product, elems: frozenset[str]) -> str:
    elem = input_elem(kernel, product)
    if elem is None or elem not in SHAPES:
        return "tensor cores have no such operands"
    if not elems:
        return "the device has no tensor cores"
    if elem not in elems:
        return "f32 in full, which tensor cores round to TF32; fastmath allows that"
    if not _fits(product):
        return "fewer than 8 rows or columns, or than 16 terms"
    return "a block that does other things has no room for more"
