"""NumPy's statistics: what skips NaN, covariances, and convolutions."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from graphc import errors
from graphc.ir import INEXACT
from graphc.trace import numpy_reductions as reductions
from graphc.trace.numpy_joining import concatenate
from graphc.trace.numpy_padding import pad
from graphc.trace.numpy_products import matmul
from graphc.trace.numpy_shapes import flip, ravel
from graphc.trace.promotion import promoted_dtype
from graphc.trace.scope import user_loc
from graphc.trace.tracer import Tracer, lift

# ---- what skips NaN ------------------------------------------------------------------------------


def _replaced(a: Any, instead: Any) -> tuple[Any, Any]:
    """`a` with `instead` for NaN, and where there was NaN (None for what cannot hold any)."""
    x = lift(a)
    if x.dtype_name not in INEXACT:
        return x, None
    is_nan = np.isnan(x)
    return np.where(is_nan, instead, x), is_nan


def nanprod(a: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    return reductions.prod(_replaced(a, 1)[0], axis, dtype, keepdims)


def nanmax(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return _extremum(reductions.max, a, -np.inf, axis, keepdims)


def nanmin(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return _extremum(reductions.min, a, np.inf, axis, keepdims)


def _extremum(reduce: Any, a: Any, worst: float, axis: Any, keepdims: bool) -> Any:
    x, is_nan = _replaced(a, worst)
    result = reduce(x, axis, keepdims)
    if is_nan is None:
        return result
    return np.where(reductions.all(is_nan, axis, keepdims), np.nan, result)


def nanargmax(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    return reductions.argmax(_replaced(a, -np.inf)[0], axis, keepdims=keepdims)


def nanargmin(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    return reductions.argmin(_replaced(a, np.inf)[0], axis, keepdims=keepdims)


def nanvar(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    mean: Any = None,
) -> Any:
    x, is_nan = _replaced(a, 0)
    if is_nan is None:
        return reductions.var(x, axis, dtype, ddof, keepdims, mean=mean)
    x = x if dtype is None else x.astype(dtype)
    counted = np.logical_not(is_nan)
    count = reductions.sum(counted, axis, None, True).astype(x.dtype)
    centre = reductions.sum(x, axis, None, True) / count if mean is None else mean
    centred = np.where(is_nan, 0, x - centre)
    total = reductions.sum(reductions.squared_size(centred), axis, None, keepdims)
    free = reductions.sum(counted, axis, None, keepdims).astype(total.dtype) - ddof
    return np.where(free <= 0, np.nan, total / free)


def nanstd(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    mean: Any = None,
) -> Any:
    return np.sqrt(nanvar(a, axis, dtype, ddof, keepdims, mean=mean))


# ---- covariances ---------------------------------------------------------------------------------


def cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: Any = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> Any:
    x = _variables(m, rowvar)
    if y is not None:
        x = concatenate([x, _variables(y, rowvar)])
    x = x if dtype is None else x.astype(dtype)
    ddof = (0 if bias else 1) if ddof is None else ddof
    weights = _weights(fweights, aweights)
    if weights is None:
        centre = reductions.mean(x, 1, keepdims=True)
        free: Any = reductions.free_of(x.shape[1], ddof)
        scaled = x - centre
        result = matmul(scaled, np.conjugate(scaled.T)) / free
    else:
        total = reductions.sum(weights)
        centre = reductions.sum(x * weights, 1, keepdims=True) / total
        if aweights is None:
            free = total - ddof
        else:
            free = total - ddof * reductions.sum(weights * aweights) / total
        scaled = x - centre
        result = matmul(scaled * weights, np.conjugate(scaled.T)) / free
    return np.squeeze(result)


def _variables(m: Any, rowvar: bool) -> Any:
    """One variable in each row, in floats."""
    x: Any = lift(m)
    if x.ndim > 2:
        raise errors.ShapeError(f"cov: one or two axes, not {x.type}", user_loc())
    x = x.astype(np.result_type(x.dtype, np.float64))
    if x.ndim < 2:
        return np.reshape(x, (1, -1))
    return x if rowvar else x.T


def _weights(fweights: Any, aweights: Any) -> Any:
    if fweights is None:
        return aweights
    return fweights if aweights is None else np.multiply(fweights, aweights)


def corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Any:
    c = cov(x, y, rowvar, dtype=dtype)
    if not c.ndim:
        return c / c
    deviation = np.sqrt(np.diagonal(c))
    return np.clip(c / deviation[:, None] / deviation[None, :], -1, 1)


# ---- convolutions --------------------------------------------------------------------------------


_MODES = {0: "valid", 1: "same", 2: "full"}
"""The old names of modes."""
MOST_SHIFTS = 64
"""Kernels of up to so many elements are gone through one by one, which makes no windows."""
FEW_PRODUCTS = 1 << 16
"""So many are as soon done by a matrix product, whose code is shorter."""


def convolve(a: Any, v: Any, mode: Any = "full") -> Any:
    """Sums of products of shifted operands, or a product with a matrix of windows."""
    mode = _MODES.get(mode, mode)
    x, kernel = lift(a), lift(v)
    if x.ndim > 1 or kernel.ndim > 1 or not x.size or not kernel.size:
        raise errors.ShapeError(
            f"convolve: two 1-d arrays that are not empty, not {x.type} and {kernel.type}",
            user_loc(),
        )
    x, kernel = ravel(x), ravel(kernel)
    if kernel.size > x.size:
        x, kernel = kernel, x
    return _slide(x, flip(kernel), mode)


def correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    x: Any = ravel(a)
    kernel: Any = ravel(v)
    if kernel.dtype.kind == "c":  # the conjugate of a bool is an int8
        kernel = np.conjugate(kernel)
    if not x.size or not kernel.size:
        raise errors.ShapeError("correlate: the arrays may not be empty", user_loc())
    if kernel.size > x.size:
        return flip(_slide(kernel, x, mode))
    return _slide(x, kernel, mode)


def _slide(x: Tracer, kernel: Tracer, mode: str) -> Any:
    """sum_k x[i + k] kernel[k] for every place of the kernel that `mode` counts."""
    size = operator.index(kernel.size)
    reach = {"valid": (0, 0), "same": (size // 2, (size - 1) // 2), "full": (size - 1, size - 1)}
    if mode not in reach:
        raise errors.AttributeValueError(
            f"mode is 'full', 'same' or 'valid', not {mode!r}", user_loc()
        )
    dtype = promoted_dtype([x, kernel])
    x, kernel = x.astype(_numpy(dtype)), kernel.astype(_numpy(dtype))
    padded = pad(x, reach[mode]) if any(reach[mode]) else x
    count = operator.index(padded.size) - size + 1
    if size <= MOST_SHIFTS and size * count > FEW_PRODUCTS:
        return _shifted(padded, kernel, count)
    windows = padded[np.arange(count)[:, None] + np.arange(size)[None, :]]
    return matmul(windows, kernel)


def _shifted(x: Any, kernel: Any, count: int) -> Any:
    """sum_k x[i + k] kernel[k] for `count` places i, in one pass over x."""
    total = x[:count] * kernel[0]
    for k in range(1, operator.index(kernel.size)):
        total = total + x[k : k + count] * kernel[k]
    return total


def _numpy(dtype: str) -> np.dtype:
    from graphc.ir import NUMPY_DTYPES

    return NUMPY_DTYPES[dtype]
