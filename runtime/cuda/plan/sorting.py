"""How rows are sorted by many threads: decisions alone, no code.

A block sorts a *tile* in shared memory: a part of a long row, or several short rows.  The tiles of
a long row are sorted runs, of which each pass of launches merges two into one.
"""

from __future__ import annotations

from typing import NamedTuple

from graphc.runtime.cuda.plan.device_kernel import Limits
from graphc.runtime.cuda.plan.mapping import Nest
from graphc.runtime.cuda.plan.whole import whole
from graphc.runtime.kernel import Access, Native

MOST_ELEMENTS = 8
"""Elements of a tile that each thread has.  Keys and positions of 256 threads take 32 KiB then."""

ROUTINES = {
    "sort": False,
    "radix_sort": False,
    "argsort": True,
    "radix_argsort": True,
}
"""Routine -> whether it gives positions."""


class Sorting(NamedTuple):
    """`rows` rows of `size` elements, and the axis along which the rows are."""

    dtype: str
    source: Access
    target: Access
    gives_positions: bool
    rows: int
    size: int
    axis: int


def sorting_of(nest: Nest) -> Sorting | None:
    """What a nest sorts, if that is all it does."""
    if len(nest.body) != 1 or nest.before or len(nest.units) != 1:
        return None
    (statement,), (unit,) = nest.body, nest.units
    if not isinstance(statement, Native) or statement.routine not in ROUTINES:
        return None
    source, target, *_, size = statement.arguments
    assert isinstance(source, Access) and isinstance(target, Access)
    assert not isinstance(size, (Access, str))
    positions = ROUTINES[statement.routine]
    count = whole(size)
    return Sorting(statement.dtype, source, target, positions, unit.turns, count, unit.axis)


class Tiles(NamedTuple):
    """How rows of `size` elements fall into tiles, of `each` elements for a thread."""

    threads: int
    each: int
    rows: int
    size: int

    @property
    def elements(self) -> int:
        return self.threads * self.each

    @property
    def rows_in_one(self) -> int:
        """Whole rows in a tile; 1 also where a row has several tiles."""
        return max(self.elements // self.size, 1)

    @property
    def in_row(self) -> int:
        """Tiles of a row."""
        return -(-self.size // self.elements)

    @property
    def total(self) -> int:
        return -(-self.rows // self.rows_in_one) * self.in_row

    @property
    def passes(self) -> int:
        """How often two runs become one until the row is one run."""
        return (self.in_row - 1).bit_length()


def tiles_of(rows: int, size: int, limits: Limits) -> Tiles:
    """Tiles that are as small as they may be: of a long row, as large as they may be."""
    tiles = Tiles(limits.threads, 1, rows, size)
    while tiles.each < MOST_ELEMENTS and (tiles.in_row > 1 or tiles.total > limits.most_blocks):
        tiles = tiles._replace(each=2 * tiles.each)
    return tiles
