"""About how long a kernel takes on one thread: enough to tell what is worth dividing.

Nanoseconds, from the operations and the bytes that the kernel IR shows.  The rates were measured on
one core of Zen 4 and Zen 5 and are round numbers; only thresholds depend on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from graphc.dims import Shape, Size
from graphc.ir import Type
from graphc.ops.costs import cost
from graphc.runtime.footprints import footprints
from graphc.runtime.kernel import (
    Access,
    AddAt,
    Blocks,
    Compute,
    Kernel,
    Load,
    Loop,
    Native,
    Product,
    Statement,
    Store,
    Transpose,
)

VECTOR_NS = 0.25
"""For one cheap operation on a vector register."""
SCALAR_NS = 0.5
"""For one cheap operation, load or store outside of vector loops."""
CACHE_BYTES = 1024 * 1024
"""What stays in the cache of one core."""
NS_PER_BYTE = {True: 0.02, False: 0.08}
"""Of memory moved: in the cache, and beyond it."""
VECTOR_FLOPS_PER_NS = 6.0
"""Multiplications and additions of a matrix product, for each lane of a vector."""
ROUTINE_NS = 4.0
"""For one element that a routine (a sort, a running sum) works on, and for calling it."""
TRANSPOSE_NS = 0.15
"""For one element of a tile."""
COLLISION_NS = 2.0
"""For one addition to a place that is only known at run time."""


def duration(kernel: Kernel, vector_bytes: int) -> float:
    """The estimated nanoseconds of a whole kernel on one thread."""
    moved = sum(
        (touched.stop - touched.start) * _size(kernel.buffers[touched.buffer].dtype)
        for touched in footprints(kernel)
        if kernel.buffers[touched.buffer].role != "scratch"
    )
    memory = moved * NS_PER_BYTE[moved <= CACHE_BYTES]
    return max(_statements(kernel, kernel.body, vector_bytes, 1), memory)


def _statements(
    kernel: Kernel, statements: Sequence[Statement], vector_bytes: int, lanes: int
) -> float:
    return sum(_statement(kernel, statement, vector_bytes, lanes) for statement in statements)


def _statement(kernel: Kernel, statement: Statement, vector_bytes: int, lanes: int) -> float:
    unit = SCALAR_NS if lanes == 1 else VECTOR_NS / lanes
    match statement:
        case Loop(axes=axes, vector=vector, body=body):
            turns = prod(kernel.domain[axis] for axis in axes)
            inside = _lanes(kernel, vector_bytes) if vector else lanes
            return turns * _statements(kernel, body, vector_bytes, inside)
        case Blocks(axis=axis, size=size, body=body):
            rows = kernel.domain[axis] / size
            block = kernel._replace(domain=_with(kernel.domain, axis, size))
            return rows * _statements(block, body, vector_bytes, lanes)
        case Product():
            return _product(kernel, statement, vector_bytes)
        case Compute(op=op):
            return cost(op) * unit
        case AddAt():
            return COLLISION_NS
        case Native(arguments=arguments):
            parts = (max(a.strides, default=0) for a in arguments if isinstance(a, Access))
            return ROUTINE_NS * (1 + sum(parts))
        case Transpose(row=row, column=column):
            return TRANSPOSE_NS * kernel.domain[row] * kernel.domain[column]
        case Load() | Store():
            return unit
    return 0.0


def _with(domain: Shape, axis: int, size: Size) -> Shape:
    return (*domain[:axis], size, *domain[axis + 1 :])


def _product(kernel: Kernel, product: Product, vector_bytes: int) -> float:
    size = _size(product.out.dtype)
    elements = product.rows * product.columns
    work = 2 * elements * product.inner / (VECTOR_FLOPS_PER_NS * vector_bytes / size)
    lanes = max(vector_bytes // size, 1)
    return work + elements * _statements(kernel, product.epilogue, vector_bytes, lanes)


def _lanes(kernel: Kernel, vector_bytes: int) -> int:
    widest = max((_size(b.dtype) for b in kernel.buffers), default=4)
    return max(vector_bytes // max(widest, 4), 1)


def _size(dtype: str) -> int:
    return Type(dtype).numpy_dtype.itemsize
