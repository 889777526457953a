"""Which elements of its buffers a kernel touches, whole or in one share.

Footprints are intervals that hold everything that is touched, and may hold more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from graphc.dims import Size
from graphc.runtime.kernel import (
    Access,
    AddAt,
    Blocks,
    Compute,
    Index,
    Kernel,
    Load,
    Loop,
    Native,
    Product,
    Statement,
    Store,
    Transpose,
)


class Footprint(NamedTuple):
    """Elements start <= i < stop of a buffer, which are written or only read."""

    buffer: int
    writes: bool
    start: Size
    stop: Size


Range = tuple[Size, Size]
"""The first index along an axis, and one more than the last."""


def footprints(kernel: Kernel, axis: int | None = None, part: Range = (0, 0)) -> list[Footprint]:
    """One for each buffer that is read and each that is written; `part` of `axis`, if given."""
    ranges: list[Range] = [(0, size) for size in kernel.domain]
    if axis is not None:
        ranges[axis] = part
    hulls: dict[tuple[int, bool], Range] = {}
    for buffer, writes, (low, high) in _touched(kernel, kernel.body, ranges):
        # What lies outside of the buffer is behind a guard, which keeps it from being touched.
        start, stop = max(low, 0), min(high, kernel.buffers[buffer].size)
        known = hulls.get((buffer, writes), (start, stop))
        hulls[buffer, writes] = min(known[0], start), max(known[1], stop)
    return [Footprint(buffer, writes, *hull) for (buffer, writes), hull in hulls.items()]


def _touched(
    kernel: Kernel, statements: Sequence[Statement], ranges: Sequence[Range]
) -> Iterator[tuple[int, bool, Range]]:
    for statement in statements:
        match statement:
            case Loop(body=body) | Blocks(body=body):
                yield from _touched(kernel, body, ranges)
            case Product():
                yield from _operands(statement, ranges)
                yield from _touched(kernel, statement.epilogue, ranges)
            case Transpose(source=source, target=target):
                yield source.buffer, False, _hull(source, ranges)
                yield target.buffer, True, _hull(target, ranges)
            case Native(arguments=arguments):
                for argument in arguments:
                    if isinstance(argument, Access):
                        writes = kernel.buffers[argument.buffer].role != "in"
                        yield argument.buffer, writes, _of_routine(kernel, argument, ranges)
            case Load(access=access) | Store(access=access) | AddAt(access=access):
                is_fixed = getattr(statement, "position", None) is None
                hull = _hull(access, ranges) if is_fixed else _all(kernel, access)
                yield access.buffer, not isinstance(statement, Load), hull
            case Compute() | Index():
                pass
            case _:
                raise TypeError(f"what {type(statement).__name__} touches is not known")


def _operands(product: Product, ranges: Sequence[Range]) -> Iterator[tuple[int, bool, Range]]:
    inner = (0, product.inner)
    rows = _extent(product.left, product.row_axis, ranges)
    columns = _extent(product.right, product.column_axis, ranges)
    for access, strides, matrix in (
        (product.left, product.left_strides, (rows, inner)),
        (product.right, product.right_strides, (inner, columns)),
    ):
        both = Access(access.buffer, access.offset, (*access.strides, *strides))
        yield access.buffer, False, _hull(both, (*ranges, *matrix))


def _extent(access: Access, axis: int | None, ranges: Sequence[Range]) -> Range:
    """The rows or columns of an operand, unless it moves along their axis itself: in blocks."""
    return (0, 1) if axis is None or access.strides[axis] else ranges[axis]


def _hull(access: Access, ranges: Sequence[Range]) -> Range:
    start: Size = access.offset
    stop: Size = access.offset
    for stride, (low, high) in zip(access.strides, ranges, strict=True):
        ends = (low * stride, (high - 1) * stride)
        start, stop = start + min(ends), stop + max(ends)
    return start, stop + 1


def _of_routine(kernel: Kernel, access: Access, ranges: Sequence[Range]) -> Range:
    """A routine has for each index what lies between its place and the next (`routine_calls.py`);
    an argument that does not move it may touch anywhere."""
    moving = [axis for axis, stride in enumerate(access.strides) if stride]
    if len(moving) != 1:
        return _all(kernel, access)
    low, high = ranges[moving[0]]
    stride = access.strides[moving[0]]
    return access.offset + low * stride, access.offset + high * stride


def _all(kernel: Kernel, access: Access) -> Range:
    return 0, kernel.buffers[access.buffer].size
