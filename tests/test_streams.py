"""Which results are written past the caches, and that they are all there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from running import build, fused, interpret, op

import graphc as gc
from graphc.build import Value
from graphc.ir import Graph, Type
from graphc.runtime.llvm.emit_step import emit_step, kernels
from graphc.runtime.llvm.target import (
    USUAL_LAST_CACHE,
    HostTarget,
    host_target,
    last_cache_bytes,
    neon_target,
)
from graphc.runtime.plan import plan_arena
from graphc.runtime.planner import make_program
from graphc.runtime.shares import ALWAYS
from graphc.runtime.step import Step
from graphc.runtime.streams import with_streams

pytestmark = pytest.mark.cpu_only("its caches")

X = Type("f32", (64, 100))
BYTES = 64 * 100 * 4


def softmax(x: Value) -> Any:
    exps = op("exp")(x - op("broadcast")(op("max")(x, axes=(1,)), shape=x.type.shape, axes=(0,)))
    return exps / op("broadcast")(op("sum")(exps, axes=(1,)), shape=x.type.shape, axes=(0,))


def streams(graph: Graph, last_cache: int) -> list[list[bool]]:
    """Of each kernel, whether each of its results is written past a cache of so many bytes."""
    program = with_streams(make_program(graph), last_cache)
    return [
        [buffer.streams for buffer in kernel.buffers if buffer.role == "out"]
        for kernel in kernels(program.items)
    ]


def test_arrays_that_fill_the_cache() -> None:
    graph = fused(build([X], softmax))
    assert streams(graph, 2 * BYTES) == [[True]]
    assert streams(graph, 2 * BYTES + 1) == [[False]]


def test_no_known_cache() -> None:
    assert streams(fused(build([X], softmax)), 0) == [[False]]


def test_what_another_kernel_reads_stays_in_the_cache() -> None:
    def make(x: Value) -> Any:
        y = op("exp")(x)
        return y, op("matmul")(y, op("transpose")(y, axes=(1, 0)))

    assert streams(fused(build([X], make)), 1) == [[False], [True]]


def test_an_argument_that_is_updated_was_read_already() -> None:
    graph = build([X], softmax)
    updating = graph.replace(updates=((0, 0),))
    assert not any(map(any, streams(fused(updating), 1)))


def target(last_cache: int = 1) -> HostTarget:
    return host_target()._replace(last_cache=last_cache)


def text_of(graph: Graph, target: HostTarget) -> str:
    program = with_streams(make_program(graph), target.last_cache)
    return emit_step(program, plan_arena(program), target, "step").text


def test_a_fence_stands_behind_what_was_written() -> None:
    text = text_of(fused(build([X], softmax)), target())
    assert "!nontemporal" in text
    assert text.index("!nontemporal") < text.index("call void @llvm.x86.sse.sfence()")


def test_small_results_and_other_machines_have_none() -> None:
    graph = fused(build([X], softmax))
    assert "nontemporal" not in text_of(graph, target(1 << 30))
    assert neon_target().last_cache == 0


CASES = {
    "whole vectors": ([Type("f32", (64, 128))], softmax),
    "rows that end within a vector": ([X], softmax),
    "f64": ([Type("f64", (33, 45))], softmax),
    "f16": ([Type("f16", (33, 64))], lambda x: x + x),
    "truth values": ([Type("f32", (4099,))], lambda x: op("less")(x, 0.1)),
    "bytes": ([Type("i8", (4099,))], lambda x: x + x),
    "two results": ([X], lambda x: (op("exp")(x), softmax(x))),
    "a total beside": ([X], lambda x: (softmax(x), op("sum")(x, axes=(0, 1)))),
    "totals of columns": ([X], lambda x: (softmax(x), op("sum")(softmax(x), axes=(0,)))),
    "a transpose": ([X], lambda x: op("transpose")(op("exp")(x), axes=(1, 0))),
}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(("types", "make"), CASES.values(), ids=CASES)
def test_values(types: list[Type], make: Any, threads: int) -> None:
    graph = build(types, make)
    rng = np.random.default_rng(0)
    arrays = [(10 * rng.normal(size=t.shape)).astype(t.numpy_dtype) for t in types]
    step = Step(fused(graph), threads=threads, thresholds=ALWAYS, target=target())
    for got, want in zip(step(arrays), interpret(graph, arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_large_results(dtype: str, threads: int) -> None:
    """Their memory begins with a cache line, so that vectors are written past the caches."""
    count = host_target().last_cache // np.dtype(dtype).itemsize + 17
    x = np.arange(count, dtype=dtype) % 1000
    got = gc.compile(lambda x: x * 0.5 + 1.0, threads=threads)(x)
    np.testing.assert_array_equal(got, x * np.dtype(dtype).type(0.5) + 1)


def test_the_size_of_the_last_cache(tmp_path: Path) -> None:
    assert last_cache_bytes(str(tmp_path)) == USUAL_LAST_CACHE
    for i, size in enumerate(["48K\n", "1024K\n", "32M\n"]):
        (tmp_path / f"index{i}").mkdir()
        (tmp_path / f"index{i}" / "size").write_text(size)
    assert last_cache_bytes(str(tmp_path)) == 32 << 20
    (tmp_path / "index2" / "size").write_text("?")
    assert last_cache_bytes(str(tmp_path)) == USUAL_LAST_CACHE
