"""Eigenvalues of complex matrices, and of real ones that need not be symmetric."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc import errors
from graphc.build import Value
from graphc.ir import FLOATS, NARROW, Op, Type, register
from graphc.ops import decompositions as real
from graphc.ops import matrices
from graphc.ops.complex_decompositions import (
    define,
    each,
    expect_matrices,
    numbers_of,
    paired,
    pairs,
    solved,
    whole,
)
from graphc.ops.complex_matrices import (
    Matrix,
    diagonal_matrices,
    diagonal_of,
    gap_inverses,
    in_parts,
    real_matrix,
)
from graphc.ops.elementwise import expect_dtype


def _infer_eigh(a: Type) -> tuple[Type, ...]:
    expect_matrices("complex_eigh", a, square=True)
    return (a.with_shape(a.shape[:-2]), a, Type("i32", a.shape[:-3]))


def _eigh_vjp(g: Any, out: Any, a: Value) -> tuple[Any, ...]:
    """Equal eigenvalues have no derivative of their vectors; what they mix counts as zero."""
    gw, gv, _ = g
    w, v = out[0], in_parts(out[1])
    inner = real_matrix(matrices.diagonal_matrices(gw))
    if not matrices.is_zero(gv):
        mixed = v.adjoint @ in_parts(gv)
        inner = inner.plus(mixed.scaled(matrices.inverse_or_zero(matrices.gaps(w))))
    result = v @ inner @ v.adjoint
    return (result.plus(result.adjoint).scaled(0.5).memory(),)


eigh = define(
    "complex_eigh",
    _infer_eigh,
    lambda a: (*np.linalg.eigh(a), 0),
    _eigh_vjp,
    "(w, v, info) with a v = v w, from the lower triangle of a; w is real and increases.",
)


def _eig_cotangent(g: Any, out: Any) -> Matrix:
    """Boeddeker et al., *On the computation of complex-valued gradients* (2017), section 4.

    Vectors have length 1, so what lies along themselves does not count.
    """
    w, v, gw = in_parts(out[0]), in_parts(out[1]), in_parts(g[0])
    inner = diagonal_matrices(gw)
    if not matrices.is_zero(g[1]):
        mixed = v.adjoint @ in_parts(g[1])
        diagonal = diagonal_of(mixed.real)
        lengths = (v.adjoint @ v).columns_scaled(diagonal)
        inner = inner.plus(mixed.minus(lengths).times(gap_inverses(w)))
    return solved(v.adjoint, inner @ v.adjoint)


def _infer_eig(a: Type) -> tuple[Type, ...]:
    expect_matrices("complex_eig", a, square=True)
    return (a.with_shape((*a.shape[:-2], 2)), a, Type("i32", a.shape[:-3]))


eig = define(
    "complex_eig",
    _infer_eig,
    lambda a: (*np.linalg.eig(a), 0),
    lambda g, out, a: (_eig_cotangent(g, out).memory(),),
    "(w, v, info) with a v = v w, of any complex matrix; the columns of v have length 1.",
)


def _infer_real_eig(a: Type) -> tuple[Type, ...]:
    expect_dtype("real_eig", a, FLOATS - NARROW)
    if a.rank < 2 or a.shape[-1] != a.shape[-2]:
        raise errors.ShapeError(f"real_eig: square matrices in the last two axes, not {a}")
    return (paired(a.with_shape(a.shape[:-1])), paired(a), Type("i32", a.shape[:-2]))


def _eig_of_real(a: np.ndarray) -> Any:
    types = _infer_real_eig(Type(real.dtype_name(a), a.shape))
    return each(lambda m: (*_complex_eig(m), 0), types, pairs(a, a.dtype))


def _complex_eig(m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    w, v = np.linalg.eig(m.real)
    return w.astype(complex), v.astype(complex)


real_eig = register(
    Op(
        "real_eig",
        _infer_real_eig,
        _eig_of_real,
        lambda g, out, a: (_eig_cotangent(g, out).real,),
        doc="(w, v, info) with a v = v w, of any real matrix, in pairs of numbers.",
    )
)


def _infer_geev(a: Type) -> tuple[Type, ...]:
    w, _, info = _infer_real_eig(a)
    return (whole(w), whole(w), a, info)


def _geev_of(a: np.ndarray) -> Any:
    """Of conjugate vectors, the real part stands in the first column, the imaginary in the next."""
    (w, v, info), dtype = _eig_of_real(a), a.dtype
    w, v = numbers_of(w), numbers_of(v)
    packed = np.where((w.imag < 0)[..., None, :], -v.imag, v.real)
    return w.real.astype(dtype), w.imag.astype(dtype), packed.astype(dtype), info


geev = register(
    Op(
        "geev",
        _infer_geev,
        _geev_of,
        native=True,
        doc="(real parts, imaginary parts, vectors, info): what LAPACK's routine gives, of which"
        " `real_eig` is made when it is lowered.",
    )
)

OF_MATRICES = frozenset({eigh, eig, real_eig, geev})
"""The operations of this module: axes before the matrices are a batch."""
