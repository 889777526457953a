"""How the work of a kernel is divided among threads: decisions alone, no code.

The outer loops of a nest whose iterations do not see each other are *peeled*: each combination of
their indices is a *unit*, and units run at the same time.
"""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from typing import NamedTuple

from graphc.runtime.cuda.plan.whole import whole, wholes
from graphc.runtime.independence import is_independent, is_private
from graphc.runtime.kernel import (
    AddAt,
    Blocks,
    Compute,
    Index,
    Kernel,
    Load,
    Loop,
    Statement,
    Store,
    accesses,
    inner,
)
from graphc.runtime.program import Root

ATOMIC = frozenset({"f32", "f64", "i32", "i64", "u32", "u64"})
"""The dtypes that a device adds to memory in one step."""

MOST_CUTS = 64
"""Up to this many indices along an axis are compared with each other one by one, where accesses
move by different distances."""


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
    return _peeled(by_itself(kernel, statement), roots, statement)


def peeled_adding(kernel: Kernel, roots: Sequence[Root], statement: Statement) -> Nest | None:
    """The same where units may add at the same place at the same time.

    None where nothing is added, something is put, or what is added to is also read or stored, or
    where a loop is left: a unit adds an element.
    """
    additions = [s for s in inner((statement,)) if isinstance(s, AddAt)]
    rest = _without_additions(statement)
    added = {m for s in additions for m in roots[s.access.buffer].memories()}
    others = {m for a in accesses((rest,)) for m in roots[a.buffer].memories()}
    words = {kernel.buffers[s.access.buffer].dtype for s in additions}
    if not additions or any(s.replaces for s in additions) or not words <= ATOMIC:
        return None
    if not added.isdisjoint(others):
        return None
    nest = _peeled(by_itself(kernel, rest), roots, statement)
    plain = all(isinstance(s, (Load, Compute, Index, Store, AddAt)) for s in nest.body)
    return nest if plain and nest.units else None


def _without_additions(statement: Statement) -> Statement:
    if isinstance(statement, (Loop, Blocks)):
        kept = [_without_additions(s) for s in statement.body if not isinstance(s, AddAt)]
        return statement._replace(body=tuple(kept))
    return statement


def _peeled(alone: Kernel, roots: Sequence[Root], statement: Statement) -> Nest:
    units: list[Unit] = []
    before: list[Statement] = []
    body: tuple[Statement, ...] = (statement,)
    innermost: Loop | None = None
    sizes = list(wholes(alone.domain))
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
    if not any(map(is_private, kernel.buffers)):
        return kernel._replace(body=(statement,), division=None)
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


def are_apart_rows(
    kernel: Kernel, roots: Sequence[Root], loop: Loop, private: frozenset[int]
) -> bool:
    """Whether no turn of a loop sees another one, where each has the `private` scratch memory for
    itself and shares all other."""
    others = [b for b in range(len(kernel.buffers)) if b not in private]
    alone = _sharing(kernel._replace(body=(loop,), division=None), others)
    return all(is_apart(alone, roots, axis) for axis in loop.axes if alone.domain[axis] > 1)


def is_apart(kernel: Kernel, roots: Sequence[Root], axis: int, reduces: bool = False) -> bool:
    """Whether no index along an axis sees what another one does, on this memory.

    With `reduces`, totals over the axis are put together afterwards.

    Where each access moves by the same distance from index to index, what two neighbours touch lies
    to each other as with any other two, so that of a long axis few are compared.
    """
    size = whole(kernel.domain[axis])
    if size == 1:
        return True
    steps: dict[Root, set[int]] = {}
    for access in accesses(kernel.body):
        for memory in roots[access.buffer].memories():
            steps.setdefault(memory, set()).add(whole(access.strides[axis]))
    written = (roots[i] for i, b in enumerate(kernel.buffers) if b.role == "out")
    is_even = all(len(steps.get(m, ())) <= 1 for root in written for m in root.memories())
    if size <= 4 or (size <= MOST_CUTS and not is_even):
        return is_independent(kernel, roots, axis, tuple(range(size + 1)), reduces)
    firsts = dict.fromkeys((0, size // 2, size - 2)) if is_even else ()
    return bool(firsts) and all(
        is_independent(kernel, roots, axis, (first, first + 1, first + 2), reduces)
        for first in firsts
    )
