"""Integers of every width: NumPy's promotion, wrap-around and corner cases, compiled."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc as gc
from graphc import errors
from graphc.ir import INT_RANGES, NUMPY_DTYPES

DTYPES = sorted(INT_RANGES)

BINARY = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "floor_divide": np.floor_divide,
    "remainder": np.remainder,
    "fmod": np.fmod,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "left_shift": np.left_shift,
    "right_shift": np.right_shift,
    "gcd": np.gcd,
    "true_divide": np.true_divide,
}
COMPARISONS = (np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal)
UNARY = (np.negative, np.absolute, np.sign, np.square, np.invert)


def draw(dtype: str, size: int = 67) -> np.ndarray:
    """Every magnitude, the ends of the range and small numbers."""
    least, most = INT_RANGES[dtype]
    rng = np.random.default_rng(least % 97)
    kind = NUMPY_DTYPES[dtype]
    x = rng.integers(least, most, size, kind.type, endpoint=True)
    x[1::3] >>= kind.type(kind.itemsize * 4)
    x[:6] = [least, most, 0, 1, 2, 3]
    rng.shuffle(x)
    return x


def same(got: Any, wanted: Any, what: object = "") -> None:
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert got.dtype == wanted.dtype, what
    np.testing.assert_array_equal(got, wanted, err_msg=str(what))


@pytest.mark.parametrize("left", DTYPES)
def test_pairs_of_dtypes(left: str) -> None:
    rights = [draw(right)[::-1].copy() for right in DTYPES]
    x = draw(left)
    pairs = [
        (function, i)
        for i, right in enumerate(rights)
        for name, function in BINARY.items()
        if np.result_type(x, right).kind != "f" or name in ("add", "multiply", "true_divide")
    ] + [(function, i) for function in COMPARISONS for i in range(len(rights))]

    def every(x: Any, rights: Any) -> Any:
        return [function(x, rights[i]) for function, i in pairs]

    with np.errstate(all="ignore"):
        wanted = every(x, rights)
    for (function, i), got, expected in zip(
        pairs, gc.compile(every)(x, rights), wanted, strict=True
    ):
        same(got, expected, (function.__name__, left, DTYPES[i]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_dtype(dtype: str) -> None:
    def every(x: Any) -> Any:
        square = x[:64].reshape(8, 8)
        return [
            *(function(x) for function in UNARY),
            *(x.astype(kind) for kind in NUMPY_DTYPES.values()),
            *(x.sum(), x.prod(), x.max(), x.min(), x.argmax(), x.argmin(), x.mean()),
            *(square.sum(0), square.max(1), square.cumsum(1), square.cumprod(0)),
            *(np.sort(x), np.argsort(x, kind="stable"), np.sort(square, -1), np.median(x)),
            *(square @ square.T, x @ x, np.dot(square, square), np.trace(square)),
            *(x + 3, 3 - x, x * 2, x // 3, x % 7, x >> 1, x << 2, x**2, x**3, 100 // x, x / 4),
            *(x < 100, x >= -7, x == 2**63, x != 300, -1 < x, 2**64 - 1 > x),
            *(np.where(x > 3, x, 7), np.clip(x, 1, 5), np.where(x > 3, x, 0.5), np.fmod(x, 5)),
        ]

    for x in (draw(dtype), draw(dtype, 1000)):
        with np.errstate(all="ignore"):
            wanted = every(x)
        for i, (got, expected) in enumerate(zip(gc.compile(every)(x), wanted, strict=True)):
            if np.asarray(expected).dtype.kind == "f":
                assert got.dtype == expected.dtype
                np.testing.assert_allclose(got, expected, rtol=1e-13)
            else:
                same(got, expected, (i, dtype))


@st.composite
def programs(draw: Any) -> list[tuple[str, int, int]]:
    """Steps, each on two of the values so far."""
    count = draw(st.integers(1, 8))
    names = st.sampled_from(sorted(set(BINARY) - {"true_divide"}))
    return [
        (draw(names), draw(st.integers(0, 3 + i)), draw(st.integers(0, 3 + i)))
        for i in range(count)
    ]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(DTYPES), min_size=4, max_size=4), programs(), st.integers(0, 999))
def test_random_programs_wrap_around_as_numpy(
    dtypes: list[str], steps: list[tuple[str, int, int]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    arrays = [rng.permutation(draw(dtype))[:19] for dtype in dtypes]

    def program(arrays: Any) -> Any:
        values = list(arrays)
        for name, i, j in steps:
            x, y = values[i], values[j]
            if np.result_type(x.dtype, y.dtype).kind == "f":  # of u64 and a signed integer
                y = y.astype(x.dtype)
            values.append(BINARY[name](x, y))
        return values[len(arrays) :]

    with np.errstate(all="ignore"):
        wanted = program(arrays)
    for got, expected, step in zip(gc.compile(program)(arrays), wanted, steps, strict=True):
        same(got, expected, step)


def test_python_integers_are_checked_against_the_dtype() -> None:
    x = np.arange(4, dtype=np.uint8)
    for wrong in (256, -1):
        with pytest.raises(errors.IntegerRangeError, match=f"{wrong} out of bounds for u8"):
            gc.trace(lambda x, n=wrong: x + n, x)
        with pytest.raises(OverflowError, match=f"Python integer {wrong} out of bounds for uint8"):
            gc.compile(lambda x, n: x + n)(x, wrong)
        with pytest.raises(OverflowError):
            x + wrong
    same(gc.compile(lambda x, n: x + n)(x, 255), x + 255)
    y = np.array([0, 2**63, 2**64 - 1], np.uint64)
    with pytest.raises(OverflowError, match="Python integer -1 out of bounds for uint64"):
        gc.compile(lambda y, n: y + n)(y, -1)
    same(gc.compile(lambda y: y + (2**64 - 1))(y), y + (2**64 - 1))


def test_comparisons_with_python_integers_are_by_value() -> None:
    for dtype, number in itertools.product(DTYPES, (-1, 0, 127, 300, 2**31, 2**63)):
        x = draw(dtype)
        for function in COMPARISONS:
            same(gc.compile(lambda x, f=function, n=number: f(x, n))(x), function(x, number))
            if number < 2**63:
                same(gc.compile(lambda x, n, f=function: f(x, n))(x, number), function(x, number))


def test_scalars_of_every_dtype_go_in_and_out() -> None:
    step = gc.compile(lambda x: (x, x + x))
    for dtype in DTYPES:
        for number in INT_RANGES[dtype]:
            x = NUMPY_DTYPES[dtype].type(number)
            with np.errstate(over="ignore"):
                for got, wanted in zip(step(x), (x, x + x), strict=True):
                    assert type(got) is type(wanted)
                    assert got == wanted


def test_images() -> None:
    """Bytes are widened in the kernel that computes with them, and tables are read by bytes."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (33, 47, 3), np.uint8)
    mean, deviation = np.float32([0.4, 0.5, 0.6]), np.float32([0.2, 0.3, 0.2])
    table = rng.normal(size=256).astype(np.float32)

    def normalised(image: Any) -> Any:
        return (image.astype(np.float32) / 255 - mean) / deviation

    step = gc.compile(normalised)
    np.testing.assert_allclose(step(image), normalised(image), rtol=1e-6, atol=1e-6)
    report = step.explain(image)
    assert [kernel.bytes for kernel in report.kernels] == [image.nbytes * 5 + 24]
    same(gc.compile(lambda i: table[i])(image), table[image])
    same(
        gc.compile(lambda i: np.bincount(i.ravel(), minlength=256))(image),
        np.bincount(image.ravel(), minlength=256),
    )
    same(gc.compile(lambda i: 255 - i)(image), 255 - image)
    same(gc.compile(lambda i: (i >> 4) | (i << 4))(image), (image >> 4) | (image << 4))
    labels = image[0, :, 0] % np.uint8(10)
    same(
        gc.compile(lambda c: (c[:, None] == np.arange(10, dtype=np.uint8)).astype(np.uint8))(
            labels
        ),
        (labels[:, None] == np.arange(10, dtype=np.uint8)).astype(np.uint8),
    )


def test_in_place_and_loops() -> None:
    def f(x: Any, n: Any) -> Any:
        total = np.zeros(x.shape, np.uint8)
        for _ in range(n):
            total += x * np.uint8(3)
            total[0] = 250
        x[1:3] += 200
        return total

    x = np.arange(5, dtype=np.uint8)
    y = x.copy()
    with np.errstate(over="ignore"):
        same(gc.compile(f)(x, 4), f(y, 4))
    same(x, y)


def test_gradient_through_a_table_read_by_bytes() -> None:
    image = np.array([0, 3, 255, 3], np.uint8)
    table = np.linspace(-1, 1, 256)
    slope = gc.grad(lambda table: np.sum(table[image] ** 2))(table)
    wanted = np.zeros(256)
    np.add.at(wanted, image, 2 * table[image])
    np.testing.assert_allclose(slope, wanted)


def test_functions_that_compute_in_floats_convert_first() -> None:
    """Differences and signs of unsigned integers would wrap around."""
    x = np.array([6, 2, 1, 4], np.uint8)
    functions = [
        lambda x: np.logaddexp.reduce(x.astype(np.uint16)),
        lambda x: np.linspace(x[0], x[1], 5, retstep=True)[1],
        lambda x: np.linspace(x, x[::-1], 5),
        lambda x: np.poly(x),
    ]
    for function in functions:
        got, wanted = gc.compile(lambda x, f=function: f(x))(x), function(x)
        assert got.dtype == wanted.dtype
        np.testing.assert_allclose(got, wanted, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_unwrap_takes_differences_in_the_dtype_itself(dtype: type) -> None:
    x = np.array([1, 250, 3, 200, 90], np.int16).astype(dtype) * dtype(111)
    np.testing.assert_allclose(gc.compile(np.unwrap)(x), np.unwrap(x), rtol=1e-12)


@pytest.mark.parametrize("name", ["add", "subtract", "maximum"])
def test_floats_are_not_added_at_places_of_integers(name: str) -> None:
    def change(x, k):  # type: ignore[no-untyped-def]
        getattr(np, name).at(x, k, 1.5)
        return x

    with pytest.raises(gc.errors.DTypeError, match=rf"np\.{name}\.at puts f64 into an array of u8"):
        gc.compile(change)(np.zeros(3, np.uint8), np.array([0, 1]))
