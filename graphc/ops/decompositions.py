"""Decompositions of the matrices in the last two axes, and what is solved with them.

They run in LAPACK; those of complex matrices, and `eig`, as the operations of
`complex_decompositions.py`, which have gradients of their own.  `info` is not 0 for a matrix for
which one does not exist; the tracer makes an error of it.  The gradients are those of Giles, *An
extended collection of matrix derivative results* (2008), unless said otherwise; `cholesky` and
`eigh` take the matrix to be symmetric, so that theirs are, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import errors
from graphc.build import Value
from graphc.ir import DTYPE_NAMES, INEXACT, NARROW, PARTS, WHOLES, Op, Type, register
from graphc.ops import elementwise as ew
from graphc.ops.elementwise import expect_dtype
from graphc.ops.linalg import matmul
from graphc.ops.matrices import (
    columns_scaled,
    diagonal_matrices,
    emit_all,
    gaps,
    identity_like,
    inverse_or_zero,
    is_zero,
    lower_triangle,
    swapped,
)
from graphc.ops.shape import broadcast


def _solved(a: Value, b: Value) -> Value:
    return emit_all(solve, a, b)[0]


# ---- references ----------------------------------------------------------------------------------


def _each(
    function: Callable[..., tuple[Any, ...]], types: tuple[Type, ...], *xs: np.ndarray
) -> Any:
    """A function applied to each matrix of a batch; NaN and info 1 where there is no result."""
    batch = xs[0].shape[:-2]
    outs = [np.zeros(t.shape, t.numpy_dtype) for t in types]
    for at in np.ndindex(*batch):
        try:
            results = function(*(x[at] for x in xs))
        except np.linalg.LinAlgError:
            results = tuple(np.nan if o.dtype.kind in "fc" else 1 for o in outs)
        for out, result in zip(outs, results, strict=True):
            out[at] = result
    return tuple(outs)


def dtype_name(x: np.ndarray) -> str:
    return DTYPE_NAMES[x.dtype]


def _types(*xs: np.ndarray) -> tuple[Type, ...]:
    return tuple(Type(dtype_name(x), x.shape) for x in xs)


def _expect_matrices(name: str, a: Type, square: bool = False) -> None:
    expect_dtype(name, a, INEXACT - NARROW)
    if a.rank < 2 or (square and a.shape[-1] != a.shape[-2]):
        kind = "square matrices" if square else "matrices"
        raise errors.ShapeError(f"{name}: {kind} in the last two axes, not {a}")


def _real(a: Type) -> Type:
    """The type of what is real of matrices of any kind."""
    return a.with_dtype(PARTS.get(a.dtype, a.dtype))


def _info(a: Type) -> Type:
    return Type("i32", a.shape[:-2])


# ---- solve ---------------------------------------------------------------------------------------


def _infer_solve(a: Type, b: Type) -> tuple[Type, ...]:
    _expect_matrices("solve", a, square=True)
    if b.dtype != a.dtype or b.rank != a.rank or b.shape[:-1] != a.shape[:-1]:
        raise errors.ShapeError(f"solve: {a} has no right-hand sides {b}")
    return (b, _info(a))


def _solve_vjp(g: Any, out: Any, a: Value, b: Value) -> tuple[Any, ...]:
    carried = _solved(swapped(a), g[0])
    return (-matmul(carried, swapped(out[0])), carried)


solve: Op = register(
    Op(
        "solve",
        _infer_solve,
        lambda a, b: _each(
            lambda a, b: (np.linalg.solve(a, b), 0), _infer_solve(*_types(a, b)), a, b
        ),
        _solve_vjp,
        native=True,
        doc="(x, info) with a x = b.",
    )
)

# ---- determinants --------------------------------------------------------------------------------


def _infer_det(a: Type) -> tuple[Type, ...]:
    _expect_matrices("det", a, square=True)
    return (a.with_shape(a.shape[:-2]),)


def _infer_slogdet(a: Type) -> tuple[Type, ...]:
    (det,) = _infer_det(a)
    return (det, _real(det))


def _spread(x: Value, like: Value) -> Value:
    return broadcast(x, shape=like.shape, axes=tuple(range(len(like.shape) - 2)))


def _inverse_transposed(a: Value) -> Value:
    return _solved(swapped(a), identity_like(a))


def _det_vjp(g: Value, out: Value, a: Value) -> tuple[Any, ...]:
    return (_spread(g * out, a) * _inverse_transposed(a),)


def _slogdet_vjp(g: Any, out: Any, a: Value) -> tuple[Any, ...]:
    return (_spread(g[1], a) * _inverse_transposed(a),)


det = register(
    Op("det", _infer_det, lambda a: np.linalg.det(a).astype(a.dtype), _det_vjp, doc="Determinants.")
)
slogdet = register(
    Op(
        "slogdet",
        _infer_slogdet,
        lambda a: tuple(np.asarray(x) for x in np.linalg.slogdet(a)),
        _slogdet_vjp,
        doc="(sign, log |det|)",
    )
)


def _infer_lu_diagonal(a: Type) -> tuple[Type, ...]:
    _expect_matrices("lu_diagonal", a, square=True)
    rows = a.shape[:-1]
    return (a.with_shape(rows), Type("i32", rows))


def lu_diagonal_of(a: np.ndarray) -> tuple[Any, ...]:
    u, size = np.array(a.T), len(a)
    pivots = np.zeros(size, int)
    for k in range(size):
        pivots[k] = k + np.argmax(np.abs(u[k:, k]))
        u[[k, pivots[k]]] = u[[pivots[k], k]]
        if u[k, k] != 0:
            u[k + 1 :, k:] -= np.outer(u[k + 1 :, k] / u[k, k], u[k, k:])
    return np.diagonal(u), pivots + 1


lu_diagonal = register(
    Op(
        "lu_diagonal",
        _infer_lu_diagonal,
        lambda a: _each(lu_diagonal_of, _infer_lu_diagonal(*_types(a)), a),
        native=True,
        doc="The diagonal of U where P L U is the transpose of a, and which row, counted from 1,"
        " each row changed places with: what remains of a determinant when it is lowered.",
    )
)

# ---- cholesky ------------------------------------------------------------------------------------


def _infer_cholesky(a: Type) -> tuple[Type, ...]:
    _expect_matrices("cholesky", a, square=True)
    return (a, _info(a))


def _cholesky_vjp(g: Any, out: Any, a: Value) -> tuple[Any, ...]:
    """Murray, *Differentiation of the Cholesky decomposition* (2016), eq. 10."""
    upper = swapped(out[0])
    inner = lower_triangle(matmul(upper, g[0]), 0.5)
    half = _solved(upper, swapped(_solved(upper, inner)))
    return ((half + swapped(half)) * 0.5,)


cholesky = register(
    Op(
        "cholesky",
        _infer_cholesky,
        lambda a: _each(lambda a: (np.linalg.cholesky(a), 0), _infer_cholesky(*_types(a)), a),
        _cholesky_vjp,
        native=True,
        doc="(l, info) with l l' = a, from the lower triangle of a.",
    )
)

# ---- qr ------------------------------------------------------------------------------------------


def _infer_qr(a: Type, *, full: bool) -> tuple[Type, ...]:
    _expect_matrices("qr", a)
    *batch, rows, columns = a.shape
    inner = rows if full else min(rows, columns)
    return (a.with_shape((*batch, rows, inner)), a.with_shape((*batch, inner, columns)))


def _qr_vjp(g: Any, out: Any, a: Value, *, full: bool) -> tuple[Any, ...]:
    """Walter, Lehmann and Lamour, *On evaluating higher-order derivatives of the QR decomposition*
    (2012)."""
    (gq, gr), (q, r) = g, out
    rows, columns = a.shape[-2:]
    if rows < columns or (full and rows != columns):
        raise errors.GradientError(
            f"qr of {a.type} has a gradient for as many rows as columns or more, in reduced mode"
        )
    m = matmul(r, swapped(gr)) - matmul(swapped(gq), q)
    symmetric = lower_triangle(m, 1.0) + swapped(lower_triangle(m, 0.0))
    return (swapped(_solved(r, swapped(gq + matmul(q, symmetric)))),)


qr = register(
    Op(
        "qr",
        _infer_qr,
        lambda a, full: _each(
            lambda a: np.linalg.qr(a, "complete" if full else "reduced"),
            _infer_qr(*_types(a), full=full),
            a,
        ),
        _qr_vjp,
        native=True,
        doc="(q, r) with q r = a; `full` makes q square.",
    )
)

# ---- eigh ----------------------------------------------------------------------------------------


def _infer_eigh(a: Type) -> tuple[Type, ...]:
    _expect_matrices("eigh", a, square=True)
    return (_real(a).with_shape(a.shape[:-1]), a, _info(a))


def _eigh_vjp(g: Any, out: Any, a: Value) -> tuple[Any, ...]:
    """Equal eigenvalues have no derivative of their vectors; what they mix counts as zero."""
    gw, gv, _ = g
    w, v, _ = out
    inner = diagonal_matrices(gw)
    if not is_zero(gv):
        inner = inner + inverse_or_zero(gaps(w)) * matmul(swapped(v), gv)
    whole = matmul(matmul(v, inner), swapped(v))
    return ((whole + swapped(whole)) * 0.5,)


eigh = register(
    Op(
        "eigh",
        _infer_eigh,
        lambda a: _each(lambda a: (*np.linalg.eigh(a), 0), _infer_eigh(*_types(a)), a),
        _eigh_vjp,
        native=True,
        doc="(w, v, info) with a v = v w, from the lower triangle of a; w increases.",
    )
)

# ---- eig -----------------------------------------------------------------------------------------


def _infer_eig(a: Type) -> tuple[Type, ...]:
    _expect_matrices("eig", a, square=True)
    vectors = a.with_dtype(WHOLES.get(a.dtype, a.dtype))
    return (vectors.with_shape(a.shape[:-1]), vectors, _info(a))


eig = register(
    Op(
        "eig",
        _infer_eig,
        lambda a: _each(lambda a: (*np.linalg.eig(a), 0), _infer_eig(*_types(a)), a),
        doc="(w, v, info) with a v = v w, complex also where a is real.",
    )
)

# ---- svd -----------------------------------------------------------------------------------------


def _infer_svd(a: Type, *, full: bool) -> tuple[Type, ...]:
    _expect_matrices("svd", a)
    *batch, rows, columns = a.shape
    inner = min(rows, columns)
    left, right = (rows, columns) if full else (inner, inner)
    return (
        a.with_shape((*batch, rows, left)),
        _real(a).with_shape((*batch, inner)),
        a.with_shape((*batch, right, columns)),
        _info(a),
    )


def _svd_vjp(g: Any, out: Any, a: Value, *, full: bool) -> tuple[Any, ...]:
    """Townsend, *Differentiating the singular value decomposition* (2016), eqs. 28 and 29."""
    gu, gs, gvt, _ = g
    rows, columns = a.shape[-2:]
    only_values = is_zero(gu) and is_zero(gvt)
    if full and rows != columns:
        if not only_values:
            raise errors.GradientError(
                f"svd of {a.type} has gradients of its vectors with full_matrices=False"
            )
        out = emit_all(svd, a, full=False)
    u, s, vt, _ = out
    inner = diagonal_matrices(gs)
    if only_values:
        return (matmul(matmul(u, inner), vt),)
    gv, v = swapped(gvt), swapped(vt)
    spread = inverse_or_zero(gaps(ew.square(s)))
    for factor, cotangent, is_left in ((u, gu, True), (v, gv, False)):
        mixed = matmul(swapped(factor), cotangent)
        turned = spread * (mixed - swapped(mixed))
        part = columns_scaled(turned, s) if is_left else swapped(columns_scaled(swapped(turned), s))
        inner = inner + part
    whole = matmul(matmul(u, inner), vt)
    inverse = inverse_or_zero(s)
    if rows > columns:
        outside = gu - matmul(u, matmul(swapped(u), gu))
        whole = whole + matmul(columns_scaled(outside, inverse), vt)
    if columns > rows:
        outside = gv - matmul(v, matmul(vt, gv))
        whole = whole + matmul(columns_scaled(u, inverse), swapped(outside))
    return (whole,)


svd: Op = register(
    Op(
        "svd",
        _infer_svd,
        lambda a, full: _each(
            lambda a: (*np.linalg.svd(a, full_matrices=full), 0),
            _infer_svd(*_types(a), full=full),
            a,
        ),
        _svd_vjp,
        native=True,
        doc="(u, s, v', info) with u s v' = a; s decreases; `full` makes u and v square.",
    )
)


def _infer_singular_values(a: Type) -> tuple[Type, ...]:
    return _infer_svd(a, full=False)[1::2]


def _singular_values_vjp(g: Any, out: Any, a: Value) -> tuple[Any, ...]:
    u, _, vt, _ = emit_all(svd, a, full=False)
    return (matmul(matmul(u, diagonal_matrices(g[0])), vt),)


singular_values = register(
    Op(
        "singular_values",
        _infer_singular_values,
        lambda a: _each(
            lambda a: (np.linalg.svd(a, compute_uv=False), 0),
            _infer_singular_values(*_types(a)),
            a,
        ),
        _singular_values_vjp,
        native=True,
        doc="(s, info): the singular values of a, which decrease.",
    )
)

# ---- pinv ----------------------------------------------------------------------------------------


def _infer_pinv(a: Type, *, rcond: float) -> tuple[Type, ...]:
    _expect_matrices("pinv", a)
    return (a.with_shape((*a.shape[:-2], a.shape[-1], a.shape[-2])),)


def _pinv_vjp(g: Value, out: Value, a: Value, *, rcond: float) -> tuple[Any, ...]:
    """Golub and Pereyra, *The differentiation of pseudo-inverses* (1973), for a constant rank."""
    p, pt, gt = out, swapped(out), swapped(g)
    inside = matmul(matmul(pt, g), pt)
    left = matmul(matmul(gt, p), pt)
    right = matmul(matmul(pt, p), gt)
    left = left - matmul(a, matmul(p, left))
    right = right - matmul(matmul(right, p), a)
    return (left + right - inside,)


pinv = register(
    Op(
        "pinv",
        _infer_pinv,
        lambda a, rcond: np.linalg.pinv(a, rcond=rcond),
        _pinv_vjp,
        doc="The pseudo-inverse; singular values up to rcond times the largest count as 0.",
    )
)

OF_MATRICES = frozenset(
    {solve, det, slogdet, lu_diagonal, cholesky, qr, eigh, eig, svd, singular_values, pinv}
)
"""The operations of this module: the last two axes are matrices, those before are a batch."""
