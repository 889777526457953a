"""Small matrices on a device: factors and solutions as LAPACK has them, by a warp."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from emulated_device import SMALL, Emulated, assemble, device_module

import graphc as gc
from graphc.runtime.cuda.emit.ptx import ptx
from graphc.runtime.cuda.plan.device_kernel import Limits
from graphc.runtime.cuda.plan.small_matrices import LARGEST, MOST_COLUMNS, is_small_matrix
from graphc.runtime.kernel import Access, Native

RNG = np.random.default_rng(8)

A = Access(0, 0, (0,))


def normal(*shape: int, dtype: str = "f8") -> np.ndarray:
    return RNG.standard_normal(shape).astype(dtype)


def positive(*shape: int, dtype: str = "f8") -> np.ndarray:
    a = normal(*shape)
    return (a @ a.swapaxes(-1, -2) + np.eye(shape[-1])).astype(dtype)


def first_row_last(*shape: int) -> np.ndarray:
    """Matrices whose pivots are in other rows: 0 where there was none to be found in order."""
    return np.roll(np.tril(normal(*shape)) + 3.0 * np.eye(shape[-1]), 1, axis=-2)


FUNCTIONS = {
    "cholesky": (np.linalg.cholesky, [positive(7, 5, 5)]),
    "cholesky of one": (np.linalg.cholesky, [positive(12, 12)]),
    "cholesky of the largest": (np.linalg.cholesky, [positive(3, LARGEST, LARGEST)]),
    "cholesky of numbers": (np.linalg.cholesky, [positive(9, 1, 1)]),
    "cholesky of float32": (np.linalg.cholesky, [positive(4, 6, 6, dtype="f4")]),
    "solve": (np.linalg.solve, [normal(7, 5, 5), normal(7, 5, 2)]),
    "solve for a vector": (np.linalg.solve, [normal(6, 6), normal(6)]),
    "solve the largest": (np.linalg.solve, [normal(LARGEST, LARGEST), normal(LARGEST, 3)]),
    "solve with pivots": (np.linalg.solve, [first_row_last(40, 4, 4), normal(40, 4, 1)]),
    "solve in float32": (
        np.linalg.solve,
        [positive(4, 3, 3, dtype="f4"), normal(4, 3, 3, dtype="f4")],
    ),
    "inverse": (np.linalg.inv, [normal(3, 9, 9)]),
    "determinant": (np.linalg.det, [normal(70, 3, 3)]),
    "determinant with pivots": (np.linalg.det, [first_row_last(5, 6, 6)]),
    "determinant 0": (np.linalg.det, [np.stack([np.ones((3, 3)), np.zeros((3, 3)), np.eye(3)])]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("limits, backwards", [(None, False), (SMALL, True)], ids=["", "small"])
def test_values(name: str, limits: Limits | None, backwards: bool) -> None:
    function, args = FUNCTIONS[name]
    graph = gc.compile(function).graph(*args, stage="fused")
    (got, *_) = Emulated(graph, limits, backwards)(args)
    tolerance = 1e-4 if args[0].dtype == np.float32 else 1e-9
    np.testing.assert_allclose(got, function(*args), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("function", [np.linalg.cholesky, np.linalg.inv, np.linalg.det])
def test_they_are_ptx(function: Any) -> None:
    graph = gc.compile(function).graph(positive(100, 8, 8), stage="fused")
    for architecture in ("sm_80", "sm_90"):
        assemble(ptx(device_module(graph).text, architecture), architecture)


def test_a_warp_has_each_matrix(device: Any) -> None:
    root = gc.compile(np.linalg.cholesky, target="cuda")
    report = root.explain(positive(500, 8, 8))
    assert report.kernels[0].launches == ("native_0_0 <<<63, 256>>>",)
    assert report.straight_runs == 1
    large = root.explain(positive(5, LARGEST + 1, LARGEST + 1))
    assert "processor" in large.kernels[0].launches[0]


@pytest.mark.parametrize(
    "function, wrong",
    [
        (np.linalg.inv, np.zeros((4, 4))),
        (np.linalg.inv, np.ones((3, 5, 5))),
        (np.linalg.cholesky, -np.eye(3)),
        (np.linalg.cholesky, np.stack([np.eye(3), np.diag([1.0, 1.0, -1.0])])),
        (np.linalg.cholesky, np.full((2, 2), np.nan)),
    ],
)
def test_what_has_no_pivot_is_an_error(function: Any, wrong: np.ndarray, device: Any) -> None:
    compiled = gc.compile(lambda a: function(a), target="cuda")
    with pytest.raises(np.linalg.LinAlgError):
        compiled(wrong)
    right = np.broadcast_to(np.eye(wrong.shape[-1]), wrong.shape)
    np.testing.assert_allclose(np.asarray(compiled(right)), right)


def test_gradients(device: Any) -> None:
    def loss(a: Any, b: Any) -> Any:
        return np.sum(np.linalg.solve(a, b) ** 2) + np.sum(np.linalg.cholesky(a)[..., 0])

    args = positive(6, 4, 4), normal(6, 4, 2)
    got = gc.compile(gc.grad(loss, argnums=(0, 1)), target="cuda")(*args)
    wanted = gc.compile(gc.grad(loss, argnums=(0, 1)))(*args)
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(np.asarray(a), b, rtol=1e-9, atol=1e-12)


def test_which_matrices_are_small() -> None:
    n = LARGEST
    assert is_small_matrix(Native("potrf", "f32", ("U", n, A, n, A)))
    assert not is_small_matrix(Native("potrf", "c64", ("U", n, A, n, A)))
    assert not is_small_matrix(Native("potrf", "f64", ("U", n + 1, A, n + 1, A)))
    assert is_small_matrix(Native("gesv", "f64", (n, MOST_COLUMNS, A, n, A, A, n, A)))
    assert not is_small_matrix(Native("gesv", "f64", (n, MOST_COLUMNS + 1, A, n, A, A, n, A)))
    assert not is_small_matrix(Native("geqrf", "f64", (n, n, A, n, A, A, n, A)))
