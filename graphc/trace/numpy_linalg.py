"""`np.linalg` on traced matrices."""

from __future__ import annotations

import builtins
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import errors
from graphc.dims import Dim
from graphc.ir import INEXACT, NUMPY_DTYPES
from graphc.ops import decompositions, matrices
from graphc.ops import elementwise as ew
from graphc.ops import index as index_ops
from graphc.trace import numpy_products as products
from graphc.trace import numpy_reductions as reductions
from graphc.trace import sizes, tree
from graphc.trace.numpy_choosing import diagonal, trace
from graphc.trace.numpy_making import eye
from graphc.trace.numpy_shapes import matrix_transpose
from graphc.trace.promotion import cast_to, promoted_dtype
from graphc.trace.scope import user_loc
from graphc.trace.tracer import Tracer, lift, wrap


def _floats(a: Any) -> Any:
    x = lift(a)
    return x if x.dtype_name in INEXACT else x.astype(np.float64)


# ---- norms ---------------------------------------------------------------------------------------


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    array = _floats(x)
    if axis is None and ord is None:
        return _euclidean(array, tuple(range(array.ndim)), keepdims)
    axes = reductions.normalise_axes(axis, array.ndim)
    if isinstance(axis, (tuple, list)):  # in the order given: rows, columns
        axes = tuple(reductions.normalise_axis(a, array.ndim) for a in axis)
    if len(axes) == 1:
        return vector_norm(array, ord=2 if ord is None else ord, axis=axes[0], keepdims=keepdims)
    if len(axes) != 2:
        raise errors.ShapeError(f"norm: one or two axes, not {axes} of {array.type}", user_loc())
    return _matrix_norm(array, "fro" if ord is None else ord, axes, keepdims)


def _euclidean(x: Tracer, axes: Any, keepdims: bool) -> Any:
    return reductions.root(reductions.sum(reductions.squared_size(x), axes, None, keepdims))


def vector_norm(x: Any, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    array = _floats(x)
    axes = reductions.normalise_axes(axis, array.ndim)
    if isinstance(ord, str):
        raise errors.AttributeValueError(f"Invalid norm order {ord!r} for vectors", user_loc())
    if ord == 2:
        return _euclidean(array, axes, keepdims)
    if ord == 0:
        nonzero = np.not_equal(array, 0).astype(np.absolute(array).dtype)
        return reductions.sum(nonzero, axes, None, keepdims)
    size = np.absolute(array)
    if ord == 1:
        return reductions.sum(size, axes, None, keepdims)
    if np.isinf(ord):
        return (reductions.max if ord > 0 else reductions.min)(size, axes, keepdims)
    total = reductions.sum(np.power(size, float(ord)), axes, None, keepdims)
    return np.power(total, 1.0 / float(ord))


def matrix_norm(x: Any, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    return _matrix_norm(_floats(x), ord, (-2, -1), keepdims)


def _matrix_norm(x: Any, ord: Any, axes: tuple[int, int], keepdims: bool) -> Any:
    """Sums of columns or of rows, or of singular values."""
    rows, columns = (reductions.normalise_axis(a, x.ndim) for a in axes)
    if ord == "fro":
        return _euclidean(x, (rows, columns), keepdims)
    if ord in (1, -1, np.inf, -np.inf):
        summed, other = (rows, columns) if abs(ord) == 1 else (columns, rows)
        totals = reductions.sum(np.absolute(x), summed, None, True)
        largest = reductions.max if ord > 0 else reductions.min
        result = largest(totals, other, True)
    elif ord in (2, -2, "nuc"):
        values = np.linalg.svd(np.moveaxis(x, (rows, columns), (-2, -1)), compute_uv=False)
        pick: Any = {2: reductions.max, -2: reductions.min, "nuc": reductions.sum}[ord]
        result = np.expand_dims(pick(values, -1), tuple(sorted((rows, columns))))
    else:
        raise errors.AttributeValueError(f"Invalid norm order {ord!r} for matrices", user_loc())
    return result if keepdims else np.squeeze(result, (rows, columns))


# ---- decompositions ------------------------------------------------------------------------------


def _square(name: str, a: Any) -> Any:
    x = _floats(a)
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise errors.ShapeError(
            f"{name}: Last 2 dimensions of the array must be square, not {x.type}", user_loc()
        )
    return x


def _results(op: Any, message: str, *arrays: Any, **attrs: Any) -> list[Any]:
    """The results of a decomposition; `info`, the last, is checked when the step runs."""
    *results, info = matrices.emit_all(op, *(x.value() for x in arrays), **attrs)
    index_ops.check(ew.equal(info, 0), cast_to(info, "i64"), error="LinAlgError", message=message)
    return [wrap(result) for result in results]


SINGULAR = "Singular matrix"


def _nonempty(*arrays: Any) -> bool:
    return builtins.all(x.size for x in arrays)


def solve(a: Any, b: Any) -> Any:
    matrix, sides = _square("solve", a), _floats(b)
    dtype = NUMPY_DTYPES[promoted_dtype([matrix, sides])]
    matrix, sides = matrix.astype(dtype), sides.astype(dtype)
    is_vector = sides.ndim == 1
    columns = np.expand_dims(sides, -1) if is_vector else sides
    if columns.shape[-2] != matrix.shape[-1]:
        raise errors.ShapeError(
            f"solve: {matrix.type} has no right-hand sides {sides.type}", user_loc()
        )
    batch = sizes.broadcast_shapes(matrix.shape[:-2], columns.shape[:-2])
    matrix = np.broadcast_to(matrix, (*batch, *matrix.shape[-2:]))
    columns = np.broadcast_to(columns, (*batch, *columns.shape[-2:]))
    if not _nonempty(matrix, columns):
        result = np.zeros_like(columns)
    else:
        (result,) = _results(decompositions.solve, SINGULAR, matrix, columns)
    return result[..., 0] if is_vector else result


def inv(a: Any) -> Any:
    x = _square("inv", a)
    return solve(x, eye(x.shape[-1], dtype=x.dtype))


def det(a: Any) -> Any:
    return wrap(decompositions.det(_square("det", a).value()))


def slogdet(a: Any) -> Any:
    x = _square("slogdet", a)
    parts = matrices.emit_all(decompositions.slogdet, x.value())
    return _SLOGDET(*(wrap(part) for part in parts))


_SLOGDET: Any = type(np.linalg.slogdet(np.eye(1)))


def cholesky(a: Any, *, upper: bool = False) -> Any:
    x = _square("cholesky", a)
    if not _nonempty(x):
        return x
    x = _adjoint(x) if upper else x
    message = "Matrix is not positive definite"
    (result,) = _results(decompositions.cholesky, message, x)
    return _adjoint(result) if upper else result


def _adjoint(x: Any) -> Any:
    """The conjugate transpose."""
    return np.conjugate(matrix_transpose(x))


def qr(a: Any, mode: str = "reduced") -> Any:
    x = _floats(a)
    if mode not in ("reduced", "complete", "r"):
        raise errors.AttributeValueError(
            f"qr can be traced with mode 'reduced', 'complete' or 'r', not {mode!r}", user_loc()
        )
    _expect_matrix("qr", x)
    q, r = matrices.emit_all(decompositions.qr, x.value(), full=mode == "complete")
    return wrap(r) if mode == "r" else _QR(wrap(q), wrap(r))


_QR: Any = type(np.linalg.qr(np.eye(1)))


def _expect_matrix(name: str, x: Any) -> None:
    if x.ndim < 2 or not x.size:
        raise errors.ShapeError(
            f"{name}: an array of two or more axes that is not empty, not {x.type}", user_loc()
        )


_NO_CONVERGENCE = "Eigenvalues did not converge"


def eigh(a: Any, UPLO: str = "L") -> Any:  # noqa: N803 - NumPy's name
    x = _square("eigh", a)
    _expect_matrix("eigh", x)
    if UPLO not in ("L", "U", "l", "u"):
        raise errors.AttributeValueError("UPLO argument must be 'L' or 'U'", user_loc())
    x = _adjoint(x) if UPLO in "Uu" else x
    return _EIGH(*_results(decompositions.eigh, _NO_CONVERGENCE, x))


_EIGH: Any = type(np.linalg.eigh(np.eye(1)))


def eigvalsh(a: Any, UPLO: str = "L") -> Any:  # noqa: N803 - NumPy's name
    return eigh(a, UPLO)[0]


def eig(a: Any) -> Any:
    """Complex also where NumPy looks at the values and finds all of them to be real."""
    x = _square("eig", a)
    _expect_matrix("eig", x)
    return _EIG(*_results(decompositions.eig, _NO_CONVERGENCE, x))


_EIG: Any = type(np.linalg.eig(np.eye(1)))


def eigvals(a: Any) -> Any:
    return eig(a)[0]


def svd(
    a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False
) -> Any:
    x = _floats(a)
    _expect_matrix("svd", x)
    message = "SVD did not converge"
    if not compute_uv:
        return _results(decompositions.singular_values, message, x)[0]
    return _SVD(*_results(decompositions.svd, message, x, full=bool(full_matrices)))


_SVD: Any = type(np.linalg.svd(np.eye(1)))


def svdvals(x: Any) -> Any:
    return svd(x, compute_uv=False)


# ---- what is read off them -----------------------------------------------------------------------


def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    x = _floats(a)
    _expect_matrix("pinv", x)
    cutoff = rcond if rcond is not None else rtol
    if cutoff is None:
        cutoff = 1e-15
    return wrap(decompositions.pinv(x.value(), rcond=float(cutoff)))


def _cutoff(x: Any) -> float:
    return float(np.finfo(x.dtype).eps * builtins.max(x.shape[-2:]))


def matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:  # noqa: N803
    x = _floats(A)
    if x.ndim < 2:
        return reductions.any(x != 0).astype(np.int64)
    values = svdvals(x)
    if tol is None:
        tol = reductions.max(values, -1, True) * (_cutoff(x) if rtol is None else rtol)
    else:
        tol = np.expand_dims(tol, -1)
    return reductions.count_nonzero(values > tol, -1)


def lstsq(a: Any, b: Any, rcond: Any = None) -> Any:
    """The residuals are those of full rank: NumPy gives none where the rank turns out smaller."""
    x, sides = _floats(a), _floats(b)
    _expect_matrix("lstsq", x)
    if x.ndim != 2 or sides.ndim > 2 or sides.shape[0] != x.shape[0]:
        raise errors.ShapeError(f"lstsq: {x.type} does not fit {sides.type}", user_loc())
    cutoff = _cutoff(x) if rcond is None else float(rcond)
    solution = products.matmul(pinv(x, cutoff if cutoff >= 0 else 1e-15), sides)
    values = svdvals(x)
    rank = reductions.count_nonzero(values > cutoff * values[0])
    left = sides - products.matmul(x, solution)
    columns = left if left.ndim > 1 else np.expand_dims(left, -1)
    residuals = reductions.sum(reductions.squared_size(columns), 0)
    return (
        solution,
        residuals if x.shape[0] > x.shape[1] else residuals[:0],
        rank.astype(np.int32),
        values,
    )


def cond(x: Any, p: Any = None) -> Any:
    matrix = _floats(x)
    _expect_matrix("cond", matrix)
    if p in (None, 2, -2):
        values = svdvals(matrix)
        ends = (values[..., 0], values[..., -1])
        return ends[1] / ends[0] if p == -2 else ends[0] / ends[1]
    sizes = [
        _matrix_norm(m, p, (matrix.ndim - 2, matrix.ndim - 1), False) for m in (matrix, inv(x))
    ]
    return sizes[0] * sizes[1]


def tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    x, side = _floats(a), _floats(b)
    if axes is not None:
        axes = tuple(axes)
        x = np.moveaxis(x, axes, tuple(range(x.ndim - len(axes), x.ndim)))
    shape = x.shape[side.ndim :]
    count = math.prod(shape)
    return np.reshape(solve(np.reshape(x, (-1, count)), np.ravel(side)), shape)


def tensorinv(a: Any, ind: Any = 2) -> Any:
    x = _floats(a)
    shape = x.shape[ind:] + x.shape[:ind]
    count = math.prod(x.shape[ind:])
    return np.reshape(inv(np.reshape(x, (count, -1))), shape)


def _also_empty(function: Any, entry: Callable[..., Any]) -> Callable[..., Any]:
    """`entry`; of arrays without elements, whose results no data decides, NumPy's own result."""

    @functools.wraps(entry)
    def call(*args: Any, **kwargs: Any) -> Any:
        arrays = [x for x in (*args, *kwargs.values()) if isinstance(x, Tracer)]
        if not arrays or builtins.any(isinstance(x.size, Dim) or x.size for x in arrays):
            return entry(*args, **kwargs)
        known = [np.empty(x.shape, x.dtype) if isinstance(x, Tracer) else x for x in args]
        result = function(*known, **kwargs)
        return tree.map_leaves(lift, result)

    return call


FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.linalg.norm: norm,
    np.linalg.solve: solve,
    np.linalg.inv: inv,
    np.linalg.det: det,
    np.linalg.slogdet: slogdet,
    np.linalg.cholesky: cholesky,
    np.linalg.qr: qr,
    np.linalg.eigh: eigh,
    np.linalg.eig: eig,
    np.linalg.eigvals: eigvals,
    np.linalg.eigvalsh: eigvalsh,
    np.linalg.svd: svd,
    np.linalg.pinv: pinv,
    np.linalg.matrix_rank: matrix_rank,
    np.linalg.lstsq: lstsq,
    np.linalg.cond: cond,
    np.linalg.tensorsolve: tensorsolve,
    np.linalg.tensorinv: tensorinv,
    np.linalg.multi_dot: products.multi_dot,
    np.linalg.matrix_power: products.matrix_power,
    **{
        getattr(np.linalg, name): entry
        for name, entry in (
            ("vector_norm", vector_norm),
            ("svdvals", svdvals),
            ("matrix_norm", matrix_norm),
            ("cross", lambda x1, x2, *, axis=-1: products.cross(x1, x2, axis=axis)),
            ("outer", lambda x1, x2: products.outer(x1, x2)),
            ("matmul", lambda x1, x2: products.matmul(x1, x2)),
            ("tensordot", lambda x1, x2, *, axes=2: products.tensordot(x1, x2, axes)),
            ("vecdot", lambda x1, x2, *, axis=-1: products.vecdot(x1, x2, axis=axis)),
            ("matrix_transpose", matrix_transpose),
            ("trace", lambda x, *, offset=0: trace(x, offset, -2, -1)),
            ("diagonal", lambda x, *, offset=0: diagonal(x, offset, -2, -1)),
        )
        if hasattr(np.linalg, name)
    },
}
"""`np.linalg`'s functions."""

_WITHOUT_ELEMENTS = (
    "svd svdvals qr pinv lstsq matrix_rank norm matrix_norm vector_norm cond"
    " eig eigvals eigh eigvalsh tensorsolve"
)
for _name in _WITHOUT_ELEMENTS.split():
    if (_function := getattr(np.linalg, _name, None)) in FUNCTIONS:
        FUNCTIONS[_function] = _also_empty(_function, FUNCTIONS[_function])
