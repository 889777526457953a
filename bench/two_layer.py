"""graphc beside NumPy: elementwise chain, softmax, layer norm, and a two-layer training step.

    python bench/two_layer.py        or: make bench

Every contender's values are checked against NumPy in float64 before it is timed.
"""

from __future__ import annotations

import importlib.util
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # graphc runs on one thread: NumPy does, too

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from timing import Timing, compare, copy_bandwidth

import graphc as gc
from graphc.ir import Graph
from graphc.passes import pipeline
from graphc.passes.fuse import fuse

RATE = 1e-4
TOLERANCE = 1e-4
"""Of the largest element, for float32: these are sums of up to a thousand terms."""


# ---- the workloads, each a function of the module that stands for NumPy --------------------------


def chain(xp: Any) -> Callable[..., Any]:
    def run(x, y):
        return xp.tanh(x * y + 1.0) * xp.exp(-x * x) + y / 2.0

    return run


def softmax(xp: Any) -> Callable[..., Any]:
    def run(x):
        shifted = xp.exp(x - xp.max(x, axis=1, keepdims=True))
        return shifted / xp.sum(shifted, axis=1, keepdims=True)

    return run


def layer_norm(xp: Any) -> Callable[..., Any]:
    def run(x, scale, shift):
        centred = x - xp.mean(x, axis=1, keepdims=True)
        variance = xp.mean(centred * centred, axis=1, keepdims=True)
        return centred / xp.sqrt(variance + 1e-5) * scale + shift

    return run


def two_layer_loss(xp: Any) -> Callable[..., Any]:
    def run(w1, w2, x, y):
        difference = xp.maximum(x @ w1, 0.0) @ w2 - y
        return xp.sum(difference * difference)

    return run


def two_layer_graphc(xp: Any) -> Callable[..., Any]:
    loss = two_layer_loss(xp)

    def run(w1, w2, x, y):
        value, (d_w1, d_w2) = gc.value_and_grad(loss, (0, 1))(w1, w2, x, y)
        return value, w1 - RATE * d_w1, w2 - RATE * d_w2

    return run


def two_layer_numpy(xp: Any) -> Callable[..., Any]:
    def run(w1, w2, x, y):
        hidden = xp.maximum(x @ w1, 0.0)
        difference = hidden @ w2 - y
        d_out = difference + difference
        d_hidden = (d_out @ w2.T) * (hidden > 0)
        value = xp.sum(difference * difference)
        return value, w1 - RATE * (x.T @ d_hidden), w2 - RATE * (hidden.T @ d_out)

    return run


def two_layer_jax(xp: Any) -> Callable[..., Any]:
    import jax

    loss = two_layer_loss(xp)

    def run(w1, w2, x, y):
        value, (d_w1, d_w2) = jax.value_and_grad(loss, (0, 1))(w1, w2, x, y)
        return value, w1 - RATE * d_w1, w2 - RATE * d_w2

    return run


@dataclass(frozen=True)
class Workload:
    """A row of the table: what runs, how it is written for each contender, and on what shapes."""

    name: str
    numpy: Callable[[Any], Callable[..., Any]]
    graphc: Callable[[Any], Callable[..., Any]]
    jax: Callable[[Any], Callable[..., Any]]
    shapes: tuple[tuple[int, ...], ...]


WORKLOADS = (
    Workload(
        "two-layer step 64x1000x100x10",
        two_layer_numpy,
        two_layer_graphc,
        two_layer_jax,
        ((1000, 100), (100, 10), (64, 1000), (64, 10)),
    ),
    Workload("chain, 1 000 elements", chain, chain, chain, ((1000,),) * 2),
    Workload("chain, 1 000 000 elements", chain, chain, chain, ((1_000_000,),) * 2),
    Workload("softmax 4096x1024", softmax, softmax, softmax, ((4096, 1024),)),
    Workload(
        "layer norm 4096x1024",
        layer_norm,
        layer_norm,
        layer_norm,
        ((4096, 1024), (1024,), (1024,)),
    ),
)


# ---- the contenders ------------------------------------------------------------------------------


def contenders(workload: Workload, arrays: list[np.ndarray]) -> dict[str, Callable[[], Any]]:
    plain = workload.numpy(np)
    fused = gc.compile(workload.graphc(np))
    unfused = without_fusion(gc.compile(workload.graphc(np)), arrays)
    runs: dict[str, Callable[[], Any]] = {
        "NumPy": lambda: plain(*arrays),
        "graphc unfused": lambda: unfused(*arrays),
        "graphc": lambda: fused(*arrays),
    }
    if importlib.util.find_spec("jax") is not None:
        runs["JAX"] = jax_contender(workload, arrays)
    return runs


def without_fusion(compiled: Any, arrays: list[np.ndarray]) -> Any:
    """The same compiled function with every equation as a kernel of its own."""
    entry = compiled._entry(tuple(arrays), {})
    passes = [step for step in pipeline.FUSE if step.name != "fuse"]
    lowered, _ = pipeline.run(entry.graphs["optimized"], passes)
    single = [
        Graph("one", tuple({a for a in eqn.ins if hasattr(a, "hint")}), (eqn,), eqn.outs)
        for eqn in lowered.eqns
    ]
    eqns = [kernel for graph in single for kernel in fuse(graph).eqns]
    entry.graphs["fused"] = lowered.replace(eqns=tuple(eqns))
    return compiled


def jax_contender(workload: Workload, arrays: list[np.ndarray]) -> Callable[[], Any]:
    import jax

    run = jax.jit(workload.jax(jax.numpy))
    return lambda: jax.block_until_ready(run(*arrays))


# ---- checking, timing, printing ------------------------------------------------------------------


def check(workload: Workload, name: str, got: Any, arrays: list[np.ndarray]) -> None:
    expected = workload.numpy(np)(*[array.astype("f8") for array in arrays])
    pairs = zip(_as_tuple(got), _as_tuple(expected), strict=True)
    for mine, exact in pairs:
        error = np.max(np.abs(np.asarray(mine) - exact)) / np.max(np.abs(exact))
        assert error < TOLERANCE, f"{workload.name}, {name}: relative error {error:.1e}"


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def inputs(workload: Workload) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    # A first axis of 100 or more, where matrices are weights, keeps products near one.
    return [
        (rng.normal(size=shape) / np.sqrt(shape[0] if "step" in workload.name else 1)).astype("f4")
        for shape in workload.shapes
    ]


def least_bytes(arrays: list[np.ndarray], results: Any) -> int:
    """What has to be moved at least: every input read once, every result written once."""
    return sum(np.asarray(a).nbytes for a in (*arrays, *_as_tuple(results)))


def compile_seconds(workload: Workload, arrays: list[np.ndarray]) -> float:
    """From the first call of a newly compiled function to its result."""
    compiled = gc.compile(workload.graphc(np))
    start = time.perf_counter()
    compiled(*arrays)
    return time.perf_counter() - start


def row(workload: Workload, bandwidth: float) -> list[str]:
    arrays = inputs(workload)
    compiling = compile_seconds(workload, arrays)
    runs = contenders(workload, arrays)
    for name, run in runs.items():
        check(workload, name, run(), arrays)
    timings = compare(runs)
    ratio = timings["NumPy"].median / timings["graphc"].median
    moved = least_bytes(arrays, runs["graphc"]()) / timings["graphc"].median
    kernels = len(gc.compile(workload.graphc(np)).explain(*arrays).kernels)
    return [
        workload.name,
        *(_cell(timings, name) for name in COLUMNS),
        f"{ratio:.1f}",
        str(kernels),
        f"{100 * moved / bandwidth:.0f} %",
        f"{1e3 * compiling:.0f} ms",
    ]


def _cell(timings: dict[str, Timing], name: str) -> str:
    return str(timings[name]) if name in timings else "-"


COLUMNS = ("NumPy", "graphc unfused", "graphc", "JAX")
HEAD = ["", *COLUMNS, "NumPy/graphc", "kernels", "of copy bandwidth", "first call"]


def main() -> None:
    bandwidth = copy_bandwidth()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs,", end=" ")
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, one thread,", end=" ")
    print(f"a copy moves {bandwidth / 1e9:.1f} GB/s\n")
    rows = [HEAD, *(row(workload, bandwidth) for workload in WORKLOADS)]
    widths = [max(len(cells[i]) for cells in rows) for i in range(len(HEAD))]
    for cells in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)))


if __name__ == "__main__":
    main()
