"""Random NumPy programs at sizes that vary from call to call: as NumPy runs them, or its error.

Which trace a call uses depends on the calls before it; so each program is called with sizes in an
order that makes them symbolic, guarded, fixed, and 1.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc

Step = Callable[[Any, Any, Any, int], Any]


def softmax(a: Any, y: Any, w: Any, k: int) -> Any:
    e = np.exp(a - a.max(k % 2, keepdims=True))
    return e / e.sum(k % 2, keepdims=True)


def product(a: Any, y: Any, w: Any, k: int) -> Any:
    return a @ w if a.shape[1] == w.shape[0] else a.T @ a * 0.1


def recurrence(a: Any, y: Any, w: Any, k: int) -> Any:
    total = np.zeros(a.shape[1])
    for row in a:
        total = total * 0.5 + row
    return total


def by_index(a: Any, y: Any, w: Any, k: int) -> Any:
    total = np.zeros(a.shape[1])
    for i in range(0, len(a), k + 1):
        total = total + a[i] * (i + 1)
    return total


def branch(a: Any, y: Any, w: Any, k: int) -> Any:
    if a.max() > 0.3:
        return a * 2
    return a - 1


def branch_on_size(a: Any, y: Any, w: Any, k: int) -> Any:
    return a[:4] if len(a) > 4 + k else a / len(a)


def assigned(a: Any, y: Any, w: Any, k: int) -> Any:
    b = np.zeros_like(a)
    b[1:] = a[:-1]
    b[0] += k
    b[:, -1] *= 2
    return b


STEPS: list[Step] = [
    softmax,
    product,
    recurrence,
    by_index,
    branch,
    branch_on_size,
    assigned,
    lambda a, y, w, k: np.tanh(a),
    lambda a, y, w, k: a + y[:, None] if a.shape[0] == len(y) else a + 1,
    lambda a, y, w, k: a.sum(k % 2),
    lambda a, y, w, k: a.max(k % 2),
    lambda a, y, w, k: a.var(axis=k % 2),
    lambda a, y, w, k: a - a.mean(1, keepdims=True),
    lambda a, y, w, k: np.cumsum(a, k % 2) * 0.1,
    lambda a, y, w, k: (a[1:], a[:, :2], a[:-1], a[::-1])[k],
    lambda a, y, w, k: a[:: k + 1],
    lambda a, y, w, k: a[: len(a) - 1],
    lambda a, y, w, k: a.T,
    lambda a, y, w, k: a.reshape(-1) if k % 2 else a.reshape(a.shape[1], a.shape[0]),
    lambda a, y, w, k: np.concatenate([a, a * 2], k % 2),
    lambda a, y, w, k: np.where(a > 0, a, 0.5 * a),
    lambda a, y, w, k: np.pad(a, ((0, k), (1, 0))),
    lambda a, y, w, k: a / len(a) + a.shape[1],
    lambda a, y, w, k: a * a.size / (1 + a.size),
    lambda a, y, w, k: np.sort(a, axis=k % 2),
    lambda a, y, w, k: np.stack([a, a + 1]).sum(0),
    lambda a, y, w, k: np.roll(a, k, 0),
    lambda a, y, w, k: np.flip(a, k % 2),
    lambda a, y, w, k: np.tile(a, (2, 1)),
    lambda a, y, w, k: np.outer(a[0], a[0]) * 0.1,
    lambda a, y, w, k: a[np.array([0, 1, 1, 0])],
    lambda a, y, w, k: a[np.arange(len(a)), np.arange(len(a)) % a.shape[1]],
    lambda a, y, w, k: np.einsum("ij,kj->ik", a, a) * 0.1,
    lambda a, y, w, k: np.split(a, [1], axis=0)[1],
    lambda a, y, w, k: np.diff(a, axis=k % 2),
    lambda a, y, w, k: a + np.arange(a.shape[1]) * np.eye(len(a))[0][:, None],
]

SIZES = ((5, 4), (6, 4), (9, 4), (3, 4), (7, 6), (4, 5), (2, 2), (1, 4), (6, 6), (5, 4), (13, 3))


def program(seed: int) -> Callable[..., Any]:
    chance = random.Random(seed)
    chosen = [(chance.choice(STEPS), chance.randrange(4)) for _ in range(chance.randint(2, 6))]

    def run(x: Any, y: Any, w: Any) -> Any:
        a = x
        for step, k in chosen:
            if a.ndim == 1:
                a = a[:, None] * np.ones(3) if k % 2 else a[None, :] + np.zeros((2, 1))
            a = step(a, y, w, k)
        return a

    return run


def outcome(function: Callable[..., Any], arrays: list[np.ndarray]) -> Any:
    try:
        with np.errstate(all="ignore"):
            return function(*arrays)
    except (ValueError, IndexError) as error:
        return type(error).__mro__[-4:]  # ValueError or IndexError, whatever its class


@pytest.mark.parametrize(
    "seed", [pytest.param(s, marks=[] if s < 16 else [pytest.mark.slow]) for s in range(200)]
)
def test_program(seed: int) -> None:
    function = program(seed)
    compiled = gc.compile(lambda x, y, w: function(x, y, w))
    rng = np.random.default_rng(seed)
    for rows, columns in SIZES:
        arrays = [rng.standard_normal(s) for s in ((rows, columns), (rows,), (columns, 4))]
        wanted, got = outcome(function, arrays), outcome(compiled, arrays)
        if isinstance(wanted, tuple):
            assert isinstance(got, tuple), (rows, columns)
            continue
        assert np.shape(got) == np.shape(wanted), (rows, columns)
        np.testing.assert_allclose(got, wanted, rtol=1e-7, atol=1e-9, err_msg=f"{rows, columns}")
