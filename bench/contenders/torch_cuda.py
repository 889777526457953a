"""PyTorch on a GPU, eager."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from bench.contenders import torch_eager
from bench.contenders.contender import Base, Runner
from bench.contenders.device import DeviceRunner
from bench.workloads.workload import Workload

torch.backends.cuda.matmul.allow_tf32 = False  # float32 stays float32, as for the others


class TorchRunner(DeviceRunner):
    copied = torch_eager.TorchRunner.copied
    restore = torch_eager.TorchRunner.restore

    def to_numpy(self, leaf: Any) -> np.ndarray:
        return leaf.detach().cpu().numpy()

    def launch(self, calls: int) -> None:
        with torch.no_grad():
            super().launch(calls)

    def first(self) -> Any:
        with torch.no_grad():
            return super().first()


def placed(array: np.ndarray) -> Any:
    return torch.from_numpy(array.copy()).cuda()


class Contender(Base):
    version = torch.__version__

    def built(self, workload: Workload, arguments: tuple[Any, ...]) -> Runner:
        return TorchRunner(self.program(workload), arguments, workload.updates, placed)

    def program(self, workload: Workload) -> Any:
        return workload.programs["torch"](torch)
