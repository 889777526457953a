"""Functions of scipy that no table holds."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.integrate as integrate
import scipy.optimize as optimize
import scipy.stats as st

import graphc as gc
from graphc import errors
from graphc.trace.scipy_table import PACKAGES

X = np.array([0.5, 1.5, -0.3])


def test_a_function_that_is_numpys() -> None:
    got = gc.compile(lambda x: integrate.trapezoid(x, dx=0.5))(X)
    assert got == pytest.approx(integrate.trapezoid(X, dx=0.5))


def test_what_needs_values_is_refused_by_name() -> None:
    with pytest.raises(errors.UnsupportedFunctionError, match=r"scipy\.integrate\.odeint cannot"):
        gc.compile(lambda y: integrate.odeint(lambda y, t: -y, y, np.linspace(0, 1, 3)))(X)
    with pytest.raises(errors.UnsupportedFunctionError, match=r"scipy\.stats\.rankdata cannot"):
        gc.compile(lambda x: st.rankdata(x))(X)


def test_ordinary_arrays_go_to_scipy() -> None:
    def f(x):
        return x * optimize.minimize(lambda t: (t - 2.0) ** 2, 0.0).x[0]

    np.testing.assert_allclose(gc.compile(f)(X), 2.0 * X, 1e-6)


@pytest.mark.parametrize("package", PACKAGES)
def test_names_are_scipys(package: str) -> None:
    module = pytest.importorskip(package + (".distance" if package == "scipy.spatial" else ""))
    assert [name for name in PACKAGES[package] if not hasattr(module, name)] == []
