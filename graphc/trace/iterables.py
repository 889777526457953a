"""What a `for` loop can go over without its elements being known: ranges and rows of arrays.

Converted functions get these from `range`, `enumerate`, `zip` and `reversed`.  Anywhere but in a
`for` loop they iterate as Python's own do.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc import errors
from graphc.dims import Dim
from graphc.ir import INTS
from graphc.trace.scope import user_loc
from graphc.trace.sizes import as_size
from graphc.trace.tracer import Tracer

MANY = 64
"""A list of more floats than this is gone over without knowing them, if that can be."""

Index = Any
"""An int, or a traced i64[]."""


@dataclass
class Range:
    """`start, start + step, ...`, of `length` elements; each of the three may be traced.

    `bounds` are the arguments of `range`, whose values the trace can be specialised to.
    """

    start: Index
    step: Index
    length: Index
    bounds: tuple[Any, ...] = ()

    def arrays(self) -> list[Any]:
        return []

    def element(self, index: Index, slices: Iterator[Any]) -> Any:
        return self.start + index * self.step

    def first(self) -> Any:
        return self.start

    def rest(self, count: int) -> Range:
        return Range(self.start + count * self.step, self.step, self.length - count)

    def reversed(self) -> Range:
        return Range(self.start + (self.length - 1) * self.step, -self.step, self.length)

    def __iter__(self) -> Iterator[Any]:
        if self.bounds:
            return iter(range(*map(operator.index, self.bounds)))
        start, step, length = map(operator.index, (self.start, self.step, self.length))
        return iter(range(start, start + length * step, step))

    def __len__(self) -> int:
        return len(range(*map(operator.index, self.bounds)))

    def __reversed__(self) -> Iterator[Any]:
        return iter(self.reversed())


@dataclass
class Rows:
    """The rows of an array, or the elements of a vector."""

    array: Any

    @property
    def length(self) -> Any:
        return self.array.shape[0]

    def arrays(self) -> list[Any]:
        return [self.array]

    def element(self, index: Index, slices: Iterator[Any]) -> Any:
        return next(slices)

    def first(self) -> Any:
        return self.array[0]

    def rest(self, count: int) -> Rows:
        return Rows(self.array[count:])

    def reversed(self) -> Rows:
        return Rows(self.array[::-1])

    def __iter__(self) -> Iterator[Any]:
        return iter(self.array)


class Numbers:
    """The floats of a long list or tuple, from a place in it on: Python numbers, known or not."""

    def __init__(self, values: Sequence[float], start: int = 0):
        self.values = values
        self.start = start
        self._seen = tuple(values)

    @property
    def length(self) -> int:
        return len(self._seen) - self.start

    def arrays(self) -> list[Any]:
        return [np.array(self._seen[self.start :])]

    def element(self, index: Index, slices: Iterator[Any]) -> Any:
        number = next(slices)
        number.weak = True
        return number

    def first(self) -> Any:
        return self.values[self.start]

    def rest(self, count: int) -> Numbers:
        return Numbers(self.values, self.start + count)

    def is_changed(self) -> bool:
        """Whether the list holds other numbers than at first."""
        return tuple(self.values) != self._seen

    def __iter__(self) -> Iterator[Any]:
        """As Python's own: what is in the list by then."""
        numbers = iter(self.values)
        return itertools.islice(numbers, self.start, None)


@dataclass
class Together:
    """Tuples of the elements of several sequences: `zip`, and `enumerate` with a range."""

    parts: tuple[Elements, ...]

    @property
    def length(self) -> Index:
        lengths = [part.length for part in self.parts]
        if not any(isinstance(length, Tracer) for length in lengths):
            return min(lengths)
        return _least(lengths)

    def arrays(self) -> list[Any]:
        return [array for part in self.parts for array in part.arrays()]

    def element(self, index: Index, slices: Iterator[Any]) -> Any:
        return tuple(part.element(index, slices) for part in self.parts)

    def first(self) -> Any:
        return tuple(part.first() for part in self.parts)

    def rest(self, count: int) -> Together:
        return Together(tuple(part.rest(count) for part in self.parts))

    def __iter__(self) -> Iterator[Any]:
        return zip(*self.parts, strict=False)


Elements = Range | Rows | Numbers | Together


def _least(lengths: Sequence[Index]) -> Any:
    least = lengths[0]
    for length in lengths[1:]:
        least = np.minimum(least, length)
    least.weak = True
    return least


class Stream:
    """An iterator over elements, as `enumerate` and `zip` give: what was taken from it is gone."""

    def __init__(self, elements: Elements):
        self.elements = elements
        self._iterator: Iterator[Any] | None = None

    def take_all(self) -> Elements | None:
        """The elements, if none was taken yet."""
        if self._iterator is not None:
            return None
        self._iterator = iter(())
        return self.elements

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Any:
        if self._iterator is None:
            self._iterator = iter(self.elements)
        return next(self._iterator)


def elements_of(iterable: Any) -> Elements | None:
    """What a `for` loop goes over, if its elements need not be known; None for other iterables."""
    if isinstance(iterable, range):
        return Range(iterable.start, iterable.step, len(iterable))
    if isinstance(iterable, (Range, Rows, Numbers, Together)):
        return iterable
    if isinstance(iterable, Stream):
        return iterable.take_all()
    is_array = isinstance(iterable, Tracer) or type(iterable) is np.ndarray
    if is_array and iterable.ndim and iterable.dtype != object:
        return Rows(iterable)
    is_long = type(iterable) in (list, tuple) and len(iterable) > MANY
    return Numbers(iterable) if is_long and set(map(type, iterable)) == {float} else None


def is_changed(elements: Elements) -> bool:
    """Whether a list is no longer what it was when its elements were taken."""
    if isinstance(elements, Together):
        return any(map(is_changed, elements.parts))
    return isinstance(elements, Numbers) and elements.is_changed()


def is_traced(elements: Elements) -> bool:
    """Whether an element depends on a traced value."""
    if isinstance(elements, Together):
        return any(map(is_traced, elements.parts))
    if isinstance(elements, Rows):
        return isinstance(elements.array, Tracer)
    if isinstance(elements, Numbers):
        return False
    return isinstance(elements.start, Tracer) or isinstance(elements.step, Tracer)


# ---- in place of Python's own --------------------------------------------------------------------


def range_(*args: Any) -> Any:
    """`range` with traced arguments."""
    start, stop, step = (0, *args, 1) if len(args) == 1 else (*args, 1)[:3]
    for bound in (start, stop, step):
        if isinstance(bound, Tracer) and (bound.shape or bound.dtype_name not in INTS):
            raise errors.DTypeError(
                f"range() takes integers, not a traced {bound.type}; convert it with .astype(int)",
                user_loc(),
            )
    start, stop, step = (_as_python_int(bound) for bound in (start, stop, step))
    length = _length(start, stop, step)
    if not any(isinstance(x, (Tracer, Dim)) for x in (start, stop, step)):
        return range(start, stop, step)
    return Range(start, step, length, (start, stop, step))


def _as_python_int(bound: Any) -> Any:
    if not isinstance(bound, Tracer):
        return as_size(bound)
    if bound.weak:
        return bound
    number = bound.astype(np.int64)
    number.weak = True
    return number


def _length(start: Any, stop: Any, step: Any) -> Any:
    if _is_known(step) and step == 0:
        raise ValueError("range() arg 3 must not be zero")
    if _is_known(start) and _is_known(step) and (start, step) == (0, 1):
        count = stop
    else:
        upwards = (stop - start + (step - 1)) // step
        downwards = (start - stop - (step + 1)) // -step
        if _is_known(step):
            count = upwards if step > 0 else downwards
        else:
            count = np.where(step > 0, upwards, downwards)
    if _is_known(count):
        return count if count > 0 else 0
    count = np.maximum(count, 0)
    count.weak = True
    return count


def _is_known(number: Any) -> bool:
    return not isinstance(number, Tracer)


def enumerate_(iterable: Any, start: Any = 0) -> Any:
    elements = elements_of(iterable)
    if elements is None:
        return enumerate(iterable, start)
    return Stream(Together((Range(start, 1, elements.length), elements)))


def zip_(*iterables: Any, strict: bool = False) -> Any:
    known = [elements_of(iterable) for iterable in iterables]
    found = [elements for elements in known if elements is not None]
    if strict or not iterables or len(found) < len(iterables):
        pairs = zip(iterables, known, strict=True)
        return zip(*(i if k is None else k for i, k in pairs), strict=strict)
    return Stream(Together(tuple(found)))


def reversed_(sequence: Any) -> Any:
    if isinstance(sequence, range):
        return Stream(elements_of(sequence[::-1]))  # type: ignore[arg-type]
    if isinstance(sequence, Range):
        return Stream(sequence.reversed())
    if isinstance(sequence, Tracer) and sequence.ndim:
        return Stream(Rows(sequence).reversed())
    return reversed(sequence)
