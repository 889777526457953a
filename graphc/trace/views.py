"""Views of traced arrays: what NumPy's basic indexing, `.T` and `reshape` give.

A view reads (`get`) from the array below it and writes back into it (`put`), so that assignment
through a view changes the array that it views, as in NumPy.
"""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

import numpy as np

from graphc import errors
from graphc.build import Value
from graphc.dims import Size, symbols_of
from graphc.ir import PARTS, WHOLES
from graphc.ops import complexes
from graphc.ops import shape as shape_ops
from graphc.questions import evaluate
from graphc.trace.sizes import with_numbers

Ints = tuple[Any, ...]


class SliceView(NamedTuple):
    """A window with a step for each axis."""

    starts: Ints
    sizes: Ints
    steps: Ints

    def get(self, base: Value) -> Value:
        return shape_ops.slice(base, starts=self.starts, sizes=self.sizes, steps=self.steps)

    def put(self, base: Value, new: Value) -> Value:
        return shape_ops.update_slice(base, new, starts=self.starts, steps=self.steps)

    def apply(self, dummy: np.ndarray) -> np.ndarray:
        return dummy[shape_ops.window(self.starts, self.sizes, self.steps)]


class ReshapeView(NamedTuple):
    """Another shape for the same elements in the same order."""

    before: Ints
    after: Ints

    def get(self, base: Value) -> Value:
        return shape_ops.reshape(base, shape=self.after)

    def put(self, base: Value, new: Value) -> Value:
        return shape_ops.reshape(new, shape=self.before)

    def apply(self, dummy: np.ndarray) -> np.ndarray:
        return dummy.reshape(self.after, copy=False)


class TransposeView(NamedTuple):
    """Axis i of the view is axis axes[i] of the array below."""

    axes: Ints

    def get(self, base: Value) -> Value:
        return shape_ops.transpose(base, axes=self.axes)

    def put(self, base: Value, new: Value) -> Value:
        return shape_ops.transpose(new, axes=tuple(map(int, np.argsort(self.axes))))

    def apply(self, dummy: np.ndarray) -> np.ndarray:
        return dummy.transpose(self.axes)


class BroadcastView(NamedTuple):
    """Elements repeated along axes; read-only, as in NumPy."""

    shape: Ints

    def get(self, base: Value) -> Value:
        offset = len(self.shape) - len(base.shape)
        axes = tuple(range(offset, len(self.shape)))
        return shape_ops.broadcast(base, shape=self.shape, axes=axes)

    def put(self, base: Value, new: Value) -> Value:
        raise errors.ReadOnlyError(
            "assignment destination is read-only: it is a broadcast view; assign to a copy"
        )

    def apply(self, dummy: np.ndarray) -> np.ndarray:
        return np.broadcast_to(dummy, self.shape)


class WindowView(NamedTuple):
    """Windows of some `size` along an axis, which get an axis of their own; read-only."""

    axis: int
    size: int

    def get(self, base: Value) -> Value:
        return shape_ops.windows(base, self.axis, self.size)

    def put(self, base: Value, new: Value) -> Value:
        raise errors.ReadOnlyError(
            "assignment destination is read-only: windows share elements; assign to a copy"
        )

    def apply(self, dummy: np.ndarray) -> np.ndarray:
        return np.lib.stride_tricks.sliding_window_view(dummy, self.size, self.axis)


class PartView(NamedTuple):
    """The real parts (0) or the imaginary ones (1) of complex numbers."""

    which: int

    def get(self, base: Value) -> Value:
        return complexes.imag(base) if self.which else complexes.real(base)

    def put(self, base: Value, new: Value) -> Value:
        if self.which:
            return complexes.complex(complexes.real(base), new)
        return complexes.complex(new, complexes.imag(base))

    def apply(self, dummy: np.ndarray) -> np.ndarray:
        """Every second of the elements, as they lie in memory."""
        strides = tuple(2 * step for step in dummy.strides)
        return np.lib.stride_tricks.as_strided(dummy, dummy.shape, strides)


class NumbersView(NamedTuple):
    """Complex numbers as twice as many real ones along the last axis, or the other way round."""

    to_complex: bool

    def get(self, base: Value) -> Value:
        return _paired(base) if self.to_complex else _side_by_side(base)

    def put(self, base: Value, new: Value) -> Value:
        return _side_by_side(new) if self.to_complex else _paired(new)

    def apply(self, dummy: np.ndarray) -> np.ndarray:
        """Of contiguous numbers, contiguous ones."""
        *rest, last = dummy.shape
        shape = (*rest, last // 2 if self.to_complex else 2 * last)
        steps = np.cumprod((1, *shape[:0:-1]))[::-1]
        return np.lib.stride_tricks.as_strided(dummy, shape, tuple(int(n) for n in steps))


def _paired(x: Value) -> Value:
    """Neighbours along the last axis as the parts of complex numbers."""
    sizes, rank = (*x.shape[:-1], x.shape[-1] // 2), len(x.shape)
    parts = [
        shape_ops.slice(
            x, starts=(*(0,) * (rank - 1), i), sizes=sizes, steps=(*(1,) * (rank - 1), 2)
        )
        for i in (0, 1)
    ]
    return complexes.complex(*parts)


def _side_by_side(x: Value) -> Value:
    """The parts of complex numbers as neighbours along the last axis."""
    lifted = [
        shape_ops.reshape(part, shape=(*x.shape, 1))
        for part in (complexes.real(x), complexes.imag(x))
    ]
    both = shape_ops.concatenate(*lifted, axis=len(x.shape))
    return shape_ops.reshape(both, shape=(*x.shape[:-1], 2 * x.shape[-1]))


View = SliceView | ReshapeView | TransposeView | BroadcastView | WindowView | PartView | NumbersView


def dtype_through(dtype: str, views: tuple[View, ...]) -> str:
    """The dtype of an array of `dtype` seen through views."""
    for view in views:
        if isinstance(view, NumbersView):
            dtype = (WHOLES if view.to_complex else PARTS)[dtype]
        elif isinstance(view, PartView):
            dtype = PARTS[dtype]
    return dtype


def is_contiguous(shape: Ints, views: tuple[View, ...]) -> bool:
    """Whether the elements of such a view of a contiguous array lie one after the other."""
    shape, views = with_numbers((shape, views), _typical)
    return bool(_stand_in(shape, views).flags.c_contiguous)


def reshape_is_view(shape: Ints, views: tuple[View, ...], new_shape: Ints) -> bool:
    """Whether NumPy reshapes such a view of a contiguous array without copying."""
    shape, views, new_shape = with_numbers((shape, views, new_shape), _typical)
    try:
        _stand_in(shape, views).reshape(new_shape, copy=False)
    except ValueError:
        return False
    return True


def _typical(size: Size) -> int:
    """A number by which strides compare as by any from 2 upwards: none that comes up by chance."""
    if size == 0 or size == 1:
        raise AssertionError("a question whose answer is yes starts the trace again")
    names = (symbol.name for symbol in symbols_of((size,)))
    return evaluate(size, {name: 10_007 + zlib.crc32(name.encode()) % 50_000 for name in names})


def _stand_in(shape: Ints, views: tuple[View, ...]) -> np.ndarray:
    """An array with the strides of the view, all over one byte, to ask NumPy questions about.

    No element of it is read.
    """
    contiguous = tuple(int(n) for n in np.cumprod((1, *shape[:0:-1]))[::-1]) if shape else ()
    dummy = np.lib.stride_tricks.as_strided(np.empty(1, np.bool_), shape, contiguous)
    for view in views:
        dummy = view.apply(dummy)
    return dummy
