"""NumPy's functions that make arrays, copy them, and compute them from few numbers."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import errors
from graphc.build import Value
from graphc.dims import Dim
from graphc.ir import COMPLEXES, FLOATS, INEXACT, OPS
from graphc.ops import elementwise as ew
from graphc.ops import index as index_ops
from graphc.trace.broadcasting import broadcast_to
from graphc.trace.complex_parts import joined
from graphc.trace.promotion import cast_to, known_dtype
from graphc.trace.scope import current, user_loc
from graphc.trace.sizes import as_shape, as_size
from graphc.trace.tracer import Tracer, lift, wrap

# ---- filled arrays -------------------------------------------------------------------------------


def like(fill: int) -> Callable[..., Tracer]:
    """`np.zeros_like` and its like."""

    def make(
        a: Any, dtype: Any = None, order: str = "K", subok: bool = True, *, shape: Any = None
    ) -> Tracer:
        return full_like(a, fill, dtype, shape=shape)

    return make


def full_like(
    a: Any,
    fill_value: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    *,
    shape: Any = None,
) -> Tracer:
    x = lift(a)
    chosen = x.dtype if dtype is None else dtype
    return full(x.shape if shape is None else shape, fill_value, chosen)


def full(shape: Any, fill_value: Any, dtype: Any = None) -> Tracer:
    extents = as_shape(shape)
    fill = lift(fill_value)
    name = fill.dtype_name if dtype is None else known_dtype(dtype)
    return fresh_array(broadcast_to(cast_to(fill.value(), name), extents))


def arange(start: Any, stop: Any = None, step: Any = 1, *, dtype: Any = None) -> Tracer:
    """`np.arange` of integers, some of them symbolic sizes."""
    first, end = (0, start) if stop is None else (start, stop)
    first, end, step = as_size(first), as_size(end), operator.index(step)
    gap = end - first if step > 0 else first - end
    count = (gap + abs(step) - 1) // abs(step) if gap > 0 else 0
    places = iota((count,), 0)
    places = places if step == 1 else places * step
    places = places if first == 0 else places + first
    return fresh_array(cast_to(places, "i64" if dtype is None else known_dtype(dtype)))


def eye(N: Any, M: Any = None, k: Any = 0, dtype: Any = float) -> Tracer:  # noqa: N803 - NumPy's
    """`np.eye`; of a symbolic size, the places where row and column meet."""
    shape = (as_size(N), as_size(N if M is None else M))
    if not any(isinstance(size, Dim) for size in shape):
        return lift(np.eye(*shape, k, dtype))
    here = ew.equal(iota(shape, 0) + operator.index(k), iota(shape, 1))
    return fresh_array(cast_to(here, known_dtype(dtype)))


def iota(shape: tuple[Any, ...], axis: int) -> Value:
    attrs = {"shape": shape, "axis": axis, "dtype": "i64"}
    return current().builder.emit(OPS["iota"], (), attrs)[0]


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


def complex_number(real: Any, imag: Any = None) -> Tracer:
    """Python's `complex(real, imag)`."""
    x, y = lift(real), lift(0.0 if imag is None else imag)
    for part in (x, y):
        if part.ndim:
            raise errors.ConcreteValueError(
                f"complex() takes single numbers, not {part.type}; use x + 1j * y", user_loc()
            )
    whole = wrap(cast_to(x.value(), "c128"), weak=True)
    if imag is None:
        return whole
    turned: Any = np.multiply(1j, y)
    turned.weak = True
    result: Tracer = whole + turned
    return result


def array(
    object: Any,
    dtype: Any = None,
    *,
    copy: bool | None = True,
    order: Any = "K",
    subok: bool = False,
    ndmin: int = 0,
) -> Tracer:
    """`np.array` of something that holds traced values; its order in memory is nobody's to see."""
    x = lift(object)
    name = x.dtype_name if dtype is None else known_dtype(dtype)
    if copy or isinstance(object, (list, tuple)) or name != x.dtype_name or x.is_scalar:
        x = fresh_array(cast_to(x.value(), name))
    missing = operator.index(ndmin) - x.ndim
    return x.reshape((1,) * missing + x.shape) if missing > 0 else x


def asarray(a: Any, dtype: Any = None, order: Any = "K", *, copy: bool | None = None) -> Tracer:
    return array(a, dtype, copy=copy)


def result_type(*arrays_and_dtypes: Any) -> np.dtype:
    given = (x.stand_in() if isinstance(x, Tracer) else x for x in arrays_and_dtypes)
    return np.result_type(*given)


def can_cast(from_: Any, to: Any, casting: Any = "safe") -> bool:
    return np.can_cast(from_.dtype if isinstance(from_, Tracer) else from_, to, casting)


def shares_memory(a: Any, b: Any, max_work: Any = None) -> bool:
    """Known of whole arrays; of two views of one array, it depends on which elements they have."""
    x, y = lift(a), lift(b)
    if x.storage is not y.storage:
        return False
    if x.views and y.views and x.views != y.views:
        raise errors.UnsupportedFunctionError(
            "whether two views of a traced array share elements is not looked at", user_loc()
        )
    return bool(x.size and y.size)


def require(a: Any, dtype: Any = None, requirements: Any = None, *, like: Any = None) -> Tracer:
    """`np.require`; how a traced array lies in memory is nobody's to see."""
    x = asarray(a, dtype)
    wanted = {str(name).upper() for name in requirements or ()}
    return copy(x) if wanted & {"O", "OWNDATA"} and x.views else x


def asarray_chkfinite(a: Any, dtype: Any = None, order: Any = None) -> Tracer:
    x = asarray(a, dtype)
    if x.dtype_name in INEXACT:
        ok = lift(np.isfinite(x)).value()
        message = "array must not contain infs or NaNs"
        index_ops.check(ok, cast_to(ok, "i64"), error="ValueError", message=message)
    return x


# ---- computed ------------------------------------------------------------------------------------


def linspace(
    start: Any,
    stop: Any,
    num: Any = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: Any = 0,
) -> Any:
    count = operator.index(num)
    ends: list[Any] = [lift(start), lift(stop)]
    start, stop = (end * 1.0 for end in ends)  # a Python number stays one
    if retstep:
        gaps = count - 1 if endpoint else count
        step = np.true_divide(np.subtract(stop, start), gaps) if gaps > 0 else np.nan
        return linspace(start, stop, count, endpoint, False, dtype, axis), step
    result = _linspace(start, stop, count, endpoint, dtype)
    return np.moveaxis(result, 0, axis) if axis else result


def _linspace(start: Any, stop: Any, count: int, endpoint: bool, dtype: Any) -> Any:
    gaps = count - 1 if endpoint else count
    first, last = lift(start), lift(stop)
    steps = np.arange(count, dtype=np.result_type(first.stand_in(), last.stand_in(), 0.0))
    steps = steps.reshape(-1, *(1,) * max(first.ndim, last.ndim))
    result = steps * (np.subtract(last, first) / max(gaps, 1)) + first
    if endpoint and count > 1:
        result[-1] = last
    if dtype is None:
        return result
    return astype(np.floor(result) if np.issubdtype(dtype, np.integer) else result, dtype)


def logspace(
    start: Any,
    stop: Any,
    num: Any = 50,
    endpoint: bool = True,
    base: Any = 10.0,
    dtype: Any = None,
    axis: Any = 0,
) -> Any:
    rank = max(np.ndim(start), np.ndim(stop), np.ndim(base))
    first, last = (
        np.reshape(end, (1,) * (rank - np.ndim(end)) + np.shape(end)) if rank else end
        for end in (start, stop)
    )
    result = np.power(base, linspace(first, last, num, endpoint))
    result = np.moveaxis(result, 0, axis) if axis else result
    return result if dtype is None else astype(result, dtype)


def geomspace(
    start: Any, stop: Any, num: Any = 50, endpoint: bool = True, dtype: Any = None
) -> Any:
    """Of two positive or two negative ends."""
    start, stop = (lift(end).astype(np.float64) for end in (start, stop))
    sign = np.sign(start)
    first, last = np.log10(np.multiply(start, sign)), np.log10(np.multiply(stop, sign))
    result = sign * logspace(first, last, num, endpoint)
    if operator.index(num):
        result[0] = start
    if endpoint and operator.index(num) > 1:
        result[-1] = stop
    return result if dtype is None else astype(result, dtype)


def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> Any:
    rank = len(xi)
    parts = []
    for i, x in enumerate(xi):
        place = 1 - i if indexing == "xy" and i < 2 and rank > 1 else i
        parts.append(lift(x).reshape((1,) * place + (-1,) + (1,) * (rank - 1 - place)))
    return tuple(parts) if sparse else tuple(np.copy(p) for p in np.broadcast_arrays(*parts))


def vander(x: Any, N: Any = None, increasing: bool = False) -> Any:  # noqa: N803 - NumPy's name
    values: Any = lift(x)
    values = values.astype(np.promote_types(values.dtype, int))
    count = values.shape[0] if N is None else operator.index(N)
    columns = [np.ones_like(values)]
    for _ in range(1, count):
        columns.append(columns[-1] * values)
    columns = columns[:count] if increasing else columns[:count][::-1]
    return np.stack(columns, 1) if columns else np.zeros((values.shape[0], 0), values.dtype)


def np_round(a: Any, decimals: Any = 0, out: Any = None) -> Any:
    """`np.round`; with a wider `out`, all but the scaling happens in its dtype."""
    x = lift(a)
    if out is not None:
        from graphc.trace.numpy_ufuncs import store_into

        return store_into(out, _rounded_into(x, operator.index(decimals), out))
    digits = operator.index(decimals)
    if x.dtype_name in COMPLEXES:
        return joined(np_round(x.real, digits), np_round(x.imag, digits))
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


def _rounded_into(x: Any, digits: int, out: Any) -> Any:
    """The digits of `x` as `np.round` computes them in the memory of `out`."""
    (target,) = out if isinstance(out, tuple) else (out,)
    is_wider = isinstance(target, Tracer) and target.dtype_name in FLOATS
    if not is_wider or not digits or x.dtype_name not in FLOATS:
        return np_round(x, digits)
    scale = 10.0 ** abs(digits)
    scaled: Any = x * scale if digits > 0 else x / scale
    whole = np_round(scaled.astype(target.dtype))
    return whole / scale if digits > 0 else whole * scale
