"""Numbers that arguments fix: where the trace needs one, the graph is made for its value."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc import errors

X = np.arange(12.0)


@pytest.mark.parametrize("n", [4, 6])
def test_sizes_computed_from_arguments(n: int) -> None:
    def f(x, n):
        return x[: n // 2].sum(), np.zeros(n - 1), x.reshape(-n + 2 * n, -1)

    compiled = gc.compile(f)
    for found, wanted in zip(compiled(X, n), f(X, n), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert f"only for n = {n}" in str(compiled.explain(X, n))


def test_what_depends_on_data_is_not_known() -> None:
    with pytest.raises(errors.ConcreteValueError, match="a Python int argument of its own"):
        gc.compile(lambda x, n: np.zeros(n + x.astype(int)[0]))(X, 2)


def test_a_float_does_not_fix_the_graph() -> None:
    with pytest.raises(errors.ConcreteValueError, match="Python int argument"):
        gc.compile(lambda a: np.zeros(a * 2))(2.0)


@pytest.mark.parametrize("divisor", [0, 3])
def test_impossible_arithmetic_is_left_to_the_graph(divisor: int) -> None:
    compiled = gc.compile(lambda x, n, by: (x * (n % by), n + 1))
    with np.errstate(all="ignore"):
        found = compiled(X, 5, divisor)
    assert found[1] == 6
