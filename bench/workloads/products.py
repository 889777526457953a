"""Matrix products of 64 to 2048 in the four layouts, with bias and GELU as the epilogue."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.goals import Family
from bench.workloads.workload import Workload, normal

SIZES = (64, 128, 256, 512, 1024, 2048)
TRIED = (
    "micro-kernels unrolled by 2 or 4 along k: 1.5 % at 256 and nothing at 64, for two or four"
    " times the code; several panels of the right matrix packed at once: 1 to 2 %; asking for the"
    " lines of a tile's result before it is computed: 1 to 2 % at 1024, nothing at 2048; larger"
    " blocks of the left matrix: nothing at 12 MiB, two thirds of the speed at 20; shares of the"
    " columns instead of the rows: no faster.  GELU takes a tenth of the time at 256"
)
LAYOUTS = ("nn", "nt", "tn", "tt")
"""Which of the two matrices is stored transposed."""


def gelu(xp: Any) -> Any:
    """The form by tanh.  Hendrycks and Gimpel (2016), section 2."""

    def run(x):
        return 0.5 * x * (1.0 + xp.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))

    return run


def gelu_torch(torch: Any) -> Any:
    return lambda x: torch.nn.functional.gelu(x, approximate="tanh")


def gelu_jax(jax: Any) -> Any:
    return lambda x: jax.nn.gelu(x, approximate=True)


def product(activation: Any, layout: str) -> Any:
    first, second = (letter == "t" for letter in layout)

    def run(a, b, bias):
        return activation((a.T if first else a) @ (b.T if second else b) + bias)

    return run


def product_torch(torch: Any, layout: str) -> Any:
    """With `addmm`, which adds the bias in the product."""
    activation = gelu_torch(torch)
    first, second = (letter == "t" for letter in layout)

    def run(a, b, bias):
        return activation(torch.addmm(bias, a.T if first else a, b.T if second else b))

    return run


def workload(size: int, layout: str) -> Workload:
    return Workload(
        f"matmul+bias+GELU {layout} {size}",
        Family.MATMUL,
        lambda rng: (
            normal(rng, size, size, scale=size**-0.5),
            normal(rng, size, size),
            normal(rng, size),
        ),
        {
            "numpy": lambda np: product(gelu(np), layout),
            "graphc": lambda gc: product(gelu(np), layout),
            "torch": lambda torch: product_torch(torch, layout),
            "jax": lambda jax: product(gelu_jax(jax), layout),
            "pytensor": lambda pytensor: product(gelu(pytensor.tensor), layout),
        },
        flops=2.0 * size**3,
        kernels=1,
        tried=TRIED if size >= 256 else "",
        from_cold=size == 256 and layout == "nn",
    )


WORKLOADS = tuple(workload(size, layout) for size in SIZES for layout in LAYOUTS)
