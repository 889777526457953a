"""scipy.spatial.distance on traced arrays: against scipy, with gradients."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.spatial.distance as distance
from scipy_checks import check_gradients, check_values

import graphc as gc
from graphc import errors
from graphc.trace.scipy_distance import _METRICS

rng = np.random.default_rng(4)
X, Y = rng.normal(size=(6, 3)), rng.normal(size=(4, 3))
NAMES = ["euclidean", *_METRICS]


def test_between_two_sets_and_within_one() -> None:
    def f(x, y):
        return [
            *(distance.cdist(x, y, name) for name in NAMES),
            *(distance.pdist(x, name) for name in NAMES),
            distance.cdist(x, y, "minkowski", p=3),
            distance.pdist(x, "minkowski", p=2.5),
            distance.pdist(x, lambda u, v: np.abs(u - v).max()),
            distance.cdist(x[:2], y, lambda u, v: np.abs(u - v).sum()),
            distance.squareform(distance.pdist(x)),
            distance.squareform(distance.cdist(x, x), checks=False),
            distance.pdist(x[:1]),
        ]

    check_values(f, X, Y)
    check_values(lambda n: [distance.pdist(n), distance.cdist(n, n)], rng.integers(0, 5, (4, 2)))


def test_between_vectors() -> None:
    def f(u, v):
        return [
            *(getattr(distance, name)(u, v) for name in NAMES),
            distance.minkowski(u, v, 3),
            distance.minkowski(u, v, p=1),
        ]

    check_values(f, X[0], Y[0])


def test_gradients() -> None:
    check_gradients(lambda x, y: [distance.cdist(x, y), distance.pdist(x, "cosine")], X, Y)


def test_what_cannot_be_traced() -> None:
    with pytest.raises(errors.UnsupportedFunctionError, match="for the metrics euclidean"):
        gc.compile(lambda x: distance.pdist(x, "mahalanobis"))(X)
    with pytest.raises(errors.UnsupportedFunctionError, match="without weights"):
        gc.compile(lambda x: distance.euclidean(x, x, w=x))(X[0])
    with pytest.raises(errors.ShapeError, match="holds no set of pairs"):
        gc.compile(lambda x: distance.squareform(x))(np.zeros(5))
