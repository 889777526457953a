"""Fewer, longer loops: two nested loops become one where every access runs through both.

Before:  for i0 < 64 { vector for i1 < 10 { ... x[i0*10 + i1] ... } }
After:   vector for i0 < 640 { ... x[i0] ... }

Sound because the elements are visited in the same order: each access steps by the same distance
from the end of one row to the start of the next as within a row, and nothing stands between the
loops.  A longer vector loop leaves fewer masked ends.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.runtime.kernel import (
    Access,
    Compute,
    Index,
    Kernel,
    Load,
    Loop,
    Product,
    Statement,
    Store,
)
from graphc.runtime.sizes import same


def collapse(kernel: Kernel) -> Kernel:
    """Make one loop of two nested ones where every access runs through both without a gap."""
    axis = len(kernel.domain) - 1
    while axis > 0:
        if _collapsible(kernel, kernel.body, axis):
            kernel = _collapsed(kernel, axis)
        axis -= 1
    return kernel


def stack_rows(kernel: Kernel) -> Kernel:
    """Make one product of those of a batch, where one right matrix multiplies all of them.

    Before:  for i0 < 8 { t = tiles of x[i0*32768] @ w[0] (128 x 256 x 1024) { ... } }
    After:   t = tiles of x[0] @ w[0] (1024 x 256 x 1024) { ... }

    Sound because each row of a product needs its own row of the left operand and no other: the
    rows of the next matrix follow like the next rows of this one, there and in the epilogue.
    """
    while stacked := _stacked(kernel):
        kernel = stacked
    return kernel


def _stacked(kernel: Kernel) -> Kernel | None:
    """The kernel with the last axis of the batch as rows; None where they do not follow so."""
    loop = kernel.body[-1]
    if not isinstance(loop, Loop) or len(loop.body) != 1 or not isinstance(loop.body[0], Product):
        return None
    product, batch = loop.body[0], loop.axes[-1]
    step, size = product.left.strides[batch], kernel.domain[batch]
    if product.right.strides[batch]:
        return None
    if product.row_axis is None and product.rows == 1:
        strides = (*product.left.strides[:batch], 0, *product.left.strides[batch + 1 :])
        product = product._replace(
            rows=size,
            row_axis=batch,
            left=product.left._replace(strides=strides),
            left_strides=(step, product.left_strides[1]),
        )
    elif (
        product.row_axis == batch + 1
        and same(step, product.left_strides[0] * product.rows)
        and _collapsible(kernel, product.epilogue, batch + 1)
    ):
        kernel = _collapsed(kernel._replace(body=(*kernel.body[:-1], product)), batch + 1)
        merged = kernel.body[-1]
        assert isinstance(merged, Product)
        product = merged._replace(rows=product.rows * size)
    else:
        return None
    around = loop.axes[:-1]
    inner: Statement = Loop(around, False, (product,)) if around else product
    return kernel._replace(body=(*kernel.body[:-1], inner))


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
            return same(access.strides[axis - 1], access.strides[axis] * kernel.domain[axis])
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
            return statement._replace(access=_without_axis(access, axis))
        case Product(left=left, right=right, epilogue=epilogue):
            return statement._replace(
                left=_without_axis(left, axis),
                right=_without_axis(right, axis),
                row_axis=_lower(statement.row_axis, axis),
                column_axis=_lower(statement.column_axis, axis),
                epilogue=_renumbered(epilogue, axis),
            )
        case Index(axis=own):
            return statement._replace(axis=own - (own >= axis))
    return statement


def _without_axis(access: Access, axis: int) -> Access:
    """The access with axes axis-1 and axis made one."""
    return access._replace(strides=(*access.strides[: axis - 1], *access.strides[axis:]))


def _lower(own: int | None, axis: int) -> int | None:
    return None if own is None else own - (own >= axis)
