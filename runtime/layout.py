"""Where the elements of a value lie in a buffer: an offset and a stride for each axis."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from graphc.dims import Dim, Shape, Size
from graphc.ir import Eqn
from graphc.ops import shape as shape_ops
from graphc.runtime.sizes import same


class Layout(NamedTuple):
    """Element i, j, ... is at offset + i*strides[0] + j*strides[1] + ..., counted in elements."""

    shape: Shape
    strides: Shape
    offset: Size = 0

    @property
    def is_contiguous(self) -> bool:
        return self.offset == 0 and self.same_strides_as(contiguous(self.shape))

    def same_strides_as(self, other: Layout) -> bool:
        """Whether both step alike along every axis that may have more than one element."""
        axes = zip(self.shape, self.strides, other.strides, strict=True)
        return all(same(a, b) for n, a, b in axes if isinstance(n, Dim) or n > 1)


def contiguous(shape: Shape) -> Layout:
    """Row-major order without gaps."""
    strides: list[Size] = []
    step: Size = 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return Layout(shape, tuple(reversed(strides)))


def view(eqn: Eqn, layout: Layout) -> Layout | None:
    """The layout of a view equation's result on the memory of its operand; None if it has none."""
    if eqn.op is shape_ops.transpose:
        axes = eqn.attrs["axes"]
        return Layout(
            tuple(layout.shape[a] for a in axes),
            tuple(layout.strides[a] for a in axes),
            layout.offset,
        )
    if eqn.op is shape_ops.slice:
        return window(layout, **eqn.attrs)
    if eqn.op is shape_ops.broadcast:
        return _broadcast(layout, **eqn.attrs)
    if eqn.op is shape_ops.skew:
        return _skewed(layout, eqn.out.type.shape, **eqn.attrs)
    if eqn.op is shape_ops.reshape:
        return _reshaped(layout, eqn.attrs["shape"])
    return None


def window(
    layout: Layout, starts: Sequence[Size], sizes: Sequence[Size], steps: Sequence[int]
) -> Layout:
    """The layout of every steps-th element from `starts` on, `sizes` of them along each axis."""
    offset = layout.offset + sum(a * b for a, b in zip(starts, layout.strides, strict=True))
    strides = tuple(a * b for a, b in zip(steps, layout.strides, strict=True))
    return Layout(tuple(sizes), strides, offset)


def _broadcast(layout: Layout, shape: Shape, axes: tuple[int, ...]) -> Layout:
    strides: list[Size] = [0] * len(shape)
    for size, stride, axis in zip(layout.shape, layout.strides, axes, strict=True):
        strides[axis] = 0 if same(size, 1) else stride
    return Layout(tuple(shape), tuple(strides), layout.offset)


def _skewed(layout: Layout, shape: Shape, axis: int, by: int, step: int) -> Layout:
    """A step along `by` is one along `axis`, too: several indices may name the same element."""
    strides = list(layout.strides)
    strides[by] += step * strides[axis]
    first = layout.shape[axis] - shape[axis] if step < 0 else 0
    return Layout(shape, tuple(strides), layout.offset + first * layout.strides[axis])


def _reshaped(layout: Layout, shape: Shape) -> Layout | None:
    """Runs of old axes that lie without gaps become runs of new axes of the same total size."""
    if 0 in shape:
        return Layout(tuple(shape), (0,) * len(shape), layout.offset)
    old = [(n, s) for n, s in zip(layout.shape, layout.strides, strict=True) if not same(n, 1)]
    strides: list[Size] = []
    at = 0
    group: list[Size] = []
    for size in shape:
        if same(size, 1):
            group.append(1)
            continue
        group.append(size)
        total: Size = 1
        run: Size = 1
        end = at
        for n in group:
            total *= n
        while run < total and end < len(old):
            run *= old[end][0]
            end += 1
        if run != total:
            continue
        part = _split(old[at:end], group)
        if part is None:
            return None
        strides += part
        at, group = end, []
    strides += [0] * len(group) if all(same(n, 1) for n in group) else []
    return (
        Layout(tuple(shape), tuple(strides), layout.offset) if len(strides) == len(shape) else None
    )


def _split(old: list[tuple[Size, Size]], sizes: list[Size]) -> list[Size] | None:
    """Strides of new axes over old ones, which must follow each other without gaps."""
    for (_, outer), (n, inner) in itertools.pairwise(old):
        if not same(outer, n * inner):
            return None
    step: Size = old[-1][1] if old else 0
    strides: list[Size] = []
    for size in reversed(sizes):
        strides.append(0 if same(size, 1) else step)
        step *= size
    return strides[::-1]
