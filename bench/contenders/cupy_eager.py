"""CuPy: the NumPy function on a GPU, operation by operation."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from bench.contenders.contender import Base, Runner
from bench.contenders.device import DeviceRunner
from bench.workloads.workload import Workload


class CupyRunner(DeviceRunner):
    def to_numpy(self, leaf: Any) -> np.ndarray:
        return cupy.asnumpy(leaf)


class Contender(Base):
    version = cupy.__version__

    def built(self, workload: Workload, arguments: tuple[Any, ...]) -> Runner:
        program = workload.programs["numpy"](cupy)
        return CupyRunner(program, arguments, workload.updates, cupy.asarray)
