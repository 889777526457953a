"""Division by what a row repeats: multiplication by its reciprocal, made once for the row.

Before:  s = sum(e, axes=(1,)); b = broadcast(s); y = divide(e, b)
After:   s = sum(e, axes=(1,)); r = reciprocal(s); b = broadcast(r); y = multiply(e, b)

A division takes as long as a dozen multiplications, and normalising a row is little else.

Sound within 2 units in the last place: two roundings in the place of one.  Only where the divisor
is known to be neither so small nor so large that its reciprocal would overflow or lose digits: the
sum of a softmax lies between 1 and its length, the root of a variance plus epsilon above that of
epsilon.  NaN and infinities are what they were: x * (1 / inf) is x / inf.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from graphc.ir import Atom, Eqn, Graph, Lit, Var
from graphc.ops import elementwise as ops
from graphc.ops import reduce, shape
from graphc.passes.rewrite import Result, Rewriter, rewrite, table
from graphc.questions import hint

SAFE = {"f32": (2.0**-100, 2.0**120), "f64": (2.0**-1000, 2.0**1000)}
"""Divisors between these have reciprocals with all their digits."""

RATIO = 8
"""How many times more elements are divided than there are divisors."""

DEPTH = 40
"""How many equations back the range of a value is looked for."""

LOOKED_AT = 200
"""How many values are looked at for one range; in a norm there are a dozen."""

Made = Mapping[Var, Eqn]

Range = tuple[float, float]
"""What a value is at least and at most, as a real number; it may also be NaN, or an infinity where
an operation overflowed."""

ANY: Range = (-math.inf, math.inf)


def multiply_by_reciprocals(graph: Graph) -> Graph:
    """`graph` with such divisions replaced."""
    return rewrite(graph, RULES)


def by_reciprocal(at: Rewriter, eqn: Eqn) -> Result:
    """x / broadcast(s) = x * broadcast(1 / s)"""
    spread = at.definition(eqn.ins[1], shape.broadcast)
    if spread is None or eqn.out.type.dtype not in SAFE or isinstance(eqn.ins[0], Lit):
        return None
    source = spread.ins[0]
    if isinstance(source, Lit) or hint(eqn.out.type.size) < RATIO * hint(source.type.size):
        return None
    low, high = range_of(at.made, source)
    least, most = SAFE[eqn.out.type.dtype]
    if low < least or high > most:
        return None
    inverse = at.make(ops.reciprocal, source)
    return at.make(ops.multiply, eqn.ins[0], at.make(shape.broadcast, inverse, **spread.attrs))


RULES = table((("divide", by_reciprocal),))


# ---- ranges --------------------------------------------------------------------------------------


def range_of(made: Made, atom: Atom) -> Range:
    """The range of a value, from the equations that make it."""
    return _range_of(made, atom, DEPTH, {})


def _range_of(made: Made, atom: Atom, depth: int, known: dict[Var, Range]) -> Range:
    """The same; `known` holds what was found, as a value may be read on many ways."""
    if isinstance(atom, Lit):
        return float(atom.value), float(atom.value)
    if atom not in known:
        is_near = len(known) < LOOKED_AT
        known[atom] = _made_range(made, atom, depth, known) if is_near else ANY
    return known[atom]


def _made_range(made: Made, atom: Var, depth: int, known: dict[Var, Range]) -> Range:
    maker = made.get(atom)
    rule = None if maker is None else _RULES.get(maker.op.name)
    if maker is None or rule is None or depth == 0 or maker.out.type.dtype not in SAFE:
        return ANY
    ranges = [_range_of(made, operand, depth - 1, known) for operand in maker.ins]
    low, high = rule(made, maker, *ranges)
    if math.isnan(low) or math.isnan(high):
        return ANY
    largest = float(np.finfo(maker.out.type.numpy_dtype).max)
    return max(low, -largest), min(high, largest)


Rule = Callable[..., Range]


def _plain(compute: Callable[..., Range]) -> Rule:
    """A rule that looks at nothing but the ranges of the operands."""
    return lambda made, eqn, *ranges: compute(*ranges)


def _products(one: Range, other: Range) -> Range:
    ends = [0.0 if 0.0 in (a, b) else a * b for a in one for b in other]
    return min(ends), max(ends)


def _quotients(one: Range, other: Range) -> Range:
    if other[0] <= 0.0 <= other[1]:
        return ANY
    return _products(one, (1.0 / other[1], 1.0 / other[0]))


def _exponential(x: Range) -> Range:
    return _exp(x[0]), _exp(x[1])


def _exp(x: float) -> float:
    return math.exp(x) if x < 700.0 else math.inf


def _magnitude(x: Range) -> Range:
    low = 0.0 if x[0] <= 0.0 <= x[1] else min(abs(x[0]), abs(x[1]))
    return low, max(abs(x[0]), abs(x[1]))


def _square(x: Range) -> Range:
    low, high = _magnitude(x)
    return low * low, high * high


def _difference(made: Made, eqn: Eqn, one: Range, other: Range) -> Range:
    """x - max(x) is at most 0."""
    spread = _repeated(made, eqn.ins[1])
    if spread is not None and spread.op is reduce.max and spread.ins[0] == eqn.ins[0]:
        return one[0] - other[1], 0.0
    return one[0] - other[1], one[1] - other[0]


def _total(made: Made, eqn: Eqn, x: Range) -> Range:
    """The sum over exp(x - max(x)), taken along the axes of the maximum, has a 1 in it."""
    count = math.prod(eqn.ins[0].type.shape[axis] for axis in eqn.attrs["axes"])
    if not isinstance(count, int):
        count_low, count_high = 0.0, 2.0**40  # more than any memory holds
    else:
        count_low = count_high = float(count)
    low = min(x[0] * count_low, x[0] * count_high)
    high = max(x[1] * count_low, x[1] * count_high)
    return (1.0, high) if low <= 1.0 and x[0] >= 0.0 and _has_a_one(made, eqn) else (low, high)


def _has_a_one(made: Made, total: Eqn) -> bool:
    raised = _maker(made, total.ins[0])
    if raised is None or raised.op is not ops.exp:
        return False
    difference = _maker(made, raised.ins[0])
    if difference is None or difference.op is not ops.subtract:
        return False
    largest = _repeated(made, difference.ins[1])
    return (
        largest is not None
        and largest.op is reduce.max
        and largest.ins[0] == difference.ins[0]
        and tuple(largest.attrs["axes"]) == tuple(total.attrs["axes"])
    )


def _repeated(made: Made, atom: Atom) -> Eqn | None:
    """What makes the value that a broadcast puts back along the axes where it was reduced."""
    spread = _maker(made, atom)
    if spread is None or spread.op is not shape.broadcast:
        return None
    sizes = spread.ins[0].type.shape
    places = dict(zip(spread.attrs["axes"], sizes, strict=True))
    inner = _maker(made, spread.ins[0])
    if inner is not None and inner.op is shape.reshape:  # with axes of size 1 (`keepdims`)
        inner = _maker(made, inner.ins[0])
    if inner is None or inner.op is not reduce.max:
        return None
    source = inner.ins[0].type.shape
    kept = {axis for axis in range(len(source)) if axis not in inner.attrs["axes"]}
    agrees = all(places.get(axis) == source[axis] for axis in kept if source[axis] != 1)
    repeats = all(places.get(axis, 1) == 1 for axis in inner.attrs["axes"] if source[axis] != 1)
    return inner if agrees and repeats and source == atom.type.shape else None


def _maker(made: Made, atom: Atom) -> Eqn | None:
    return made.get(atom) if isinstance(atom, Var) else None


def _same(made: Made, eqn: Eqn, *ranges: Range) -> Range:
    return ranges[0]


_RULES: Mapping[str, Rule] = {
    "add": _plain(lambda x, y: (x[0] + y[0], x[1] + y[1])),
    "subtract": _difference,
    "multiply": _plain(_products),
    "divide": _plain(_quotients),
    "negative": _plain(lambda x: (-x[1], -x[0])),
    "abs": _plain(_magnitude),
    "square": _plain(_square),
    "sqrt": _plain(lambda x: (math.sqrt(max(x[0], 0.0)), math.sqrt(max(x[1], 0.0)))),
    "exp": _plain(_exponential),
    "maximum": _plain(lambda x, y: (max(x[0], y[0]), max(x[1], y[1]))),
    "minimum": _plain(lambda x, y: (min(x[0], y[0]), min(x[1], y[1]))),
    "where": _plain(lambda c, x, y: (min(x[0], y[0]), max(x[1], y[1]))),
    "sum": _total,
    "max": _same,
    "min": _same,
    "reshape": _same,
    "broadcast": _same,
    "transpose": _same,
    "slice": _same,
    "stop_gradient": _same,
}
"""What is known of the range of a result."""
