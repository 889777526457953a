"""The exact rows of the scalar table against NumPy, bit for bit."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from scalar_rows import Row, bit_patterns, compile_rows, pairs

from graphc.ir import FLOATS, INTS, NUMPY_DTYPES
from graphc.ops import elementwise
from graphc.ir import OPS
from graphc.runtime.llvm.builder import Function, Module, Reg, constant
from graphc.runtime.llvm.jit import compile_text
from graphc.runtime.llvm.math import SCALARS, _join

DTYPES = list(NUMPY_DTYPES)
LANES = [1, 4, 8, 16]

NUMBERS = FLOATS | INTS
ANY = NUMBERS | {"bool"}
ROWS: list[tuple[frozenset[str], int, str]] = [
    (NUMBERS, 2, "add subtract multiply maximum minimum floor_divide mod"),
    (NUMBERS, 1, "negative abs sign square floor ceil round trunc"),
    (FLOATS, 2, "divide"),
    (FLOATS, 1, "reciprocal sqrt rsqrt isnan isinf isfinite"),
    (ANY, 2, "less less_equal greater greater_equal equal not_equal"),
    (frozenset({"bool"}), 2, "logical_and logical_or logical_xor maximum minimum"),
    (frozenset({"bool"}), 1, "logical_not"),
    (INTS | {"bool"}, 2, "bitwise_and bitwise_or bitwise_xor"),
    (INTS | {"bool"}, 1, "bitwise_not"),
    (INTS, 2, "left_shift right_shift power"),
]
BOOLEAN_RESULT = frozenset(
    "isnan isinf isfinite less less_equal greater greater_equal equal not_equal".split()
)


def rows_of(dtype: str) -> list[Row]:
    rows = []
    for dtypes, arity, names in ROWS:
        if dtype in dtypes:
            for name in names.split():
                out = "bool" if name in BOOLEAN_RESULT else dtype
                rows.append(Row(name, (dtype,) * arity, out))
    rows += [Row("cast", (dtype,), target, {"dtype": target}) for target in DTYPES]
    rows.append(Row("where", ("bool", dtype, dtype), dtype))
    return rows


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
        return np.concatenate([np.array(edges + small, kind), bit_patterns(dtype, 30, 1)])
    info = np.finfo(kind)
    special = [0.0, np.inf, np.nan, info.max, info.tiny, info.smallest_subnormal, info.eps]
    plain = [1, 0.1, 0.5, 1.5, 2.5, 3, 7, 1e9, 2.0**31, 2.0**63, 2.0**31 - 1, 2.0**53, 0.4999]
    positive = np.array(special + plain, kind)
    near = np.nextafter(positive, kind.type(0))
    return np.concatenate([positive, -positive, near, -near, bit_patterns(dtype, 40, 2)])


def reference(row: Row, arrays: tuple[np.ndarray, ...]) -> np.ndarray:
    with np.errstate(all="ignore"):
        return OPS[row.op].reference(*arrays, **row.attrs)


def operands(row: Row) -> tuple[np.ndarray, ...]:
    values = values_of(row.ins[-1])
    if len(row.ins) == 1:
        return (values,)
    a, b = pairs(values)
    if row.op == "power":
        b = np.maximum(b, 0)
    if row.op == "where":
        return (np.arange(a.size) % 3 == 0, a, b)
    return (a, b)


def assert_same_bits(row: Row, got: np.ndarray, arrays: tuple[np.ndarray, ...]) -> None:
    expected = reference(row, arrays)
    assert got.dtype == expected.dtype
    same = got == expected
    if got.dtype.kind == "f":
        zeros = row.op in ("maximum", "minimum")  # of a tie NumPy returns either
        same = same & (np.signbit(got) == np.signbit(expected)) | zeros & same
        same |= np.isnan(got) & np.isnan(expected)
    wrong = np.flatnonzero(~same)
    cases = [(row.op, *(a[i] for a in arrays), got[i], expected[i]) for i in wrong[:5]]
    assert not cases, f"{len(wrong)} of {got.size}: {cases}"


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_equal_numpy(dtype, lanes):
    rows = rows_of(dtype)
    for row, kernel in zip(rows, compile_rows(rows, lanes), strict=True):
        arrays = operands(row)
        assert_same_bits(row, kernel(*arrays), arrays)
