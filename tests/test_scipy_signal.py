"""Convolutions of scipy.signal on traced arrays: against scipy, with gradients."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal as signal
from scipy_checks import check_gradients, check_values

import graphc as gc
from graphc import errors

rng = np.random.default_rng(1)
LINE, SHORT = rng.normal(size=9), rng.normal(size=4)
PLANE, KERNEL = rng.normal(size=(6, 7)), rng.normal(size=(3, 2))
LARGE, OTHER = rng.normal(size=(20, 31)), rng.normal(size=(12, 11))
INTEGERS = rng.integers(0, 9, 7)
MODES = ("full", "same", "valid")


@pytest.mark.parametrize("mode", MODES)
def test_convolutions(mode: str) -> None:
    def f(x, y, a, k):
        return [
            signal.convolve(x, y, mode),
            signal.convolve(y, x, mode),
            signal.convolve(a, k, mode=mode),
            signal.convolve2d(a, k, mode),
            signal.fftconvolve(x, y, mode),
            signal.correlate(x, y, mode),
            signal.correlate(y, x, mode),
            signal.correlate(k, a, mode),
            signal.correlate2d(a, k, mode),
        ]

    check_values(f, LINE, SHORT, PLANE, KERNEL)
    check_gradients(f, LINE, SHORT, PLANE, KERNEL)


@pytest.mark.parametrize("mode", MODES)
def test_large_operands_integers_and_complex_numbers(mode: str) -> None:
    def f(a, b, n, z):
        return [
            signal.convolve(a, b, mode),
            signal.convolve(n, n[:3], mode),
            signal.correlate(z, z[:2, :3], mode),
            signal.correlate(z[:2, :3], z, mode),
            signal.convolve(z[0], z[1], mode),
        ]

    check_values(f, LARGE, OTHER, INTEGERS, PLANE + 1j * PLANE[::-1])


def test_single_precision_stays() -> None:
    check_values(
        lambda a, b: [signal.convolve(a, b), signal.fftconvolve(a[0], b[0])],
        LARGE.astype(np.float32),
        OTHER.astype(np.float32),
        tolerance=1e-4,
    )


def test_what_cannot_be_traced() -> None:
    with pytest.raises(errors.ShapeError, match="as many axes"):
        gc.compile(lambda a: signal.convolve(a, a[0]))(PLANE)
    with pytest.raises(errors.ShapeError, match="at least as large"):
        gc.compile(lambda a: signal.convolve(a, a.T, "valid"))(PLANE)
    with pytest.raises(errors.AttributeValueError, match="full, same or valid, not 'all'"):
        gc.compile(lambda a: signal.convolve(a, a, "all"))(PLANE)
    with pytest.raises(errors.UnsupportedFunctionError, match="integers can be traced with up to"):
        gc.compile(lambda n: signal.convolve(n, n))(np.arange(100))
    with pytest.raises(errors.UnsupportedFunctionError, match="zeros around"):
        gc.compile(lambda a: signal.convolve2d(a, a, boundary="wrap"))(PLANE)
    with pytest.raises(errors.UnsupportedFunctionError, match="leave axes out"):
        gc.compile(lambda a: signal.fftconvolve(a, a, axes=0))(PLANE)
