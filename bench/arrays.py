"""Trees (dicts, lists, tuples) of arrays, and how far two lists of arrays are apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def map_tree(function: Callable[[Any], Any], tree: Any) -> Any:
    """The same tree with `function` of every leaf."""
    if isinstance(tree, dict):
        return {key: map_tree(function, value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(map_tree(function, part) for part in tree)
    return function(tree)


def leaves(tree: Any) -> list[Any]:
    """The leaves of a tree, dicts in the order of their keys; None has none."""
    if tree is None:
        return []
    if isinstance(tree, dict):
        return [leaf for key in sorted(tree) for leaf in leaves(tree[key])]
    if isinstance(tree, list | tuple):
        return [leaf for part in tree for leaf in leaves(part)]
    return [tree]


def difference(got: Sequence[np.ndarray], exact: Sequence[np.ndarray]) -> float:
    """The largest difference of two lists of arrays, each against its largest element.

    Infinite where the count, a shape, or what is finite differs.
    """
    if len(got) != len(exact):
        return float("inf")
    return max((_difference(g, e) for g, e in zip(got, exact, strict=True)), default=0.0)


def _difference(got: np.ndarray, exact: np.ndarray) -> float:
    got, exact = np.asarray(got), np.asarray(exact)
    if got.shape != exact.shape or not np.isfinite(got).all():
        return float("inf")
    largest = float(np.max(np.abs(exact), initial=0.0))
    return float(np.max(np.abs(got - exact), initial=0.0)) / (largest or 1.0)
