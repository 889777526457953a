"""NumPy: the function as it is written."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.contenders.contender import Base, Runner
from bench.workloads.workload import Workload


class Contender(Base):
    version = np.__version__

    def built(self, workload: Workload, arguments: tuple[Any, ...]) -> Runner:
        return Runner(workload.programs["numpy"](np), arguments, workload.updates)
