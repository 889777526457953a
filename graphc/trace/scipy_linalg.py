"""Functions of scipy.linalg on traced matrices, made of those of `np.linalg`.

Triangles are read as scipy reads them: what lies on the other side of the diagonal counts for
nothing where scipy does not look at it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import errors
from graphc.ir import COMPLEXES, INEXACT
from graphc.trace import numpy_linalg as linalg
from graphc.trace.scope import user_loc
from graphc.trace.syntax_runtime import BranchLocs, Site
from graphc.trace.tracer import lift

Entry = Callable[..., Any]

LAYOUT = frozenset(
    "overwrite_a overwrite_b overwrite_ab check_finite lapack_driver driver lwork".split()
)
"""Parameters of memory and of checks, which mean nothing here."""


def _floats(a: Any) -> Any:
    x = lift(a)
    return x if x.dtype_name in INEXACT else x.astype(np.float64)


def _adjoint(x: Any) -> Any:
    return np.swapaxes(np.conjugate(x) if x.dtype_name in COMPLEXES else x, -1, -2)


def _refuse(message: str) -> errors.UnsupportedFunctionError:
    return errors.UnsupportedFunctionError(f"scipy.linalg.{message}", user_loc())


# ---- solving -------------------------------------------------------------------------------------


def _triangle(a: Any, lower: bool) -> Any:
    return np.tril(a) if lower else np.triu(a)


def _from_triangle(a: Any, lower: bool, hermitian: bool) -> Any:
    """The whole of a symmetric or Hermitian matrix of which one triangle is given."""
    part = np.tril(a, -1) if lower else np.triu(a, 1)
    mirrored = _adjoint(part) if hermitian else np.swapaxes(part, -1, -2)
    middle = np.where(np.eye(a.shape[-1], dtype=bool), a, 0)
    return part + mirrored + middle


def _structured(a: Any, assume_a: Any, lower: bool) -> Any:
    """The matrix that scipy solves with when it is told what kind it is."""
    kind = "general" if assume_a is None else assume_a
    if kind in ("general", "gen"):
        return a
    if kind in ("sym", "symmetric"):
        return _from_triangle(a, lower, hermitian=False)
    if kind in ("her", "hermitian", "pos", "positive definite"):
        return _from_triangle(a, lower, hermitian=True)
    if kind in ("upper triangular", "lower triangular"):
        return _triangle(a, kind.startswith("lower"))
    if kind == "diagonal":
        return np.where(np.eye(a.shape[-1], dtype=bool), a, 0)
    raise _refuse(f"solve can be traced without assume_a={assume_a!r}; leave it out")


def solve(
    a: Any, b: Any, lower: bool = False, *, assume_a: Any = None, transposed: bool = False
) -> Any:
    matrix = _structured(_floats(a), assume_a, lower)
    return _solved(np.swapaxes(matrix, -1, -2) if transposed else matrix, _floats(b))


def _solved(a: Any, b: Any) -> Any:
    """A vector on the right has one axis, also beside a stack of matrices."""
    if b.ndim == 1:
        return np.linalg.solve(a, b[:, None])[..., 0]
    return np.linalg.solve(a, b)


_TRANSPOSED = {0: 0, "N": 0, 1: 1, "T": 1, 2: 2, "C": 2}


def solve_triangular(
    a: Any, b: Any, trans: Any = 0, lower: bool = False, unit_diagonal: bool = False
) -> Any:
    matrix = _triangle(_floats(a), lower)
    if unit_diagonal:
        matrix = np.where(np.eye(matrix.shape[-1], dtype=bool), matrix.dtype.type(1), matrix)
    which = _TRANSPOSED[trans]
    if which:
        matrix = _adjoint(matrix) if which == 2 else np.swapaxes(matrix, -1, -2)
    return _solved(matrix, _floats(b))


def cholesky(a: Any, lower: bool = False) -> Any:
    """The triangle that is not given counts as the mirror image of the other."""
    matrix = _floats(a)
    if lower:
        return np.linalg.cholesky(matrix)
    return _adjoint(np.linalg.cholesky(_adjoint(matrix)))


def cho_factor(a: Any, lower: bool = False) -> tuple[Any, bool]:
    """The other triangle keeps what it held, as in scipy."""
    matrix = _floats(a)
    rest = np.triu(matrix, 1) if lower else np.tril(matrix, -1)
    return cholesky(matrix, lower) + rest, lower


def cho_solve(c_and_lower: Any, b: Any) -> Any:
    factor, lower = c_and_lower
    triangle = _triangle(_floats(factor), lower)
    left = triangle if lower else _adjoint(triangle)
    return _solved(_adjoint(left), _solved(left, _floats(b)))


def solve_banded(l_and_u: Any, ab: Any, b: Any) -> Any:
    """The diagonals are put into a whole matrix."""
    below, above = (int(n) for n in l_and_u)
    bands = _floats(ab)
    size = bands.shape[-1]
    if bands.shape[0] != below + above + 1:
        raise errors.ShapeError(
            f"solve_banded: {below} diagonals below and {above} above are {below + above + 1} rows,"
            f" not {bands.type}",
            user_loc(),
        )
    places = above + np.arange(size)[:, None] - np.arange(size)[None, :]
    inside = (places >= 0) & (places <= below + above)
    columns = np.broadcast_to(np.arange(size), (size, size))
    whole = np.where(inside, bands[np.clip(places, 0, below + above), columns], 0)
    return _solved(whole, _floats(b))


MOST_UNKNOWNS = 1024


def solve_sylvester(a: Any, b: Any, q: Any) -> Any:
    """a x + x b = q, as one system of all elements of x."""
    left, right, wanted = _floats(a), _floats(b), _floats(q)
    rows, columns = left.shape[0], right.shape[0]
    if rows * columns > MOST_UNKNOWNS:
        raise _refuse(
            f"solve_sylvester can be traced for up to {MOST_UNKNOWNS} unknowns, not"
            f" {rows * columns}; use gc.call"
        )
    system = np.kron(left, np.eye(columns)) + np.kron(np.eye(rows), right.T)
    return np.reshape(np.linalg.solve(system, np.reshape(wanted, -1)), (rows, columns))


# ---- decompositions ------------------------------------------------------------------------------


def qr(a: Any, mode: str = "full", pivoting: bool = False) -> Any:
    if pivoting or mode not in ("full", "r", "economic"):
        raise _refuse("qr can be traced without pivoting, in the modes full, r and economic")
    q, r = np.linalg.qr(_floats(a), "reduced" if mode == "economic" else "complete")
    return (r,) if mode == "r" else (q, r)


def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    return linalg.svd(_floats(a), full_matrices, compute_uv)


def eigh(a: Any, b: Any = None, *, lower: bool = True, eigvals_only: bool = False) -> Any:
    if b is not None:
        raise _refuse("eigh can be traced without b; reduce it by a Cholesky factor of b")
    triangle = "L" if lower else "U"
    if eigvals_only:
        return linalg.eigvalsh(_floats(a), triangle)
    return tuple(linalg.eigh(_floats(a), triangle))


def eigvalsh(a: Any, b: Any = None, *, lower: bool = True) -> Any:
    return eigh(a, b, lower=lower, eigvals_only=True)


# ---- functions of matrices -----------------------------------------------------------------------

_PADE = (
    64764752532480000, 32382376266240000, 7771770303897600, 1187353796428800, 129060195264000,
    10559470521600, 670442572800, 33522128640, 1323241920, 40840800, 960960, 16380, 182, 1,
)  # fmt: skip
"""Of order 13, for matrices of norm 5.37 and less (Higham 2005)."""
_NORM = {"f64": 5.371920351148152, "c128": 5.371920351148152, "f32": 3.0, "c64": 3.0}


def expm(A: Any) -> Any:  # noqa: N803 - scipy's name
    """By scaling and squaring: a rational function of the matrix over 2**s, squared s times."""
    matrix: Any = np.atleast_2d(_floats(A))
    norm = np.max(np.sum(np.absolute(matrix), -2))
    steps = np.ceil(np.log2(np.maximum(norm / _NORM[matrix.dtype_name], 1.0)))
    power = _rational(matrix * np.exp2(-steps).astype(matrix.dtype))
    return _squared(power, steps)


def _squared(matrix: Any, times: Any) -> Any:
    """A loop on data: how often depends on the matrix."""
    from graphc.trace.loops import while_statement

    state = {"times": times, "power": matrix}

    def body() -> None:
        state.update(times=state["times"] - 1, power=np.matmul(state["power"], state["power"]))

    def put(values: Any) -> None:
        state.update(zip(state, values, strict=True))

    here: Any = user_loc()
    site = Site(BranchLocs(here, here, here), tuple(state))
    while_statement(lambda: state["times"] > 0, body, lambda: tuple(state.values()), put, site)
    return state["power"]


def _rational(a: Any) -> Any:
    eye = np.eye(a.shape[-1], dtype=a.dtype)
    powers = [eye, np.matmul(a, a)]
    while len(powers) < 4:
        powers.append(np.matmul(powers[-1], powers[1]))

    def part(first: int) -> Any:
        low = sum(float(_PADE[2 * k + first]) * powers[k] for k in range(4))
        high = sum(float(_PADE[2 * k + 6 + first]) * powers[k] for k in range(1, 4))
        return low + np.matmul(powers[3], high)

    odd, even = np.matmul(a, part(1)), part(0)
    return np.linalg.solve(even - odd, even + odd)


# ---- matrices of a form --------------------------------------------------------------------------


def _vector(name: str, c: Any) -> Any:
    x = lift(c)
    if x.ndim > 1:
        raise _refuse(f"{name} can be traced for vectors, not {x.type}")
    return np.reshape(x, -1)


def toeplitz(c: Any, r: Any = None) -> Any:
    column = _vector("toeplitz", c)
    row = (np.conjugate(column) if r is None else _vector("toeplitz", r))[1:]
    line = np.concatenate([row[::-1], column])
    rows, columns = column.shape[0], row.shape[0] + 1
    return line[np.arange(rows)[:, None] - np.arange(columns) + columns - 1]


def hankel(c: Any, r: Any = None) -> Any:
    column = _vector("hankel", c)
    row = np.zeros_like(column) if r is None else _vector("hankel", r)
    line = np.concatenate([column, row[1:]])
    return line[np.arange(column.shape[0])[:, None] + np.arange(row.shape[0])]


def circulant(c: Any) -> Any:
    column = _vector("circulant", c)
    size = column.shape[0]
    return column[(np.arange(size)[:, None] - np.arange(size)) % size]


def block_diag(*arrs: Any) -> Any:
    blocks = [np.atleast_2d(lift(a)) for a in arrs]
    widths = [block.shape[1] for block in blocks]
    dtype = np.result_type(*(block.dtype for block in blocks))
    rows = []
    for i, block in enumerate(blocks):
        left, right = sum(widths[:i]), sum(widths[i + 1 :])
        zeros = [np.zeros((block.shape[0], n), dtype) for n in (left, right)]
        rows.append(np.concatenate([zeros[0], block.astype(dtype), zeros[1]], axis=1))
    return np.concatenate(rows, axis=0)


def _of_numpy(name: str) -> Entry:
    function = getattr(np.linalg, name)
    return lambda a, *args, **kwargs: function(_floats(a), *args, **kwargs)


_ENTRIES: dict[str, Entry] = {
    "solve": solve,
    "solve_triangular": solve_triangular,
    "cholesky": cholesky,
    "cho_factor": cho_factor,
    "cho_solve": cho_solve,
    "solve_banded": solve_banded,
    "solve_sylvester": solve_sylvester,
    "qr": qr,
    "svd": svd,
    "svdvals": lambda a: svd(a, compute_uv=False),
    "eigh": eigh,
    "eigvalsh": eigvalsh,
    "expm": expm,
    "toeplitz": toeplitz,
    "hankel": hankel,
    "circulant": circulant,
    "block_diag": block_diag,
    "inv": lambda a: np.linalg.inv(_floats(a)),
    "det": lambda a: np.linalg.det(_floats(a)),
    "norm": _of_numpy("norm"),
    "eigvals": lambda a: np.linalg.eigvals(_floats(a)),
}


def _without_layout(entry: Entry) -> Entry:
    @functools.wraps(entry)
    def call(*args: Any, **kwargs: Any) -> Any:
        return entry(*args, **{key: x for key, x in kwargs.items() if key not in LAYOUT})

    return call


LINALG: dict[str, Entry] = {name: _without_layout(entry) for name, entry in _ENTRIES.items()}
"""Functions of scipy.linalg, by name."""
