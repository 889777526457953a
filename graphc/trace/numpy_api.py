"""NumPy's functions and methods on traced arrays: the tables `FUNCTIONS` and `METHODS`.

Each entry has the signature of the NumPy function that it stands for, restricted to the parameters
that graphc honours; a call with any other parameter is an error that names it.
"""

from __future__ import annotations

import builtins
import difflib
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc import errors
from graphc.build import Value
from graphc.ir import FLOATS
from graphc.ops import elementwise as ew
from graphc.ops import linalg as linalg_ops
from graphc.ops import reduce as reduce_ops
from graphc.ops import shape as shape_ops
from graphc.trace.scope import current, user_loc
from graphc.trace.tracer import Tracer, cast_to, known_dtype, lift, promoted_dtype, wrap
from graphc.trace.ufuncs import UFUNCS, broadcast_shapes, broadcast_to, emit_ufunc
from graphc.trace.views import (
    BroadcastView,
    ReshapeView,
    SliceView,
    TransposeView,
    reshape_is_view,
)

Shape = tuple[int, ...]

# ---- entry points of NumPy's protocols ---------------------------------------------------------------


def call_ufunc(ufunc: Any, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`ufunc(*inputs, **kwargs)`, or a method of it such as `np.add.reduce`."""
    if method == "reduce" and ufunc in _REDUCE:
        return _REDUCE[ufunc](*inputs, **kwargs)
    if method != "__call__":
        raise _unsupported(f"np.{ufunc.__name__}.{method}")
    if ufunc is np.matmul:
        return _with_out(matmul, inputs, kwargs)
    return _with_out(lambda *args, **kw: _elementwise(ufunc, args, **kw), inputs, kwargs)


def _elementwise(ufunc: Any, inputs: tuple[Any, ...], dtype: Any = None, where: Any = True) -> Any:
    if where is not True:
        raise errors.UnsupportedFunctionError(
            f"np.{ufunc.__name__} with where= cannot be traced; use np.where on its result",
            user_loc(),
        )
    chosen = None if dtype is None else known_dtype(dtype)
    result = emit_ufunc(ufunc, [lift(x) for x in inputs], chosen)
    if result is None:
        raise _unsupported(f"np.{ufunc.__name__}")
    return result


def _with_out(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`function(*args)`, stored into `out=` where that is given."""
    out = kwargs.pop("out", None)
    if isinstance(out, tuple):
        (out,) = out
    _expect_keywords(function, kwargs, ("dtype", "where", "casting"))
    kwargs.pop("casting", None)
    result = function(*args, **kwargs)
    return result if out is None else _store_into(out, result)


def _expect_keywords(name: Any, kwargs: dict[str, Any], allowed: Sequence[str]) -> None:
    for key in kwargs:
        if key not in allowed:
            raise errors.UnsupportedFunctionError(
                f"the argument {key}= cannot be traced; leave it out", user_loc()
            )


def _store_into(out: Any, result: Tracer) -> Tracer:
    if not isinstance(out, Tracer):
        raise errors.ReadOnlyError(
            "a traced result cannot be written into an ordinary array while tracing; pass the"
            " array to the function as an argument, or use the returned value",
            user_loc(),
        )
    if result.shape != out.shape:
        try:
            fits = np.broadcast_shapes(result.shape, out.shape) == out.shape
        except ValueError:
            fits = False
        if not fits:
            raise errors.ShapeError(
                f"a result of {result.type} does not fit into an array of {out.type}", user_loc()
            )
    if not np.can_cast(result.dtype, out.dtype, "same_kind"):
        raise errors.DTypeError(
            f"cannot store {result.dtype} into an array of {out.dtype} in place;"
            " use x = x + y, or .astype",
            user_loc(),
        )
    out.store(broadcast_to(cast_to(result.value(), out.dtype_name), out.shape))
    return out


def call_function(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A NumPy function that is not a ufunc, by the table."""
    name = f"np.{func.__name__}"
    if func not in FUNCTIONS:
        raise _unsupported(name)
    out = kwargs.pop("out", None) if func in _TAKES_OUT else None
    try:
        result = FUNCTIONS[func](*args, **kwargs)
    except TypeError as error:
        if isinstance(error, errors.GraphcError) or "argument" not in str(error):
            raise
        raise errors.UnsupportedFunctionError(
            f"{name} with these arguments cannot be traced ({_short(error)})", user_loc()
        ) from None
    return result if out is None else _store_into(out, result)


def _short(error: TypeError) -> str:
    return str(error).split("() ", 1)[-1]


def _unsupported(name: str) -> errors.UnsupportedFunctionError:
    known = [f"np.{f.__name__}" for f in (*FUNCTIONS, *UFUNCS)]
    near = difflib.get_close_matches(name, known, 1, 0.5)
    hint = f"; the nearest that works is {near[0]}" if near else ""
    return errors.UnsupportedFunctionError(
        f"{name} cannot be traced{hint}; compute it outside of the traced function or write it"
        " with functions from docs/numpy.md",
        user_loc(),
    )


# ---- axes ----------------------------------------------------------------------------------------------


def normalise_axis(axis: Any, rank: int) -> int:
    """`axis` counted from the front.  Raises `errors.AttributeValueError` if there is none such."""
    position = operator.index(axis)
    if not -rank <= position < rank:
        raise errors.AttributeValueError(
            f"axis {position} is out of bounds for an array of {rank} dimensions", user_loc()
        )
    return position % rank


def normalise_axes(axis: Any, rank: int) -> tuple[int, ...]:
    """The axes that `axis` (None, an int or a tuple) names, in order."""
    if axis is None:
        return tuple(range(rank))
    given = axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = tuple(sorted(normalise_axis(a, rank) for a in given))
    if len(set(axes)) != len(axes):
        raise errors.AttributeValueError(f"duplicate value in axis {tuple(given)}", user_loc())
    return axes


# ---- reductions ----------------------------------------------------------------------------------------


def _reduce(op: Any, x: Any, axis: Any, keepdims: bool, dtype: str | None = None) -> Tracer:
    x = lift(x)
    value = x.value() if dtype is None else cast_to(x.value(), dtype)
    axes = normalise_axes(axis, x.ndim)
    result = op(value, axes=axes) if axes else value
    if keepdims:
        shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
        result = shape_ops.reshape(result, shape=shape)
    return wrap(result)


def _sum_dtype(x: Tracer, dtype: Any) -> str:
    """NumPy adds and multiplies integers and booleans in i64."""
    if dtype is not None:
        return known_dtype(dtype)
    return x.dtype_name if x.dtype_name in FLOATS else "i64"


def sum(x: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Tracer:
    x = lift(x)
    return _reduce(reduce_ops.sum, x, axis, keepdims, _sum_dtype(x, dtype))


def prod(x: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Tracer:
    x = lift(x)
    return _reduce(reduce_ops.prod, x, axis, keepdims, _sum_dtype(x, dtype))


def max(x: Any, axis: Any = None, keepdims: bool = False) -> Tracer:
    return _reduce(reduce_ops.max, x, axis, keepdims)


def min(x: Any, axis: Any = None, keepdims: bool = False) -> Tracer:
    return _reduce(reduce_ops.min, x, axis, keepdims)


def any(x: Any, axis: Any = None, keepdims: bool = False) -> Tracer:
    return _reduce(reduce_ops.any, x, axis, keepdims, "bool")


def all(x: Any, axis: Any = None, keepdims: bool = False) -> Tracer:
    return _reduce(reduce_ops.all, x, axis, keepdims, "bool")


def count_nonzero(x: Any, axis: Any = None, keepdims: bool = False) -> Tracer:
    return sum(wrap(cast_to(lift(x).value(), "bool")), axis, np.int64, keepdims)


def mean(x: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Tracer:
    x = lift(x)
    if dtype is None:
        dtype = x.dtype if x.dtype_name in FLOATS else np.float64
    count = np.prod([x.shape[a] for a in normalise_axes(axis, x.ndim)], dtype=int)
    total = sum(x, axis, dtype, keepdims)
    return wrap(ew.divide(total.value(), float(count)))


def var(
    x: Any, axis: Any = None, dtype: Any = None, ddof: float = 0, keepdims: bool = False
) -> Tracer:
    x = lift(x)
    if dtype is None and x.dtype_name not in FLOATS:
        dtype = np.float64
    if dtype is not None:
        x = wrap(cast_to(x.value(), known_dtype(dtype)))
    centred = x - mean(x, axis, keepdims=True)
    count = np.prod([x.shape[a] for a in normalise_axes(axis, x.ndim)], dtype=int)
    total = sum(np.square(centred), axis, None, keepdims)
    return wrap(ew.divide(total.value(), float(builtins.max(count - ddof, 0))))



def std(
    x: Any, axis: Any = None, dtype: Any = None, ddof: float = 0, keepdims: bool = False
) -> Any:
    return np.sqrt(var(x, axis, dtype, ddof, keepdims))


def ptp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return max(x, axis, keepdims) - min(x, axis, keepdims)


def _position(op: Any, x: Any, axis: Any, keepdims: bool) -> Tracer:
    x = lift(x)
    flat = reshape(x, -1) if axis is None else x
    along = 0 if axis is None else normalise_axis(axis, x.ndim)
    result = op(flat.value(), axis=along)
    if keepdims:
        kept = (1,) * x.ndim if axis is None else (*x.shape[:along], 1, *x.shape[along + 1 :])
        result = shape_ops.reshape(result, shape=kept)
    return wrap(result)


def argmax(x: Any, axis: Any = None, keepdims: bool = False) -> Tracer:
    return _position(reduce_ops.argmax, x, axis, keepdims)


def argmin(x: Any, axis: Any = None, keepdims: bool = False) -> Tracer:
    return _position(reduce_ops.argmin, x, axis, keepdims)


# ---- shapes --------------------------------------------------------------------------------------------


def _as_shape(shape: Any, size: int) -> Shape:
    given = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    sizes = [operator.index(n) for n in given]
    if sizes.count(-1) == 1:
        rest = int(np.prod([n for n in sizes if n != -1], dtype=int))
        if rest and size % rest == 0:
            sizes[sizes.index(-1)] = size // rest
    if int(np.prod(sizes, dtype=int)) != size or builtins.min(sizes, default=0) < 0:
        raise errors.ShapeError(
            f"cannot reshape an array of size {size} into shape {tuple(given)}", user_loc()
        )
    return tuple(sizes)



def reshape(x: Any, shape: Any, order: str = "C") -> Tracer:
    x = lift(x)
    new = _as_shape(shape, x.size)
    if order != "C":
        raise errors.UnsupportedFunctionError("reshape: only order='C' can be traced", user_loc())
    if x.is_scalar or not reshape_is_view(x.storage.type.shape, x.views, new):
        return wrap(shape_ops.reshape(x.value(), shape=new))
    return x.view(ReshapeView(x.shape, new), new)


def ravel(x: Any, order: str = "C") -> Tracer:
    return reshape(x, -1, order)


def transpose(x: Any, axes: Any = None) -> Tracer:
    x = lift(x)
    if axes is None:
        order = tuple(reversed(range(x.ndim)))
    else:
        order = tuple(normalise_axis(a, x.ndim) for a in axes)
        if sorted(order) != list(range(x.ndim)):
            raise errors.AttributeValueError(f"axes {axes} do not match the array", user_loc())
    return x.view(TransposeView(order), tuple(x.shape[a] for a in order))


def swapaxes(x: Any, axis1: Any, axis2: Any) -> Tracer:
    x = lift(x)
    a, b = normalise_axis(axis1, x.ndim), normalise_axis(axis2, x.ndim)
    order = list(range(x.ndim))
    order[a], order[b] = order[b], order[a]
    return transpose(x, order)


def moveaxis(x: Any, source: Any, destination: Any) -> Tracer:
    x = lift(x)
    sources = source if isinstance(source, (tuple, list)) else (source,)
    targets = destination if isinstance(destination, (tuple, list)) else (destination,)
    moved = [normalise_axis(a, x.ndim) for a in sources]
    placed = [normalise_axis(a, x.ndim) for a in targets]
    order = [a for a in range(x.ndim) if a not in moved]
    for target, axis in sorted(zip(placed, moved, strict=True)):
        order.insert(target, axis)
    return transpose(x, order)


def expand_dims(x: Any, axis: Any) -> Tracer:
    x = lift(x)
    given = axis if isinstance(axis, (tuple, list)) else (axis,)
    rank = x.ndim + len(given)
    axes = normalise_axes(tuple(given), rank)
    sizes = iter(x.shape)
    shape = tuple(1 if i in axes else next(sizes) for i in range(rank))
    return x.view(ReshapeView(x.shape, shape), shape)


def squeeze(x: Any, axis: Any = None) -> Tracer:
    x = lift(x)
    axes = normalise_axes(axis, x.ndim)
    if axis is None:
        axes = tuple(a for a in axes if x.shape[a] == 1)
    for a in axes:
        if x.shape[a] != 1:
            raise errors.ShapeError(
                f"cannot squeeze axis {a} of size {x.shape[a]}; only axes of size 1", user_loc()
            )
    shape = tuple(n for i, n in enumerate(x.shape) if i not in axes)
    return x.view(ReshapeView(x.shape, shape), shape)


def np_broadcast_to(x: Any, shape: Any) -> Tracer:
    x = lift(x)
    target = (shape,) if isinstance(shape, int) else tuple(operator.index(n) for n in shape)
    try:
        fits = np.broadcast_shapes(x.shape, target) == target
    except ValueError:
        fits = False
    if not fits:
        raise errors.ShapeError(f"{x.type} cannot be broadcast to shape {target}", user_loc())
    return x.view(BroadcastView(target), target)


def broadcast_arrays(*arrays: Any) -> tuple[Tracer, ...]:
    lifted = [lift(x) for x in arrays]
    shape = broadcast_shapes("broadcast_arrays", lifted)
    return tuple(np_broadcast_to(x, shape) for x in lifted)


def flip(x: Any, axis: Any = None) -> Tracer:
    x = lift(x)
    axes = normalise_axes(axis, x.ndim)
    view = SliceView(
        tuple(n - 1 if i in axes and n else 0 for i, n in enumerate(x.shape)),
        x.shape,
        tuple(-1 if i in axes else 1 for i in range(x.ndim)),
    )
    return x.view(view, x.shape)


def atleast_1d(x: Any) -> Tracer:
    return lift(x) if lift(x).ndim else reshape(x, (1,))


def atleast_2d(x: Any) -> Tracer:
    x = atleast_1d(x)
    return x if x.ndim >= 2 else expand_dims(x, 0)


# ---- joining -------------------------------------------------------------------------------------------


def concatenate(arrays: Any, axis: Any = 0, dtype: Any = None) -> Tracer:
    parts = [lift(x) for x in arrays]
    if not parts:
        raise errors.ShapeError("need at least one array to concatenate", user_loc())
    if axis is None:
        parts, axis = [ravel(x) for x in parts], 0
    rank = parts[0].ndim
    if rank == 0 or builtins.any(x.ndim != rank for x in parts):
        listed = ", ".join(str(x.type) for x in parts)
        raise errors.ShapeError(f"concatenate: ranks differ or are zero: {listed}", user_loc())
    chosen = promoted_dtype(parts) if dtype is None else known_dtype(dtype)
    values = [cast_to(x.value(), chosen) for x in parts]
    try:
        return wrap(_concatenate(values, normalise_axis(axis, rank)))
    except errors.ShapeError as error:
        raise errors.ShapeError(str(error), user_loc()) from None


def _concatenate(values: list[Value], axis: int) -> Value:
    builder = current().builder
    outs = builder.emit(shape_ops.concatenate, [v.atom for v in values], {"axis": axis})
    return outs[0]



def stack(arrays: Any, axis: Any = 0, dtype: Any = None) -> Tracer:
    parts = [lift(x) for x in arrays]
    if len({x.shape for x in parts}) != 1:
        listed = ", ".join(str(x.type) for x in parts)
        raise errors.ShapeError(f"stack: all arrays need one shape: {listed}", user_loc())
    at = normalise_axis(axis, parts[0].ndim + 1)
    return concatenate([expand_dims(x, at) for x in parts], at, dtype)


def vstack(arrays: Any, dtype: Any = None) -> Tracer:
    return concatenate([atleast_2d(x) for x in arrays], 0, dtype)


def hstack(arrays: Any, dtype: Any = None) -> Tracer:
    parts = [atleast_1d(x) for x in arrays]
    return concatenate(parts, 0 if parts and parts[0].ndim == 1 else 1, dtype)


def split(x: Any, sections: Any, axis: Any = 0) -> list[Tracer]:
    x = lift(x)
    along = normalise_axis(axis, x.ndim)
    size = x.shape[along]
    if isinstance(sections, (list, tuple, np.ndarray)):
        cuts = [operator.index(i) for i in sections]
    else:
        count = operator.index(sections)
        if count < 1 or size % count:
            raise errors.ShapeError(
                f"split: an axis of {size} does not divide into {count} equal parts", user_loc()
            )
        cuts = [size // count * i for i in range(1, count)]
    bounds = [slice(a, b) for a, b in zip([0, *cuts], [*cuts, None], strict=True)]
    before = (slice(None),) * along
    return [x[(*before, part)] for part in bounds]


def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = 0) -> Tracer:
    x = lift(x)
    if mode != "constant" or not np.isscalar(constant_values):
        raise errors.UnsupportedFunctionError(
            "np.pad can be traced with mode='constant' and one constant value", user_loc()
        )
    widths = np.broadcast_to(np.asarray(pad_width, dtype=int), (x.ndim, 2))
    value = x.dtype.type(constant_values).item()
    low, high = (tuple(int(n) for n in widths[:, i]) for i in (0, 1))
    return wrap(shape_ops.pad(x.value(), low=low, high=high, value=value))


def tile(x: Any, reps: Any) -> Tracer:
    x = lift(x)
    counts = tuple(map(operator.index, reps)) if isinstance(reps, (tuple, list)) else (reps,)
    rank = len(counts) if len(counts) > x.ndim else x.ndim
    counts = (1,) * (rank - len(counts)) + counts
    x = reshape(x, (1,) * (rank - x.ndim) + x.shape)
    for axis, count in enumerate(counts):
        x = concatenate([x] * count, axis) if count != 1 else x
    return wrap(x.value())


# ---- products ------------------------------------------------------------------------------------------


def matmul(a: Any, b: Any, dtype: Any = None) -> Tracer:
    a, b = lift(a), lift(b)
    if not a.ndim or not b.ndim:
        raise errors.ShapeError("matmul takes arrays with at least one axis; use *", user_loc())
    left = a if a.ndim > 1 else expand_dims(a, 0)
    right = b if b.ndim > 1 else expand_dims(b, 1)
    if left.shape[-1] != right.shape[-2]:
        raise errors.ShapeError(
            f"matmul: {a.type} does not multiply {b.type}: {left.shape[-1]} columns against"
            f" {right.shape[-2]} rows",
            user_loc(),
        )
    chosen = promoted_dtype([a, b]) if dtype is None else known_dtype(dtype)
    result = _batched_product(left, right, "i32" if chosen == "bool" else chosen)
    dropped = [axis for axis, x in ((-2, a), (-1, b)) if x.ndim == 1]
    if dropped:
        shape = tuple(n for i, n in enumerate(result.shape, -len(result.shape)) if i not in dropped)
        result = shape_ops.reshape(result, shape=shape)
    return wrap(cast_to(result, chosen))


def _batched_product(left: Tracer, right: Tracer, dtype: str) -> Value:
    try:
        batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    except ValueError:
        raise errors.ShapeError(
            f"matmul: leading axes of {left.type} and {right.type} do not broadcast", user_loc()
        ) from None
    values = [
        broadcast_to(cast_to(x.value(), dtype), (*batch, *x.shape[-2:])) for x in (left, right)
    ]
    result: Value = linalg_ops.matmul(*values)
    return result


def dot(a: Any, b: Any) -> Any:
    a, b = lift(a), lift(b)
    if not a.ndim or not b.ndim:
        return np.multiply(a, b)
    if b.ndim <= 2:
        return matmul(a, b)
    return tensordot(a, b, ([a.ndim - 1], [b.ndim - 2]))


def inner(a: Any, b: Any) -> Any:
    a, b = lift(a), lift(b)
    if not a.ndim or not b.ndim:
        return np.multiply(a, b)
    return tensordot(a, b, ([a.ndim - 1], [b.ndim - 1]))


def outer(a: Any, b: Any) -> Any:
    return np.multiply(expand_dims(ravel(a), 1), expand_dims(ravel(b), 0))


def vdot(a: Any, b: Any) -> Any:
    return matmul(ravel(a), ravel(b))


def tensordot(a: Any, b: Any, axes: Any = 2) -> Tracer:
    a, b = lift(a), lift(b)
    first, second = _contracted_axes(a, b, axes)
    free_a = [i for i in range(a.ndim) if i not in first]
    free_b = [i for i in range(b.ndim) if i not in second]
    inner_size = int(np.prod([a.shape[i] for i in first], dtype=int))
    left = reshape(transpose(a, free_a + first), (-1 if a.size else 0, inner_size))
    right = reshape(transpose(b, second + free_b), (inner_size, -1 if b.size else 0))
    shape = tuple(a.shape[i] for i in free_a) + tuple(b.shape[i] for i in free_b)
    return wrap(shape_ops.reshape(matmul(left, right).value(), shape=shape))


def _contracted_axes(a: Tracer, b: Tracer, axes: Any) -> tuple[list[int], list[int]]:
    if isinstance(axes, int):
        first, second = list(range(a.ndim - axes, a.ndim)), list(range(axes))
    else:
        given = [x if isinstance(x, (tuple, list)) else (x,) for x in axes]
        first = [normalise_axis(i, a.ndim) for i in given[0]]
        second = [normalise_axis(i, b.ndim) for i in given[1]]
    if [a.shape[i] for i in first] != [b.shape[i] for i in second]:
        raise errors.ShapeError(
            f"tensordot: axes {first} of {a.type} do not match axes {second} of {b.type}",
            user_loc(),
        )
    return first, second


# ---- choosing ------------------------------------------------------------------------------------------


def where(condition: Any, x: Any = None, y: Any = None) -> Tracer:
    if x is None or y is None:
        raise errors.DataDependentShapeError(
            "np.where(condition) has as many results as the condition has true elements; use"
            " np.where(condition, x, y), whose shape is known",
            user_loc(),
        )
    parts = [lift(condition), lift(x), lift(y)]
    dtype = promoted_dtype(parts[1:])
    shape = broadcast_shapes("where", parts)
    values = [cast_to(parts[0].value(), "bool"), *(cast_to(p.value(), dtype) for p in parts[1:])]
    return wrap(ew.where(*(broadcast_to(v, shape) for v in values)))


def clip(
    x: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None
) -> Any:
    low = a_min if min is None else min
    high = a_max if max is None else max
    result = lift(x)
    if low is not None:
        result = np.maximum(result, low)
    return result if high is None else np.minimum(result, high)


def _no_static_shape(name: str, instead: str) -> Callable[..., Any]:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise errors.DataDependentShapeError(
            f"{name} has a result whose shape depends on the data; {instead}", user_loc()
        )

    return refuse


# ---- taking --------------------------------------------------------------------------------------------


def take(x: Any, indices: Any, axis: Any = None) -> Any:
    x = lift(x)
    if axis is None:
        x, axis = ravel(x), 0
    before = (slice(None),) * normalise_axis(axis, x.ndim)
    positions = lift(indices)
    if not positions.ndim:
        return x[(*before, indices)]
    return x[(*before, positions)]


# ---- making and copying ----------------------------------------------------------------------------------


def _like(fill: bool | int | float) -> Callable[..., Tracer]:
    def make(x: Any, dtype: Any = None, shape: Any = None) -> Tracer:
        return full_like(x, fill, dtype, shape)

    return make


def full_like(x: Any, fill_value: Any, dtype: Any = None, shape: Any = None) -> Tracer:
    x = lift(x)
    name = x.dtype_name if dtype is None else known_dtype(dtype)
    sizes = x.shape if shape is None else tuple(shape) if np.iterable(shape) else (shape,)
    fill = cast_to(lift(fill_value).value(), name)
    return _fresh_array(broadcast_to(fill, sizes))


def _fresh_array(value: Value) -> Tracer:
    """A new array that can be assigned to, also where it has no axes."""
    tracer = wrap(value)
    tracer.storage.mutable = True
    return tracer


def copy(x: Any, order: str = "K") -> Tracer:
    return _fresh_array(lift(x).value())


def astype(x: Any, dtype: Any, copy: bool = True) -> Tracer:
    x = lift(x)
    name = known_dtype(dtype)
    return wrap(cast_to(x.value(), name))


def array(x: Any, dtype: Any = None, copy: bool = True) -> Tracer:
    x = lift(x)
    return _fresh_array(x.value() if dtype is None else cast_to(x.value(), known_dtype(dtype)))


def np_round(x: Any, decimals: Any = 0) -> Any:
    x = lift(x)
    digits = operator.index(decimals)
    if x.dtype_name not in FLOATS and digits >= 0:
        return x
    if digits == 0:
        return wrap(ew.round(x.value()))
    scale = 10.0 ** abs(digits)
    if digits > 0:
        return wrap(ew.round(x.value() * scale) / scale)
    return wrap(ew.round(x.value() / scale) * scale)


def diag(x: Any, k: int = 0) -> Tracer:
    """The diagonal of a matrix, or a matrix with a given diagonal."""
    x = lift(x)
    if x.ndim == 2:
        rows, columns = x.shape
        start = k if k >= 0 else -k * columns
        count = builtins.min([columns - k, rows] if k >= 0 else [rows + k, columns])
        positions = start + (columns + 1) * np.arange(count if count > 0 else 0)
        return ravel(x)[positions]  # type: ignore[no-any-return]
    if x.ndim != 1:
        raise errors.ShapeError("diag takes one or two axes", user_loc())
    size = x.shape[0] + abs(k)
    mask = np.eye(size, k=k, dtype=bool)
    spread = pad(x, (0, abs(k))) if k <= 0 else pad(x, (abs(k), 0))
    return where(mask, spread, np.zeros((), x.dtype))



def trace(x: Any, offset: int = 0) -> Any:
    return sum(diag(x, offset))


def triu(x: Any, k: int = 0) -> Tracer:
    x = lift(x)
    return where(np.triu(np.ones(x.shape[-2:], bool), k), x, np.zeros((), x.dtype))


def tril(x: Any, k: int = 0) -> Tracer:
    x = lift(x)
    return where(np.tril(np.ones(x.shape[-2:], bool), k), x, np.zeros((), x.dtype))


def _shape_of(x: Any) -> Shape:
    return lift(x).shape


def _result_type(*arrays: Any) -> np.dtype:
    return np.result_type(*(x.dtype if isinstance(x, Tracer) else x for x in arrays))


def isclose(
    a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Any:
    finite = np.isfinite(b)
    near = np.less_equal(np.absolute(a - b), atol + rtol * np.absolute(b))
    result = np.where(finite, near, np.equal(a, b))
    if equal_nan:
        result = np.logical_or(result, np.logical_and(np.isnan(a), np.isnan(b)))
    return result


def allclose(*args: Any, **kwargs: Any) -> Any:
    return all(isclose(*args, **kwargs))


def array_equal(a: Any, b: Any) -> Any:
    if np.shape(a) != np.shape(b):
        return False
    return all(np.equal(a, b))


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    x = lift(x)
    if axis is None and x.ndim > 1 and ord in (None, "fro"):
        axis = tuple(range(x.ndim))
    many = isinstance(axis, tuple) and len(axis) > 1
    if ord in (None, 2, "fro") and not (many and ord == 2):
        return np.sqrt(sum(np.square(x), axis, None, keepdims))
    if many or ord not in (1, np.inf):
        raise errors.UnsupportedFunctionError(
            f"np.linalg.norm with ord={ord!r} cannot be traced; vectors take 1, 2 and inf", user_loc()
        )
    size = np.absolute(x)
    return sum(size, axis, None, keepdims) if ord == 1 else max(size, axis, keepdims)


FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.sum: sum,
    np.prod: prod,
    np.max: max,
    np.min: min,
    np.amax: max,
    np.amin: min,
    np.any: any,
    np.all: all,
    np.mean: mean,
    np.var: var,
    np.std: std,
    np.ptp: ptp,
    np.count_nonzero: count_nonzero,
    np.argmax: argmax,
    np.argmin: argmin,
    np.reshape: reshape,
    np.ravel: ravel,
    np.transpose: transpose,
    np.matrix_transpose: lambda x: swapaxes(x, -1, -2),
    np.swapaxes: swapaxes,
    np.moveaxis: moveaxis,
    np.expand_dims: expand_dims,
    np.squeeze: squeeze,
    np.broadcast_to: np_broadcast_to,
    np.broadcast_arrays: broadcast_arrays,
    np.flip: flip,
    np.flipud: lambda x: flip(x, 0),
    np.fliplr: lambda x: flip(x, 1),
    np.atleast_1d: atleast_1d,
    np.atleast_2d: atleast_2d,
    np.concatenate: concatenate,
    np.stack: stack,
    np.vstack: vstack,
    np.hstack: hstack,
    np.split: split,
    np.pad: pad,
    np.tile: tile,
    np.dot: dot,
    np.inner: inner,
    np.outer: outer,
    np.vdot: vdot,
    np.tensordot: tensordot,
    np.where: where,
    np.clip: clip,
    np.take: take,
    np.zeros_like: _like(0),
    np.ones_like: _like(1),
    np.empty_like: _like(0),
    np.full_like: full_like,
    np.copy: copy,
    np.round: np_round,
    np.around: np_round,
    np.diag: diag,
    np.diagonal: lambda x, offset=0: diag(x, offset),
    np.trace: trace,
    np.triu: triu,
    np.tril: tril,
    np.shape: _shape_of,
    np.ndim: lambda x: lift(x).ndim,
    np.size: lambda x, axis=None: lift(x).size if axis is None else lift(x).shape[axis],
    np.result_type: _result_type,
    np.isclose: isclose,
    np.allclose: allclose,
    np.array_equal: array_equal,
    np.linalg.norm: norm,
    np.real: lift,
    np.nonzero: _no_static_shape("np.nonzero", "use np.where(condition, x, y)"),
    np.unique: _no_static_shape("np.unique", "compute it outside of the traced function"),
    np.flatnonzero: _no_static_shape("np.flatnonzero", "use np.where(condition, x, y)"),
    np.argwhere: _no_static_shape("np.argwhere", "use np.where(condition, x, y)"),
    np.compress: _no_static_shape("np.compress", "use np.where(condition, x, 0)"),
    np.extract: _no_static_shape("np.extract", "use np.where(condition, x, 0)"),
}
"""NumPy function -> its traced form."""

_TAKES_OUT = frozenset(
    {np.sum, np.prod, np.max, np.min, np.amax, np.amin, np.any, np.all, np.mean, np.var, np.std}
    | {np.argmax, np.argmin, np.concatenate, np.stack, np.clip, np.dot, np.take, np.round}
)

_REDUCE: dict[Any, Callable[..., Any]] = {
    np.add: lambda x, axis=0, dtype=None, keepdims=False: sum(x, axis, dtype, keepdims),
    np.multiply: lambda x, axis=0, dtype=None, keepdims=False: prod(x, axis, dtype, keepdims),
    np.maximum: lambda x, axis=0, keepdims=False: max(x, axis, keepdims),
    np.minimum: lambda x, axis=0, keepdims=False: min(x, axis, keepdims),
    np.logical_and: lambda x, axis=0, keepdims=False: all(x, axis, keepdims),
    np.logical_or: lambda x, axis=0, keepdims=False: any(x, axis, keepdims),
}


# ---- methods -------------------------------------------------------------------------------------------


def _reshape_method(x: Tracer, *shape: Any, order: str = "C") -> Tracer:
    return reshape(x, shape[0] if len(shape) == 1 else shape, order)


def _transpose_method(x: Tracer, *axes: Any) -> Tracer:
    if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list))):
        return transpose(x, axes[0])
    return transpose(x, axes or None)


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
    **{
        function.__name__: function
        for function in (sum, prod, max, min, any, all, mean, var, std, argmax, argmin)
    },
    "ptp": ptp,
    "reshape": _reshape_method,
    "transpose": _transpose_method,
    "ravel": ravel,
    "flatten": lambda x: wrap(ravel(x).value()),
    "swapaxes": swapaxes,
    "squeeze": squeeze,
    "astype": astype,
    "copy": copy,
    "clip": clip,
    "round": np_round,
    "dot": dot,
    "take": take,
    "trace": trace,
    "diagonal": lambda x, offset=0: diag(x, offset),
    "conj": lambda x: x,
    "conjugate": lambda x: x,
    "fill": _fill,
    "item": _needs_value("item"),
    "tolist": _needs_value("tolist"),
    "nonzero": FUNCTIONS[np.nonzero],
}
"""ndarray method -> its traced form; the first argument is the array."""
