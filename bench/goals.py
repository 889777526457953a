"""What a row has to reach, by the family it belongs to, and whether it does."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True)
class Goal:
    """Either `faster` times as fast as the best peer, or `share` of the machine's limit.

    geometric  besides, the geometric mean of the family's ratios
    both       the share is asked for in addition to the ratio
    """

    faster: float
    share: float | None = None
    geometric: float | None = None
    both: bool = False


class Family(Enum):
    """Kinds of rows, each with its goal."""

    TINY = "tiny call"
    ELEMENTWISE = "elementwise"
    ROWS = "rows and large Adam"
    MATMUL = "matrix products"
    MATMUL_STEP = "steps bound by products"
    TWO_LAYER = "two-layer step"
    SMALL_STEP = "small steps"


GOALS = {
    Family.TINY: Goal(4.0),
    Family.ELEMENTWISE: Goal(1.3, share=0.85, geometric=2.0),
    Family.ROWS: Goal(1.5, share=0.85),
    Family.MATMUL: Goal(1.0, share=0.85, both=True),
    Family.MATMUL_STEP: Goal(1.0),
    Family.TWO_LAYER: Goal(2.0),
    Family.SMALL_STEP: Goal(3.0),
}

TINY_AGAINST = {"jax": 10.0, "pytensor": 4.0}
"""How many times as fast a tiny call should be as that of each of these."""

LARGE_PRODUCT = 2.0 * 256**3
"""Products of at least so many operations have to reach their share of the FMA peak."""

COLD_SHARE, COLD_SHARE_MEAN = 0.5, 0.25
"""Cold compile time against JAX: on every row, and as a geometric mean."""

WARM_SECONDS = 0.1
"""From a new process's first call to its result, with a full disk cache."""


@dataclass(frozen=True)
class Standing:
    """How graphc stands in a row.

    ratio      the best peer's median time by graphc's, None without a peer
    share      of the machine's limit that is reached
    ratios     contender -> its median time by graphc's
    kernels    how many kernels there are, and `most_kernels` the goal
    """

    family: Family
    ratio: float | None
    share: float
    ratios: dict[str, float]
    flops: float
    kernels: int | None = None
    most_kernels: int | None = None


def misses(row: Standing) -> list[str]:
    """What the row misses of its goal, in words; empty where it reaches it."""
    found = _speed_misses(row)
    if row.most_kernels is not None and row.kernels is not None and row.kernels > row.most_kernels:
        found.append(f"{row.kernels} kernels instead of {row.most_kernels}")
    return found


def _speed_misses(row: Standing) -> list[str]:
    if row.family is Family.TINY:
        return [
            f"{row.ratios[peer]:.1f} times as fast as {peer} instead of {times:g}"
            for peer, times in TINY_AGAINST.items()
            if peer in row.ratios and row.ratios[peer] < times
        ]
    goal = GOALS[row.family]
    slow = row.ratio is not None and row.ratio < goal.faster
    short = goal.share is not None and row.share < goal.share
    found = []
    if slow and (short or goal.both or goal.share is None):
        found.append(f"{row.ratio:.2f} times the best peer instead of {goal.faster:g}")
    if short and (slow if not goal.both else row.flops >= LARGE_PRODUCT):
        found.append(f"{100 * row.share:.0f} % of the limit instead of {100 * goal.share:.0f} %")
    return found


def geometric_mean(values: Iterable[float]) -> float:
    """The geometric mean of positive numbers; NaN of none.

    >>> geometric_mean([1.0, 4.0])
    2.0
    """
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


def stated(family: Family) -> str:
    """The goal of a family in words."""
    if family is Family.TINY:
        return ", ".join(f"{times:g} times {peer}" for peer, times in TINY_AGAINST.items())
    goal = GOALS[family]
    words = f"{goal.faster:g} times the best peer"
    if goal.share is not None:
        words += f" {'and' if goal.both else 'or'} {100 * goal.share:.0f} % of the limit"
        words += " (from 256³)" * goal.both
    if goal.geometric is not None:
        words += f"; geometric mean {goal.geometric:g}"
    return words
