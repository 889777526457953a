"""Memory that does not depend on what is decided: for conditionals that the device takes itself.

Before:  branch p [then: kernel -> a] [else: kernel -> b]; c is a or b
         while p [body: kernel x -> y]; x and y take turns
After:   branch p [then: kernel -> c] [else: kernel -> c]
         while p [body: kernel x -> y, copy y -> x]

A graph of launches has its addresses when it is recorded, and what is decided is known when it
runs.  So what a conditional chooses is copied to one place at the end of each side, or made there,
and what a loop carries goes home at the end of each turn.

Sound: a choice is given memory of its own, or the memory of a result that one side makes the value
in, and that is for nothing but what is chosen: no other value ever lies there.  A side makes a
value in the place of the choice only where all that ever touches its memory is in that side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from graphc.ir import ITEM_BYTES, Type
from graphc.runtime.cuda.plan.rejoin import joined_calls
from graphc.runtime.kernel import accesses
from graphc.runtime.layout import Layout, contiguous
from graphc.runtime.moves import schedule_copy
from graphc.runtime.program import (
    Branch,
    Call,
    Choice,
    Fail,
    Foreign,
    Item,
    Place,
    Pop,
    Program,
    Push,
    Repeat,
    Root,
    parts,
)

HOST_ITEMS = (Foreign, Push, Pop)
"""What the host takes part in, besides kernels that its processor runs."""


def settled(program: Program) -> Program:
    """The program with fixed memory for all that the device may decide without the host."""
    if not any(map(_decides, program.items)):
        return program
    return program._replace(items=_Settler(program.items).items(program.items))


def needs_host(item: Item) -> bool:
    """Whether the host takes part in an item whatever the device can decide."""
    if isinstance(item, Call):
        return bool(item.processor)
    return isinstance(item, HOST_ITEMS) or any(map(needs_host, _held(item)))


def _held(item: Item) -> Iterator[Item]:
    for items in parts(item):
        yield from items


def _decides(item: Item) -> bool:
    is_loop = isinstance(item, Repeat) and item.predicate is not None
    return isinstance(item, Branch) or is_loop or any(map(_decides, _held(item)))


# ---- which memory items mention ------------------------------------------------------------------


def mentioned(items: Iterable[Item]) -> Iterator[Root]:
    """The roots that items name, once for each time."""
    for item in items:
        match item:
            case Call(roots=roots):
                yield from roots
            case Fail(failed=failed, value=value):
                yield from (failed.root, value.root)
            case Foreign(operands=operands, results=results):
                yield from (place.root for place in (*operands, *results))
            case Push(tape=tape, values=values, out=out):
                yield from (tape.root, *(place.root for place in values), out)
            case Pop(tape=tape, values=values, out=out):
                yield from (tape.root, *values, out)
            case Branch(predicate=predicate, choices=choices):
                yield predicate.root
                for choice in choices:
                    yield from (choice.root, choice.then[0], choice.otherwise[0])
            case Repeat():
                yield from _mentioned_by_loop(item)
        yield from mentioned(_held(item))


def _mentioned_by_loop(repeat: Repeat) -> Iterator[Root]:
    yield from (*repeat.blocks, *repeat.following)
    for pair in repeat.results:
        yield from pair
    if repeat.predicate is not None:
        yield repeat.predicate.root
    if repeat.counter is not None:
        yield repeat.counter
    for part in repeat.slices:
        yield from (part.root, part.whole)


class _Mentions:
    """Where the memory of a program is mentioned, as it was before anything was settled."""

    def __init__(self, items: Sequence[Item]):
        self.counts = Counter(mentioned(items))
        self.derived: dict[Root, list[Root]] = {}
        for root in self.counts:
            for source in root.sources:
                self.derived.setdefault(source, []).append(root)
        self.calls: dict[Root, list[Call]] = {}
        for call in _calls(items):
            for root in dict.fromkeys(call.roots):
                self.calls.setdefault(root, []).append(call)

    def ends_as(self, result: Root, choice: Root, side: Counter[Root]) -> bool:
        """Whether a result holds what a choice is, or what is chosen from it, and nothing else:
        it is mentioned in a side of the conditional alone, and where it is copied to at the end."""
        copied = [
            call
            for call in self.calls.get(result, ())
            if _copies_in_place(call) and _reaches(call.roots, choice)
        ]
        outside = self.counts[result] - side[result] - choice.sources.count(result)
        views = (root for root in self.derived.get(result, ()) if root.kind == "slice")
        are_inside = all(self.counts[view] == side[view] for view in views)
        return are_inside and bool(copied) and outside == len(copied)

    def are_all_in(self, root: Root, side: Counter[Root], choice: Root) -> bool:
        """Whether `root`, and all that may be its memory but for `choice`, is mentioned in a side
        alone; as a source of the choice, it is once more."""
        waiting, seen = [root], {choice}
        while waiting:
            memory = waiting.pop()
            if memory not in seen:
                seen.add(memory)
                if self.counts[memory] - side[memory] > choice.sources.count(memory):
                    return False
                waiting += self.derived.get(memory, ())
        return True


def _calls(items: Iterable[Item]) -> Iterator[Call]:
    for item in items:
        if isinstance(item, Call):
            yield item
        yield from _calls(_held(item))


def _reaches(roots: Iterable[Root], wanted: Root) -> bool:
    """Whether one of these may be the memory of a root."""
    waiting, seen = [*roots], set()
    while waiting:
        root = waiting.pop()
        if root is wanted:
            return True
        if root not in seen:
            seen.add(root)
            waiting += root.sources
    return False


def _is_nothing(call: Call) -> bool:
    return _copies_in_place(call) and call.roots[0] is call.roots[1]


def _copies_in_place(call: Call) -> bool:
    """Whether a call copies each element to where it was, were its two buffers one."""
    places = {(access.offset, access.strides) for access in accesses(call.kernel.body)}
    return call.eqn is None and len(call.roots) == 2 and len(places) == 1


# ---- other roots in the place of some ------------------------------------------------------------


class _Names:
    """Items with other roots in the place of some."""

    def __init__(self, names: Mapping[Root, Root] | None = None):
        self.names = dict(names or {})

    def root(self, root: Root) -> Root:
        """What a root has become; a slice or choice of other memory is another one."""
        if root not in self.names:
            sources = tuple(map(self.root, root.sources))
            same = all(new is old for new, old in zip(sources, root.sources, strict=True))
            made = Root(root.kind, root.number, root.dtype, root.nbytes, sources)
            self.names[root] = root if same else made
        return self.names[root]

    def place(self, place: Place) -> Place:
        return place._replace(root=self.root(place.root))

    def places(self, places: Iterable[Place]) -> tuple[Place, ...]:
        return tuple(map(self.place, places))

    def roots(self, roots: Iterable[Root]) -> tuple[Root, ...]:
        return tuple(map(self.root, roots))

    def items(self, items: Sequence[Item]) -> tuple[Item, ...]:
        return tuple(map(self.item, items))

    def item(self, item: Item) -> Item:
        match item:
            case Call(roots=roots, scratch=scratch):
                return item._replace(roots=self.roots(roots), scratch=self.roots(scratch))
            case Fail(failed=failed, value=value):
                return item._replace(failed=self.place(failed), value=self.place(value))
            case Foreign(operands=operands, results=results):
                return item._replace(operands=self.places(operands), results=self.places(results))
            case Push(tape=tape, values=values, out=out):
                values = self.places(values)
                return item._replace(tape=self.place(tape), values=values, out=self.root(out))
            case Pop(tape=tape, values=roots, out=out):
                roots = self.roots(roots)
                return item._replace(tape=self.place(tape), values=roots, out=self.root(out))
            case Branch():
                return self.branch(item)
            case Repeat():
                return self.repeat(item)
        return item

    def branch(self, branch: Branch) -> Item:
        return Branch(
            self.place(branch.predicate),
            self.items(branch.then),
            self.items(branch.otherwise),
            tuple(map(self.choice, branch.choices)),
        )

    def choice(self, choice: Choice) -> Choice:
        (first, start), (second, other) = choice.then, choice.otherwise
        sides = (self.root(first), start), (self.root(second), other)
        return Choice(self.root(choice.root), *sides)

    def repeat(self, repeat: Repeat) -> Item:
        slices = (
            part._replace(root=self.root(part.root), whole=self.root(part.whole))
            for part in repeat.slices
        )
        return repeat._replace(
            blocks=self.roots(repeat.blocks),
            following=self.roots(repeat.following),
            results=tuple((self.root(root), self.root(home)) for root, home in repeat.results),
            predicate=None if repeat.predicate is None else self.place(repeat.predicate),
            counter=None if repeat.counter is None else self.root(repeat.counter),
            slices=tuple(slices),
            test=self.items(repeat.test),
            body=self.items(repeat.body),
        )


# ---- settling ------------------------------------------------------------------------------------


class _Settler(_Names):
    """The items of a program with conditionals and loops settled, the inner ones first."""

    def __init__(self, items: Sequence[Item]):
        super().__init__()
        self.mentions = _Mentions(items)
        self.first: dict[Root, Root] = {}
        """The choice that memory was made for."""
        self.count = max((root.number for root in self.mentions.counts), default=0)

    def arena(self, like: Root) -> Root:
        self.count += 1
        return Root("arena", self.count, like.dtype, like.nbytes)

    def items(self, items: Sequence[Item]) -> tuple[Item, ...]:
        made = super().items(items)
        # What the end of a program copies to a result, if a choice has become that result.
        return tuple(item for item in made if not (isinstance(item, Call) and _is_nothing(item)))

    # ---- conditionals ------------------------------------------------------------------------

    def branch(self, branch: Branch) -> Item:
        if needs_host(branch):
            return super().branch(branch)
        sides = [self.items(branch.then), self.items(branch.otherwise)]
        before = [Counter(mentioned(branch.then)), Counter(mentioned(branch.otherwise))]
        copies: list[list[Call]] = [[], []]
        for choice in branch.choices:
            sources = choice.then, choice.otherwise
            result = self.result_for(choice, branch.choices, before)
            target = result or self.arena(choice.root)
            for i, (old, offset) in enumerate(sources):
                root = self.root(old)
                if root is target:
                    continue
                is_free = not any(target in other.memories() for other in before[i])
                if not offset and is_free and self.is_made_in(root, before[i], choice.root):
                    names = _Names({root: target})
                    sides[i] = names.items(sides[i])
                    copies[i] = [names.item(copy) for copy in copies[i]]  # type: ignore[misc]
                else:
                    copies[i] += _copy(root, int(offset), target)
            self.names[choice.root] = target
            self.first.setdefault(target, choice.root)
        then, otherwise = (
            (*side, *joined_calls(copied)) for side, copied in zip(sides, copies, strict=True)
        )
        return Branch(self.place(branch.predicate), then, otherwise, ())

    def result_for(
        self, choice: Choice, choices: Sequence[Choice], before: Sequence[Counter[Root]]
    ) -> Root | None:
        """The result that one side makes the value in and that holds nothing else: then no value
        lies in it on the other side."""
        ends = [self.root(end) for each in choices for end, _ in (each.then, each.otherwise)]
        for i, (root, offset) in enumerate((choice.then, choice.otherwise)):
            own = self.root(root)
            fits = own.kind == "result" and not offset and own.nbytes == choice.root.nbytes
            is_alone = sum(own in end.memories() for end in ends) == 1
            is_free = not any(own in other.memories() for other in before[1 - i])
            if fits and is_alone and is_free and self.mentions.ends_as(own, choice.root, before[i]):
                return own
        return None

    def is_made_in(self, root: Root, side: Counter[Root], choice: Root) -> bool:
        """Whether a side may make what lies in `root` elsewhere, in memory of the same size."""
        first = self.first.get(root, root)
        fits = root.kind == "arena" and root.nbytes == choice.nbytes and root.dtype == choice.dtype
        return fits and self.mentions.are_all_in(first, side, choice)

    # ---- loops -------------------------------------------------------------------------------

    def repeat(self, repeat: Repeat) -> Item:
        if repeat.predicate is None or needs_host(repeat):
            return super().repeat(repeat)
        following = dict(zip(repeat.blocks, repeat.following, strict=True))
        homes = {self.root(home): self.root(following[home]) for _, home in repeat.results}
        self.names.update((root, self.root(home)) for root, home in repeat.results)
        plain = repeat._replace(blocks=(), following=(), results=())
        made = super().repeat(plain)
        assert isinstance(made, Repeat)
        kept = {after: self.arena(after) for after in homes.values() if after in homes}
        copies = [copy for after, own in kept.items() for copy in _copy(after, 0, own)]
        for home, after in homes.items():
            copies += _copy(kept.get(after, after), 0, home)
        return made._replace(body=(*made.body, *joined_calls(copies)))


def _copy(source: Root, offset: int, target: Root) -> list[Call]:
    """What copies one value from its first element on."""
    count = int(target.nbytes) // ITEM_BYTES[target.dtype]
    if not count or (source is target and not offset):
        return []
    type = Type(target.dtype, (count,))
    layout = Layout(type.shape, (1,), offset)
    kernel = schedule_copy("copy", layout, type.dtype, contiguous(type.shape))
    return [Call(kernel, (source, target))]
