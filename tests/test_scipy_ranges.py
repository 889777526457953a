"""Operands for which scipy's functions do not end, or destroy memory: they are not given to it."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special as sc

import graphc as gc
from graphc import errors
from graphc.ops.scipy_calls import SEVERAL
from graphc.ops.scipy_ranges import RANGES

HARD = np.array([np.nan, np.inf, -np.inf, 1e300, -1e300, 1e10])


@pytest.mark.parametrize("name", [name for name in RANGES if " " not in name])
def test_hard_operands_give_nan(name: str) -> None:
    function = getattr(sc, name)
    step = gc.compile(lambda *xs: function(*xs))
    for place, (_, high, harmless) in enumerate(RANGES[name]):
        given = [np.full(HARD.size, r[2]) for r in RANGES[name]]
        given += [np.full(HARD.size, 0.5)] * (function.nin - len(given))
        given[place] = np.where((high < HARD) | np.isnan(HARD), HARD, np.nan)
        results = step(*given)
        for result in results if name in SEVERAL else [results]:
            assert np.isnan(result).all(), f"operand {place}"
        given[place] = np.full(HARD.size, harmless)
        first = step(*given)[0] if name in SEVERAL else step(*given)
        wanted = function(*given)[0] if name in SEVERAL else function(*given)
        np.testing.assert_array_equal(first, wanted)


def test_complex_functions_of_large_degrees() -> None:
    names = [name.split()[1] for name in RANGES if " " in name]
    functions = [getattr(sc, name) for name in names]
    step = gc.compile(lambda n, z: [f(*[n] * (f.nin - 1), z) for f in functions])
    assert all(np.isnan(got).all() for got in step(np.array([1e10, np.inf]), 0.5 + 0.1j))
    for f, got in zip(functions, step(np.array([1.0, 2.0]), 0.5 + 0.1j), strict=True):
        n = np.array([1.0, 2.0])
        np.testing.assert_allclose(got, f(*[n] * (f.nin - 1), 0.5 + 0.1j), 1e-12)


def test_infinity_where_it_is_known() -> None:
    assert gc.compile(lambda x: sc.hyp1f1(1.0, 0.5, x))(-np.inf) == sc.hyp1f1(1.0, 0.5, -np.inf)


@pytest.mark.parametrize("name", ["pro_cv", "obl_cv", "pro_ang1"])
def test_spheroidal_functions_are_refused(name: str) -> None:
    function = getattr(sc, name)
    with pytest.raises(errors.UnsupportedFunctionError, match=rf"scipy\.special\.{name} cannot"):
        gc.compile(lambda x: function(*([1, 1, 1.0, x][-function.nin :])))(0.5)
