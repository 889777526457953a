"""The rule of `simplify` for what comes back from windows: the gradient of reading them.

Before:  p = pad(g, low=(2, 0), high=(2, 0), value=0.0); s = skew(p, axis=0, by=1, step=-1)
         y = sum(s, axes=(1,))
After:   y = pad(g[:, 0], (0,), (2,)) + pad(g[:, 1], (1,), (1,)) + pad(g[:, 2], (2,), (0,))

A kernel has no loop over so short an axis then, and computes further such sums where they are read.
Sound because both add up the same elements in the same order, beginning with 0.0.
"""

from __future__ import annotations

from graphc.build import literal
from graphc.ir import Atom, Eqn
from graphc.ops import elementwise, shape
from graphc.ops.reduce import without
from graphc.passes.movement import run_along
from graphc.passes.rewrite import Result, Rewriter, Rule

MOST_TERMS = 4
"""Longer windows are summed in a loop."""

SUMMED = frozenset({"f32", "f64"})
"""Of narrower floats a sum is wider than they are."""


def sum_of_returning_windows(at: Rewriter, eqn: Eqn) -> Result:
    """sum(skew(pad(g))) along a short window, as the sum of its terms."""
    skew = at.definition(eqn.ins[0], shape.skew)
    padded = None if skew is None else at.definition(skew.ins[0], shape.pad)
    if skew is None or padded is None or eqn.out.type.dtype not in SUMMED:
        return None
    axis, by, step = (skew.attrs[name] for name in ("axis", "by", "step"))
    low, high, count = padded.attrs["low"], padded.attrs["high"], skew.out.type.shape[by]
    is_short = isinstance(count, int) and 1 < count <= MOST_TERMS
    if eqn.attrs["axes"] != (by,) or low[by] or high[by] or not is_short:
        return None
    farthest = (count - 1) * abs(step)
    if not all(isinstance(width[axis], int) and width[axis] >= farthest for width in (low, high)):
        return None
    result: Atom = literal(0.0, eqn.out.type)
    for i in range(count):
        start = i * step + (farthest if step < 0 else 0)
        ends = {"low": low[axis] - start, "high": high[axis] + start - farthest}
        widths = {
            name: without(tuple(ends[name] if k == axis else n for k, n in enumerate(old)), (by,))
            for name, old in (("low", low), ("high", high))
        }
        part = _at(at, padded.ins[0], by, i)
        term = at.make(shape.pad, part, **widths, value=padded.attrs["value"])
        result = at.make(elementwise.add, result, term)
    return result


def _at(at: Rewriter, x: Atom, axis: int, index: int) -> Atom:
    """x[..., index, ...]"""
    part = run_along(at, x, axis, index, 1)
    return at.make(shape.reshape, part, shape=without(x.type.shape, (axis,)))


WINDOW_SUMS: tuple[tuple[str, Rule], ...] = (("sum", sum_of_returning_windows),)
