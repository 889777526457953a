"""Nests over few columns, or few long rows, with several totals, as a nest for each of them.

Before:  for i1 { t2 = sum over: for i0 { x[i0, i1] }
                  t6 = sum over: for i0 { (x[i0, i1] - t2)**2 }
                  for i0 { y[i0, i1] = (x[i0, i1] - t2) * t6 } }
After:   for i1 { t2 = sum over: for i0 { x[i0, i1] }; kept[i1] = t2 }
         for i1 { t2 = kept[i1]; t6 = sum over: for i0 { ... }; kept'[i1] = t6 }
         for i0, i1 { t2 = kept[i1]; t6 = kept'[i1]; y[i0, i1] = (x[i0, i1] - t2) * t6 }

A thread for each column, or a block for each row, is all that can be had of the nest as it was.
One total alone is made in parts, and elements have a thread each.  Sound where columns, or rows, do
not see each other: for each of them everything happens in the order in which it did, and no other
one minds when.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from graphc.runtime.cuda.plan.device_kernel import Limits
from graphc.runtime.cuda.plan.forms import LEAST_PART
from graphc.runtime.cuda.plan.mapping import by_itself, is_apart
from graphc.runtime.cuda.plan.phases import (
    PLAIN,
    is_compound,
    needed,
    outer_names,
    written_memory,
)
from graphc.runtime.cuda.plan.row_totals import part_root
from graphc.runtime.cuda.plan.whole import wholes
from graphc.runtime.kernel import (
    Access,
    Buffer,
    Index,
    Kernel,
    Load,
    Loop,
    Name,
    Statement,
    Store,
    accesses,
    is_plain,
)
from graphc.runtime.program import Root

FEW = 8
"""Columns are few if a device has room for so many times the threads, rows if it has room for so
many times the blocks."""
LEAST_ROWS = 2 * LEAST_PART
"""Below that a thread is done with a column sooner than another launch has begun."""
LEAST_COLUMNS = 1 << 16
"""Below that a row has no parts for several blocks."""

Segment = tuple[Statement, ...]


def totals_apart(kernel: Kernel, roots: Sequence[Root], limits: Limits) -> Kernel | None:
    """The kernel with its nests divided, None where there are none to divide.

    It has more buffers: what one nest keeps for another, the same for all threads.
    """
    body: list[Statement] = []
    buffers = list(kernel.buffers)
    for statement in kernel.body:
        nest = _unwrapped(statement)
        if nest is not None and _is_divisible(kernel, roots, nest, limits):
            body += _divided(kernel, roots, nest, buffers)
        else:
            body.append(statement)
    if len(body) == len(kernel.body):
        return None
    return kernel._replace(body=tuple(body), buffers=tuple(buffers))


def _unwrapped(statement: Statement) -> Loop | None:
    """A nest of loops that hold nothing but one another as one loop."""
    if not isinstance(statement, Loop) or statement.accumulators:
        return None
    match statement.body:
        case (Loop(accumulators=()) as inside,):
            return _unwrapped(inside._replace(axes=(*statement.axes, *inside.axes)))
    return statement


def _is_divisible(kernel: Kernel, roots: Sequence[Root], nest: Loop, limits: Limits) -> bool:
    sizes = wholes(kernel.domain)
    loops = [s for s in nest.body if is_compound(s)]
    if len(loops) < 2:
        return False
    units = math.prod(sizes[axis] for axis in nest.axes)
    room = limits.most_blocks * (limits.threads if nest.vector else 1)
    least = LEAST_ROWS if nest.vector else LEAST_COLUMNS
    if FEW * units > room or not all(_is_plain(loop, nest, sizes, least) for loop in loops):
        return False
    if any(kernel.buffers[access.buffer].role == "scratch" for access in accesses((nest,))):
        return False
    alone = by_itself(kernel, nest)
    return all(is_apart(alone, roots, axis) for axis in nest.axes)


def _is_plain(statement: Statement, nest: Loop, sizes: Sequence[int], least: int) -> bool:
    """Whether a statement is a loop of at least so many turns, along the other way than its nest:
    over rows where threads are side by side along the columns."""
    if not isinstance(statement, Loop) or statement.vector == nest.vector:
        return False
    is_long = math.prod(sizes[axis] for axis in statement.axes) >= least
    return is_long and all(isinstance(s, PLAIN) for s in statement.body)


def _divided(
    kernel: Kernel, roots: Sequence[Root], nest: Loop, buffers: list[Buffer]
) -> Iterator[Loop]:
    """A nest for each loop inside; `buffers` grow by what is kept between them."""
    segments = list(_segments(nest.body))
    names = {name.number: name for s in segments for name in outer_names(s)}
    again = dict(_repeatable(kernel, roots, nest.body))
    wanted = [_wanted(segments, i, again) for i in range(len(segments))]
    kept: dict[int, Access] = {}
    for number in dict.fromkeys(n for numbers in wanted for n in numbers if n not in again):
        kept[number] = _kept(kernel, nest, names[number], buffers)
    for segment, numbers in zip(segments, wanted, strict=True):
        head = [again[n] if n in again else Load(names[n], kept[n]) for n in numbers]
        own = [name for name in outer_names(segment) if name.number in kept]
        tail = [Store(kept[name.number], name) for name in own]
        divided = nest._replace(body=(*head, *segment, *tail))
        yield _by_elements(kernel._replace(buffers=tuple(buffers)), roots, divided)


def _segments(body: Sequence[Statement]) -> Iterator[Segment]:
    """Each loop and what comes before the next one."""
    segment: list[Statement] = []
    for statement in body:
        if is_compound(statement) and any(map(is_compound, segment)):
            yield tuple(segment)
            segment = []
        segment.append(statement)
    yield tuple(segment)


def _repeatable(
    kernel: Kernel, roots: Sequence[Root], body: Sequence[Statement]
) -> Iterator[tuple[int, Statement]]:
    """What may as well be run in each nest that needs its value."""
    written = written_memory(kernel, roots)
    for s in body:
        if isinstance(s, Load) and is_plain(s):
            if written.isdisjoint(roots[s.access.buffer].memories()):
                yield s.out.number, s
        elif isinstance(s, Index):
            yield s.out.number, s


def _wanted(segments: Sequence[Segment], at: int, again: dict[int, Statement]) -> list[int]:
    """The values that a segment needs of those before it."""
    before = {name.number for s in segments[:at] for name in outer_names(s)}
    return [number for number in needed(segments[at], again) if number in before]


def _kept(kernel: Kernel, nest: Loop, name: Name, buffers: list[Buffer]) -> Access:
    """A new buffer with an element for each column, or row."""
    sizes = wholes(kernel.domain)
    strides, step = [0] * len(sizes), 1
    for axis in reversed(nest.axes):
        strides[axis], step = step, step * sizes[axis]
    buffers.append(Buffer(f"kept{len(buffers)}", name.dtype, step, "out"))
    return Access(len(buffers) - 1, 0, tuple(strides))


def _by_elements(kernel: Kernel, roots: Sequence[Root], nest: Loop) -> Loop:
    """The nest over elements, for threads side by side along the columns, where it has no total and
    nothing but reading before its loop."""
    *head, last = nest.body
    if not isinstance(last, Loop) or last.accumulators or not all(map(_is_reading, head)):
        return nest
    axes = (*last.axes, *nest.axes) if nest.vector else (*nest.axes, *last.axes)
    turned = Loop(axes, True, (*head, *last.body))
    known = [*roots, *(part_root(kernel, i) for i in range(len(roots), len(kernel.buffers)))]
    alone = kernel._replace(body=(turned,))
    return turned if all(is_apart(alone, known, axis) for axis in turned.axes) else nest


def _is_reading(statement: Statement) -> bool:
    return isinstance(statement, (Load, Index))
