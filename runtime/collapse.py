"""Fewer, longer loops: two nested loops become one where every access runs through both.

Before:  for i0 < 64 { vector for i1 < 10 { ... x[i0*10 + i1] ... } }
After:   vector for i0 < 640 { ... x[i0] ... }

Sound because the elements are visited in the same order: each access steps by the same distance
from the end of one row to the start of the next as within a row, and nothing stands between the
loops.  A longer vector loop leaves fewer masked ends.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.runtime.kernel import Compute, Index, Kernel, Load, Loop, Statement, Store


def collapse(kernel: Kernel) -> Kernel:
    """Make one loop of two nested ones where every access runs through both without a gap."""
    axis = len(kernel.domain) - 1
    while axis > 0:
        if _collapsible(kernel, kernel.body, axis):
            kernel = _collapsed(kernel, axis)
        axis -= 1
    return kernel


def _collapsible(kernel: Kernel, statements: Sequence[Statement], axis: int) -> bool:
    """Whether axes axis-1 and axis can be one in all of `statements`."""
    return all(_allows(kernel, statement, axis) for statement in statements)


def _allows(kernel: Kernel, statement: Statement, axis: int) -> bool:
    match statement:
        case Loop():
            body = _body_inside(statement, axis)
            return body is not None and _collapsible(kernel, body, axis)
        case Index(axis=own):
            return own not in (axis - 1, axis)
        case Load(access=access) | Store(access=access):
            return access.strides[axis - 1] == access.strides[axis] * kernel.domain[axis]
        case Compute():
            return True
    return False


def _body_inside(loop: Loop, axis: int) -> Sequence[Statement] | None:
    """What both loops hold; None where only one of them is here, or something is between them."""
    has_outer, has_inner = axis - 1 in loop.axes, axis in loop.axes
    if has_outer == has_inner:
        return loop.body
    if has_inner or len(loop.axes) != 1 or not _only_loop_over(loop.body, axis):
        return None
    inner = loop.body[0]
    assert isinstance(inner, Loop)
    return inner.body


def _only_loop_over(body: Sequence[Statement], axis: int) -> bool:
    return len(body) == 1 and isinstance(body[0], Loop) and body[0].axes == (axis,)


def _collapsed(kernel: Kernel, axis: int) -> Kernel:
    domain = kernel.domain
    merged = (*domain[: axis - 1], domain[axis - 1] * domain[axis], *domain[axis + 1 :])
    return kernel._replace(domain=merged, body=_renumbered(kernel.body, axis))


def _renumbered(statements: Sequence[Statement], axis: int) -> tuple[Statement, ...]:
    return tuple(_renumber(statement, axis) for statement in statements)


def _renumber(statement: Statement, axis: int) -> Statement:
    """The statement with axes axis-1 and axis made one, and later axes counted one lower."""
    match statement:
        case Loop(axes=axes, body=body):
            if axis - 1 in axes and axis not in axes:
                inner = body[0]
                assert isinstance(inner, Loop)
                statement = inner._replace(axes=(axis - 1, axis))
                axes, body = statement.axes, statement.body
            kept = tuple(a - (a >= axis) for a in axes if a != axis)
            return statement._replace(axes=kept, body=_renumbered(body, axis))
        case Load(access=access) | Store(access=access):
            strides = (*access.strides[: axis - 1], *access.strides[axis:])
            return statement._replace(access=access._replace(strides=strides))
        case Index(axis=own):
            return statement._replace(axis=own - (own >= axis))
    return statement
