"""Along which axes a kernel can be divided: those along which no share sees what another does.

  - every store lies in a loop over the axis and moves along it, so that shares write apart;
  - no reduction runs over it, and scratch memory, of which each share has its own, is only used
    within a loop over it;
  - memory that is written is touched at one element in each turn, so that nobody reads elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from graphc.runtime.kernel import (
    Access,
    AddAt,
    Blocks,
    Buffer,
    Kernel,
    Load,
    Loop,
    Native,
    Product,
    Statement,
    Store,
    accesses,
    inner,
    loop_axes,
)
from graphc.runtime.program import Root


def is_private(buffer: Buffer) -> bool:
    """Whether each share has a buffer of this kind for itself."""
    return buffer.role == "scratch"


def independent_axes(kernel: Kernel, roots: Sequence[Root]) -> list[int]:
    """The axes that the kernel, on this memory, can be divided along; outermost first."""
    if not _reads_own(kernel, roots):
        return []
    candidates = dict.fromkeys(
        axis
        for statement in inner(kernel.body)
        for axis in loop_axes(statement)
        if kernel.domain[axis] > 1
    )
    return [axis for axis in candidates if _is_apart(kernel, axis)]


def _is_apart(kernel: Kernel, axis: int) -> bool:
    reduced = any(
        isinstance(s, Loop) and s.accumulators and axis in s.axes for s in inner(kernel.body)
    )
    around = list(_outside_of(kernel.body, axis))
    written = [a for s in inner(kernel.body) for a in _written(kernel, s)]
    return (
        not reduced
        and all(access.strides[axis] for access in written)
        and all(kernel.buffers[access.buffer].role == "in" for access in around)
    )


def _outside_of(statements: Sequence[Statement], axis: int) -> Iterator[Access]:
    """What is touched outside of the loops over `axis`."""
    for statement in statements:
        if axis in loop_axes(statement):
            continue
        if isinstance(statement, (Loop, Blocks)):
            yield from _outside_of(statement.body, axis)
        else:
            yield from accesses((statement,))


def _written(kernel: Kernel, statement: Statement) -> list[Access]:
    """What a statement itself writes for others to read.

    A routine writes its results, of which a turn of the loop around it has a part to itself.
    """
    match statement:
        case Store(access=access) | AddAt(access=access):
            found = [access]
        case Native(arguments=arguments):
            accesses = [a for a in arguments if isinstance(a, Access)]
            found = [a for a in accesses if kernel.buffers[a.buffer].role != "in"]
        case _:
            found = []
    return [access for access in found if not is_private(kernel.buffers[access.buffer])]


def _read(statement: Statement) -> list[Access]:
    """What a statement reads elsewhere than at one element for each turn of its loops."""
    match statement:
        case Load(access=access, position=position) if position is not None:
            return [access]
        case Product(left=left, right=right):
            return [left, right]
        case Native(arguments=arguments):
            return [a for a in arguments if isinstance(a, Access)]
    return []


def _reads_own(kernel: Kernel, roots: Sequence[Root]) -> bool:
    """Whether memory that is written is touched at one element only in each turn."""
    ways: dict[Root, set[tuple[int, tuple[int, ...]]]] = {}
    read: set[Root] = set()
    for statement in inner(kernel.body):
        writes = _written(kernel, statement)
        read.update(
            memory
            for access in _read(statement)
            if access not in writes
            for memory in roots[access.buffer].memories()
        )
        for access in writes:
            for memory in roots[access.buffer].memories():
                ways.setdefault(memory, set()).add((access.offset, access.strides))
    for statement in inner(kernel.body):
        if isinstance(statement, Load) and statement.position is None:
            for memory in roots[statement.access.buffer].memories():
                if memory in ways:
                    access = statement.access
                    ways[memory].add((access.offset, access.strides))
    return read.isdisjoint(ways) and all(len(how) == 1 for how in ways.values())
