"""Which element of a value a loop nest reads: a coordinate for each axis, as arithmetic on indices.

A coordinate is `offset + sum(index * step)` over the axes of the domain, plus positions that the
kernel computes (`found`: the number of the value, and what it is multiplied by).  What a reshape
leaves of one index is a `Digit` of it.  Views turn the coordinates of their result into those of
their operand; in memory all of them add up to one address.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from graphc.axis_maps import AxisMap
from graphc.dims import Size, surely_less
from graphc.runtime.sizes import same

Terms = tuple[tuple[int, Size], ...]
"""Pairs (what, factor), sorted, each `what` once and no factor 0."""


class Coordinate(NamedTuple):
    """offset + sum(index of axis * step) + sum(value of number * step)"""

    offset: Size = 0
    steps: Terms = ()
    found: Terms = ()

    def plus(self, other: Coordinate) -> Coordinate:
        return Coordinate(
            self.offset + other.offset,
            _sum(self.steps, other.steps),
            _sum(self.found, other.found),
        )

    def times(self, factor: Size) -> Coordinate:
        if same(factor, 1):
            return self
        return Coordinate(
            self.offset * factor, _scaled(self.steps, factor), _scaled(self.found, factor)
        )

    def shifted(self, distance: Size) -> Coordinate:
        return self._replace(offset=self.offset + distance)


class Digit(NamedTuple):
    """(whole // below) % size: one axis of several into which a reshape splits one."""

    whole: Coordinate
    below: Size
    size: Size
    leads: bool
    """Whether this is the first axis: its `%` changes nothing."""


Coordinates = tuple[Coordinate | Digit, ...]

ORIGIN = Coordinate()


def _sum(one: Terms, other: Terms) -> Terms:
    if not one or not other:
        return one or other
    total = dict(one)
    for what, factor in other:
        total[what] = total.get(what, 0) + factor
    return tuple((what, total[what]) for what in sorted(total) if not same(total[what], 0))


def _scaled(terms: Terms, factor: Size) -> Terms:
    return tuple((what, step * factor) for what, step in terms) if not same(factor, 0) else ()


def along(axes: AxisMap) -> Coordinates:
    """The coordinates of a value whose axis i runs along domain axis axes[i]."""
    return tuple(ORIGIN if axis is None else Coordinate(steps=((axis, 1),)) for axis in axes)


def axes_of(coordinate: Coordinate | Digit) -> frozenset[int]:
    """The domain axes that a coordinate depends on directly."""
    plain = coordinate.whole if isinstance(coordinate, Digit) else coordinate
    return frozenset(axis for axis, _ in plain.steps)


def bounds(
    coordinate: Coordinate, domain: Sequence[Size], ranges: Mapping[int, tuple[Size, Size]]
) -> tuple[Size, Size] | None:
    """The least and the largest value over a domain that has elements.

    None where a position may be anything, or the sign of a step is not known.
    """
    low = high = coordinate.offset
    terms: list[tuple[Size, tuple[Size, Size]]] = [
        (step, (0, domain[axis] - 1)) for axis, step in coordinate.steps
    ]
    for number, step in coordinate.found:
        if number not in ranges:
            return None
        terms.append((step, ranges[number]))
    for step, (first, last) in terms:
        if surely_less(0, step):
            low, high = low + step * first, high + step * last
        elif surely_less(step, 0):
            low, high = low + step * last, high + step * first
        else:
            return None
    return low, high


# ---- reshape -------------------------------------------------------------------------------------


def unreshaped(at: Sequence[Coordinate], new: Sequence[Size], old: Sequence[Size]) -> Coordinates:
    """The coordinates in shape `old` of element `at` of the reshaped value, of shape `new`.

    Both shapes fall into runs of axes with equal products, which stand for the same elements.
    """
    result: list[Coordinate | Digit] = []
    for into, out_of in _runs(old, new):
        whole = ORIGIN
        for axis in out_of:
            whole = whole.times(new[axis]).plus(at[axis])
        real = [axis for axis in into if not same(old[axis], 1)]
        below: Any = math.prod(old[axis] for axis in into)
        for axis in into:
            below //= old[axis]
            if same(old[axis], 1):
                result.append(ORIGIN)
            else:
                digit = Digit(whole, below, old[axis], axis == real[0])
                result.append(whole if len(real) == 1 else digit)
    return tuple(result)


def _runs(old: Sequence[Size], new: Sequence[Size]) -> Iterator[tuple[range, range]]:
    """Neighbouring axes of two shapes without zeros, in runs of equal size, each the shortest."""
    i = j = 0
    while i < len(old) or j < len(new):
        first, second = i, j
        sizes: list[Size] = [1, 1]
        if i < len(old):
            sizes[0], i = old[i], i + 1
        if j < len(new):
            sizes[1], j = new[j], j + 1
        while sizes[0] != sizes[1]:
            if sizes[0] < sizes[1]:
                sizes[0], i = sizes[0] * old[i], i + 1
            else:
                sizes[1], j = sizes[1] * new[j], j + 1
        yield range(first, i), range(second, j)


# ---- memory --------------------------------------------------------------------------------------


def address(
    at: Coordinates, strides: Sequence[Size], offset: Size
) -> tuple[Coordinate, list[tuple[Digit, Size]]]:
    """The place of an element in memory, and the digits, with their strides, that must be computed.

    Neighbouring digits of one whole that lie without gaps add up to the whole.
    """
    total, apart = Coordinate(offset), []
    pairs = [(c, s) for c, s in zip(at, strides, strict=True) if c != ORIGIN]
    while pairs:
        coordinate, stride = pairs[0]
        if isinstance(coordinate, Coordinate):
            total = total.plus(coordinate.times(stride))
            pairs = pairs[1:]
            continue
        end = _end_of_digits(pairs)
        last, last_stride = pairs[end - 1]
        assert isinstance(last, Digit)
        if coordinate.leads and same(last.below, 1):
            total = total.plus(coordinate.whole.times(last_stride))
            pairs = pairs[end:]
        else:
            apart.append((coordinate, stride))
            pairs = pairs[1:]
    return total, apart


def _end_of_digits(pairs: Sequence[tuple[Coordinate | Digit, Size]]) -> int:
    """How many of the first digits lie in memory as in their whole."""
    for end in range(1, len(pairs)):
        (before, outer), (after, inner) = pairs[end - 1], pairs[end]
        assert isinstance(before, Digit)
        follows = (
            isinstance(after, Digit)
            and after.whole == before.whole
            and same(before.below, after.below * after.size)
            and same(outer, inner * after.size)
        )
        if not follows:
            return end
    return len(pairs)
