"""State that hides in functions and iterators: variables of closures, and how far they are."""

from __future__ import annotations

import dis
import functools
import operator
import types
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.trace.syntax import is_added, is_synthetic

# ---- variables that an inner function rebinds (`nonlocal`) ---------------------------------------


@dataclass(frozen=True, eq=False)
class Variable:
    """A variable of a function that a function inside of it assigns: a container of one value."""

    name: str
    cell: types.CellType

    def content(self) -> dict[Any, Any]:
        try:
            return {self.name: self.cell.cell_contents}
        except ValueError:
            return {}

    def fill(self, content: dict[Any, Any]) -> None:
        if self.name in content:
            self.cell.cell_contents = content[self.name]
        elif self.content():
            del self.cell.cell_contents


def rebound_cells(function: types.FunctionType) -> Iterator[Variable]:
    """The variables of functions around one of the user's that it assigns."""
    if is_synthetic(function.__code__):
        return
    rebound = _rebound(function.__code__)
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    for name, cell in cells:
        if name in rebound:
            yield Variable(name, cell)


@functools.lru_cache(maxsize=1024)
def _rebound(code: types.CodeType) -> frozenset[str]:
    """The free variables of a function that it, or a branch of it, assigns."""
    found = {
        instruction.argval
        for instruction in dis.get_instructions(code)
        if instruction.opname in ("STORE_DEREF", "DELETE_DEREF")
    }
    inner = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    for constant in inner:
        found |= _rebound(constant)
    return frozenset(name for name in found.intersection(code.co_freevars) if not is_added(name))


@functools.lru_cache(maxsize=1024)
def global_names(code: types.CodeType) -> frozenset[str]:
    """The global variables (and attributes) that a function and its branches name."""
    inner = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    return frozenset(code.co_names).union(*map(global_names, inner))


# ---- what cannot be put back ---------------------------------------------------------------------

CHECKED_BYTES = 1 << 26
"""Larger arrays are not looked at."""

SMALL = 10_000
"""Arrays of at most so many elements are copied, and need no checksum."""


def is_iterator(value: Any) -> bool:
    return hasattr(type(value), "__next__") and not hasattr(type(value), "__graphc_leaf__")


def inner_iterators(value: Any) -> Iterable[Any]:
    """The iterators that a `zip`, `enumerate`, `map` or `filter` advances."""
    if not isinstance(value, (zip, enumerate, map, filter)):
        return ()
    return [part for part in value.__reduce__()[1] if is_iterator(part)]


def state_of(value: Any) -> Any:
    """Something that differs when an iterator or a large array has changed; None for others."""
    if isinstance(value, np.ndarray):
        if value.size <= SMALL or value.nbytes > CHECKED_BYTES:
            return None
        return zlib.crc32(np.ascontiguousarray(value).view(np.uint8).data)
    if isinstance(value, types.GeneratorType):
        return -1 if value.gi_frame is None else value.gi_frame.f_lasti
    if is_iterator(value):
        hint = operator.length_hint(value, -1)
        return None if hint < 0 else hint
    return None


def named(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"large ordinary array of shape {value.shape}"
    return type(value).__name__
