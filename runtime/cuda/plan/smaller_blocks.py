"""Blocks of rows as high as a tile of a matrix product, where the planner made them for a cache.

Before:  for blocks of 256 of i1 < 1024 { tiles of q @ k (256 x 64 x 1024) ... }
After:   for blocks of 64 of i1 < 1024 { tiles of q @ k (64 x 64 x 1024) ... }

A processor goes through few large blocks; a device has a block of threads for each, and the more of
them there are the more it does at once.  Sound for any size: a block holds rows that do not see
those of another, and the scratch memory of the block holds the rows of a smaller one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from graphc.runtime.cuda.plan.device_kernel import Limits
from graphc.runtime.cuda.plan.tensor_tiling import tensor_elem
from graphc.runtime.cuda.plan.tiling import ENOUGH_TILES, tile_rows
from graphc.runtime.cuda.plan.whole import whole
from graphc.runtime.kernel import (
    Blocks,
    Buffer,
    Kernel,
    Loop,
    Product,
    Statement,
    accesses,
    inner,
)

TENSOR_ROWS = (32, 64)
"""The rows of tiles in blocks that do more than a product."""


def with_smaller_blocks(kernel: Kernel, limits: Limits) -> Kernel:
    """The kernel with blocks of at most the rows of a tile, where products are computed in them."""
    buffers = list(kernel.buffers)
    body = tuple(_changed(kernel, buffers, statement, limits, 1) for statement in kernel.body)
    return kernel._replace(body=body, buffers=tuple(buffers))


def _changed(
    kernel: Kernel, buffers: list[Buffer], statement: Statement, limits: Limits, units: int
) -> Statement:
    if isinstance(statement, Loop):
        units *= math.prod(whole(kernel.domain[axis]) for axis in statement.axes)
        body = tuple(_changed(kernel, buffers, s, limits, units) for s in statement.body)
        return statement._replace(body=body)
    if not isinstance(statement, Blocks):
        return statement
    size = whole(statement.size)
    products = [s for s in inner(statement.body) if isinstance(s, Product)]
    along = all(p.rows == size and p.row_axis == statement.axis for p in products)
    if not products or not along:
        return statement
    smaller = _rows(kernel, products, statement, limits, units)
    if smaller >= size:
        return statement
    _shrink(buffers, statement, smaller)
    return Blocks(statement.axis, smaller, _lower(statement.body, smaller))


def _rows(
    kernel: Kernel, products: Sequence[Product], blocks: Blocks, limits: Limits, units: int
) -> int:
    """The rows of a block.  Tensor cores take whole tiles of them, large ones where the blocks are
    enough for a device."""
    size, total = whole(blocks.size), whole(kernel.domain[blocks.axis])
    most = tile_rows(limits.threads)
    if all(tensor_elem(kernel, p, limits.tensor_elems) for p in products):
        fitting = [n for n in TENSOR_ROWS if n <= min(size, most)]
        enough = [n for n in fitting if units * -(-total // n) >= ENOUGH_TILES]
        if fitting:
            return max(enough, default=fitting[0])
    return -(-size // -(-size // most))


def _shrink(buffers: list[Buffer], blocks: Blocks, rows: int) -> None:
    """Make scratch memory that holds the rows of a block hold those of a smaller one."""
    inside = list(accesses(blocks.body))
    for number in {access.buffer for access in inside}:
        own = buffers[number]
        steps = {access.strides[blocks.axis] for access in inside if access.buffer == number}
        pitch = whole(max(steps))
        if own.role == "scratch" and pitch and whole(own.size) == pitch * whole(blocks.size):
            buffers[number] = own._replace(size=pitch * rows)


def _lower(statements: Sequence[Statement], rows: int) -> tuple[Statement, ...]:
    """The statements with products of so many rows."""
    lower: list[Statement] = []
    for statement in statements:
        if isinstance(statement, Product):
            statement = statement._replace(rows=rows)
        elif isinstance(statement, Loop):
            statement = statement._replace(body=_lower(statement.body, rows))
        lower.append(statement)
    return tuple(lower)
