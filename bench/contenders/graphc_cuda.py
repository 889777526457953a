"""graphc on a GPU: `gc.compile(target="cuda")`; states are updated in place."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphc as gc
from bench.contenders.contender import Base, Runner
from bench.contenders.device import DeviceRunner
from bench.workloads.workload import Workload


class GraphcRunner(DeviceRunner):
    def copied(self, leaf: Any) -> Any:
        return np.asarray(leaf)

    def restore(self, leaf: Any, initial: Any) -> None:
        leaf.session.device.upload(leaf.address, initial)


class Contender(Base):
    version = gc.__version__

    def built(self, workload: Workload, arguments: tuple[Any, ...]) -> Runner:
        compiled = gc.compile(workload.programs["graphc"](gc), target="cuda")
        return GraphcRunner(compiled, arguments, workload.updates, gc.to_device)

    def kernels(self, runner: Runner) -> int | None:
        return len(runner.call.explain(*runner.arguments).kernels)
