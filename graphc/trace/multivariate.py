"""`scipy.stats.multivariate_normal` and `dirichlet` on traced values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import errors
from graphc.ir import FLOATS
from graphc.ops import index as index_ops
from graphc.ops.scipy_calls import scipy_special
from graphc.trace.promotion import cast_to
from graphc.trace.scope import user_loc
from graphc.trace.tracer import lift

LOG_2PI = math.log(2 * math.pi)
Entry = Callable[..., Any]


def _floats(a: Any) -> Any:
    x = lift(a)
    return x if x.dtype_name in FLOATS else x.astype(np.float64)


def _squeezed(x: Any) -> Any:
    return np.reshape(x, tuple(n for n in x.shape if n != 1))


# ---- the normal distribution ---------------------------------------------------------------------


def _parameters(mean: Any, cov: Any) -> tuple[Any, Any]:
    """The mean as a vector, the covariance as a matrix: a number or a vector is its diagonal."""
    matrix = _floats(1.0 if cov is None else cov)
    centre: Any = None if mean is None else np.reshape(_floats(mean), -1)
    size = matrix.shape[0] if matrix.ndim else (1 if centre is None else centre.shape[0])
    if matrix.ndim < 2:
        matrix = np.where(np.eye(size, dtype=bool), matrix, 0.0)
    if centre is None:
        centre = lift(np.zeros(size))
    if matrix.shape != (centre.shape[0],) * 2:
        raise errors.ShapeError(
            f"multivariate_normal: a mean of {centre.type} does not fit a covariance of"
            f" {matrix.type}",
            user_loc(),
        )
    return centre, matrix


def _of_points(x: Any, size: int) -> Any:
    """One point in each row: a vector is one point, or points of one dimension."""
    points = _floats(x)
    if points.ndim == 0:
        return np.reshape(points, (1, 1))
    if points.ndim == 1:
        return points[:, None] if size == 1 else points[None, :]
    return points


def _distance(points: Any, matrix: Any) -> tuple[Any, Any, Any]:
    """Mahalanobis distances squared, the logarithm of the determinant, the rank."""
    factor = np.linalg.cholesky(matrix)
    rows = np.reshape(points, (-1, points.shape[-1]))
    solved = np.linalg.solve(factor, rows.T)
    distances = np.reshape(np.sum(np.square(solved), 0), points.shape[:-1])
    return distances, 2.0 * np.sum(np.log(np.diagonal(factor))), float(matrix.shape[0])


SMALL = {"f32": 1e3 * 2.0**-23, "f64": 1e6 * 2.0**-52}
"""Smaller eigenvalues count as zero, relative to the largest."""


def _distance_within(points: Any, matrix: Any) -> tuple[Any, Any, Any]:
    """The same in the space that a singular covariance spans."""
    values, vectors = np.linalg.eigh(matrix)
    least = SMALL[matrix.dtype_name] * np.max(np.absolute(values))
    counts = values > least
    safe: Any = np.where(counts, values, 1.0)
    along = np.matmul(points, vectors)
    distances = np.sum(np.where(counts, np.square(along) / safe, 0.0), -1)
    outside = np.sum(np.where(counts, 0.0, np.square(along)), -1) >= np.square(1e3 * least)
    missing = np.logical_not(np.all(counts))
    distances = np.where(np.logical_and(missing, outside), np.inf, distances)
    return distances, np.sum(np.log(safe)), np.sum(counts.astype(matrix.dtype))


def _normal_logpdf(x: Any, mean: Any = None, cov: Any = 1, allow_singular: bool = False) -> Any:
    centre, matrix = _parameters(mean, cov)
    points = _of_points(x, centre.shape[0]) - centre
    measure = _distance_within if allow_singular else _distance
    distances, determinant, rank = measure(points, matrix)
    return _squeezed(-0.5 * (rank * LOG_2PI + determinant + distances))


def _normal_pdf(x: Any, mean: Any = None, cov: Any = 1, allow_singular: bool = False) -> Any:
    return np.exp(_normal_logpdf(x, mean, cov, allow_singular))


def _normal_entropy(mean: Any = None, cov: Any = 1) -> Any:
    _, matrix = _parameters(mean, cov)
    factor = np.linalg.cholesky(matrix)
    return 0.5 * matrix.shape[0] * (LOG_2PI + 1.0) + np.sum(np.log(np.diagonal(factor)))


# ---- the Dirichlet distribution ------------------------------------------------------------------


def _in_simplex(x: Any, alpha: Any) -> tuple[Any, Any]:
    """Points with all their coordinates, the last of which may be left out."""
    points, shape = _floats(x), _floats(alpha)
    size = shape.shape[0]
    if shape.ndim != 1 or not points.ndim or points.shape[0] not in (size, size - 1):
        raise errors.ShapeError(
            f"dirichlet: x of {points.type} does not fit alpha of {shape.type}: its first axis has"
            " as many coordinates, or one less",
            user_loc(),
        )
    if points.shape[0] == size - 1:
        points = np.concatenate([points, 1.0 - np.sum(points, 0, keepdims=True)])
    off = np.absolute(np.sum(points, 0) - 1.0)
    inside = np.logical_and(np.all(points >= 0), np.all(off <= 1e-9))
    index_ops.check(
        inside.value(),
        cast_to(lift(0).value(), "i64"),
        error="ValueError",
        message="dirichlet: the coordinates of x lie in [0, 1] and sum to 1",
    )
    return points, shape


def _dirichlet_logpdf(x: Any, alpha: Any) -> Any:
    points, shape = _in_simplex(x, alpha)
    sc = scipy_special()
    scale = np.sum(sc.gammaln(shape)) - sc.gammaln(np.sum(shape))
    powers = np.reshape(shape - 1.0, (-1,) + (1,) * (points.ndim - 1))
    return _squeezed(np.sum(sc.xlogy(powers, points), 0) - scale)


def _dirichlet_pdf(x: Any, alpha: Any) -> Any:
    return np.exp(_dirichlet_logpdf(x, alpha))


def _dirichlet_mean(alpha: Any) -> Any:
    shape = _floats(alpha)
    return shape / np.sum(shape)


def _dirichlet_var(alpha: Any) -> Any:
    share = _dirichlet_mean(alpha)
    return share * (1.0 - share) / (np.sum(_floats(alpha)) + 1.0)


def _dirichlet_entropy(alpha: Any) -> Any:
    shape, sc = _floats(alpha), scipy_special()
    total = np.sum(shape)
    scale = np.sum(sc.gammaln(shape)) - sc.gammaln(total)
    spread = (total - shape.shape[0]) * sc.psi(total)
    return scale + spread - np.sum((shape - 1.0) * sc.psi(shape))


METHODS: dict[tuple[str, str], Entry] = {
    ("multivariate_normal_gen", "logpdf"): _normal_logpdf,
    ("multivariate_normal_gen", "pdf"): _normal_pdf,
    ("multivariate_normal_gen", "entropy"): _normal_entropy,
    ("dirichlet_gen", "logpdf"): _dirichlet_logpdf,
    ("dirichlet_gen", "pdf"): _dirichlet_pdf,
    ("dirichlet_gen", "mean"): _dirichlet_mean,
    ("dirichlet_gen", "var"): _dirichlet_var,
    ("dirichlet_gen", "entropy"): _dirichlet_entropy,
}
"""Class and method of scipy.stats -> its traced form."""


def method_of_scipy(function: Any) -> Entry | None:
    """What stands for a method of one of these distributions, None for anything else."""
    owner = type(getattr(function, "__self__", None))
    if owner.__module__ != "scipy.stats._multivariate":
        return None
    return METHODS.get((owner.__name__, getattr(function, "__name__", "")))
