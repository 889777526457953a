"""Which running operations are divided among many threads, and in which pieces: decisions alone.

A column is divided in *pieces* of rows.  What a piece does to a value that comes from above is put
in a few numbers by a thread; these are a column again, with a row for each piece; and then a thread
for each piece goes through it once more, from the value that comes to it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from graphc.ir import FLOATS
from graphc.runtime.cuda.plan.device_kernel import Limits
from graphc.runtime.cuda.plan.mapping import Nest
from graphc.runtime.cuda.plan.running import COMBINE, LEAST_DIVIDED
from graphc.runtime.cuda.plan.whole import whole
from graphc.runtime.kernel import Access, Native

PIECE = 64
"""Rows of a piece: so many a thread goes through, one after the other."""
LEAST_WORK = 64
"""Rows of a thread where a column is not divided that are worth two launches more."""
MANY = 16
"""Of the threads that a device has room for, one part in this is enough to keep it busy."""
LAST = 512
"""Rows of pieces that one thread for each column goes through."""


class Scan(NamedTuple):
    """A running operation on `units` blocks of `rows` x `columns`, along the rows.

    `sources` are the elements; of a recurrence the factors, and then the terms.
    """

    routine: str
    dtype: str
    sources: tuple[Access, ...]
    target: Access
    rows: int
    columns: int
    reverse: bool
    units: int
    axis: int

    @property
    def is_affine(self) -> bool:
        """Whether pieces are put together as functions a * x + b, which rounding may spoil: those
        of recurrences, and of products, of which a part may be too large for the dtype where the
        whole is not."""
        return self.routine == "recurrence" or (self.routine == "cumprod" and self.dtype in FLOATS)

    @property
    def piece(self) -> int:
        """Rows of a piece.  What affine ones do is not put together piece by piece, but by a thread
        that goes through all of them: there are as many as they have rows."""
        if not self.is_affine:
            return PIECE
        return max(PIECE, 1 << math.isqrt(self.rows).bit_length())


def scan_of(nest: Nest, limits: Limits) -> Scan | None:
    """What a nest runs over, if that is all it does and more threads than columns pay."""
    if len(nest.body) != 1 or nest.before or len(nest.units) != 1:
        return None
    (statement,), (unit,) = nest.body, nest.units
    if not isinstance(statement, Native) or statement.routine not in (*COMBINE, "recurrence"):
        return None
    *memory, rows, columns, reverse = statement.arguments
    *sources, target = (a for a in memory if isinstance(a, Access))
    sizes = [whole(n) for n in (rows, columns, reverse) if not isinstance(n, (Access, str))]
    scan = Scan(
        statement.routine,
        statement.dtype,
        tuple(sources),
        target,
        sizes[0],
        sizes[1],
        bool(sizes[2]),
        unit.turns,
        unit.axis,
    )
    return scan if _pays(scan, limits) else None


def _pays(scan: Scan, limits: Limits) -> bool:
    if scan.units * scan.columns > limits.threads * limits.most_blocks // MANY:
        return False
    shared = 1 if scan.columns > 1 or scan.is_affine else limits.threads
    return scan.rows >= max(LEAST_DIVIDED, shared * LEAST_WORK)
