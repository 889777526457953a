"""Derivatives of hypergeometric functions by their parameters, against mpmath."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.special as sc

import graphc as gc

POINTS = {
    "hyp0f1": ([1, 0.5, 2.5, 3, 1.5], [0, 2.0, -20, 500, 1e-4]),
    "hyp1f1": ([0.5, 1, 2.5, 0.3, 3, 2], [0.5, 2, 1.5, 4, 1.2, 3], [0, 3.0, -4, -60, 80, -0.1]),
    "hyp2f1": ([1, 0.5, 2, 3], [1, 2.5, 0.3, 1.5], [2, 3, 1.2, 0.7], [0, 0.5, -0.85, 0.88]),
}
CASES = [(name, place) for name, rows in POINTS.items() for place in range(len(rows) - 1)]


@pytest.mark.parametrize(("name", "place"), CASES)
def test_against_mpmath(name: str, place: int) -> None:
    rows = [np.array(row, float) for row in POINTS[name]]
    function: Any = getattr(sc, name)
    step = gc.compile(gc.grad(lambda *xs: np.sum(function(*xs)), argnums=place))
    wanted = []
    with mpmath.workdps(60):
        h = mpmath.mpf("1e-20")
        for point in zip(*rows, strict=True):
            exact = [mpmath.mpf(x) for x in point]
            up, down = (
                getattr(mpmath, name)(*exact[:place], exact[place] + t, *exact[place + 1 :])
                for t in (h, -h)
            )
            wanted.append(float((up - down) / (2 * h)))
    np.testing.assert_allclose(step(*rows), wanted, 1e-8)


def test_what_is_not_known_is_nan() -> None:
    x = np.array([0.95, -3.0])
    assert np.isnan(gc.grad(lambda a: np.sum(sc.hyp2f1(a, 1.0, 2.0, x)))(np.ones(2))).all()
    a = np.array([-1.5, 0.5])
    got = gc.grad(lambda a: np.sum(sc.hyp1f1(a, 2.0, np.array([1.0, 200.0]))))(a)
    assert np.isnan(got).all()
