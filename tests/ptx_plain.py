"""What the entries of the table have in common: a function of registers of one type."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ptx_table import Mask, Op, Run, Target
from ptx_threads import Threads

FLOATS = ("f16", "f32", "f64")
INTS = tuple(f"{kind}{n}" for kind in "us" for n in (16, 32, 64))
BITS = ("b16", "b32", "b64")
Function = Callable[..., np.ndarray]


def plain(op: Op, kind: str, function: Function, sources: int) -> Run:
    """A function of `sources` operands of one type, whose result is of that type."""
    rows = op.sources(kind, *range(1, 1 + sources))
    target = op.target(0, kind)
    if isinstance(function, np.ufunc):
        return _ufunc(function, target, kind, rows)

    def run(t: Threads, m: Mask) -> None:
        own = t.rows[kind]
        t.put(target, function(*(own[row] for row in rows)), m)

    return run


def _ufunc(function: np.ufunc, target: Target, kind: str, rows: tuple[int, ...]) -> Run:
    """The same, written where it belongs."""
    if len(rows) == 1:
        (only,) = rows

        def run_one(t: Threads, m: Mask) -> None:
            own = t.rows[kind]
            function(own[only], out=own[target.row], where=m)

        return run_one
    first, second = rows

    def run(t: Threads, m: Mask) -> None:
        own = t.rows[kind]
        function(own[first], own[second], out=own[target.row], where=m)

    return run
