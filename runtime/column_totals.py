"""Dividing a nest that adds up over its rows: each share adds up its own rows.

Before:  kernel(x, y, sum) { sum[i1] = 0; for i0 { ... sum[i1] += t ... }; y[i1] = sum[i1] }
After:   kernel(x, part)   { part[i1] = 0; for i0 { ... part[i1] += t ... } }
         kernel(part, y)   { for i1 { t = sum over: for i2 < 2 { part[i2, i1] }; y[i1] = t } }

Sound as the halves of a reduction are (`partials.py`): the second kernel combines the parts of the
shares in their order, whichever of them was ready first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

from graphc.runtime.kernel import (
    Access,
    Accumulator,
    Buffer,
    Kernel,
    Load,
    Loop,
    Statement,
    Store,
    accesses,
    inner,
)
from graphc.runtime.partials import Halves, read_by_second, value_numbers, widened, with_accesses


def column_halves(kernel: Kernel, shares: int) -> Halves | None:
    """The two parts of a kernel with totals over the rows of its only nest; None for others."""
    sums = set(_sums(kernel))
    rows = [i for i, s in enumerate(kernel.body) if sums and _is_over_rows(kernel, s, sums)]
    if len(rows) != 1:
        return None
    (at,) = rows
    nest = kernel.body[at]
    assert isinstance(nest, Loop)
    first, last = kernel.body[:at], kernel.body[at + 1 :]
    if not all(_touches_alone(kernel, s, sums) for s in (*first, *last)):
        return None
    rank, buffers = len(kernel.domain), list(kernel.buffers)
    parts: dict[int, int] = {}
    for sum in sorted(sums):
        dtype, size = kernel.buffers[sum].dtype, kernel.buffers[sum].size
        parts[sum] = len(buffers)
        buffers.append(Buffer(f"part{len(buffers)}", dtype, size, "partial"))

    def moved(access: Access) -> Access:
        return access._replace(buffer=parts.get(access.buffer, access.buffer))

    body = with_accesses(widened(kernel.body, rank + 1), moved)
    fresh = count(1 + max(value_numbers(kernel), default=0))
    combined = _combining(body[at + 1 :], {part: buffers[part] for part in parts.values()}, fresh)
    domain = (*kernel.domain, shares)
    return Halves(
        Kernel(kernel.name, domain, tuple(buffers), body[: at + 1]),
        Kernel(kernel.name, domain, read_by_second(buffers, shares), combined),
        nest.axes[0],
    )


def _sums(kernel: Kernel) -> Iterator[int]:
    """The scratch buffers that are written outside of all nests that read other buffers too."""
    for statement in kernel.body:
        if all(isinstance(s, (Loop, Store)) for s in inner((statement,))):
            for access in accesses((statement,)):
                if kernel.buffers[access.buffer].role == "scratch":
                    yield access.buffer


def _is_over_rows(kernel: Kernel, statement: Statement, sums: set[int]) -> bool:
    """Whether a loop adds to all of the sums, to the same elements in each turn."""
    if not isinstance(statement, Loop) or statement.accumulators:
        return False
    touched = [a for a in accesses((statement,)) if a.buffer in sums]
    reads = {s.access.buffer for s in inner((statement,)) if isinstance(s, Load)}
    axis = statement.axes[0]
    return sums <= reads and all(access.strides[axis] == 0 for access in touched)


def _touches_alone(kernel: Kernel, statement: Statement, sums: set[int]) -> bool:
    """Whether a statement around the rows reads nothing but sums, and writes them or results."""
    touched = list(accesses((statement,)))
    loads = {s.access for s in inner((statement,)) if isinstance(s, Load)}
    return all(
        access.buffer in sums
        or (access not in loads and kernel.buffers[access.buffer].role == "out")
        for access in touched
    )


def _combining(
    statements: Sequence[Statement], parts: dict[int, Buffer], fresh: Iterator[int]
) -> tuple[Statement, ...]:
    """The statements after the rows, in which a load of a total adds up those of the shares."""
    changed: list[Statement] = []
    for statement in statements:
        if isinstance(statement, Loop):
            changed.append(statement._replace(body=_combining(statement.body, parts, fresh)))
        elif isinstance(statement, Load) and statement.access.buffer in parts:
            out, access = statement.out, statement.access
            axis, size = len(access.strides) - 1, parts[access.buffer].size
            value = out._replace(number=next(fresh))
            load = Load(value, access._replace(strides=(*access.strides[:-1], size)))
            changed.append(Loop((axis,), False, (load,), (Accumulator(out, "sum", value),)))
        else:
            changed.append(statement)
    return tuple(changed)
