"""Trees of values: tuples, lists, dicts, named tuples, dataclasses and None, nested at will.

`flatten` separates a tree into its leaves and its structure; `Structure.unflatten` puts new leaves
in.  A leaf is an array, a NumPy scalar, a Python number, or a traced value.  Everything else
(bool, str, None, enums, other objects) is part of the structure.
"""

from __future__ import annotations

import dataclasses
import enum
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Leaf:
    """The place of a leaf."""


@dataclass(frozen=True, slots=True)
class Static:
    """An object that is part of the structure; compared by value where it can be."""

    value: Any

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Static) or type(self.value) is not type(other.value):
            return False
        return self.value is other.value or (self._by_value() and self.value == other.value)

    def __hash__(self) -> int:
        return hash(self.value) if self._by_value() else id(self.value)

    def _by_value(self) -> bool:
        return isinstance(self.value, Hashable)


@dataclass(frozen=True, slots=True)
class Node:
    """A container: its type, the names of its parts, and the structure of each part."""

    kind: type
    keys: tuple[Any, ...]
    parts: tuple[Structure, ...]


Structure = Leaf | Static | Node
LEAF = Leaf()


PLAIN_LEAVES = frozenset(
    {np.ndarray, float, int, complex}
    | {np.float16, np.float32, np.float64, np.int32, np.int64, np.complex64, np.complex128}
)
"""The common types of leaves; `is_leaf` knows the others."""


def is_leaf(value: Any) -> bool:
    """Whether a value is data rather than structure."""
    if isinstance(value, (bool, enum.Enum)):
        return False
    return isinstance(value, (int, float, complex, np.ndarray, np.generic)) or hasattr(
        type(value), "__graphc_leaf__"
    )


def flatten(tree: Any) -> tuple[list[Any], Structure]:
    """The leaves of `tree` from left to right, and its structure."""
    leaves: list[Any] = []
    return leaves, _flatten(tree, leaves)


def _flatten(tree: Any, leaves: list[Any]) -> Structure:
    if type(tree) in PLAIN_LEAVES or is_leaf(tree):
        leaves.append(tree)
        return LEAF
    keys = keys_of(tree)
    if keys is None:
        return Static(tree)
    return Node(type(tree), keys, tuple(_flatten(part_of(tree, key), leaves) for key in keys))


def keys_of(tree: Any) -> tuple[Any, ...] | None:
    """The names of a container's parts, or None where `tree` is not a container."""
    if isinstance(tree, dict):
        return tuple(tree)
    if isinstance(tree, (tuple, list)):
        return tuple(range(len(tree)))
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        return tuple(field.name for field in dataclasses.fields(tree))
    return None


def part_of(tree: Any, key: Any) -> Any:
    return tree[key] if isinstance(tree, (dict, tuple, list)) else getattr(tree, key)


def parts_of(tree: Any) -> list[Any]:
    """The parts of a container, in order; none of anything else."""
    return [part_of(tree, key) for key in keys_of(tree) or ()]


def rebuilt(tree: Any, parts: list[Any]) -> Any:
    """A container of the kind of `tree` with other parts."""
    keys = keys_of(tree)
    assert keys is not None
    return make(type(tree), keys, parts)


def unflatten(structure: Structure, leaves: Sequence[Any]) -> Any:
    """The tree with the given structure and leaves."""
    return _unflatten(structure, iter(leaves))


def _unflatten(structure: Structure, leaves: Iterator[Any]) -> Any:
    if isinstance(structure, Leaf):
        return next(leaves)
    if isinstance(structure, Static):
        return structure.value
    parts = [_unflatten(part, leaves) for part in structure.parts]
    return make(structure.kind, structure.keys, parts)


def make(kind: type, keys: tuple[Any, ...], parts: list[Any]) -> Any:
    if issubclass(kind, defaultdict):
        return kind(None, zip(keys, parts, strict=True))  # what it made is no part of the structure
    if issubclass(kind, dict):
        return kind(zip(keys, parts, strict=True))
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return kind(*parts)
    if issubclass(kind, (tuple, list)):
        return kind(parts)
    made = object.__new__(kind)
    for key, part in zip(keys, parts, strict=True):
        object.__setattr__(made, key, part)
    return made


def gather(structure: Structure, tree: Any, leaves: list[Any]) -> bool:
    """Append the leaves of `tree` if it has the given structure: `flatten` for a known answer.

    Makes no objects of its own, which is what a call of a compiled function mostly waits for; lists
    are faster here than generators.
    """
    kind = type(structure)
    if kind is Leaf:
        leaves.append(tree)
        return type(tree) in PLAIN_LEAVES or is_leaf(tree)
    if kind is Static:
        return structure == Static(tree)
    assert isinstance(structure, Node)
    if type(tree) is not structure.kind:
        return False
    if keys_of(tree) != structure.keys:
        return False
    parts = [part_of(tree, key) for key in structure.keys]
    return all([gather(p, v, leaves) for p, v in zip(structure.parts, parts, strict=True)])  # noqa: C419


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """The tree with `function` applied to each leaf."""
    leaves, structure = flatten(tree)
    return unflatten(structure, [function(leaf) for leaf in leaves])


def paths(structure: Structure, prefix: str = "") -> Iterator[str]:
    """How each leaf is written in Python, from left to right: `[0]['w']`, `.weights`."""
    if isinstance(structure, Leaf):
        yield prefix
    elif isinstance(structure, Node):
        dotted = dataclasses.is_dataclass(structure.kind) or hasattr(structure.kind, "_fields")
        names = getattr(structure.kind, "_fields", structure.keys)
        for name, part in zip(names, structure.parts, strict=True):
            yield from paths(part, prefix + (f".{name}" if dotted else f"[{name!r}]"))
