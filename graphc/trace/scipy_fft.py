"""Transforms of scipy.fft on traced arrays: those of `np.fft`, and what it lacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import errors
from graphc.ir import FLOATS
from graphc.trace.scope import user_loc
from graphc.trace.tracer import lift

Entry = Callable[..., Any]

_OF_NUMPY = (
    "fft ifft fft2 ifft2 fftn ifftn rfft irfft rfft2 irfft2 rfftn irfftn hfft ihfft fftshift"
    " ifftshift"
)
_OTHER_DIRECTION: dict[Any, Any] = {
    None: "forward",
    "backward": "forward",
    "forward": "backward",
    "ortho": "ortho",
}
_UNSEEN = frozenset({"overwrite_x", "workers", "plan", "orthogonalize"})


def _transform(name: str) -> Entry:
    function = getattr(np.fft, name)

    def apply(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **{key: x for key, x in kwargs.items() if key not in _UNSEEN})

    return apply


def _hermitian(count: int | None) -> Entry:
    """The transform of what is symmetric: `irfftn` of the conjugate, in the other direction."""

    def apply(x: Any, s: Any = None, axes: Any = None, norm: Any = None, **rest: Any) -> Any:
        chosen = _axes(x, s, axes, count)
        return np.fft.irfftn(np.conjugate(lift(x)), s, chosen, _OTHER_DIRECTION[norm])

    return apply


def _to_hermitian(count: int | None) -> Entry:
    def apply(x: Any, s: Any = None, axes: Any = None, norm: Any = None, **rest: Any) -> Any:
        chosen = _axes(x, s, axes, count)
        return np.conjugate(np.fft.rfftn(lift(x), s, chosen, _OTHER_DIRECTION[norm]))

    return apply


def _axes(x: Any, s: Any, axes: Any, count: int | None) -> tuple[int, ...]:
    if axes is not None:
        return tuple(axes)
    rank = lift(x).ndim
    return tuple(range(rank - (count or (rank if s is None else len(s))), rank))


LONGEST = 1024


def _cosines(name: str) -> Entry:
    """A cosine or sine transform along one axis: the product with the matrix that scipy gives."""

    def apply(
        x: Any, type: int = 2, n: Any = None, axis: int = -1, norm: Any = None, **rest: Any
    ) -> Any:
        from scipy import fft  # type: ignore[import-untyped]

        value: Any = lift(x) if lift(x).dtype_name in FLOATS else lift(x).astype(float)
        moved = np.moveaxis(value, axis, -1)
        size = moved.shape[-1]
        if n is not None and n != size:
            moved = moved[..., :n] if n < size else np.pad(
                moved, [(0, 0)] * (moved.ndim - 1) + [(0, n - size)]
            )  # fmt: skip
            size = n
        if size > LONGEST:
            raise errors.UnsupportedFunctionError(
                f"scipy.fft.{name} can be traced up to a length of {LONGEST}, not {size}; write it"
                " with np.fft.rfft",
                user_loc(),
            )
        options = {key: value for key, value in rest.items() if key == "orthogonalize"}
        matrix = getattr(fft, name)(np.eye(size), type=type, axis=1, norm=norm, **options)
        return np.moveaxis(np.matmul(moved, matrix.astype(value.dtype)), -1, axis)

    return apply


TRANSFORMS: dict[str, Entry] = {
    **{name: _transform(name) for name in _OF_NUMPY.split()},
    "hfft2": _hermitian(2),
    "hfftn": _hermitian(None),
    "ihfft2": _to_hermitian(2),
    "ihfftn": _to_hermitian(None),
    **{name: _cosines(name) for name in ("dct", "idct", "dst", "idst")},
}
"""Functions of scipy.fft, by name."""
