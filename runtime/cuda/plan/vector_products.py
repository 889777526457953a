"""Products of a matrix and a vector, and of two vectors, as the sums that they are.

Before:  tiles of x @ v (300 x 100 x 1) { store y[i0] = t1 }
After:   for i0 { t1 = sum over: vector for i1 < 100 { x[i0, i1] * v[i1] }; store y[i0] = t1 }

A tile of a block of threads has one column in use then, or one element.  Sums have teams for rows,
threads for columns, and parts where they are long.  Sound but for the order of additions, which the
tile does not keep either.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from graphc.dims import Size
from graphc.runtime.cuda.plan.phases import PLAIN
from graphc.runtime.cuda.plan.whole import whole
from graphc.runtime.kernel import (
    Access,
    Accumulator,
    Compute,
    Kernel,
    Load,
    Loop,
    Name,
    Product,
    Statement,
)
from graphc.runtime.partials import value_numbers, widened

WIDER = {"f16": "f32", "bf16": "f32"}
"""What the factors of a product are added up in, if not in their own dtype."""


def with_vectors_as_sums(kernel: Kernel) -> Kernel:
    """The kernel with a sum for each product of a vector that is all of a nest."""
    body: list[Statement] = []
    sizes = list(kernel.domain)
    fresh = count(1 + max(value_numbers(kernel), default=0))
    for statement in kernel.body:
        axes, inside = _unwrapped(statement)
        if isinstance(inside, Product) and _is_of_vectors(kernel, inside):
            sizes.append(inside.inner)
            names = [Name(next(fresh), kernel.buffers[a.buffer].dtype) for a in _operands(inside)]
            body += _as_sum(inside, axes, len(sizes) - 1, names, fresh)
        else:
            body.append(statement)
    if len(sizes) == len(kernel.domain):
        return kernel
    return kernel._replace(domain=tuple(sizes), body=widened(body, len(sizes)))


def _unwrapped(statement: Statement) -> tuple[tuple[int, ...], Statement]:
    """What is inside of loops that hold one statement each, and their axes."""
    axes: tuple[int, ...] = ()
    while isinstance(statement, Loop) and not statement.accumulators and len(statement.body) == 1:
        axes += statement.axes
        (statement,) = statement.body
    return axes, statement


def _operands(product: Product) -> tuple[Access, Access]:
    return product.left, product.right


def _is_of_vectors(kernel: Kernel, product: Product) -> bool:
    rows, columns = whole(product.rows), whole(product.columns)
    if min(rows, columns) > 1 or not whole(product.inner):
        return False
    if (rows > 1 and product.row_axis is None) or (columns > 1 and product.column_axis is None):
        return False
    dtypes = [kernel.buffers[access.buffer].dtype for access in _operands(product)]
    is_plain = all(WIDER.get(dtype, dtype) == product.out.dtype for dtype in dtypes)
    return is_plain and all(isinstance(s, PLAIN) for s in product.epilogue)


def _as_sum(
    product: Product, axes: tuple[int, ...], inner: int, names: Sequence[Name], fresh: count[int]
) -> tuple[Statement, ...]:
    """The statements for a product in loops over `axes`; `inner` is the axis of its terms."""
    row, column = product.row_axis, product.column_axis
    (down, along), (step, across) = product.left_strides, product.right_strides
    left = _moving(product.left, {row: down, inner: along})
    right = _moving(product.right, {column: across, inner: step})
    terms: list[Statement] = [
        Load(name, access) for name, access in zip(names, (left, right), strict=True)
    ]
    factors: list[Name] = []
    for name in names:
        wide = Name(next(fresh), product.out.dtype)
        if name.dtype != wide.dtype:
            terms.append(Compute(wide, "widen", (name,)))
        factors.append(wide if name.dtype != wide.dtype else name)
    term = Name(next(fresh), product.out.dtype)
    terms.append(Compute(term, "multiply", tuple(factors)))
    is_right = whole(product.columns) > 1
    is_along = whole(step if is_right else along) == 1
    is_across = not is_along and whole(across if is_right else down) == 1
    total = Accumulator(product.out, "sum", term)
    loop = Loop((inner,), not is_across, tuple(terms), (total,))
    own = [axis for axis in ((row, column) if is_right else (column, row)) if axis is not None]
    units = (*axes, *own)
    body = (loop, *product.epilogue)
    return (Loop(units, is_across, body),) if units else body


def _moving(access: Access, steps: dict[int | None, Size]) -> Access:
    """An access that moves along more axes."""
    strides = list(access.strides)
    for axis, step in steps.items():
        if axis is not None:
            strides += [0] * (axis + 1 - len(strides))
            strides[axis] = step
    return access._replace(strides=tuple(strides))
