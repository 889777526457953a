"""NumPy's functions that make arrays, copy them, and compute them from few numbers."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.build import Value
from graphc.ir import FLOATS
from graphc.ops import elementwise as ew
from graphc.trace.tracer import Tracer, cast_to, known_dtype, lift, wrap
from graphc.trace.ufuncs import broadcast_to

# ---- filled arrays -------------------------------------------------------------------------------


def like(fill: int) -> Callable[..., Tracer]:
    """`np.zeros_like` and its like."""

    def make(a: Any, dtype: Any = None, shape: Any = None) -> Tracer:
        return full_like(a, fill, dtype, shape=shape)

    return make


def full_like(a: Any, fill_value: Any, dtype: Any = None, *, shape: Any = None) -> Tracer:
    x = lift(a)
    chosen = x.dtype if dtype is None else dtype
    return full(x.shape if shape is None else shape, fill_value, chosen)


def full(shape: Any, fill_value: Any, dtype: Any = None) -> Tracer:
    sizes = tuple(map(operator.index, shape)) if np.iterable(shape) else (operator.index(shape),)
    fill = lift(fill_value)
    name = fill.dtype_name if dtype is None else known_dtype(dtype)
    return fresh_array(broadcast_to(cast_to(fill.value(), name), sizes))


def fresh_array(value: Value) -> Tracer:
    """A new array that can be assigned to, also where it has no axes."""
    tracer = wrap(value)
    tracer.storage.mutable = True
    return tracer


# ---- copies and conversions ----------------------------------------------------------------------


def copy(a: Any, order: str = "K") -> Tracer:
    return fresh_array(lift(a).value())


def copyto(dst: Any, src: Any) -> None:
    dst[...] = src


def astype(x: Any, dtype: Any, *, copy: bool = True) -> Tracer:
    given = lift(x)
    name = known_dtype(dtype)
    if not copy and name == given.dtype_name:
        return given
    value = cast_to(given.value(), name)
    return wrap(value) if given.is_scalar else fresh_array(value)


def array(object: Any, dtype: Any = None, *, copy: bool | None = True) -> Tracer:
    """`np.array` of something that holds traced values."""
    x = lift(object)
    name = x.dtype_name if dtype is None else known_dtype(dtype)
    if copy or isinstance(object, (list, tuple)) or name != x.dtype_name or x.is_scalar:
        return fresh_array(cast_to(x.value(), name))
    return x


def asarray(a: Any, dtype: Any = None) -> Tracer:
    return array(a, dtype, copy=None)


def result_type(*arrays_and_dtypes: Any) -> np.dtype:
    given = (x.stand_in() if isinstance(x, Tracer) else x for x in arrays_and_dtypes)
    return np.result_type(*given)


# ---- computed ------------------------------------------------------------------------------------


def linspace(start: Any, stop: Any, num: Any = 50, endpoint: bool = True, dtype: Any = None) -> Any:
    count = operator.index(num)
    gaps = count - 1 if endpoint else count
    first, last = lift(start), lift(stop)
    steps = np.arange(count, dtype=np.float64)
    steps = steps.reshape(-1, *(1,) * max(first.ndim, last.ndim))
    result = steps * (np.subtract(last, first) / max(gaps, 1)) + first
    if endpoint and count > 1:
        result[-1] = last
    if dtype is None:
        return result
    return astype(np.floor(result) if np.issubdtype(dtype, np.integer) else result, dtype)


def np_round(a: Any, decimals: Any = 0) -> Any:
    x = lift(a)
    digits = operator.index(decimals)
    if x.dtype_name not in FLOATS and digits >= 0:
        return wrap(x.value(), x.weak)
    if digits == 0:
        return wrap(ew.round(x.value()))
    scale = 10.0 ** abs(digits)
    if x.dtype_name not in FLOATS:
        return astype(np_round(astype(x, np.float64), digits), x.dtype)
    if digits > 0:
        return wrap(ew.round(x.value() * scale) / scale)
    return wrap(ew.round(x.value() / scale) * scale)


def polyval(p: Any, x: Any) -> Any:
    result = np.zeros_like(x)
    for coefficient in p:
        result = result * x + coefficient
    return result
