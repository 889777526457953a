"""scipy.linalg on traced matrices: against scipy, with gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.linalg as la
from scipy_checks import check_gradients, check_values

import graphc as gc
from graphc import errors

rng = np.random.default_rng(0)
A, B, B1 = rng.normal(size=(4, 4)), rng.normal(size=(4, 3)), rng.normal(size=4)
S = A @ A.T + np.eye(4)
COMPLEX = A + 1j * rng.normal(size=(4, 4))


def test_solving_by_the_kind_of_matrix() -> None:
    def f(a, s, b):
        upper, lower = np.triu(s) + 7 * np.tril(s, -1), np.tril(s) + 7 * np.triu(s, 1)
        return [
            la.solve(a, b),
            la.solve(a, b[:, 0], transposed=True, check_finite=False),
            la.solve(upper, b, assume_a="sym"),
            la.solve(upper, b, assume_a="pos"),
            la.solve(lower, b, lower=True, assume_a="positive definite"),
            la.solve(a, b, assume_a="upper triangular"),
            la.solve(s, b, assume_a="diagonal"),
        ]

    check_values(f, A, S, B)
    check_gradients(f, A, S, B)


@pytest.mark.parametrize("lower", [False, True])
def test_triangular_matrices(lower: bool) -> None:
    def f(a, b):
        return [
            la.solve_triangular(a, b, trans=trans, lower=lower, unit_diagonal=unit)
            for trans in (0, 1, "C")
            for unit in (False, True)
        ]

    check_values(f, A, B)
    check_values(lambda a, b: f(a, b)[:3:2], COMPLEX, B1)
    check_gradients(f, A, B1)


@pytest.mark.parametrize("lower", [False, True])
def test_cholesky(lower: bool) -> None:
    def f(s, b):
        factor = la.cho_factor(s, lower=lower)
        return [la.cholesky(s, lower=lower), factor[0], la.cho_solve(factor, b)]

    check_values(f, S, B)
    check_values(lambda s: [la.cholesky(s, lower=lower)], COMPLEX @ COMPLEX.conj().T + np.eye(4))
    check_gradients(lambda a, b: f(a @ a.T + np.eye(4), b)[::2], A, B1)


def test_bands_and_sylvester() -> None:
    def f(a, b, s):
        return [
            la.solve_banded((1, 1), a[:3] + 3.0, b),
            la.solve_banded((0, 2), a[:3] + 3.0, b),
            la.solve_sylvester(a, s[:3, :3], b[:, None] * b[:3]),
        ]

    check_values(f, A, B1, S)
    check_gradients(f, A, B1, S, tolerance=1e-5)


def test_the_exponential() -> None:
    def f(a, s):
        return [la.expm(a), la.expm(a * 20 - 60 * np.eye(4)), la.expm(np.stack([a, s / 9]))]

    check_values(f, A, S)
    check_values(lambda a: [la.expm(a), la.expm(0 * a)], A.astype(np.float32), tolerance=1e-5)
    check_gradients(lambda a: [la.expm(a), la.expm(3 * a)], A, tolerance=1e-5)


def test_matrices_of_a_form() -> None:
    def f(c, r):
        return [
            la.toeplitz(c),
            la.toeplitz(c, r),
            la.hankel(c),
            la.hankel(c, r),
            la.circulant(c),
            la.block_diag(c, r[:, None], 2.0),
        ]

    check_values(f, B1, B[:, 0].repeat(2))
    check_gradients(f, B1, B[:, 0].repeat(2))
    check_values(lambda c: [la.toeplitz(c)], COMPLEX[0])


def test_decompositions() -> None:
    def f(a, s):
        q, r = la.qr(a)
        return [
            q @ r,
            np.abs(q),
            np.abs(la.qr(a, mode="economic")[0]),
            np.abs(la.qr(a, mode="r")[0]),
            la.svdvals(a),
            la.svd(a, compute_uv=False),
            la.eigvalsh(s),
            la.eigh(s, eigvals_only=True, lower=False),
            np.abs(la.eigh(s)[1]),
            la.inv(s),
            la.det(a),
            la.norm(a),
            la.norm(a, 1),
        ]

    check_values(f, A, S)


@pytest.mark.parametrize(
    ("f", "text"),
    [
        (lambda a: la.solve(a, a, assume_a="banded"), "solve can be traced without assume_a"),
        (lambda a: la.qr(a, pivoting=True), "qr can be traced without pivoting"),
        (lambda a: la.eigh(a, a), "eigh can be traced without b"),
        (lambda a: la.solve_sylvester(np.eye(64), np.eye(64) + a[0, 0], a), "4096"),
        (lambda a: la.lu(a), "scipy.linalg.lu cannot be traced"),
    ],
)
def test_what_cannot_be_traced(f: Any, text: str) -> None:
    with pytest.raises(errors.UnsupportedFunctionError, match=text):
        gc.compile(f)(A)


def test_singular_matrices_are_errors() -> None:
    with pytest.raises(np.linalg.LinAlgError):
        gc.compile(lambda a, b: la.solve(a, b))(np.zeros((4, 4)), B1)
    with pytest.raises(errors.ShapeError, match="solve_banded: 1 diagonals below"):
        gc.compile(lambda a, b: la.solve_banded((1, 1), a, b))(A, B1)
