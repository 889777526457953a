"""PyTorch on a GPU with `torch.compile(mode="reduce-overhead")`: CUDA graphs."""

from __future__ import annotations

from bench.contenders import torch_cuda_compiled


class Contender(torch_cuda_compiled.Contender):
    mode = "reduce-overhead"
