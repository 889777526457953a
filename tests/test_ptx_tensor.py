"""Tensor cores on the machine that executes PTX: values, who waits for whom, and what it finds."""

from __future__ import annotations

import numpy as np
import pytest
from emulated_device import Emulated
from ptx_machine import Machine
from running import fused, interpret
from test_cuda_row_warps import blocked
from test_cuda_tensor import STEP, TERM, draw, product_of
from test_ptx_machine import run

from graphc import errors
from graphc.runtime.code import FAST_MATH
from graphc.runtime.cuda.ptx import ptx


@pytest.mark.parametrize("shape", [(64, 64, 64), (37, 51, 29), (130, 40, 72)], ids=str)
@pytest.mark.parametrize("dtype", ["f16", "bf16", "f64", "f32"])
def test_products(dtype: str, shape: tuple[int, int, int]) -> None:
    graph = product_of(dtype, *shape)
    arrays = draw(graph)
    flags = FAST_MATH if dtype == "f32" else ""
    (got,) = Emulated(fused(graph), flags=flags, as_ptx=True)(arrays)
    (expected,) = interpret(graph, arrays)
    one, other = got.astype("f8"), expected.astype("f8")
    error = STEP[dtype] * np.abs(other) + 8 * shape[1] * TERM[dtype]
    assert (np.abs(one - other) <= error).all()


@pytest.mark.parametrize("dtype", ["f2", "f4"])
def test_attention(dtype: str) -> None:
    """Rows by warps, between products by the block: nobody reads what another one still writes."""
    graph, arrays = blocked((2, 96, 64), dtype)
    (got,), (expected,) = Emulated(graph, as_ptx=True)(arrays), interpret(graph, arrays)
    assert np.abs(got.astype("f8") - expected.astype("f8")).max() < (
        0.01 if dtype == "f2" else 1e-5
    )


def without(emulated: Emulated, instruction: str) -> Emulated:
    """The same with all instructions of a kind left out."""
    text = ptx(emulated.module.text)
    kept = "".join(f"{line}\n" for line in text.splitlines() if instruction not in line)
    assert kept != text
    emulated.code.machine = Machine(kept)
    return emulated


def test_a_barrier_that_is_missing_is_found() -> None:
    graph = product_of("f16", 64, 96, 64)
    emulated = without(Emulated(fused(graph), as_ptx=True), "bar.sync")
    with pytest.raises(errors.DeviceFaultError, match=r"read of shared memory .*ldmatrix"):
        emulated(draw(graph))


def test_what_is_copied_is_there_once_it_was_waited_for() -> None:
    graph = product_of("f16", 64, 96, 64)
    (got,) = without(Emulated(fused(graph), as_ptx=True), "cp.async.wait_group")(draw(graph))
    assert np.isnan(got.astype("f4")).all()


def test_matrices_are_loaded_by_rows_and_by_columns() -> None:
    """Thread i gives row i % 8 of matrix i // 8, whose element (r, c) is 64 m + 8 r + c."""
    body = """
        mul.lo.u32 %r2, %r1, 16;
        cvt.u64.u32 %rd3, %r2;
        mov.b64 %rd4, s;
        add.s64 %rd4, %rd4, %rd3;
        mul.lo.u32 %r3, %r1, 8;
        mul.lo.u32 %r3, %r3, 65537;
        add.s32 %r4, %r3, 65536;
        add.s32 %r5, %r3, 196610;
        add.s32 %r6, %r3, 327684;
        add.s32 %r7, %r3, 458758;
        st.shared.v4.b32 [%rd4], {%r4, %r5, %r6, %r7};
        bar.warp.sync -1;
        ldmatrix.sync.aligned.m8n8.x4WAY.shared.b16 {%r8, %r9, %r10, %r11}, [%rd4];
        st.global.b32 [%rd2], %r10;"""
    shared = ".shared .align 16 .b8 s[512];\n"
    lanes = np.arange(32)
    group, thread = lanes >> 2, lanes & 3
    straight = run(body.replace("WAY", ""), before=shared).view("u2").reshape(32, 2)
    turned = run(body.replace("WAY", ".trans"), before=shared).view("u2").reshape(32, 2)
    for half in (0, 1):
        at = 2 * thread + half
        np.testing.assert_array_equal(straight[:, half], 128 + 8 * group + at)
        np.testing.assert_array_equal(turned[:, half], 128 + 8 * at + group)
