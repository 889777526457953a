"""Calls of functions for a device that have been made before, with arrays in the same memory.

All that such a call does in Python is here: what it is given is read and compared with what it was
compiled for, and what was recorded is launched (`runtime/cuda/replay.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.runtime.calling import MISS
from graphc.runtime.cuda.arrays import DeviceArray
from graphc.runtime.cuda.current import opened_session
from graphc.runtime.cuda.replay import Replay, make_replay
from graphc.runtime.cuda.step import CudaStep
from graphc.slow_call import as_array
from graphc.specialised import Specialised
from graphc.trace.tree_reading import builder, reader


def make_repeated(entry: Specialised) -> Callable[..., Any] | None:
    """A function that calls the entry's step again, or gives `MISS`; None where there is none."""
    step, session = entry.step, opened_session()
    if not isinstance(step, CudaStep) or session is None or entry.donated:
        return None
    if entry.sharing is not None or entry.options.check_nan:
        return None
    replay = make_replay(step, entry.result_types, session)
    return None if replay is None else Repeated(entry, step, replay)


class Repeated:
    """The calls of one signature: arrays of the device and numbers, all different."""

    def __init__(self, entry: Specialised, step: CudaStep, replay: Replay):
        self._entry = entry
        self._replay = replay
        self.session = replay.session
        self._read = reader(entry.structure)
        self._build = builder(entry.traced.structure)
        self._kinds = entry.kinds
        self._has_updates = bool(step.program.updated)
        self._has_fixed_values = bool(entry.traced.specialisations)
        self._returned = [(r.index, r.is_argument) for r in entry.traced.results]
        numbers = [i for i, kind in enumerate(entry.kinds) if not isinstance(kind, tuple)]
        self._numbers = [(i, replay.place_of_number(i)) for i in numbers]
        types = entry.known.graph.in_types
        self._has_complex = any(types[i].numpy_dtype.kind == "c" for i in numbers)
        self._packed: tuple[list[Any], bytes] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        leaves: list[Any] = []
        session = self.session
        if not self._read((args, kwargs), leaves) or opened_session() is not session:
            return MISS
        kinds: list[Any] = []
        places: list[int] = []
        for leaf in leaves:
            if type(leaf) is DeviceArray:
                if leaf.session is not session or (self._has_updates and leaf.origin is not None):
                    return MISS
                kinds.append((leaf.dtype, leaf.shape))
                places.append(leaf.address)
            else:
                kinds.append(type(leaf))
                places.append(0)
        for i, place in self._numbers:
            places[i] = place
        if kinds != self._kinds or len(set(places)) != len(places) or session.is_lost:
            return MISS
        if self._has_fixed_values and not self._entry.holds_for(leaves):
            return MISS
        results = self._replay(places, self._inbox(leaves) if self._numbers else None)
        if results is None:
            return MISS
        returned = [leaves[i] if is_argument else results[i] for i, is_argument in self._returned]
        return self._build(iter(returned))

    def _inbox(self, leaves: list[Any]) -> bytes:
        """The numbers among the arguments as the device reads them; packed when they change."""
        numbers = [leaves[i] for i, _ in self._numbers]
        known = self._packed
        # What is equal may not be the same: 0.0 and -0.0, also as a part of a complex number.
        hides_signs = self._has_complex or 0 in numbers
        if known is None or hides_signs or numbers != known[0]:
            known = self._packed = numbers, self._pack(numbers)
        return known[1]

    def _pack(self, numbers: list[Any]) -> bytes:
        types = self._entry.known.graph.in_types
        arrays = {
            i: as_array(number, types[i].numpy_dtype, self._entry.names[i])
            for (i, _), number in zip(self._numbers, numbers, strict=True)
        }
        return self._replay.packed(arrays)
