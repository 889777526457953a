"""Rows inside of a block's work: which warps may have, and that they see what others wrote."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from emulated_device import SMALL, Emulated, spilled_bytes
from running import interpret

import graphc as gc
from graphc.ir import Graph
from graphc.runtime.code import FAST_MATH
from graphc.runtime.cuda.emit.ptx import ptx
from graphc.runtime.cuda.plan.device_kernel import Limits

WAIT = "  call void @llvm.nvvm.barrier0()"


def attention(q: Any, k: Any, v: Any) -> Any:
    scores = (q @ np.swapaxes(k, -1, -2)).astype(np.float32) * np.float32(0.125)
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return (e / e.sum(-1, keepdims=True)).astype(v.dtype) @ v


def blocked(shape: tuple[int, ...], dtype: Any) -> tuple[Graph, list[np.ndarray]]:
    rng = np.random.default_rng(3)
    arrays = [rng.normal(size=shape).astype(dtype) for _ in range(3)]
    graph = gc.compile(attention, target="cuda").graph(*arrays, stage="fused")
    return graph, arrays


@pytest.mark.parametrize("limits", [None, SMALL], ids=["", "small"])
@pytest.mark.parametrize("shape", [(2, 96, 64), (1, 100, 40), (3, 77, 16)], ids=str)
@pytest.mark.parametrize("dtype", ["f2", "f4"])
def test_attention(dtype: str, shape: tuple[int, ...], limits: Limits | None) -> None:
    graph, arrays = blocked(shape, dtype)
    emulated = Emulated(graph, limits, backwards=limits is SMALL)
    assert ("nvvm.mma" in emulated.module.text) == (dtype == "f2")
    (got,), (expected,) = emulated(arrays), interpret(graph, arrays)
    # Probabilities are rounded to f16 on the way: their sum is 1.
    error = {"f2": 2.0**-9, "f4": 1e-5}[dtype] * np.abs(arrays[2]).max()
    assert (np.abs(got.astype("f8") - expected.astype("f8")) <= error).all()
    assert emulated.code.conflicts == 0


def test_attention_of_f32_under_fast_math() -> None:
    graph, arrays = blocked((2, 96, 64), "f4")
    emulated = Emulated(graph, flags=FAST_MATH)
    assert "mma.m16n8k8.row.col.tf32" in emulated.module.text
    (got,), (expected,) = emulated(arrays), interpret(graph, arrays)
    assert np.abs(got - expected).max() < 0.02


def test_rows_of_a_softmax_wait_for_no_other() -> None:
    """All threads of a block had row after row, and waited for each other four times in each."""
    graph, _ = blocked((2, 512, 64), "f2")
    text = Emulated(graph).module.text
    lines = text.splitlines()
    exchanges = [i for i, line in enumerate(lines) if "call i32 @llvm.nvvm.shfl.sync" in line]
    assert len(exchanges) == 11  # of the maximum, which the first thread decides, and of the sum
    assert WAIT not in lines[exchanges[0] : exchanges[-1]]
    assert "_parts_" not in text  # no totals are put together in shared memory
    for architecture in ("sm_80", "sm_90"):
        assert spilled_bytes(ptx(text, architecture), architecture) == 0


def test_rows_that_registers_do_not_hold_have_the_block() -> None:
    """What holds a row for a while is one for all of them then."""
    graph, _ = blocked((1, 2200, 16), "f4")
    text = Emulated(graph).module.text
    assert "_parts_" in text
