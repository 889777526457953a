"""Quantiles: the element, and the dtype, that NumPy chooses, whatever dtype the levels have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc

METHODS = (
    "inverted_cdf", "averaged_inverted_cdf", "closest_observation", "lower", "higher", "nearest",
    "midpoint", "linear", "hazen", "median_unbiased",
)  # fmt: skip
LEVELS = (0.3, np.float32(0.3), [0.2, 0.9], np.array([0.2, 0.9], np.float32))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["f2", "f4", "i4"])
def test_levels_count_with_their_own_digits(method: str, dtype: str) -> None:
    """0.3 of float32 is more than 0.3: beyond the third of ten elements, but not in float32."""
    x = np.arange(10).astype(dtype)[::-1].copy()
    for q in LEVELS:
        wanted = np.asarray(np.quantile(x, q, method=method))
        same(gc.compile(at(q, method))(x), wanted)
        if isinstance(q, (np.ndarray, np.floating)):
            same(gc.compile(lambda x, q: np.quantile(x, q, method=method))(x, q), wanted)


def test_percentages_of_python_promote_nothing() -> None:
    x = np.arange(10, dtype=np.float32)
    for q in (30, 25.0, np.float32(30), [20, 90]):
        wanted = np.asarray(np.percentile(x, q))
        same(gc.compile(percentile(q))(x), wanted)


@pytest.mark.parametrize("dtype", ["?", "i8", "u1", "f4"])
def test_whole_levels_give_elements(dtype: str) -> None:
    x = np.array([1, 0, 1]).astype(dtype)
    for q in (0, 1, [0, 1], np.array([1, 0])):
        wanted = np.asarray(np.quantile(x, q))
        same(gc.compile(at(q, "linear"))(x), wanted)
        same(gc.compile(lambda x, q: np.quantile(x, q))(x, np.array(q)), wanted)


def percentile(q: Any) -> Any:
    return lambda x: np.percentile(x, q)


def at(q: Any, method: str) -> Any:
    return lambda x: np.quantile(x, q, method=method)


def same(found: Any, wanted: np.ndarray) -> None:
    found = np.asarray(found)
    assert found.dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, rtol=2e-3 if found.dtype == np.float16 else 1e-6)
