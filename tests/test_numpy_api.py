"""NumPy's functions and methods: one row for each, compared with NumPy; and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy_rows
import pytest
from numpy_rows import ALL

import graphc as gc
from graphc import errors
from graphc.trace.numpy_api import FUNCTIONS, METHODS

rng = np.random.default_rng(3)
X = rng.standard_normal((2, 3, 4))
M = rng.standard_normal((3, 4))
V = rng.standard_normal(4)
N = np.array([[3, -1, 4], [1, -5, 9]])
B = X > 0
F = X.astype(np.float32)
NAN = np.array([1.0, np.nan, np.inf, -np.inf, 2.0])
EMPTY = np.zeros((0, 3))

ROWS: dict[str, Any] = {
    "sum": lambda: [np.sum(X), np.sum(X, axis=(0, -1)), N.sum(0), B.sum(), np.sum(N, dtype=float)],
    "sum f32": lambda: [F.sum(1), np.mean(F, 0), F.var(), F.std(-1), F.prod(2)],
    "sum empty": lambda: [EMPTY.sum(), EMPTY.sum(0), EMPTY.prod(1), EMPTY.any(), EMPTY.mean(0)],
    "keepdims": lambda: [
        X.sum(1, keepdims=True),
        np.max(X, keepdims=True),
        B.all((0, 2), keepdims=True),
    ],
    "prod": lambda: [np.prod(X, axis=1), N.prod(), np.prod(N.astype(np.int32), 0), B.prod()],
    "max min": lambda: [
        X.max(),
        np.amax(X, 0),
        N.min(1),
        np.amin(X, (1, 2)),
        np.ptp(X, 1),
        B.max(0),
    ],
    "max nan": lambda: [NAN.max(), NAN.min(), np.nansum(NAN[:2]), np.nanmean(NAN[[0, 1, 4]])],
    "any all": lambda: [np.any(X > 1, 0), np.all(N), X.any(), np.count_nonzero(N, axis=1)],
    "mean": lambda: [np.mean(N), N.mean(0), B.mean(), np.mean(B, dtype=np.float32), np.mean(F)],
    "average": lambda: [
        np.average(M),
        np.average(M, 1, V),
        np.average(M, weights=M),
        np.average(M, 0),
    ],
    "var std": lambda: [X.var(), np.var(X, (0, 1), ddof=1), N.std(1), np.std(X, -1, keepdims=True)],
    "argmax": lambda: [X.argmax(), np.argmax(X, 1), np.argmin(N, 0), NAN.argmax(), N.argmin(1)],
    "argmax kept": lambda: [
        np.argmax(X, 1, keepdims=True),
        np.argmin(X, keepdims=True),
        B.argmax(2),
    ],
    "norm": lambda: [
        np.linalg.norm(V),
        np.linalg.norm(M),
        np.linalg.norm(X, axis=(0, 1)),
        np.linalg.norm(M, 1, 0),
        np.linalg.norm(V, np.inf),
        np.linalg.norm(M, "fro"),
    ],
    "reshape": lambda: [
        X.reshape(4, -1),
        np.reshape(X, (-1,)),
        X.reshape((6, 4)),
        X.ravel(),
        X.flatten(),
    ],
    "transpose": lambda: [
        X.T,
        X.transpose(1, 0, 2),
        np.transpose(X, (2, 0, 1)),
        X.swapaxes(0, -1),
        X.mT,
    ],
    "transpose others": lambda: [X.transpose((0, 2, 1)), np.matrix_transpose(X), X.transpose(None)],
    "moveaxis": lambda: [
        np.moveaxis(X, 0, -1),
        np.moveaxis(X, [0, 2], [1, 0]),
        np.swapaxes(X, 1, 2),
    ],
    "expand squeeze": lambda: [np.expand_dims(X, (0, 3)), np.squeeze(X[:, :1]), X[:1].squeeze(0)],
    "broadcast": lambda: [np.broadcast_to(V, (2, 4)), *np.broadcast_arrays(V, M), np.atleast_2d(V)],
    "flip": lambda: [
        np.flip(X),
        np.flip(X, (0, 2)),
        np.flipud(M),
        np.fliplr(M),
        np.atleast_1d(V[0]),
    ],
    "rot90": lambda: [
        np.rot90(M),
        np.rot90(M, 2),
        np.rot90(M, -1),
        np.rot90(X, 1, (1, 2)),
        np.rot90(M, 4),
    ],
    "shape": lambda: [np.shape(M), np.ndim(X), np.size(X, 1), X.size, X.nbytes, X.itemsize],
    "concatenate": lambda: [
        np.concatenate([M, M[:1]]),
        np.concatenate([X, X], axis=None),
        np.append(V, 1.0),
    ],
    "concatenate types": lambda: [np.concatenate([N[0], V]), np.concatenate([F[0], X[0]], 1)],
    "stack": lambda: [
        np.stack([M, M], 1),
        np.stack([V[0], V[1]]),
        np.stack([V, N[0, 0] + V], axis=-1),
    ],
    "vstack hstack": lambda: [
        np.vstack([V, M]),
        np.hstack([V, V]),
        np.hstack([M, M]),
        np.column_stack([V, M.T]),
    ],
    "split": lambda: [
        *np.split(M, 2, 1),
        *np.split(V, [1, 3]),
        *np.array_split(V, 3),
        *np.array_split(M, [2]),
    ],
    "pad": lambda: [
        np.pad(M, 1),
        np.pad(M, ((1, 0), (0, 2))),
        np.pad(V, (2, 1), constant_values=7),
    ],
    "tile repeat": lambda: [
        np.tile(V, 2),
        np.tile(M, (2, 1, 2)),
        np.repeat(M, 2, 0),
        V.repeat(3),
        np.repeat(V, [1, 0, 2, 1]),
    ],
    "roll diff": lambda: [
        np.roll(M, 1),
        np.roll(M, -2, 0),
        np.roll(M, (1, 2), (0, 1)),
        np.diff(V),
        np.diff(M, 2),
        np.diff(M, axis=0),
    ],
    "matmul": lambda: [
        M @ V,
        V @ M.T,
        V @ V,
        X @ M.T,
        np.matmul(M, X.swapaxes(1, 2)),
        N @ N.T,
        B[0] @ B[0].T,
    ],
    "dot": lambda: [
        np.dot(M, V),
        np.dot(V, V),
        np.dot(M, X.mT),
        np.dot(2.0, V),
        M.dot(V),
        np.vdot(M, M),
    ],
    "inner outer": lambda: [np.inner(M, V), np.outer(V, V), np.inner(X, M), np.outer(M, V)],
    "tensordot": lambda: [
        np.tensordot(X, M, 2),
        np.tensordot(X, M, ([1], [0])),
        np.tensordot(V, V, 0),
        np.tensordot(X, V, (2, 0)),
    ],
    "where": lambda: [
        np.where(B, X, 0),
        np.where(B, 1, 0),
        np.where(M > 0, V, N[0, 0]),
        np.where(N, 1.5, N),
    ],
    "select": lambda: [np.select([M > 1, M > 0], [M, -M], 9.0), np.select([M > 0], [1.0])],
    "clip": lambda: [
        np.clip(M, -1, 1),
        M.clip(0),
        np.clip(M, None, V),
        np.clip(N, 0, 3),
        np.clip(M, min=0.5),
    ],
    "take": lambda: [
        np.take(M, [0, 2], 0),
        np.take(M, 5),
        M.take([1, -1], axis=1),
        np.take(M, [[0], [1]], 1),
    ],
    "take_along_axis": lambda: [
        np.take_along_axis(M, np.argmax(M, 1)[:, None], 1),
        np.take_along_axis(M, N[:, :1] % 3, 0),
    ],
    "diag": lambda: [
        np.diag(M),
        np.diag(V),
        np.diag(M, 1),
        np.diag(M, -2),
        np.diag(V, 1),
        np.diag(V, -1),
        np.diag(M, 4),
    ],
    "trace tri": lambda: [
        np.trace(M),
        M.trace(1),
        np.diagonal(M),
        np.triu(M),
        np.tril(X, 1),
        np.triu(M, -1),
    ],
    "close": lambda: [
        np.isclose(M, M + 1e-9),
        np.allclose(V, V),
        np.array_equal(M, M),
        np.isclose(NAN, NAN, equal_nan=True),
    ],
    "nan": lambda: [
        np.nan_to_num(NAN),
        np.nan_to_num(NAN, nan=5.0, posinf=1.0),
        np.isnan(NAN),
        np.nan_to_num(N),
    ],
    "like": lambda: [
        np.zeros_like(N),
        np.ones_like(M, dtype=int),
        np.full_like(M, 2),
        np.full_like(N, 2.7),
        np.zeros_like(V, shape=3),
    ],
    "copies": lambda: [
        np.copy(M),
        M.copy(),
        M.astype(np.float32),
        N.astype(bool),
        np.astype(N, float),
        M.real,
        M.conj(),
    ],
    "round": lambda: [
        np.round(M, 1),
        M.round(),
        np.around(N),
        np.round(N * 1.7),
        np.round(N * 10, -1),
        np.rint(M),
    ],
    "linspace": lambda: [
        np.linspace(V[0], 2, 5),
        np.linspace(0.0, V[:2], 4),
        np.linspace(V[0], 1, 3, endpoint=False),
    ],
    "polyval": lambda: [np.polyval([1, 2, 3], M), np.polyval(V, M)],
    "result_type": lambda: [
        str(np.result_type(F, 1.0)),
        str(np.result_type(N, F)),
        N.dtype,
        F[0, 0, 0].dtype,
    ],
    "arrays": lambda: [
        np.array([V[0], 2.0]),
        np.array([[V[0], 0], [1, V[1]]]),
        np.asarray(M, np.float32),
        np.array(V),
    ],
    "array types": lambda: [
        np.array([F[0, 0, 0], F[0, 0, 1]]),
        np.array([F[0, 0, 0], 2.0]),
        np.array([N[0, 0], 1]),
    ],
    "made": lambda: [
        np.zeros(3) + V[0],
        np.ones((2, 2), np.float32) * F[0, 0, 0],
        np.full((2,), V[1]),
        np.full(2, 7) * N[0, 0],
    ],
    "numbers": lambda: [
        np.float32(V[0]),
        np.int64(V[1] * 9),
        np.float64(N[0, 0]),
        np.isscalar(V[0]),
        np.bool_(V[0]),
    ],
    "builtins": lambda: [
        max(V),
        min(V[0], V[1], 0),
        sum(V),
        abs(V),
        len(M),
        pow(M, 2),
        divmod(N, 2),
        round(V[0], 2),
    ],
    "math": lambda: [
        math.exp(V[0]),
        math.sqrt(V[0] ** 2),
        math.log(2 + V[1] ** 2, 3),
        math.atan2(V[0], V[1]),
        math.floor(V[0]),
        math.erf(V[0]),
        math.pow(2, V[0]),
    ],
    "isinstance": lambda: [
        isinstance(V, np.ndarray),
        isinstance(V[0], np.floating),
        isinstance(M, (list, float)),
        [isinstance(part, (list, tuple)) for part in ([M], (V, M), M)],
        isinstance(N[0, 0], int),
    ],
    "iteration": lambda: [
        [row * 2 for row in M],
        list(reversed(list(V))),
        [a + b for a, b in zip(M[0], V)],
    ],
    "item access": lambda: [V[0] * np.ones(2), [*M][1], M[-1][::-1], (lambda a, *rest: a)(*V)],
    "lists": lambda: [
        M + [1.0, 2, 3, 4],  # noqa: RUF005 - arrays add
        np.add([V[0], V[1]], 1),
        np.maximum([1, 2, 3, 4], V),
        np.sum([V[0], V[1]]),
    ],
}
NAMES = ("X", "M", "V", "N", "B", "F", "NAN", "EMPTY")


@pytest.mark.parametrize("name", ROWS)
def test_row(name: str) -> None:
    """The row with the arrays of this file as arguments, interpreted."""
    wanted = run(ROWS[name], {})
    given = {k: globals()[k] for k in NAMES}

    def traced(arrays):
        return with_globals(ROWS[name], arrays)()

    compiled = gc.compile(traced)
    compare(evaluate(compiled, given), wanted)


def with_globals(function: Any, names: dict[str, Any]) -> Any:
    made = type(function)(function.__code__, {**globals(), **names}, "row")
    made.__module__ = __name__
    return made


def run(row: Any, names: dict[str, Any]) -> Any:
    with np.errstate(all="ignore"):
        return with_globals(row, names)()


def evaluate(compiled: Any, given: dict[str, Any]) -> Any:
    return compiled({k: v.copy() for k, v in given.items()})


def compare(got: Any, wanted: Any) -> None:
    if isinstance(wanted, (list, tuple)):
        assert len(got) == len(wanted)
        for a, b in zip(got, wanted, strict=True):
            compare(a, b)
        return
    if not isinstance(wanted, (np.ndarray, np.generic, float)):
        assert got == wanted
        return
    a, b = np.asarray(got), np.asarray(wanted)
    assert (a.dtype, a.shape) == (b.dtype, b.shape)
    single = b.dtype == np.float32
    np.testing.assert_allclose(a, b, rtol=1e-5 if single else 1e-12, atol=1e-6 if single else 1e-13)


def test_every_function_and_method_has_a_row() -> None:
    rows = [*ROWS.values(), *(f for rows in ALL.values() for f, _ in rows.values())]
    called = {name for row in rows for name in names_in(row.__code__)}
    refused = {f for f, entry in FUNCTIONS.items() if entry.__name__ == "refuse"}
    missing = {f.__name__ for f in FUNCTIONS if f not in refused} - called
    assert missing <= {"copyto", "empty_like", "real", "conjugate", "polyfit"}, missing
    in_tests = {"fill", "item", "tolist", "nonzero", "diagonal", "conjugate", "view"}
    assert set(METHODS) - called <= in_tests, set(METHODS) - called - in_tests


def names_in(code: Any) -> set[str]:
    """What a function calls, and what the functions of the rows' file that it calls do."""
    names = set(code.co_names)
    for name in code.co_names:
        inner = getattr(numpy_rows, name, None)
        if callable(inner) and getattr(inner, "__module__", "") == "numpy_rows":
            names |= names_in(inner.__code__)
    return names


def test_out_arguments() -> None:
    def f(x, y, z):
        np.sum(x, axis=0, out=y)
        x.max(axis=1, out=z)
        np.copyto(x, y)
        np.clip(y, 0, 1, out=y)
        x.fill(2.0)

    arrays = [M.copy(), np.zeros(4), np.zeros(3)]
    plain = [a.copy() for a in arrays]
    f(*plain)
    gc.compile(f)(*arrays)
    compare(arrays, plain)


@pytest.mark.parametrize(
    ("function", "kind", "message"),
    [
        (lambda x: np.exp(x, where=x > 0), errors.UnsupportedFunctionError, "give out="),
        (lambda x: np.pad(x, 1, mode=max), errors.UnsupportedFunctionError, "mode='constant'"),
        (lambda x: np.pad(x, 1, stat_length=2), errors.ArgumentError, "no option stat_length"),
        (lambda x: np.poly(np.outer(x, x)), errors.UnsupportedFunctionError, "one axis"),
        (lambda x: np.ix_(x.ravel() > 0), errors.DataDependentShapeError, "mask"),
        (lambda x: np.r_["r", x], errors.UnsupportedFunctionError, "np.concatenate"),
        (lambda x: x[:, None].T.ravel("K"), errors.AttributeValueError, "order='C'"),
        (lambda x: x.reshape(-1, order="X"), errors.AttributeValueError, "order is 'C' or 'F'"),
        (lambda x: np.add.reduceat(x, [0]), errors.UnsupportedFunctionError, "sum of slices"),
        (lambda x: np.subtract.accumulate(x), errors.UnsupportedFunctionError, "accumulate cannot"),
        (lambda x: len(x[x > 0]), errors.DataDependentShapeError, "np.count_nonzero"),
        (lambda x: x[x > 0], errors.DataDependentShapeError, "np.where"),
        (lambda x: x[x > 0].size, errors.DataDependentShapeError, "np.count_nonzero"),
        (lambda x: x[x > 0][0], errors.DataDependentShapeError, "np.where"),
        (lambda x: np.sort(x[x > 0]), errors.DataDependentShapeError, "np.sort of"),
        (lambda x: x[x > 0] + x[x < 0], errors.DataDependentShapeError, "two masks"),
        (lambda x: np.floor(np.fft.fft(x)), errors.DTypeError, "np.floor cannot be traced on"),
        (lambda x: np.fft.fft(x).nonzero(), errors.DataDependentShapeError, "np.where"),
        (lambda x: np.fft.fft(x).astype(float), errors.DTypeError, "use .real, .imag"),
        (lambda x: np.fft.fft(x, norm="no").real, errors.AttributeValueError, "norm value"),
        (lambda x: np.fft.fft(x, 0).real, errors.ShapeError, "FFT data points"),
        (lambda x: x.T[1:].flat, errors.ReadOnlyError, "not contiguous"),
        (lambda x: np.bincount(x[0].astype(int)), errors.DataDependentShapeError, "minlength"),
        (
            lambda x: x.reshap(3),
            errors.UnsupportedAttributeError,
            r"nearest that works is \.reshape",
        ),
        (lambda x: np.nonzero(x), errors.DataDependentShapeError, "np.where"),
        (lambda x: np.where(x > 0), errors.DataDependentShapeError, r"np.where\(condition, x, y\)"),
        (lambda x: np.unique(x), errors.DataDependentShapeError, r"gc\.unique"),
        (lambda x: x @ x, errors.ShapeError, "does not multiply"),
        (lambda x: x + x[0, :2], errors.ShapeError, "do not broadcast together"),
        (lambda x: x.reshape(5, 5), errors.ShapeError, "cannot reshape an array of size 12"),
        (lambda x: np.squeeze(x, 0), errors.ShapeError, "only axes of size 1"),
        (lambda x: np.concatenate([x, x[0]]), errors.ShapeError, "ranks differ"),
        (lambda x: np.stack([x, x[0]]), errors.ShapeError, "one shape"),
        (lambda x: np.array([x, x[0]]), errors.ShapeError, "give its parts one shape"),
        (lambda x: np.split(x, 5), errors.ShapeError, "does not divide into 5 equal parts"),
        (lambda x: np.max(x[:0], 0), errors.ShapeError, "no elements"),
        (lambda x: x.sum(axis=2), errors.AttributeValueError, "axis 2 is out of bounds"),
        (lambda x: x.sum(axis=(0, 0)), errors.AttributeValueError, "duplicate"),
        (lambda x: x.astype(np.clongdouble), errors.DTypeError, "complex128"),
        (lambda x: x.astype("nonsense"), errors.DTypeError, "no dtype 'nonsense'"),
        (lambda x: x & x, errors.DTypeError, "np.bitwise_and takes integers or booleans"),
        (lambda x: -(x > 0), errors.DTypeError, "np.negative takes no booleans"),
        (lambda x: max(x[0], x[1]), errors.AmbiguousTruthError, "np.maximum"),
        (lambda x: math.sqrt(x), errors.ConcreteValueError, "use np.sqrt"),
    ],
)
def test_refusals(function: Any, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message) as raised:
        gc.compile(function)(M)
    assert str(raised.value).startswith(("test_numpy_api.py:", "tests/test_numpy_api.py:"))
