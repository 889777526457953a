"""Tiles for loops whose accesses run along different axes of memory.

Before:  for i0 < 1024 { vector for i1 < 4096 { ... x[i0 + i1*1024] ... y[i0*4096 + i1] ... } }
After:   for blocks of 64 of i0 { for blocks of 64 of i1 {
           transpose x[i0 + i1*1024] to tile[i0*64 + i1]
           for i0 { vector for i1 { ... tile[i0*64 + i1] ... y[i0*4096 + i1] ... } } } }

A vector along i1 would be gathered, an element from each of many lines of memory.  A tile is read
in whole lines, transposed in registers and then read again from the nearest cache.

Sound because a tile holds exactly what is read from memory that no statement of the loops writes,
and, where the loops are interchanged, nothing is accumulated and each turn stores what is its own.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from graphc.dims import Dim, Size
from graphc.ir import Type
from graphc.runtime.kernel import (
    Access,
    Blocks,
    Buffer,
    Compute,
    Index,
    Kernel,
    Load,
    Loop,
    Name,
    Statement,
    Store,
    Transpose,
    inner,
)
from graphc.runtime.sizes import large, same

LEAST_EDGE = 8
"""Shorter axes are not worth a tile."""
LEAST_ELEMENTS = 1024
EDGES = ((64, 64), (32, 64), (32, 32), (16, 32), (16, 16))
"""Sizes of blocks, of the contiguous axis and of the vector axis: the first that fits is taken."""
NAMED_EDGE = 16
"""The same for a size that has a name: a tile has to fit into it, or the code is not for it."""
TILES_BYTES = 32 * 1024
"""What all tiles of a loop may take: they stay in the first cache."""
PANEL_BYTES = 256 * 1024
"""The same for loops that reduce along a whole axis: the second cache."""
GRAIN = 64
"""Bytes of the widest vectors."""


def tile(kernel: Kernel) -> Kernel:
    """The kernel with tiles in its outermost loops, where vectors would be gathered."""
    buffers = list(kernel.buffers)
    body: list[Statement] = []
    for statement in kernel.body:
        rows = _total_by_rows(kernel, buffers, statement)
        body += rows or [_tiled(kernel, buffers, statement)]
    return kernel._replace(body=tuple(body), buffers=tuple(buffers))


class Crossing(NamedTuple):
    """Which accesses of a loop nest run along another axis than its vectors do."""

    contiguous: int
    vector: int
    loads: tuple[Access, ...]
    stores: tuple[Access, ...]


def _tiled(kernel: Kernel, buffers: list[Buffer], statement: Statement) -> Statement:
    if not isinstance(statement, Loop) or not _is_simple(kernel, statement):
        return statement
    crossing = _crossing(kernel, statement)
    if crossing is None:
        return statement
    ordered = _ordered(kernel, statement, crossing)
    if ordered is not statement:
        statement, crossing = ordered, _crossing(kernel, ordered)
        if crossing is None:
            return statement
    return _in_tiles(kernel, buffers, statement, crossing) or statement


def _is_simple(kernel: Kernel, loop: Loop) -> bool:
    """Whether the nest only loads, computes and stores, and reads nothing that it writes."""
    statements = list(inner((loop,)))
    written = {s.access.buffer for s in statements if isinstance(s, Store)}
    return all(
        isinstance(s, Compute | Index | Store | Loop)
        or (isinstance(s, Load) and s.access.buffer not in written)
        for s in statements
    )


def _crossing(kernel: Kernel, loop: Loop) -> Crossing | None:
    """The accesses that would be gathered, of those the ones along the most frequent axis."""
    axes = {s.axes[-1] for s in inner((loop,)) if isinstance(s, Loop) and s.vector}
    if len(axes) != 1:
        return None
    (vector,) = axes
    is_plain = _is_plain(loop)
    stored = Counter(s.access.buffer for s in inner((loop,)) if isinstance(s, Store))
    found: dict[Access, tuple[int, bool]] = {}
    for statement, bound in _bound((loop,), frozenset()):
        access, is_load = statement.access, isinstance(statement, Load)
        if isinstance(statement, Load):
            role = kernel.buffers[access.buffer].role
            if role != "in" or statement.position is not None or statement.guard is not None:
                continue
        elif not is_plain or stored[access.buffer] > 1:  # stored to in other ways, too
            continue
        axis = _contiguous(access)
        if axis is None or access.strides[vector] in (0, 1) or not {axis, vector} <= bound:
            continue
        if _is_worth(kernel, axis, vector):
            found[access] = axis, is_load
    if not found:
        return None
    [(contiguous, _)] = Counter(axis for axis, _ in found.values()).most_common(1)
    own = {access: load for access, (axis, load) in found.items() if axis == contiguous}
    loads = tuple(access for access, is_load in own.items() if is_load)
    stores = tuple(access for access, is_load in own.items() if not is_load)
    return Crossing(contiguous, vector, loads, stores)


def _bound(
    statements: Sequence[Statement], around: frozenset[int]
) -> Iterator[tuple[Load | Store, frozenset[int]]]:
    """Each load and store with the axes that it is inside of."""
    for statement in statements:
        if isinstance(statement, Loop):
            yield from _bound(statement.body, around | set(statement.axes))
        elif isinstance(statement, Load | Store):
            yield statement, around


def _contiguous(access: Access) -> int | None:
    return next((axis for axis, s in enumerate(access.strides) if same(s, 1)), None)


def _is_worth(kernel: Kernel, one: int, other: int) -> bool:
    sizes = kernel.domain[one], kernel.domain[other]
    if any(size < NAMED_EDGE for size in sizes if isinstance(size, Dim)):
        return False
    one, other = map(large, sizes)
    return min(one, other) >= LEAST_EDGE and one * other >= LEAST_ELEMENTS


# ---- the order of the loops ----------------------------------------------------------------------


def _is_plain(loop: Loop) -> bool:
    """Whether the loops stand one in another, and only the innermost stores: any order will do."""
    statement: Statement = loop
    while isinstance(statement, Loop):
        if statement.accumulators:
            return False
        nested = [s for s in statement.body if isinstance(s, Loop)]
        if not nested:
            return True
        if len(nested) > 1 or any(isinstance(s, Store) for s in statement.body):
            return False
        if statement.body[-1] is not nested[0]:
            return False
        statement = nested[0]
    return False


def vector_axis(accesses: Sequence[Access], now: int, other: int) -> int:
    """Of two axes the one along which more accesses are contiguous; `now` if equally many are."""
    runs = Counter(
        axis for access in accesses for axis in (now, other) if access.strides[axis] == 1
    )
    return other if runs[other] > runs[now] else now


def _ordered(kernel: Kernel, loop: Loop, crossing: Crossing) -> Loop:
    """Plain loops with those over the two axes innermost, the better one of them in vectors.

    What stood between the loops is done in the last but one: the values are the same.
    """
    if not _is_plain(loop):
        return loop
    axes, between, body = _taken_apart(loop)
    touched = dict.fromkeys(s.access for s in body if isinstance(s, Load | Store))
    two = {crossing.contiguous, crossing.vector}
    inside = vector_axis(list(touched), crossing.vector, crossing.contiguous)
    (outside,) = two - {inside}
    others = [axis for axis in axes if axis not in two]
    if inside != crossing.vector:  # what stood outside of the old loop may move along the new one
        body, between = [*between, *body], []
    nest = Loop((outside,), False, (*between, Loop((inside,), True, tuple(body))))
    for axis in reversed(others):
        nest = Loop((axis,), False, (nest,))
    return nest


def _taken_apart(loop: Loop) -> tuple[list[int], list[Statement], list[Statement]]:
    """The axes of plain loops, what stands between the loops, and what the innermost holds."""
    axes, between = [*loop.axes], list[Statement]()
    while isinstance(loop.body[-1], Loop):
        between += loop.body[:-1]
        loop = loop.body[-1]
        axes += loop.axes
    return axes, between, list(loop.body)


# ---- totals of a whole matrix --------------------------------------------------------------------


def _total_by_rows(
    kernel: Kernel, buffers: list[Buffer], statement: Statement
) -> list[Statement] | None:
    """A reduction over both axes of a tile as the totals of all rows, and then their total.

    Before:  t3 = sum over: vector for i0, i1 { ... }
    After:   for i0 { t4 = sum over: vector for i1 { ... } store row[i0] = t4 }
             t3 = sum over: vector for i0 { t5 = load row[i0] }

    The loop over rows accumulates nothing, so that it can run in blocks.
    """
    if not isinstance(statement, Loop) or not _is_simple(kernel, statement):
        return None
    crossing = _crossing(kernel, statement)
    if crossing is None or statement.axes != (crossing.contiguous, crossing.vector):
        return None
    number = _first_unused(kernel)
    axis, strides = crossing.contiguous, [0] * len(kernel.domain)
    strides[axis] = 1
    own, stores, loads, totals = list(buffers), [], [], []
    inside = []
    for accumulator in statement.accumulators:
        dtype = accumulator.out.dtype
        one, again = Name(number, dtype), Name(number + 1, dtype)
        number += 2
        row = Access(len(own), 0, tuple(strides))
        own.append(Buffer(f"row{len(own)}", dtype, kernel.domain[axis], "scratch"))
        inside.append(accumulator._replace(out=one))
        stores.append(Store(row, one))
        loads.append(Load(again, row))
        totals.append(accumulator._replace(value=again))
    each = statement._replace(axes=(crossing.vector,), accumulators=tuple(inside))
    tiled = _in_tiles(kernel, own, Loop((axis,), False, (each, *stores)), crossing)
    if tiled is None:
        return None
    buffers[:] = own
    return [tiled, Loop((axis,), True, tuple(loads), tuple(totals))]


def _first_unused(kernel: Kernel) -> int:
    made = [s.out.number for s in inner(kernel.body) if isinstance(s, Load | Compute | Index)]
    for loop in inner(kernel.body):
        if isinstance(loop, Loop):
            made += [accumulator.out.number for accumulator in loop.accumulators]
    return max(made, default=0) + 1


# ---- tiles ---------------------------------------------------------------------------------------


def _in_tiles(
    kernel: Kernel, buffers: list[Buffer], loop: Loop, crossing: Crossing
) -> Statement | None:
    """The nest in blocks, within those loops that no tile runs along; None where none fit."""
    two = {crossing.contiguous, crossing.vector}
    around: list[Loop] = []
    while not two & set(loop.axes) and not loop.accumulators and len(loop.body) == 1:
        (inside,) = loop.body
        if not isinstance(inside, Loop):
            return None
        around.append(loop)
        loop = inside
    crossing = _fixed_by(crossing, {axis for outer in around for axis in outer.axes})
    edges = _edges(kernel, loop, crossing)
    if edges is None:
        return None
    statement: Statement = _in_blocks(kernel, buffers, loop, crossing, edges)
    for outer in reversed(around):
        statement = outer._replace(body=(statement,))
    return statement


def _fixed_by(crossing: Crossing, outer: set[int]) -> Crossing:
    """Those accesses that move along the two axes of a tile, and along loops around it."""
    known = outer | {crossing.contiguous, crossing.vector}

    def fixed(accesses: Sequence[Access]) -> tuple[Access, ...]:
        return tuple(
            access
            for access in accesses
            if all(axis in known for axis, stride in enumerate(access.strides) if stride)
        )

    return crossing._replace(loads=fixed(crossing.loads), stores=fixed(crossing.stores))


def _edges(kernel: Kernel, loop: Loop, crossing: Crossing) -> dict[int, int] | None:
    """The sizes of blocks; an axis that is reduced, or run over several times, stays whole.

    It has to have a number for that.
    """
    two = crossing.contiguous, crossing.vector
    kept = [axis for axis in two if _is_plain(loop) or _is_kept(loop, axis)]
    most = TILES_BYTES if len(kept) == 2 else PANEL_BYTES
    touched = (*crossing.loads, *crossing.stores)
    bytes_each = [Type(kernel.buffers[access.buffer].dtype).nbytes for access in touched]
    whole = [kernel.domain[axis] for axis in two if axis not in kept]
    if not kept or not touched or any(isinstance(size, Dim) for size in whole):
        return None
    widest = max(bytes_each)
    for sizes in EDGES:
        edges = {
            axis: _even(kernel.domain[axis], size, GRAIN // widest)
            if axis in kept
            else int(kernel.domain[axis])
            for axis, size in zip(two, sizes, strict=True)
        }
        if math.prod(edges.values()) * sum(bytes_each) <= most:
            return edges
    return None


def _even(size: Size, edge: int, grain: int) -> int:
    """About `edge`, in whole vectors, so that the blocks of an axis hardly overlap."""
    if isinstance(size, Dim):
        return NAMED_EDGE
    each = -(-size // max(round(size / edge), 1))
    return min(-(-each // grain) * grain, size)


def _is_kept(loop: Loop, axis: int) -> bool:
    return loop.axes == (axis,) and not loop.accumulators


def _in_blocks(
    kernel: Kernel, buffers: list[Buffer], loop: Loop, crossing: Crossing, edges: dict[int, int]
) -> Statement:
    row, column = crossing.contiguous, crossing.vector
    tiles: dict[Access, Access] = {}
    for access in (*crossing.loads, *crossing.stores):
        strides: list[Size] = [0] * len(kernel.domain)
        strides[row], strides[column] = edges[column], 1
        tiles[access] = Access(len(buffers), 0, tuple(strides))
        dtype = kernel.buffers[access.buffer].dtype
        buffers.append(Buffer(f"tile{len(buffers)}", dtype, math.prod(edges.values()), "scratch"))
    statements: tuple[Statement, ...] = (
        *(Transpose(access, tiles[access], row, column) for access in crossing.loads),
        _with_accesses(loop, tiles),
        *(Transpose(tiles[access], access, column, row) for access in crossing.stores),
    )
    for axis in (column, row):
        if _is_plain(loop) or _is_kept(loop, axis):
            statements = (Blocks(axis, edges[axis], statements),)
    (statement,) = statements
    return statement


def _with_accesses(loop: Loop, tiles: dict[Access, Access]) -> Loop:
    body: list[Statement] = []
    for statement in loop.body:
        match statement:
            case Loop():
                statement = _with_accesses(statement, tiles)
            case Load(access=access, position=None, guard=None) | Store(access=access):
                statement = statement._replace(access=tiles.get(access, access))
        body.append(statement)
    return loop._replace(body=tuple(body))
