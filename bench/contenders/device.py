"""Steps on a GPU: by the device's own clock, with several sets of inputs in turn, so that the cache
is not what is measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench import arrays, gpu
from bench.contenders.contender import Runner

COLD_BYTES = 256 << 20
"""The sets of inputs have so many bytes together: more than any cache."""
MOST_SETS = 16


def sets_for(arguments: tuple[Any, ...]) -> int:
    """How many sets of inputs there are."""
    size = sum(leaf.nbytes for leaf in arrays.leaves(arguments))
    return int(min(MOST_SETS, max(1, -(-COLD_BYTES // max(size, 1)))))


class DeviceRunner(Runner):
    """Calls with each set in turn; the state of a workload that updates is one and the same.

    `place` copies an array to the device, `wait` waits for all that it was told to do.
    """

    def __init__(
        self,
        call: Callable[..., Any],
        arguments: tuple[Any, ...],
        updates: bool,
        place: Callable[[np.ndarray], Any],
    ):
        placed = arrays.map_tree(place, arguments)
        super().__init__(call, placed, updates)
        own = arguments[1:] if updates else arguments
        others = [arrays.map_tree(place, own) for _ in range(sets_for(own) - 1)]
        shared = placed[:1] if updates else ()
        self.sets = [placed, *((*shared, *other) for other in others)]

    def wait(self) -> None:
        gpu.device().synchronise()

    def repeat(self, calls: int) -> None:
        self.launch(calls)
        self.wait()

    def launch(self, calls: int) -> None:
        call, sets = self.call, self.sets
        for i in range(calls):
            call(*sets[i % len(sets)])

    def seconds(self, calls: int) -> float:
        """By the device's clock: what the host does meanwhile counts where the device waits."""
        return gpu.seconds(lambda: self.launch(calls))

    def first(self) -> Any:
        returned = super().first()
        self.wait()
        return returned
