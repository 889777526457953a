"""Values that lie side by side in memory: the parts of complex numbers, coordinates, colours.

Three accesses of one buffer that go in steps of three, one element apart, read or write every
element between them.  Their vectors are one stretch of memory, taken apart or put together in
registers: no element is addressed by itself.  The same for other steps, up to 3x3 matrices.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from graphc.runtime.kernel import (
    Access,
    Blocks,
    Compute,
    Index,
    Kernel,
    Load,
    Loop,
    Statement,
    Store,
    is_plain,
)
from graphc.runtime.llvm.registers import Reg
from graphc.runtime.program import Root
from graphc.runtime.renaming import Renaming

if TYPE_CHECKING:
    from graphc.runtime.llvm.builder import Function

MOST = 9
"""The longest step of accesses that are put together."""

Group = tuple[Access, ...]
"""Accesses to neighbours, in the order in which they lie in memory, as many as their steps long."""


def with_shared_buffers(kernel: Kernel, roots: Sequence[Root]) -> Kernel:
    """The kernel with all accesses of one kind to one memory through one buffer.

    The parts of an array are values of their own in a graph, and so have buffers of their own.
    """
    first: dict[object, int] = {}
    shared = {
        i: first.setdefault((root, buffer.role, buffer.dtype), i)
        if buffer.role in ("in", "out")
        else first.setdefault(i, i)
        for i, (root, buffer) in enumerate(zip(roots, kernel.buffers, strict=True))
    }
    if len(first) == len(shared):
        return kernel
    buffers = list(kernel.buffers)
    for i, j in shared.items():
        if _is_less(buffers[j].size, buffers[i].size):
            buffers[j] = buffers[j]._replace(size=buffers[i].size)
    rank = len(kernel.domain)
    at = Renaming({i: i for i in range(rank)}, shared, rank, {})
    return kernel._replace(buffers=tuple(buffers), body=at.statements(kernel.body))


def with_stores_together(kernel: Kernel, roots: Sequence[Root]) -> Kernel:
    """The kernel with stores to neighbours behind the loads that stand between them.

    Sound because the loads are of other memory.
    """

    def may_meet(load: Load, store: Store) -> bool:
        return roots[load.access.buffer].meets(roots[store.access.buffer])

    def changed(statements: tuple[Statement, ...]) -> tuple[Statement, ...]:
        inside = tuple(
            s._replace(body=changed(s.body)) if isinstance(s, (Loop, Blocks)) else s
            for s in statements
        )
        return tuple(_stores_together(inside, may_meet)) if _has_neighbours(inside) else inside

    return kernel._replace(body=changed(kernel.body))


def _has_neighbours(statements: Sequence[Statement]) -> bool:
    """Whether a straight line stores to one array more than once, in short steps."""
    if not all(isinstance(s, (Load, Store, Compute, Index)) for s in statements):
        return False
    own = Counter((s.access.buffer, s.access.strides) for s in statements if isinstance(s, Store))
    return any(
        count > 1 and any(isinstance(step, int) and 2 <= step <= MOST for step in strides)
        for (_, strides), count in own.items()
    )


def _stores_together(
    statements: Sequence[Statement], may_meet: Callable[[Load, Store], bool]
) -> Iterator[Statement]:
    waiting: list[Store] = []
    for statement in statements:
        if isinstance(statement, Store):
            waiting.append(statement)
            continue
        if isinstance(statement, Load) and any(may_meet(statement, s) for s in waiting):
            yield from waiting
            waiting = []
        yield statement
    yield from waiting


def _is_less(a: object, b: object) -> bool:
    return isinstance(a, int) and isinstance(b, int) and a < b


def groups(
    statements: Sequence[Statement], kind: type[Load] | type[Store], axis: int
) -> dict[Access, Group]:
    """Each access that is one of a group along an axis, with the group.

    The statements are one straight line.  No access is made twice, and none of the other kind
    stands between those of a group, which are made at once: the loads with the first of them, the
    stores with the last.
    """
    found: dict[Access, Group] = {}
    if not all(isinstance(s, (Load, Store, Compute, Index)) for s in statements):
        return found
    own = Counter(s.access for s in statements if isinstance(s, kind) and is_plain(s))
    for first in own:
        step = first.strides[axis]
        if not isinstance(step, int) or not 2 <= step <= MOST:
            continue
        group = tuple(first._replace(offset=first.offset + i) for i in range(step))
        is_one = all(own[access] == 1 and access not in found for access in group)
        if is_one and not _is_divided(statements, group, kind):
            found.update(dict.fromkeys(group, group))
    return found


def _is_divided(
    statements: Sequence[Statement], group: Group, kind: type[Load] | type[Store]
) -> bool:
    """Whether an access of the other kind stands between those of a group."""
    at = [i for i, s in enumerate(statements) if isinstance(s, kind) and s.access in group]
    return any(
        isinstance(s, (Load, Store)) and not isinstance(s, kind) for s in statements[at[0] : at[-1]]
    )


def evens(lanes: int) -> list[int]:
    """Every second element of two stretches of memory, of which the second begins one element
    before the end of the first: nothing beyond the last one is touched."""
    half = lanes // 2
    return [*range(0, lanes, 2), *(lanes + 1 + 2 * i for i in range(half))]


def taken_apart(f: Function, vectors: Sequence[Reg]) -> list[Reg]:
    """The values of each access, of vectors that follow each other in memory."""
    step, lanes = len(vectors), vectors[0].lanes
    return [
        _picked(f, vectors, [divmod(lane * step + part, lanes) for lane in range(lanes)])
        for part in range(step)
    ]


def put_together(f: Function, values: Sequence[Reg]) -> list[Reg]:
    """Vectors that follow each other in memory, of the values of each access."""
    step, lanes = len(values), values[0].lanes
    return [
        _picked(f, values, [(i % step, i // step) for i in range(k * lanes, (k + 1) * lanes)])
        for k in range(step)
    ]


def _picked(f: Function, vectors: Sequence[Reg], picks: Sequence[tuple[int, int]]) -> Reg:
    """The lanes `(vector, lane)`: one vector after the other comes in, each by one shuffle."""
    lanes = len(picks)
    first, *others = sorted({vector for vector, _ in picks})
    result = vectors[first]
    order = [lane if vector == first else 0 for vector, lane in picks]
    for own in others:
        pairs = zip(order, picks, strict=True)
        order = [lanes + lane if vector == own else known for known, (vector, lane) in pairs]
        result = f.shuffle(result, vectors[own], order)
        order = list(range(lanes))
    return result
