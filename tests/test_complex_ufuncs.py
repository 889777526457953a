"""Elementwise functions of complex numbers against NumPy: branch cuts, infinities, NaN, zeros."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc as gc
from graphc import errors
from graphc.trace.complex_ufuncs import COMPLEX_UFUNCS

INF, NAN = np.inf, np.nan
POINTS = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -2.0,
    INF,
    -INF,
    NAN,
    1e-30,
    1e30,
    -1e20,
    80.0,
    30.0,
    np.pi / 2,
]
GRID = np.array([complex(a, b) for a in POINTS for b in POINTS])
UNARY = [ufunc for ufunc in COMPLEX_UFUNCS if ufunc.nin == 1]
BINARY = [ufunc for ufunc in COMPLEX_UFUNCS if ufunc.nin == 2]
DTYPES = [np.complex64, np.complex128]

FUSED = {np.multiply, np.square}
"""NumPy may round once what is rounded twice here, so that one overflows and the other does not."""
LOOSE = {np.power: 1e3, np.float_power: 1e3}
"""Units of rounding by which NumPy itself may be away from the value."""


def ids(ufunc: Any) -> str:
    return str(ufunc.__name__)


def assert_close(got: Any, want: Any, units: float) -> None:
    """Within `units` roundings of the size of the number; NaN and signs of zeros as they are."""
    assert got.dtype == want.dtype
    if want.dtype == bool:
        np.testing.assert_array_equal(got, want)
        return
    unit = units * np.finfo(want.dtype).eps
    with np.errstate(all="ignore"):
        size = np.where(np.isfinite(want), np.abs(want), 0)
    for part in (np.real, np.imag):
        a, b = part(got), part(want)
        with np.errstate(all="ignore"):
            near = (
                (a == b)
                | (np.isnan(a) & np.isnan(b))
                | (np.abs(a - b) <= unit * (size + np.abs(b)))
            )
        assert near.all(), (got[~near][:4], want[~near][:4])


def random(dtype: Any, size: int = 500) -> np.ndarray:
    rng = np.random.default_rng(8)
    z = rng.normal(size=size) + 1j * rng.normal(size=size)
    return (z * 10 ** rng.uniform(-3, 1.5, size)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ufunc", UNARY, ids=ids)
def test_functions_of_one_number(ufunc: Any, dtype: Any) -> None:
    f = gc.compile(lambda z: ufunc(z))
    for z in (random(dtype), GRID.astype(dtype)):
        keep = np.ones(z.shape, bool) if ufunc not in FUSED else np.isfinite(z) & (np.abs(z) < 1e18)
        z = z[keep]
        with np.errstate(all="ignore"):
            want = ufunc(z)
        got = f(z)
        if ufunc is np.log1p:  # NumPy's has the error of 1 + z
            got, want = got + dtype(1), want + dtype(1)
        assert_close(got, want, 64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ufunc", BINARY, ids=ids)
def test_functions_of_two_numbers(ufunc: Any, dtype: Any) -> None:
    f = gc.compile(lambda z, w: ufunc(z, w))
    z = random(dtype)
    w = random(dtype)[::-1] * dtype(0.1)
    with np.errstate(all="ignore"):
        want = ufunc(z, w)
    assert_close(f(z, w), want, LOOSE.get(ufunc, 64))
    if ufunc in (np.power, np.float_power):
        return
    z, w = (np.ravel(x).astype(dtype) for x in np.meshgrid(GRID, GRID))
    if ufunc in FUSED:
        keep = np.isfinite(z) & np.isfinite(w) & (np.abs(z) < 1e18) & (np.abs(w) < 1e18)
        z, w = z[keep], w[keep]
    with np.errstate(all="ignore"):
        want = ufunc(z, w)
    assert_close(f(z, w), want, 64)


CUT = [np.sqrt, np.log, np.arcsin, np.arccos, np.arctan, np.arcsinh, np.arccosh, np.arctanh]


@pytest.mark.parametrize("ufunc", CUT, ids=ids)
def test_the_sign_of_a_zero_tells_the_sides_of_a_cut_apart(ufunc: Any) -> None:
    real = np.array([complex(x, y) for x in (-3.0, -0.5, 0.5, 3.0) for y in (0.0, -0.0)])
    turned = np.array([complex(x, y) for y in (-3.0, -0.5, 0.5, 3.0) for x in (0.0, -0.0)])
    for z in (real, turned):
        got, want = gc.compile(lambda z: ufunc(z))(z), ufunc(z)
        assert_close(got, want, 8)
        for part in (np.real, np.imag):
            zeros = (part(want) == 0) & (part(got) == 0)
            np.testing.assert_array_equal(
                np.signbit(part(got)[zeros]), np.signbit(part(want)[zeros])
            )


NUMBERS = st.complex_numbers(max_magnitude=1e3, allow_nan=False)
EXPONENTS = [2, 3, -1, -2, 0, 0.5, 1.5, 2.0, 1j, 0.3 - 1j]
COMPILED = gc.compile(lambda z: tuple(z**n for n in EXPONENTS))


@settings(deadline=None, max_examples=60)
@given(NUMBERS)
def test_powers(z: complex) -> None:
    array = np.array([z])
    for got, n in zip(COMPILED(array), EXPONENTS, strict=True):
        with np.errstate(all="ignore"):
            assert_close(got, array**n, 200)


FIELD = gc.compile(lambda z, w: (z + w, z - w, z * w, z / w, -z, abs(z), z == w, z.conj() * z))


@settings(deadline=None, max_examples=60)
@given(NUMBERS, NUMBERS)
def test_arithmetic(z: complex, w: complex) -> None:
    a, b = np.array([z, w, 1j]), np.array([w, w, z])
    with np.errstate(all="ignore"):
        want = (a + b, a - b, a * b, a / b, -a, abs(a), a == b, a.conj() * a)
    for got, value in zip(FIELD(a, b), want, strict=True):
        assert_close(got, value, 16)


def test_real_and_complex_operands_meet_as_in_numpy() -> None:
    x, n, z = np.float32([1.5, 2]), np.arange(2), np.complex64([1j, 2 - 1j])
    for f in (
        lambda x, n, z: x * z,
        lambda x, n, z: n + z,
        lambda x, n, z: x**z,
        lambda x, n, z: z / n,
    ):
        with np.errstate(all="ignore"):
            want = f(x, n, z)
            assert_close(gc.compile(f)(x, n, z), want, 200)


@pytest.mark.parametrize(
    "name", ["floor", "arctan2", "hypot", "fmod", "cbrt", "bitwise_and", "logaddexp"]
)
def test_functions_of_real_numbers_refuse_complex_ones(name: str) -> None:
    ufunc = getattr(np, name)
    with pytest.raises(errors.DTypeError, match=f"np.{name} cannot be traced on complex values"):
        gc.compile(lambda z: ufunc(*[z] * ufunc.nin))(GRID)
