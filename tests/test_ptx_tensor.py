"""Tensor cores, and copies that nobody waits for, as the machine that executes PTX has them."""

from __future__ import annotations

import numpy as np
import pytest
from emulated_device import SMALL, Emulated
from ptx_machine import Machine
from ptx_memory import Fault
from running import fused, interpret
from test_cuda_row_warps import blocked
from test_cuda_tensor import STEP, TERM, draw, product_of
from test_ptx_machine import kernel, launch, run

from graphc import errors
from graphc.runtime.code import FAST_MATH
from graphc.runtime.cuda.emit.ptx import ptx

# ---- copies --------------------------------------------------------------------------------------

COPIED = """
    .shared .align 16 .b8 near[512];
    mov.b64 %rd3, near; mul.wide.u32 %rd4, %r1, 4; add.s64 %rd3, %rd3, %rd4;
    st.global.b32 [%rd2], %r1;
    cp.async.ca.shared.global [%rd3], [%rd2], 4{size};
    cp.async.commit_group;
    {wait}
    ld.shared.b32 %r2, [%rd3];
    add.s32 %r3, %r2, 100;
    st.global.b32 [%rd2], %r3;"""


@pytest.mark.parametrize("wait", ["cp.async.wait_group 0;", "cp.async.wait_all;"])
def test_copies_have_come_when_they_are_waited_for(wait: str) -> None:
    np.testing.assert_array_equal(run(COPIED.format(size="", wait=wait)), 100 + np.arange(32))


@pytest.mark.parametrize("wait", ["", "cp.async.wait_group 1;"])
def test_until_then_nobody_knows_what_is_there(wait: str) -> None:
    np.testing.assert_array_equal(run(COPIED.format(size="", wait=wait)), 99)  # of -1


def test_a_thread_waits_for_its_own_copies_alone() -> None:
    body = """
        .shared .align 16 .b8 near[128];
        mov.b64 %rd3, near; mul.wide.u32 %rd4, %r1, 4; add.s64 %rd5, %rd3, %rd4;
        st.global.b32 [%rd2], %r1;
        cp.async.ca.shared.global [%rd5], [%rd2], 4;
        {before} {barrier}
        xor.b32 %r2, %r1, 1; mul.wide.u32 %rd6, %r2, 4; add.s64 %rd6, %rd3, %rd6;
        ld.shared.b32 %r3, [%rd6];
        st.global.b32 [%rd2], %r3;"""
    wait, barrier = "cp.async.wait_all;", "bar.sync 0;"
    right = run(body.format(before=wait, barrier=barrier))
    np.testing.assert_array_equal(right, np.arange(32) ^ 1)
    early = run(body.format(before="", barrier=barrier))
    np.testing.assert_array_equal(early, 0xFFFFFFFF)
    with pytest.raises(Fault, match="a read of shared memory"):
        run(body.format(before=wait, barrier=""))


@pytest.mark.parametrize("size, expected", [(0, 0), (1, 0x44), (3, 0x223344), (4, 0x11223344)])
def test_what_is_not_read_is_zero(size: int, expected: int) -> None:
    body = f"""
        .shared .align 16 .b8 near[16];
        st.global.b32 [%rd1], 0x11223344;
        cp.async.ca.shared.global [near], [%rd1], 4, {size};
        cp.async.wait_all;
        ld.shared.b32 %r2, [near];
        st.global.b32 [%rd1], %r2;"""
    assert run(body, block=1).tolist() == [expected]


def test_what_is_not_read_need_not_be_there() -> None:
    body = ".shared .align 16 .b8 near[16]; cp.async.cg.shared.global [near], [%rd1+4096], 16, {0};"
    run(body.format(0), block=1)
    with pytest.raises(Fault, match="no memory that was handed out"):
        run(body.format(4), block=1)


# ---- matrices ------------------------------------------------------------------------------------


@pytest.mark.parametrize("turned", [False, True])
def test_matrices_that_a_warp_loads(turned: bool) -> None:
    """Thread t has two neighbours of row t // 4 of each matrix, or of that column."""
    way = ".trans" if turned else ""
    body = f"""
        .shared .align 16 .b8 near[512];
        mov.b64 %rd3, near; mul.wide.u32 %rd4, %r1, 16; add.s64 %rd3, %rd3, %rd4;
        shl.b32 %r2, %r1, 3; add.s32 %r3, %r2, 1; shl.b32 %r3, %r3, 16; or.b32 %r3, %r3, %r2;
        add.s32 %r4, %r3, 0x20002; add.s32 %r5, %r4, 0x20002; add.s32 %r6, %r5, 0x20002;
        st.shared.v4.b32 [%rd3], {{%r3, %r4, %r5, %r6}};
        bar.sync 0;
        ldmatrix.sync.aligned.m8n8.x4{way}.shared.b16 {{%r7, %r8, %r9, %r10}}, [%rd3];
        mul.wide.u32 %rd5, %r1, 16; add.s64 %rd5, %rd1, %rd5;
        st.global.v4.b32 [%rd5], {{%r7, %r8, %r9, %r10}};"""
    block = np.zeros(32 * 4 + 4, np.uint32)
    out = block[-block.ctypes.data % 16 // 4 :][:128]
    launch(kernel(body), out)
    matrices = np.arange(256).reshape(4, 8, 8)  # element 8 * row + column of all rows
    for t in range(32):
        row, column = t // 4, t % 4 * 2
        for i, matrix in enumerate(matrices):
            held = matrix.T if turned else matrix
            low, high = held[row, column : column + 2]
            assert out[4 * t + i] == low | high << 16


def test_a_warp_of_which_threads_are_missing_multiplies_nothing() -> None:
    body = """
        .reg .b64 %d<9>;
        setp.ge.u32 %p1, %r1, 16; @%p1 ret;
        mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%d1, %d2}, {%d3}, {%d4}, {%d5, %d6};"""
    with pytest.raises(Fault, match="threads are missing"):
        run(body)


@pytest.mark.parametrize("limits", [None, SMALL], ids=["", "small"])
@pytest.mark.parametrize(
    "dtype, flags", [("f16", ""), ("bf16", ""), ("f64", ""), ("f32", FAST_MATH)]
)
def test_products_by_tensor_cores(dtype: str, flags: str, limits: object) -> None:
    graph = product_of(dtype, 37, 51, 29)
    arrays = draw(graph)
    (got,) = Emulated(fused(graph), limits, flags=flags, as_ptx=True)(arrays)  # type: ignore[arg-type]
    (expected,) = interpret(graph, arrays)
    one, other = got.astype("f8"), expected.astype("f8")
    assert (abs(one - other) <= STEP[dtype] * abs(other) + 8 * 51 * TERM[dtype]).all()


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
