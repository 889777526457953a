"""Rows of an array at a traced position: `x[i]` is a view of `x` in NumPy, and is one here.

A row has memory of its own, which holds what was read, and knows where its home is.  Assignment to
it is assignment there; once the array has been assigned to, the row is read from there again.
"""

from __future__ import annotations

import math
import weakref
from typing import Any

from graphc.build import Value
from graphc.ops import index as index_ops
from graphc.ops import shape as shape_ops
from graphc.trace.scope import Storage, current
from graphc.trace.tracer import Tracer, wrap


class Home:
    """Where a row lies: at `place` of the first axis of `rows`, which views the array."""

    __slots__ = ("_index", "_owner", "_place", "_rows")

    def __init__(self, owner: Tracer, index: dict[int, Any], rows: Tracer, place: Value):
        self._owner = owner
        self._index = index
        self._rows = rows
        self._place = wrap(place)

    def read(self) -> Value:
        """What the row holds now."""
        return index_ops.take(self._merged(), self._place.value(), axis=0)

    def store(self, new: Value) -> None:
        """Make the array hold `new` in place of the row."""
        row = shape_ops.reshape(new, shape=(1, *new.shape))
        place = shape_ops.reshape(self._place.value(), shape=(1,))
        changed = index_ops.put(self._merged(), place, row, axis=0)
        self._rows.store(shape_ops.reshape(changed, shape=self._rows.shape))

    def is_at(self, owner: Tracer, index: dict[int, Any]) -> bool:
        """Whether this is the row at these very positions of that view of the array."""
        return (
            owner.storage is self._owner.storage
            and owner.views == self._owner.views
            and owner.shape == self._owner.shape
            and index.keys() == self._index.keys()
            and all(index[axis] is self._index[axis] for axis in index)
        )

    def _merged(self) -> Value:
        """The rows one after the other, the indexed axes merged into one."""
        value = self._rows.value()
        return shape_ops.reshape(value, shape=merged_shape(self._rows.shape, len(self._index)))


def merged_shape(shape: tuple[int, ...], axes: int) -> tuple[int, ...]:
    return (math.prod(shape[:axes]), *shape[axes:])


def row_of(owner: Tracer, index: dict[int, Any], rows: Tracer, place: Value) -> Tracer:
    """`owner[index]`, where `rows` has the indexed axes in front, and `place` is among them."""
    home = Home(owner, index, rows, place)
    scope = current()
    aliases = (weakref.ref(owner.storage),)
    value = home.read()
    storage = Storage(value.atom, scope, mutable=True, aliases=aliases)
    storage.home = home
    return Tracer(storage, value.shape)
