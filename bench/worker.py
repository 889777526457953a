"""The process of one contender: answers the driver's requests, a line of JSON for each.

python -m bench.worker CONTENDER THREADS TARGET
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import Any, TextIO

import numpy as np

from bench import arrays, contenders
from bench.contenders.contender import Contending, Runner
from bench.workloads import named


class Worker:
    """The contender, and the workload that it has prepared."""

    def __init__(self, contender: Contending):
        self.contender = contender
        self.runner: Runner | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request; one that fails is answered with `failed`."""
        try:
            return getattr(self, "do_" + request.pop("do"))(**request)
        except Exception as error:  # noqa: BLE001 - becomes a cell
            traceback.print_exc()
            last = traceback.extract_tb(error.__traceback__)[-1]
            text = (str(error).strip().splitlines() or [""])[0]
            return {"failed": f"{type(error).__name__}: {text} ({last.name})"}

    def do_hello(self) -> dict[str, Any]:
        return {"version": self.contender.version}

    def do_prepare(self, row: str, reference: str) -> dict[str, Any]:
        """Compile, and compare one step with the reference in the file."""
        self.runner = None
        workload = named(row)
        runner = self.contender.built(workload, self.contender.loaded(workload))
        difference = arrays.difference(runner.results(), _stored(reference))
        self.runner = runner
        return {"difference": difference, "kernels": self.contender.kernels(runner)}

    def do_calibrate(self, seconds: float) -> dict[str, Any]:
        """How many calls take about so long."""
        calls = 1
        while (spent := self._timed(calls)) < seconds / 4 and calls < 10**6:
            calls = max(2 * calls, int(0.5 * calls * seconds / max(spent, 1e-7)))
        return {"calls": max(1, int(calls * seconds / spent))}

    def do_time(self, calls: int) -> dict[str, Any]:
        """Seconds for each of so many calls, after one that is not timed."""
        return {"seconds": self._timed(calls) / calls}

    def _timed(self, calls: int) -> float:
        assert self.runner is not None
        self.runner.reset()
        self.runner.repeat(1)
        return self.runner.seconds(calls)


def _stored(path: str) -> list[np.ndarray]:
    with np.load(path) as file:
        return [file[name] for name in file.files]


def own_stdout() -> TextIO:
    """The pipe to the driver; whatever else prints to stdout goes to stderr from now on."""
    pipe = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return pipe


def main() -> None:
    pipe = own_stdout()
    name, threads, target = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    worker = Worker(contenders.load(name, threads, target))
    for line in sys.stdin:
        pipe.write(json.dumps(worker.answer(json.loads(line))) + "\n")


if __name__ == "__main__":
    main()
