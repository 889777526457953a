"""Compiled functions of scipy against scipy, and their gradients against differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import graphc as gc


def leaves(x: Any) -> list[Any]:
    return [part for each in x for part in leaves(each)] if isinstance(x, tuple | list) else [x]


def check_values(f: Callable[..., Any], *args: Any, tolerance: float = 1e-10) -> None:
    """The same values, shapes and dtypes."""
    with np.errstate(all="ignore"):
        wanted = leaves(f(*args))
    for place, (mine, right) in enumerate(zip(leaves(gc.compile(f)(*args)), wanted, strict=True)):
        mine, right = np.asarray(mine), np.asarray(right)
        assert (mine.dtype, mine.shape) == (right.dtype, right.shape), place
        np.testing.assert_allclose(mine, right, tolerance, tolerance, err_msg=str(place))


def check_gradients(f: Callable[..., Any], *args: Any, tolerance: float = 1e-6) -> None:
    """Of a weighted sum of all results, in one direction for each argument."""
    rng = np.random.default_rng(3)
    weights = [rng.normal(size=np.shape(x)) for x in leaves(f(*args))]

    def loss(*xs: Any) -> Any:
        total = 0.0
        for weight, x in zip(weights, leaves(f(*xs)), strict=True):
            total = total + np.sum(weight * x)
        return total

    grads = gc.compile(gc.grad(loss, argnums=tuple(range(len(args)))))(*args)
    for i, (x, slope) in enumerate(zip(args, grads, strict=True)):
        direction, h = rng.normal(size=np.shape(x)), 1e-5
        up, down = (
            loss(*(y + t * direction if j == i else y for j, y in enumerate(args))) for t in (h, -h)
        )
        wanted = (up - down) / (2 * h)
        got = np.sum(slope * direction)
        assert abs(got - wanted) <= tolerance * max(abs(wanted), 1.0), f"argument {i}"
