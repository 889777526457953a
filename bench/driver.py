"""Rows of the table: every contender prepared and checked, then timed in turns."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.contenders import ENTRIES, GRAPHC
from bench.machine import Limits
from bench.process import Process
from bench.timing import Timing
from bench.workloads.workload import Workload

TURN_SECONDS = 0.03
"""How long one contender runs before the next has its turn."""

SECONDS, FEWEST_TURNS = 3.0, 5
"""A contender that has run for so long, and has had so many turns, has no more of them."""

CALL_SECONDS = 2e-7
"""Below this, what limits a step is the call itself."""

Say = Callable[[str], None]


@dataclass
class Row:
    """What was measured for a workload; a contender is in one of `times`, `wrong`, `failed`.

    least_seconds, limit   what the machine allows, and by which bound: `bytes`, `flops`, or where
                           that is next to nothing the `call`
    times                  contender -> its timing
    tried                  what has been tried where the row misses its goal
    wrong                  contender -> how far it is from the reference; it is not timed
    failed                 contender -> what it raised
    kernels                contender -> how many kernels it needs, where it says so
    """

    name: str
    family: str
    dtype: str
    bytes: float
    flops: float
    least_seconds: float
    limit: str
    most_kernels: int | None
    tried: str = ""
    times: dict[str, Timing] = field(default_factory=dict)
    wrong: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    kernels: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def best_peer(self) -> str | None:
        """The fastest contender that is not graphc, None where there is none."""
        peers = {n: t.median for n, t in self.times.items() if not ENTRIES[n].is_graphc}
        return min(peers, key=peers.__getitem__, default=None)

    def ratio(self, other: str, figure: str = "median") -> float | None:
        """The time of another contender by graphc's."""
        if GRAPHC not in self.times or other not in self.times:
            return None
        return float(getattr(self.times[other], figure) / getattr(self.times[GRAPHC], figure))

    @property
    def share(self) -> float:
        """Of the machine's limit, that graphc reaches; 0 where it was not timed."""
        return self.least_seconds / self.times[GRAPHC].median if GRAPHC in self.times else 0.0


def measured(
    workloads: Iterable[Workload],
    names: Sequence[str],
    limits: Limits,
    rounds: int,
    log: Path,
    say: Say,
    target: str = "cpu",
) -> list[Row]:
    """The row of each workload, with the contenders in processes of their own."""
    processes = {name: Process(name, limits.threads, log, target) for name in names}
    try:
        with tempfile.TemporaryDirectory() as folder:
            return [
                _row(workload, processes, limits, rounds, Path(folder) / "reference.npz", say)
                for workload in workloads
            ]
    finally:
        for process in processes.values():
            process.stop()


def _row(
    workload: Workload,
    processes: dict[str, Process],
    limits: Limits,
    rounds: int,
    reference: Path,
    say: Say,
) -> Row:
    exact = workload.reference()
    moved, dtype = workload.least_bytes(exact), workload.dtype.str[1:]
    seconds, limit = limits.seconds(moved, workload.flops, dtype)
    if seconds < CALL_SECONDS:
        limit = "call"
    row = Row(
        workload.name,
        workload.family.value,
        dtype,
        moved,
        workload.flops,
        seconds,
        limit,
        workload.kernels,
        workload.tried,
    )
    np.savez(reference, *exact)
    ready = _prepare(row, workload, processes, reference)
    _time(row, {name: processes[name] for name in ready}, rounds)
    say(_progress(row))
    return row


def _prepare(
    row: Row, workload: Workload, processes: dict[str, Process], reference: Path
) -> list[str]:
    """Let all compile and check at once; those whose values are right."""
    for process in processes.values():
        process.send("prepare", row=workload.name, reference=str(reference))
    ready = []
    for name, process in processes.items():
        answer = process.receive()
        if "failed" in answer:
            row.failed[name] = answer["failed"]
        elif not answer["difference"] <= workload.tolerance:
            row.wrong[name] = answer["difference"]
        else:
            ready.append(name)
        if answer.get("kernels") is not None:
            row.kernels[name] = answer["kernels"]
    return ready


def _time(row: Row, processes: dict[str, Process], rounds: int) -> None:
    """Rounds in which every contender has its turn, while the others are stopped."""
    for process in processes.values():
        process.pause()
    turns = {name: _Turns(process) for name, process in processes.items()}
    for own in turns.values():
        own.calibrate()
    for start in range(rounds):
        for name in _rotated(list(turns), start):
            turns[name].take()
    for name, own in turns.items():
        if own.failed:
            row.failed[name] = own.failed
        else:
            row.times[name] = Timing.of(own.samples)
    for process in processes.values():
        process.resume()


class _Turns:
    """The turns of one contender on one row."""

    def __init__(self, process: Process):
        self.process = process
        self.calls = 1
        self.samples: list[float] = []
        self.failed = ""

    def calibrate(self) -> None:
        self.calls = self._ask("calibrate", seconds=TURN_SECONDS).get("calls", 1)

    def take(self) -> None:
        is_enough = len(self.samples) >= FEWEST_TURNS and sum(self.samples) * self.calls > SECONDS
        if not self.failed and not is_enough:
            answer = self._ask("time", calls=self.calls)
            self.samples.append(answer.get("seconds", 0.0))

    def _ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        self.process.resume()
        answer = self.process.ask(do, **arguments)
        self.process.pause()
        self.failed = self.failed or answer.get("failed", "")
        return answer


def _rotated(names: list[str], by: int) -> list[str]:
    """Another one first in each round, so that none is always after the same one."""
    start = by % len(names) if names else 0
    return names[start:] + names[:start]


def _progress(row: Row) -> str:
    cells = [f"{name} {timing}" for name, timing in row.times.items()]
    cells += [f"{name} WRONG by {error:.1e}" for name, error in row.wrong.items()]
    cells += [f"{name} failed" for name in row.failed]
    return f"{row.name}: " + ", ".join(cells)
