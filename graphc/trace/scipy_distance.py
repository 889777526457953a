"""Distances of scipy.spatial.distance on traced arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import errors
from graphc.ir import FLOATS
from graphc.trace.scope import user_loc
from graphc.trace.tracer import lift

Entry = Callable[..., Any]


def _metric(metric: Any, p: Any, rest: dict[str, Any]) -> Entry:
    """A function of the difference and both vectors, along the last axis."""
    if rest:
        raise errors.UnsupportedFunctionError(
            f"distances can be traced without {', '.join(rest)}; write it with NumPy", user_loc()
        )
    if metric == "minkowski" or (metric == "euclidean"):
        order = 2 if metric == "euclidean" or p is None else p
        return lambda u, v: np.linalg.norm(u - v, ord=order, axis=-1)
    if metric in _METRICS:
        return _METRICS[metric]
    listed = ", ".join(("euclidean", "minkowski", *_METRICS))
    raise errors.UnsupportedFunctionError(
        f"distances can be traced for the metrics {listed}, and functions, not {metric!r}",
        user_loc(),
    )


def _cosine(u: Any, v: Any) -> Any:
    scale = np.linalg.norm(u, axis=-1) * np.linalg.norm(v, axis=-1)
    return 1.0 - np.sum(u * v, -1) / scale


def _centred(u: Any) -> Any:
    return u - np.mean(u, -1, keepdims=True)


_METRICS: dict[str, Entry] = {
    "sqeuclidean": lambda u, v: np.sum(np.square(u - v), -1),
    "cityblock": lambda u, v: np.sum(np.absolute(u - v), -1),
    "chebyshev": lambda u, v: np.max(np.absolute(u - v), -1),
    "hamming": lambda u, v: np.mean(u != v, -1),
    "cosine": _cosine,
    "correlation": lambda u, v: _cosine(_centred(u), _centred(v)),
    "braycurtis": lambda u, v: np.sum(np.absolute(u - v), -1) / np.sum(np.absolute(u + v), -1),
}


def _double(a: Any) -> Any:
    return lift(a).astype(np.float64)


def cdist(XA: Any, XB: Any, metric: Any = "euclidean", *, p: Any = None, **rest: Any) -> Any:  # noqa: N803
    a, b = _double(XA), _double(XB)
    if callable(metric):
        rows = [[metric(a[i], b[j]) for j in range(len(b))] for i in range(len(a))]
        return np.stack([np.stack([_double(d) for d in row]) for row in rows])
    return _metric(metric, p, rest)(a[:, None, :], b[None, :, :])


def pdist(X: Any, metric: Any = "euclidean", *, p: Any = None, **rest: Any) -> Any:  # noqa: N803
    x = _double(X)
    first, second = np.triu_indices(x.shape[0], 1)
    if not first.size:
        return lift(np.zeros(0))
    if callable(metric):
        return np.stack([_double(metric(x[i], x[j])) for i, j in zip(first, second, strict=True)])
    return _metric(metric, p, rest)(x[first], x[second])


def squareform(X: Any, force: str = "no", checks: bool = True) -> Any:  # noqa: N803
    """Distances of pairs as a symmetric matrix, and the other way."""
    x = lift(X)
    if x.ndim == 2:
        return x[np.triu_indices(x.shape[0], 1)]
    size = (1 + math.isqrt(1 + 8 * x.shape[0])) // 2
    if size * (size - 1) // 2 != x.shape[0]:
        raise errors.ShapeError(f"squareform: {x.type} holds no set of pairs", user_loc())
    places = np.zeros((size, size), int)
    places[np.triu_indices(size, 1)] = np.arange(1, x.shape[0] + 1)
    return np.concatenate([np.zeros(1, x.dtype), x])[places + places.T]


def _of_vectors(metric: str) -> Entry:
    def apply(u: Any, v: Any, *args: Any, **kwargs: Any) -> Any:
        p = args[0] if metric == "minkowski" and args else kwargs.pop("p", None)
        if kwargs or (args and metric != "minkowski"):
            raise errors.UnsupportedFunctionError(
                f"scipy.spatial.distance.{metric} can be traced without weights", user_loc()
            )
        a, b = lift(u), lift(v)
        return _metric(metric, p, {})(
            *(x if x.dtype_name in FLOATS else _double(x) for x in (a, b))
        )

    return apply


DISTANCES: dict[str, Entry] = {
    "cdist": cdist,
    "pdist": pdist,
    "squareform": squareform,
    **{name: _of_vectors(name) for name in ("euclidean", "minkowski", *_METRICS)},
}
"""Functions of scipy.spatial.distance, by name."""
