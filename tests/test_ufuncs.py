"""Every ufunc on every pair of dtypes: NumPy's dtype and value, or an error."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import errors
from graphc.trace.ufuncs import UFUNCS

LEFT: dict[str, Any] = {
    "f32": np.array([0.5, -1.5, 2.0, 0.0, np.nan, np.inf, -np.inf, 3.7], np.float32),
    "f64": np.array([0.5, -1.5, 2.0, 0.0, np.nan, np.inf, -np.inf, 3.7]),
    "i32": np.array([1, -2, 3, 0, 7, -9, 5, 2], np.int32),
    "i64": np.array([1, -2, 3, 0, 7, -9, 5, 2]),
    "bool": np.array([1, 0, 1, 0, 1, 1, 0, 0], bool),
    "int": 3,
    "float": 2.5,
    "True": True,
    "np.float32": np.float32(1.5),
    "np.int64": np.int64(2),
    "np.bool": np.bool_(True),
}
RIGHT = {k: v[::-1].copy() if isinstance(v, np.ndarray) else v for k, v in LEFT.items()}
LACKING = (np.float16,)
REFUSED = {("reciprocal", dtype) for dtype in ("int8", "int32", "int64")}


def combinations(ufunc: np.ufunc) -> list[tuple[Any, ...]]:
    sides = itertools.product(*(LEFT, RIGHT)[: ufunc.nin])
    return [
        tuple(table[k] for table, k in zip((LEFT, RIGHT), names))
        for names in sides
        if names[0] != "True" or names[1:] not in ((), ("True",))  # nothing traced
    ]


def outcome(function: Any, *args: Any) -> Any:
    try:
        with np.errstate(all="ignore"):
            return np.asarray(function(*args))
    except (TypeError, ValueError, OverflowError) as error:
        return error


@pytest.mark.parametrize("ufunc", UFUNCS, ids=lambda ufunc: ufunc.__name__)
def test_dtype_and_value(ufunc: np.ufunc) -> None:
    for args in combinations(ufunc):
        wanted = outcome(ufunc, *args)
        leaves = [x for x in args if type(x) is not bool]

        def evaluate(*args: Any, leaves: list[Any] = leaves) -> Any:
            graph = gc.trace(lambda *args: ufunc(*args), *args)
            arrays = [np.asarray(x, p.type.numpy_dtype) for x, p in zip(leaves, graph.params)]
            return gc.evaluate(graph, *arrays)[0]

        got = outcome(evaluate, *args)
        where = f"{ufunc.__name__} of {args}"
        if isinstance(wanted, Exception):
            assert isinstance(got, errors.GraphcError), where
        elif isinstance(got, Exception):
            assert isinstance(got, errors.DTypeError), where
            known = (ufunc.__name__, str(wanted.dtype)) in REFUSED
            assert wanted.dtype in LACKING or known, where
        else:
            assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape), where
            tolerance = 1e-6 if wanted.dtype == np.float32 else 1e-14
            np.testing.assert_allclose(got, wanted, rtol=tolerance, err_msg=where)


OPERATORS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
    "**": lambda a, b: a**b,
    "<": lambda a, b: a < b,
    "==": lambda a, b: a == b,
}


def test_operators_on_numbers_and_arrays_as_one_compiled_function() -> None:
    """Operators keep Python numbers weak: `x_f32 * (2 * n + 1.5)` is f32."""
    values = {k: v for k, v in LEFT.items() if k not in ("True", "np.bool", "bool")}

    def every(a, b, c):
        chained = [c * (2 * x + 1) for x in (a, b)]
        return (
            [f(a, b) for f in OPERATORS.values()] + [f(b, a) for f in OPERATORS.values()] + chained
        )

    compiled = gc.compile(every)
    c = np.array([1.5, 2.0], np.float32)
    for left, right in itertools.product(values, values):
        a, b = abs(LEFT[left]), abs(RIGHT[right])
        with np.errstate(all="ignore"):
            try:
                wanted = every(a, b, c[:1])
            except ZeroDivisionError:
                continue
        for got, expected in zip(compiled(a, b, c[:1]), wanted, strict=True):
            assert np.asarray(got).dtype == np.asarray(expected).dtype, (left, right)
            np.testing.assert_allclose(got, expected, rtol=3e-6)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_integers_at_their_limits(dtype: Any) -> None:
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    a = np.array([low, low, high, 5, -5, 0, low], dtype)
    b = np.array([-1, 0, 0, 0, 0, 0, 1], dtype)

    def f(a, b):
        return a // b, a % b, a + a, a * a, -a, abs(a), np.sign(a), a - b, ~a

    with np.errstate(all="ignore"):
        wanted = f(a, b)
    for got, expected in zip(gc.compile(f)(a, b), wanted, strict=True):
        np.testing.assert_array_equal(got, expected)
        assert got.dtype == expected.dtype


def test_python_integers_out_of_range() -> None:
    n = np.arange(3, dtype=np.int32)
    assert gc.compile(lambda n: n < 2**40)(n).all()
    with pytest.raises(
        OverflowError, match=r"test_ufuncs.py:\d+: Python integer 1099511627776 out"
    ):
        gc.compile(lambda n: n + 2**40)(n)
    with pytest.raises(errors.IntegerRangeError, match="does not fit into 64 bits; use a float"):
        gc.compile(lambda n: n + 2**70)(n)


def test_dtype_argument() -> None:
    x = np.array([1.5, 2.5])

    def f(x):
        return np.add(x, x, dtype=np.float32), np.exp(x, dtype=np.float32), np.multiply(x > 2, 3)

    for got, wanted in zip(gc.compile(f)(x), f(x), strict=True):
        assert got.dtype == wanted.dtype
        np.testing.assert_allclose(got, wanted, rtol=1e-6)
    with pytest.raises(errors.DTypeError, match=r"np\.exp"):
        gc.compile(lambda x: np.exp(x, dtype=np.int64))(x)
    with pytest.raises(errors.DTypeError, match="leave dtype= out"):
        gc.compile(lambda x: np.less(x, 1, dtype=bool))(x)


def test_reduce_and_outer() -> None:
    x = np.arange(6.0).reshape(2, 3)

    def f(x):
        return (
            np.add.reduce(x),
            np.maximum.reduce(x, axis=1),
            np.logical_or.reduce(x > 4, axis=None),
            np.subtract.outer(x[0], x[1]),
            np.divmod(x, 2),
        )

    for got, wanted in zip(gc.compile(f)(x), f(x), strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("name", ["erf", "expit"])
def test_scipy_ufuncs(name: str) -> None:
    special = pytest.importorskip("scipy.special")
    ufunc = getattr(special, name)
    x = np.linspace(-3, 3, 7)
    np.testing.assert_allclose(gc.compile(lambda x: ufunc(x))(x), ufunc(x), rtol=1e-14)
