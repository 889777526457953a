"""Lowering of determinants and pseudo-inverses to the decompositions that they are read off.

Before:  d = det(a)
After:   u, p = lu_diagonal(a); d = prod(u) * parity(p)

Sound because these are the definitions by which LAPACK's users compute them.
"""

from __future__ import annotations

from graphc.build import Value
from graphc.ir import OPS, Eqn
from graphc.ops import decompositions, linalg, matrices, reduce, shape
from graphc.ops import elementwise as ew
from graphc.passes.rewrite import Result, Rewriter, Rule


def _parity(at: Rewriter, pivots: Value, dtype: str) -> Value:
    """-1 for each row that changed places with another."""
    axis = len(pivots.shape) - 1
    attrs = {"shape": pivots.shape, "axis": axis, "dtype": "i32"}
    (row,) = at.emit(OPS["iota"], (), attrs)
    moved = ew.cast(ew.not_equal(pivots, row + 1), dtype=dtype)
    return reduce.prod(1.0 - moved * 2.0, axes=(axis,))


def lower_det(at: Rewriter, eqn: Eqn) -> Result:
    a = at.value(eqn.ins[0])
    diagonal, pivots = matrices.emit_all(decompositions.lu_diagonal, a)
    axis = len(diagonal.shape) - 1
    det: Value = reduce.prod(diagonal, axes=(axis,)) * _parity(at, pivots, a.dtype)
    return det.atom


def lower_slogdet(at: Rewriter, eqn: Eqn) -> Result:
    a = at.value(eqn.ins[0])
    diagonal, pivots = matrices.emit_all(decompositions.lu_diagonal, a)
    axis = len(diagonal.shape) - 1
    sign: Value = reduce.prod(ew.sign(diagonal), axes=(axis,)) * _parity(at, pivots, a.dtype)
    log: Value = reduce.sum(ew.log(ew.abs(diagonal)), axes=(axis,))
    return sign.atom, log.atom


def lower_pinv(at: Rewriter, eqn: Eqn) -> Result:
    a = at.value(eqn.ins[0])
    u, s, vt, _ = matrices.emit_all(decompositions.svd, a, full=False)
    axis = len(s.shape) - 1
    largest = reduce.spread(reduce.max(s, axes=(axis,)), s, (axis,))
    counts = ew.greater(s, largest * eqn.attrs["rcond"])
    inverse = ew.where(counts, 1.0 / ew.where(counts, s, 1.0), 0.0)
    ut = matrices.swapped(u)
    scaled = ut * shape.broadcast(inverse, shape=ut.shape, axes=tuple(range(len(s.shape))))
    result: Value = linalg.matmul(matrices.swapped(vt), scaled)
    return result.atom


LOWERINGS: tuple[tuple[str, Rule], ...] = (
    ("det", lower_det),
    ("slogdet", lower_slogdet),
    ("pinv", lower_pinv),
)
