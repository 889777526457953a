"""Floats of 16 bits: stored in f16 and bf16, computed in f32."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from running import all_results, build, compiled, fused, op

import graphc as gc
from graphc import errors
from graphc.ir import DTYPE_NAMES, NUMPY_DTYPES, Dense, Graph, Type
from graphc.rounding import FORMATS, nearest
from graphc.runtime.llvm.target import host_target
from graphc.runtime.step import Step

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
NARROW = [np.dtype(np.float16), BFLOAT16]


def random(
    dtype: np.dtype, shape: tuple[int, ...], seed: int = 0, scale: float = 1.5
) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.asarray(rng.normal(size=shape) * scale).astype(dtype)


def ulps(got: np.ndarray, exact: np.ndarray) -> float:
    """The largest error in units of the last place of the exact value."""
    digits, lowest, _ = FORMATS[DTYPE_NAMES[got.dtype]]
    exact = np.asarray(exact, np.float64)
    size = np.abs(np.where(exact == 0, 2.0**lowest, exact))
    unit = np.exp2(np.maximum(np.floor(np.log2(size)), lowest) - digits + 1)
    return float(np.max(np.abs(got.astype(np.float64) - exact) / unit))


# ---- values --------------------------------------------------------------------------------------

FUNCTIONS: dict[str, tuple[Callable[..., Any], int, float]] = {
    # function of x and y, kernels, error in units of the last place of the exact result
    "chain": (lambda x, y: np.tanh(x * y + 1) * np.exp(-x * x) + y / 2, 1, 0.51),
    "sigmoid": (lambda x, y: 1 / (1 + np.exp(-x)), 1, 0.51),
    "softmax": (
        lambda x, y: (
            np.exp(x - x.max(-1, keepdims=True))
            / np.exp(x - x.max(-1, keepdims=True)).sum(-1, keepdims=True)
        ),
        1,
        0.51,
    ),
    "logsumexp": (lambda x, y: np.log(np.sum(np.exp(x), -1)), 1, 0.51),
    "sum of rows": (lambda x, y: x.sum(-1), 1, 0.51),
    "sum of columns": (lambda x, y: x.sum(0), 1, 0.51),
    "mean": (lambda x, y: x.mean(), 1, 0.51),
    "variance": (lambda x, y: x.var(0), 1, 0.51),
    "chosen": (lambda x, y: np.where(x > y, x * 2, y * 3), 1, 0.51),
    "power": (lambda x, y: abs(x) ** 1.5, 1, 0.51),
    "gradient": (lambda x, y: gc.grad(lambda x: np.sum(x * y * y))(x), 1, 0.51),
    "product": (lambda x, y: x @ y.T, None, 0.6),
    "running sum": (lambda x, y: np.cumsum(x, -1), None, 0.51),
    "maximum": (lambda x, y: np.maximum(x, y).max(0), 1, 0.0),
    "sorted": (lambda x, y: np.sort(x, -1), None, 0.0),
    "moved": (lambda x, y: np.concatenate([x.T, y.T[:, ::-1]], 1), None, 0.0),
    "taken": (lambda x, y: x[[3, 1, 1]], 1, 0.0),
    "padded": (lambda x, y: np.pad(x, 1, constant_values=2.5), 1, 0.0),
}


@pytest.mark.parametrize("dtype", NARROW, ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_one_rounding_at_the_end_of_a_kernel(name: str, dtype: np.dtype) -> None:
    function, kernels, allowed = FUNCTIONS[name]
    x, y = random(dtype, (33, 65), 1), random(dtype, (33, 65), 2)
    step = gc.compile(function)
    got = step(x, y)
    assert got.dtype == dtype
    exact = gc.compile(function)(x.astype(np.float64), y.astype(np.float64))
    assert ulps(got, exact) <= allowed
    if kernels is not None:
        assert len(step.explain(x, y).kernels) == kernels


@pytest.mark.parametrize("function", [np.add, np.subtract, np.multiply, np.true_divide, np.sqrt])
@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_single_operations_are_those_of_numpy_bit_for_bit(function: Any, dtype: np.dtype) -> None:
    """f32 has more than twice as many digits: rounding its result once more is rounding once."""
    every = np.arange(2**16, dtype=np.uint16).view(dtype)
    given = [every, np.random.default_rng(0).permutation(every)][: function.nin]
    with np.errstate(all="ignore"):
        wanted = function(*given)
        got = gc.compile(lambda *xs: function(*xs))(*given)
    is_nan = np.isnan(wanted)
    np.testing.assert_array_equal(np.isnan(got), is_nan)
    np.testing.assert_array_equal(got.view(np.uint16)[~is_nan], wanted.view(np.uint16)[~is_nan])


def awkward(count: int) -> np.ndarray:
    """Numbers of every magnitude, and those at which rounding is decided by a last bit."""
    rng = np.random.default_rng(5)
    bits = rng.integers(0, 2**64, count, np.uint64, endpoint=False).view(np.float64)
    every = np.arange(2**16, dtype=np.uint16)
    with np.errstate(all="ignore"):
        values = np.concatenate([every.view(kind).astype(np.float64) for kind in NARROW])
        middles = (values[1:] + values[:-1]) / 2
        near = [np.nextafter(middles, end) for end in (-np.inf, np.inf)]
        single = [np.nextafter(middles.astype(np.float32), np.float32(e)) for e in (-9e30, 9e30)]
    powers = 10.0 ** rng.uniform(-50, 40, count)
    return np.concatenate([bits, powers, values, middles, *near, *single])


@pytest.mark.parametrize("has_half", [True, False], ids=["machine", "emulated"])
@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_conversions_round_once(dtype: np.dtype, has_half: bool) -> None:
    """From f64 too, where rounding to f32 in between would decide some ties wrongly."""
    target = host_target()
    target = target._replace(has_half=has_half and target.has_half)

    def run(graph: Graph, *arrays: np.ndarray) -> list[np.ndarray]:
        return all_results(Step(fused(graph), target=target), graph, arrays)

    name = DTYPE_NAMES[dtype]
    x = awkward(2000)
    with np.errstate(all="ignore"):
        single = x.astype(np.float32)
    types = [Type("f64", x.shape), Type("f32", x.shape)]
    graph = build(types, lambda *xs: [op("cast")(v, dtype=name) for v in xs])
    for given, got in zip((x, single), run(graph, x, single), strict=True):
        wanted = np.array([nearest(float(v), name) for v in given])
        same = (got.astype(np.float64) == wanted) & (
            np.signbit(got.astype(np.float64)) == np.signbit(wanted)
        )
        same |= np.isnan(got.astype(np.float64)) & np.isnan(wanted)
        assert same.all(), [(given[~same][:3], got[~same][:3], wanted[~same][:3])]
    every = np.arange(2**16, dtype=np.uint16).view(dtype)
    back = run(build([Type(name, every.shape)], lambda v: op("cast")(v, dtype="f32")), every)
    np.testing.assert_array_equal(back[0], every.astype(np.float32))


def test_what_is_compared_is_what_was_rounded() -> None:
    """Else an element would not be the maximum of its own row, and a gradient would be 0 / 0."""
    for dtype in NARROW:
        x, y = random(dtype, (40, 65), 3), random(dtype, (40, 65), 4)

        def hits(x: Any, y: Any) -> Any:
            z = x * y + x
            return (z == z.max(-1, keepdims=True)).sum(-1)

        assert (gc.compile(hits)(x, y) >= 1).all()
        slope = gc.grad(lambda x, y=y: np.sum(np.max(x * y + x, -1)))(x)
        assert np.isfinite(slope.astype(np.float32)).all()
        assert (np.count_nonzero(slope.astype(np.float32), -1) >= 1).all()


def test_a_cast_of_the_user_rounds() -> None:
    x = np.float32([1 + 2.0**-11, 1 + 2.0**-9])
    for dtype, wanted in ((np.dtype(np.float16), [1, 1 + 2.0**-9]), (BFLOAT16, [1, 1])):
        got = gc.compile(lambda x, d=dtype: x.astype(d).astype(np.float32) * 1.5)(x)
        np.testing.assert_array_equal(got, np.float32(wanted) * np.float32(1.5))


def test_large_sums_and_means() -> None:
    x = np.full(100_000, 2, np.float16)
    assert gc.compile(np.mean)(x) == 2
    assert gc.compile(np.sum)(x) == np.inf
    assert gc.compile(np.var)(x) == 0
    ones = np.ones(5000, BFLOAT16)
    assert gc.compile(np.sum)(ones) == np.asarray(5000).astype(BFLOAT16)


# ---- dtypes --------------------------------------------------------------------------------------


def test_promotion() -> None:
    half, brain = np.ones(2, np.float16), np.ones(2, BFLOAT16)
    add = gc.compile(lambda x, y: x + y)
    others = [np.ones(2, kind) for kind in NUMPY_DTYPES.values()]
    for other in others:
        assert add(half, other).dtype == (half + other).dtype
        if (other.dtype.kind in "fc" and other.itemsize > 2) or other.dtype in (bool, "i1", "u1"):
            assert add(brain, other).dtype == np.result_type(brain, other)
        else:
            with pytest.raises(errors.DTypeError, match="no dtype for both bf16 and"):
                add(brain, other)
    for x in (half, brain):
        for number in (2, 0.1, np.bool_(True)):
            assert add(x, number).dtype == x.dtype
            assert gc.compile(lambda x, n=number: n * x)(x).dtype == x.dtype
        assert gc.compile(lambda x: np.where(x > 0.5, x, 0.0))(x).dtype == x.dtype
    for kind, wanted in ((np.uint8, np.float16), (np.int16, np.float32), (bool, np.float16)):
        x = np.ones(3, kind)
        assert gc.compile(np.exp)(x).dtype == np.exp(x).dtype == wanted


def test_arguments_results_scalars_and_updates() -> None:
    for dtype in NARROW:
        scale = gc.compile(lambda x, s: x * s)
        x = random(dtype, (3,))
        got = scale(x, dtype.type(2))
        assert got.dtype == dtype
        np.testing.assert_array_equal(got.astype(float), x.astype(float) * 2)
        single = gc.compile(lambda x: x[0])(x)
        assert type(single) is dtype.type
        assert single == x[0]

        def step(w: Any, g: Any) -> None:
            w -= 0.5 * g

        w = x.copy()
        gc.compile(step)(w, x)
        np.testing.assert_array_equal(w, (x.astype(np.float32) / 2).astype(dtype))


def test_text_specs_and_constants() -> None:
    text = """graph f(%x: bf16[3], %h: f16[3]) {
  %a: bf16[3] = multiply(%x, 0.10009765625)
  %c: f16[3] = constant(value=dense(f16[3], [1.0, 0.1, -inf]))
  %d: f16[3] = add(%h, %c)
  return %a, %d, 0.1:f16[2]
}
"""
    graph = gc.parse(text)
    assert gc.parse(str(graph)) is not None
    assert str(gc.parse(str(graph))) == str(graph)
    x, h = random(BFLOAT16, (3,)), random(NARROW[0], (3,))
    for got, wanted in zip(compiled(graph)(x, h), gc.evaluate(graph, x, h), strict=True):
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted)
    assert gc.Spec((2,), "bf16") == gc.Spec((2,), BFLOAT16)
    table = random(BFLOAT16, (100,))
    assert str(gc.parse(str(gc.trace(lambda i: table[i], gc.Spec((4,), "u8"))))).count("dense(bf16")
    assert Dense(table) == Dense(table.copy())
    got = gc.compile(lambda i: np.asarray(table)[i])(np.uint8([1, 99]))
    np.testing.assert_array_equal(got, table[[1, 99]])


def test_what_has_no_16_bits_says_so() -> None:
    x = np.eye(3, dtype=np.float16)
    for function in (np.linalg.inv, np.linalg.cholesky):
        with pytest.raises(errors.DTypeError):
            gc.compile(function)(x)
    with pytest.raises(errors.DTypeError, match="nextafter takes f32, f64, not f16"):
        gc.compile(np.nextafter)(x, x)
    with pytest.raises(errors.ExternalError, match="numba has no f16"):
        gc.compile(lambda x: gc.elementwise(lambda v: v + 1)(x))(x)


def test_import_does_not_import_ml_dtypes() -> None:
    code = "import graphc, sys; assert 'ml_dtypes' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_ml_dtypes_the_error_names_it() -> None:
    code = (
        "import sys; sys.modules['ml_dtypes'] = None\n"
        "import numpy as np, graphc as gc\n"
        "try:\n"
        "    gc.compile(lambda x: x.astype('bf16'))(np.ones(3))\n"
        "except gc.errors.DTypeError as error:\n"
        "    assert 'graphc-compiler[bfloat16]' in str(error), error\n"
        "else:\n"
        "    raise AssertionError\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- loops, transformations, random numbers ------------------------------------------------------


@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_control_flow_carries_16_bits(dtype: np.dtype) -> None:
    x = random(dtype, (9,), 7)

    def f(x: Any, n: Any) -> Any:
        total = np.zeros_like(x)
        for _ in range(n):
            total = total * dtype.type(0.5) + x
        if total[0] > 0:
            total = -total
        return total

    got = gc.compile(f)(x, 5)
    wanted = x.astype(np.float64) * (1 + 0.5 + 0.25 + 0.125 + 0.0625)
    wanted = -wanted if wanted[0] > 0 else wanted
    assert ulps(got, wanted) <= 2
    summed = gc.compile(lambda x: gc.scan(lambda c, v: (c + v, c), dtype.type(0), x)[0])(x)
    assert summed.dtype == dtype


@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_transformations(dtype: np.dtype) -> None:
    a, b = random(dtype, (5, 7), 1), random(dtype, (5, 7), 2)
    rows = gc.compile(lambda a, b: gc.vmap(lambda u, v: np.tanh(u) @ v)(a, b))(a, b)
    exact = np.sum(np.tanh(a.astype(float)) * b.astype(float), -1)
    assert rows.dtype == dtype
    digits = FORMATS[DTYPE_NAMES[dtype]].digits
    assert np.abs(rows.astype(float) - exact).max() < 2.0 ** (3 - digits)
    value, change = gc.jvp(lambda x: np.sin(x) * x, (a,), (b,))
    wide, moved = a.astype(float), b.astype(float)
    assert value.dtype == change.dtype == dtype
    assert ulps(value, np.sin(wide) * wide) <= 0.51
    exact = (np.cos(wide) * wide + np.sin(wide)) * moved
    assert np.abs(change.astype(float) - exact).max() < 2.0 ** (4 - digits)


@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_random_numbers(dtype: np.dtype) -> None:
    key = gc.random.key(3)
    x = gc.random.uniform(key, (20_000,), dtype).astype(float)
    assert x.min() >= 0
    assert x.max() < 1
    assert abs(x.mean() - 0.5) < 0.01
    for draw in (gc.random.normal, gc.random.exponential):
        y = draw(key, (20_000,), dtype)
        assert y.dtype == dtype
        wanted = draw(key, (20_000,), np.float32).astype(dtype)
        np.testing.assert_array_equal(y, wanted)


def test_mixed_precision_training() -> None:
    """f32 weights, a bf16 forward pass: the loss falls as it does in f32 alone."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 20)).astype(np.float32)
    y = np.tanh(x @ rng.normal(size=(20, 3)).astype(np.float32))
    start = {
        "w": (rng.normal(size=(20, 32)) * 0.2).astype(np.float32),
        "v": (rng.normal(size=(32, 3)) * 0.2).astype(np.float32),
    }

    def loss(weights: Any, x: Any, y: Any, dtype: Any) -> Any:
        w, v, x = (part.astype(dtype) for part in (weights["w"], weights["v"], x))
        out = np.tanh(x @ w) @ v
        return np.mean((out.astype(np.float32) - y) ** 2)

    def train(dtype: Any) -> list[float]:
        @gc.compile
        def step(weights: Any, x: Any, y: Any) -> Any:
            value, slopes = gc.value_and_grad(lambda p: loss(p, x, y, dtype))(weights)
            return value, {k: weights[k] - 0.5 * slopes[k] for k in weights}

        weights, values = start, []
        for _ in range(60):
            value, weights = step(weights, x, y)
            values.append(float(value))
            assert all(w.dtype == np.float32 for w in weights.values())
        return values

    single, brain, half = train(np.float32), train(BFLOAT16), train(np.float16)
    assert single[-1] < 0.3 * single[0]
    assert abs(brain[-1] - single[-1]) < 0.05 * single[0]
    assert abs(half[-1] - single[-1]) < 0.01 * single[0]


def test_rounding_alone_is_a_kernel() -> None:
    """What it reads is what it gives, but for the rounding that nobody needs."""
    x = random(np.dtype(np.float32), (9,))
    narrowed = gc.parse(
        "graph f(%x: f32[9]) {\n"
        '  %a: f16[9] = narrow(%x, dtype="f16")\n'
        "  %b: f32[9] = widen(%a)\n"
        "  return %b\n}\n"
    )
    np.testing.assert_array_equal(compiled(narrowed)(x)[0], x.astype(np.float16))


@pytest.mark.parametrize("function", ["fft", "rfft", "irfft"])
def test_fourier_transforms_are_computed_in_single_precision(function: str) -> None:
    x = random(np.dtype(np.float16), (8,))
    transform = getattr(np.fft, function)
    got, wanted = gc.compile(lambda x: transform(x))(x), transform(x)
    assert got.dtype == wanted.dtype
    np.testing.assert_allclose(got, wanted, rtol=2e-3, atol=2e-3)
