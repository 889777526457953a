"""What a loop carries: values before it, as its body finds them, and as the body leaves them."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any

from graphc.build import Value
from graphc.ir import Type, all_eqns
from graphc.trace import mutations, tree
from graphc.trace.merging import outer_arrays, with_traced
from graphc.trace.promotion import cast_to
from graphc.trace.scope import Aliases, Scope, Storage, reenter
from graphc.trace.tracer import Tracer, lift

Key = str | mutations.Entry


@dataclass(frozen=True)
class Slot:
    """A carried value: before the loop, as the body finds it, and as the body leaves it."""

    before: Value
    param: Value
    after: Value


@dataclass(frozen=True)
class Final:
    """What a name or place holds after the loop: a tree of the loop's results.

    `starts` are the arrays that the leaves are before the loop; of a name that has no value then,
    and none after a loop that never ran, it is None.
    """

    structure: tree.Structure
    results: tuple[int, ...]
    weak: tuple[bool, ...]
    aliases: tuple[Aliases, ...]
    starts: tuple[Aliases, ...] | None = None


@dataclass
class Body:
    """A body traced with stable types; the slots are in the order of the loop's results."""

    scope: Scope
    slots: list[Slot] = field(default_factory=list)
    finals: dict[Key, Final] = field(default_factory=dict)
    storages: dict[Storage, int] = field(default_factory=dict)
    gone: dict[Key, Any] = field(default_factory=dict)
    """Names that have no value after the loop: UNDEFINED or `Unusable`."""

    @property
    def size(self) -> int:
        """How many equations an iteration has."""
        return sum(1 for _ in all_eqns(self.scope.builder.finish([])))


@dataclass(frozen=True)
class Start:
    """What a carried leaf is before the loop.

    It does not keep the array alive: one that no variable holds any more may be assigned into.
    """

    value: Value
    weak: bool
    aliases: Aliases = ()

    __graphc_leaf__ = True

    @staticmethod
    def of(leaf: Any) -> Start:
        if isinstance(leaf, Start):
            return leaf
        x = lift(leaf)
        is_array = bool(x.shape) and x.storage.mutable
        return Start(x.value(), x.weak, (weakref.ref(x.storage),) if is_array else ())

    @property
    def type(self) -> Type:
        return self.value.type

    def also(self, arrays: Aliases) -> Start:
        """The same where a later iteration may find one of these arrays in its place.

        Those made in an iteration that has been traced are no arrays of the program.
        """
        known = {id(reference()) for reference in self.aliases}
        new = [r for r in arrays if (s := r()) and not s.scope.closed and id(s) not in known]
        return Start(self.value, self.weak, (*self.aliases, *new)) if new else self

    def cast(self, dtype: str, weak: bool) -> Start:
        return Start(cast_to(self.value, dtype), weak, self.aliases)

    def cast_like(self, type_: Type, weak: bool) -> Start:
        """The same of another dtype, if it is not of this type."""
        is_same = self.type == type_ and self.weak == weak
        return self if is_same or self.type.shape != type_.shape else self.cast(type_.dtype, weak)


class Head:
    """What the body finds in a name or place: its value before the loop, of parameters."""

    def __init__(self, init: Any, scope: Scope):
        starts, self.structure = tree.flatten(init)
        self.params = [scope.builder.param(start.type) for start in starts]
        self.weak = [start.weak for start in starts]
        self.aliases = [start.aliases for start in starts]
        self.scope = scope

    def value(self) -> Any:
        """To be given away: what keeps an array alive would be another holder of it."""
        rows = zip(self.params, self.weak, self.aliases, strict=True)
        leaves = [
            Tracer(Storage(p.atom, self.scope, bool(p.shape), aliases), p.shape, weak=weak)
            for p, weak, aliases in rows
        ]
        return tree.unflatten(self.structure, leaves)


@dataclass
class Left:
    """What a round left in a name or place, leaf by leaf."""

    structure: tree.Structure
    leaves: list[Tracer]
    values: list[Value]
    aliases: list[Aliases]

    @staticmethod
    def of(value: Any, scope: Scope) -> Left:
        """To be asked while the body's assignments to arrays still hold."""
        leaves, structure = tree.flatten(value)
        lifted = [lift(leaf) for leaf in leaves]
        values = [leaf.value() for leaf in lifted]
        return Left(structure, lifted, values, [outer_arrays(leaf, scope) for leaf in lifted])

    def with_bools_of(self, structure: tree.Structure, scope: Scope) -> Left:
        """The same with those of its bools traced that are traced in `structure`."""
        value = tree.unflatten(with_traced(self.structure, structure, scope), self.leaves)
        known = {id(leaf): i for i, leaf in enumerate(self.leaves)}
        with reenter(scope):
            new = Left.of(value, scope)
        for position, leaf in enumerate(new.leaves):
            if id(leaf) in known:
                new.values[position] = self.values[known[id(leaf)]]
        return new
