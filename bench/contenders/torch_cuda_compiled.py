"""PyTorch on a GPU with `torch.compile`, shapes fixed."""

from __future__ import annotations

from typing import Any

import torch

from bench.contenders import torch_cuda
from bench.workloads.workload import Workload


class Contender(torch_cuda.Contender):
    mode: str | None = None

    def program(self, workload: Workload) -> Any:
        torch.compiler.reset()  # or the rows before this one count against the recompilation limit
        own = workload.programs.get("torch.compile")
        program = (own or workload.programs["torch"])(torch)
        if getattr(program, "compiles_itself", False):
            return program
        return torch.compile(program, dynamic=False, mode=self.mode)
