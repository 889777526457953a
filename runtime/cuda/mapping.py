"""How the work of a kernel is divided among threads: decisions alone, no code.

The outer loops of a nest whose iterations do not see each other are *peeled*: each combination of
their indices is a *unit*, and units run at the same time.
"""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from typing import NamedTuple

from graphc.runtime.cuda.whole import whole, wholes
from graphc.runtime.independence import is_independent, is_private
from graphc.runtime.kernel import (
    Blocks,
    Compute,
    Index,
    Kernel,
    Load,
    Loop,
    Statement,
    Store,
    accesses,
)
from graphc.runtime.program import Root

MOST_CUTS = 256
"""Up to this many indices along an axis are compared with each other one by one."""


class Unit(NamedTuple):
    """An axis of which each unit has one index, or one of the blocks of a `Blocks`."""

    axis: int
    turns: int
    blocks: Blocks | None = None


class Nest(NamedTuple):
    """A nest of loops in units: what each unit does, `before` being hoisted out of inner ones."""

    units: tuple[Unit, ...]
    before: tuple[Statement, ...]
    body: tuple[Statement, ...]
    innermost: Loop | None = None
    """The innermost peeled loop."""

    @property
    def size(self) -> int:
        return math.prod(unit.turns for unit in self.units)


def peeled(kernel: Kernel, roots: Sequence[Root], statement: Statement) -> Nest:
    """The nest of a statement, with as many loops peeled as may be."""
    alone = by_itself(kernel, statement)
    units: list[Unit] = []
    before: list[Statement] = []
    body: tuple[Statement, ...] = (statement,)
    innermost: Loop | None = None
    sizes = list(wholes(kernel.domain))
    while _is_plain(body[:-1]) and (axes := _axes_of(body[-1], sizes)):
        if not all(is_apart(alone, roots, axis) for axis, _ in axes):
            break
        loop = body[-1]
        assert isinstance(loop, (Loop, Blocks))
        blocks = loop if isinstance(loop, Blocks) else None
        units += [Unit(axis, count, blocks) for axis, count in axes]
        if blocks is not None:
            sizes[blocks.axis] = whole(blocks.size)
        else:
            assert isinstance(loop, Loop)
            innermost = loop
        before += body[:-1]
        body = loop.body
    return Nest(tuple(units), tuple(before), body, innermost)


def _is_plain(statements: Sequence[Statement]) -> bool:
    """Whether each unit may run these for itself."""
    return all(isinstance(s, (Load, Compute, Index, Store)) for s in statements)


def _axes_of(statement: Statement, sizes: Sequence[int]) -> list[tuple[int, int]]:
    """The axes of a loop that may be peeled, and how many turns each has."""
    match statement:
        case Loop(axes=axes, accumulators=()):
            return [(axis, sizes[axis]) for axis in axes]
        case Blocks(axis=axis, size=size):
            return [(axis, -(-sizes[axis] // whole(size)))]
    return []


def by_itself(kernel: Kernel, statement: Statement) -> Kernel:
    """The kernel with one of its statements alone.

    Scratch memory that others touch as well outlasts it: units may not have one each.
    """
    others = [s for s in kernel.body if s is not statement]
    kept = {access.buffer for access in accesses(others)}
    return _sharing(kernel._replace(body=(statement,), division=None), kept)


def _sharing(kernel: Kernel, buffers: Container[int]) -> Kernel:
    """The kernel with scratch memory that is like any other, so that everybody sees the same."""
    shared = tuple(
        b._replace(role="out") if i in buffers and is_private(b) else b
        for i, b in enumerate(kernel.buffers)
    )
    return kernel._replace(buffers=shared)


def is_spreadable(kernel: Kernel, roots: Sequence[Root], loop: Loop) -> bool:
    """Whether the turns of a loop may run at the same time, in threads that share all memory."""
    alone = _sharing(kernel._replace(body=(loop,), division=None), range(len(kernel.buffers)))
    axes = [axis for axis in loop.axes if kernel.domain[axis] > 1]
    return all(is_apart(alone, roots, axis, reduces=True) for axis in axes)


def is_apart(kernel: Kernel, roots: Sequence[Root], axis: int, reduces: bool = False) -> bool:
    """Whether no index along an axis sees what another one does, on this memory.

    With `reduces`, totals over the axis are put together afterwards.

    Where each access moves by the same distance from index to index, what two neighbours touch lies
    to each other as with any other two, so that of a long axis few are compared.
    """
    size = whole(kernel.domain[axis])
    if size <= MOST_CUTS:
        return is_independent(kernel, roots, axis, tuple(range(size + 1)), reduces)
    steps: dict[Root, set[int]] = {}
    for access in accesses(kernel.body):
        for memory in roots[access.buffer].memories():
            steps.setdefault(memory, set()).add(whole(access.strides[axis]))
    written = (roots[i] for i, b in enumerate(kernel.buffers) if b.role != "in")
    if any(len(steps.get(m, ())) > 1 for root in written for m in root.memories()):
        return False
    return all(
        is_independent(kernel, roots, axis, (first, first + 1, first + 2), reduces)
        for first in (0, size // 2, size - 2)
    )
