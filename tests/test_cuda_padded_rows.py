"""Scratch rows of a length that no vector divides, on their way to a matrix product."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from emulated_device import SMALL, Emulated, calls
from running import interpret

import graphc as gc
from graphc.ir import Graph
from graphc.runtime.cuda.emit.ptx import ptx
from graphc.runtime.cuda.plan.device_kernel import Limits
from graphc.runtime.cuda.plan.padded_rows import with_padded_rows
from graphc.runtime.cuda.plan.rejoin import rejoined
from graphc.runtime.kernel import Access, Buffer, Kernel, Load, Loop, Name, Product, Store, inner
from graphc.runtime.planner import make_program


def attention(q: Any, k: Any, v: Any) -> Any:
    scores = (q @ np.swapaxes(k, -1, -2)).astype(np.float32) * np.float32(0.125)
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return (e / e.sum(-1, keepdims=True)).astype(v.dtype) @ v


def blocked(length: int, dtype: str) -> tuple[Graph, list[np.ndarray]]:
    rng = np.random.default_rng(5)
    arrays = [rng.normal(size=(2, length, 16)).astype(dtype) for _ in range(3)]
    return gc.compile(attention, target="cuda").graph(*arrays, stage="fused"), arrays


def kernel_of(length: int) -> Kernel:
    (call,) = calls(rejoined(make_program(blocked(length, "f2")[0])))
    return call.kernel


def test_odd_rows_are_copied_as_even_ones_are() -> None:
    """The probabilities of 197 keys were read element by element."""
    copies = [
        ptx(Emulated(blocked(n, "f2")[0]).module.text).count("cp.async.cg") for n in (197, 200)
    ]
    assert copies[0] == copies[1] > 0


@pytest.mark.parametrize("limits", [None, SMALL], ids=["", "small"])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("length", [77, 197])
def test_against_the_interpreter(length: int, dtype: str, limits: Limits | None) -> None:
    graph, arrays = blocked(length, dtype)
    emulated = Emulated(graph, limits, backwards=limits is SMALL)
    (got,), (expected,) = emulated(arrays), interpret(graph, arrays)
    error = {"f2": 2.0**-9, "f4": 1e-5, "f8": 1e-6}[dtype] * np.abs(arrays[2]).max()
    assert (np.abs(got.astype("f8") - expected.astype("f8")) <= error).all()


def test_rows_begin_at_multiples_of_16_bytes() -> None:
    kernel = kernel_of(197)
    padded = with_padded_rows(kernel, [2 * b.size for b in kernel.buffers])
    scratch = {i for i, b in enumerate(padded.buffers) if b.role == "scratch"}
    read = [p for p in inner(padded.body) if isinstance(p, Product) and p.left.buffer in scratch]
    assert [p.left_strides for p in read] == [(200, 1)]


def test_even_rows_stay_as_they_are() -> None:
    kernel = kernel_of(200)
    assert with_padded_rows(kernel, [2 * b.size for b in kernel.buffers]) is kernel


def test_rows_stay_in_the_memory_that_there_is() -> None:
    """A block that is the only one has its scratch memory where the program has put it."""
    kernel = kernel_of(197)
    assert with_padded_rows(kernel, [b.size for b in kernel.buffers]) is kernel
    x, w = np.arange(960.0).reshape(3, 5, 8, 8), np.arange(35.0).reshape(7, 5)
    einsum = gc.compile(lambda x, w: np.einsum("nchw,oc->no", x, w), target="cuda")
    for limits in (None, SMALL):
        (got,) = Emulated(einsum.graph(x, w, stage="fused"), limits)([x, w])
        np.testing.assert_allclose(got, x.sum((2, 3)) @ w.T)


# ---- what is no row ------------------------------------------------------------------------------

ROWS, TERMS, COLUMNS = 4, 5, 3


def written_and_read(fill: Access, guard: Name | None = None) -> Kernel:
    """Scratch memory that a loop fills, and a product reads as rows of 5."""
    names = [Name(i, "f16") for i in range(3)]
    buffers = (
        Buffer("x", "f16", 64, "in"),
        Buffer("w", "f16", TERMS * COLUMNS, "in"),
        Buffer("s", "f16", ROWS * TERMS, "scratch"),
        Buffer("out", "f16", ROWS * COLUMNS, "out"),
    )
    source = Access(0, 0, (TERMS, 1, 0))
    body = (Load(names[0], source), Store(fill, names[0]))
    again = (Load(names[2], Access(2, 0, (0, 0, 0)), None, 1, guard),) if guard else ()
    product = Product(
        names[1],
        Access(2, 0, (0, 0, 0)),
        Access(1, 0, (0, 0, 0)),
        *(ROWS, TERMS, COLUMNS),
        *((TERMS, 1), (COLUMNS, 1)),
        *(0, 2),
        (Store(Access(3, 0, (COLUMNS, 0, 1)), names[1]),),
    )
    return Kernel("k", (ROWS, TERMS, COLUMNS), buffers, (Loop((0, 1), True, body), *again, product))


def test_only_what_is_rows_gets_longer_ones() -> None:
    room = [64] * 4
    rows = with_padded_rows(written_and_read(Access(2, 0, (TERMS, 1, 0))), room)
    assert rows.buffers[2].size == ROWS * 8
    for kernel in (
        written_and_read(Access(2, 0, (1, ROWS, 0))),  # as columns
        written_and_read(Access(2, 1, (TERMS, 1, 0))),  # from the second element on
        written_and_read(Access(2, 0, (TERMS, 1, 1))),  # beyond the end of a row
        written_and_read(Access(2, 0, (TERMS, 1, 0)), Name(9, "bool")),
    ):
        assert with_padded_rows(kernel, room) is kernel
