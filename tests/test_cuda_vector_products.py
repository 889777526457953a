"""Products of vectors on a device: sums, and the values that they have then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from emulated_device import SMALL, Emulated, calls
from running import assert_within, interpret

import graphc as gc
from graphc.ir import bfloat16
from graphc.runtime.cuda.plan.device_kernel import Limits
from graphc.runtime.cuda.plan.rejoin import rejoined
from graphc.runtime.cuda.plan.vector_products import with_vectors_as_sums
from graphc.runtime.kernel import Loop, Product, inner
from graphc.runtime.planner import make_program


def normal(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


X, V, W = normal(90, 130), normal(130), normal(90)

CASES: dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...]]] = {
    "two vectors": (lambda x, y: x @ y, (normal(3000), normal(3000) + 1)),
    "a matrix and a vector": (lambda x, v: x @ v, (X, V)),
    "with an epilogue": (lambda x, v, w: np.tanh(x @ v + w) * 2, (X, V, W)),
    "a vector and a matrix": (lambda x, w: w @ x, (X, W)),
    "transposed": (lambda x, w: x.T @ w, (X, W)),
    "a vector and a transposed matrix": (lambda x, v: v @ x.T, (X, V)),
    "columns of a larger matrix": (lambda x, v: x[:, 3:] @ v[3:], (X, V)),
    "every second row": (lambda x, v: x[::2] @ v, (X, V)),
    "batches": (lambda x, v: x @ v, (normal(4, 20, 30), normal(4, 30, 1))),
    "batches of vectors": (lambda x, v: np.einsum("ij,ij->i", x, v), (X, X + 1)),
    "rows by batches": (lambda x, v: v @ x, (normal(4, 20, 30), normal(4, 1, 20))),
    "an outer product": (lambda v, w: v[:, None] @ w[None, :], (V, W)),
    "half precision": (lambda x, v: x @ v, (X.astype("f2"), V.astype("f2"))),
    "brain floats": (lambda x, w: w @ x, (X.astype(bfloat16()), W.astype(bfloat16()))),
    "integers": (lambda x, v: x @ v, (np.arange(12).reshape(3, 4), np.arange(4))),
    "double precision": (lambda x, v: x @ v, (X.astype("f8"), V.astype("f8"))),
    "nothing to add": (lambda x, v: x @ v, (normal(5, 0), normal(0))),
}


@pytest.mark.parametrize("limits", [None, SMALL], ids=["", "small"])
@pytest.mark.parametrize("function, given", CASES.values(), ids=CASES)
def test_values(function: Any, given: Any, limits: Limits | None) -> None:
    (expected,) = interpret(gc.trace(function, *given), given)
    graph = gc.compile(function).graph(*given, stage="fused")
    close = {2: 2e-2, 4: 1e-4, 8: 1e-12}[given[0].itemsize]
    for backwards in (False, True):
        (got,) = Emulated(graph, limits, backwards)(given)
        assert got.dtype == expected.dtype
        wide = expected.astype("f8")
        assert_within(got.astype("f8"), wide, close * np.maximum(1, np.abs(wide)))


@pytest.mark.parametrize(
    "function, shapes, threads",
    [
        (lambda x, y: x @ y, ((10_000_000,), (10_000_000,)), 1 << 18),
        (lambda x, y: x @ y, ((8192, 8192), (8192,)), 1 << 18),
        (lambda x, y: y @ x, ((8192, 8192), (8192,)), 1 << 17),
    ],
    ids=["two vectors", "rows", "columns"],
)
def test_a_device_is_kept_busy(function: Any, shapes: Any, threads: int) -> None:
    """They were tiles with one column, or one element, in use: 32768 threads."""
    given = [np.empty(shape, np.float32) for shape in shapes]
    (launches,) = Emulated(gc.compile(function).graph(*given, stage="fused")).launches
    assert launches.kernels[0].grid * launches.kernels[0].block >= threads


def test_other_products_stay_what_they_are() -> None:
    graph = gc.compile(lambda x, y: x @ y).graph(X, X.T.copy(), stage="fused")
    (call,) = calls(rejoined(make_program(graph)))
    assert with_vectors_as_sums(call.kernel) is call.kernel


def test_the_loop_along_which_memory_runs_is_a_vector() -> None:
    for name, is_inner in (("transposed", False), ("a matrix and a vector", True)):
        function, arguments = CASES[name]
        graph = gc.compile(function).graph(*arguments, stage="fused")
        (call,) = calls(rejoined(make_program(graph)))
        changed = with_vectors_as_sums(call.kernel)
        outer, loop = (s for s in inner(changed.body) if isinstance(s, Loop))
        assert (outer.vector, loop.vector) == (not is_inner, is_inner)
        assert not any(isinstance(s, Product) for s in inner(changed.body))
