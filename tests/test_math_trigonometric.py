"""Trigonometric rows: error in ULP against a wider reference, and IEEE's special cases."""

from collections.abc import Iterator

import mpmath
import numpy as np
import pytest
from scalar_rows import Kernel, Row, bit_patterns, compile_rows, pairs

from graphc.ir import NUMPY_DTYPES
from graphc.runtime.llvm.math import _angles

# The errors stated in the docstrings, and a little.
BOUNDS = {
    "sin": 1.75,
    "cos": 1.75,
    "tan": 3.1,
    "arcsin": 2.1,
    "arccos": 1.25,
    "arctan": 1.25,
    "arctan2": 1.6,
}
PERIODIC = ("sin", "cos", "tan")
LANES = [1, 4, 8, 16]
EXACT = {
    **{name: getattr(mpmath, name) for name in PERIODIC},
    "arcsin": mpmath.asin,
    "arccos": mpmath.acos,
    "arctan": mpmath.atan,
    "arctan2": mpmath.atan2,
}
HUGE_EXPONENT = {"f32": (16, 128), "f64": (30, 1024)}


def rows_of(dtype: str) -> list[Row]:
    return [Row(op, (dtype,) * (2 if op == "arctan2" else 1), dtype) for op in BOUNDS]


def kernels(dtype: str, lanes: int, flags: str = "") -> dict[str, Kernel]:
    return dict(zip(BOUNDS, compile_rows(rows_of(dtype), lanes, flags), strict=True))


def ulps(got: np.ndarray, exact: np.ndarray) -> float:
    """The largest error; `exact` has a wider type, whose rounding is not seen in the result."""
    info = np.finfo(got.dtype)
    _, exponent = np.frexp(exact)
    unit = np.ldexp(1.0, np.maximum(exponent - 1, info.minexp) - info.nmant)
    assert np.array_equal(np.isnan(got), np.isnan(exact))
    return float(np.nanmax(np.abs(got.astype(exact.dtype) - exact) / unit, initial=0.0))


def samples(op: str, dtype: str, size: int) -> Iterator[np.ndarray]:
    """Everywhere that the function is defined, and where it is hard."""
    rng = np.random.default_rng(size)
    kind = NUMPY_DTYPES[dtype]
    low, high = HUGE_EXPONENT[dtype]
    sign = rng.choice([-1.0, 1.0], size)
    yield rng.uniform(-1, 1, size).astype(kind)
    yield (np.exp2(rng.uniform(-40, 0, size)) * sign).astype(kind)
    yield (1 - np.exp2(rng.uniform(-24, -1, size))).astype(kind)
    if op in ("arcsin", "arccos"):
        return
    yield rng.uniform(-10, 10, size).astype(kind)
    yield rng.uniform(-(2.0**low), 2.0**low, size).astype(kind)
    yield (2.0**low * rng.uniform(0.99, 1.01, size)).astype(kind)
    yield (np.arange(1, size + 1) * (np.pi / 2)).astype(kind)
    yield (np.exp2(rng.uniform(low, high - 0.001, size)) * sign).astype(kind)
    random = bit_patterns(dtype, size, 5)
    yield random[np.isfinite(random)]


def operands(op: str, dtype: str, size: int) -> Iterator[tuple[np.ndarray, ...]]:
    rng = np.random.default_rng(1)
    for x in samples(op, dtype, size):
        if op != "arctan2":
            yield (x,)
            continue
        yield (x, rng.permutation(x) * rng.choice([-1, 1], x.size).astype(x.dtype))
        with np.errstate(over="ignore"):
            yield (x, x * rng.uniform(-3, 3, x.size).astype(x.dtype))


def in_f64(op: str, arrays: tuple[np.ndarray, ...]) -> np.ndarray:
    return getattr(np, op)(*(a.astype(np.float64) for a in arrays))


@pytest.mark.parametrize("op", BOUNDS)
def test_f32_error(op):
    kernel = kernels("f32", 16)[op]
    for arrays in operands(op, "f32", 50_000):
        assert ulps(kernel(*arrays), in_f64(op, arrays)) <= BOUNDS[op]


def ulps_by_mpmath(op: str, got: np.ndarray, arrays: tuple[np.ndarray, ...]) -> float:
    """As `ulps`, for f64.  The precision is for reducing 2**1024 modulo pi."""
    worst = 0.0
    with mpmath.workprec(1250 if op in PERIODIC else 120):
        for value, *args in zip(got, *arrays, strict=True):
            exact = EXACT[op](*(mpmath.mpf(float(a)) for a in args))
            unit = np.ldexp(1.0, max(mpmath.frexp(exact)[1] - 1, -1022) - 52)
            assert np.isfinite(value), (op, args)
            worst = max(worst, float(abs(mpmath.mpf(float(value)) - exact) / mpmath.mpf(unit)))
    return worst


@pytest.mark.parametrize("op", BOUNDS)
def test_f64_error(op):
    kernel = kernels("f64", 8)[op]
    for arrays in operands(op, "f64", 500):
        assert ulps_by_mpmath(op, kernel(*arrays), arrays) <= BOUNDS[op]


NEAREST_TO_A_MULTIPLE = {
    "f32": [16367173.0 * 2.0**72, 16367173.0 * 2.0**73],
    "f64": [6381956970095103.0 * 2.0**797, 6381956970095103.0 * 2.0**798],
}
"""The number of each type that is nearest to a multiple of pi/2, and twice that number."""


@pytest.mark.parametrize("op", PERIODIC)
@pytest.mark.parametrize("dtype", NEAREST_TO_A_MULTIPLE)
def test_hardest_angles(dtype, op):
    x = np.array(NEAREST_TO_A_MULTIPLE[dtype], NUMPY_DTYPES[dtype])
    got = kernels(dtype, 4)[op](x)
    with mpmath.workprec(1250):
        exact = [EXACT[op](mpmath.mpf(float(v))) for v in x]
    for value, truth in zip(got, exact, strict=True):
        assert abs(float(value) / float(truth) - 1) <= BOUNDS[op] * np.finfo(x.dtype).eps


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_lanes_agree(dtype, lanes):
    """The slow path of a lane does not touch its neighbours."""
    wide = kernels(dtype, 8)
    for op, kernel in kernels(dtype, lanes).items():
        for arrays in operands(op, dtype, 100):
            mixed = tuple(np.concatenate([a, a[::-1]]) for a in arrays)
            np.testing.assert_array_equal(kernel(*mixed), wide[op](*mixed))


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_special_cases(dtype):
    kind = NUMPY_DTYPES[dtype]
    info = np.finfo(kind)
    positive = [0, np.inf, np.nan, 1, 0.5, 2, info.max, info.tiny, info.smallest_subnormal, 1.5]
    x = np.array([*positive, *(-v for v in positive)], kind)
    x = np.concatenate([x, np.nextafter(x, kind.type(0)), np.nextafter(x, kind.type(4))])
    for op, kernel in kernels(dtype, 8).items():
        arrays = pairs(x) if op == "arctan2" else (x,)
        with np.errstate(all="ignore"):
            expected = getattr(np, op)(*arrays)
        got = kernel(*arrays)
        np.testing.assert_allclose(got, expected, rtol=4 * info.eps, atol=0, err_msg=op)
        same_sign = (np.signbit(got) == np.signbit(expected)) | np.isnan(got)
        assert same_sign.all(), (op, [a[~same_sign] for a in arrays])


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("op", ["sin", "cos"])
def test_never_beyond_one(op, dtype):
    x = (np.arange(200_000) * (np.pi / 2)).astype(NUMPY_DTYPES[dtype])
    assert np.abs(kernels(dtype, 8)[op](x)).max() == 1.0


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_fast_math_stays_out(dtype):
    plain, fast = kernels(dtype, 8), kernels(dtype, 8, "reassoc nsz arcp contract")
    for op in BOUNDS:
        for arrays in operands(op, dtype, 200):
            np.testing.assert_array_equal(fast[op](*arrays), plain[op](*arrays))


def test_digits_of_inverse_pi():
    digits = _angles.inverse_pi_digits()
    with mpmath.workprec(1300):
        base = mpmath.mpf(2) ** _angles.DIGIT_BITS
        total = sum(mpmath.mpf(d) * base ** (1 - i) for i, d in enumerate(digits))
        assert abs(total - 1 / mpmath.pi) < base ** -(_angles.DIGITS - 1)
    assert max(map(abs, digits)) <= 0.5
