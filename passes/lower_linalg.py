"""Lowering of determinants and pseudo-inverses to the decompositions that they are read off.

Before:  d = det(a)
After:   u, p = lu_diagonal(a); d = prod(u) * parity(p)

Sound because these are the definitions by which LAPACK's users compute them.
"""

from __future__ import annotations

from graphc.build import Value
from graphc.ir import OPS, Eqn
from graphc.ops import (
    complex_decompositions,
    complex_eigenvalues,
    decompositions,
    linalg,
    matrices,
    reduce,
    shape,
)
from graphc.ops import elementwise as ew
from graphc.ops.complex_matrices import Matrix, in_parts
from graphc.passes.complex_formulas import product
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


def lower_complex_slogdet(at: Rewriter, eqn: Eqn) -> Result:
    """The product of numbers of size 1, and the sum of the logarithms of the sizes."""
    a = at.value(eqn.ins[0])
    memory, pivots = matrices.emit_all(complex_decompositions.lu_diagonal, a)
    diagonal = in_parts(memory)
    axis = len(pivots.shape) - 1
    size: Value = ew.hypot(diagonal.real, diagonal.imag)
    log: Value = reduce.sum(ew.log(size), axes=(axis,))
    inverse = matrices.inverse_or_zero(size)
    sign = product((diagonal.real * inverse, diagonal.imag * inverse), axes=(axis,))
    turned = Matrix(*sign).scaled(_parity(at, pivots, a.dtype))
    return turned.memory().atom, log.atom


def lower_complex_pinv(at: Rewriter, eqn: Eqn) -> Result:
    a = at.value(eqn.ins[0])
    u, s, vt, _ = matrices.emit_all(complex_decompositions.svd, a, full=False)
    axis = len(s.shape) - 1
    largest = reduce.spread(reduce.max(s, axes=(axis,)), s, (axis,))
    counts = ew.greater(s, largest * eqn.attrs["rcond"])
    inverse = ew.where(counts, 1.0 / ew.where(counts, s, 1.0), 0.0)
    result = in_parts(vt).adjoint.columns_scaled(inverse) @ in_parts(u).adjoint
    return result.memory().atom


def lower_real_eig(at: Rewriter, eqn: Eqn) -> Result:
    """Two columns hold the parts of the vectors of a pair of conjugate eigenvalues, of which the
    one with the positive imaginary part comes first."""
    real, imag, packed, info = matrices.emit_all(complex_eigenvalues.geev, at.value(eqn.ins[0]))
    rank = len(packed.shape)
    spread: Value = shape.broadcast(imag, shape=packed.shape, axes=(*range(rank - 2), rank - 1))
    first, second = ew.greater(spread, 0.0), ew.less(spread, 0.0)
    zero = packed.literal(0.0)
    v_real = ew.where(second, _column(packed, -1), packed)
    v_imag = ew.where(first, _column(packed, 1), ew.where(second, -packed, zero))
    w, v = Matrix(real, imag).memory(), Matrix(v_real, v_imag).memory()
    return w.atom, v.atom, info.atom


def _column(x: Value, step: int) -> Value:
    """For each column the one before it (-1) or behind it (1)."""
    rank, size = len(x.shape), x.shape[-1]
    if size < 2:
        return x
    kept: Value = shape.slice(
        x,
        starts=(*(0,) * (rank - 1), max(step, 0)),
        sizes=(*x.shape[:-1], size - 1),
        steps=(1,) * rank,
    )
    none, one = (0,) * rank, (*(0,) * (rank - 1), 1)
    low, high = (one, none) if step < 0 else (none, one)
    return shape.pad(kept, low=low, high=high, value=0.0)


LOWERINGS: tuple[tuple[str, Rule], ...] = (
    ("det", lower_det),
    ("slogdet", lower_slogdet),
    ("pinv", lower_pinv),
    ("complex_slogdet", lower_complex_slogdet),
    ("complex_pinv", lower_complex_pinv),
    ("real_eig", lower_real_eig),
)
