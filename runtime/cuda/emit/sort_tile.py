"""What the threads of a block do with a tile of rows that are sorted.

Two sorted runs become one without any thread going through them.  Each element finds its place by
itself: it has as many before it in its own run as ever, and of the other run those that a binary
search finds.  Of equal elements those of the left run come first, so the order is stable.

Runs in the memory of the device are merged by many blocks, each of which writes a tile of the
result.  How many elements of the left run come before a tile is again found by a binary search
(along a diagonal of the table of all pairs, the "merge path"): what the tile needs of both runs is
then as long as itself, and goes through shared memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from graphc.runtime.cuda.emit.branches import digits, only_if
from graphc.runtime.cuda.emit.simt import place_in, shared_array, wait_for_block
from graphc.runtime.cuda.emit.statements import ThreadEmitter
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.registers import BITS, Reg, constant
from graphc.runtime.llvm.routines.sorting import is_less

if TYPE_CHECKING:
    from graphc.runtime.cuda.emit.sort import Run, Sorter

I64 = "i64"
ZERO = constant(0, I64)

Values = list[Reg]
"""The key of an element, and its position if that is wanted."""


class Element(NamedTuple):
    """An element that a thread has: its place in the tile, whether there is one, where in the tile
    its row begins, the row, and its place in the row."""

    place: Reg
    inside: Reg
    begin: Reg
    row: Reg
    column: Reg


class Pair(NamedTuple):
    """Two sorted runs in a tile, from `low` to `middle` and from there to `high`."""

    low: Reg
    middle: Reg
    high: Reg


class TileEmitter:
    """What the threads of a block do with a tile, while the code of a launch is written."""

    def __init__(self, sorter: Sorter, emitter: ThreadEmitter):
        self.sorter = sorter
        self.tiles = sorter.tiles
        self.emitter = emitter
        self.f = f = emitter.f
        self.rank = place_in(f, "thread")
        self.elems = [sorter.elem, *([I64] if sorter.with_positions else [])]
        self.shared = [
            shared_array(f.module, f"{f.name}_tile_{i}", self.tiles.elements * BITS[elem] // 8)
            for i, elem in enumerate(self.elems)
        ]

    def elements(self, total: Reg) -> list[Element]:
        """Those of this thread: neighbours have neighbours."""
        f, found = self.f, []
        for number in range(self.tiles.each):
            place = f.add(self.rank, constant(number * self.tiles.threads, I64))
            found.append(Element(place, f.icmp("slt", place, total), ZERO, ZERO, ZERO))
        return found

    def if_inside(self, element: Element, make: Callable[[], Values]) -> Values:
        zeros = [self.f.const(0, Reg("", elem)) for elem in self.elems]
        return self.f.carried_if(element.inside, zeros, make)

    # ---- sorting a tile --------------------------------------------------------------------------

    def sort(self, number: Reg, target: Run) -> None:
        f, tiles = self.f, self.tiles
        if tiles.in_row > 1:
            row, tile = digits(f, number, [tiles.rows, tiles.in_row])
            first = f.mul(tile, constant(tiles.elements, I64))
            left = f.sub(constant(tiles.size, I64), first)
            length = total = f.intrinsic("smin", left, constant(tiles.elements, I64))
        else:
            row, first = f.mul(number, constant(tiles.rows_in_one, I64)), ZERO
            left = f.sub(constant(tiles.rows, I64), row)
            rows = f.intrinsic("smin", left, constant(tiles.rows_in_one, I64))
            length = constant(tiles.size, I64)
            total = f.mul(rows, length)
        elements = [self.in_row(element, row, first) for element in self.elements(total)]
        values = [self.first_values(element) for element in elements]
        for element, own in zip(elements, self.sorted(elements, values, length), strict=True):
            self.leave(element, own, target)

    def in_row(self, element: Element, row: Reg, first: Reg) -> Element:
        """The element with the place of its row in the tile, and its own in the row."""
        f, tiles = self.f, self.tiles
        if tiles.rows_in_one == 1:
            return element._replace(row=row, column=f.add(first, element.place))
        size = constant(tiles.size, I64)
        above = f.binary("udiv", element.place, size)
        begin = f.mul(above, size)
        column = f.sub(element.place, begin)
        return element._replace(begin=begin, row=f.add(row, above), column=column)

    def first_values(self, element: Element) -> Values:
        def make() -> Values:
            key = self.sorter.read(self.emitter, element.row, element.column)
            return [key, *([element.column] if self.sorter.with_positions else [])]

        return self.if_inside(element, make)

    def sorted(
        self, elements: Sequence[Element], values: Sequence[Values], length: Reg
    ) -> list[Values]:
        """The values that stand where each element stood, once rows of `length` are sorted."""
        f, count = self.f, len(self.elems)
        for element, own in zip(elements, values, strict=True):
            self.put(element, own, element.place)
        wait_for_block(f)
        with f.repeat([constant(1, I64), *(value for own in values for value in own)]) as state:
            width, *flat = state.carried
            state.go_on_if(f.icmp("slt", width, length))
            double = f.shl(width, constant(1, I64))
            pairs = [self.pair(element, width, double, length) for element in elements]
            moved = self.merged(elements, pairs, _in_groups(flat, count))
            state.next = [double, *(value for own in moved for value in own)]
        return _in_groups(state.carried[1:], count)

    def pair(self, element: Element, width: Reg, double: Reg, length: Reg) -> Pair:
        """The runs of `width` elements of a row among which an element is."""
        f, begin = self.f, element.begin
        before = f.and_(f.sub(element.place, begin), f.sub(ZERO, double))
        low, stop = f.add(begin, before), f.add(begin, length)
        middle = f.intrinsic("smin", f.add(low, width), stop)
        return Pair(low, middle, f.intrinsic("smin", f.add(low, double), stop))

    # ---- merging runs in shared memory -----------------------------------------------------------

    def merged(
        self,
        elements: Sequence[Element],
        pairs: Sequence[Pair],
        values: Sequence[Values],
    ) -> list[Values]:
        """Move all values of a tile, which is in shared memory too, to where they stand in their
        merged pairs of runs; what stands then where each element stood."""
        targets = self.places_among(elements, pairs, [own[0] for own in values])
        wait_for_block(self.f)
        for element, own, target in zip(elements, values, targets, strict=True):
            self.put(element, own, target)
        wait_for_block(self.f)
        return [self.if_inside(each, partial(self.taken, each.place)) for each in elements]

    def places_among(
        self, elements: Sequence[Element], pairs: Sequence[Pair], keys: Sequence[Reg]
    ) -> list[Reg]:
        """An element has `place - low`, or `place - middle`, before it in its own run, and `found`
        less the beginning of the other run in that: in both runs the sum is this."""
        f = self.f
        starts, stops, tests = [], [], []
        for element, pair, key in zip(elements, pairs, keys, strict=True):
            is_left = f.icmp("slt", element.place, pair.middle)
            start = f.select(is_left, pair.middle, pair.low)
            stop = f.select(is_left, pair.high, pair.middle)
            starts.append(start)
            stops.append(f.select(element.inside, stop, start))
            tests.append(partial(self.is_before, key, is_left))
        found = searched(f, starts, stops, tests)
        every = zip(elements, pairs, found, strict=True)
        return [f.sub(f.add(e.place, place), pair.middle) for e, pair, place in every]

    def is_before(self, key: Reg, is_left: Reg, place: Reg) -> Reg:
        """Whether what stands at a place of the other run comes before a key."""
        f, dtype = self.f, self.sorter.dtype
        other = f.load(f.offset(self.shared[0], self.elems[0], place), self.elems[0])
        is_not_after = f.not_(is_less(f, dtype, key, other))
        return f.select(is_left, is_less(f, dtype, other, key), is_not_after)

    def put(self, element: Element, values: Values, place: Reg) -> None:
        f = self.f
        with only_if(f, element.inside):
            for value, base in zip(values, self.shared, strict=True):
                f.store(value, f.offset(base, value.elem, place))

    def taken(self, place: Reg) -> Values:
        f, pairs = self.f, zip(self.shared, self.elems, strict=True)
        return [f.load(f.offset(base, elem, place), elem) for base, elem in pairs]

    def leave(self, element: Element, values: Values, target: Run) -> None:
        arrays = [target.keys, target.positions][: len(values)]
        with only_if(self.f, element.inside):
            for value, array in zip(values, arrays, strict=True):
                if array is not None:
                    self.f.store(value, array.at(self.emitter, element.row, element.column))

    # ---- merging runs in the memory of the device ------------------------------------------------

    def merge(self, number: Reg, width: int, source: Run, target: Run) -> None:
        f, tiles, size = self.f, self.tiles, constant(self.tiles.size, I64)
        row, tile = digits(f, number, [tiles.rows, tiles.in_row])
        first = f.mul(tile, constant(tiles.elements, I64))
        total = f.intrinsic("smin", f.sub(size, first), constant(tiles.elements, I64))
        low = f.and_(first, constant(-2 * width, I64))
        middle = f.intrinsic("smin", f.add(low, constant(width, I64)), size)
        high = f.intrinsic("smin", f.add(low, constant(2 * width, I64)), size)
        runs = Pair(low, middle, high)
        lefts = self.from_left(source, row, runs, f.sub(first, low), total)
        left = f.sub(lefts[1], lefts[0])
        right = f.sub(f.add(middle, f.sub(f.sub(first, low), lefts[0])), left)
        elements = [
            element._replace(row=row, column=f.add(first, element.place))
            for element in self.elements(total)
        ]
        start = f.add(low, lefts[0])
        values = [self.read_from(source, element, left, start, right) for element in elements]
        for element, own in zip(elements, values, strict=True):
            self.put(element, own, element.place)
        wait_for_block(f)
        pairs = [Pair(ZERO, left, total)] * len(elements)
        for element, own in zip(elements, self.merged(elements, pairs, values), strict=True):
            self.leave(element, own, target)

    def read_from(self, source: Run, element: Element, left: Reg, start: Reg, right: Reg) -> Values:
        """What is read for a place of the tile: `left` elements of the left run, those from `start`
        on, and then others of the right run, counted from `right` on."""
        f, arrays = self.f, [array for array in source if array is not None]
        is_left = f.icmp("slt", element.place, left)
        index = f.add(f.select(is_left, start, right), element.place)

        def make() -> Values:
            return [f.load(a.at(self.emitter, element.row, index), a.elem) for a in arrays]

        return self.if_inside(element, make)

    def from_left(self, source: Run, row: Reg, runs: Pair, before: Reg, total: Reg) -> list[Reg]:
        """How many elements of the left run come before a tile, and before the next one: half of
        the threads look for each."""
        f, half = self.f, self.tiles.threads // 2
        cells = shared_array(f.module, f"{f.name}_cells", 16)
        is_next = f.icmp("sge", self.rank, constant(half, I64))
        diagonal = f.add(before, f.select(is_next, total, ZERO))
        count = self.left_of(source, row, runs, diagonal)
        is_one = f.icmp("eq", f.binary("urem", self.rank, constant(half, I64)), ZERO)
        with only_if(f, is_one):
            f.store(count, f.offset(cells, I64, f.convert("zext", is_next, I64)))
        wait_for_block(f)
        return [f.load(f.offset(cells, I64, constant(i, I64)), I64) for i in (0, 1)]

    def left_of(self, source: Run, row: Reg, runs: Pair, diagonal: Reg) -> Reg:
        """How many of the first `diagonal` elements of two merged runs are those of the left."""
        f, keys = self.f, source.keys
        assert keys is not None
        lengths = f.sub(runs.middle, runs.low), f.sub(runs.high, runs.middle)
        start = f.intrinsic("smax", f.sub(diagonal, lengths[1]), ZERO)
        stop = f.intrinsic("smin", diagonal, lengths[0])
        last = f.sub(f.add(runs.middle, diagonal), constant(1, I64))

        def is_among(number: Reg) -> Reg:
            left = f.load(keys.at(self.emitter, row, f.add(runs.low, number)), keys.elem)
            right = f.load(keys.at(self.emitter, row, f.sub(last, number)), keys.elem)
            return f.not_(is_less(f, self.sorter.dtype, right, left))

        (count,) = searched(f, [start], [stop], [is_among])
        return count


def searched(
    f: Function,
    starts: Sequence[Reg],
    stops: Sequence[Reg],
    tests: Sequence[Callable[[Reg], Reg]],
) -> list[Reg]:
    """For each test the first number from its start on that is not before what is looked for, or
    its stop.  All are looked for at once: none waits for what another one reads.

    A search that is done tries place 0 until the others are, and makes nothing of it.
    """
    many = len(starts)
    with f.repeat([*starts, *stops]) as state:
        lows, highs = state.carried[:many], state.carried[many:]
        open_ones = [f.icmp("slt", low, high) for low, high in zip(lows, highs, strict=True)]
        any_open = open_ones[0]
        for one in open_ones[1:]:
            any_open = f.or_(any_open, one)
        state.go_on_if(any_open)
        middles = [
            f.lshr(f.add(low, high), constant(1, I64))
            for low, high in zip(lows, highs, strict=True)
        ]
        places = [
            f.select(is_open, middle, ZERO)
            for is_open, middle in zip(open_ones, middles, strict=True)
        ]
        before = [test(place) for test, place in zip(tests, places, strict=True)]
        state.next = [
            f.select(f.and_(is_open, goes), f.add(middle, constant(1, I64)), low)
            for is_open, goes, middle, low in zip(open_ones, before, middles, lows, strict=True)
        ] + [
            f.select(f.and_(is_open, f.not_(goes)), middle, high)
            for is_open, goes, middle, high in zip(open_ones, before, middles, highs, strict=True)
        ]
    return list(state.carried[:many])


def _in_groups(flat: Sequence[Reg], count: int) -> list[Values]:
    return [list(flat[i : i + count]) for i in range(0, len(flat), count)]
