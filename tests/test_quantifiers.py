"""`any`, `all`, `min`, `max` and `sorted` of traced numbers, beside Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import errors

CASES = [
    lambda x: (any(v > 2.5 for v in x), all(v > -2.0 for v in x)),
    lambda x: (any([x[0] > 9.0, x[1] > 9.0]), any([]), all(()), any([x[0] > 9.0, True])),
    lambda x: 1.0 if any(v < 0.0 for v in x) and not all(x > 0.0) else 2.0,
    lambda x: (max(v * v for v in x), min(abs(v) for v in x)),
    lambda x: min((abs(v), i) for i, v in enumerate(x)),
    lambda x: max((i % 2, v) for i, v in enumerate(x)),
    lambda x: (max(range(4), key=lambda i: x[i]), min(x, key=lambda v: abs(v - 1.0))),
    lambda x: max([], default=x[0]),
    lambda x: (sorted(v for v in x), sorted(x, reverse=True)),
    lambda x: (x[0] in (1, 2), x[0] in [0.5, x[1]], x[1] not in {1.0, 3.0}, x[0] in {2.0: "a"}),
    lambda x: (2.0 in x, x[3] in x[:2], 0.5 in np.array([1.0, 0.5]), x[0] in np.array([1.0, 2.0])),
    lambda x: 1.0 if x[0] in (2.0, 0.5) and x[1] not in (None, "a", 0.1) else -1.0,
    lambda x: (x[0] in list(x[:0]), x[0] in list(x[:1]), x[0] in (x[1], x[2])),
    lambda x: 0 <= x[0] in (1.0, 2.0),
]


@pytest.mark.parametrize("n", [-7, 0, 1, 4, 6, 9])
def test_in_a_range(n: int) -> None:
    def f(n: Any) -> Any:
        return n in range(8), n in range(1, 9, 3), n in range(6, -3, -2), n in range(0)

    assert gc.compile(f)(n) == f(n)


@pytest.mark.parametrize("function", CASES)
@pytest.mark.parametrize("x", [[0.5, -1.5, 2.0, 3.0], [2.0, 0.1, -0.5, 0.2], [1.0] * 4])
def test_as_in_python(function: Callable[[Any], Any], x: list[float]) -> None:
    wanted, got = function(np.array(x)), gc.compile(function)(np.array(x))
    np.testing.assert_equal(np.asarray(got), np.asarray(wanted))


def test_any_does_not_run_effects_that_python_would_not() -> None:
    def positive(v: Any) -> Any:
        assert v > -5.0
        return v > 0.0

    with pytest.raises(errors.ConcreteValueError, match=r"any\(\) over a generator stops at"):
        gc.compile(lambda x: any(positive(v) for v in x))(np.ones(3))


def test_sorted_takes_no_key() -> None:
    with pytest.raises(errors.UnsupportedFunctionError, match=r"use np\.argsort"):
        gc.compile(lambda x: sorted(x, key=lambda v: -v))(np.ones(3))
