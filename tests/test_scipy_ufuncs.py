"""Ufuncs of scipy.special with several results, or complex ones: values and dtypes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.special as sc
from scipy_operands import NEAR, operands

import graphc as gc
from graphc import errors
from graphc.ops.scipy_calls import ALWAYS_COMPLEX, COMPLEX, SEVERAL

Z = NEAR + 1j * np.linspace(-1.2, 1.5, NEAR.size)


def complex_operands(name: str) -> tuple[np.ndarray, ...]:
    letters = COMPLEX[name].partition(">")[0]
    return tuple(Z + i if letter == "z" else NEAR + 0.4 * i for i, letter in enumerate(letters))


def check(rows: list[tuple[str, tuple[np.ndarray, ...]]], tolerance: float) -> None:
    """All of them in one step."""
    functions = [getattr(sc, name) for name, _ in rows]
    step = gc.compile(lambda given: [f(*x) for f, x in zip(functions, given, strict=True)])
    for (name, args), f, got in zip(rows, functions, step([x for _, x in rows]), strict=True):
        wanted = f(*args)
        pairs = zip(got, wanted, strict=True) if f.nout > 1 else [(got, wanted)]
        for mine, right in pairs:
            assert mine.dtype == right.dtype, name
            np.testing.assert_allclose(mine, right, tolerance, tolerance * 1e-3, err_msg=name)


def test_several_results() -> None:
    check([(name, operands(name)) for name in SEVERAL], 1e-13)


def test_several_results_in_single_precision() -> None:
    names = ("airy", "airye", "itairy", "fresnel", "sici", "shichi", "ellipj")
    check([(name, tuple(x.astype(np.float32) for x in operands(name))) for name in names], 2e-6)


def test_complex_numbers() -> None:
    check([(name, complex_operands(name)) for name in COMPLEX], 1e-13)


def test_complex_numbers_in_single_precision() -> None:
    def narrow(x: np.ndarray) -> np.ndarray:
        return x.astype(np.complex64 if x.dtype == complex else np.float32)

    names = ("erf", "wofz", "hankel1", "jv", "elliprf", "airy", "sici")
    check([(name, tuple(map(narrow, complex_operands(name)))) for name in names], 2e-5)


def test_complex_results_of_real_numbers() -> None:
    rows = [(name, (NEAR,) * getattr(sc, name).nin) for name in sorted(ALWAYS_COMPLEX)]
    check(rows, 1e-13)


def test_hard_points() -> None:
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e300, -1e-300])
    z = np.array(
        [0j, complex(np.inf, 0), complex(-np.inf, 1), complex(np.nan, 0), 1e-300j, -3 + 0j]
    )
    real = [(name, (x,)) for name in ("airy", "airye", "fresnel", "sici", "shichi")]
    check([*real, *((name, (z,)) for name in ("wofz", "erf", "loggamma", "sici"))], 1e-13)


def test_numbers_broadcast_and_integers_are_floats() -> None:
    def f(n, x):
        return (
            sc.hankel1(n, x[:, None]),
            sc.airy(n),
            sc.jv(np.arange(3), 1 + 2j),
            sc.bdtr(n, 5, 0.3),
        )

    n, x = np.array([0, 1, 2]), np.array([0.5, 3.0])
    for got, wanted in zip(gc.compile(f)(n, x), f(n, x), strict=True):
        np.testing.assert_allclose(got, wanted, 1e-13)


def test_results_stored_in_arrays() -> None:
    def f(x):
        s, c = np.zeros_like(x), np.zeros_like(x)
        sc.fresnel(x, out=(s, c))
        return s, c

    for got, wanted in zip(gc.compile(f)(NEAR), sc.fresnel(NEAR), strict=True):
        np.testing.assert_allclose(got, wanted, 1e-14)


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.int16, np.int64, np.float16, np.float32])
def test_dtypes_of_results(dtype: Any) -> None:
    x = np.array([1, 0, 1], dtype)

    def f(x):
        return sc.erf(x), sc.jv(x, x), sc.exp2(x), sc.airy(x)[0], sc.gammaln(x), sc.hankel1(x, x)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = f(x)
    for got, right in zip(gc.compile(f)(x), wanted, strict=True):
        assert got.dtype == right.dtype


def test_operands_that_scipy_does_not_take() -> None:
    with pytest.raises(errors.DTypeError, match=r"scipy\.special\.eval_hermite: .*convert"):
        gc.compile(lambda n: sc.eval_hermite(n, 0.5))(NEAR)
    with pytest.raises(errors.DTypeError, match=r"scipy\.special\.jv: .*use \.real"):
        gc.compile(lambda v: sc.jv(v, 0.5))(Z)
    with pytest.raises(errors.UnsupportedFunctionError, match=r"scipy\.special\._ellip_harm"):
        gc.compile(lambda x: sc._ellip_harm._ellip_harm(1, 2, 3, 1, x, 1, 1))(NEAR)


def test_gradients_of_complex_functions_are_refused() -> None:
    with pytest.raises(errors.GradientError, match=r"scipy\.special\.kv of complex numbers"):
        gc.grad(lambda x: np.sum(sc.kv(1.0, x + 1j).real))(NEAR)
