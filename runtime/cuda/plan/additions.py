"""Which additions of floats at computed positions are sorted first: decisions alone, no code.

Each addition is a *key*, the element that it adds at, and its value.  Sorted by their keys, in a
stable order, those of one element are neighbours, and are totalled in the order in which they were.
Axes that the key depends on are those of *entries*; along the others, the *columns*, each entry
adds a row of values at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from graphc.ir import FLOATS
from graphc.runtime.cuda.plan.device_kernel import Limits
from graphc.runtime.cuda.plan.mapping import Unit, by_itself, is_apart, peeled_adding
from graphc.runtime.cuda.plan.phases import PLAIN
from graphc.runtime.kernel import (
    AddAt,
    Compute,
    Index,
    Kernel,
    Load,
    Name,
    Statement,
    Store,
    reads,
)
from graphc.runtime.program import Root

STRETCH = 32
"""Sorted entries that a thread goes through."""


class Additions(NamedTuple):
    """A nest that adds `addition`'s value for each entry and column; `statements` compute it."""

    addition: AddAt
    statements: tuple[Statement, ...]
    entries: tuple[Unit, ...]
    columns: tuple[Unit, ...]

    @property
    def for_key(self) -> tuple[Statement, ...]:
        """The statements that the position of an entry needs."""
        return tuple(_sliced(self.statements, self.addition.position))

    @property
    def for_value(self) -> tuple[Statement, ...]:
        return tuple(_sliced(self.statements, self.addition.value))


def additions_of(
    kernel: Kernel, roots: Sequence[Root], main: Statement, limits: Limits
) -> Additions | None:
    """What a statement of a kernel adds, if that is all it does, and there is enough of it."""
    nest = peeled_adding(kernel, roots, main)
    if nest is None:
        return None
    every = (*nest.before, *nest.body)
    found = [s for s in every if isinstance(s, AddAt)]
    plain = tuple(s for s in every if isinstance(s, PLAIN))
    if len(found) != 1 or len(plain) + 1 != len(every):
        return None
    if any(isinstance(s, Store) for s in plain):
        return None
    (addition,) = found
    if kernel.buffers[addition.access.buffer].dtype not in FLOATS:
        return None
    alone, meets = by_itself(kernel, main), _axes_of(plain, addition.position)
    entries = [u for u in nest.units if u.axis in meets or not is_apart(alone, roots, u.axis)]
    columns = [u for u in nest.units if u not in entries]
    additions = Additions(addition, plain, tuple(entries), tuple(columns))
    return additions if count_of(entries) >= limits.little_work else None


def count_of(units: Sequence[Unit]) -> int:
    count = 1
    for unit in units:
        count *= unit.turns
    return count


def _sliced(statements: Sequence[Statement], wanted: object) -> Sequence[Statement]:
    """The statements that a value needs, in order."""
    known = {wanted.number} if isinstance(wanted, Name) else set()
    kept: list[Statement] = []
    for statement in reversed(statements):
        assert isinstance(statement, (Load, Compute, Index))
        if statement.out.number in known:
            kept.append(statement)
            known.update(name.number for name in reads(statement))
    return kept[::-1]


def _axes_of(statements: Sequence[Statement], wanted: object) -> set[int]:
    """The axes that a value depends on."""
    axes: set[int] = set()
    for statement in _sliced(statements, wanted):
        if isinstance(statement, Load):
            axes |= {axis for axis, stride in enumerate(statement.access.strides) if stride}
        elif isinstance(statement, Index):
            axes.add(statement.axis)
    return axes
