"""All that a run found, and how each row stands against its goal."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.contenders import ENTRIES, GRAPHC
from bench.costs import Start
from bench.driver import Row
from bench.goals import (
    COLD_SHARE,
    COLD_SHARE_MEAN,
    GOALS,
    WARM_SECONDS,
    Family,
    Standing,
    geometric_mean,
    misses,
)
from bench.machine import Limits


@dataclass
class Results:
    """A run.

    about      where and with what: machine, date, versions, threads, rounds
    versions   contender -> its version
    absent     contenders that are not installed
    imports, sizes  module -> seconds of importing it, bytes on disk
    """

    about: dict[str, Any]
    versions: dict[str, str]
    absent: list[str]
    limits: Limits
    rows: list[Row] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    imports: dict[str, float] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> str:
        found = asdict(self)
        for row, plain in zip(self.rows, found["rows"], strict=True):
            plain |= {
                "best_peer": row.best_peer,
                "ratio": best_ratio(row),
                "share": row.share,
                "misses": row_misses(row),
            }
        found["start_misses"] = start_misses(self.starts)
        return json.dumps(found, indent=1, ensure_ascii=False)


def best_ratio(row: Row, figure: str = "median") -> float | None:
    """The time of the best peer by graphc's; `figure` may be `minimum`, too."""
    return None if row.best_peer is None else row.ratio(row.best_peer, figure)


def row_misses(row: Row) -> list[str]:
    """What graphc misses of the row's goal, in words; empty where it reaches it."""
    if GRAPHC in row.wrong:
        return [f"wrong by {row.wrong[GRAPHC]:.1e}"]
    if GRAPHC not in row.times:
        return [row.failed.get(GRAPHC, "not measured")]
    ratios = {name: row.ratio(name) or math.nan for name in row.times}
    return misses(
        Standing(
            Family(row.family),
            best_ratio(row),
            row.share,
            ratios,
            row.flops,
            row.kernels.get(GRAPHC),
            row.most_kernels,
        )
    )


def family_misses(family: Family, rows: Iterable[Row]) -> list[str]:
    """What a family misses as a whole: its geometric mean."""
    wanted = GOALS[family].geometric if family in GOALS else None
    ratios = [ratio for row in rows if (ratio := best_ratio(row)) is not None]
    mean = geometric_mean(ratios)
    if wanted is None or not ratios or mean >= wanted:
        return []
    return [f"geometric mean {mean:.2f} instead of {wanted:g}"]


def start_misses(starts: Iterable[Start]) -> list[str]:
    """What cold and warm starts miss of their goals, in words."""
    found, shares = [], []
    for start in starts:
        if GRAPHC in start.warm and start.warm[GRAPHC] > WARM_SECONDS:
            found.append(f"{start.name}: warm start of {1e3 * start.warm[GRAPHC]:.0f} ms")
        if GRAPHC in start.cold and "jax" in start.cold:
            shares.append(start.cold[GRAPHC] / start.cold["jax"])
            if shares[-1] > COLD_SHARE:
                found.append(f"{start.name}: cold start of {shares[-1]:.2f} times JAX's")
    mean = geometric_mean(shares)
    if mean > COLD_SHARE_MEAN:  # False for NaN
        found.append(f"cold starts: geometric mean {mean:.2f} times JAX's")
    return found


def timed_contenders(rows: Iterable[Row]) -> list[str]:
    """The contenders that appear in some row, in the order of their table."""
    seen = {name for row in rows for name in (*row.times, *row.wrong, *row.failed)}
    return [name for name in ENTRIES if name in seen]
