"""Decompositions of complex matrices, and eigenvalues: values, gradients, batches, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from running import build, compiled, interpret

import graphc as gc
from graphc import errors
from graphc.ir import DTYPE_NAMES, Type
from graphc.ops import complex_decompositions as ops
from graphc.ops import complex_eigenvalues as eigenvalues
from graphc.ops import matrices

rng = np.random.default_rng(12)
TOLERANCE = {np.dtype(np.complex128): 1e-9, np.dtype(np.complex64): 4e-3}
BATCHES = ((), (3,), (2, 1))


def drawn(*shape: int, dtype: Any = complex) -> np.ndarray:
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(dtype)


def adjoint(a: Any) -> Any:
    return np.conj(np.swapaxes(a, -1, -2))


def check(function: Callable[..., Any], *arrays: np.ndarray) -> None:
    got, want = gc.compile(function)(*arrays), function(*arrays)
    pairs = zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]
    tolerance = TOLERANCE[np.result_type(arrays[0].dtype, np.complex64)]
    for a, b in pairs:
        assert (np.asarray(a).dtype, np.shape(a)) == (np.asarray(b).dtype, np.shape(b))
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def from_eigh(a: Any) -> Any:
    w, v = np.linalg.eigh(a)
    return w, (v * w[..., None, :]) @ adjoint(v)


def from_svd(a: Any) -> Any:
    u, s, vt = np.linalg.svd(a, full_matrices=False)
    return s, (u * s[..., None, :]) @ vt


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("n", [1, 4, 17])
def test_square_matrices(dtype: Any, batch: tuple[int, ...], n: int) -> None:
    a = drawn(*batch, n, n, dtype=dtype) / dtype(n**0.5) + 2 * np.eye(n, dtype=dtype)
    check(np.linalg.solve, a, drawn(*batch, n, 2, dtype=dtype))
    check(np.linalg.inv, a)
    check(lambda a: (np.linalg.det(a), *np.linalg.slogdet(a)), a)
    positive = a @ adjoint(a) + np.eye(n, dtype=dtype)
    check(np.linalg.cholesky, positive)
    check(lambda a: np.linalg.cholesky(a, upper=True), positive)
    check(from_eigh, a + adjoint(a))
    check(lambda a: np.linalg.eigvalsh(a, "U"), a + adjoint(a))


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (5, 3), (20, 7), (2, 4, 3)])
def test_rectangular_matrices(dtype: Any, shape: tuple[int, ...]) -> None:
    a = drawn(*shape, dtype=dtype)
    for mode in ("reduced", "complete"):
        check(lambda a, mode=mode: tuple(np.linalg.qr(a, mode)), a)
    check(from_svd, a)
    check(lambda a: np.linalg.svd(a, compute_uv=False), a)
    check(np.linalg.pinv, a)


def test_what_is_read_off_decompositions() -> None:
    a = drawn(6, 3)
    check(lambda a, b: tuple(np.linalg.lstsq(a, b, rcond=None))[:2], a, drawn(6, 2))
    check(lambda a: (np.linalg.matrix_rank(a), np.linalg.cond(a), np.linalg.norm(a, "nuc")), a)
    check(lambda a: np.linalg.matrix_power(a, -2), drawn(3, 3))
    u, s, vt = gc.compile(np.linalg.svd)(a)
    np.testing.assert_allclose(adjoint(u) @ u, np.eye(6), atol=1e-12)
    np.testing.assert_allclose((u[:, :3] * s) @ vt, a, atol=1e-12)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_eigenvalues(batch: tuple[int, ...], n: int) -> None:
    for a in (rng.normal(size=(*batch, n, n)), drawn(*batch, n, n)):
        w, v = gc.compile(lambda a: tuple(np.linalg.eig(a)))(a)
        assert w.dtype == v.dtype == np.complex128
        np.testing.assert_allclose(w, np.linalg.eig(a)[0], atol=1e-9)
        np.testing.assert_allclose(a @ v, v * w[..., None, :], atol=1e-9)
        np.testing.assert_allclose(np.linalg.norm(v, axis=-2), 1.0)
        np.testing.assert_allclose(gc.compile(np.linalg.eigvals)(a), w, atol=1e-9)


def test_eigenvalues_of_a_real_matrix_are_complex_whatever_they_are() -> None:
    w = gc.compile(np.linalg.eigvals)(np.diag([1.0, 2.0]))
    np.testing.assert_array_equal(w, np.array([1 + 0j, 2 + 0j]))
    single = gc.compile(lambda a: np.linalg.eig(a)[0])(np.float32([[0, 1], [-1, 0]]))
    assert single.dtype == np.complex64
    np.testing.assert_allclose(np.sort(single), [-1j, 1j])


def test_roots_of_polynomials() -> None:
    for p in (np.array([1.0, 0.0, 1.0]), rng.normal(size=6), drawn(5)):
        got = gc.compile(np.roots)(p)
        np.testing.assert_allclose(np.sort(got), np.sort(np.roots(p)), atol=1e-9)
        np.testing.assert_allclose(np.polyval(p, got), 0, atol=1e-9)
    with pytest.raises(ValueError, match="the first coefficient"):
        gc.compile(np.roots)(np.array([0.0, 1.0, 2.0]))


# ---- gradients -----------------------------------------------------------------------------------

WEIGHTS = drawn(4, 4)


def weighed(x: Any) -> Any:
    """A real number that depends on all of x."""
    n = np.shape(x)[-1]
    return np.sum(np.abs(x - WEIGHTS[: np.shape(x)[-2], :n]) ** 2)


def of_eig(a: Any) -> Any:
    w, v = np.linalg.eig(a)
    return np.sum(np.abs(w - 0.3j) ** 3) + np.sum(np.abs(v) ** 2 * np.arange(16.0).reshape(4, 4))


def of_eigh(a: Any) -> Any:
    w, v = np.linalg.eigh(a @ adjoint(a))
    return np.sum(w**1.5) + np.sum(np.abs(v) ** 2 * np.arange(16.0).reshape(4, 4))


def of_svd(a: Any) -> Any:
    u, s, vt = np.linalg.svd(a[:, :3], full_matrices=False)
    return np.sum(s**3) + weighed((u * np.cos(s)) @ vt)


def of_phase(a: Any) -> Any:
    sign, log = np.linalg.slogdet(a)
    return sign.real * 2 - sign.imag + log


LOSSES: dict[str, Callable[[Any], Any]] = {
    "solve": lambda a: weighed(np.linalg.solve(a, WEIGHTS)),
    "solve by b": lambda a: weighed(np.linalg.solve(WEIGHTS, a)),
    "inv": lambda a: weighed(np.linalg.inv(a)),
    "det": lambda a: np.abs(np.linalg.det(a) - 1j) ** 2,
    "slogdet": of_phase,
    "cholesky": lambda a: weighed(np.linalg.cholesky(a @ adjoint(a) + np.eye(4))),
    "qr": lambda a: weighed(np.linalg.qr(a[:, :3])[0]) + weighed(np.linalg.qr(a)[1]),
    "eigh": of_eigh,
    "svd": of_svd,
    "wide svd": lambda a: of_svd(adjoint(a)[:, :3]) + of_wide(a[:3]),
    "singular values": lambda a: np.sum(np.linalg.svd(a, compute_uv=False) ** 3),
    "pinv": lambda a: weighed(np.linalg.pinv(a[:, :3])),
    "eig": of_eig,
    "eigvals": lambda a: np.sum(np.abs(np.linalg.eigvals(a)) ** 3),
    "lstsq": lambda a: weighed(np.linalg.lstsq(a[:, :2], WEIGHTS, rcond=None)[0]),
}


def of_wide(a: Any) -> Any:
    u, s, vt = np.linalg.svd(a, full_matrices=False)
    return weighed((u * np.sin(s)) @ vt)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_gradients(loss: Callable[[Any], Any]) -> None:
    a = drawn(4, 4) + 2 * np.eye(4)
    direction, h = drawn(4, 4), 1e-6
    value, grad = gc.value_and_grad(loss)(a)
    np.testing.assert_allclose(value, loss(a), rtol=1e-10)
    slope = (loss(a + h * direction) - loss(a - h * direction)) / (2 * h)
    np.testing.assert_allclose(np.sum(grad * direction).real, slope, rtol=2e-6, atol=1e-6)


def test_gradients_of_eigenvalues_of_real_matrices() -> None:
    a, direction, h = rng.normal(size=(4, 4)), rng.normal(size=(4, 4)), 1e-6
    for loss in (LOSSES["eigvals"], of_eig):
        grad = gc.grad(loss)(a)
        assert grad.dtype == np.float64
        slope = (loss(a + h * direction) - loss(a - h * direction)) / (2 * h)
        np.testing.assert_allclose(np.sum(grad * direction), slope, rtol=2e-6)
    tangent = gc.jvp(np.linalg.eigvals, (a,), (direction,))[1]
    moved = (np.linalg.eigvals(a + h * direction) - np.linalg.eigvals(a - h * direction)) / (2 * h)
    np.testing.assert_allclose(tangent, moved, rtol=1e-5)


def test_batches() -> None:
    a, b = drawn(3, 4, 4), drawn(3, 4, 2)
    np.testing.assert_allclose(gc.vmap(np.linalg.solve)(a, b), np.linalg.solve(a, b), rtol=1e-9)
    got = gc.vmap(gc.grad(LOSSES["inv"]))(a)
    np.testing.assert_allclose(got[1], gc.grad(LOSSES["inv"])(a[1]), rtol=1e-8)


# ---- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (np.linalg.inv, "Singular matrix"),
        (lambda a: np.linalg.cholesky(-np.eye(2) + a), "not positive definite"),
    ],
)
def test_what_does_not_exist_is_an_error_of_the_step(function: Any, message: str) -> None:
    with pytest.raises(np.linalg.LinAlgError, match=message):
        gc.compile(function)(np.zeros((2, 2), complex))


def test_wrong_shapes() -> None:
    for function in (np.linalg.eig, np.linalg.inv):
        with pytest.raises(errors.ShapeError, match="must be square"):
            gc.compile(function)(drawn(2, 3))


# ---- the operations by themselves ----------------------------------------------------------------


def in_memory(a: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(a).view(a.real.dtype).reshape(*a.shape, 2)


ROWS: dict[str, tuple[Any, dict[str, Any], tuple[np.ndarray, ...]]] = {
    "solve": (ops.solve, {}, (drawn(2, 4, 4), drawn(2, 4, 3))),
    "lu_diagonal": (ops.lu_diagonal, {}, (drawn(2, 4, 4),)),
    "slogdet": (ops.slogdet, {}, (drawn(2, 4, 4),)),
    "qr": (ops.qr, {"full": False}, (drawn(2, 4, 3),)),
    "eig": (eigenvalues.eig, {}, (drawn(4, 4),)),
    "singular_values": (ops.singular_values, {}, (drawn(3, 4),)),
    "pinv": (ops.pinv, {"rcond": 1e-9}, (drawn(3, 4),)),
}


@pytest.mark.parametrize(("op", "attrs", "arrays"), ROWS.values(), ids=ROWS)
def test_machine_code_against_the_reference(op: Any, attrs: dict[str, Any], arrays: Any) -> None:
    memory = [in_memory(a) for a in arrays]
    compare(lambda *xs: matrices.emit_all(op, *xs, **attrs), memory)


def test_eigenvalues_in_two_arrays() -> None:
    a = rng.normal(size=(3, 5, 5))
    compare(lambda a: matrices.emit_all(eigenvalues.geev, a), [a])
    compare(lambda a: matrices.emit_all(eigenvalues.real_eig, a), [a])


def compare(make: Callable[..., Any], arrays: list[np.ndarray]) -> None:
    graph = build([Type(DTYPE_NAMES[a.dtype], a.shape) for a in arrays], make)
    for got, want in zip(compiled(graph)(*arrays), interpret(graph, arrays), strict=True):
        assert (got.dtype, got.shape) == (want.dtype, want.shape)
        np.testing.assert_allclose(got, want, atol=1e-10)


def test_what_the_operations_refuse() -> None:
    for op, type in ((ops.solve, Type("f64", (3, 3))), (eigenvalues.real_eig, Type("f64", (3, 2)))):
        with pytest.raises(errors.ShapeError, match="square matrices"):
            op.infer(*[type] * (2 if op is ops.solve else 1))
