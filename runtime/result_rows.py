"""Rows of scratch memory that lie where a result will be.

What one loop over a row keeps for a later one, a softmax its exponentials, is often what the last
one reads just before it writes its own result: the row of the result is memory enough for it.  The
nearest cache holds a row less, and fetches the lines of the result while the first loop computes.
"""

from __future__ import annotations

from collections.abc import Iterator

from graphc.runtime.kernel import Access, Kernel, Load, Loop, Statement, Store, accesses
from graphc.runtime.near_rows import with_kernels
from graphc.runtime.partials import with_accesses
from graphc.runtime.program import Call, Program, Root


def with_result_rows(program: Program) -> Program:
    """The program with such scratch buffers replaced by results."""
    return with_kernels(program, _call)


def _call(call: Call, numbers: Iterator[int]) -> Call:
    alone = {i for i, root in enumerate(call.roots) if _is_alone(root, call.roots)}
    for scratch, buffer in enumerate(call.kernel.buffers):
        if buffer.role == "scratch" and (home := home_of(call.kernel, scratch, alone)) is not None:
            return _call(_without(call, scratch, home), numbers)
    return call


def _is_alone(root: Root, roots: tuple[Root, ...]) -> bool:
    """Whether it is memory of its own that no other buffer of the kernel lies in."""
    return root.kind in ("arena", "result") and sum(root in r.memories() for r in roots) == 1


def home_of(kernel: Kernel, scratch: int, alone: set[int]) -> Access | None:
    """Where a result is written that nothing needs before the scratch row has been read."""
    for outer in kernel.body:
        if not isinstance(outer, Loop) or outer.vector or len(outer.axes) > 1:
            continue
        loops = [
            s for s in outer.body if isinstance(s, Loop) and any(_is_at(t, scratch) for t in s.body)
        ]
        if loops:
            return _home(kernel, outer, loops, scratch, alone)
    return None


def _home(
    kernel: Kernel, outer: Loop, loops: list[Loop], scratch: int, alone: set[int]
) -> Access | None:
    last, axes = loops[-1], loops[0].axes
    touching = [
        s
        for loop in loops
        for s in loop.body
        if isinstance(s, (Load, Store)) and s.access.buffer == scratch
    ]
    if not isinstance(touching[0], Store) or any(loop.axes != axes for loop in loops):
        return None
    if len(touching) != _uses(kernel, scratch) or not all(map(_is_plain, touching)):
        return None  # something else touches it, or looks for elements in it
    if len({s.access for s in touching}) > 1 or not last.vector or len(axes) > 1:
        return None
    reads = max(i for i, s in enumerate(last.body) if _is_at(s, scratch))
    for statement in last.body[reads + 1 :]:
        if isinstance(statement, Store) and _is_free(
            kernel, (outer.axes[0], axes[0]), statement.access, scratch, alone
        ):
            return statement.access
    return None


def _is_free(
    kernel: Kernel, axes: tuple[int, int], access: Access, scratch: int, alone: set[int]
) -> bool:
    """Whether a result is written here alone, of the same type, in rows that are apart."""
    buffer, (row, column) = kernel.buffers[access.buffer], axes
    if buffer.role != "out" or buffer.streams or access.buffer not in alone:
        return False
    if buffer.dtype != kernel.buffers[scratch].dtype or _uses(kernel, access.buffer) > 1:
        return False
    step, length = access.strides[row], kernel.domain[column]
    known = isinstance(step, int) and isinstance(length, int)
    return access.strides[column] == 1 and known and step >= length


def _uses(kernel: Kernel, buffer: int) -> int:
    return sum(access.buffer == buffer for access in accesses(kernel.body))


def _is_plain(statement: Load | Store) -> bool:
    if isinstance(statement, Store):
        return True
    return statement.position is None and statement.guard is None


def _is_at(statement: Statement, buffer: int) -> bool:
    return isinstance(statement, (Load, Store)) and statement.access.buffer == buffer


def _without(call: Call, scratch: int, home: Access) -> Call:
    """The call without a scratch buffer, whose rows are at `home`."""

    def moved(access: Access) -> Access:
        if access.buffer == scratch:
            access = home
        return access._replace(buffer=access.buffer - (access.buffer > scratch))

    kernel, root = call.kernel, call.roots[scratch]
    return call._replace(
        kernel=kernel._replace(
            buffers=kernel.buffers[:scratch] + kernel.buffers[scratch + 1 :],
            body=with_accesses(kernel.body, moved),
        ),
        roots=call.roots[:scratch] + call.roots[scratch + 1 :],
        scratch=tuple(r for r in call.scratch if r is not root),
    )
