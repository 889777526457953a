"""scipy.special.lambertw on traced values: all branches, the hard points, derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special as sc

import graphc as gc
from graphc import errors

rng = np.random.default_rng(9)
REAL = np.array(
    [-0.3678, -0.36, -0.3, -0.1, -1e-9, 0.0, 1e-12, 0.1, 1.0, 1.4, np.e, 50.0, 1e8, 1e300]
)
PLANE = np.concatenate(
    [
        rng.normal(0, s, 60) + 1j * rng.normal(0, s, 60) - shift
        for s, shift in ((0.1, np.exp(-1)), (1, 0), (30, 0), (1e-3, np.exp(-1)), (1e6, 0))
    ]
)


@pytest.mark.parametrize("branch", [-1, 0, 2])
def test_values(branch: int) -> None:
    f = gc.compile(lambda z: sc.lambertw(z, branch))
    for z in (REAL, -REAL[8:], PLANE):
        got = f(z)
        assert got.dtype == np.complex128
        np.testing.assert_allclose(got, sc.lambertw(z, branch), 1e-8, 1e-15)


@pytest.mark.parametrize("branch", [0, -1])
def test_hard_points(branch: int) -> None:
    z = np.array([0.0, np.inf, -np.inf, np.nan])
    got = gc.compile(lambda z: sc.lambertw(z, branch))(z)
    np.testing.assert_array_equal(got.real, sc.lambertw(z, branch).real)


def test_derivatives() -> None:
    x = np.array([-0.3, 0.1, 0.9, 1.4, 20.0])
    got = gc.compile(gc.grad(lambda x: np.sum(sc.lambertw(x).real)))(x)
    w = sc.lambertw(x).real
    np.testing.assert_allclose(got, w / (x * (1 + w)), 1e-9)


def test_a_branch_is_one_number() -> None:
    with pytest.raises(errors.UnsupportedFunctionError, match="lambertw can be traced for an"):
        gc.compile(lambda k: sc.lambertw(1.0, k))(np.array([0, 1]))
    assert gc.compile(lambda x, k: sc.lambertw(x, k))(1.0, -1) == pytest.approx(sc.lambertw(1, -1))
