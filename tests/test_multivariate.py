"""Multivariate distributions of scipy.stats on traced values: against scipy, with gradients."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import scipy.stats as st
from scipy_checks import check_gradients, check_values

import graphc as gc
from graphc import errors

rng = np.random.default_rng(6)
A, X, MEAN, POINTS = (rng.normal(size=s) for s in ((4, 4), 4, 4, (5, 4)))
COV = A @ A.T + np.eye(4)
ALPHA, SHARES = np.array([1.2, 2.0, 3.5]), rng.dirichlet([1, 2, 3.0])


def test_the_normal_distribution() -> None:
    normal = st.multivariate_normal

    def f(x, mean, cov, points):
        return [
            normal.logpdf(x, mean, cov),
            normal.pdf(points, mean, cov),
            normal.logpdf(points.reshape(1, 5, 4), cov=cov),
            normal.logpdf(x, mean, 2.0),
            normal.logpdf(x, mean, np.abs(x)),
            normal.entropy(mean, cov),
            normal.logpdf(x, 0.3, 2.0),
            normal.logpdf(0.7),
        ]

    check_values(f, X, MEAN, COV, POINTS)
    check_gradients(
        lambda x, mean, a, points: f(x, mean, a @ a.T + np.eye(4), points), X, MEAN, A, POINTS
    )


def test_a_method_in_a_partial() -> None:
    f = functools.partial(st.multivariate_normal.logpdf, mean=MEAN)
    check_values(lambda x, cov: [f(x, cov=cov)], X, COV)


def test_singular_covariances() -> None:
    flat = np.diag([1.0, 2.0, 0.5, 0.0])

    def f(x, mean, cov):
        inside = np.concatenate([x[:3], mean[3:]])
        normal = st.multivariate_normal
        return [
            normal.logpdf(inside, mean, cov, allow_singular=True),
            normal.pdf(inside, mean, cov, allow_singular=True),
            normal.pdf(x, mean, cov, allow_singular=True),
            normal.logpdf(x, mean, cov + np.eye(4), allow_singular=True),
        ]

    check_values(f, X, MEAN, flat)
    check_gradients(lambda x, mean: f(x, mean, flat)[:2], X, MEAN)
    with pytest.raises(np.linalg.LinAlgError):
        gc.compile(lambda x, cov: st.multivariate_normal.pdf(x, cov=cov))(X, -COV)
    with pytest.raises(errors.ShapeError, match="does not fit a covariance"):
        gc.compile(lambda x, cov: st.multivariate_normal.pdf(x, x, cov))(X, COV[:3, :3])


def test_the_dirichlet_distribution() -> None:
    def f(x, alpha):
        return [
            st.dirichlet.logpdf(x, alpha),
            st.dirichlet.pdf(x[:-1], alpha),
            st.dirichlet.pdf(np.stack([x, x[::-1]], 1), alpha),
            st.dirichlet.mean(alpha),
            st.dirichlet.var(alpha),
            st.dirichlet.entropy(alpha),
        ]

    check_values(f, SHARES, ALPHA)
    check_gradients(lambda x, alpha: f(x / np.sum(x), alpha), SHARES, ALPHA)


def test_points_outside_of_the_simplex() -> None:
    f = gc.compile(lambda x: st.dirichlet.pdf(x, ALPHA))
    with pytest.raises(ValueError, match="sum to 1"):
        f(np.array([0.5, 0.6, 0.7]))
    with pytest.raises(errors.ShapeError, match="does not fit alpha"):
        f(np.array([0.5, 0.1, 0.1, 0.2, 0.1]))
