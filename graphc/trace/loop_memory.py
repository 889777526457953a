"""What the rounds of a loop found, for the next time that the same loop is traced.

A loop inside of another one is traced again in each round of that one.  Searching for its types
each time would multiply with the depth of the nest; what it carried the last time, from values of
the same types, is what it will carry now.  One more round proves that, or the search begins anew.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from graphc.ir import Loc, Type
from graphc.trace import tree
from graphc.trace.scope import Storage
from graphc.trace.tracer import Tracer

LeafTypes = tuple[tuple[Type, bool], ...]
Shapes = tuple[tuple[Any, tree.Structure, LeafTypes], ...]
"""Of each name or place: its structure, and the types of its leaves with whether they are weak."""

Question = tuple[Loc, Shapes]
"""A loop by its place in the source, and the types that it begins with."""


@dataclass(frozen=True)
class Found:
    """What a loop carries: names and places, and arrays by their number among the visible ones."""

    carried: Shapes
    arrays: tuple[int, ...]


def shapes_of(inits: Mapping[Any, Any]) -> Shapes:
    """The structures and types of what a loop begins with."""
    rows = []
    for key, init in inits.items():
        starts, structure = tree.flatten(init)
        rows.append((key, structure, tuple((start.type, start.weak) for start in starts)))
    return tuple(rows)


class Arrays:
    """The traced arrays that a function sees, by number, none of them kept alive."""

    def __init__(self, values: Iterable[Any]):
        storages = (value.storage for value in values if isinstance(value, Tracer))
        self._known = [weakref.ref(storage) for storage in storages if storage.mutable]

    def numbers(self, storages: Iterable[Storage]) -> tuple[int, ...]:
        """The numbers of those that are variables; the others a search finds again."""
        known = {id(reference()): i for i, reference in enumerate(self._known)}
        return tuple(known[id(s)] for s in storages if id(s) in known)

    def storages(self, numbers: Iterable[int]) -> list[Storage]:
        """The arrays of these numbers, those that are still there."""
        found = [self._known[number]() for number in numbers if number < len(self._known)]
        return list(dict.fromkeys(storage for storage in found if storage is not None))
