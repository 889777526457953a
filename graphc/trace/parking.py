"""Variables set aside while a branch or a loop's body is traced.

A reference that only the tracer holds must not count: an array that no variable of the program
holds any more may be assigned into, whatever was chosen from it before.
"""

from __future__ import annotations

import weakref
from typing import Any

from graphc.trace.scope import Storage
from graphc.trace.tracer import Tracer


def is_same(a: Any, b: Any) -> bool:
    """Whether two values are one object to the program: Python's `is`, seen through tracers."""
    if isinstance(a, Tracer) and isinstance(b, Tracer):
        return a.storage is b.storage and (a.shape, a.views, a.weak) == (b.shape, b.views, b.weak)
    return a is b


class Parked:
    """A traced variable that does not keep its array alive."""

    __slots__ = ("_doubts", "_held", "_rest", "_storage")

    def __init__(self, tracer: Tracer):
        storage = tracer.storage
        self._storage = weakref.ref(storage)
        self._held = (storage.atom, storage.scope, storage.mutable, storage.aliases)
        self._doubts = (storage.stale, storage.unless)
        self._rest = (tracer.shape, tracer.views, tracer.weak, tracer.argument)

    def value(self) -> Tracer:
        """The variable, or where nobody else holds its array, one that cannot be told from it."""
        storage = self._storage()
        if storage is None:
            storage = Storage(*self._held)
            storage.stale, storage.unless = self._doubts
        return Tracer(storage, *self._rest)

    @property
    def storage(self) -> Storage | None:
        """The array, while somebody holds it."""
        return self._storage()

    def is_same(self, value: Any) -> bool:
        """Whether a variable still is what it was when it was parked."""
        return (
            isinstance(value, Tracer)
            and value.storage is self._storage()
            and (value.shape, value.views, value.weak) == self._rest[:3]
        )


class State:
    """What some variables hold, traced ones parked."""

    def __init__(self, values: tuple[Any, ...]):
        self._values = [Parked(value) if isinstance(value, Tracer) else value for value in values]

    def values(self) -> tuple[Any, ...]:
        return tuple(v.value() if isinstance(v, Parked) else v for v in self._values)

    def arrays(self) -> list[Storage | None]:
        """The array of each traced variable, while somebody holds it; None of others."""
        return [v.storage if isinstance(v, Parked) else None for v in self._values]

    def changed(self, values: tuple[Any, ...]) -> list[bool]:
        """Which of the variables hold something else by now."""
        return [
            not old.is_same(new) if isinstance(old, Parked) else new is not old
            for old, new in zip(self._values, values, strict=True)
        ]
