"""NumPy's functions, each with several forms of arguments, for `test_numpy_rows.py`.

A row is a function of arrays; of one whose name ends in "~" the gradient is checked, too, with
respect to its floating-point arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

rng = np.random.default_rng(11)
X = rng.standard_normal((2, 3, 4))
M = rng.standard_normal((3, 4))
S = rng.standard_normal((4, 4)) + 4 * np.eye(4)
V = rng.standard_normal(7)
W = rng.uniform(0.5, 2.0, 7)
P = np.sort(rng.uniform(0.0, 3.0, 6))
N = rng.integers(-9, 10, (3, 4))
K = rng.integers(0, 4, 12)
F = rng.standard_normal((3, 5)).astype(np.float32)
B = M > 0
NAN = np.where(rng.uniform(size=(3, 6)) < 0.3, np.nan, rng.standard_normal((3, 6)))
NAN[:, 0] = [0.5, -1.0, 2.0]
TIES = np.array([3.0, 1.0, 2.0, 1.0, 3.0, 2.0])
I2 = np.array([2, 0, 1, 2])

Row = tuple[Callable[..., Any], tuple[Any, ...]]

RUNNING: dict[str, Row] = {
    "cumsum~": (lambda x: [np.cumsum(x), np.cumsum(x, 0), x.cumsum(axis=-1)], (M,)),
    "cumsum types": (
        lambda n, f, b: [np.cumsum(n, 1), f.cumsum(0), np.cumsum(b), np.cumsum(f, dtype=float)],
        (N, F, B),
    ),
    "cumprod~": (lambda x: [np.cumprod(x), np.cumprod(x, 1), x.cumprod(0)], (M,)),
    "cumprod zero~": (lambda x: np.cumprod(x * np.array([1.0, 0, 1, 1, 0, 1, 1])), (V,)),
    "cumprod int": (lambda n: [np.cumprod(n, 0), n.cumprod()], (N,)),
    "cumulative_sum~": (
        lambda x: [np.cumulative_sum(x, axis=1, include_initial=True), np.cumulative_sum(x[0])],
        (M,),
    ),
    "cumulative_prod~": (lambda x: np.cumulative_prod(x, axis=0, include_initial=True), (M,)),
    "nancumsum": (lambda x: [np.nancumsum(x), np.nancumsum(x, 1), np.nancumprod(x, 0)], (NAN,)),
    "accumulate~": (
        lambda x: [
            np.add.accumulate(x),
            np.multiply.accumulate(x, 1),
            np.maximum.accumulate(x, axis=1),
            np.minimum.accumulate(x),
        ],
        (M,),
    ),
    "accumulate int": (lambda n: [np.maximum.accumulate(n, 1), np.minimum.accumulate(n)], (N,)),
    "diff~": (
        lambda x: [
            np.diff(x),
            np.diff(x, 2, 0),
            np.diff(x, prepend=0.0),
            np.diff(x, append=x[:, :1]),
        ],
        (M,),
    ),
    "ediff1d~": (lambda x: [np.ediff1d(x), np.ediff1d(x, to_begin=0.5, to_end=[1.0, 2.0])], (M,)),
    "gradient~": (
        lambda x, p: [
            np.gradient(x[0]),
            np.gradient(x, axis=1),
            np.gradient(x, 0.5, axis=0, edge_order=2),
            *np.gradient(x),
            np.gradient(p, np.arange(6.0) ** 2),
            np.gradient(p, np.arange(6.0) ** 2, edge_order=2),
        ],
        (M, P),
    ),
    "trapezoid~": (
        lambda x, p: [
            np.trapezoid(x),
            np.trapezoid(x, dx=0.1, axis=0),
            np.trapezoid(p, p**2),
            np.trapezoid(x, x=[0, 1, 3, 4.0]),
        ],
        (M, P),
    ),
    "unwrap~": (lambda x: [np.unwrap(3 * x), np.unwrap(2 * x, period=4.0)], (V,)),
}

SORTING: dict[str, Row] = {
    "sort~": (lambda x: [np.sort(x), np.sort(x, 0), np.sort(x, axis=None), np.sort(x)[::-1]], (M,)),
    "sort types": (
        lambda n, f, b, x: [np.sort(n, 0), np.sort(f), np.sort(b), np.sort(x, axis=1)],
        (N, F, B, NAN),
    ),
    "argsort": (
        lambda x, n: [np.argsort(x), x.argsort(0), np.argsort(n, kind="stable"), np.argsort(-x)],
        (M, N),
    ),
    "argsort ties": (lambda x: np.argsort(x, stable=True), (TIES,)),
    "sort method": (lambda x: _sorted_in_place(x), (M,)),
    "partition": (lambda x: [np.partition(x, 2)[2], np.sort(np.partition(x, 3)[:3])], (V,)),
    "argpartition": (lambda x: x[np.argpartition(x, 2)[2]], (V,)),
    "sort_complex": (
        lambda m, f, n: [np.sort_complex(m), np.sort_complex(f), np.sort_complex(n)],
        (M, F, N),
    ),
    "lexsort": (lambda x, y: [np.lexsort((x, y)), np.lexsort((y, x))], (V[:6], TIES)),
    "median~": (
        lambda x: [np.median(x), np.median(x, 0), np.median(x, 1, keepdims=True), np.median(x[0])],
        (M,),
    ),
    "median types": (lambda n, f, x: [np.median(n), np.median(f, 1), np.median(x, 1)], (N, F, NAN)),
    "nanmedian": (lambda x: [np.nanmedian(x), np.nanmedian(x, 1), np.nanmedian(x, 0)], (NAN,)),
    "quantile~": (
        lambda x: [
            np.quantile(x, 0.3),
            np.quantile(x, [0.1, 0.8], axis=1),
            np.percentile(x, 25, axis=0),
            np.percentile(x, [25, 75]),
            np.quantile(x, 0.5, keepdims=True),
        ],
        (M,),
    ),
    "quantile methods": (
        lambda x: [
            np.quantile(x, 0.37, method="lower"),
            np.quantile(x, 0.37, method="higher"),
            np.quantile(x, 0.37, method="midpoint"),
            np.quantile(x, 0.37, method="nearest"),
            np.quantile(x, 0.37, method="hazen"),
            np.quantile(x, 0.37, method="weibull"),
            np.quantile(x, 0.37, method="median_unbiased"),
        ],
        (M,),
    ),
    "quantile traced q": (lambda x, q: np.quantile(x, q), (M, np.array([0.2, 0.9]))),
    "nanquantile": (
        lambda x: [np.nanquantile(x, 0.3, axis=1), np.nanpercentile(x, 60)],
        (NAN,),
    ),
    "searchsorted": (
        lambda p, x, n: [
            np.searchsorted(p, x),
            np.searchsorted(p, x, side="right"),
            np.searchsorted(p, p, "right"),
            p.searchsorted(x[0]),
            np.searchsorted(np.array([-3, 0, 4]), n),
        ],
        (P, M, N),
    ),
    "digitize": (
        lambda x: [
            np.digitize(x, [-1.0, 0, 1]),
            np.digitize(x, [-1.0, 0, 1], right=True),
            np.digitize(x, np.array([1.0, 0, -1])),
        ],
        (M,),
    ),
    "interp~": (
        lambda x, p, v: [
            np.interp(x, p, v),
            np.interp(x, p, v, left=-1.0, right=2.0),
            np.interp(0.7, p, v),
            np.interp(x, np.arange(6.0), v, period=5.5),
        ],
        (W, P, V[:6]),
    ),
    "bincount": (
        lambda k, w: [np.bincount(k, minlength=5), np.bincount(k[:7], w, minlength=4)],
        (K, W),
    ),
    "histogram": (
        lambda x, w: [
            *np.histogram(x, 5),
            *np.histogram(x, bins=[-1, 0, 0.5, 1.0]),
            *np.histogram(x, 4, range=(-1, 1)),
            *np.histogram(x, 3, density=True),
            np.histogram(x, 4, weights=w)[0],
            np.histogram_bin_edges(x, 3),
        ],
        (V, W),
    ),
    "isin": (lambda n: [np.isin(n, [1, 3, -2]), np.isin(n, [1], invert=True)], (N,)),
}


def _sorted_in_place(x: Any) -> Any:
    y = x.copy()
    y.sort()
    z = x.copy()
    z[1:].sort(axis=0)
    return [y, z]


STATISTICS: dict[str, Row] = {
    "var where~": (
        lambda x: [
            np.sum(x, where=x > 0, axis=1),
            np.mean(x, where=x > -1),
            np.max(x, initial=0.0),
            np.min(x, axis=0, initial=9.0, where=x > 0),
            np.prod(x, initial=2.0),
            np.var(x, where=x > -1, axis=1),
            np.std(x, where=x > -2, axis=1),
        ],
        (M,),
    ),
    "any where": (lambda x, b: [np.any(b, where=x > 0, axis=0), np.all(b, where=x > 0)], (M, B)),
    "average": (
        lambda x, w: [
            *np.average(x, returned=True),
            np.average(x, axis=1, weights=w[:4]),
            *np.average(x, axis=1, weights=w[:4], returned=True),
            np.average(x, 0, keepdims=True),
        ],
        (M, W),
    ),
    "nan reductions": (
        lambda x: [
            np.nansum(x, 1),
            np.nanmean(x, 0),
            np.nanprod(x),
            np.nanmax(x, 1),
            np.nanmin(x),
            np.nanargmax(x, 1),
            np.nanargmin(x),
            np.nanvar(x, 1),
            np.nanvar(x, ddof=1),
            np.nanstd(x, 0),
        ],
        (NAN,),
    ),
    "nan reductions int": (lambda n: [np.nanmax(n), np.nanvar(n, 0), np.nanmean(n, 1)], (N,)),
    "cov~": (
        lambda x, w: [
            np.cov(x),
            np.cov(x, rowvar=False),
            np.cov(x, bias=True),
            np.cov(x[0], x[1]),
            np.cov(x, ddof=0),
            np.cov(x[0]),
            np.cov(x, aweights=w[:4]),
        ],
        (M, W),
    ),
    "cov fweights": (lambda x: np.cov(x, fweights=[1, 2, 3, 1]), (M,)),
    "corrcoef~": (
        lambda x: [np.corrcoef(x), np.corrcoef(x[0], x[1]), np.corrcoef(x, rowvar=False)],
        (M,),
    ),
    "convolve~": (
        lambda v, w: [
            np.convolve(v, w[:3]),
            np.convolve(v, w[:4], "same"),
            np.convolve(v, w[:3], mode="valid"),
            np.convolve(v[:3], w),
            np.convolve(v[:2], w, "same"),
        ],
        (V, W),
    ),
    "correlate~": (
        lambda v, w: [
            np.correlate(v, w[:3]),
            np.correlate(v, w[:4], "same"),
            np.correlate(v, w[:3], "full"),
            np.correlate(v[:3], w, "full"),
            np.correlate(v[:4], w, "same"),
        ],
        (V, W),
    ),
}

JOINING: dict[str, Row] = {
    "stacks~": (
        lambda x: [
            np.dstack([x, x * 2]),
            np.dstack([x[0], x[1]]),
            np.block([[x, x], [x * 2, x[:, ::-1]]]),
            np.block([x[0], x[1]]),
            np.concatenate([x, x], axis=None),
            *np.unstack(x),
        ],
        (M,),
    ),
    "splits~": (
        lambda x: [
            *np.hsplit(x, 3),
            *np.vsplit(x[0], [1]),
            *np.dsplit(x, [1, 3]),
            *np.hsplit(x[0, 0], 2),
        ],
        (X,),
    ),
    "atleast_3d~": (lambda x, m, v: [*np.atleast_3d(x, m), np.atleast_3d(v)], (X, M, V)),
    "atleast_2d": (lambda v, m: [*np.atleast_2d(v, m), *np.atleast_1d(v[0], m)], (V, M)),
    "rollaxis~": (lambda x: [np.rollaxis(x, 2), np.rollaxis(x, 0, 3), np.rollaxis(x, 1, 0)], (X,)),
    "order F~": (
        lambda x: [
            x.reshape(4, 6, order="F"),
            np.ravel(x, order="F"),
            x.flatten("F"),
            np.reshape(x, (12, 2), "F"),
        ],
        (X,),
    ),
    "pad~": (
        lambda x: [
            np.pad(x, 1),
            np.pad(x, ((1, 2), (0, 3)), constant_values=2.5),
            np.pad(x, 1, constant_values=((1, 2), (3, 4))),
            np.pad(x, 2, mode="edge"),
            np.pad(x, ((2, 1), (3, 0)), mode="reflect"),
            np.pad(x, 2, "symmetric"),
            np.pad(x, (1, 5), mode="wrap"),
        ],
        (M,),
    ),
    "insert~": (
        lambda x: [
            np.insert(x, 1, 5.0),
            np.insert(x, 1, 5.0, axis=1),
            np.insert(x, 1, x[:, 0] * 2, axis=1),
            np.insert(x, [0, 2], 9.0, axis=0),
            np.insert(x, [1, 3], x[:, :2], axis=1),
            np.insert(x[0], [1, 1, 3], [1.0, 2.0, 3.0]),
        ],
        (M,),
    ),
    "delete~": (
        lambda x: [
            np.delete(x, 1),
            np.delete(x, 1, axis=0),
            np.delete(x, [0, 2], axis=1),
            np.delete(x, slice(1, 3), 1),
            np.delete(x, -1, 1),
        ],
        (M,),
    ),
    "windows~": (
        lambda x, v: [
            np.lib.stride_tricks.sliding_window_view(v, 3),
            np.lib.stride_tricks.sliding_window_view(x, (2, 3)),
            np.lib.stride_tricks.sliding_window_view(x, 2, axis=0),
        ],
        (M, V),
    ),
    "apply_along_axis~": (
        lambda x, m: [
            np.apply_along_axis(lambda row: row.sum() / row.max(), 1, m),
            np.apply_along_axis(lambda row: row[:2] * row[0], 1, x),
            np.apply_along_axis(lambda row: row, 0, x),
        ],
        (X, M),
    ),
    "flat~": (lambda m: [m.flat[2:7], sum(v for v in m.flat), _filled_flat(m)], (M,)),
    "eye~": (lambda s: _lower_and_upper(s), (S,)),
    "resize~": (lambda x: [np.resize(x, (2, 3)), np.resize(x, 17)], (M,)),
    "repeat~": (lambda x: [np.repeat(x, 2), np.repeat(x, [1, 0, 2], axis=0)], (M,)),
}


def _filled_flat(m: Any) -> Any:
    y = m.copy()
    y.flat[::3] = 0.5
    return y


def _lower_and_upper(a: Any) -> Any:
    lower, upper = np.eye(4), a.copy()
    for k in range(4):
        for i in range(k + 1, 4):
            lower[i, k] = upper[i, k] / upper[k, k]
            upper[i] -= lower[i, k] * upper[k]
    return [lower, upper, np.identity(3) * a[0, 0]]


PRODUCTS: dict[str, Row] = {
    "einsum~": (
        lambda x, m, s: [
            np.einsum("ij,jk->ik", m, s),
            np.einsum("ij,jk", m, s),
            np.einsum("bij->bji", x),
            np.einsum("ii", s),
            np.einsum("ii->i", s),
            np.einsum("ij->", m),
            np.einsum("ij->j", m),
            np.einsum("bij,ij->b", x, m),
            np.einsum("bij,jk->bik", x, s),
            np.einsum("...ij,jk->...ik", x, s),
            np.einsum("i,j->ij", m[0], s[0]),
            np.einsum("ij,ij->ij", m, m * 2),
            np.einsum("bij,bkj->bik", x, x),
            np.einsum("ij,jk,kl->il", m, s, s),
            np.einsum("ij,jk,kl->il", m, s, s, optimize=True),
            np.einsum("ij , jk", m, s),
            np.einsum(m, [0, 1], s, [1, 2], [0, 2]),
            np.einsum("ijk,k->ij", x, s[0]),
            np.einsum("i,i", s[0], s[1]),
            np.einsum("iij->j", np.stack([s, s * 2], -1)),
        ],
        (X, M, S),
    ),
    "einsum types": (lambda n, f: [np.einsum("ij,ij->i", n, n), np.einsum("ij->i", f)], (N, F)),
    "kron~": (lambda m, v: [np.kron(m, v[:2]), np.kron(v[:2], v[:3]), np.kron(m, m[:2])], (M, V)),
    "cross~": (
        lambda m, v: [
            np.cross(v[:3], v[2:5]),
            np.cross(m[:, :3], v[:3]),
            np.cross(m.T, m.T[::-1]),
            np.cross(m, m * 2 + 1, axis=0),
        ],
        (M, V),
    ),
    "vecdot~": (lambda m: [np.vecdot(m, m * 2), np.vecdot(m, m[0] + 1)], (M,)),
    "multi_dot~": (
        lambda m, s, v: [
            np.linalg.multi_dot([m, s, s]),
            np.linalg.multi_dot([v[:3], m, s]),
            np.linalg.multi_dot([v[:3], m, s, v[:4]]),
        ],
        (M, S, V),
    ),
    "matrix_power~": (
        lambda s: [
            np.linalg.matrix_power(s, 3),
            np.linalg.matrix_power(s, 0),
            np.linalg.matrix_power(s, 1),
        ],
        (S,),
    ),
    "norm~": (
        lambda m, v, x: [
            np.linalg.norm(v),
            np.linalg.norm(m),
            np.linalg.norm(m, axis=1),
            np.linalg.norm(m, axis=0, keepdims=True),
            np.linalg.norm(v, 1),
            np.linalg.norm(v, np.inf),
            np.linalg.norm(v, -np.inf),
            np.linalg.norm(v, 3),
            np.linalg.norm(m, 1),
            np.linalg.norm(m, np.inf),
            np.linalg.norm(m, -1),
            np.linalg.norm(x, axis=(0, 2)),
            np.linalg.norm(x, 1, axis=(1, 2)),
            np.linalg.vector_norm(x, axis=1, ord=3),
            np.linalg.matrix_norm(x, ord=1),
        ],
        (M, V, X),
    ),
    "norm 0": (lambda n: [np.linalg.norm(n, 0, axis=1), np.linalg.norm(n)], (N,)),
    "linalg names": (
        lambda m, v: [
            np.linalg.outer(v, v[:2]),
            np.linalg.matmul(m, m.T),
            np.linalg.trace(m),
            np.linalg.diagonal(m, offset=1),
            np.linalg.matrix_transpose(m),
            np.linalg.vecdot(m, m),
            np.linalg.tensordot(m, m, axes=2),
            np.linalg.cross(v[:3], v[1:4]),
        ],
        (M, V),
    ),
}

CHOOSING: dict[str, Row] = {
    "diagonal~": (
        lambda x, m: [
            np.diagonal(m),
            np.diagonal(m, 1),
            m.diagonal(-1),
            np.diagonal(x, axis1=1, axis2=2),
            np.diagonal(x, 0, 0, 2),
            np.trace(x),
            np.trace(m, 1),
            np.diag(m, -1),
            np.diagflat(m[:2, :1], 1),
        ],
        (X, M),
    ),
    "choose": (lambda i, m: [np.choose(i, m), np.choose(i, [m[0], m[1], 5.0])], (I2, M)),
    "choose modes": (
        lambda n, m: [np.choose(n, m[:, :1], mode="wrap"), np.choose(n, m, mode="clip")],
        (N, M),
    ),
    "take modes": (
        lambda n, v: [
            np.take(v, n, mode="wrap"),
            np.take(v, n, mode="clip"),
            np.take(v, n[:1] % 7),
        ],
        (N, V),
    ),
    "piecewise~": (
        lambda x: [
            np.piecewise(x, [x < -0.5, x > 0.5], [-1.0, lambda t: t * t, 0.5]),
            np.piecewise(x, [x > 0], [lambda t: np.sqrt(t), lambda t: -t]),
            np.piecewise(
                x, [x > 0.2], [lambda t: t - t.mean(), lambda t: t.max() + np.where(t < 0, t, 0)]
            ),
        ],
        (M,),
    ),
    "compress~": (
        lambda x: [
            np.compress([True, False, True], x, axis=0),
            np.extract(np.arange(12) % 2 == 0, x),
        ],
        (M,),
    ),
    "take_along_axis~": (
        lambda x: [
            np.take_along_axis(x, np.argsort(x, 1), 1),
            np.take_along_axis(x, np.argmax(x, 0)[None], 0),
        ],
        (M,),
    ),
    "put_along_axis": (lambda x: _put_along(x), (M,)),
    "fill_diagonal": (lambda s: _filled_diagonal(s), (S,)),
    "logic": (
        lambda x: [
            np.isposinf(x),
            np.isneginf(x),
            np.fix(x),
            np.signbit(x),
            np.array_equiv(x, x[None]),
            np.isreal(x),
            np.iscomplex(x),
            np.iscomplexobj(x),
            np.isrealobj(x),
            np.imag(x),
            np.real_if_close(x),
            np.angle(x),
            np.angle(x, deg=True),
        ],
        (np.array([1.5, -np.inf, np.inf, -0.0, 0.0, -2.5]),),
    ),
    "i0~": (lambda x: np.i0(x), (V,)),
    "sinc~": (lambda x: [np.sinc(x), np.sinc(x * 0)], (V,)),
}


def _put_along(x: Any) -> Any:
    y = x.copy()
    np.put_along_axis(y, np.argmax(x, 1)[:, None], 99.0, axis=1)
    return y


def _filled_diagonal(s: Any) -> Any:
    y, z = s.copy(), s.copy()
    np.fill_diagonal(y, 7.0)
    np.fill_diagonal(z, s[0])
    return [y, z]


MAKING: dict[str, Row] = {
    "logspace~": (
        lambda w: [
            np.linspace(w[0], w[1], 5),
            np.logspace(w[0], w[1], 4),
            np.logspace(0, w[0], 3, base=2.0),
            np.geomspace(w[0], w[1], 5),
            np.linspace(0, w[0], 4, endpoint=False),
        ],
        (W,),
    ),
    "meshgrid~": (
        lambda v, w: [
            *np.meshgrid(v[:3], w[:4]),
            *np.meshgrid(v[:3], w[:4], indexing="ij"),
            *np.meshgrid(v[:3], w[:4], sparse=True),
        ],
        (V, W),
    ),
    "vander~": (lambda v: [np.vander(v), np.vander(v, 3), np.vander(v, 4, increasing=True)], (V,)),
    "poly~": (
        lambda v, w: [
            np.polyval(v[:3], w),
            np.polyadd(v[:3], w[:2]),
            np.polysub(v[:2], w[:3]),
            np.polymul(v[:3], w[:2]),
            np.polyder(v),
            np.polyder(v, 2),
            np.polyint(v),
            np.polyint(v, 2, k=[1.0, 2.0]),
        ],
        (V, W),
    ),
}

UFUNCS: dict[str, Row] = {
    "bits": (
        lambda x, y: [
            np.copysign(x, y),
            np.signbit(x),
            np.nextafter(x, y),
            np.spacing(x),
            np.ldexp(x, 3),
            np.ldexp(x, -1060),
            *np.frexp(x),
            *np.modf(x),
            np.logaddexp2(x, y),
        ],
        (
            np.array([1.5, -0.0, 0.0, 1e-310, -np.inf, 3.0, 1e300, -7.25, np.inf, 5e-324]),
            np.array([-1.0, 2.0, -0.0, 1.0, 0.0, 3.0, -1e9, 7.25, np.inf, 0.0]),
        ),
    ),
    "bits f32": (
        lambda x: [
            np.nextafter(x, np.float32(0)),
            np.spacing(x),
            np.ldexp(x, -3),
            *np.frexp(x),
            *np.modf(x),
            np.copysign(x, -1),
        ],
        (F,),
    ),
    "bits~": (lambda x, w: [np.copysign(w, -1.0), np.ldexp(x, 2), np.logaddexp2(x, w)], (V, W)),
    "gcd": (
        lambda n, m: [np.gcd(n, m), np.lcm(n, m), np.gcd(n, 0), np.gcd.outer(n[0], m[0])],
        (N, N[::-1] * 3),
    ),
    "divmod": (
        lambda n, x: [*np.divmod(n, 4), *np.divmod(x, 0.7), *divmod(n, -3), np.fmod(n, 4)],
        (N, M),
    ),
    "methods~": (
        lambda x, w: [
            np.add.reduce(x),
            np.add.reduce(x, axis=None),
            np.multiply.reduce(x, 1),
            np.maximum.reduce(x, axis=(0, 1)),
            np.minimum.reduce(x, keepdims=True),
            np.logaddexp.reduce(x, axis=1),
            np.logaddexp.reduce(w),
            np.multiply.outer(w, w[:2]),
            np.subtract.outer(w, x),
            np.add.reduce(x, where=x > 0, axis=1),
        ],
        (M, W),
    ),
    "methods bool": (lambda b: [np.logical_and.reduce(b), np.logical_or.reduce(b, 1)], (B,)),
    "where out": (lambda x: _where_out(x), (M,)),
    "extremum at~": (lambda x, w: _extremum_at(x, w), (M, W)),
    "at~": (lambda x, w: _at(x, w), (M, W)),
}


def _where_out(x: Any) -> Any:
    y = np.zeros_like(x)
    np.sqrt(x, out=y, where=x > 0)
    z = x.copy()
    np.add(x, 1.0, out=z, where=[True, False, True, False])
    w = np.zeros_like(x)
    v = np.zeros_like(x)
    np.modf(x, out=(w, v))
    c = np.zeros_like(x)
    np.cumsum(x, axis=1, out=c)
    return [y, z, w, v, c]


def _extremum_at(x: Any, w: Any) -> Any:
    y, z = x.copy(), np.full(3, -np.inf)
    np.maximum.at(z, np.array([0, 2, 0, 1]), w[:4])
    np.minimum.at(y, [0, 2], w[:4])
    return [y, z]


def _at(x: Any, w: Any) -> Any:
    y, z, u = x.copy(), x.copy(), np.zeros_like(w)
    np.add.at(y, [0, 2, 0], w[0])
    np.add.at(y, (np.array([0, 1, 0]), np.array([1, 1, 1])), w[:3])
    np.subtract.at(z, (slice(None), [1, 1]), w[1])
    np.add.at(u, np.array([3, 3, 1]), w[:3])
    return [y, z, u]


INDEXING: dict[str, Row] = {
    "masked read~": (
        lambda x: [
            x[x > 0].sum(),
            x[x > 0].mean(),
            np.sum(x[x > 0] ** 2),
            np.max(x[x < 0.5]),
            x[x < 0.5].min(),
            np.exp(x[x > 0]).prod(),
            x[x > -0.5].std(),
            np.var(x[x > -0.5]),
            np.linalg.norm(x[x > 0]),
            (x[x > 0] * x[x > 0]).sum(),
            np.median(x[x > -0.5]),
            np.log(x[x > 0]).sum(),
            x[x[:, 0] > -9].sum(axis=0),
        ],
        (M,),
    ),
    "masked count": (
        lambda n: [np.count_nonzero(n[n > 0]), (n[n > 0] > 3).any(), (n[n > 0] > 3).all()],
        (N,),
    ),
    "masked write~": (lambda x: _masked_writes(x), (M,)),
    "masked types": (lambda n, f: _masked_types(n, f), (N, F)),
    "clipped rows": (lambda x: _rows_by_mask(x), (M,)),
    "negative steps~": (lambda x: [x[::-1], x[::-2, ::-1], x[2:0:-1], x[-1:-4:-2, None]], (M,)),
    "mixed~": (
        lambda x, i: [
            x[i],
            x[:, i],
            x[0, i],
            x[i, :, 1],
            x[i[:2], :, i[2:]],
            x[..., i],
            x[None, i, ..., None],
            x[i[0]],
            x[i[0], 1:],
            x[-1, i[1], i[0]],
            x[np.ix_([0, 2], [1, 0])],
        ],
        (X.transpose(1, 0, 2), np.array([1, 0, 1, 0])),
    ),
    "writes~": (lambda x, i: _writes(x, i), (X.transpose(1, 0, 2), np.array([1, 0, 1, 0]))),
    "views of views~": (lambda x: _views(x), (M,)),
    "put~": (lambda x: _put(x), (M,)),
    "many writes": (
        lambda x, i: _many_writes(x, i),
        (rng.standard_normal((50, 2)), rng.integers(0, 30, 50)),
    ),
}


def _masked_writes(x: Any) -> Any:
    a, b, c, d, e, g = (x.copy() for _ in range(6))
    a[a > 0] = 0.0
    b[b > 0] += 1.5
    mask = c < 0
    c[mask] = c[mask] ** 2 - 1
    d[:, d[0] > 0] = -1.0
    e[e[:, 0] > 0] = np.arange(4.0)
    positive = x > 0
    g[positive] = np.sqrt(x[positive])
    return [a, b, c, d, e, g]


def _masked_types(n: Any, f: Any) -> Any:
    n, f = n.copy(), f.copy()
    n[n < 0] *= -1
    n[n > 7] = 7
    f[f < 0] /= 2
    f[np.abs(f) > 1] = np.nan
    return [n, f]


def _rows_by_mask(x: Any) -> Any:
    y = np.zeros_like(x)
    y[x > 0] = np.arange(1.0, 1 + np.count_nonzero(M > 0))
    return y


def _writes(x: Any, i: Any) -> Any:
    a, b, c = x.copy(), x.copy(), x.copy()
    a[i] = 1.0
    a[0, i[:2]] = x[0, 0]
    b[..., i] *= 2.0
    b[:, 1, ::-1] = x[:, 0, :]
    c[i[0], 1:, i[1]] += 10
    c[::-2, :, 1:3] = -x[::2, :, :2]
    z = np.zeros((2, 4))
    z[i[1]] = x[0, 0]
    z[1, :2] = 5.0
    return [a, b, c, z]


def _views(x: Any) -> Any:
    y = x.copy()
    rows = y[1:]
    rows.T[0] = 7.0
    rows[::-1][0, 1:] += 1
    flat = y.reshape(-1)
    flat[::5] = -3.0
    y[0][1:][::-1][:2] = x[2, :2]
    return y


def _put(x: Any) -> Any:
    y = x.copy()
    y.put([1, 5], [10.0, 20.0])
    return y


def _many_writes(x: Any, i: Any) -> Any:
    y, z = np.zeros((30, 2)), np.zeros((30, 2))
    y[i] = x
    z[i, 1] = x[:, 0]
    return [y, z]


def _low_pass(x: Any) -> Any:
    spectrum = np.fft.rfft(x)
    spectrum[3:] = 0
    spectrum *= 2.0
    return np.fft.irfft(spectrum, n=x.size)


SIGNAL = rng.standard_normal((2, 60))
FOURIER: dict[str, Row] = {
    "power~": (
        lambda x: [np.abs(np.fft.fft(x)) ** 2, np.abs(np.fft.rfft(x)), np.fft.rfft(x).real],
        (SIGNAL,),
    ),
    "lengths~": (
        lambda v, x: [
            *(np.fft.fft(v, n).imag for n in (1, 2, 5, 7, 12)),
            *(np.fft.rfft(x, n, axis=0).real for n in (3, 4, 37)),
            np.fft.fft(x, 97).real,
            np.fft.fft(x, 128).imag,
            np.fft.fft(x[0], 521).imag,
            np.fft.ifft(x[:, :3] * 2j, 2 * 1031).real,
        ],
        (V, SIGNAL),
    ),
    "back~": (
        lambda x, v: [
            np.fft.ifft(np.fft.fft(x)).real,
            np.fft.irfft(np.fft.rfft(x)),
            np.fft.irfft(np.fft.rfft(v), 7),
            np.fft.irfft(np.fft.rfft(v), n=9),
            np.fft.ifft(x).imag,
            np.fft.irfft(v),
        ],
        (SIGNAL, V),
    ),
    "norms~": (
        lambda x: [
            np.fft.fft(x, norm="ortho").imag,
            np.fft.ifft(x, norm="forward").real,
            np.fft.rfft(x, norm="forward").real,
            np.fft.irfft(x, norm="ortho"),
        ],
        (SIGNAL,),
    ),
    "several axes~": (
        lambda x: [
            np.fft.fft2(x).imag,
            np.fft.ifft2(np.fft.fft2(x)).real,
            np.abs(np.fft.fftn(x)),
            np.fft.ifftn(x, axes=(0, 2)).real,
            np.fft.fft2(x, s=(4, 5)).real,
            np.fft.fftshift(x, axes=1),
            np.fft.ifftshift(np.fft.fftshift(np.fft.fft(x))).imag,
        ],
        (X,),
    ),
    "arithmetic~": (
        lambda x, w: [
            (np.fft.fft(w) * np.fft.fft(w + 1)).real,
            (np.fft.fft(w) / (np.fft.fft(w) + 9)).imag,
            np.abs(np.fft.fft(w) * 1j + (2 - 1j)),
            (1 - np.fft.fft(w)).imag,
            np.conj(np.fft.fft(w)).imag,
            np.fft.fft(w).conj().imag,
            np.exp(np.fft.fft(w) * 0.01).imag,
            np.fft.fft(x).sum(axis=1).real,
            np.mean(np.fft.fft(x)[:, 3:7], 0).imag,
            np.angle(np.fft.fft(w + 3)[1:3]),
            np.square(np.fft.fft(w)).real,
            (np.fft.fft(w) * np.exp(-2j * np.pi * np.fft.fftfreq(7) * 2)).imag,
            (np.fft.fft(w) - w).real,
            np.real(np.fft.fft(x).reshape(3, 40).T),
        ],
        (SIGNAL, W),
    ),
    "imaginary unit~": (
        lambda x, w: [
            np.abs(np.exp(1j * x) + 0.5),
            (x * 1j).imag,
            (x + 2j).imag,
            (2j - x).real,
            (x - (1 + 2j)).real,
            (x / (1 + 2j)).imag,
            (1j / (x + 2j)).real,
            np.exp(-2j * np.pi * w[:, None] * np.arange(3)).sum(0).real,
            (x[0, :3] * np.array([1j, 2 + 1j, 3.0])).real,
        ],
        (SIGNAL, W),
    ),
    "low pass~": (lambda w: _low_pass(w), (W,)),
    "convolution theorem~": (
        lambda v, w: np.fft.irfft(np.fft.rfft(v, 13) * np.fft.rfft(w, 13), 13),
        (V, W),
    ),
    "several axes of real numbers~": (
        lambda x, m: [
            np.fft.rfft2(x).imag,
            np.fft.irfft2(np.fft.rfft2(x), (3, 4)),
            np.fft.rfftn(x, axes=(0, 2)).real,
            np.fft.irfftn(np.fft.rfftn(m)),
            np.fft.rfft2(m, s=(4, 5), norm="ortho").real,
            np.fft.hfft(m),
            np.fft.hfft(m, 7, axis=0, norm="forward"),
            np.fft.ihfft(m).imag,
            np.fft.ihfft(m, 3, norm="ortho").real,
        ],
        (X, M),
    ),
    "single": (lambda f: [np.abs(np.fft.fft(f)), np.fft.irfft(np.fft.rfft(f))], (F,)),
}

T = rng.standard_normal((5, 3))
BATCH = rng.standard_normal((2, 3, 3)) + 3 * np.eye(3)


def _symmetric(a: Any) -> Any:
    return a + np.swapaxes(a, -1, -2)


LINALG: dict[str, Row] = {
    "solve~": (
        lambda s, v, b: [
            np.linalg.solve(s, v[:4]),
            np.linalg.solve(s, np.eye(4)[:, :2] * v[0]),
            np.linalg.solve(b, b[::-1]),
            np.linalg.solve(b[0], b),
            np.linalg.solve(b, v[:3, None]),
        ],
        (S, V, BATCH),
    ),
    "inv~": (
        lambda s, b: [np.linalg.inv(s), np.linalg.inv(b), np.linalg.matrix_power(s, -2)],
        (S, BATCH),
    ),
    "det~": (
        lambda s, b: [np.linalg.det(s), np.linalg.det(b), *np.linalg.slogdet(s)],
        (S, BATCH),
    ),
    "slogdet~": (lambda b: [np.linalg.slogdet(b).logabsdet, np.linalg.slogdet(-b)[0]], (BATCH,)),
    "cholesky~": (
        lambda s, b: [
            np.linalg.cholesky(s @ s.T),
            np.linalg.cholesky(b @ np.swapaxes(b, 1, 2)),
            np.linalg.cholesky(s @ s.T, upper=True),
        ],
        (S, BATCH),
    ),
    "qr~": (
        lambda s, t, b: [*np.linalg.qr(s), *np.linalg.qr(t), *np.linalg.qr(b, "complete")],
        (S, T, BATCH),
    ),
    "qr modes": (
        lambda t: [*np.linalg.qr(t, "complete"), np.linalg.qr(t, "r"), *np.linalg.qr(t.T)],
        (T,),
    ),
    "eigh~": (
        lambda s, b: [
            np.linalg.eigh(_symmetric(s))[0],
            np.linalg.eigh(_symmetric(s)).eigenvectors ** 2,
            np.linalg.eigvalsh(_symmetric(b)),
            np.linalg.eigvalsh(_symmetric(s), "U"),
            np.abs(np.linalg.eigh(_symmetric(b))[1]),
        ],
        (S, BATCH),
    ),
    "eig~": (
        lambda s: [
            np.abs(np.linalg.eigvals(s)),
            np.linalg.eig(s + 1j)[0].real,
            np.abs(np.linalg.eig(s + 1j)[1]),
            np.abs(np.polyval(s[0], np.roots(s[0] + 1j))) + 1,
        ],
        (S,),
    ),
    "svd~": (
        lambda s, t, b: [
            np.linalg.svd(s, compute_uv=False),
            np.linalg.svd(t)[1],
            np.linalg.svd(t, full_matrices=False).U ** 2,
            np.linalg.svd(t.T, full_matrices=False)[2] ** 2,
            np.linalg.svd(t.T, full_matrices=False)[0] ** 2,
            np.linalg.svd(b)[0] ** 2,
            np.linalg.svdvals(b),
        ],
        (S, T, BATCH),
    ),
    "svd full": (lambda t: [np.abs(part[:3, :3]) for part in np.linalg.svd(t)[::2]], (T,)),
    "pinv~": (
        lambda s, t, b: [np.linalg.pinv(s), np.linalg.pinv(t), np.linalg.pinv(t.T, 1e-3)],
        (S, T, BATCH),
    ),
    "lstsq~": (
        lambda t, v: [
            *np.linalg.lstsq(t, v[:5])[:2],
            *np.linalg.lstsq(t, v[:5, None] * v[:2]),
            np.linalg.lstsq(t.T, v[:3])[0],
        ],
        (T, V),
    ),
    "matrix_rank": (
        lambda s, t: [
            np.linalg.matrix_rank(s),
            np.linalg.matrix_rank(t @ t.T),
            np.linalg.matrix_rank(t, tol=2.0),
            np.linalg.matrix_rank(t[0]),
        ],
        (S, T),
    ),
    "cond~": (
        lambda s, t: [
            np.linalg.cond(s),
            np.linalg.cond(t),
            np.linalg.cond(s, 1),
            np.linalg.cond(s, -2),
        ],
        (S, T),
    ),
    "norms by singular values~": (
        lambda t, b: [
            np.linalg.norm(t, 2),
            np.linalg.norm(t, -2),
            np.linalg.norm(t, "nuc"),
            np.linalg.norm(b, 2, axis=(0, 2), keepdims=True),
        ],
        (T, BATCH),
    ),
    "tensors~": (
        lambda x: [
            np.linalg.tensorsolve(x.reshape(2, 3, 6), x[0].reshape(2, 3)),
            np.linalg.tensorinv(x.reshape(2, 3, 6)),
        ],
        (rng.standard_normal((6, 6)) + 4 * np.eye(6),),
    ),
    "polyfit~": (
        lambda w, v: [
            np.polyfit(w, v, 2),
            np.polyfit(w, v, 1, w=w),
            np.polyfit(w, v[:, None] * w[:2], 1),
        ],
        (W, V),
    ),
    "types": (
        lambda f, n: [
            np.linalg.svd(f, compute_uv=False),
            np.linalg.inv(f[:3, :3]),
            np.linalg.det(n[:3, :3]),
            np.linalg.solve(f[:3, :3], n[:3, 0]),
        ],
        (F, N),
    ),
}


REDUCING: dict[str, Row] = {
    "fmax~": (
        lambda x: [
            np.fmax.reduce(x),
            np.fmin.reduce(x, axis=1, keepdims=True),
            np.fmax.reduce(x, axis=None, initial=0.5),
            np.hypot.reduce(x, axis=(0, 1)),
            np.logaddexp2.reduce(x, 1),
        ],
        (M,),
    ),
    "bits": (
        lambda n, k: [
            np.bitwise_xor.reduce(n),
            np.bitwise_or.reduce(n, axis=1),
            np.bitwise_and.reduce(n, axis=None),
            np.bitwise_and.reduce(n[:0]),
            np.gcd.reduce(k),
            np.lcm.reduce(k + 1),
        ],
        (N, K),
    ),
    "xor": (lambda b, n: [np.logical_xor.reduce(b, 1), np.logical_xor.reduce(n)], (B, N)),
}


def put(x: Any, how: Callable[..., Any], *args: Any) -> Any:
    how(x := np.copy(x), *args)
    return x


PADDING: dict[str, Row] = {
    "ends~": (
        lambda x: [
            np.pad(x, (2, 3), mode)
            for mode in ("edge", "reflect", "symmetric", "wrap", "maximum", "minimum", "mean")
        ],
        (V,),
    ),
    "median~": (lambda x: np.pad(x, ((1, 0), (2, 1)), "median"), (M,)),
    "lengths~": (lambda x: np.pad(x, ((1, 2), (2, 1)), "mean", stat_length=((2, 1), (3, 2))), (M,)),
    "ramp~": (lambda x: np.pad(x, ((1, 3), (0, 2)), "linear_ramp", end_values=(2, -1)), (M,)),
    "odd~": (
        lambda x: [
            np.pad(x, 2, "reflect", reflect_type="odd"),
            np.pad(x, ((3, 1), (0, 2)), "symmetric", reflect_type="odd"),
        ],
        (M,),
    ),
    "int": (
        lambda n: [np.pad(n, 2, mode) for mode in ("linear_ramp", "mean", "median", "maximum")],
        (N,),
    ),
}
POSITIONS: dict[str, Row] = {
    "ravel_multi_index": (
        lambda k, n: [
            np.ravel_multi_index((k, k // 2), (4, 2)),
            np.ravel_multi_index((k, k // 2), (4, 2), order="F"),
            np.ravel_multi_index(n, (4, 5, 6), mode="wrap"),
            np.ravel_multi_index(n, (4, 5, 6), mode=("clip", "wrap", "clip")),
        ],
        (K, N),
    ),
    "unravel_index": (
        lambda k: [*np.unravel_index(5 * k, (4, 2, 3)), *np.unravel_index(k, (2, 3), order="F")],
        (K,),
    ),
    "of diagonals~": (
        lambda x, s: [
            s[np.diag_indices_from(s)],
            x[np.tril_indices_from(x, 1)],
            x[np.triu_indices_from(x, -1)],
        ],
        (M, S),
    ),
    "ix_~": (lambda x, k: [x[np.ix_([0, 2], k)], x[np.ix_([True, False, True], k)]], (M, I2)),
    "put~": (
        lambda x, v: [
            put(x, np.put, [0, 5, 2], v[:2]),
            put(x, np.put, [1, 40], v, "clip"),
            put(x, np.put, [1, 14], v, "wrap"),
        ],
        (M, V),
    ),
    "putmask~": (lambda x, v: [put(x, np.putmask, x > 0, v), put(x, np.putmask, B, 3)], (M, V)),
    "place~": (lambda x, v: [put(x, np.place, x > 0, v[:3]), put(x, np.place, B, [4])], (M, V)),
    "fill_diagonal~": (
        lambda x, v: [
            put(x, np.fill_diagonal, v[:2]),
            put(np.reshape(x, (6, 2)), np.fill_diagonal, v[:3], True),
            put(np.stack([x[:, :3]] * 3), np.fill_diagonal, 5.0),
        ],
        (M, V),
    ),
    "r_~": (
        lambda x, v: [
            np.r_[v, 0, v[::-1]],
            np.r_[0:3, v, 1:2:4j],
            np.r_["0,2", v, v],
            np.r_["-1", x, x],
            np.r_["0,2,0", v, v],
            np.r_["1,3,0", v[:3], x],
        ],
        (M, V),
    ),
    "c_~": (lambda x, v: [np.c_[v, v], np.c_[v[:3], x, x], np.c_[v[:3], x].T @ v[:3]], (M, V)),
    "r_ types": (lambda f, n: [np.r_[f[0], 1, 2.5], np.r_[f[0], n[0]], np.c_[n, n]], (F, N)),
    "einsum_path~": (
        lambda x: np.einsum("ij,kj->ik", x, x, optimize=np.einsum_path("ij,kj", x, x)[0]),
        (M,),
    ),
}
EDGES = np.linspace(-2.0, 2.0, 6)
COUNTING: dict[str, Row] = {
    "histogram2d": (
        lambda v, w: [
            *np.histogram2d(v, w, 4),
            *np.histogram2d(v, w, [3, EDGES], density=True),
            *np.histogram2d(v, w, (EDGES, EDGES), weights=w),
            *np.histogram2d(v, w, EDGES, range=[[-1, 1], [0, 3]]),
        ],
        (V, W),
    ),
    "histogramdd": (
        lambda m: [
            np.histogramdd(m, 3)[0],
            np.histogramdd(m, (2, 3, 1, 2), density=True)[0],
            *np.histogramdd(m[:, :2], 4, range=((-1, 1), None))[1],
        ],
        (M,),
    ),
    "digitize": (
        lambda v, e: [np.digitize(v, e[::-1]), np.digitize(v, e), np.digitize(e, e[::-1], True)],
        (V, EDGES),
    ),
}
ARGUMENTS: dict[str, Row] = {
    "out by position~": (
        lambda x: [
            np.sum(x, 0, None, None, True),
            x.sum(1, None, None, True),
            np.mean(x, 1, None, None, True),
            x.max(1, None, True),
            np.std(x, 1, None, None, 1),
            np.quantile(x, 0.3, 1, None, False, "linear", True),
            np.median(x, 0, None, False, True),
        ],
        (M,),
    ),
    "out by position, given": (lambda x: [x.sum(0, None, o := np.zeros(4)), o], (M,)),
    "axes of numbers~": (
        lambda x: [np.sum(x[0, 0], axis=0), np.max(x[1, 2], axis=-1), x[0, 1].prod(axis=0)],
        (M,),
    ),
    "several axes": (
        lambda x: [np.size(x, (0, 2)), np.size(x, 1), np.apply_over_axes(np.sum, x, [0, 2])],
        (X,),
    ),
    "average~": (
        lambda x: [
            np.average(x, (0, 1), x[:, :, 0]),
            np.average(x, (2, 1), np.transpose(x[0])),
            np.average(x, (0, 2), np.ones((2, 4)), keepdims=True),
        ],
        (X,),
    ),
    "zero copies": (lambda x: [np.tile(x, (2, 0)), np.tile(x, 0), np.repeat(x, 0)], (M,)),
    "diff nothing": (lambda x: [np.diff(x, 0, 0), np.diff(x, 1, 0, np._NoValue, x[:1])], (M,)),
    "linspace~": (
        lambda x: [
            *np.linspace(x[0], x[1], 5, retstep=True),
            np.linspace(x[0], 1.0, 4, axis=1),
            np.logspace(0.0, x[0], 3, base=np.array([2.0, 3.0, 4.0, 5.0]), axis=-1),
        ],
        (M,),
    ),
    "array_equal": (lambda x: [np.array_equal(x, x), np.array_equal(x, x, equal_nan=True)], (NAN,)),
    "unwrap int": (
        lambda k: [np.unwrap(k, period=4), np.unwrap(k, period=5), np.unwrap(k * 1.5, period=4)],
        (K,),
    ),
    "casting": (lambda x: [np.vstack([x, x], dtype=np.float32, casting="unsafe")], (M,)),
    "ndmin": (
        lambda x: [np.array(x, ndmin=3), np.asarray(x, order="F"), np.zeros_like(x, int)],
        (V,),
    ),
    "polyfit~": (lambda x, y: np.polyfit(x, y, 2, None, True)[0], (V, W)),
    "poly~": (lambda v: [np.poly(v), np.poly(v[:1]), np.poly([v[0], 2.0])], (V,)),
    "nan_to_num in place": (lambda x: [put(x, np.nan_to_num, False, 2.0)], (NAN,)),
    "infinite values": (
        lambda x: [
            np.interp(x, [1.0, 2, 3, 4], [1.0, 2, np.inf, 4]),
            np.interp(x, [1.0, 2, 3, 4], [np.inf, np.inf, 0, -np.inf]),
        ],
        (np.array([1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0]),),
    ),
    "large integers": (
        lambda n: [np.isclose(n, n), np.allclose(n, n), np.isclose(n, 1, atol=0.5)],
        (np.array([-(2**63), 3, 0]),),
    ),
    "one condition": (lambda x: np.piecewise(x, [True, False], [2, 3]), (V[:2],)),
    "range types": (
        lambda f: [
            *np.histogram(f, 3, (np.float64(0.1), np.float64(1.0))),
            *np.histogram(f, 3, (0, 1)),
        ],
        (F,),
    ),
    "orders": (
        lambda x: [
            np.zeros((2, 3), float, "F") + x[0],
            x.view(),
            x.view(x.dtype),
            np.asfortranarray(x),
        ],
        (V,),
    ),
    "empty": (
        lambda x: [np.partition(x[:0], 0), np.insert(x, [], []), np.isin(x, x[:2], kind=None)],
        (V,),
    ),
    "moved": (lambda x: np.moveaxis(x, range(3), (2, 0, 1)), (X,)),
    "grids": (lambda x: [np.mgrid[0:2, 0:3] * x[0], np.ogrid[0:3] + x[:3]], (V,)),
    "piecewise of a number": (
        lambda y, c: np.piecewise(y[0], c, [lambda t: -t, lambda t: t]),
        (V, np.array([False, True])),
    ),
}


LEVELS = np.array([0.0, 0.1, 0.25, 1 / 3, 0.5, 0.6, 2 / 3, 0.75, 0.9, 1.0])
WIDE_OUT = np.zeros(3)
PAIRS = rng.standard_normal((4, 2))


def _put_everywhere(x, places):
    x = x * 1.0
    np.put_along_axis(x, places, -9.0, axis=None)
    return x


LIFTED: dict[str, Row] = {
    "quantiles that are elements": (
        lambda x, n, b: [
            np.quantile(v, LEVELS, method=method)
            for v in (x[:2], x[:3], x[:4], x[:5], n[0], b[0])
            for method in ("inverted_cdf", "closest_observation", "lower", "nearest")
        ],
        (V, N, B),
    ),
    "averaged_inverted_cdf~": (
        lambda x: [np.quantile(x[:n], LEVELS, method="averaged_inverted_cdf") for n in (1, 4, 7)],
        (V,),
    ),
    "quantile methods of traced levels": (
        lambda x, q: [
            np.quantile(x, q, method=method)
            for method in ("inverted_cdf", "averaged_inverted_cdf", "closest_observation")
        ],
        (V, LEVELS),
    ),
    "weighted quantiles": (
        lambda x, w, m: [
            np.quantile(x, LEVELS, weights=w, method="inverted_cdf"),
            np.percentile(m, [0, 40], axis=1, weights=w[:4], method="inverted_cdf"),
            np.nanquantile(m, 0.6, axis=(0, 1), weights=np.abs(m), method="inverted_cdf"),
        ],
        (V, W, M),
    ),
    "weighted quantiles of NaN": (
        lambda x, w: [
            np.nanquantile(x, 0.3, axis=1, weights=w, method="inverted_cdf"),
            np.quantile(x, 0.3, axis=1, weights=w, method="inverted_cdf"),
        ],
        (NAN, np.outer(W[:3], W[:6])),
    ),
    "partition at traced places": (
        lambda x, k: [np.partition(x, k)[2], x[np.argpartition(x, k)[-2]]],
        (V, np.array([2, -2])),
    ),
    "bitwise_count": (
        lambda n, b, u: [
            np.bitwise_count(n),
            np.bitwise_count(b),
            np.bitwise_count(u),
        ],
        (N, np.array([-128, 3], np.int8), np.array([2**64 - 1, 5], np.uint64)),
    ),
    "round into a wider array": (
        lambda f, o: [np.round(f, 1, out=o), f.round(-1, o * 1.0)],
        (F[0, :3], WIDE_OUT),
    ),
    "can_cast": (lambda x: [np.can_cast(x, "f4"), np.can_cast(x, "c16")], (V,)),
    "shares_memory": (
        lambda x, y: [
            np.shares_memory(x, y),
            np.may_share_memory(x, x[1:]),
            np.shares_memory(x[1:], x[1:]),
        ],
        (V, W),
    ),
    "require~": (lambda x: np.require(x[0], np.float64, ["C", "W", "O"]), (M,)),
    "asarray_chkfinite~": (lambda x: np.asarray_chkfinite(x) * 2.0, (M,)),
    "cov and corrcoef in a dtype": (
        lambda x: [np.cov(x, dtype=np.float32), np.corrcoef(x, dtype=np.float32)],
        (M,),
    ),
    "nanvar around a mean": (
        lambda x, m: [
            np.nanvar(x, axis=1, keepdims=True, mean=np.nanmean(x, axis=1, keepdims=True)),
            np.nanstd(m, axis=0, mean=np.mean(m, axis=0, keepdims=True)),
        ],
        (NAN, M),
    ),
    "cross of two~": (
        lambda x, y: [np.cross(x, x[::-1]), np.cross(x, y), np.cross(x.T, y.T, 0, 0, 0)],
        (PAIRS, PAIRS[:, [0, 1, 1]]),
    ),
    "tensordot of nothing": (lambda x: np.tensordot(x[:, :0], x[:0], (1, 0)), (M,)),
    "put_along_axis everywhere": (_put_everywhere, (M, np.array([1, 4]))),
    "choose by truth values": (lambda b: np.choose(b, (b, ~b)), (B,)),
    "isclose of Python numbers": (
        lambda x: [
            np.isclose(x, 0.9999999999999998, rtol=0, atol=0),
            np.isclose(x, 2, rtol=0.4999999999999999, atol=0),
        ],
        (np.float32(1.0),),
    ),
    "insert at places": (
        lambda x, k: [
            np.insert(x, [2, 2, -1], 9.0),
            np.insert(x, np.array([True, False, True, False, False, False, False]), 9.0),
            np.insert(x, [3], [7.0, 8.0]),
            np.insert(x, slice(0, 4, 2), x[:2]),
            np.insert(x, k, 9.0),
            np.insert(x, k[0], 9.0),
            np.insert(x, [], []),
        ],
        (V, np.array([4, -7, 4])),
    ),
    "insert columns": (
        lambda x: [
            np.insert(x, [1], [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], axis=1),
            np.insert(x, 1, [1.0, 2.0, 3.0], axis=1),
            np.insert(x, [0, 2], [[1.0], [2.0], [3.0]], axis=1),
        ],
        (M,),
    ),
    "convolve by number": (lambda x: [np.convolve(x, x[:3], mode=k) for k in range(3)], (V,)),
    "reduce from the left": (
        lambda n, x: [
            np.floor_divide.reduce(n),
            np.subtract.reduce(x, axis=1),
            np.true_divide.reduce(x, axis=0, keepdims=True),
        ],
        (np.array([1000, 3, 7], np.int32), M),
    ),
    "cumulative_sum into out": (
        lambda n, o: np.cumulative_sum(n, axis=1, out=o, include_initial=True),
        (N, np.zeros((3, 5))),
    ),
    "multi_dot into out": (lambda x, o: np.linalg.multi_dot([x, x.T, x], out=o), (M, M + 1.0)),
    "linalg of nothing": (
        lambda x: [
            *np.linalg.svd(x[:, :0]),
            *np.linalg.qr(x[:, :0], "complete"),
            np.linalg.pinv(x[:0]),
            np.linalg.matrix_rank(x[:0]),
            np.linalg.norm(x[:0], "nuc"),
            *np.linalg.eigh(x[:0, :0]),
            np.linalg.eigvals(x[:0, :0]),
            np.linalg.lstsq(x[:0], x[:0, 0])[0],
        ],
        (M,),
    ),
}


ALL = {
    "once refused": LIFTED,
    "padding": PADDING,
    "positions": POSITIONS,
    "reducing": REDUCING,
    "counting": COUNTING,
    "arguments": ARGUMENTS,
    "fourier": FOURIER,
    "linalg": LINALG,
    "indexing": INDEXING,
    "running": RUNNING,
    "sorting": SORTING,
    "statistics": STATISTICS,
    "joining": JOINING,
    "products": PRODUCTS,
    "choosing": CHOOSING,
    "making": MAKING,
    "ufuncs": UFUNCS,
}
