"""scipy.fft on traced arrays: against scipy, with gradients."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft as fft
from scipy_checks import check_gradients, check_values

import graphc as gc
from graphc import errors

rng = np.random.default_rng(2)
LINE, PLANE = rng.normal(size=9), rng.normal(size=(5, 6))
COMPLEX = PLANE + 1j * rng.normal(size=(5, 6))


def test_those_of_numpy() -> None:
    check_values(
        lambda x, z: [
            fft.fft(x),
            fft.ifft(z, axis=0, workers=1),
            fft.rfftn(z.real),
            fft.irfft(z),
            fft.fftn(z, norm="ortho"),
            fft.fftshift(x),
        ],
        LINE,
        COMPLEX,
    )


@pytest.mark.parametrize("norm", [None, "ortho", "forward"])
def test_hermitian_ones(norm: str | None) -> None:
    def f(z):
        return [
            fft.hfft2(z, norm=norm),
            fft.hfftn(z, norm=norm),
            fft.hfftn(z, s=(4,), norm=norm),
            fft.hfftn(z, axes=(1, 0), norm=norm),
            fft.ihfft2(z.real, norm=norm),
            fft.ihfftn(z.imag, norm=norm),
        ]

    check_values(f, COMPLEX)
    check_gradients(lambda x: [fft.hfft2(x + 1j * x), fft.ihfftn(x).imag], PLANE)


@pytest.mark.parametrize("name", ["dct", "idct", "dst", "idst"])
def test_cosines_and_sines(name: str) -> None:
    function = getattr(fft, name)

    def f(x, a):
        return [
            *(function(x, type, norm=norm) for type in (1, 2, 3, 4) for norm in (None, "ortho")),
            function(a, axis=0),
            function(a, n=4),
            function(x, n=12),
        ]

    check_values(f, LINE, PLANE)
    check_gradients(f, LINE, PLANE)


def test_long_ones_say_what_to_do() -> None:
    with pytest.raises(errors.UnsupportedFunctionError, match=r"write it with np\.fft\.rfft"):
        gc.compile(lambda x: fft.dct(x))(np.zeros(2000))
