"""Decompositions: machine code against NumPy, in both dtypes and over batches; what is refused."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from running import build, compiled, interpret

import graphc as gc
from graphc import errors
from graphc.ir import DTYPE_NAMES, Type
from graphc.ops import decompositions as ops
from graphc.ops import matrices
from graphc.runtime.llvm.routines import lapack

rng = np.random.default_rng(4)
BATCHES = ((), (3,), (2, 2))
TOLERANCE = {"f32": 3e-3, "f64": 1e-8}


def check(make: Callable[..., Any], arrays: Sequence[np.ndarray], signed: bool = True) -> None:
    types = [Type(DTYPE_NAMES[a.dtype], a.shape) for a in arrays]
    graph = build(types, make)
    tolerance = TOLERANCE[types[0].dtype]
    for got, wanted in zip(compiled(graph)(*arrays), interpret(graph, arrays), strict=True):
        assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
        a, b = (got, wanted) if signed else (np.abs(got), np.abs(wanted))
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def all_of(op: Any, **attrs: Any) -> Callable[..., Any]:
    return lambda *values: matrices.emit_all(op, *values, **attrs)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("n", [1, 2, 5, 17])
def test_square(dtype: type, batch: tuple[int, ...], n: int) -> None:
    a = (rng.standard_normal((*batch, n, n)) / np.sqrt(n) + 2 * np.eye(n)).astype(dtype)
    b = rng.standard_normal((*batch, n, 3)).astype(dtype)
    symmetric = (a @ np.swapaxes(a, -1, -2)).astype(dtype)
    check(all_of(ops.solve), [a, b])
    check(all_of(ops.cholesky), [symmetric])
    check(all_of(ops.det), [a])
    check(all_of(ops.slogdet), [a])
    check(all_of(ops.lu_diagonal), [a])
    check(all_of(ops.eigh), [symmetric], signed=False)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (5, 3), (20, 7), (2, 4, 3), (0, 3, 3)])
def test_rectangular(dtype: type, shape: tuple[int, ...]) -> None:
    a = rng.standard_normal(shape).astype(dtype)
    for full in (False, True):
        check(all_of(ops.qr, full=full), [a])
    check(all_of(ops.svd, full=False), [a], signed=False)
    check(all_of(ops.singular_values), [a])
    check(all_of(ops.pinv, rcond=1e-6), [a])


def test_the_vectors_of_a_full_svd_are_orthogonal() -> None:
    a = rng.standard_normal((5, 3))
    u, s, vt = gc.compile(lambda a: np.linalg.svd(a))(a)
    np.testing.assert_allclose(u.T @ u, np.eye(5), atol=1e-12)
    np.testing.assert_allclose(u[:, :3] * s @ vt, a, atol=1e-12)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (np.linalg.inv, "Singular matrix"),
        (lambda a: np.linalg.solve(a, a), "Singular matrix"),
        (lambda a: np.linalg.cholesky(-a), "not positive definite"),
    ],
)
def test_what_does_not_exist_is_an_error_of_the_step(
    function: Callable[..., Any], message: str
) -> None:
    step = gc.compile(lambda a: function(a))
    step(np.eye(2) * (-1.0 if "positive" in message else 1.0))
    with pytest.raises(np.linalg.LinAlgError, match=message) as raised:
        step(np.array([[1.0, 2.0], [2.0, 4.0]]))
    assert isinstance(raised.value, errors.LinAlgError)


def test_a_decomposition_of_a_known_matrix_is_computed_while_compiling() -> None:
    def f(x):
        a = np.array([[2.0, 1.0], [1.0, 3.0]]) * np.ones((2, 2))
        matrix = np.zeros((2, 2)) + a
        return np.linalg.solve(matrix, np.eye(2) + np.zeros((2, 2))) @ x, np.linalg.svd(matrix).S

    x = np.array([1.0, 2.0])
    for got, wanted in zip(gc.compile(f)(x), f(x), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12)


def test_singular_matrices_have_a_determinant() -> None:
    a = np.array([[1.0, 2.0], [2.0, 4.0]])
    assert gc.compile(lambda a: np.linalg.det(a))(a) == 0
    sign, log = gc.compile(lambda a: np.linalg.slogdet(a))(a)
    assert (sign, log) == (0, -np.inf)


@pytest.mark.parametrize(
    ("function", "kind", "message"),
    [
        (lambda a: np.linalg.inv(a[:1]), errors.ShapeError, "must be square"),
        (lambda a: np.linalg.solve(a, a[:1]), errors.ShapeError, "right-hand sides"),
        (lambda a: np.linalg.qr(a, "raw"), errors.AttributeValueError, "mode 'reduced'"),
        (lambda a: np.linalg.eigh(a, "X"), errors.AttributeValueError, "UPLO"),
        (lambda a: np.linalg.svd(a[0]), errors.ShapeError, "two or more axes"),
        (lambda a: np.linalg.norm(a, "bad"), errors.AttributeValueError, "Invalid norm order"),
    ],
)
def test_refusals(function: Callable[..., Any], kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        gc.compile(lambda a: function(a))(np.eye(3))


def test_gradients_that_do_not_exist() -> None:
    a = rng.standard_normal((4, 3))
    with pytest.raises(errors.GradientError, match="full_matrices=False"):
        gc.grad(lambda a: np.sum(np.linalg.svd(a)[0]))(a)
    with pytest.raises(errors.GradientError, match="as many rows as columns"):
        gc.grad(lambda a: np.sum(np.linalg.qr(a.T)[1]))(a)


def test_without_scipy_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_scipy(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("scipy"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_scipy)
    lapack._address.cache_clear()
    with pytest.raises(errors.MissingLibraryError, match=r"pip install graphc-compiler\[linalg\]"):
        gc.compile(lambda a: np.linalg.inv(a) + 1.25)(np.eye(3))
