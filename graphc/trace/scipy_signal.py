"""Convolutions of scipy.signal on traced arrays."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import errors
from graphc.ir import INEXACT
from graphc.trace.scope import user_loc
from graphc.trace.tracer import lift

Entry = Callable[..., Any]

MOST_SHIFTS = 64
"""Smaller operands are gone through element by element; others by Fourier transforms."""


def convolve(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> Any:
    first, second = lift(in1), lift(in2)
    if first.ndim != second.ndim:
        raise errors.ShapeError(
            f"scipy.signal.convolve: {first.type} and {second.type} have to have as many axes",
            user_loc(),
        )
    if mode not in ("full", "same", "valid"):
        raise errors.AttributeValueError(
            f"scipy.signal.convolve: mode is full, same or valid, not {mode!r}", user_loc()
        )
    if mode == "valid" and _is_smaller(first, second):
        first, second = second, first
    few = min(math.prod(first.shape), math.prod(second.shape)) <= MOST_SHIFTS
    whole = _shifted(first, second) if few or method == "direct" else _transformed(first, second)
    if mode == "full":
        return whole
    pairs = zip(first.shape, second.shape, strict=True)
    sizes = [n if mode == "same" else n - m + 1 for n, m in pairs]
    starts = [(total - size) // 2 for total, size in zip(whole.shape, sizes, strict=True)]
    return whole[tuple(slice(at, at + size) for at, size in zip(starts, sizes, strict=True))]


def _is_smaller(first: Any, second: Any) -> bool:
    """Whether the second operand holds the first one, which is then the one that moves."""
    pairs = list(zip(first.shape, second.shape, strict=True))
    if all(n >= m for n, m in pairs):
        return False
    if all(n <= m for n, m in pairs):
        return True
    raise errors.ShapeError(
        f"scipy.signal.convolve: for mode 'valid' one of {first.type} and {second.type} has to be"
        " at least as large as the other along each axis",
        user_loc(),
    )


def _shifted(first: Any, second: Any) -> Any:
    """The sum of the larger one, moved and multiplied by each element of the smaller one."""
    if math.prod(first.shape) < math.prod(second.shape):
        first, second = second, first
    total: Any = None
    for place in itertools.product(*map(range, second.shape)):
        spare = [m - 1 - i for m, i in zip(second.shape, place, strict=True)]
        moved = np.pad(first, list(zip(place, spare, strict=True))) * second[place]
        total = moved if total is None else total + moved
    return total


def _transformed(first: Any, second: Any) -> Any:
    dtype = np.result_type(first.dtype, second.dtype)
    if dtype.kind not in "fc":
        raise errors.UnsupportedFunctionError(
            f"scipy.signal.convolve of integers can be traced with up to {MOST_SHIFTS} elements in"
            " one of them; convert with .astype(float), or pass method='direct'",
            user_loc(),
        )
    sizes = [n + m - 1 for n, m in zip(first.shape, second.shape, strict=True)]
    axes = tuple(range(first.ndim))
    if dtype.kind == "c":
        product = np.fft.fftn(first, sizes, axes) * np.fft.fftn(second, sizes, axes)
        return np.fft.ifftn(product, sizes, axes).astype(dtype)
    product = np.fft.rfftn(first, sizes, axes) * np.fft.rfftn(second, sizes, axes)
    return np.fft.irfftn(product, sizes, axes).astype(dtype)


def correlate(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> Any:
    first, second = lift(in1), lift(in2)
    turned = np.conjugate(second[(slice(None, None, -1),) * second.ndim])
    return convolve(first, turned, mode, method)


def _correlate_planes(in1: Any, in2: Any, mode: str = "full") -> Any:
    """As `correlate`, but for the middle of an even operand, which `same` takes one further."""
    if mode != "same":
        return correlate(in1, in2, mode)
    first, second = lift(in1), lift(in2)
    starts = [m // 2 for m in second.shape]
    cut = tuple(slice(at, at + n) for at, n in zip(starts, first.shape, strict=True))
    return correlate(first, second, "full")[cut]


def _of_planes(entry: Entry) -> Entry:
    def apply(
        in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: Any = 0
    ) -> Any:
        if boundary != "fill" or not isinstance(fillvalue, (int, float)) or fillvalue != 0:
            raise errors.UnsupportedFunctionError(
                "scipy.signal.convolve2d and correlate2d can be traced with zeros around (boundary="
                "'fill'); np.pad the first operand, and use mode='valid'",
                user_loc(),
            )
        return entry(in1, in2, mode)

    return apply


def _by_transform(in1: Any, in2: Any, mode: str = "full", axes: Any = None) -> Any:
    if axes is not None:
        raise errors.UnsupportedFunctionError(
            "scipy.signal.fftconvolve can be traced along all axes; leave axes out", user_loc()
        )
    first, second = (x if (x := lift(a)).dtype_name in INEXACT else x.astype(float)
                     for a in (in1, in2))  # fmt: skip
    return convolve(first, second, mode)


SIGNAL: dict[str, Entry] = {
    "convolve": convolve,
    "correlate": correlate,
    "convolve2d": _of_planes(convolve),
    "correlate2d": _of_planes(_correlate_planes),
    "fftconvolve": _by_transform,
    "oaconvolve": _by_transform,
}
"""Functions of scipy.signal, by name."""
