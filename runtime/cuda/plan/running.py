"""Which running sums, products and extrema a team of threads shares: decisions alone, no code."""

from __future__ import annotations

from typing import NamedTuple

from graphc.ir import FLOATS
from graphc.runtime.cuda.plan.device_kernel import WARP
from graphc.runtime.cuda.plan.whole import whole
from graphc.runtime.kernel import Access, Native

COMBINE = {"cumsum": "add", "cumprod": "multiply", "cummax": "maximum", "cummin": "minimum"}
"""Routine -> the row of the scalar table that makes an element of the one before it."""

LEAST_DIVIDED = 512
"""A shorter column is left to one thread."""


class Running(NamedTuple):
    """What a routine is called with: a block of `rows` x `columns`."""

    source: Access
    target: Access
    rows: int
    columns: int
    reverse: bool

    @property
    def is_for_teams(self) -> bool:
        """Whether there is enough for a block of threads to do."""
        return bool(self.rows) and (self.columns >= WARP or self.is_divided)

    @property
    def is_divided(self) -> bool:
        return self.columns == 1 and self.rows >= LEAST_DIVIDED


def running_of(statement: object) -> Running | None:
    """What a statement runs over, if it is a routine that a team can share."""
    if not isinstance(statement, Native) or statement.routine not in COMBINE:
        return None
    source, target, rows, columns, reverse = statement.arguments
    assert isinstance(source, Access) and isinstance(target, Access)
    sizes = [whole(n) for n in (rows, columns) if not isinstance(n, (Access, str))]
    running = Running(source, target, sizes[0], sizes[1], bool(reverse))
    if running.columns == 1 and statement.routine == "cumprod" and statement.dtype in FLOATS:
        return None  # a part of a product may be too large where the whole is not
    return running if running.is_for_teams else None
