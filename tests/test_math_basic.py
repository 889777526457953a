"""The exact rows of the scalar table against NumPy, bit for bit."""

import re

import numpy as np
import pytest
from scalar_rows import Row, bit_patterns, compile_rows, pairs, write_rows

import graphc.ops  # noqa: F401 - registers the ops
from graphc.ir import COMPLEXES, FLOATS, INT_RANGES, INTS, NARROW, NUMPY_DTYPES, OPS
from graphc.ops import special
from graphc.runtime.llvm.math import SCALARS, _join

DTYPES = [name for name in NUMPY_DTYPES if name not in COMPLEXES]
LANES = [1, 4, 8, 16]
FAST = "reassoc nsz arcp contract"

BOOL = frozenset({"bool"})
WIDE = FLOATS - NARROW
NUMBERS = WIDE | INTS
ROWS = [
    (NUMBERS, 2, "add subtract multiply maximum minimum floor_divide mod"),
    (NUMBERS, 1, "negative abs sign square floor ceil round trunc"),
    (WIDE, 2, "divide"),
    (WIDE, 1, "reciprocal sqrt rsqrt isnan isinf isfinite"),
    (NUMBERS | BOOL, 2, "less less_equal greater greater_equal equal not_equal"),
    (BOOL, 2, "logical_and logical_or logical_xor maximum minimum"),
    (BOOL, 1, "logical_not"),
    (INTS | BOOL, 2, "bitwise_and bitwise_or bitwise_xor"),
    (INTS | BOOL, 1, "bitwise_not"),
    (INTS, 2, "left_shift right_shift power"),
]
BOOLEAN_RESULT = re.compile("is|less|greater|equal|not_equal")


def rows_of(dtype: str) -> list[Row]:
    rows = [
        Row(name, (dtype,) * arity, "bool" if BOOLEAN_RESULT.match(name) else dtype)
        for dtypes, arity, names in ROWS
        if dtype in dtypes
        for name in names.split()
    ]
    rows += [Row("cast", (dtype,), target, {"dtype": target}) for target in DTYPES]
    return [*rows, Row("where", ("bool", dtype, dtype), dtype)]


def values_of(dtype: str) -> np.ndarray:
    """Those where something special happens, and some that are ordinary."""
    kind = NUMPY_DTYPES[dtype]
    if dtype == "bool":
        return np.array([False, True])
    if dtype in INTS:
        info = np.iinfo(kind)
        width = info.bits
        edges = [info.min, info.min + 1, info.max, info.max - 1, width, width - 1, width + 1]
        small = [0, 1, -1, 2, -2, 3, -3, 7, 10, -10, 100, -width]
        ordinary = [number for number in edges + small if info.min <= number <= info.max]
        return np.concatenate([np.array(ordinary, kind), bit_patterns(dtype, 30, 1)])
    info = np.finfo(kind)
    special = [0.0, np.inf, np.nan, info.max, info.tiny, info.smallest_subnormal, info.eps]
    plain = [1, 0.1, 0.5, 1.5, 2.5, 3, 7, 1e9, 2.0**31, 2.0**63, 2.0**31 - 1, 2.0**53, 0.4999]
    positive = np.array(special + plain, kind)
    near = np.nextafter(positive, kind.type(0))
    return np.concatenate([positive, -positive, near, -near, bit_patterns(dtype, 40, 2)])


def operands(row: Row) -> tuple[np.ndarray, ...]:
    values = values_of(row.ins[-1])
    if values.dtype.kind == "f" and row.out == "u32":
        # Of what lies outside, NumPy makes one thing in short arrays and another in long ones.
        values = values[(values > -(2.0**31)) & (values < 2.0**32)]
    if len(row.ins) == 1:
        return (values,)
    a, b = pairs(values)
    if row.op == "power":
        b = np.maximum(b, 0)
    if row.op == "where":
        return (np.arange(a.size) % 3 == 0, a, b)
    return (a, b)


@np.errstate(all="ignore")
def reference(row: Row, arrays: tuple[np.ndarray, ...]) -> np.ndarray:
    constants = [np.full_like(arrays[0], value) for value in row.constants]
    return OPS[row.op].reference(*arrays, *constants, **row.attrs)


def assert_same_bits(row: Row, got: np.ndarray, arrays: tuple[np.ndarray, ...]) -> None:
    expected = reference(row, arrays)
    assert got.dtype == expected.dtype
    same = got == expected
    if got.dtype.kind == "f":
        if row.op not in ("maximum", "minimum"):  # which of two zeros, NumPy leaves open
            same &= np.signbit(got) == np.signbit(expected)
        same |= np.isnan(got) & np.isnan(expected)
    wrong = np.flatnonzero(~same)
    cases = [(row.op, *(a[i] for a in arrays), got[i], expected[i]) for i in wrong[:5]]
    assert not cases, f"{len(wrong)} of {got.size}: {cases}"


def check(rows: list[Row], lanes: int, flags: str = "") -> None:
    for row, kernel in zip(rows, compile_rows(rows, lanes, flags), strict=True):
        arrays = operands(row)
        assert_same_bits(row, kernel(*arrays), arrays)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_equal_numpy(dtype, lanes):
    check(rows_of(dtype), lanes)


@pytest.mark.parametrize("dtype", sorted(NUMBERS))
def test_constant_operands(dtype):
    """Where an operand is known, other instructions are chosen."""
    least, most = INT_RANGES.get(dtype, (-(2**31), 2**31))
    constants = [n for n in (0, 1, -1, 2, 7, -8, -(2**31), least, most) if least <= n <= most]
    ops = ["floor_divide", "mod", "maximum", "minimum"]
    check([Row(op, (dtype,), dtype, constants=(c,)) for op in ops for c in constants], 8)


@pytest.mark.parametrize("dtype", sorted(WIDE))
def test_remainders_of_any_quotient(dtype):
    rng = np.random.default_rng(7)
    x, y = bit_patterns(dtype, 4000, 3), bit_patterns(dtype, 4000, 4)
    with np.errstate(all="ignore"):
        exact = (np.abs(y) * rng.integers(1, 2**20, y.size).astype(y.dtype)).astype(y.dtype)
        below = np.nextafter(exact, y.dtype.type(0))
    near = (rng.normal(size=4000) * 10.0 ** rng.uniform(-3, 12, 4000)).astype(x.dtype)
    by = rng.uniform(-10, 10, 4000).astype(x.dtype)
    rows = [Row(op, (dtype, dtype), dtype) for op in ("mod", "floor_divide")]
    for row, kernel in zip(rows, compile_rows(rows, 8), strict=True):
        for arrays in [(x, y), (exact, y), (-below, y), (near, by)]:
            assert_same_bits(row, kernel(*arrays), arrays)


@pytest.mark.parametrize("dtype", sorted(WIDE))
def test_fast_math_stays_out_of_exact_rows(dtype):
    rows = [Row(op, (dtype,) * 2, dtype) for op in ("mod", "floor_divide", "maximum")]
    check([*rows, Row("sign", (dtype,), dtype)], 8, FAST)


def test_fast_math_reaches_arithmetic():
    rows = [Row(op, ("f32", "f32"), "f32") for op in ("add", "subtract", "multiply", "divide")]
    text, _ = write_rows(rows, 8, FAST)
    assert text.count(FAST) == 4


@pytest.mark.parametrize("dtype", sorted(INTS))
def test_negative_power_ends(dtype):
    (kernel,) = compile_rows([Row("power", (dtype, dtype), dtype)], 8)
    values = values_of(dtype)
    assert kernel(values, -np.abs(values)).size == values.size


def test_table_has_every_elementwise_op():
    """But for those that passes make of others; a symbolic size is a number of the step's."""
    made = {op.name for op in special.SPECIAL} | {"complex", "real", "imag"}
    scalars = SCALARS.keys() - {"dimension"}
    assert {name for name, op in OPS.items() if op.elementwise} == scalars | made


def test_a_row_has_one_definition():
    with pytest.raises(ValueError, match=r"twice.*'add'"):
        _join({"add": SCALARS["add"]}, {"add": SCALARS["add"]})


def test_no_calls_into_libm():
    """Intrinsics such as llvm.sin would be calls for each element."""
    vector = "fma|fabs|copysign|floor|ceil|roundeven|trunc|sqrt|[su]max|[su]min|vector.reduce.or"
    allowed = re.compile(rf"declare .* @llvm\.({vector}|masked\.gather|abs|ctlz|expect)\.[\w.]+\(")
    for dtype in DTYPES:
        text, _ = write_rows(rows_of(dtype), 8)
        assert "frem" not in text
        assert [line for line in text.splitlines() if line.startswith("declare")] == [
            line for line in text.splitlines() if allowed.match(line)
        ]
