"""A program in pieces: what can be recorded and replayed as one, and what the host decides between.

The host has to take part where a function outside of the program is called, its processor runs a
kernel, or a tape grows.  Everything between two such places is a run of launches, loops of a known
length unrolled.  A device takes a run as one piece of work: a step without such places is one
launch.

A run may hold conditionals and loops of unknown length (`settle.py` has given them fixed memory).
Where a device does not decide these, the host looks at a value, and what lies between two decisions
are straight runs of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from graphc.runtime.program import (
    Branch,
    Call,
    Fail,
    Item,
    Place,
    Program,
    Repeat,
    Root,
)

MOST_CALLS = 4096
"""The longest straight run: a recording takes memory for each launch in it."""


@dataclass(frozen=True, eq=False)
class Straight:
    """Calls, checks and loops of known length, in order; in a `Decided`, conditionals, too.

    `moving` are the roots that they use whose memory is not the same in every run, `sets` those
    that have memory only after them.
    """

    items: tuple[Item, ...]
    moving: tuple[Root, ...]
    sets: tuple[Root, ...]
    calls: int


@dataclass(frozen=True, eq=False)
class Decided:
    """A run in which something is decided, and its pieces where that is left to the host."""

    run: Straight
    apart: tuple[Piece, ...]
    has_loop: bool
    """Whether something is repeated, nobody knows how often."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """A conditional."""

    branch: Branch
    then: tuple[Piece, ...]
    otherwise: tuple[Piece, ...]


@dataclass(frozen=True, eq=False)
class Repeated:
    """A loop that is not part of a straight run."""

    repeat: Repeat
    test: tuple[Piece, ...]
    body: tuple[Piece, ...]


Piece = Straight | Decided | Chosen | Repeated | Item


@dataclass(frozen=True)
class _Cutter:
    most: int
    decides: bool
    """Whether a run may hold what is decided when it runs."""
    turning: frozenset[Root] = frozenset()
    """The memory that the loops around take turns with.  One that a run holds as a whole begins
    with its blocks where they lie, and leaves them there."""

    def pieces(self, items: Sequence[Item]) -> tuple[Piece, ...]:
        return tuple(self._pieces(items))

    def _pieces(self, items: Sequence[Item]) -> Iterator[Piece]:
        run: list[Item] = []
        calls = 0
        for item in items:
            count = straight_calls(item, self.most, self.decides)
            if run and (count is None or calls + count > self.most):
                yield self._run(run, calls)
                run, calls = [], 0
            if count is None:
                yield self._apart(item)
            else:
                run.append(item)
                calls += count
        if run:
            yield self._run(run, calls)

    def _apart(self, item: Item) -> Piece:
        match item:
            case Branch(then=then, otherwise=otherwise):
                return Chosen(item, self.pieces(then), self.pieces(otherwise))
            case Repeat(test=test, body=body):
                inside = replace(self, turning=self.turning.union(_turning(item)))
                return Repeated(item, inside.pieces(test), inside.pieces(body))
        return item

    def _run(self, run: Sequence[Item], calls: int) -> Straight | Decided:
        straight = self._straight(run, calls)
        decisions = [item for item in _all(run) if is_decision(item)]
        if not decisions:
            return straight
        apart = replace(self, decides=False).pieces(run)
        return Decided(straight, apart, any(isinstance(item, Repeat) for item in decisions))

    def _straight(self, run: Sequence[Item], calls: int) -> Straight:
        used = dict.fromkeys(root for item in run for root in roots_of(item))
        made = tuple(root for item in run for root in made_by(item))
        moving = tuple(r for r in used if self._moves(r) and r not in made)
        return Straight(tuple(run), moving, made, calls)

    def _moves(self, root: Root) -> bool:
        return root.kind not in ("arena", "constant") or root in self.turning


def cut(program: Program, most: int = MOST_CALLS) -> tuple[Piece, ...]:
    """The pieces of a program, in order."""
    return _Cutter(most, decides=True).pieces(program.items)


def count_runs(pieces: Sequence[Piece]) -> int:
    """How many runs there are where the device decides, those in branches and loops too."""
    count = 0
    for piece in pieces:
        match piece:
            case Straight() | Decided():
                count += 1
            case Chosen(then=first, otherwise=second) | Repeated(test=first, body=second):
                count += count_runs(first) + count_runs(second)
    return count


def is_decision(item: Item) -> bool:
    """Whether something is looked at when an item runs."""
    return isinstance(item, Branch) or (isinstance(item, Repeat) and item.predicate is not None)


def straight_calls(item: Item, most: int = MOST_CALLS, decides: bool = False) -> int | None:
    """How many launches an item is that needs no host, None for one that does.

    Where the device decides, a conditional is the launch that tells it how, and both sides.
    """

    def total(items: Sequence[Item]) -> int | None:
        inside = [straight_calls(held, most, decides) for held in items]
        return None if None in inside else sum(count for count in inside if count is not None)

    count: int | None = None
    match item:
        case Call(processor=why):
            return None if why else 1
        case Fail():
            return 1
        case Repeat(body=body, predicate=None, length=length):
            turn = total(body)
            count = None if turn is None else turn * int(length)
        case Repeat(test=test, body=body, results=()) if decides:
            turn = total((*test, *test, *body))
            count = None if turn is None else turn + 3
        case Branch(then=then, otherwise=otherwise, choices=()) if decides:
            turn = total((*then, *otherwise))
            count = None if turn is None else turn + 3
    return None if count is None or count > most else count


def roots_of(item: Item) -> Iterator[Root]:
    """The memory that an item names, and what is in it."""
    match item:
        case Call(roots=roots):
            yield from roots
        case Fail(failed=failed, value=value):
            yield failed.root
            yield value.root
        case Branch(predicate=Place(root=root)):
            yield root
            for held in (*item.then, *item.otherwise):
                yield from roots_of(held)
        case Repeat():
            yield from (*item.blocks, *item.following)
            yield from (part.whole for part in item.slices)
            for held in (*item.test, *item.body):
                yield from roots_of(held)


def made_by(item: Item) -> Iterator[Root]:
    """The roots that have memory only once the item runs."""
    match item:
        case Branch(choices=choices):
            yield from (choice.root for choice in choices)
            for held in (*item.then, *item.otherwise):
                yield from made_by(held)
        case Repeat():
            yield from (root for root, _ in item.results)
            yield from (part.root for part in item.slices)
            if item.counter is not None:
                yield item.counter
            for held in (*item.test, *item.body):
                yield from made_by(held)


def _turning(item: Item) -> Iterator[Root]:
    """The memory that is not always at one place, or not at its own."""
    if isinstance(item, Repeat):
        yield from (*item.blocks, *item.following)
        if item.counter is not None:
            yield item.counter


def _all(items: Sequence[Item]) -> Iterator[Item]:
    for item in items:
        yield item
        match item:
            case Branch(then=then, otherwise=otherwise):
                yield from _all((*then, *otherwise))
            case Repeat(test=test, body=body):
                yield from _all((*test, *body))
