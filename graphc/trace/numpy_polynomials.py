"""NumPy's functions of polynomials, given by their coefficients, the highest power first."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from graphc import errors
from graphc.ir import INTS, NARROW
from graphc.ops import index as index_ops
from graphc.trace.numpy_joining import concatenate
from graphc.trace.numpy_making import vander
from graphc.trace.numpy_padding import pad
from graphc.trace.numpy_reductions import squared_size
from graphc.trace.numpy_shapes import ravel
from graphc.trace.numpy_statistics import convolve
from graphc.trace.promotion import cast_to
from graphc.trace.scope import user_loc
from graphc.trace.tracer import lift


def polyval(p: Any, x: Any) -> Any:
    """By Horner's rule."""
    result = np.zeros_like(x)
    for coefficient in p:
        result = result * x + coefficient
    return result


def polyadd(a1: Any, a2: Any) -> Any:
    a, b = ravel(a1), ravel(a2)
    size = max(a.size, b.size)
    return np.add(pad(a, (size - a.size, 0)), pad(b, (size - b.size, 0)))


def polysub(a1: Any, a2: Any) -> Any:
    return polyadd(a1, np.negative(a2))


def polymul(a1: Any, a2: Any) -> Any:
    return convolve(a1, a2)


def polyder(p: Any, m: Any = 1) -> Any:
    a = lift(p)
    for _ in range(operator.index(m)):
        a = a[:-1] * np.arange(operator.index(a.size) - 1, 0, -1)
    return a


def polyint(p: Any, m: Any = 1, k: Any = None) -> Any:
    a = lift(p)
    constants = np.zeros(operator.index(m)) if k is None else np.atleast_1d(k)
    for i in range(operator.index(m)):
        divided = np.true_divide(a, np.arange(operator.index(a.size), 0, -1))
        a = concatenate([divided, np.reshape(constants[i % len(constants)], (1,))])
    return a


def polyfit(x: Any, y: Any, deg: Any, rcond: Any = None, full: bool = False, w: Any = None) -> Any:
    """Least squares on scaled columns, as `np.polyfit` does."""
    degree = operator.index(deg)
    points, values = (
        given.astype(np.result_type(given.dtype, np.float64)) for given in (lift(x), lift(y))
    )
    if points.ndim != 1 or not 1 <= values.ndim <= 2 or values.shape[0] != points.shape[0]:
        raise errors.ShapeError(
            f"polyfit: x is 1-d and y as long, not {points.type} and {values.type}", user_loc()
        )
    columns: Any = vander(points, degree + 1)
    if w is not None:
        weights: Any = lift(w)
        columns = columns * weights[:, None]
        values = values * (weights[:, None] if values.ndim > 1 else weights)
    scale = np.sqrt(np.sum(squared_size(columns), 0))
    rcond = points.size * np.finfo(float).eps if rcond is None else rcond
    solution, *more = np.linalg.lstsq(columns / scale, values, rcond=rcond)
    solution = solution / (scale[:, None] if values.ndim > 1 else scale)
    return (solution, *more, rcond) if full else solution


def roots(p: Any) -> Any:
    """The eigenvalues of the companion matrix.

    Complex, also where NumPy looks at the values and finds all of them to be real; and of all
    degrees that the coefficients have, which NumPy counts without zeros at both ends.
    """
    coefficients = lift(p)
    if coefficients.ndim != 1 or coefficients.size < 1:
        raise errors.ShapeError(
            f"roots: coefficients in one axis, not {coefficients.type}", user_loc()
        )
    size = coefficients.size - 1
    if not size:
        return np.zeros(0, complex)
    first: Any = np.not_equal(coefficients[0], 0)
    index_ops.check(
        first.value(),
        cast_to(first.value(), "i64"),
        error="ValueError",
        message="roots: the first coefficient is 0; leave it out",
    )
    row = np.negative(coefficients[1:]) / coefficients[0]
    below = np.eye(size, k=-1, dtype=row.dtype)
    return np.linalg.eigvals(np.concatenate([row[None], below[1:]]))


def poly(seq_of_zeros: Any) -> Any:
    """The product of (x - zero)."""
    zeros = lift(seq_of_zeros)
    if zeros.ndim != 1:
        raise errors.UnsupportedFunctionError(
            f"np.poly can be traced for zeros in one axis, not {zeros.type}: the eigenvalues of a"
            " matrix may be complex",
            user_loc(),
        )
    if zeros.dtype_name in INTS | NARROW:
        zeros = zeros.astype(np.float64)
    result: Any = np.ones(1, zeros.dtype if zeros.size else float)
    for i in range(zeros.size):
        result = convolve(result, np.stack([np.ones_like(zeros[i]), -zeros[i]]))
    return result
