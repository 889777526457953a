"""`np.r_[...]`, `np.c_[...]`, `np.mgrid[...]` and `np.ogrid[...]` of what holds traced values."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from graphc import errors
from graphc.ir import NUMPY_DTYPES
from graphc.trace.numpy_joining import concatenate
from graphc.trace.numpy_making import linspace
from graphc.trace.promotion import promoted_dtype
from graphc.trace.scope import user_loc
from graphc.trace.tracer import Tracer, holds_tracer, lift


class Joiner:
    """`np.r_` or `np.c_`, for the time of one subscript."""

    def __init__(self, original: Any):
        self.original = original

    def __getitem__(self, key: Any) -> Any:
        parts = list(key) if isinstance(key, tuple) else [key]
        if not holds_tracer([_contents(part) for part in parts]):
            return self.original[key]
        directions = [self.original.axis, self.original.ndmin, self.original.trans1d]
        if isinstance(parts[0], str):
            given = _directions(parts.pop(0))
            directions[: len(given)] = given
        axis, rank, place = directions
        lifted = [_part(part) for part in parts]
        dtype = NUMPY_DTYPES[promoted_dtype(lifted)]
        return concatenate([_spread(x, rank, place) for x in lifted], axis, dtype=dtype)


class Grid:
    """`np.mgrid` or `np.ogrid`, for the time of one subscript: its bounds must be known."""

    def __init__(self, original: Any):
        self.original = original

    def __getitem__(self, key: Any) -> Any:
        parts = key if isinstance(key, tuple) else (key,)
        known = tuple(slice(*map(_known, _contents(part))) for part in parts)
        return self.original[known if isinstance(key, tuple) else known[0]]


def _known(bound: Any) -> Any:
    return operator.index(bound) if isinstance(bound, Tracer) else bound


def _contents(part: Any) -> Any:
    return (part.start, part.stop, part.step) if isinstance(part, slice) else part


def _directions(text: str) -> list[int]:
    """`"axis"`, `"axis,rank"` or `"axis,rank,place"`."""
    try:
        return [int(number) for number in text.split(",")][:3]
    except ValueError:
        raise errors.UnsupportedFunctionError(
            f"np.r_[{text!r}, ...] cannot be traced; np.r_ takes numbers as directions there, and"
            " np.concatenate joins whatever its axis=",
            user_loc(),
        ) from None


def _part(part: Any) -> Tracer:
    """`start:stop:step` are numbers with that step between, `start:stop:5j` five of them."""
    if not isinstance(part, slice):
        return lift(part)
    start = 0 if part.start is None else part.start
    if isinstance(part.step, complex):
        return lift(linspace(start, part.stop, int(abs(part.step))))
    bounds = (start, part.stop, 1 if part.step is None else part.step)
    return lift(np.arange(*(operator.index(n) if isinstance(n, Tracer) else n for n in bounds)))


def _spread(x: Any, rank: int, place: int) -> Any:
    """With axes of size 1 added up to `rank`, the old ones from `place` on."""
    missing = max(rank, 1) - x.ndim
    if missing <= 0:
        return x
    at = place if place >= 0 else missing + 1 + place
    return x.reshape((1,) * at + x.shape + (1,) * (missing - at))
