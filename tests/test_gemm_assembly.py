"""Micro-kernels in assembly beside those that LLVM compiles: the same bits, and nothing outside."""

from __future__ import annotations

import ctypes
import platform

import numpy as np
import pytest

import graphc as gc
from graphc.runtime.llvm.emulated import emulations
from graphc.runtime.llvm.gemm_assembly import is_assembled
from graphc.runtime.llvm.gemm_kernels import MatmulShape, tile_kernel
from graphc.runtime.llvm.jit import Machine, compile_text
from graphc.runtime.llvm.module import Module
from graphc.runtime.llvm.target import HostTarget, host_target, neon_target, x86_target

X86 = [x86_target(level) for level in ("x86-64-v3", "x86-64-v4")]
DTYPES = {"f32": (np.float32, 4), "f64": (np.float64, 8)}
INNER = 5


def runs_here(target: HostTarget) -> bool:
    is_x86 = platform.machine() == "x86_64"
    return is_x86 and host_target().has_fma and target.vector_bytes <= host_target().vector_bytes


def sizes(target: HostTarget) -> list[tuple[int, int]]:
    """The tiles that fit in the registers."""
    registers = target.vector_registers
    return [(h, v) for v in range(1, 9) for h in range(1, 15) if (h + 1) * v < registers]


def kernels(target: HostTarget, dtype: str, chosen: HostTarget | None, ahead: bool) -> Machine:
    """A module of kernels of all sizes, `h x v` as a function of that name."""
    module = Module(emulations(target))
    shape = MatmulShape(14, INNER, 64, dtype, (INNER, 1), (64, 1))
    lanes = target.vector_bytes // DTYPES[dtype][1]
    for height, vectors in sizes(target):
        tile_kernel(module, shape, height, vectors, lanes, ahead, chosen)
    assert ("asm" in str(module)) is (chosen is not None)
    return compile_text(str(module).replace("define internal", "define"), target=target)


def run(
    machine: Machine, name: str, sides: list[np.ndarray], tile: np.ndarray, ahead: bool
) -> None:
    left, right = sides
    size, places = left.itemsize, [array.ctypes.data for array in (left, right, tile)]
    words = [places[0], left.strides[0], size, places[1], right.strides[0], INNER]
    words += [places[2], tile.strides[0], *([places[1], 64] if ahead else [])]
    kinds = [ctypes.c_int64] * len(words)
    ctypes.CFUNCTYPE(None, *kinds)(machine.address(name))(*words)


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", X86, ids=lambda target: target.cpu)
def test_each_size_gives_the_bits_that_llvm_gives(
    target: HostTarget, dtype: str, ahead: bool
) -> None:
    if not runs_here(target):
        pytest.skip("this machine cannot run it")
    assembled = kernels(target, dtype, target, ahead)
    compiled = kernels(target, dtype, None, ahead)
    rng, kind = np.random.default_rng(0), DTYPES[dtype][0]
    for height, vectors in sizes(target):
        width = vectors * target.vector_bytes // np.dtype(kind).itemsize
        sides = [rng.normal(size=s).astype(kind) for s in ((height, INNER), (INNER, width))]
        name = f"matmul_tile_{dtype}_{height}x{vectors}" + "_ahead" * ahead
        found = []
        for machine in (assembled, compiled):
            room = np.full((height + 2, width + 3), 7.0, kind)
            run(machine, name, sides, room[1:-1, 1:-2], ahead)
            found.append(room)
        assert (found[0] == found[1]).all()
        np.testing.assert_allclose(found[0][1:-1, 1:-2], sides[0] @ sides[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows, inner, columns", [(3, 0, 4), (64, 0, 64), (64, 1, 64), (0, 3, 4)])
def test_products_of_no_terms(dtype, rows: int, inner: int, columns: int) -> None:
    """A kernel would count down from 0; for all sizes it is only known when the step runs."""
    product = gc.compile(lambda x, y: x @ y)
    for m, k, n in ((rows, inner, columns), (17, 19, 18), (70, 190, 80), (rows, inner, columns)):
        found = product(np.full((m, k), 2.0, dtype), np.full((k, n), 3.0, dtype))
        np.testing.assert_array_equal(found, np.full((m, n), 6.0 * k, dtype))


def test_what_is_written_in_assembly() -> None:
    v3, v4 = X86
    assert is_assembled(v3, "float", "float", "float") and is_assembled(v4, "double")
    assert not is_assembled(v4, "i32")
    assert not is_assembled(v4, "float", "bfloat", "float")
    assert not is_assembled(neon_target(), "float")
    assert not is_assembled(x86_target("x86-64-v2"), "float")
