"""Which element of a value a loop nest reads: a coordinate for each axis, as arithmetic on indices.

A coordinate is `offset + sum(index * step)` over the axes of the domain, plus positions that the
kernel computes (`found`: the number of the value, and what it is multiplied by).  What a reshape
leaves of one index is a `Digit` of it.  Views turn the coordinates of their result into those of
their operand; in memory all of them add up to one address.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from graphc.axis_maps import AxisMap

Terms = tuple[tuple[int, int], ...]
"""Pairs (what, factor), sorted, each `what` once and no factor 0."""


class Coordinate(NamedTuple):
    """offset + sum(index of axis * step) + sum(value of number * step)"""

    offset: int = 0
    steps: Terms = ()
    found: Terms = ()

    def plus(self, other: Coordinate) -> Coordinate:
        return Coordinate(
            self.offset + other.offset,
            _sum(self.steps, other.steps),
            _sum(self.found, other.found),
        )

    def times(self, factor: int) -> Coordinate:
        if factor == 1:
            return self
        return Coordinate(
            self.offset * factor, _scaled(self.steps, factor), _scaled(self.found, factor)
        )

    def shifted(self, distance: int) -> Coordinate:
        return self._replace(offset=self.offset + distance)


class Digit(NamedTuple):
    """(whole // below) % size: one axis of several into which a reshape splits one."""

    whole: Coordinate
    below: int
    size: int
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
    return tuple(sorted((what, factor) for what, factor in total.items() if factor))


def _scaled(terms: Terms, factor: int) -> Terms:
    return tuple((what, step * factor) for what, step in terms) if factor else ()


def along(axes: AxisMap) -> Coordinates:
    """The coordinates of a value whose axis i runs along domain axis axes[i]."""
    return tuple(ORIGIN if axis is None else Coordinate(steps=((axis, 1),)) for axis in axes)


def axes_of(coordinate: Coordinate | Digit) -> frozenset[int]:
    """The domain axes that a coordinate depends on directly."""
    plain = coordinate.whole if isinstance(coordinate, Digit) else coordinate
    return frozenset(axis for axis, _ in plain.steps)


def bounds(
    coordinate: Coordinate, domain: Sequence[int], ranges: Mapping[int, tuple[int, int]]
) -> tuple[int, int] | None:
    """The least and the largest value over the domain; None where a position may be anything."""
    low = high = coordinate.offset
    for axis, step in coordinate.steps:
        reach = step * max(domain[axis] - 1, 0)
        low, high = low + min(reach, 0), high + max(reach, 0)
    for number, step in coordinate.found:
        if number not in ranges:
            return None
        ends = [step * end for end in ranges[number]]
        low, high = low + min(ends), high + max(ends)
    return low, high


# ---- reshape -------------------------------------------------------------------------------------


def unreshaped(at: Sequence[Coordinate], new: Sequence[int], old: Sequence[int]) -> Coordinates:
    """The coordinates in shape `old` of element `at` of the reshaped value, of shape `new`.

    Both shapes fall into runs of axes with equal products, which stand for the same elements.
    """
    result: list[Coordinate | Digit] = []
    for into, out_of in _runs(old, new):
        whole = ORIGIN
        for axis in out_of:
            whole = whole.times(new[axis]).plus(at[axis])
        real = [axis for axis in into if old[axis] != 1]
        below = math.prod(old[axis] for axis in into)
        for axis in into:
            below //= old[axis]
            if old[axis] == 1:
                result.append(ORIGIN)
            else:
                digit = Digit(whole, below, old[axis], axis == real[0])
                result.append(whole if len(real) == 1 else digit)
    return tuple(result)


def _runs(old: Sequence[int], new: Sequence[int]) -> Iterator[tuple[range, range]]:
    """Neighbouring axes of two shapes without zeros, in runs of equal size, each the shortest."""
    i = j = 0
    while i < len(old) or j < len(new):
        first, second = i, j
        sizes = [1, 1]
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
    at: Coordinates, strides: Sequence[int], offset: int
) -> tuple[Coordinate, list[tuple[Digit, int]]]:
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
        if coordinate.leads and last.below == 1:
            total = total.plus(coordinate.whole.times(last_stride))
            pairs = pairs[end:]
        else:
            apart.append((coordinate, stride))
            pairs = pairs[1:]
    return total, apart


def _end_of_digits(pairs: Sequence[tuple[Coordinate | Digit, int]]) -> int:
    """How many of the first digits lie in memory as in their whole."""
    for end in range(1, len(pairs)):
        (before, outer), (after, inner) = pairs[end - 1], pairs[end]
        assert isinstance(before, Digit)
        follows = (
            isinstance(after, Digit)
            and after.whole == before.whole
            and before.below == after.below * after.size
            and outer == inner * after.size
        )
        if not follows:
            return end
    return len(pairs)
