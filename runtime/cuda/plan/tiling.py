"""The tiles of matrix products on plain arithmetic: decisions alone, no code."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

from graphc.runtime.cuda.plan.whole import wholes
from graphc.runtime.kernel import Product
from graphc.runtime.llvm.registers import BITS

SQUARES = (4, 2, 1)
"""Rows and columns of a tile that one thread has: the more, the less is read from the panels."""
ENOUGH_TILES = 128
"""With fewer tiles much of a device has nothing to do; smaller ones are more."""
DEPTH = 8
"""Columns of the left panel and rows of the right one."""
PADDING = 4
"""Elements between the columns of the left panel: threads side by side store in other banks, and
what a thread reads is still aligned."""


class Tile(Protocol):
    """How large a tile of a product is, whoever makes it."""

    @property
    def rows(self) -> int: ...

    @property
    def columns(self) -> int: ...


def tile_counts(tile: Tile, product: Product) -> tuple[int, int]:
    """How many rows and columns of such tiles a product has."""
    rows, columns = wholes((product.rows, product.columns))
    return -(-rows // tile.rows), -(-columns // tile.columns)


class Tiling(NamedTuple):
    """The tile of a block: `down` times `across` threads, each with a square."""

    down: int
    across: int
    square: int

    @property
    def rows(self) -> int:
        return self.down * self.square

    @property
    def columns(self) -> int:
        return self.across * self.square

    @property
    def threads(self) -> int:
        return self.down * self.across

    @property
    def depth(self) -> int:
        """Inner products are taken in steps of so many terms."""
        return DEPTH


def tiling_of(threads: int, product: Product | None = None, units: int = 1) -> Tiling:
    """The tile of a block of so many threads: as square as may be, and large; smaller where `units`
    products have few tiles."""
    across = 1 << (threads.bit_length() // 2)
    tilings = [Tiling(threads // across, across, square) for square in SQUARES]
    if product is None:
        return tilings[0]
    enough = (t for t in tilings if units * math.prod(tile_counts(t, product)) >= ENOUGH_TILES)
    return next(enough, tilings[-1])


def tile_rows(threads: int) -> int:
    return tiling_of(threads).rows


def tile_bytes(tiling: Tiling, elem: str) -> int:
    """The shared memory that a tile takes."""
    panels = DEPTH * (tiling.rows + PADDING + tiling.columns)
    return max(panels, tiling.rows * tiling.columns) * BITS[elem] // 8
