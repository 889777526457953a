"""Structures turned into functions that read leaves and build results, for calls that are short.

`tree.gather` and `tree.unflatten` walk a structure each time; here that is done once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from graphc.trace import tree

Reader = Callable[[Any, list[Any]], bool]
"""Appends what lies at the leaves of a value of one structure; False where it has another."""
Builder = Callable[[Iterator[Any]], Any]


def reader(structure: tree.Structure) -> Reader:
    """A function that does what `tree.gather` does, but for looking at what the leaves are."""
    if isinstance(structure, tree.Leaf):
        return _read_leaf
    if isinstance(structure, tree.Static):
        return lambda value, leaves: structure == tree.Static(value)
    kind, keys = structure.kind, structure.keys
    readers = [None if isinstance(p, tree.Leaf) else reader(p) for p in structure.parts]
    if issubclass(kind, dict):
        return _dict_reader(kind, keys, readers)
    if issubclass(kind, (tuple, list)):
        return _sequence_reader(kind, readers)
    return _attribute_reader(kind, keys, readers)


def _read_leaf(value: Any, leaves: list[Any]) -> bool:
    leaves.append(value)
    return True


def _read_parts(parts: Iterable[Any], readers: Sequence[Reader | None], leaves: list[Any]) -> bool:
    """Read each part; None reads a leaf."""
    for part, read in zip(parts, readers, strict=True):
        if read is None:
            leaves.append(part)
        elif not read(part, leaves):
            return False
    return True


def _dict_reader(kind: Any, keys: tuple[Any, ...], readers: Sequence[Reader | None]) -> Reader:
    has_leaves_only = not any(readers)

    def read(value: Any, leaves: list[Any]) -> bool:
        if type(value) is not kind or tuple(value) != keys:
            return False
        if has_leaves_only:
            leaves += value.values()
            return True
        return _read_parts(value.values(), readers, leaves)

    return read


def _sequence_reader(kind: Any, readers: Sequence[Reader | None]) -> Reader:
    count = len(readers)

    def read(value: Any, leaves: list[Any]) -> bool:
        is_kind = type(value) is kind and len(value) == count
        return is_kind and _read_parts(value, readers, leaves)

    return read


def _attribute_reader(
    kind: type, keys: tuple[Any, ...], readers: Sequence[Reader | None]
) -> Reader:
    def read(value: Any, leaves: list[Any]) -> bool:
        if type(value) is not kind:
            return False
        return _read_parts([getattr(value, key) for key in keys], readers, leaves)

    return read


def builder(structure: tree.Structure) -> Builder:
    """A function that does what `tree.unflatten` does."""
    if isinstance(structure, tree.Leaf):
        return next
    if isinstance(structure, tree.Static):
        return lambda leaves: structure.value
    kind, keys = structure.kind, structure.keys
    builders = [builder(part) for part in structure.parts]
    if issubclass(kind, dict) and not issubclass(kind, defaultdict):
        pairs = list(zip(keys, builders, strict=True))
        return lambda leaves: kind([(key, build(leaves)) for key, build in pairs])
    if kind in (tuple, list):
        return lambda leaves: kind([build(leaves) for build in builders])
    return lambda leaves: tree.make(kind, keys, [build(leaves) for build in builders])
