"""Seconds for each call over the rounds: median, quartiles, minimum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Timing:
    """Seconds for each call: the median over rounds, the quartiles around it, the minimum."""

    median: float
    low: float
    high: float
    minimum: float

    @staticmethod
    def of(samples: Sequence[float]) -> Timing:
        low, median, high = np.percentile(samples, [25, 50, 75])
        return Timing(float(median), float(low), float(high), float(min(samples)))

    def __str__(self) -> str:
        spread = 100 * (self.high - self.low) / (2 * self.median)
        return f"{short(self.median)} ±{spread:.0f} %"


def short(seconds: float) -> str:
    """A time with its unit, in three digits.

    >>> short(0.00125)
    '1.25 ms'
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{_three_digits(seconds / size)} {unit}"
    return f"{_three_digits(seconds / 1e-9)} ns"


def _three_digits(value: float) -> str:
    digits = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f}"
