"""What was recorded of a run: for which addresses, and when it makes room for another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from graphc.runtime.cuda.device import Recording
from graphc.runtime.program import Root

MOST_RECORDINGS = 8
"""Of one straight run: for so many sets of addresses."""
PATIENCE = 64
"""A recording that was not used in so many runs makes room for another."""
FEW = 2
"""So many are made before it is known that their addresses come again."""

Addresses = dict[Root, int]


class Recorded(NamedTuple):
    """A straight run for given addresses, and where the roots that it sets are then."""

    recording: Recording
    sets: Addresses


@dataclass
class Recordings:
    """The recordings of one straight run, by the addresses of the memory that moves."""

    known: dict[tuple[int, ...], Recorded] = field(default_factory=dict)
    seen: dict[tuple[int, ...], None] = field(default_factory=dict)
    used: dict[tuple[int, ...], int] = field(default_factory=dict)
    runs: int = 0
    is_refused: bool = False
    """Whether the device does not record it."""

    def find(self, key: tuple[int, ...]) -> Recorded | None:
        self.runs += 1
        found = self.known.get(key)
        if found is not None:
            self.used[key] = self.runs
        return found

    def again(self, key: tuple[int, ...]) -> Recorded | None:
        """What was recorded for these addresses, which is used again; not a run if nothing was."""
        return self.find(key) if key in self.known else None

    def is_due(self, key: tuple[int, ...], at_once: bool = False) -> bool:
        """Whether it is time to record for these addresses: they come again, and there is room.

        With `at_once` the first few need not come again.
        """
        if self.is_refused:
            return False
        if key not in self.seen and not (at_once and len(self.known) < FEW):
            self.seen[key] = None
            if len(self.seen) > PATIENCE:
                del self.seen[next(iter(self.seen))]
            return False
        if len(self.known) < MOST_RECORDINGS:
            return True
        oldest = min(self.used, key=self.used.__getitem__)
        if self.runs - self.used[oldest] < PATIENCE:
            return False
        self.drop(oldest)
        return True

    def keep(self, key: tuple[int, ...], recorded: Recorded) -> None:
        self.known[key] = recorded
        self.used[key] = self.runs

    def drop(self, key: tuple[int, ...]) -> None:
        del self.used[key]
        self.known.pop(key).recording.close()
