"""Rows of scratch memory that lie where a result will be.

What one loop over a row keeps for a later one, a softmax its exponentials, is often what the last
one reads just before it writes its own result: the row of the result is memory enough for it.  The
nearest cache holds a row less, and fetches the lines of the result while the first loop computes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence

from graphc.runtime.kernel import Access, Kernel, Load, Loop, Statement, Store, accesses, is_plain
from graphc.runtime.near_rows import with_kernels
from graphc.runtime.partials import with_accesses
from graphc.runtime.program import Call, Program, Root
from graphc.runtime.renaming import Renaming


def with_result_rows(program: Program) -> Program:
    """The program with such scratch buffers replaced by results."""
    return with_kernels(program, _call)


def _call(call: Call, numbers: Iterator[int]) -> Call:
    if not call.scratch:
        return call
    homes = homes_of(call.kernel, _alone(call.roots))
    return _without(call, homes) if homes else call


def _alone(roots: Sequence[Root]) -> set[int]:
    """The buffers that lie in memory of their own, where no other one of the kernel does."""
    uses = Counter(memory for root in roots for memory in root.memories())
    return {
        i for i, root in enumerate(roots) if root.kind in ("arena", "result") and uses[root] == 1
    }


def homes_of(kernel: Kernel, alone: Container[int]) -> dict[int, Access]:
    """By scratch buffer, where a result is written that nothing needs before the row was read."""
    uses = Counter(access.buffer for access in accesses(kernel.body))
    homes: dict[int, Access] = {}
    taken: set[int] = set()
    for outer in kernel.body:
        if isinstance(outer, Loop) and not outer.vector and len(outer.axes) == 1:
            for scratch, loops in _rows(kernel, outer).items():
                home = _home(kernel, outer, loops, scratch, uses)
                if home is not None and home.buffer in alone and home.buffer not in taken:
                    homes[scratch] = home
                    taken.add(home.buffer)
    return homes


def _rows(kernel: Kernel, outer: Loop) -> dict[int, list[Loop]]:
    """The scratch buffers that the loops over a row touch, and which loops do, in order."""
    found: dict[int, list[Loop]] = {}
    for loop in outer.body:
        if isinstance(loop, Loop):
            for buffer in dict.fromkeys(access.buffer for access in accesses(loop.body)):
                if kernel.buffers[buffer].role == "scratch":
                    found.setdefault(buffer, []).append(loop)
    return found


def _home(
    kernel: Kernel, outer: Loop, loops: Sequence[Loop], scratch: int, uses: Mapping[int, int]
) -> Access | None:
    last, axes = loops[-1], loops[0].axes
    touching = [
        s
        for loop in loops
        for s in loop.body
        if isinstance(s, (Load, Store)) and s.access.buffer == scratch
    ]
    if len(touching) != uses[scratch] or not all(map(is_plain, touching)):
        return None  # something else touches it, or looks for elements in it
    if not isinstance(touching[0], Store) or len({s.access for s in touching}) > 1:
        return None
    if not last.vector or len(axes) > 1 or any(loop.axes != axes for loop in loops):
        return None
    reads = max(i for i, s in enumerate(last.body) if _is_at(s, scratch))
    for statement in last.body[reads + 1 :]:
        if isinstance(statement, Store) and uses[statement.access.buffer] == 1:
            access = statement.access
            if _is_row(kernel, (outer.axes[0], axes[0]), access, kernel.buffers[scratch].dtype):
                return access
    return None


def _is_row(kernel: Kernel, axes: tuple[int, int], access: Access, dtype: str) -> bool:
    """Whether a result of this type is written here, in rows that are apart."""
    buffer, (row, column) = kernel.buffers[access.buffer], axes
    if buffer.role != "out" or buffer.streams or buffer.dtype != dtype:
        return False
    step, length = access.strides[row], kernel.domain[column]
    known = isinstance(step, int) and isinstance(length, int)
    return access.strides[column] == 1 and known and step >= length


def _is_at(statement: Statement, buffer: int) -> bool:
    return isinstance(statement, (Load, Store)) and statement.access.buffer == buffer


def _without(call: Call, homes: Mapping[int, Access]) -> Call:
    """The call without some scratch buffers, whose rows are at their homes."""
    kernel = call.kernel
    kept = [i for i in range(len(kernel.buffers)) if i not in homes]
    at_home = with_accesses(kernel.body, lambda access: homes.get(access.buffer, access))
    rank = len(kernel.domain)
    number = Renaming({i: i for i in range(rank)}, {old: i for i, old in enumerate(kept)}, rank, {})
    gone = {call.roots[i] for i in homes}
    return call._replace(
        kernel=kernel._replace(
            buffers=tuple(kernel.buffers[i] for i in kept), body=number.statements(at_home)
        ),
        roots=tuple(call.roots[i] for i in kept),
        scratch=tuple(root for root in call.scratch if root not in gone),
    )
