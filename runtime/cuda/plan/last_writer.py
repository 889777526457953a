"""Nests that look for the last writer of each place: decisions alone, no code."""

from __future__ import annotations

from typing import NamedTuple

from graphc.runtime.cuda.plan.mapping import Nest
from graphc.runtime.cuda.plan.whole import whole
from graphc.runtime.kernel import Access, Native


class Writers(NamedTuple):
    """`size` positions, below `places`."""

    positions: Access
    target: Access
    size: int
    places: int


def writers_of(nest: Nest) -> Writers | None:
    """What a nest looks for, if that is all it does."""
    if len(nest.body) != 1 or nest.before or nest.size != 1:
        return None
    (statement,) = nest.body
    if not isinstance(statement, Native) or statement.routine != "last_writer":
        return None
    positions, target, count, places = statement.arguments
    assert isinstance(positions, Access) and isinstance(target, Access)
    assert not isinstance(count, (Access, str)) and not isinstance(places, (Access, str))
    return Writers(positions, target, whole(count), whole(places))
