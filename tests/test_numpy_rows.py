"""The rows of `numpy_rows.py`: values against NumPy, gradients against finite differences."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy_rows import ALL

import graphc as gc
from graphc import errors

PARAMETERS = [
    pytest.param(*row, name.endswith("~"), id=f"{topic}: {name}")
    for topic, rows in ALL.items()
    for name, row in rows.items()
]


@pytest.mark.parametrize(("function", "args", "has_gradient"), PARAMETERS)
def test_row(function: Callable[..., Any], args: Sequence[Any], has_gradient: bool) -> None:
    with np.errstate(all="ignore"):
        wanted = function(*args)
    if not has_gradient:
        compare(gc.compile(lambda *a: function(*a))(*args), wanted)
        return
    weights = [weight(part) for part in listed(wanted)]
    argnums = tuple(i for i, a in enumerate(args) if np.asarray(a).dtype == np.float64)

    def loss(*given: Any) -> Any:
        out = function(*given)
        return total(out, weights), out

    step = gc.compile(gc.value_and_grad(loss, argnums=argnums, has_aux=True))
    (_, out), grads = step(*args)
    compare(out, wanted)
    check_gradient(function, args, weights, argnums, grads)


def as_f32(x: Any) -> Any:
    return x.astype(np.float32) if x.dtype == np.float64 else x


def as_int(x: Any) -> Any:
    return np.round(3 * x).astype(int) if x.dtype.kind == "f" and np.isfinite(x).all() else x


@pytest.mark.slow
@pytest.mark.parametrize("convert", [as_f32, as_int])
@pytest.mark.parametrize(("function", "args", "has_gradient"), PARAMETERS)
def test_row_of_other_dtypes(
    function: Callable[..., Any], args: Sequence[Any], has_gradient: bool, convert: Any
) -> None:
    """With NumPy's dtypes and shapes, and about its values: rounding is as good as in f32."""
    given = [convert(a) for a in args]
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
        try:
            wanted = listed(function(*given))
        except (TypeError, ValueError, np.linalg.LinAlgError):
            pytest.skip("not of these dtypes")
    for got, value in zip(listed(gc.compile(lambda *a: function(*a))(*given)), wanted, strict=True):
        a, b = np.asarray(got), np.asarray(value)
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-3)


def as_complex(x: Any) -> Any:
    if x.dtype.kind != "f":
        return x
    random = np.random.default_rng(3)
    other = random.permutation(np.nan_to_num(x).ravel()).reshape(x.shape)
    return (x + 1j * other).astype(np.result_type(x.dtype, np.complex64))


REAL_ALONE = "complex numbers|no imaginary|lose its imaginary|, not c128|complex values"
"""What the messages say of functions that take real numbers alone."""


@pytest.mark.parametrize(("function", "args", "has_gradient"), PARAMETERS)
def test_row_of_complex_numbers(
    function: Callable[..., Any], args: Sequence[Any], has_gradient: bool
) -> None:
    """NumPy's values, or an error that says that they must be real."""
    given = [as_complex(np.asarray(a)) for a in args]
    if not any(a.dtype.kind == "c" for a in given):
        pytest.skip("no floats")
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        try:
            wanted = listed(function(*map(np.copy, given)))
        except (TypeError, ValueError, np.linalg.LinAlgError, np.exceptions.ComplexWarning):
            pytest.skip("not of complex numbers")
    try:
        results = listed(gc.compile(lambda *a: function(*a))(*map(np.copy, given)))
    except errors.GraphcError as error:
        assert re.search(REAL_ALONE, str(error)), error
        return
    for got, value in zip(results, wanted, strict=True):
        a, b = np.asarray(got), np.asarray(value)
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        single = b.dtype in (np.float32, np.complex64)
        np.testing.assert_allclose(
            a, b, rtol=2e-5 if single else 1e-9, atol=1e-5 if single else 1e-10
        )


def listed(out: Any) -> list[Any]:
    return list(out) if isinstance(out, (list, tuple)) else [out]


def weight(part: Any) -> Any:
    return np.random.default_rng(5).uniform(0.5, 1.5, np.shape(part))


def total(out: Any, weights: Sequence[Any]) -> Any:
    result = 0.0
    for part, w in zip(listed(out), weights, strict=True):
        result = result + np.sum(part * w)
    return result


def check_gradient(
    function: Callable[..., Any],
    args: Sequence[Any],
    weights: Sequence[Any],
    argnums: Sequence[int],
    grads: Sequence[Any],
) -> None:
    """Along one random direction, by central differences."""
    random = np.random.default_rng(9)
    directions = {i: random.standard_normal(np.shape(args[i])) for i in argnums}
    h = 1e-6

    def at(t: float) -> float:
        moved = [a + t * directions[i] if i in directions else a for i, a in enumerate(args)]
        return float(total(function(*moved), weights))

    slope = (at(h) - at(-h)) / (2 * h)
    got = sum(float(np.sum(g * directions[i])) for i, g in zip(argnums, grads, strict=True))
    assert abs(got - slope) <= 1e-6 * max(1.0, abs(slope), abs(at(0.0))), (got, slope)


def compare(got: Any, wanted: Any) -> None:
    if isinstance(wanted, (list, tuple)):
        assert len(got) == len(wanted)
        for a, b in zip(got, wanted, strict=True):
            compare(a, b)
        return
    a, b = np.asarray(got), np.asarray(wanted)
    assert (a.dtype, a.shape) == (b.dtype, b.shape)
    single = b.dtype == np.float32
    np.testing.assert_allclose(a, b, rtol=1e-5 if single else 1e-10, atol=1e-6 if single else 1e-12)
