"""The memory that the threads of a launch reach: checked as a device would, and more strictly."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from ptx_races import Races

WINDOWS = {"global": 0, "shared": 1, "local": 2}
"""The highest bits of an address that does not say which memory it is of."""
NOWHERE = np.uint64(7 << 60)
"""In front of an address that is of another memory than the code says."""
WINDOW_BITS = 60
POISON = 0xFF
"""What memory of a block and of a thread is full of before anything is written: NaN."""


class Fault(Exception):
    """A device would stop, wait forever, or give something that nobody can rely on.  `kind` is
    "address", "alignment", "barrier", "race" or "use"."""

    def __init__(self, kind: str, text: str):
        super().__init__(text)
        self.kind = kind


class Who(NamedTuple):
    """The threads of an access, one row for each."""

    slot: np.ndarray
    """Which of the blocks that run side by side."""
    lane: np.ndarray
    """Which of all threads that do."""
    block: np.ndarray
    """The number of the block in the grid, from 1 on."""
    stamp: np.ndarray


class Space:
    """Bytes, and who touched them; `granule` of them are looked at as one."""

    name = ""

    def __init__(self, data: np.ndarray, granule: int):
        self.views = {n: data.view(f"u{n}") for n in (1, 2, 4, 8) if data.size % n == 0}
        self.shift = granule.bit_length() - 1

    def places(self, addresses: np.ndarray, nbytes: int, who: Who) -> np.ndarray:
        """Where in `views[1]` the addresses are; raises `Fault` for those that are nowhere."""
        raise NotImplementedError

    def races(self, places: np.ndarray) -> tuple[Races, np.ndarray] | None:
        """Who touched them, and what they are called there; None if nobody asks."""
        raise NotImplementedError


class OwnSpace(Space):
    """Memory that each block, or each thread, has for itself."""

    def __init__(self, name: str, owners: int, nbytes: int, granule: int, is_checked: bool):
        self.name = name
        self.nbytes = nbytes
        self.stride = -(-nbytes // 16) * 16
        data = np.full(owners * self.stride, POISON, np.uint8)
        super().__init__(data, granule)
        self._races = Races((data.size >> self.shift) + 1) if is_checked else None

    def places(self, addresses: np.ndarray, nbytes: int, who: Who) -> np.ndarray:
        if addresses.size and int(addresses.max()) + nbytes > self.nbytes:
            bad = addresses.max()
            what = f"{self.name} memory has {self.nbytes} bytes"
            raise Fault("address", f"an access of {nbytes} bytes at {bad:#x}: {what}")
        owner = who.slot if self.name == "shared" else who.lane
        return (addresses + owner.astype(np.uint64) * np.uint64(self.stride)).astype(np.int64)

    def races(self, places: np.ndarray) -> tuple[Races, np.ndarray] | None:
        return None if self._races is None else (self._races, places >> self.shift)


class GlobalSpace(Space):
    """Memory of this machine: the ranges that were handed out, and nothing beside them."""

    name = "global"

    def __init__(self, ranges: Sequence[tuple[int, int]], granule: int, is_checked: bool):
        merged = _merged([(start, start + size) for start, size in ranges if size]) or [(64, 64)]
        self.starts = np.array([start for start, _ in merged], np.uint64)
        self.ends = np.array([end for _, end in merged], np.uint64)
        low = int(self.starts[0]) & -64
        high = -(-int(self.ends[-1]) // 64) * 64 + 64
        self.low = np.uint64(low)
        # Also what lies between the ranges, of which nothing is ever touched.
        everything: Any = (ctypes.c_uint8 * (high - low)).from_address(low)
        super().__init__(np.frombuffer(everything, np.uint8), granule)
        self._is_checked = is_checked
        self._races: dict[int, Races] = {}
        self._last = 0

    def places(self, addresses: np.ndarray, nbytes: int, who: Who) -> np.ndarray:
        if not addresses.size:
            return addresses.astype(np.int64)
        low, high = int(addresses.min()), int(addresses.max()) + nbytes
        found = int(np.searchsorted(self.starts, np.uint64(low), "right")) - 1
        if found < 0 or high > self.ends[found]:
            each = np.searchsorted(self.starts, addresses, "right") - 1
            bad = (each < 0) | (addresses > self.ends[each] - np.uint64(nbytes))
            if bad.any():
                raise Fault(
                    "address",
                    f"an access of {nbytes} bytes at {addresses[bad][0]:#x}, which lies in no"
                    " memory that was handed out",
                )
            found = -1
        self._last = found
        return (addresses - self.low).astype(np.int64)

    def races(self, places: np.ndarray) -> tuple[Races, np.ndarray] | None:
        if not self._is_checked:
            return None
        if self._last < 0:  # of several ranges: one table for all of them
            first, last = self.starts[0], self.ends[-1]
            if int(last - first) > 1 << 28:
                return None
            key, start, size = -1, int(first), int(last - first)
        else:
            key, start = self._last, int(self.starts[self._last])
            size = int(self.ends[self._last]) - start
        if key not in self._races:
            self._races[key] = Races((size >> self.shift) + 2)
        origin = (start - int(self.low)) >> self.shift
        return self._races[key], (places >> self.shift) - origin


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """In order, those that overlap as one."""
    made: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if made and start < made[-1][1]:
            made[-1] = made[-1][0], max(made[-1][1], end)
        else:
            made.append((start, end))
    return made


class Memory:
    """All of it, by the names of PTX."""

    def __init__(self, spaces: dict[str, Space]):
        self.spaces = spaces

    def load(
        self, space: str, addresses: np.ndarray, width: int, count: int, who: Who, constant: bool
    ) -> list[np.ndarray]:
        """`count` neighbours of `width` bytes for each thread."""
        made = [np.empty(len(addresses), f"u{width}") for _ in range(count)]
        for own, which, at in self._parts(space, addresses, width * count, who):
            people = who if which is None else Who(*(part[which] for part in who))
            places = self._checked(own, at, width * count, people)
            for i in range(count):
                here = places + i * width
                self._told(own, here, width, people, "constant" if constant else "read", None)
                made[i][slice(None) if which is None else which] = own.views[width][here // width]
        return made

    def store(
        self, space: str, addresses: np.ndarray, width: int, values: list[np.ndarray], who: Who
    ) -> None:
        total = width * len(values)
        for own, which, at in self._parts(space, addresses, total, who):
            people = who if which is None else Who(*(part[which] for part in who))
            places = self._checked(own, at, total, people)
            for i, value in enumerate(values):
                given = value if which is None else value[which]
                here = places + i * width
                view, index = own.views[width], here // width
                self._told(own, here, width, people, "write", view[index] != given)
                view[index] = given
                if own.races(here) is not None and (view[index] != given).any():
                    raise Fault("race", "threads write different values to one place")

    def places(
        self, space: str, addresses: np.ndarray, width: int, who: Who
    ) -> tuple[np.ndarray, np.ndarray]:
        """For an atomic access: the elements of a memory, and which of them."""
        parts = list(self._parts(space, addresses, width, who))
        if len(parts) > 1:
            raise Fault("use", "an atomic access of several memories at once")
        ((own, _, at),) = parts
        places = self._checked(own, at, width, who)
        self._told(own, places, width, who, "change", None)
        return own.views[width], places // width

    def _parts(self, space: str, addresses: np.ndarray, nbytes: int, who: Who) -> Any:
        """Each memory that is accessed, by which of the threads (None for all), at which of its
        addresses."""
        if space:
            yield self.spaces[space], None, addresses
            return
        window = addresses >> np.uint64(WINDOW_BITS)
        rest = addresses & np.uint64((1 << WINDOW_BITS) - 1)
        for name, number in WINDOWS.items():
            those = window == number
            if those.all():
                yield self.spaces[name], None, rest
            elif those.any():
                which = np.flatnonzero(those)
                yield self.spaces[name], which, rest[which]
        if (window > 2).any():
            raise Fault("address", f"an access of {nbytes} bytes at {addresses.max():#x}")

    def _checked(self, own: Space, addresses: np.ndarray, nbytes: int, who: Who) -> np.ndarray:
        if addresses.size and (addresses & np.uint64(nbytes - 1)).any():
            bad = addresses[(addresses & np.uint64(nbytes - 1)) != 0][0]
            raise Fault("alignment", f"an access of {nbytes} bytes at {bad:#x}")
        return own.places(addresses, nbytes, who)

    def _told(
        self,
        own: Space,
        places: np.ndarray,
        width: int,
        who: Who,
        how: str,
        changes: np.ndarray | None,
    ) -> None:
        """Tell who was here; a race that changes nothing is none that anybody sees."""
        found = own.races(places)
        if found is None or not places.size:
            return
        races, first = found
        each = max(1, width >> own.shift)
        at, block, stamp = first, who.block, who.stamp
        if each > 1:
            at = (first[:, None] + np.arange(each)).reshape(-1)
            block, stamp = np.repeat(block, each), np.repeat(stamp, each)
        if how == "constant":
            clash = races.read_constant(at)
        elif how == "read" and own.name == "global":
            clash = races.read_again(at, block, stamp)
        else:
            act = {"read": races.read, "write": races.write, "change": races.change}[how]
            clash = act(at, block, stamp)
        if each > 1:
            clash = clash.reshape(-1, each).any(axis=1)
        if changes is not None:
            clash &= changes
        if clash.any():
            i = int(np.flatnonzero(clash)[0])
            thread = int(who.stamp[i]) & 1023
            raise Fault(
                "race",
                f"block {int(who.block[i]) - 1}, thread {thread}: a {how} of {own.name} memory that"
                " another thread accesses with nothing between",
            )
