"""Decompositions of complex matrices: as those of real ones, in LAPACK.

Their operands and results are real arrays whose last axis holds the parts of complex numbers.  The
tracer's operations have complex types (`decompositions.py`) and become these with the rest of a
graph (`passes/complex_formulas.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc import errors
from graphc.build import Value
from graphc.ir import FLOATS, NARROW, Op, Type, register
from graphc.ops import decompositions as real
from graphc.ops import elementwise as ew
from graphc.ops import matrices
from graphc.ops.complex_matrices import (
    Matrix,
    diagonal_matrices,
    diagonal_of,
    identity_like,
    in_parts,
    lower_triangle,
    real_matrix,
)
from graphc.ops.elementwise import expect_dtype
from graphc.ops.shape import broadcast


def is_pairs(type: Type) -> bool:
    return type.rank > 2 and type.shape[-1] == 2


def whole(type: Type) -> Type:
    """What a type of pairs is a type of: without the last axis."""
    return type.with_shape(type.shape[:-1])


def paired(type: Type) -> Type:
    return type.with_shape((*type.shape, 2))


def expect_matrices(name: str, a: Type, square: bool = False) -> None:
    expect_dtype(name, a, FLOATS - NARROW)
    if not is_pairs(a) or a.rank < 3 or (square and a.shape[-2] != a.shape[-3]):
        kind = "square matrices" if square else "matrices"
        raise errors.ShapeError(f"{name}: {kind} of pairs of numbers, not {a}")


def numbers_of(memory: np.ndarray) -> np.ndarray:
    """Pairs as NumPy's complex numbers."""
    whole = np.ascontiguousarray(memory)
    return whole.view(np.result_type(memory.dtype, np.complex64))[..., 0]


def pairs(numbers: Any, dtype: Any) -> np.ndarray:
    array = np.asarray(numbers)
    return np.stack([array.real, array.imag], -1).astype(dtype)


def each(function: Callable[..., Sequence[Any]], types: Sequence[Type], *xs: np.ndarray) -> Any:
    """A function of complex matrices for each of a batch; NaN and info 1 where there is no result.

    What it gives for a type with a last axis of pairs is complex.
    """
    numbers = [numbers_of(x) for x in xs]
    batch = numbers[0].shape[:-2]
    outs = [np.zeros(t.shape, t.numpy_dtype) for t in types]
    for at in np.ndindex(*batch):
        try:
            results = function(*(x[at] for x in numbers))
        except np.linalg.LinAlgError:
            results = tuple(np.nan if o.dtype.kind == "f" else 1 for o in outs)
        for out, result in zip(outs, results, strict=True):
            out[at] = pairs(result, out.dtype) if np.iscomplexobj(result) else result
    return tuple(outs)


def emit(op: Op, *operands: Matrix, **attrs: Any) -> tuple[Value, ...]:
    return matrices.emit_all(op, *(x.memory() for x in operands), **attrs)


def define(
    name: str,
    infer: Callable[..., tuple[Type, ...]],
    function: Callable[..., Sequence[Any]],
    vjp: Callable[..., tuple[Any, ...]] | None,
    doc: str,
) -> Op:
    """An op; its reference is `function` of each complex matrix."""

    def reference(*xs: np.ndarray, **attrs: Any) -> Any:
        types = infer(*(Type(real.dtype_name(x), x.shape) for x in xs), **attrs)
        return each(lambda *ms: function(*ms, **attrs), types, *xs)

    return register(Op(name, infer, reference, vjp, native=True, doc=doc))


# ---- solve, cholesky -----------------------------------------------------------------------------


def _infer_solve(a: Type, b: Type) -> tuple[Type, ...]:
    expect_matrices("complex_solve", a, square=True)
    if b.dtype != a.dtype or b.rank != a.rank or b.shape[:-2] != a.shape[:-2]:
        raise errors.ShapeError(f"complex_solve: {a} has no right-hand sides {b}")
    return (b, Type("i32", a.shape[:-3]))


def solved(a: Matrix, b: Matrix) -> Matrix:
    return in_parts(emit(solve, a, b)[0])


def _solve_vjp(g: Any, out: Any, a: Value, b: Value) -> tuple[Any, ...]:
    carried = solved(in_parts(a).adjoint, in_parts(g[0]))
    by_a = carried @ in_parts(out[0]).adjoint
    return (by_a.scaled(-1.0).memory(), carried.memory())


solve: Op = define(
    "complex_solve",
    _infer_solve,
    lambda a, b: (np.linalg.solve(a, b), 0),
    _solve_vjp,
    "(x, info) with a x = b.",
)


def _infer_cholesky(a: Type) -> tuple[Type, ...]:
    expect_matrices("complex_cholesky", a, square=True)
    return (a, Type("i32", a.shape[:-3]))


def _cholesky_vjp(g: Any, out: Any, a: Value) -> tuple[Any, ...]:
    upper = in_parts(out[0]).adjoint
    inner = lower_triangle(upper @ in_parts(g[0]), 0.5)
    half = solved(upper, solved(upper, inner).adjoint)
    return (half.plus(half.adjoint).scaled(0.5).memory(),)


cholesky = define(
    "complex_cholesky",
    _infer_cholesky,
    lambda a: (np.linalg.cholesky(a), 0),
    _cholesky_vjp,
    "(l, info) with l times its conjugate transpose a, from the lower triangle of a.",
)

# ---- determinants --------------------------------------------------------------------------------


def _infer_lu_diagonal(a: Type) -> tuple[Type, ...]:
    expect_matrices("complex_lu_diagonal", a, square=True)
    return (a.with_shape((*a.shape[:-2], 2)), Type("i32", a.shape[:-2]))


lu_diagonal = define(
    "complex_lu_diagonal",
    _infer_lu_diagonal,
    real.lu_diagonal_of,
    None,
    "As `lu_diagonal`, of complex matrices.",
)


def _infer_slogdet(a: Type) -> tuple[Type, ...]:
    expect_matrices("complex_slogdet", a, square=True)
    batch = a.shape[:-3]
    return (a.with_shape((*batch, 2)), a.with_shape(batch))


def _slogdet_vjp(g: Any, out: Any, a: Value) -> tuple[Any, ...]:
    """The logarithm of the determinant changes by the trace of the inverse times the change: its
    real part is that of the size, its imaginary part that of the angle."""
    sign, by_sign = in_parts(out[0]), in_parts(g[0])
    by_angle = by_sign.imag * sign.real - by_sign.real * sign.imag
    matrix = in_parts(a)
    axes = tuple(range(len(matrix.real.shape) - 2))
    by_log = Matrix(
        *(broadcast(part, shape=matrix.real.shape, axes=axes) for part in (g[1], by_angle))
    )
    return (by_log.times(solved(matrix.adjoint, identity_like(matrix))).memory(),)


slogdet = register(
    Op(
        "complex_slogdet",
        _infer_slogdet,
        lambda a: each(
            lambda m: (np.complex128(np.linalg.slogdet(m)[0]), np.linalg.slogdet(m)[1]),
            _infer_slogdet(Type(real.dtype_name(a), a.shape)),
            a,
        ),
        _slogdet_vjp,
        doc="(sign, log |det|) of complex matrices.",
    )
)

# ---- qr ------------------------------------------------------------------------------------------


def _infer_qr(a: Type, *, full: bool) -> tuple[Type, ...]:
    expect_matrices("complex_qr", a)
    *batch, rows, columns = a.shape[:-1]
    inner = rows if full else min(rows, columns)
    return (a.with_shape((*batch, rows, inner, 2)), a.with_shape((*batch, inner, columns, 2)))


def _qr_vjp(g: Any, out: Any, a: Value, *, full: bool) -> tuple[Any, ...]:
    q, r, gq, gr = map(in_parts, (*out, *g))
    rows, columns = a.shape[-3:-1]
    if rows < columns or (full and rows != columns):
        raise errors.GradientError(
            f"qr of {whole(a.type)} has a gradient for as many rows as columns or more, in reduced"
            " mode"
        )
    m = (r @ gr.adjoint).minus(gq.adjoint @ q)
    strict = Matrix(*(matrices.lower_triangle(part, 0.0) for part in m))
    symmetric = lower_triangle(m, 1.0).plus(strict.adjoint)
    return (solved(r, gq.plus(q @ symmetric).adjoint).adjoint.memory(),)


qr = define(
    "complex_qr",
    _infer_qr,
    lambda a, full: np.linalg.qr(a, "complete" if full else "reduced"),
    _qr_vjp,
    "(q, r) with q r = a; `full` makes q square.",
)

# ---- svd -----------------------------------------------------------------------------------------


def _infer_svd(a: Type, *, full: bool) -> tuple[Type, ...]:
    expect_matrices("complex_svd", a)
    *batch, rows, columns = a.shape[:-1]
    inner = min(rows, columns)
    left, right = (rows, columns) if full else (inner, inner)
    return (
        a.with_shape((*batch, rows, left, 2)),
        a.with_shape((*batch, inner)),
        a.with_shape((*batch, right, columns, 2)),
        Type("i32", tuple(batch)),
    )


def _svd_vjp(g: Any, out: Any, a: Value, *, full: bool) -> tuple[Any, ...]:
    """As of real matrices.  The phases of u and v together are free, and no loss may depend on
    them: half of what turns them counts for each."""
    gu, gs, gvt, _ = g
    rows, columns = a.shape[-3:-1]
    only_values = matrices.is_zero(gu) and matrices.is_zero(gvt)
    if full and rows != columns:
        if not only_values:
            raise errors.GradientError(
                f"svd of {whole(a.type)} has gradients of its vectors with full_matrices=False"
            )
        out = matrices.emit_all(svd, a, full=False)
    u, s, vt = in_parts(out[0]), out[1], in_parts(out[2])
    inner = real_matrix(matrices.diagonal_matrices(gs))
    if only_values:
        return ((u @ inner @ vt).memory(),)
    left, right, v = in_parts(gu), in_parts(gvt).adjoint, vt.adjoint
    inner = inner.plus(_turned(u, left, right, v, s))
    result = u @ inner @ vt
    inverse = matrices.inverse_or_zero(s)
    if rows > columns:
        outside = left.minus(u @ (u.adjoint @ left))
        result = result.plus(outside.columns_scaled(inverse) @ vt)
    if columns > rows:
        outside = right.minus(v @ (vt @ right))
        result = result.plus(u.columns_scaled(inverse) @ outside.adjoint)
    return (result.memory(),)


def _turned(u: Matrix, gu: Matrix, gv: Matrix, v: Matrix, s: Value) -> Matrix:
    """What the cotangents of the vectors say of the matrix between them."""
    spread = matrices.inverse_or_zero(matrices.gaps(ew.square(s)))
    of_left, of_right = u.adjoint @ gu, v.adjoint @ gv
    by_left = of_left.minus(of_left.adjoint).scaled(spread).columns_scaled(s)
    by_right = of_right.minus(of_right.adjoint).scaled(spread)
    rows_scaled = by_right.adjoint.columns_scaled(s).adjoint
    phase = diagonal_of(of_left.imag) * matrices.inverse_or_zero(s)
    turning = Matrix(s.literal(0.0), phase)
    return by_left.plus(rows_scaled).plus(diagonal_matrices(turning))


svd: Op = define(
    "complex_svd",
    _infer_svd,
    lambda a, full: (*np.linalg.svd(a, full_matrices=full), 0),
    _svd_vjp,
    "(u, s, v', info) with u s v' = a; v' is the conjugate transpose of v.",
)


def _infer_singular_values(a: Type) -> tuple[Type, ...]:
    return _infer_svd(a, full=False)[1::2]


def _singular_values_vjp(g: Any, out: Any, a: Value) -> tuple[Any, ...]:
    u, _, vt, _ = matrices.emit_all(svd, a, full=False)
    inner = real_matrix(matrices.diagonal_matrices(g[0]))
    return ((in_parts(u) @ inner @ in_parts(vt)).memory(),)


singular_values = define(
    "complex_singular_values",
    _infer_singular_values,
    lambda a: (np.linalg.svd(a, compute_uv=False), 0),
    _singular_values_vjp,
    "(s, info): the singular values of a, which decrease.",
)

# ---- pinv ----------------------------------------------------------------------------------------


def _infer_pinv(a: Type, *, rcond: float) -> tuple[Type, ...]:
    expect_matrices("complex_pinv", a)
    return (a.with_shape((*a.shape[:-3], a.shape[-2], a.shape[-3], 2)),)


def _pinv_vjp(g: Value, out: Value, a: Value, *, rcond: float) -> tuple[Any, ...]:
    """As of real matrices (Golub and Pereyra)."""
    matrix, p, cotangent = map(in_parts, (a, out, g))
    pt, gt = p.adjoint, cotangent.adjoint
    inside = pt @ cotangent @ pt
    left, right = gt @ p @ pt, pt @ p @ gt
    left = left.minus(matrix @ (p @ left))
    right = right.minus(right @ p @ matrix)
    return (left.plus(right).minus(inside).memory(),)


pinv = register(
    Op(
        "complex_pinv",
        _infer_pinv,
        lambda a, rcond: pairs(np.linalg.pinv(numbers_of(a), rcond=rcond), a.dtype),
        _pinv_vjp,
        doc="The pseudo-inverse; singular values up to rcond times the largest count as 0.",
    )
)

OF_MATRICES = frozenset({solve, slogdet, lu_diagonal, cholesky, qr, svd, singular_values, pinv})
"""The operations of this module: axes before the matrices are a batch."""
