"""np.convolve and np.correlate of long arrays, beside NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.ir import Graph, all_eqns
from graphc.trace.numpy_statistics import FEW_PRODUCTS, MOST_SHIFTS

LONG = 20_000


def drawn(dtype: str, size: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=size) * 3).astype(dtype)


def ops(graph: Graph) -> set[str]:
    return {eqn.op.name for eqn in all_eqns(graph)}


@pytest.mark.parametrize("function", [np.convolve, np.correlate])
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "u1", "c16", "?"])
def test_long_arrays(function: Any, mode: str, dtype: str) -> None:
    fn = gc.compile(lambda x, k: function(x, k, mode))
    x = drawn(dtype, LONG)
    for size in (5, 6, MOST_SHIFTS, MOST_SHIFTS + 1):
        kernel = drawn(dtype, size, 1)
        got, expected = fn(x, kernel), function(x, kernel, mode)
        assert got.dtype == expected.dtype
        if dtype in ("i4", "u1", "?"):
            np.testing.assert_array_equal(got, expected)
        else:
            np.testing.assert_allclose(got, expected, 1e-4, 1e-3)


def test_no_windows_are_made() -> None:
    """They were 64 times as large as the operand, and positions of them even larger."""
    x, kernel = drawn("f4", LONG), drawn("f4", MOST_SHIFTS)
    compiled = gc.compile(lambda x, k: np.convolve(x, k, "same"))
    assert not {"matmul", "take"} & ops(compiled.graph(x, kernel, stage="traced"))
    assert compiled.explain(x, kernel).peak_bytes < 8 * x.nbytes
    short = x[: FEW_PRODUCTS // MOST_SHIFTS - MOST_SHIFTS]
    assert "matmul" in ops(compiled.graph(short, kernel, stage="traced"))


def test_what_is_infinite_reaches_its_windows_alone() -> None:
    x = drawn("f8", LONG)
    x[777], x[12_000] = np.inf, np.nan
    np.testing.assert_allclose(gc.compile(np.convolve)(x, np.ones(7)), np.convolve(x, np.ones(7)))


def test_gradients_are_convolutions() -> None:
    x, kernel, w = drawn("f8", LONG), drawn("f8", 9, 1), np.cos(np.arange(LONG - 8.0))
    slope = gc.grad(lambda x, k: (np.convolve(x, k, "valid") * w).sum(), argnums=(0, 1))
    of_x, of_kernel = gc.compile(slope)(x, kernel)
    np.testing.assert_allclose(of_x, np.correlate(w, kernel, "full"), 1e-10, 1e-10)
    np.testing.assert_allclose(of_kernel, np.correlate(x, w, "valid")[::-1], 1e-10, 1e-10)


def test_bools_stay_bools() -> None:
    """np.correlate took the conjugate of the second one, which of bools is int8."""
    x = np.array([True, False, True])
    assert gc.compile(np.correlate)(x, x[:2]).dtype == np.correlate(x, x[:2]).dtype == bool
