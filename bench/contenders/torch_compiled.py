"""PyTorch with `torch.compile`, shapes fixed."""

from __future__ import annotations

from typing import Any

import torch
import torch._inductor.config as inductor

from bench.contenders import torch_eager
from bench.contenders.contender import Runner
from bench.workloads.workload import Workload


class Contender(torch_eager.Contender):
    def __init__(self, threads: int):
        super().__init__(threads)
        inductor.cpp.threads = threads

    def built(self, workload: Workload, arguments: tuple[Any, ...]) -> Runner:
        torch.compiler.reset()  # or the rows before this one count against the recompilation limit
        own = workload.programs.get("torch.compile")
        program = (own or workload.programs["torch"])(torch)
        if not getattr(program, "compiles_itself", False):
            program = torch.compile(program, dynamic=False)
        return torch_eager.TorchRunner(program, arguments, workload.updates)
