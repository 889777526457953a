"""Elementwise kernels of one joined equation as one kernel again, for one launch.

Before:  call k1(p, g, p'); call k2(q, h, q')      nests of one equation, one after the other
After:   call k(p, g, p', q, h, q')                a kernel of two nests

The planner takes joined kernels apart, because a processor gains nothing by them; on a device each
is a launch.  Sound in any case: a kernel runs its statements in order, and whether nests may run at
the same time is decided afterwards (`side_by_side.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.runtime.kernel import Compute, Index, Kernel, Load, Loop, Statement, Store, inner
from graphc.runtime.program import Branch, Call, Item, Program, Repeat
from graphc.runtime.renaming import Renaming

MOST_BUFFERS = 200
"""A function may have some 500 pointers as arguments."""


def rejoined(program: Program) -> Program:
    """The program with neighbouring elementwise kernels of one equation as one."""
    return program._replace(items=_rejoined(program.items))


def _rejoined(items: Sequence[Item]) -> tuple[Item, ...]:
    result: list[Item] = []
    for item in items:
        match item:
            case Branch(then=then, otherwise=otherwise):
                item = item._replace(then=_rejoined(then), otherwise=_rejoined(otherwise))
            case Repeat(test=test, body=body):
                item = item._replace(test=_rejoined(test), body=_rejoined(body))
        last = result[-1] if result else None
        if isinstance(item, Call) and isinstance(last, Call) and _belong(last, item):
            result[-1] = _joined(last, item)
        else:
            result.append(item)
    return tuple(result)


def joined_calls(calls: Sequence[Call]) -> list[Call]:
    """Calls that run one after the other, as few as they can be: elementwise ones are joined."""
    result: list[Call] = []
    for call in calls:
        if result and _can_join(result[-1], call):
            result[-1] = _joined(result[-1], call)
        else:
            result.append(call)
    return result


def _belong(one: Call, other: Call) -> bool:
    """Whether two calls are nests of one equation, and elementwise."""
    return one.eqn is not None and one.eqn is other.eqn and _can_join(one, other)


def _can_join(one: Call, other: Call) -> bool:
    fit = len(one.roots) + len(other.roots) <= MOST_BUFFERS
    fit = fit and not (one.processor or other.processor)
    return fit and is_elementwise(one.kernel) and is_elementwise(other.kernel)


def is_elementwise(kernel: Kernel) -> bool:
    """Whether a kernel reads, computes and stores, and nothing else."""
    return all(map(_is_plain, inner(kernel.body)))


def _is_plain(statement: Statement) -> bool:
    if isinstance(statement, Loop):
        return not statement.accumulators
    return isinstance(statement, (Load, Compute, Index, Store))


def _joined(one: Call, other: Call) -> Call:
    kernels = one.kernel, other.kernel
    rank = sum(len(kernel.domain) for kernel in kernels)
    body: list[Statement] = []
    axis = buffer = name = 0
    for kernel in kernels:
        axes = {i: axis + i for i in range(len(kernel.domain))}
        buffers = {i: buffer + i for i in range(len(kernel.buffers))}
        moved = Renaming(axes, buffers, rank=rank, values={}, first=name)
        body += moved.statements(kernel.body)
        axis, buffer = axis + len(axes), buffer + len(buffers)
        name += len(moved.values)
    joined = one.kernel._replace(
        domain=(*one.kernel.domain, *other.kernel.domain),
        buffers=(*one.kernel.buffers, *other.kernel.buffers),
        body=tuple(body),
    )
    return Call(joined, (*one.roots, *other.roots), one.eqn, (*one.scratch, *other.scratch))
