"""How a step is called: what each argument must be, and what is returned.

This is what `llvm/entry.py` turns into a plan for the native entry point.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from graphc.ir import Type

MISS = NotImplemented
"""What the entry point gives for arguments that are not for it, and for a step that failed."""


class Leaf(NamedTuple):
    """An argument: an object of exactly this class and type.

    An int may have to have one value, and an array to be the same object as an earlier leaf.
    """

    kind: type
    type: Type
    value: int | None = None
    same: int | None = None


class Fixed(NamedTuple):
    """An object that is part of the signature, or of what is returned."""

    value: Any


class Result(NamedTuple):
    """The result of that number, or, where the flag is set, the argument (leaf) of that number."""

    number: int
    is_argument: bool = False


class Container(NamedTuple):
    """A container of the class `kind`; `keys` are the names of its parts."""

    kind: type
    keys: tuple[Any, ...]
    parts: tuple[Any, ...]


Pattern = Leaf | Fixed | Container
"""What an argument must be."""

Output = Result | Fixed | Container
"""What is returned."""


class Calling(NamedTuple):
    """How a step is called: its arguments, and what it returns.

    With `keeps_gil`, no other Python thread runs meanwhile: for steps that take less time than
    handing the GIL over and back.
    """

    positional: tuple[Pattern, ...]
    keywords: tuple[tuple[str, Pattern], ...]
    returns: Output
    results: tuple[Type, ...]
    """The types of the results as arrays of NumPy."""
    keeps_gil: bool = False


def container_kind(kind: type) -> str:
    """How the entry point walks a container of this class: as a "tuple", "list", "dict" or by
    "fields"; "" if not at all, because it may have its own idea of what it holds, in what order."""
    if kind is tuple or (issubclass(kind, tuple) and _is_named_tuple(kind)):
        return "tuple"
    if kind is list:
        return "list"
    if kind in (dict, defaultdict):
        return "dict"
    if issubclass(kind, (tuple, list, dict)) or not dataclasses.is_dataclass(kind):
        return ""
    return "fields"


def _is_named_tuple(kind: type) -> bool:
    return hasattr(kind, "_fields") and kind.__iter__ is tuple.__iter__  # type: ignore[attr-defined]


def can_match(kind: type, keys: Sequence[Any]) -> bool:
    """Whether the entry point can walk a container of this class with these keys.

    Not one with keys whose comparison may run a user's code.
    """
    walk = container_kind(kind)
    return walk != "" and (walk != "dict" or all(type(key) in (str, int) for key in keys))


def can_build(kind: type) -> bool:
    """Whether the entry point can make a container of this class."""
    return kind in (list, dict) or container_kind(kind) == "tuple"
