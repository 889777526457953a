"""graphc: `gc.compile` of the NumPy function."""

from __future__ import annotations

from typing import Any

import graphc as gc
from bench.contenders.contender import Base, Runner
from bench.workloads.workload import Workload


class Contender(Base):
    version = gc.__version__

    def built(self, workload: Workload, arguments: tuple[Any, ...]) -> Runner:
        # The number of threads comes from OMP_NUM_THREADS, which the driver sets for all.
        compiled = gc.compile(workload.programs["graphc"](gc))
        return Runner(compiled, arguments, workload.updates)

    def kernels(self, runner: Runner) -> int | None:
        return len(runner.call.explain(*runner.arguments).kernels)
