"""How the benchmarks measure: contenders in turns, in one run, medians with their spread."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

ROUNDS = 15
ROUND_SECONDS = 0.02
"""How long one contender runs before the next has its turn."""


@dataclass(frozen=True)
class Timing:
    """Seconds per call: the median over rounds, and the quartiles around it."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        spread = 100 * (self.high - self.low) / (2 * self.median)
        return f"{_short(self.median)} ±{spread:.0f} %"


def compare(contenders: Mapping[str, Callable[[], object]]) -> dict[str, Timing]:
    """The time per call of each contender.  They take turns, so that all see the same machine."""
    calls = {name: _calls_per_round(run) for name, run in contenders.items()}
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, run in contenders.items():
            samples[name].append(_seconds(run, calls[name]) / calls[name])
    return {name: _timing(values) for name, values in samples.items()}


def copy_bandwidth() -> float:
    """Bytes per second that one thread reads and writes in a large copy, together."""
    source = np.ones(2**24, "f4")
    target = np.empty_like(source)
    copy = compare({"copy": lambda: np.copyto(target, source)})["copy"]
    return 2 * source.nbytes / copy.median


def _calls_per_round(run: Callable[[], object]) -> int:
    run()  # compiles, and touches the memory
    once = min(_seconds(run, 1) for _ in range(3))
    return max(1, int(ROUND_SECONDS / max(once, 1e-9)))


def _seconds(run: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return time.perf_counter() - start


def _timing(samples: list[float]) -> Timing:
    low, median, high = np.percentile(samples, [25, 50, 75])
    return Timing(float(median), float(low), float(high))


def _short(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"
