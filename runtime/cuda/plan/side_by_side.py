"""Which phases of a kernel run in one launch: elementwise nests that do not see each other.

Two nests may write one memory, as the pieces of a join do, if they write different elements of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from graphc.runtime.cuda.plan.forms import Form
from graphc.runtime.cuda.plan.phases import Phase
from graphc.runtime.cuda.plan.whole import whole
from graphc.runtime.kernel import AddAt, Kernel, Load, Store, inner, is_plain
from graphc.runtime.program import Root

MOST_TOGETHER = 64
"""Each block of a launch looks through its nests for its own, and each has parameters."""

Chosen = tuple[Phase, Form]


class Touched(NamedTuple):
    """Elements of a memory: `start`, and so many (`turns`) at a distance (`stride`) along each of
    some axes; with `steps` None, any elements."""

    root: Root
    dtype: str
    writes: bool
    start: int
    steps: tuple[tuple[int, int], ...] | None


def side_by_side(
    kernel: Kernel, roots: Sequence[Root], chosen: Sequence[Chosen]
) -> list[list[Chosen]]:
    """The phases in order, neighbours that may run in one launch together; none without work."""
    groups: list[list[Chosen]] = []
    held: list[Touched] = []
    for phase, form in chosen:
        if not form.nest.size:
            continue
        joins = form.kind == "elements" and not form.adds_at_once
        touched = list(touched_by(kernel, roots, phase)) if joins else []
        has_room = groups and held and len(groups[-1]) < MOST_TOGETHER
        if has_room and joins and are_apart(held, touched):
            groups[-1].append((phase, form))
            held += touched
        else:
            groups.append([(phase, form)])
            held = touched
    return groups


def touched_by(kernel: Kernel, roots: Sequence[Root], phase: Phase) -> Iterator[Touched]:
    """What an elementwise phase reads and writes."""
    for statement in inner(phase.statements):
        if isinstance(statement, (Load, Store, AddAt)):
            access = statement.access
            is_fixed = not isinstance(statement, AddAt) and is_plain(statement)
            turns = zip(access.strides, kernel.domain, strict=True)
            steps = tuple((whole(stride), whole(size)) for stride, size in turns if stride)
            yield Touched(
                roots[access.buffer],
                kernel.buffers[access.buffer].dtype,
                not isinstance(statement, Load),
                whole(access.offset),
                steps if is_fixed else None,
            )


def are_apart(some: Sequence[Touched], others: Sequence[Touched]) -> bool:
    """Whether neither touches what the other writes."""
    return all(
        _differ(one, other)
        for other in others
        for one in some
        if (one.writes or other.writes) and one.root.meets(other.root)
    )


def _differ(one: Touched, other: Touched) -> bool:
    """Whether two accesses of memory that may be one never touch the same element.

    They do not if the memory can be seen as rows of which they touch different columns.
    """
    if one.root != other.root or one.dtype != other.dtype:
        return False  # places in it cannot be compared
    if one.steps is None or other.steps is None:
        return False
    distances = {0} | {abs(stride) for stride, _ in (*one.steps, *other.steps)}
    return any(_differ_in_rows(one, other, distance) for distance in distances)


def _differ_in_rows(one: Touched, other: Touched, distance: int) -> bool:
    """Whether the columns differ in a memory of rows of so many elements; 0 for a single row."""
    first, second = _columns(one, distance), _columns(other, distance)
    if first is None or second is None:
        return False
    return first[1] <= second[0] or second[1] <= first[0]


def _columns(touched: Touched, distance: int) -> tuple[int, int] | None:
    """The first column that is touched and the one after the last; None if a row does not end
    between them."""
    assert touched.steps is not None
    within = [(s, n) for s, n in touched.steps if not distance or s % distance]
    low = touched.start + sum(min(0, stride * (turns - 1)) for stride, turns in within)
    high = touched.start + sum(max(0, stride * (turns - 1)) for stride, turns in within) + 1
    if not distance:
        return low, high
    first = low % distance
    last = first + high - low
    return (first, last) if last <= distance else None
