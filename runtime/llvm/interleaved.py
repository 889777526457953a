"""Values that lie side by side in memory: the parts of complex numbers, the columns of pairs.

Two accesses of one buffer that go in steps of two, one element apart, read or write every element
between them.  Their vectors are two halves of one stretch of memory, taken apart or put together in
registers: no element is addressed by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

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
)
from graphc.runtime.program import Root
from graphc.runtime.renaming import Renaming

Pair = tuple[Access, Access]
"""The access of the even elements and that of the odd ones."""


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


def _is_less(a: object, b: object) -> bool:
    return isinstance(a, int) and isinstance(b, int) and a < b


def pairs(statements: Sequence[Statement], kind: type[Load] | type[Store]) -> dict[Access, Pair]:
    """Each access that is one of a pair, with the pair: both in one straight line of statements.

    Of stores, none is made twice, and no other thing that writes stands in that line.
    """
    found: dict[Access, Pair] = {}
    for statement in statements:
        if isinstance(statement, (Loop, Blocks)):
            found |= pairs(statement.body, kind)
    if not all(isinstance(s, (Load, Store, Compute, Index)) for s in statements):
        return found
    own = [s.access for s in statements if isinstance(s, kind) and _is_plain(s)]
    known = set(own)
    for even in own:
        odd = _next(even)
        if odd in known and 2 in even.strides and own.count(even) == own.count(odd) == 1:
            found[even] = found[odd] = (even, odd)
    return found


def _is_plain(statement: Load | Store) -> bool:
    if isinstance(statement, Store):
        return True
    return statement.position is None and statement.guard is None


def _next(access: Access) -> Access:
    return access._replace(offset=access.offset + 1)


def evens(lanes: int) -> list[int]:
    """Every second element of two stretches of memory, of which the second begins one element
    before the end of the first: nothing beyond the last one is touched."""
    half = lanes // 2
    return [*range(0, lanes, 2), *(lanes + 1 + 2 * i for i in range(half))]
