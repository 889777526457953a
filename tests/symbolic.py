"""Graphs whose sizes have names, for tests of the runtime."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from fences import fenced, fenced_copy
from running import Arrays, build, fused, interpret

from graphc.dims import dim
from graphc.ir import Graph, Type
from graphc.questions import evaluate
from graphc.runtime.llvm.entry import RESERVED
from graphc.runtime.plan import ALIGNMENT
from graphc.runtime.step import Step, Steps
from graphc.text import parse

B = dim("B")
PRIME = 1009
"""A size that no other number in a test is a multiple of."""

SIZES = (2, 3, 4, 5, 7, 8, 13, 14, 15, 16, 17, 31, 33, 61, 64, 65, 70, 127, 128, 257, 1000, 2049)


def named(graph: Graph, prime: int = PRIME, name: str = "B") -> Graph:
    """The graph with a name in the place of a number, and of its multiples."""

    def size(number: re.Match[str]) -> str:
        times, rest = divmod(int(number[0]), prime)
        if not times or rest:
            return number[0]
        return name if times == 1 else f"{times}*{name}"

    return parse(re.sub(r"(?<![\w.%-])\d+(?![\w.])", size, str(graph)))


def check(
    types: Sequence[Type],
    make: Callable[..., object],
    sizes: Sequence[int] = SIZES,
    tolerance: float = 2e-5,
    **options: Any,
) -> Steps:
    """Compile the graph of `make` once, and compare it with the interpreter at all sizes."""
    graph = build(types, make)
    steps = Steps(fused(graph), **options)
    for number in sizes:
        arrays = [random_array(type, number, seed) for seed, type in enumerate(types)]
        compare(steps, graph, number, arrays, tolerance)
    return steps


def random_array(type: Type, number: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shape = tuple(evaluate(size, {"B": number}) for size in type.shape)
    if type.dtype in ("i32", "i64"):
        return rng.integers(0, 2, shape).astype(type.numpy_dtype)
    return rng.standard_normal(shape).astype(type.numpy_dtype)


def compare(steps: Steps, graph: Graph, number: int, arrays: Arrays, tolerance: float) -> None:
    """The step at a size, with all memory between pages that nobody may touch."""
    expected = interpret(graph.bind(B=number), arrays)
    step = steps.at({"B": number})
    for at_end in (False, True):
        fence_arena(step)
        results = step([fenced_copy(array, at_end) for array in arrays])
        for got, wanted in zip(results, expected, strict=True):
            assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
            kind = tolerance if wanted.dtype == np.float32 else 1e-12
            scale = max(1.0, float(np.abs(wanted).max(initial=0)))
            np.testing.assert_allclose(got, wanted, kind, kind * scale, err_msg=f"B={number}")


def fence_arena(step: Step) -> None:
    """Let the next call use an arena that ends where memory ends."""
    size = -(-(RESERVED + step.nbytes) // ALIGNMENT) * ALIGNMENT
    step._code.arenas.idle[:] = [np.frombuffer(fenced(size, True), np.uint8)]
