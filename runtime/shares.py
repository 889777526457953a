"""Dividing a program's work among threads.

Each kernel that is worth it runs in `shares`, each over a range of the indices along one axis of
its loops; the others are run by one thread.  A kernel with several loop nests is taken apart into
its nests first, each divided along its own axis.  How a kernel is divided depends on shapes and on
the number of shares alone, never on which thread comes first.

Kernels whose sizes have names are divided if that is worth it for much larger ones than the
example: the shares are there, and how many threads run them is decided for each size.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from graphc.dims import Dim, Size
from graphc.ir import Type
from graphc.runtime.barriers import scratch_step
from graphc.runtime.column_totals import column_halves
from graphc.runtime.cost import duration
from graphc.runtime.independence import is_independent, looped_axes
from graphc.runtime.kernel import Blocks, Division, Kernel, Loop, Product, Statement, inner
from graphc.runtime.nests import Nest, as_nest, nests
from graphc.runtime.partials import halves, sliced_product
from graphc.runtime.program import Branch, Call, Evenly, Item, Program, Repeat, Root, Saving
from graphc.runtime.sizes import LARGER, Sizes, applied, current, with_numbers

WORTH_GAIN = 1.2
"""How many times faster a kernel must get to be divided."""

GOOD_GAIN = 0.9
"""The outermost axis is taken that gives this part of the best gain: its shares lie together."""

WORTH_NS = 15_000.0
"""What dividing must save in all: sleeping threads take this long to wake."""


MEETING_NS = 300.0
"""What it costs that threads wait for each other."""
WHILE_TURNS = 20.0
"""Iterations of a loop that ends by a condition, for want of knowing."""


class Thresholds(NamedTuple):
    """When dividing is worth it, in estimated nanoseconds."""

    kernel: float = 6_000.0
    """A kernel that takes less than this runs on one thread: barriers cost, and cold caches."""
    step: float = WORTH_NS
    """What all divided kernels together must save for the step to use threads at all."""
    vector: int = 16
    """Elements of a row that take as long as one."""
    turns: int = 64
    """The least turns of a reduction in each share: below that, combining costs as much."""
    patience: float = 0.5
    """How long to wait for workers, as a part of the time that they save."""
    least_patience: float = 0.0


USUAL = Thresholds()

ALWAYS = Thresholds(0.0, -math.inf, 1, 1, least_patience=5e6)
"""Divide whatever can be divided, and wait until all threads are there: for tests."""

MOST_PATIENCE = 2e6
"""A worker that takes longer has no core."""


def divide(
    program: Program, shares: int, vector_bytes: int, thresholds: Thresholds = USUAL
) -> Program:
    """The program with its kernels divided; the program itself where that does not pay."""
    if shares == 1 or program.has_tape:  # a tape has one writer
        return program
    is_fixed = current().is_fixed
    divider = _Divider(shares, vector_bytes, thresholds, current().scaled(LARGER))
    items = tuple(divider.items(program.items))
    saved = sum(ns for _, _, ns in divider.saved)
    if not divider.divided or saved < thresholds.step:
        return program
    bounds = thresholds.least_patience, MOST_PATIENCE
    saving = Saving(tuple(divider.saved), thresholds.step, thresholds.patience, bounds)
    return program._replace(
        items=items,
        shares=shares,
        patience=saving.patience_for(saved),
        saving=None if is_fixed else saving,
    )


@dataclass
class _Divider:
    shares: int
    vector_bytes: int
    thresholds: Thresholds
    sizes: Sizes
    """The numbers for which a kernel must be worth dividing, where sizes have names."""
    turns: float = 1.0
    """How often the items that are being divided run, by the loops around them."""
    saved: list[tuple[Size, int, float]] = field(default_factory=list)
    divided: int = 0
    count: int = 0

    def items(self, items: Sequence[Item]) -> Iterator[Item]:
        for item in items:
            match item:
                case Call():
                    yield from self.call(item)
                case Branch(then=then, otherwise=otherwise):
                    yield item._replace(
                        then=tuple(self.items(then)), otherwise=tuple(self.items(otherwise))
                    )
                case Repeat():
                    yield self.repeat(item)
                case _:
                    yield item

    def repeat(self, repeat: Repeat) -> Repeat:
        """A loop whose threads meet at the end of each iteration, and around its test."""
        outside = self.turns
        length = with_numbers(repeat.length, self.sizes)
        self.turns *= WHILE_TURNS if repeat.predicate else length
        meetings = self.turns * (len(repeat.test) + len(repeat.body))
        self.saved.append((1, 1, -meetings * MEETING_NS))
        test, body = tuple(self.items(repeat.test)), tuple(self.items(repeat.body))
        self.turns = outside
        return repeat._replace(test=test, body=body)

    def call(self, call: Call) -> Iterator[Call]:
        if self.duration(call.kernel) < self.thresholds.kernel:
            yield call._replace(because="small")
            return
        parts = [p for nest in nests(call.kernel, call.roots) for p in self.part(call, nest)]
        if any(part.cuts for part in parts):
            yield from parts
        else:
            yield call._replace(because=parts[0].because)

    def duration(self, kernel: Kernel) -> float:
        return duration(with_numbers(kernel, self.sizes), self.vector_bytes)

    def part(self, call: Call, nest: Nest) -> list[Call]:
        """The calls of one nest: divided along the axis that balances best, or as it is."""
        kernel, roots = nest.kernel, tuple(call.roots[i] for i in nest.buffers)
        call = call._replace(kernel=kernel, roots=roots)
        time = self.duration(kernel)
        if time < self.thresholds.kernel:
            return [call._replace(because="small")]
        if sliced := self.in_slices(call, time):
            return sliced
        cuts = [self.cut(kernel, axis) for axis in looped_axes(kernel)]

        @functools.cache
        def is_possible(cut: Cut) -> bool:
            return is_independent(kernel, roots, cut.axis, cut.cuts)

        by_gain = sorted(cuts, key=lambda c: c.gain, reverse=True)
        most = next((c.gain for c in by_gain if is_possible(c)), 0.0)
        if most < WORTH_GAIN:
            return self.in_halves(call, time) or [call._replace(because=why_whole(most > 0))]
        best = next(c for c in cuts if c.gain >= GOOD_GAIN * most and is_possible(c))
        self.count_saved(call.kernel, time, best)
        divided = in_blocks_of_shares(kernel, best, self.shares)
        return [self.divided_call(call, divided, best)]

    def in_slices(self, call: Call, time: float) -> list[Call]:
        """A product whose shares multiply a slice of the inner dimension each."""
        found = sliced_product(call.kernel, self.shares)
        if found is None:
            return []
        buffer = found.first.buffers[-1]
        roots = (*call.roots, self.arena(buffer.dtype, buffer.size))
        best = Cut(found.axis, self.shares, tuple(range(self.shares + 1)))
        self.count_saved(call.kernel, time, best)
        first = _used(call._replace(kernel=found.first, roots=roots))
        second = _used(call._replace(kernel=found.second, roots=roots, because="small"))
        best = best._replace(axis=len(first.kernel.domain) - 1)
        return [self.divided_call(first, first.kernel, best), second]

    def in_halves(self, call: Call, time: float) -> list[Call]:
        """A reduction whose shares make partial totals; nothing if the kernel is not one."""
        found = halves(call.kernel, self.shares) or column_halves(call.kernel, self.shares)
        if found is None:
            return []
        best = self.cut(found.first, found.axis)
        totals = [b for b in found.first.buffers if b.role == "partial"]
        length = found.first.domain[found.axis]
        is_short = with_numbers(length, self.sizes) < self.shares * self.thresholds.turns
        if is_short or best.gain < WORTH_GAIN or has_empty_shares(best.cuts):
            return []
        parts = [self.arena(b.dtype, self.shares * b.size) for b in totals]
        roots = (*call.roots, *parts)
        if not is_independent(found.first, roots, found.axis, best.cuts, reduces=True):
            return []
        self.count_saved(call.kernel, time, best)
        first = _used(call._replace(kernel=found.first, roots=roots))
        second = _used(call._replace(kernel=found.second, roots=roots, because="small"))
        return [self.divided_call(first, first.kernel, best), second]

    def cut(self, kernel: Kernel, axis: int) -> Cut:
        numbers = with_numbers(kernel, self.sizes)
        found = cut(numbers, axis, self.shares, self.thresholds.vector)
        size = kernel.domain[axis]
        if not isinstance(size, Dim):
            return found
        grain = GRAIN if runs_in_vectors(kernel, axis) else 1
        return found._replace(cuts=Evenly(size, grain))

    def count_saved(self, kernel: Kernel, time: float, best: Cut) -> None:
        work = work_of(kernel)
        saved = self.turns * time * (1 - 1 / best.gain)
        self.saved.append((work, with_numbers(work, self.sizes), saved))
        self.divided += 1

    def divided_call(self, call: Call, kernel: Kernel, best: Cut) -> Call:
        kernel = kernel._replace(division=Division(best.axis, self.shares))
        return self.widened(call._replace(kernel=kernel, cuts=best.cuts))

    def arena(self, dtype: str, size: Size) -> Root:
        self.count += 1
        return Root("arena", -self.count, dtype, size * Type(dtype).nbytes)

    def widened(self, call: Call) -> Call:
        """Scratch buffers hold a part for each share."""
        roots = list(call.roots)
        for i, buffer in enumerate(call.kernel.buffers):
            if buffer.role == "scratch":
                each = scratch_step(buffer.size, buffer.dtype)
                roots[i] = self.arena(buffer.dtype, self.shares * each)
        pairs = zip(roots, call.kernel.buffers, strict=True)
        scratch = tuple(root for root, buffer in pairs if buffer.role == "scratch")
        return call._replace(roots=tuple(roots), scratch=scratch)


def why_whole(is_independent: bool) -> str:
    if is_independent:
        return "its axes are too short"
    return "no axis along which shares would be independent"


def _used(call: Call) -> Call:
    """The call with only the buffers that its kernel touches."""
    nest = as_nest(call.kernel)
    return call._replace(kernel=nest.kernel, roots=tuple(call.roots[i] for i in nest.buffers))


# ---- where to cut --------------------------------------------------------------------------------


def has_empty_shares(cuts: tuple[int, ...] | Evenly) -> bool:
    """Whether a share has nothing to do; one of a named size may, and its totals are empty ones."""
    return not isinstance(cuts, Evenly) and any(a == b for a, b in pairwise(cuts))


def work_of(kernel: Kernel) -> Size:
    """What a kernel's time is in proportion to."""
    work: Size = 1
    for size in kernel.domain:
        work = work * size
    for statement in inner(kernel.body):
        if isinstance(statement, Product):
            work = work * statement.inner
    return work


class Cut(NamedTuple):
    """One way to divide a kernel: how many times faster it gets, and where the shares end."""

    axis: int
    gain: float
    cuts: tuple[int, ...] | Evenly


GRAIN = 64
"""Elements of a row that are not separated: four of the widest vectors of f32."""
TILE_ROWS = 2
"""What a share of a matrix product costs beside its rows, in rows."""


def cut(kernel: Kernel, axis: int, shares: int, vector: int) -> Cut:
    """Equal shares of an axis, in whole vectors where the axis is long enough for that."""
    size = int(kernel.domain[axis])
    rows, columns = (_is_product_axis(kernel, axis, which) for which in (0, 1))
    in_vectors = runs_in_vectors(kernel, axis)
    grain = GRAIN if in_vectors and size >= 2 * shares * GRAIN else 1
    width = vector if in_vectors else 1
    inside = (round(size * share / shares / grain) * grain for share in range(1, shares))
    cuts = (0, *inside, size)
    longest = max(high - low for low, high in pairwise(cuts))
    extra = TILE_ROWS if rows else 1 if columns else 0
    whole, part = -(-size // width) + extra, max(-(-longest // width) + extra, 1)
    return Cut(axis, whole / part, cuts)


def runs_in_vectors(kernel: Kernel, axis: int) -> bool:
    """Whether whole vectors lie along an axis."""
    return _is_product_axis(kernel, axis, 1) or any(
        isinstance(s, Loop) and s.vector and s.axes[-1] == axis for s in inner(kernel.body)
    )


def in_blocks_of_shares(kernel: Kernel, cuts: Cut, shares: int) -> Kernel:
    """The kernel with equal blocks in each share, none larger than before.

    The last block of a share begins early enough to be whole, and not before the share: a share
    is as long as a block at least (but for a named size with hardly more rows than shares).
    """
    fewest = 1
    if isinstance(cuts.cuts, Evenly):
        fewest = 2  # as has whatever a name stands for
        longest, shortest = (applied(f, cuts.cuts.size, shares) for f in (_longest, _shortest))
    else:
        lengths = [high - low for low, high in pairwise(cuts.cuts)]
        longest, shortest = max(lengths), min(lengths)

    def smaller(statement: Statement) -> Statement:
        match statement:
            case Blocks(axis, size, body) if axis == cuts.axis:
                size = applied(_block_of_share, size, longest, shortest, fewest)
                return Blocks(axis, size, tuple(_with_rows(s, axis, size) for s in body))
            case Loop(body=body) | Blocks(body=body):
                return statement._replace(body=tuple(map(smaller, body)))
        return statement

    return kernel._replace(body=tuple(map(smaller, kernel.body)))


def _longest(size: int, shares: int) -> int:
    """The rows of the longest of equal shares, two at least."""
    return max(-(-size // shares), 2)


def _shortest(size: int, shares: int) -> int:
    return max(size // shares, 2)


def _block_of_share(size: int, longest: int, shortest: int, fewest: int) -> int:
    """The rows of a block, of equal ones in each share."""
    count = max(-(-longest // size), 1 if shortest == longest else 2)
    return max(-(-longest // count), fewest)


def _with_rows(statement: Statement, axis: int, rows: Size) -> Statement:
    """The products along `axis` with the rows of a block."""
    match statement:
        case Product() if statement.row_axis == axis:
            return statement._replace(rows=rows)
        case Loop(body=body) | Blocks(body=body):
            return statement._replace(body=tuple(_with_rows(s, axis, rows) for s in body))
    return statement


def _is_product_axis(kernel: Kernel, axis: int, which: int) -> bool:
    return any(
        isinstance(s, Product) and (s.row_axis, s.column_axis)[which] == axis
        for s in inner(kernel.body)
    )
