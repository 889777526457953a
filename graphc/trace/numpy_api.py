"""NumPy's functions and methods on traced arrays: the tables `FUNCTIONS` and `METHODS`.

Each entry has the signature of the NumPy function that it stands for, restricted to the parameters
that graphc honours; a call with any other parameter is an error that names it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import errors
from graphc.trace import numpy_choosing as choosing
from graphc.trace import numpy_joining as joining
from graphc.trace import numpy_making as making
from graphc.trace import numpy_products as products
from graphc.trace import numpy_reductions as reductions
from graphc.trace import numpy_shapes as shapes
from graphc.trace.scope import user_loc
from graphc.trace.tracer import Tracer, cast_to, known_dtype, lift
from graphc.trace.ufuncs import broadcast_to, emit_ufunc

# ---- entry points of NumPy's protocols -----------------------------------------------------------


def call_ufunc(ufunc: Any, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`ufunc(*inputs, **kwargs)`, or a method of it such as `np.add.reduce`."""
    name = f"np.{ufunc.__name__}"
    if method == "reduce" and ufunc in _REDUCE:
        return _call(f"{name}.reduce", _REDUCE[ufunc], inputs, kwargs)
    if method == "outer":
        first, second = map(lift, inputs)
        column = shapes.reshape(first, first.shape + (1,) * second.ndim)
        return call_ufunc(ufunc, "__call__", (column, second), kwargs)
    if method != "__call__":
        raise _unsupported(f"{name}.{method}")
    if ufunc is np.divmod and not kwargs:
        return np.floor_divide(*inputs), np.remainder(*inputs)
    out = kwargs.pop("out", None)
    casting = kwargs.pop("casting", "same_kind")
    entry = products.matmul if ufunc is np.matmul else _elementwise(ufunc, casting)
    result = _call(name, entry, inputs, kwargs)
    return result if out is None else _store_into(out, result, casting)


def _elementwise(ufunc: Any, casting: str) -> Callable[..., Tracer]:
    def apply(*inputs: Any, dtype: Any = None) -> Tracer:
        chosen = None if dtype is None else known_dtype(dtype)
        result = emit_ufunc(ufunc, [lift(x) for x in inputs], chosen, casting)
        if result is None:
            raise _unsupported(f"np.{ufunc.__name__}")
        return result

    return apply


def call_function(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A NumPy function that is not a ufunc, by the table."""
    name = qualified_name(func)
    if func not in FUNCTIONS:
        raise _unsupported(name)
    out = kwargs.pop("out", None) if func in _TAKES_OUT else None
    result = _call(name, FUNCTIONS[func], args, kwargs)
    return result if out is None else _store_into(out, result)


def call_method(name: str, x: Tracer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`x.name(*args, **kwargs)`"""
    out = kwargs.pop("out", None) if name in _METHODS_WITH_OUT else None
    result = _call(f".{name}()", METHODS[name], (x, *args), kwargs)
    return result if out is None else _store_into(out, result)


def _call(
    name: str, entry: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    try:
        return entry(*args, **kwargs)
    except TypeError:
        _expect_fit(name, entry, args, kwargs)
        raise


def _expect_fit(
    name: str, entry: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Asked only when a call has failed: reading a signature takes longer than most calls."""
    try:
        inspect.signature(entry).bind(*args, **kwargs)
    except TypeError as error:
        raise errors.UnsupportedFunctionError(
            f"{name} cannot be traced with these arguments: {error}; leave it out", user_loc()
        ) from None


def _store_into(out: Any, result: Tracer, casting: str = "same_kind") -> Tracer:
    """What `out=` means: `result` written into an array that the caller gave."""
    if isinstance(out, tuple):
        (out,) = out
    if not isinstance(out, Tracer):
        raise errors.ReadOnlyError(
            "a traced result cannot be written into an ordinary array while tracing; pass the"
            " array to the function as an argument, make it there with np.zeros, or use the"
            " returned value",
            user_loc(),
        )
    if result.shape != out.shape:
        try:
            fits = np.broadcast_shapes(result.shape, out.shape) == out.shape
        except ValueError:
            fits = False
        if not fits:
            raise errors.ShapeError(
                f"a result of {result.type} does not fit into an array of {out.type}; use the"
                " returned value, or x = x + y instead of x += y",
                user_loc(),
            )
    if not np.can_cast(result.dtype, out.dtype, casting):  # type: ignore[arg-type]
        raise errors.DTypeError(
            f"cannot store {result.dtype} into an array of {out.dtype} in place;"
            " use x = x + y, or .astype",
            user_loc(),
        )
    out.store(broadcast_to(cast_to(result.value(), out.dtype_name), out.shape))
    return out


def qualified_name(func: Any) -> str:
    """How a user writes a NumPy function: `np.sum`, `np.linalg.norm`."""
    module = str(getattr(func, "__module__", "numpy")).replace("numpy", "np", 1)
    return f"{module}.{func.__name__}"


def _unsupported(name: str) -> errors.UnsupportedFunctionError:
    instead = _INSTEAD.get(name, "write it with functions that can")
    return errors.UnsupportedFunctionError(
        f"{name} cannot be traced; {instead}, or compute it outside of the traced function",
        user_loc(),
    )


_INSTEAD = {
    "np.add.at": "use values @ (indices[:, None] == np.arange(n))",
    "np.apply_along_axis": "call the function on the whole array, with axis=",
    "np.argsort": "np.argmax and np.argmin find the ends",
    "np.bincount": "use np.sum(indices[:, None] == np.arange(n), axis=0)",
    "np.copysign": "use np.where(y < 0, -np.abs(x), np.abs(x))",
    "np.convolve": "use np.sum of shifted slices x[i : i + n] * kernel[i]",
    "np.cumsum": "use np.tril(np.ones((n, n))) @ x",
    "np.einsum": "use np.matmul, np.tensordot, or a product and np.sum",
    "np.interp": "use np.where, or np.select of the pieces",
    "np.median": "np.mean, np.max and np.min can",
    "np.piecewise": "use np.select or np.where",
    "np.sinc": "use np.where(x == 0, 1, np.sin(np.pi * x) / (np.pi * x))",
    "np.sort": "np.max and np.min find the ends",
    "np.vectorize": "call the function on the whole array",
}
"""NumPy function that cannot be traced -> what does the same, where names are no guide."""


def _no_static_shape(name: str, instead: str) -> Callable[..., Any]:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise errors.DataDependentShapeError(
            f"{name} has a result whose shape depends on the data; {instead}", user_loc()
        )

    return refuse


# ---- functions -----------------------------------------------------------------------------------

FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.sum: reductions.sum,
    np.prod: reductions.prod,
    np.max: reductions.max,
    np.min: reductions.min,
    np.any: reductions.any,
    np.all: reductions.all,
    np.mean: reductions.mean,
    np.average: reductions.average,
    np.var: reductions.var,
    np.std: reductions.std,
    np.ptp: reductions.ptp,
    np.count_nonzero: reductions.count_nonzero,
    np.nansum: reductions.nansum,
    np.nanmean: reductions.nanmean,
    np.argmax: reductions.argmax,
    np.argmin: reductions.argmin,
    np.linalg.norm: reductions.norm,
    np.reshape: shapes.reshape,
    np.ravel: shapes.ravel,
    np.transpose: shapes.transpose,
    np.matrix_transpose: shapes.matrix_transpose,
    np.swapaxes: shapes.swapaxes,
    np.moveaxis: shapes.moveaxis,
    np.expand_dims: shapes.expand_dims,
    np.squeeze: shapes.squeeze,
    np.broadcast_to: shapes.np_broadcast_to,
    np.broadcast_arrays: shapes.broadcast_arrays,
    np.flip: shapes.flip,
    np.flipud: lambda m: shapes.flip(m, 0),
    np.fliplr: lambda m: shapes.flip(m, 1),
    np.rot90: shapes.rot90,
    np.atleast_1d: shapes.atleast_1d,
    np.atleast_2d: shapes.atleast_2d,
    np.shape: shapes.shape_of,
    np.ndim: lambda a: lift(a).ndim,
    np.size: lambda a, axis=None: lift(a).size if axis is None else lift(a).shape[axis],
    np.concatenate: joining.concatenate,
    np.stack: joining.stack,
    np.vstack: joining.vstack,
    np.hstack: joining.hstack,
    np.column_stack: joining.column_stack,
    np.append: joining.append,
    np.split: joining.split,
    np.array_split: joining.array_split,
    np.pad: joining.pad,
    np.tile: joining.tile,
    np.repeat: joining.repeat,
    np.roll: joining.roll,
    np.diff: joining.diff,
    np.dot: products.dot,
    np.inner: products.inner,
    np.outer: products.outer,
    np.vdot: products.vdot,
    np.tensordot: products.tensordot,
    np.where: choosing.where,
    np.select: choosing.select,
    np.clip: choosing.clip,
    np.take: choosing.take,
    np.take_along_axis: choosing.take_along_axis,
    np.diag: choosing.diag,
    np.diagonal: choosing.diagonal,
    np.trace: choosing.trace,
    np.triu: choosing.triu,
    np.tril: choosing.tril,
    np.isclose: choosing.isclose,
    np.allclose: choosing.allclose,
    np.array_equal: choosing.array_equal,
    np.nan_to_num: choosing.nan_to_num,
    np.zeros_like: making.like(0),
    np.ones_like: making.like(1),
    np.empty_like: making.like(0),
    np.full_like: making.full_like,
    np.linspace: making.linspace,
    np.copy: making.copy,
    np.copyto: making.copyto,
    np.astype: making.astype,
    np.round: making.np_round,
    np.around: making.np_round,
    np.polyval: making.polyval,
    np.result_type: making.result_type,
    np.real: lift,
    np.nonzero: _no_static_shape("np.nonzero", "use np.where(condition, x, y)"),
    np.unique: _no_static_shape("np.unique", "compute it outside of the traced function"),
    np.flatnonzero: _no_static_shape("np.flatnonzero", "use np.where(condition, x, y)"),
    np.argwhere: _no_static_shape("np.argwhere", "use np.where(condition, x, y)"),
    np.compress: _no_static_shape("np.compress", "use np.where(condition, x, 0)"),
    np.extract: _no_static_shape("np.extract", "use np.where(condition, x, 0)"),
}
"""NumPy function -> its traced form."""

FUNCTIONS[np.amax], FUNCTIONS[np.amin] = reductions.max, reductions.min

_TAKES_OUT = frozenset(
    {np.sum, np.prod, np.max, np.min, np.amax, np.amin, np.any, np.all, np.mean, np.var, np.std}
    | {np.argmax, np.argmin, np.concatenate, np.stack, np.clip, np.dot, np.take, np.round}
)

_REDUCE: dict[Any, Callable[..., Any]] = {
    np.add: lambda array, axis=0, dtype=None, keepdims=False: reductions.sum(
        array, axis, dtype, keepdims
    ),
    np.multiply: lambda array, axis=0, dtype=None, keepdims=False: reductions.prod(
        array, axis, dtype, keepdims
    ),
    np.maximum: lambda array, axis=0, keepdims=False: reductions.max(array, axis, keepdims),
    np.minimum: lambda array, axis=0, keepdims=False: reductions.min(array, axis, keepdims),
    np.logical_and: lambda array, axis=0, keepdims=False: reductions.all(array, axis, keepdims),
    np.logical_or: lambda array, axis=0, keepdims=False: reductions.any(array, axis, keepdims),
}


# ---- methods -------------------------------------------------------------------------------------


def _reshape_method(x: Tracer, *shape: Any, order: str = "C") -> Tracer:
    return shapes.reshape(x, shape[0] if len(shape) == 1 else shape, order)


def _transpose_method(x: Tracer, *axes: Any) -> Tracer:
    if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list))):
        return shapes.transpose(x, axes[0])
    return shapes.transpose(x, axes or None)


def _fill(x: Tracer, value: Any) -> None:
    x[...] = value


def _needs_value(name: str) -> Callable[..., Any]:
    def refuse(x: Tracer, *args: Any) -> Any:
        raise errors.ConcreteValueError(
            f".{name}() of a traced value {x.type} is not known while tracing; return the array"
            f" and call .{name}() on the result",
            user_loc(),
        )

    return refuse


METHODS: dict[str, Callable[..., Any]] = {
    "sum": reductions.sum,
    "prod": reductions.prod,
    "max": reductions.max,
    "min": reductions.min,
    "any": reductions.any,
    "all": reductions.all,
    "mean": reductions.mean,
    "var": reductions.var,
    "std": reductions.std,
    "argmax": reductions.argmax,
    "argmin": reductions.argmin,
    "reshape": _reshape_method,
    "transpose": _transpose_method,
    "ravel": shapes.ravel,
    "flatten": lambda a, order="C": making.copy(shapes.ravel(a, order)),
    "swapaxes": shapes.swapaxes,
    "squeeze": shapes.squeeze,
    "repeat": joining.repeat,
    "astype": making.astype,
    "copy": making.copy,
    "clip": choosing.clip,
    "round": making.np_round,
    "dot": products.dot,
    "take": choosing.take,
    "trace": choosing.trace,
    "diagonal": choosing.diagonal,
    "conj": lambda a: a,
    "conjugate": lambda a: a,
    "fill": _fill,
    "item": _needs_value("item"),
    "tolist": _needs_value("tolist"),
    "nonzero": FUNCTIONS[np.nonzero],
}
"""ndarray method -> its traced form; the first argument is the array."""

_METHODS_WITH_OUT = frozenset(
    "sum prod max min any all mean var std argmax argmin clip round dot take".split()
)
