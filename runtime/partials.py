"""Dividing a reduction along the axis that it runs over: each share makes totals of its own part.

Before:  kernel(x, y) { t2 = sum over: for i0 < 1000 { ... t2 <- t1 }; store y[0] = t2 }
After:   kernel(x, part) { t2 = sum over: for i0 < 1000 { ... t2 <- t1 }; store part[0] = t2 }
         kernel(part, y) { t2 = sum over: for i1 < 2 { t3 = load part[i1]; t2 <- t3 }; store ... }

A product of long rows and few of them is taken apart likewise: each share multiplies a slice of the
inner dimension.

Each share has a `part` of its own.  The second kernel combines them in order, so the result does
not depend on which share is ready first.  It is right to the error bound of the sum, as the order
of additions within a share is that of the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from math import prod
from typing import NamedTuple

from graphc.dims import Size
from graphc.runtime.kernel import (
    Access,
    Accumulator,
    Buffer,
    Compute,
    Index,
    Kernel,
    Load,
    Loop,
    Name,
    Product,
    Statement,
    Store,
    inner,
)
from graphc.runtime.sizes import is_symbolic

PLAIN = (Load, Compute, Index)
"""What may stand before a loop, and be done again in both kernels."""


class Halves(NamedTuple):
    """The kernel that makes partial totals along `axis`, and the one that combines them.

    Both have the whole kernel's buffers, of which they use a part, and then one for each total.
    """

    first: Kernel
    second: Kernel
    axis: int


def halves(kernel: Kernel, shares: int) -> Halves | None:
    """The two parts of a kernel that holds one reduction; None for other kernels."""
    path = list(_path(kernel.body))
    if not path or any(not _is_simple(block, loop) for block, loop in path):
        return None
    reduction = path[-1][1]
    nested = [s for s in inner(reduction.body) if isinstance(s, Loop)]
    if nested or len(reduction.axes) != 1:
        return None
    (axis,) = reduction.axes
    keep = [a for _, loop in path[:-1] for a in loop.axes]
    return _split(kernel, axis, keep, path, shares)


def _path(statements: Sequence[Statement]) -> Iterator[tuple[Sequence[Statement], Loop]]:
    """The blocks from outside to the reduction, each with the only loop in it."""
    loops = [s for s in statements if isinstance(s, Loop)]
    if len(loops) == 1:
        yield statements, loops[0]
        if not loops[0].accumulators:
            yield from _path(loops[0].body)


def _is_simple(block: Sequence[Statement], loop: Loop) -> bool:
    """Loads and arithmetic before the loop; after a reduction, stores too."""
    at = block.index(loop)
    before, after = block[:at], block[at + 1 :]
    if not all(isinstance(s, PLAIN) for s in before):
        return False
    allowed = (*PLAIN, Store) if loop.accumulators else ()
    return all(isinstance(s, allowed) for s in after)


def _split(
    kernel: Kernel,
    axis: int,
    keep: Sequence[int],
    path: Sequence[tuple[Sequence[Statement], Loop]],
    shares: int,
) -> Halves | None:
    block, reduction = path[-1]
    if not reduction.accumulators:
        return None
    size = prod(kernel.domain[a] for a in keep)
    part_axis = len(kernel.domain)
    fresh = count(1 + max(value_numbers(kernel), default=0))
    buffers = list(kernel.buffers)
    loads: list[Statement] = []
    stores: list[Statement] = []
    combined: list[Accumulator] = []
    for accumulator in reduction.accumulators:
        dtype = accumulator.out.dtype
        buffers.append(Buffer(f"part{len(buffers)}", dtype, size, "partial"))
        strides = _contiguous(kernel, keep)
        access = Access(len(buffers) - 1, 0, (*strides, 0))
        stores.append(Store(access, accumulator.out))
        value = Name(next(fresh), dtype)
        loads.append(Load(value, access._replace(strides=(*strides, size))))
        combined.append(accumulator._replace(value=value))
    again = Loop((part_axis,), False, tuple(loads), tuple(combined))
    at = block.index(reduction)
    first = _rebuilt(path, (*block[: at + 1], *stores))
    second = _rebuilt(path, (*block[:at], again, *block[at + 1 :]))
    domain = (*kernel.domain, shares)
    return Halves(
        Kernel(kernel.name, domain, tuple(buffers), widened(first, part_axis + 1)),
        Kernel(
            kernel.name,
            domain,
            read_by_second(buffers, shares),
            widened(second, part_axis + 1),
        ),
        axis,
    )


def read_by_second(buffers: Sequence[Buffer], shares: int) -> tuple[Buffer, ...]:
    """The buffers as the second kernel sees them: it reads the parts of all shares."""
    return tuple(
        b._replace(role="in", size=b.size * shares) if b.role == "partial" else b for b in buffers
    )


def _rebuilt(
    path: Sequence[tuple[Sequence[Statement], Loop]], body: Sequence[Statement]
) -> tuple[Statement, ...]:
    """The nest with another innermost block."""
    for block, loop in reversed(path[:-1]):
        at = block.index(loop)
        body = (*block[:at], loop._replace(body=tuple(body)), *block[at + 1 :])
    return tuple(body)


def _contiguous(kernel: Kernel, keep: Sequence[int]) -> tuple[Size, ...]:
    strides: list[Size] = [0] * len(kernel.domain)
    step: Size = 1
    for axis in reversed(keep):
        strides[axis] = step
        step *= kernel.domain[axis]
    return tuple(strides)


def value_numbers(kernel: Kernel) -> Iterator[int]:
    """The numbers of all values that a kernel makes."""
    for statement in inner(kernel.body):
        if isinstance(statement, (Load, Compute, Index, Product)):
            yield statement.out.number
        elif isinstance(statement, Loop):
            yield from (a.out.number for a in statement.accumulators)


def widened(statements: Sequence[Statement], rank: int) -> tuple[Statement, ...]:
    """Accesses of the whole kernel get a stride of zero along the axis of parts."""

    def wide(access: Access) -> Access:
        return access._replace(strides=access.strides + (0,) * (rank - len(access.strides)))

    return with_accesses(statements, wide)


def with_accesses(
    statements: Sequence[Statement], change: Callable[[Access], Access]
) -> tuple[Statement, ...]:
    """The statements with each access changed."""

    def changed(statement: Statement) -> Statement:
        match statement:
            case Load(access=access) | Store(access=access):
                return statement._replace(access=change(access))
            case Loop(body=body):
                return statement._replace(body=with_accesses(body, change))
        return statement

    return tuple(map(changed, statements))


# ---- products ------------------------------------------------------------------------------------

FEW_ELEMENTS = 1024
LONG_ROWS = 1024
"""A product with at most so few elements, made from at least so much each, is sliced along k."""


def sliced_product(kernel: Kernel, slices: int) -> Halves | None:
    """The products of `slices` parts of the inner dimension, and their sum with the epilogue.

    None for kernels that are no single product, or one that is better divided otherwise: this needs
    all its numbers.
    """
    if not kernel.body:
        return None
    *before, product = kernel.body
    if not isinstance(product, Product) or not all(isinstance(s, PLAIN) for s in before):
        return None
    if is_symbolic(product):
        return None
    size = product.rows * product.columns
    if size > FEW_ELEMENTS or product.inner < LONG_ROWS or product.inner % slices:
        return None
    rank = len(kernel.domain)
    buffer = Buffer(f"part{len(kernel.buffers)}", product.out.dtype, slices * size, "out")
    buffers = (*kernel.buffers, buffer)
    strides: list[Size] = [0] * rank
    for axis, stride in ((product.row_axis, product.columns), (product.column_axis, 1)):
        if axis is not None:
            strides[axis] = stride
    part = Access(len(kernel.buffers), 0, (*strides, size))
    slice = Loop((rank,), False, (_slice(product, product.inner // slices, part),))
    value = Name(1 + max(value_numbers(kernel), default=0), product.out.dtype)
    total = Accumulator(product.out, "sum", value)
    combine = Loop((rank,), False, (Load(value, part),), (total,))
    nest: tuple[Statement, ...] = (combine, *widened(product.epilogue, rank + 1))
    for axis in (product.column_axis, product.row_axis):
        if axis is not None:
            nest = (Loop((axis,), axis == product.column_axis, nest),)
    domain = (*kernel.domain, slices)
    return Halves(
        Kernel(kernel.name, domain, buffers, (slice,)),
        Kernel(kernel.name, domain, buffers, (*widened(before, rank + 1), *nest)),
        rank,
    )


def _slice(product: Product, inner: int, part: Access) -> Product:
    """The product of one slice, stored where `part` says."""
    left, right = product.left, product.right
    along_left, along_right = product.left_strides[1], product.right_strides[0]
    return product._replace(
        left=left._replace(strides=(*left.strides, inner * along_left)),
        right=right._replace(strides=(*right.strides, inner * along_right)),
        inner=inner,
        epilogue=(Store(part, product.out),),
    )
