"""The exponential family of vector functions against references of higher precision."""

import ctypes
import functools
import math
import re

import mpmath
import numpy as np
import pytest

from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.jit import Machine, compile_text
from graphc.runtime.llvm.math import exponential, hyperbolic, special
from graphc.runtime.llvm.module import Module
from graphc.runtime.llvm.registers import Reg, constant

TABLE = {**exponential.TABLE, **hyperbolic.TABLE, **special.TABLE}
NAMES = sorted(TABLE)
DTYPES = {"float": np.dtype(np.float32), "double": np.dtype(np.float64)}
LANES = {"float": 16, "double": 8}
FAST = "reassoc nsz arcp contract"
both_precisions = pytest.mark.parametrize("elem", DTYPES)


# ---- running -----------------------------------------------------------------------------------


@functools.cache
def compiled(elem: str, lanes: int) -> Machine:
    """A loop over arrays for every function, in one module, under the user's fast-math flags."""
    module = Module()
    for name, rule in TABLE.items():
        pointers = [Reg(f"%p{i}", "ptr") for i in range(operand_count(name) + 1)]
        count = Reg("%count", "i64")
        f = Function(module, name, [*pointers, count], linkage="", flags=FAST)
        with f.loop(constant(0, "i64"), count, lanes) as loop:
            addresses = [f.offset(pointer, elem, loop.index) for pointer in pointers]
            operands = [f.load(address, elem, lanes) for address in addresses[:-1]]
            f.store(rule(f, *operands), addresses[-1])
        f.line("ret void")
        module.add(f)
    names = re.sub(r"@(\w+)\(ptr", rf"@\1_{elem}_{lanes}(ptr", str(module))
    return compile_text(names)


def operand_count(name: str) -> int:
    return 2 if name in ("power", "hypot") else 1


def run(name: str, elem: str, *operands, lanes: int | None = None) -> np.ndarray:
    lanes = lanes or LANES[elem]
    dtype, size = DTYPES[elem], len(operands[0])
    padded = [np.pad(np.asarray(x, dtype), (0, -size % lanes)) for x in operands]
    result = np.empty_like(padded[0])
    signature = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (len(operands) + 1), ctypes.c_int64)
    kernel = signature(compiled(elem, lanes).address(f"{name}_{elem}_{lanes}"))
    kernel(*(x.ctypes.data for x in padded), result.ctypes.data, len(result))
    return result[:size]


# ---- references --------------------------------------------------------------------------------

EXTENDED = np.finfo(np.longdouble).nmant >= 63

MPMATH = {
    "exp": mpmath.exp, "exp2": lambda x: mpmath.power(2, x), "expm1": mpmath.expm1,
    "log": mpmath.log, "log1p": mpmath.log1p, "log2": lambda x: mpmath.log(x, 2),
    "log10": mpmath.log10, "power": mpmath.power,
    "cbrt": lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)),
    "sinh": mpmath.sinh, "cosh": mpmath.cosh, "tanh": mpmath.tanh,
    "arcsinh": mpmath.asinh, "arccosh": mpmath.acosh, "arctanh": mpmath.atanh,
    "erf": mpmath.erf, "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)), "hypot": mpmath.hypot,
}  # fmt: skip


def numpy_function(name: str):
    """The function at whatever precision its arrays have (erf: f64)."""
    if name == "erf":
        return lambda x: np.vectorize(math.erf, otypes=[float])(x.astype(float))
    if name == "sigmoid":
        return lambda x: np.where(x < 0, np.exp(x) / (1 + np.exp(x)), 1 / (1 + np.exp(-x)))
    if name == "softplus":
        return lambda x: np.logaddexp(x, 0)
    return getattr(np, name)


def reference(name: str, operands) -> tuple[np.ndarray, np.ndarray]:
    """Exact enough results as high + low, both f64."""
    with np.errstate(all="ignore"):
        if operands[0].dtype == np.float32:
            high = numpy_function(name)(*[x.astype(float) for x in operands])
            return high, np.zeros_like(high)
        if EXTENDED and name != "erf":
            exact = numpy_function(name)(*[x.astype(np.longdouble) for x in operands])
            high = exact.astype(float)
            return high, np.where(np.isfinite(high), exact - high, 0).astype(float)
        high = numpy_function(name)(*operands)
    low = np.zeros_like(high)
    with mpmath.workprec(100):
        for i in np.flatnonzero(np.isfinite(high) & (high != 0)):
            exact = MPMATH[name](*[mpmath.mpf(float(x[i])) for x in operands])
            high[i] = float(exact)
            low[i] = float(exact - high[i])
    return high, low


def same_kind(got: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Where NaN, infinity and the sign agree."""
    nan = np.isnan(expected)
    signs = (np.signbit(got) == np.signbit(expected)) & (np.isinf(got) == np.isinf(expected))
    return (np.isnan(got) == nan) & (nan | signs)


def ulp_errors(got: np.ndarray, high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """0 where the result is not finite: `same_kind` judges those."""
    with np.errstate(all="ignore"):
        expected = high.astype(got.dtype)
        error = np.abs((got.astype(float) - high) - low)
        return np.where(np.isfinite(expected), error / np.spacing(np.abs(expected)), 0.0)


def stated_bound(name: str, elem: str) -> float:
    found = re.search(r"Error ([\d.]+) / ([\d.]+) ULP", TABLE[name].__doc__)
    return float(found.group(1 + list(DTYPES).index(elem)))


# ---- arguments ---------------------------------------------------------------------------------

CENTRES = (0, 0.25, 0.5, 1, 2, 10, 0.3466, 0.6931, 1.4142, 9, 19, 30)
THRESHOLDS = {
    "float": (88.7228, -87.3365, -103.972, 89.4160, 128, -126, -149, 9.0109, 17.329, 3.92),
    "double": (709.7827, -708.3964, -745.1332, 710.4758, 1024, -1022, -1074, 19.06, 37.43, 5.92),
}


def sample(elem: str, count: int, seed: int) -> np.ndarray:
    """All magnitudes, and more where functions bend, overflow, underflow or lose digits."""
    rng = np.random.default_rng(seed)
    dtype = DTYPES[elem]
    raw = np.frombuffer(rng.bytes(count * dtype.itemsize), dtype)
    top = 1.02 * max(np.abs(THRESHOLDS[elem][:7]))
    spreads = [rng.uniform(-top, top, count), rng.uniform(-6, 6, count), rng.uniform(-1, 1, count)]
    spreads.append(rng.choice([-1, 1], count) * np.exp(rng.uniform(-20, 20, count)))
    for centre in CENTRES + THRESHOLDS[elem]:
        width = np.exp(rng.uniform(-12, 0, count // 20))
        near = centre + width * rng.standard_normal(count // 20)
        spreads += [near, -near]
    with np.errstate(all="ignore"):
        return np.concatenate([raw, *spreads]).astype(dtype)


def arguments(name: str, elem: str) -> tuple[np.ndarray, ...]:
    slow = elem == "double" and (name == "erf" or not EXTENDED)
    count = 800 if slow else {"float": 10_000, "double": 3_000}[elem]
    x = sample(elem, count, seed=1)
    if operand_count(name) == 1:
        return (x,)
    if name == "hypot":  # of one size, and of any two
        y = sample(elem, count, seed=5)
        with np.errstate(all="ignore"):
            return np.concatenate([x, x]), np.concatenate([x * y[::-1].clip(-2, 2), y])
    rng = np.random.default_rng(2)
    base = np.abs(sample(elem, count, seed=3))
    with np.errstate(all="ignore"):  # exponents that spread the results over the whole range
        within = np.log(np.finfo(base.dtype).max.astype(float)) * 1.2
        y = rng.uniform(-within, within, len(base)) / np.log(base.astype(float))
        return (
            np.concatenate([x, base, np.round(6 * sample(elem, count, 4))]),
            np.concatenate([rng.permutation(x), y, rng.integers(-40, 40, len(x))]).astype(x.dtype),
        )


def specials(elem: str) -> np.ndarray:
    info = np.finfo(DTYPES[elem])
    positive = [
        0, info.smallest_subnormal, 3 * info.smallest_subnormal, info.tiny, info.tiny / 4,
        info.max, np.inf, np.nan, 0.5, 1, 1 + info.eps, 1 - info.epsneg, 1.5, 2, 2.5, 3, 10, 1000,
        2.0**info.nmant - 1, 2.0**info.nmant + 1, 2.0 ** (info.nmant + 1) - 1, 2.0**62, 1e30,
        *np.abs(THRESHOLDS[elem]),
    ]  # fmt: skip
    values = np.array(positive, DTYPES[elem])
    return np.concatenate([values, -values])


# ---- tests -------------------------------------------------------------------------------------


@both_precisions
@pytest.mark.parametrize("name", NAMES)
def test_stated_error_holds_over_the_whole_range(name, elem):
    operands = arguments(name, elem)
    got = run(name, elem, *operands)
    high, low = reference(name, operands)
    with np.errstate(all="ignore"):
        alike = same_kind(got, high.astype(got.dtype))
    assert alike.all(), [tuple(x[~alike][:3] for x in (*operands, got, high))]
    errors = ulp_errors(got, high, low)
    worst = int(np.argmax(errors))
    assert errors[worst] <= stated_bound(name, elem), [float(x[worst]) for x in (*operands, got)]


@both_precisions
@pytest.mark.parametrize("name", NAMES)
def test_special_values_are_those_of_numpy(name, elem):
    operands: tuple[np.ndarray, ...] = (specials(elem),)
    if operand_count(name) == 2:
        operands = tuple(grid.ravel() for grid in np.meshgrid(specials(elem), specials(elem)))
    got = run(name, elem, *operands)
    with np.errstate(all="ignore"):
        expected = numpy_function(name)(*operands).astype(got.dtype)
        close = np.abs(got / expected - 1) <= 4 * np.finfo(got.dtype).eps
        steps = np.abs(got - expected) <= 2 * np.finfo(got.dtype).smallest_subnormal
    alike = same_kind(got, expected) & (close | steps | ~np.isfinite(expected))
    assert alike.all(), [tuple(x[~alike][:5] for x in (*operands, got, expected))]


@both_precisions
@pytest.mark.parametrize("lanes", [1, 4, 8, 16])
def test_every_number_of_lanes_gives_the_same_bits(elem, lanes):
    for name in NAMES:
        operands = tuple(x[::7] for x in arguments(name, elem))
        expected = run(name, elem, *operands)
        np.testing.assert_array_equal(run(name, elem, *operands, lanes=lanes), expected, name)


@both_precisions
def test_exact_results_are_exact(elem):
    info = np.finfo(DTYPES[elem])
    powers = np.arange(info.minexp - info.nmant, info.maxexp)
    np.testing.assert_array_equal(run("exp2", elem, powers), np.ldexp(1.0, powers))
    np.testing.assert_array_equal(run("log2", elem, np.ldexp(1.0, powers)), powers)
    tens = np.arange(11 if elem == "float" else 23)
    np.testing.assert_array_equal(run("log10", elem, 10.0**tens), tens)
    roots = np.arange(-100, 101)
    np.testing.assert_array_equal(run("cbrt", elem, roots**3), roots)


@both_precisions
def test_small_integer_powers_are_exact(elem):
    fits = 2 ** (np.finfo(DTYPES[elem]).nmant + 1)
    cases = [(x, y) for x in range(-60, 61) for y in range(25) if abs(x) ** y <= fits]
    expected = np.array([float(x**y) for x, y in cases])
    np.testing.assert_array_equal(run("power", elem, *np.transpose(cases)), expected)


def test_fast_math_flags_are_put_aside_and_restored():
    module = Module()
    x = Reg("%x", "float", 4)
    f = Function(module, "f", [x], flags=FAST)
    for name, rule in TABLE.items():
        rule(f, *[x] * operand_count(name))
        assert f.flags == FAST
    assert "reassoc" not in f.finish()


@pytest.mark.parametrize("lanes", [1, 4])
def test_the_power_of_single_numbers_is_one_function_in_a_module(lanes):
    module, x = Module(), Reg("%x", "float", lanes)
    for name in "ab":
        f = Function(module, name, [x])
        TABLE["power"](f, x, x)
        f.line("ret void")
        module.add(f)
    text = str(module)
    assert len(re.findall(r"^define .*@power_float_x1\(", text, re.MULTILINE)) == (lanes == 1)
    assert text.count("call float @power_float_x1(") == (2 if lanes == 1 else 0)


def test_the_power_of_a_known_number_is_a_function_of_its_own():
    module, y = Module(), Reg("%y", "float")
    f = Function(module, "f", [y])
    for base in (0.9, 0.9, 0.999):
        TABLE["power"](f, constant(base, "float"), y)
    found = [name for name in module.functions if name.startswith("power_of_")]
    assert len(found) == 2
    assert all(
        re.match(r"define internal float @\S+\(float %a0\)", module.functions[n]) for n in found
    )
