"""Operations that move elements without changing them.

`reshape`, `transpose`, `broadcast`, `slice` and `skew` are views: they cost nothing on a value that
is in memory.  `pad`, `concatenate` and `update_slice` write a new array; `iota` and `constant` make
one.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc import errors
from graphc.build import Value
from graphc.dims import Dim, Shape, Size, same, same_shape, surely_less
from graphc.ir import FLOATS, INTS, NUMPY_DTYPES, Dense, Op, Type, register
from graphc.ops.reduce import sum as reduce_sum


def _check(ok: bool, message: str) -> None:
    if not ok:
        raise errors.ShapeError(message)


# ---- reshape, transpose --------------------------------------------------------------------------


def _infer_reshape(x: Type, *, shape: Shape) -> tuple[Type, ...]:
    result = x.with_shape(shape)
    _check(
        result.size == x.size and not any(surely_less(n, 0) for n in shape),
        f"reshape: {x} has {x.size} elements, shape {tuple(shape)} has {result.size}",
    )
    return (result,)


reshape: Op = register(
    Op(
        "reshape",
        _infer_reshape,
        lambda x, shape: np.reshape(x, shape),
        lambda g, out, x, *, shape: (reshape(g, shape=x.shape),),
    )
)


def _infer_transpose(x: Type, *, axes: tuple[int, ...]) -> tuple[Type, ...]:
    _check(sorted(axes) == list(range(x.rank)), f"transpose: axes {axes} do not permute {x}")
    return (x.with_shape(tuple(x.shape[axis] for axis in axes)),)


def _inverse(axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argsort(axes))


transpose: Op = register(
    Op(
        "transpose",
        _infer_transpose,
        lambda x, axes: np.transpose(x, axes),
        lambda g, out, x, *, axes: (transpose(g, axes=_inverse(axes)),),
    )
)

# ---- broadcast -----------------------------------------------------------------------------------


def _infer_broadcast(x: Type, *, shape: Shape, axes: tuple[int, ...]) -> tuple[Type, ...]:
    _check(
        len(axes) == x.rank and list(axes) == sorted(set(axes)),
        f"broadcast: {x} needs {x.rank} increasing axes, not {axes}",
    )
    for size, axis in zip(x.shape, axes, strict=True):
        _check(
            0 <= axis < len(shape) and (size == 1 or same(size, shape[axis])),
            f"broadcast: {x} does not fit shape {tuple(shape)} at axes {axes}",
        )
    return (x.with_shape(shape),)


def _broadcast_reference(
    x: np.ndarray, shape: tuple[int, ...], axes: tuple[int, ...]
) -> np.ndarray:
    spread = [1] * len(shape)
    for size, axis in zip(x.shape, axes, strict=True):
        spread[axis] = size
    return np.broadcast_to(np.reshape(x, spread), shape)


def _broadcast_vjp(
    g: Value, out: Value, x: Value, *, shape: tuple[int, ...], axes: tuple[int, ...]
) -> tuple[Any, ...]:
    kept = {axis for size, axis in zip(x.shape, axes, strict=True) if size == shape[axis]}
    summed = tuple(axis for axis in range(len(shape)) if axis not in kept)
    partial = reduce_sum(g, axes=summed) if summed else g
    return (partial if partial.shape == x.shape else reshape(partial, shape=x.shape),)


broadcast = register(
    Op(
        "broadcast",
        _infer_broadcast,
        _broadcast_reference,
        _broadcast_vjp,
        doc="Axis i of the input becomes axis axes[i] of the result; a size of 1 is repeated.",
    )
)

# ---- slice, update_slice -------------------------------------------------------------------------

Ints = tuple[int, ...]


def _expect_window(name: str, whole: Shape, starts: Shape, sizes: Shape, steps: Ints) -> None:
    """Every element that the window names lies inside `whole`, as far as sizes are known."""
    _check(
        len(starts) == len(sizes) == len(steps) == len(whole),
        f"{name}: needs a start, a size and a step for each of {len(whole)} axes",
    )
    for extent, start, size, step in zip(whole, starts, sizes, steps, strict=True):
        ends = (start, start + (size - 1) * step)
        outside = any(surely_less(end, 0) or surely_less(extent, end + 1) for end in ends)
        _check(
            step != 0 and not surely_less(size, 0) and not (outside and surely_less(0, size)),
            f"{name}: start {start}, size {size}, step {step} leave an axis of {extent}",
        )


def window(starts: Ints, sizes: Ints, steps: Ints) -> tuple[builtins.slice, ...]:
    """The NumPy slices that read the given window."""
    slices = []
    for start, size, step in zip(starts, sizes, steps, strict=True):
        stop: int | None = start + size * step
        if size == 0:
            start = stop = 0
        elif stop is not None and stop < 0:  # a negative step that runs to the first element
            stop = None
        slices.append(builtins.slice(start, stop, step))
    return tuple(slices)


def _infer_slice(x: Type, *, starts: Ints, sizes: Ints, steps: Ints) -> tuple[Type, ...]:
    _expect_window("slice", x.shape, starts, sizes, steps)
    return (x.with_shape(sizes),)


def _slice_vjp(
    g: Value, out: Value, x: Value, *, starts: Ints, sizes: Ints, steps: Ints
) -> tuple[Any, ...]:
    if all(step == 1 for step in steps):
        after = tuple(
            n - start - size for n, start, size in zip(x.shape, starts, sizes, strict=True)
        )
        return (pad(g, low=starts, high=after, value=0.0),)
    return (update_slice(x.literal(0.0), g, starts=starts, steps=steps),)


slice = register(
    Op(
        "slice",
        _infer_slice,
        lambda x, starts, sizes, steps: x[window(starts, sizes, steps)],
        _slice_vjp,
        doc="Element i of an axis is element starts + i * steps of the input; steps may be < 0.",
    )
)


def _infer_update_slice(x: Type, v: Type, *, starts: Ints, steps: Ints) -> tuple[Type, ...]:
    _expect_window("update_slice", x.shape, starts, v.shape, steps)
    if v.dtype != x.dtype:
        raise errors.DTypeError(f"update_slice: {x} cannot take values of {v}")
    return (x,)


def _update_slice_reference(x: np.ndarray, v: np.ndarray, starts: Ints, steps: Ints) -> np.ndarray:
    result = np.array(x)
    result[window(starts, v.shape, steps)] = v
    return result


def _update_slice_vjp(
    g: Value, out: Value, x: Value, v: Value, *, starts: Ints, steps: Ints
) -> tuple[Any, ...]:
    kept = update_slice(g, v.literal(0.0), starts=starts, steps=steps)
    return (kept, slice(g, starts=starts, sizes=v.shape, steps=steps))


update_slice = register(
    Op(
        "update_slice",
        _infer_update_slice,
        _update_slice_reference,
        _update_slice_vjp,
        doc="x with the window that begins at `starts` and has v's shape replaced by v.",
    )
)

# ---- pad, concatenate ----------------------------------------------------------------------------


def _infer_pad(x: Type, *, low: Ints, high: Ints, value: bool | int | float) -> tuple[Type, ...]:
    _check(
        len(low) == len(high) == x.rank and not any(surely_less(n, 0) for n in (*low, *high)),
        f"pad: widths {low}, {high} do not fit {x}",
    )
    return (x.with_shape(tuple(a + n + b for a, n, b in zip(low, x.shape, high, strict=True))),)


def _pad_reference(x: np.ndarray, low: Ints, high: Ints, value: bool | int | float) -> np.ndarray:
    widths = list(zip(low, high, strict=True))
    return np.pad(x, widths, constant_values=value) if widths else x


def _pad_vjp(
    g: Value, out: Value, x: Value, *, low: Ints, high: Ints, value: bool | int | float
) -> tuple[Any, ...]:
    return (slice(g, starts=low, sizes=x.shape, steps=(1,) * len(low)),)


pad = register(Op("pad", _infer_pad, _pad_reference, _pad_vjp))


def _infer_concatenate(*xs: Type, axis: int) -> tuple[Type, ...]:
    _check(bool(xs) and 0 <= axis < xs[0].rank, f"concatenate: no axis {axis}")
    first = xs[0]
    for x in xs:
        rest = x.shape[:axis] + x.shape[axis + 1 :]
        _check(
            x.dtype == first.dtype
            and same_shape(rest, first.shape[:axis] + first.shape[axis + 1 :]),
            f"concatenate: {x} does not continue {first} along axis {axis}",
        )
    total = builtins.sum(x.shape[axis] for x in xs)
    return (first.with_shape((*first.shape[:axis], total, *first.shape[axis + 1 :])),)


def _concatenate_vjp(g: Value, out: Value, *xs: Value, axis: int) -> tuple[Any, ...]:
    parts, at = [], 0
    for x in xs:
        starts = tuple(at if i == axis else 0 for i in range(len(x.shape)))
        parts.append(slice(g, starts=starts, sizes=x.shape, steps=(1,) * len(x.shape)))
        at += x.shape[axis]
    return tuple(parts)


concatenate = register(
    Op(
        "concatenate",
        _infer_concatenate,
        lambda *xs, axis: np.concatenate(xs, axis=axis),
        _concatenate_vjp,
    )
)

# ---- skew ----------------------------------------------------------------------------------------


def _infer_skew(x: Type, *, axis: int, by: int, step: int) -> tuple[Type, ...]:
    _check(
        0 <= axis < x.rank and 0 <= by < x.rank and axis != by and step != 0,
        f"skew: axis {axis} of {x} cannot move by steps of {step} along axis {by}",
    )
    count = x.shape[axis] - _farthest(x.shape[by], step)
    _check(
        not surely_less(x.shape[by], 1) and not surely_less(count, 0),
        f"skew: {x.shape[by]} steps of {step} leave an axis of {x.shape[axis]}",
    )
    return (x.with_shape((*x.shape[:axis], count, *x.shape[axis + 1 :])),)


def _farthest(count: Size, step: int) -> Size:
    """How far apart the first and the last of `count` steps are."""
    return (count - 1) * builtins.abs(step)


def _skew_reference(x: np.ndarray, axis: int, by: int, step: int) -> np.ndarray:
    farthest = _farthest(x.shape[by], step)
    strides = list(x.strides)
    strides[by] += step * strides[axis]
    shape = list(x.shape)
    shape[axis] -= farthest
    first = x[(builtins.slice(None),) * axis + (builtins.slice(farthest if step < 0 else 0, None),)]
    return np.lib.stride_tricks.as_strided(first, shape, strides, writeable=False)


def _skew_vjp(g: Value, out: Value, x: Value, *, axis: int, by: int, step: int) -> tuple[Any, ...]:
    """Each element comes back from where it went, or from the zeros around the cotangent."""
    beyond = _farthest(x.shape[by], step)
    widths = tuple(beyond if i == axis else 0 for i in range(len(x.shape)))
    return (skew(pad(g, low=widths, high=widths, value=0.0), axis=axis, by=by, step=-step),)


skew = register(
    Op(
        "skew",
        _infer_skew,
        _skew_reference,
        _skew_vjp,
        doc="At index i of axis `by`, element h of `axis` is element h + i * step of the input; for"
        " a step < 0 counted from the first that all i reach.",
    )
)


def windows(x: Value, axis: int, size: int) -> Value:
    """All runs of `size` elements along `axis`, which get an axis of their own at the end."""
    rank = len(x.shape)
    repeated = broadcast(x, shape=(*x.shape, size), axes=tuple(range(rank)))
    return skew(repeated, axis=axis, by=rank, step=1)


# ---- making arrays -------------------------------------------------------------------------------


def _infer_iota(*, shape: Ints, axis: int, dtype: str) -> tuple[Type, ...]:
    _check(0 <= axis < len(shape), f"iota: no axis {axis} in shape {tuple(shape)}")
    if dtype not in INTS | FLOATS:
        raise errors.DTypeError(f"iota: takes an integer or float dtype, not {dtype}")
    return (Type(dtype, tuple(shape)),)


def _iota_reference(shape: Ints, axis: int, dtype: str) -> np.ndarray:
    spread = [1] * len(shape)
    spread[axis] = shape[axis]
    steps = np.arange(shape[axis], dtype=NUMPY_DTYPES[dtype])
    return np.broadcast_to(steps.reshape(spread), shape)


iota = register(
    Op("iota", _infer_iota, _iota_reference, None, doc="The index along `axis`, as a value.")
)


def _infer_constant(*, value: Dense) -> tuple[Type, ...]:
    return (value.type,)


constant = register(Op("constant", _infer_constant, lambda value: value.array, None))


def _infer_dimension(*, size: Size) -> tuple[Type, ...]:
    _check(isinstance(size, (int, Dim)), f"dimension: {size!r} is no size")
    return (Type("i64"),)


dimension = register(
    Op(
        "dimension",
        _infer_dimension,
        lambda size: np.int64(size),
        doc="A size as a number: what a symbolic one is when the step runs.",
    )
)

VIEWS = frozenset({reshape, transpose, broadcast, slice, skew})
"""Ops whose result is a rearranged reading of their input."""
