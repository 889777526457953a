"""PyTorch, eager: operators one by one, and the tape."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from bench import arrays
from bench.contenders.contender import Base, Runner
from bench.workloads.workload import Workload


class TorchRunner(Runner):
    def copied(self, leaf: Any) -> Any:
        return leaf.detach().clone()

    def restore(self, leaf: Any, initial: Any) -> None:
        with torch.no_grad():
            leaf.copy_(initial)

    def to_numpy(self, leaf: Any) -> np.ndarray:
        return leaf.detach().numpy()

    def repeat(self, calls: int) -> None:
        # Programs that need the tape turn it on themselves.
        with torch.no_grad():
            super().repeat(calls)

    def first(self) -> Any:
        with torch.no_grad():
            return super().first()


class Contender(Base):
    version = torch.__version__

    def __init__(self, threads: int):
        super().__init__(threads)
        torch.set_num_threads(threads)

    def loaded(self, workload: Workload) -> tuple[Any, ...]:
        return arrays.map_tree(lambda a: torch.from_numpy(a.copy()), workload.arguments())

    def built(self, workload: Workload, arguments: tuple[Any, ...]) -> Runner:
        return TorchRunner(workload.programs["torch"](torch), arguments, workload.updates)
