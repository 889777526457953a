"""Calls of NumPy's ufuncs on traced arrays, with `out=`, `where=` and `dtype=`; their methods."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import errors
from graphc.ir import INEXACT
from graphc.trace import indexing, scipy_ufuncs, sizes
from graphc.trace import numpy_logic as logic
from graphc.trace import numpy_products as products
from graphc.trace import numpy_reductions as reductions
from graphc.trace import numpy_running as running
from graphc.trace import numpy_shapes as shapes
from graphc.trace.broadcasting import broadcast_to
from graphc.trace.masks import restart_if_made_here
from graphc.trace.promotion import cast_to, known_dtype
from graphc.trace.scope import user_loc
from graphc.trace.selection import Selection
from graphc.trace.tracer import Tracer, lift
from graphc.trace.ufuncs import emit_ufunc

Entry = Callable[..., Any]

SEVERAL_RESULTS: dict[Any, Entry] = {
    np.divmod: logic.divmod_of,
    np.modf: logic.modf,
    np.frexp: logic.frexp,
}
"""Ufuncs that give a tuple."""

OF_MATRICES: dict[Any, Entry] = {
    np.matmul: products.matmul,
    **{
        getattr(np, name): getattr(products, name)
        for name in ("vecdot", "matvec", "vecmat")
        if hasattr(np, name)
    },
}
"""Ufuncs that act on vectors and matrices."""

COMPOSED: dict[Any, Entry] = {np.bitwise_count: logic.bitwise_count}
"""Elementwise ufuncs that are written with others."""


def call_ufunc(ufunc: Any, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`ufunc(*inputs, **kwargs)`, or a method of it such as `np.add.reduce`."""
    selected = next((x for x in inputs if isinstance(x, Selection)), None)
    if selected is not None:
        return selected.__array_ufunc__(ufunc, method, *inputs, **kwargs)
    name = _shown(ufunc)
    if method != "__call__":
        return _call_method(ufunc, method, inputs, kwargs)
    for name_of_layout in ("subok", "order"):  # of classes and of memory, which nobody sees here
        kwargs.pop(name_of_layout, None)
    out = kwargs.pop("out", None)
    casting = kwargs.pop("casting", "same_kind")
    entry = SEVERAL_RESULTS.get(ufunc) or scipy_ufuncs.entry(ufunc, inputs)
    if entry is not None and ufunc.nout > 1:
        results = call(name, entry, inputs, kwargs)
        return results if out is None else _store_each(out, results, casting)
    where = kwargs.pop("where", True)
    entry = entry or OF_MATRICES.get(ufunc) or COMPOSED.get(ufunc) or _elementwise(ufunc, casting)
    result = call(name, entry, inputs, kwargs)
    if where is not True:
        result = _where(where, result, out)
    return result if out is None else store_into(out, result, casting)


def _elementwise(ufunc: Any, casting: str) -> Entry:
    def apply(*inputs: Any, dtype: Any = None) -> Tracer:
        chosen = None if dtype is None else known_dtype(dtype)
        result = emit_ufunc(ufunc, [lift(x) for x in inputs], chosen, casting)
        if result is None:
            raise unsupported(_shown(ufunc))
        return result

    return apply


def _shown(ufunc: Any) -> str:
    """How a user writes it: as NumPy's, or else as scipy's."""
    module = "np" if getattr(np, ufunc.__name__, None) is ufunc else "scipy.special"
    return f"{module}.{ufunc.__name__}"


def _where(mask: Any, result: Any, out: Any) -> Any:
    """Elements that `where=` leaves out keep what `out` holds."""
    if out is None:
        raise errors.UnsupportedFunctionError(
            "a ufunc with where= and without out= leaves elements undefined; give out=, or use"
            " np.where(mask, f(x), 0)",
            user_loc(),
        )
    kept = out[0] if isinstance(out, tuple) else out
    return np.where(mask, result, kept)


def _store_each(outs: Any, results: tuple[Any, ...], casting: str) -> tuple[Any, ...]:
    pairs = zip(outs, results, strict=True)
    return tuple(r if out is None else store_into(out, r, casting) for out, r in pairs)


# ---- methods -------------------------------------------------------------------------------------


def _reduction(reduce: Entry, *, has_dtype: bool = True) -> Entry:
    """`ufunc.reduce`, whose axis is 0 if none is given."""
    if has_dtype:
        return lambda array, axis=0, dtype=None, keepdims=False, initial=None, where=None: reduce(
            array, axis, dtype, keepdims, initial, where
        )
    return lambda array, axis=0, keepdims=False, initial=None, where=None: reduce(
        array, axis, keepdims, initial, where
    )


def _logical(reduce: Entry) -> Entry:
    return lambda array, axis=0, keepdims=False, where=None: reduce(array, axis, keepdims, where)


def _logaddexp_reduce(array: Any, axis: Any = 0, keepdims: bool = False) -> Any:
    """log(sum(exp(x))) with the largest element taken out, where it is finite."""
    x = lift(array)
    if x.dtype_name not in INEXACT:
        x = x.astype(np.logaddexp.resolve_dtypes((x.dtype, x.dtype, None))[0])
    if not x.size:
        return np.log(reductions.sum(x, axis, None, keepdims))
    largest = reductions.max(x, axis, True)
    shift = np.where(np.isfinite(largest), largest, 0)
    total = np.log(reductions.sum(np.exp(x - shift), axis, None, True)) + shift
    return total if keepdims else shapes.squeeze(total, reductions.normalise_axes(axis, x.ndim))


def _by_halves(ufunc: Any, identity: Any = None) -> Entry:
    """The reduction by an operation whose operands may be grouped and exchanged at will."""

    def reduce(array: Any, axis: Any = 0, keepdims: bool = False, initial: Any = None) -> Any:
        x: Any = lift(array)
        axes = reductions.normalise_axes(axis, x.ndim)
        kept = [i for i in range(x.ndim) if i not in axes]
        rest = tuple(x.shape[i] for i in kept)
        rows = np.transpose(x, (*axes, *kept)).reshape(-1, *rest)
        start = identity if initial is None else initial
        if start is not None and (initial is not None or not rows.shape[0]):
            first = np.broadcast_to(np.asarray(start).astype(x.dtype), (1, *rest))
            rows = np.concatenate([first, rows])
        if not rows.shape[0]:
            raise errors.ShapeError(
                f"np.{ufunc.__name__}.reduce of no elements has no result; give initial=",
                user_loc(),
            )
        while (count := rows.shape[0]) > 1:
            half = count // 2
            joined = ufunc(rows[:half], rows[half : 2 * half])
            rows = np.concatenate([joined, rows[2 * half :]]) if count % 2 else joined
        result = rows[0]
        shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
        return result.reshape(shape) if keepdims else result

    return reduce


_MOST_STEPS = 64


def _one_after_the_other(ufunc: Any) -> Entry:
    """The reduction by an operation whose operands may not be grouped at will, from the left."""

    def reduce(array: Any, axis: Any = 0, keepdims: bool = False, initial: Any = None) -> Any:
        x: Any = lift(array)
        axes = reductions.normalise_axes(axis, x.ndim)
        if len(axes) != 1 or x.shape[axes[0]] > _MOST_STEPS:
            raise unsupported(f"np.{ufunc.__name__}.reduce")
        rows = list(np.moveaxis(x, axes[0], 0))
        rows = rows if initial is None else [np.asarray(initial), *rows]
        if not rows:
            raise errors.ShapeError(
                f"np.{ufunc.__name__}.reduce of no elements has no result", user_loc()
            )
        result = rows[0] if len(rows) > 1 else np.copy(rows[0])
        for row in rows[1:]:
            result = ufunc(result, row)
        return np.expand_dims(result, axes[0]) if keepdims else result

    return reduce


REDUCE: dict[Any, Entry] = {
    np.add: _reduction(reductions.sum),
    np.multiply: _reduction(reductions.prod),
    np.maximum: _reduction(reductions.max, has_dtype=False),
    np.minimum: _reduction(reductions.min, has_dtype=False),
    np.logical_and: _logical(reductions.all),
    np.logical_or: _logical(reductions.any),
    np.logaddexp: _logaddexp_reduce,
    np.logical_xor: lambda array, axis=0, keepdims=False: _by_halves(np.logical_xor, False)(
        lift(array).astype(bool), axis, keepdims
    ),
    **{ufunc: _by_halves(ufunc) for ufunc in (np.fmax, np.fmin, np.hypot, np.lcm)},
    **{ufunc: _by_halves(ufunc, 0) for ufunc in (np.bitwise_or, np.bitwise_xor, np.gcd)},
    np.bitwise_and: _by_halves(np.bitwise_and, -1),
    np.logaddexp2: _by_halves(np.logaddexp2, -np.inf),
    **{
        ufunc: _one_after_the_other(ufunc)
        for ufunc in (np.subtract, np.true_divide, np.floor_divide, np.remainder, np.fmod)
    },
}
ACCUMULATE: dict[Any, Entry] = {
    np.add: lambda array, axis=0, dtype=None: running.cumsum(array, axis, dtype),
    np.multiply: lambda array, axis=0, dtype=None: running.cumprod(array, axis, dtype),
    np.maximum: running.running_maximum,
    np.minimum: running.running_minimum,
}
AT: dict[Any, Entry] = {
    np.add: indexing.add_at,
    np.subtract: lambda a, indices, b: indexing.add_at(a, indices, b, -1),
    np.maximum: lambda a, indices, b: indexing.extremum_at(a, indices, b, True),
    np.minimum: lambda a, indices, b: indexing.extremum_at(a, indices, b, False),
}
_METHODS = {"reduce": REDUCE, "accumulate": ACCUMULATE, "at": AT}


def _call_method(ufunc: Any, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    name = f"np.{ufunc.__name__}.{method}"
    if method == "outer":
        first, second = map(lift, inputs)
        column = shapes.reshape(first, first.shape + (1,) * second.ndim)
        return call_ufunc(ufunc, "__call__", (column, second), kwargs)
    entry = _METHODS.get(method, {}).get(ufunc)
    if entry is None:
        raise unsupported(name)
    if method == "at" and not isinstance(inputs[0], Tracer):
        raise errors.ReadOnlyError(
            f"{name} with traced values cannot change an ordinary array while tracing; pass the"
            " array to the function as an argument, or make it there with np.zeros",
            user_loc(),
        )
    out = kwargs.pop("out", None)
    result = call(name, entry, inputs, kwargs)
    return result if out is None else store_into(out, result)


# ---- calling and storing -------------------------------------------------------------------------


def call(name: str, entry: Entry, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`entry(*args, **kwargs)`; parameters that it does not have are an error that names them."""
    kwargs = {key: value for key, value in kwargs.items() if value is not np._NoValue}
    if any(value is np._NoValue for value in args):
        args = _with_defaults(entry, args)
    try:
        return entry(*args, **kwargs)
    except TypeError:
        _expect_fit(name, entry, args, kwargs)
        raise


def _with_defaults(entry: Entry, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The default of each parameter for which NumPy's mark of a missing argument was given."""
    parameters = list(inspect.signature(entry).parameters.values())
    pairs = zip(args, parameters[: len(args)], strict=True)
    return tuple(p.default if value is np._NoValue else value for value, p in pairs)


def _expect_fit(name: str, entry: Entry, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Asked only when a call has failed: reading a signature takes longer than most calls."""
    try:
        inspect.signature(entry).bind(*args, **kwargs)
    except TypeError as error:
        raise errors.UnsupportedFunctionError(
            f"{name} cannot be traced with these arguments: {error}; leave it out", user_loc()
        ) from None


def store_into(out: Any, result: Any, casting: str = "same_kind") -> Tracer:
    """What `out=` means: `result` written into an array that the caller gave."""
    if isinstance(out, tuple):
        (out,) = out
    if not isinstance(out, Tracer):
        if isinstance(out, np.ndarray):
            restart_if_made_here(out)
        raise errors.ReadOnlyError(
            "a traced result cannot be written into an ordinary array while tracing; pass the"
            " array to the function as an argument, make it there with np.zeros, or use the"
            " returned value",
            user_loc(),
        )
    result = lift(result)
    if result.shape != out.shape:
        try:
            fits = sizes.broadcast_shapes(result.shape, out.shape) == out.shape
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


def unsupported(name: str) -> errors.UnsupportedFunctionError:
    """What is not in the tables, with the nearest that is."""
    from graphc.trace import numpy_table

    return errors.UnsupportedFunctionError(
        f"{name} cannot be traced; {numpy_table.instead_of(name)}, or compute it outside of the"
        " traced function",
        user_loc(),
    )
