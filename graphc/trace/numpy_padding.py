"""`np.pad` in all of its modes but the one that calls a function."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from graphc import errors
from graphc.ir import COMPLEXES, FLOATS, INTS
from graphc.ops import shape as shape_ops
from graphc.trace.complex_parts import joined
from graphc.trace.scope import user_loc
from graphc.trace.sizes import as_size
from graphc.trace.tracer import Tracer, holds_tracer, lift, wrap

_INDEXED = ("edge", "reflect", "symmetric", "wrap")
_OF_EACH_END = ("maximum", "minimum", "mean", "median")
_OPTIONS = {
    "constant": {"constant_values"},
    "empty": set(),
    "linear_ramp": {"end_values"},
    **{mode: {"reflect_type"} for mode in ("reflect", "symmetric")},
    **{mode: {"stat_length"} for mode in _OF_EACH_END},
    **{mode: set() for mode in ("edge", "wrap")},
}
"""Mode -> the options that it has."""


def pad(array: Any, pad_width: Any, mode: Any = "constant", **options: Any) -> Tracer:
    x = lift(array)
    widths = _widths(pad_width, x.ndim)
    if not isinstance(mode, str) or mode not in _OPTIONS:
        raise errors.UnsupportedFunctionError(
            f"np.pad can be traced with mode={', '.join(map(repr, _OPTIONS))}", user_loc()
        )
    if unknown := options.keys() - _OPTIONS[mode]:
        raise errors.ArgumentError(
            f"np.pad with mode={mode!r} has no option {', '.join(sorted(unknown))}", user_loc()
        )
    if mode == "linear_ramp":
        return _by_axis(x, widths, _ramps(options.get("end_values", 0), x.ndim))
    if mode in _OF_EACH_END:
        return _by_axis(x, widths, _statistics(mode, options.get("stat_length"), x.ndim))
    if mode in _INDEXED:
        return _pad_by_index(x, widths, mode, options.get("reflect_type", "even") == "odd")
    fill = options.get("constant_values", 0)
    if np.ndim(fill) == 0:
        return _pad_by(x, widths, fill)
    fills = np.broadcast_to(np.asarray(fill), (x.ndim, 2))
    for axis in range(x.ndim):
        for side in (0, 1):
            own = np.zeros_like(widths)
            own[axis, side] = widths[axis, side]
            x = _pad_by(x, own, fills[axis, side])
    return x


def _widths(pad_width: Any, rank: int) -> np.ndarray:
    if isinstance(pad_width, dict):
        widths = np.zeros((rank, 2), int)
        for axis, width in pad_width.items():
            widths[axis] = width
        return widths
    dtype = object if holds_tracer([pad_width]) else int  # symbolic sizes stay what they are
    return np.broadcast_to(np.asarray(pad_width, dtype=dtype), (rank, 2))


def _pad_by(x: Tracer, widths: np.ndarray, fill: Any) -> Tracer:
    low, high = (tuple(as_size(n) for n in widths[:, i]) for i in (0, 1))
    if any(n < 0 for n in (*low, *high)):
        raise errors.ShapeError("pad: index can't contain negative values", user_loc())
    if x.dtype_name in COMPLEXES:
        fill = fill if isinstance(fill, Tracer) else x.dtype.type(fill)
        parts = ((x.real, fill.real), (x.imag, fill.imag))
        whole: Tracer = joined(*(_pad_by(wrap(own.value()), widths, end) for own, end in parts))
        return whole
    if not isinstance(fill, Tracer):
        return wrap(shape_ops.pad(x.value(), low=low, high=high, value=x.dtype.type(fill).item()))
    shape = tuple(a + n + b for a, n, b in zip(low, x.shape, high, strict=True))
    base = np.broadcast_to(fill.astype(x.dtype), shape).value()  # type: ignore[attr-defined]
    return wrap(shape_ops.update_slice(base, x.value(), starts=low, steps=(1,) * x.ndim))


def _pad_by_index(x: Tracer, widths: np.ndarray, mode: Any, is_odd: bool) -> Tracer:
    """NumPy pads the positions along each axis; the elements are taken from there.

    Odd reflections are mirrored at the end, too: 2 * end - element.
    """
    for axis, width in enumerate(widths):
        if not width.any():
            continue
        before, size = (slice(None),) * axis, operator.index(x.shape[axis])
        positions = np.pad(np.arange(size), tuple(width), mode=mode)
        taken: Any = x[(*before, positions)]
        if is_odd:
            furthest = size - 1 if mode == "reflect" else size
            if max(width) > furthest:
                raise errors.UnsupportedFunctionError(
                    "an odd reflection can be traced up to the length of the axis,"
                    f" {furthest} here, not {max(width)}",
                    user_loc(),
                )
            place = np.arange(positions.size) - width[0]
            place = place.reshape((-1,) + (1,) * (x.ndim - 1 - axis))
            first, last = x[(*before, slice(0, 1))], x[(*before, slice(-1, None))]
            taken = np.where(place < 0, 2 * first - taken, taken)
            taken = np.where(place >= size, 2 * last - taken, taken)
        x = taken
    return wrap(x.value())


# ---- modes that compute what goes before and behind ----------------------------------------------


def _by_axis(x: Tracer, widths: np.ndarray, ends: Any) -> Tracer:
    """`ends(x, axis, side, width)` is what is added on each side, axis by axis."""
    for axis, width in enumerate(widths):
        low, high = (ends(x, axis, side, int(width[side])) for side in (0, 1))
        x = np.concatenate([low, x, high], axis)  # type: ignore[assignment]
    return wrap(x.value())


def _ramps(end_values: Any, rank: int) -> Any:
    targets = np.broadcast_to(np.asarray(end_values), (rank, 2))

    def ramp(x: Any, axis: int, side: int, width: int) -> Any:
        before = (slice(None),) * axis
        edge = x[(*before, -1 if side else 0)]
        steps = np.linspace(
            np.full(edge.shape, targets[axis, side]), edge, width, endpoint=False, dtype=x.dtype
        )
        steps = np.moveaxis(steps, 0, axis)
        return np.flip(steps, axis) if side else steps

    return ramp


def _statistics(mode: str, stat_length: Any, rank: int) -> Any:
    reduce = getattr(np, {"maximum": "max", "minimum": "min"}.get(mode, mode))
    lengths = None if stat_length is None else np.broadcast_to(stat_length, (rank, 2))

    def level(x: Any, axis: int, side: int, width: int) -> Any:
        size = x.shape[axis]
        count = size if lengths is None else min(int(lengths[axis, side]), size)
        part = slice(size - count, None) if side else slice(0, count)
        value = reduce(x[(slice(None),) * axis + (part,)], axis=axis, keepdims=True)
        if x.dtype_name in INTS and lift(value).dtype_name in FLOATS:
            value = np.round(value)
        shape = (*x.shape[:axis], width, *x.shape[axis + 1 :])
        return np.broadcast_to(value.astype(x.dtype), shape)

    return level
