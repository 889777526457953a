"""How many elements a vector loop takes at once, and that values do not depend on it."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc.runtime.kernel import (
    Access,
    Accumulator,
    Buffer,
    Compute,
    Kernel,
    Load,
    Loop,
    Name,
    Store,
)
from graphc.runtime.llvm.target import host_target
from graphc.runtime.llvm.widths import MANY_ELEMENTS, SIDE_BY_SIDE, lanes_for

REGISTER = host_target().vector_bytes // 4


def kernel(op: str, *domain: int, combine: str = "") -> Kernel:
    """y = op(x), or a reduction of it."""
    x, y = Name(0, "f32"), Name(1, "f32")
    strides = tuple(int(np.prod(domain[i + 1 :])) for i in range(len(domain)))
    work = (Load(x, Access(0, 0, strides)), Compute(y, op, (x,)))
    store = Store(Access(1, 0, strides), y)
    total = (Accumulator(Name(2, "f32"), combine, y),) if combine else ()
    loop = Loop(tuple(range(len(domain))), True, work if combine else (*work, store), total)
    size = int(np.prod(domain))
    buffers = (Buffer("x", "f32", size, "in"), Buffer("y", "f32", size, "out"))
    return Kernel("kernel", domain, buffers, (loop,))


def test_long_chains_stand_side_by_side() -> None:
    assert lanes_for(kernel("exp", MANY_ELEMENTS), host_target()) == SIDE_BY_SIDE * REGISTER
    assert lanes_for(kernel("exp", 2, MANY_ELEMENTS), host_target()) == SIDE_BY_SIDE * REGISTER


def test_others_take_one_register() -> None:
    few_columns = SIDE_BY_SIDE * REGISTER - 1
    for narrow in (
        kernel("exp", MANY_ELEMENTS - 1),
        kernel("negative", MANY_ELEMENTS),
        kernel("exp", MANY_ELEMENTS, few_columns),
        kernel("exp", MANY_ELEMENTS, combine="sum"),  # unrolled, which does as well
    ):
        assert lanes_for(narrow, host_target()) == REGISTER


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("function", [np.exp, np.sin, lambda x: x**1.7 / (x + 2.0)])
def test_values_do_not_depend_on_the_width(function, dtype: str) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    for extra in (0, 1, REGISTER, 3 * REGISTER + 1):
        x = rng.uniform(0, 4, MANY_ELEMENTS + extra).astype(dtype)
        x[::97] = 1e9  # an argument of the sine that takes the long way, in some lanes
        wide, narrow = gc.compile(function), gc.compile(function)
        parts = [narrow(part.copy()) for part in np.array_split(x, 8)]
        np.testing.assert_array_equal(wide(x), np.concatenate(parts))


@pytest.mark.parametrize("columns", [64, 100, 1000])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_rows_with_totals(dtype: str, columns: int) -> None:
    def softmax(x):  # type: ignore[no-untyped-def]
        exps = np.exp(x - np.max(x, axis=1, keepdims=True))
        return exps / np.sum(exps, axis=1, keepdims=True)

    x = np.random.default_rng(2).normal(size=(67, columns)).astype(dtype)
    tolerance = 1e-6 if dtype == "f4" else 1e-14
    np.testing.assert_allclose(gc.compile(softmax)(x), softmax(x), rtol=tolerance)


def test_rows_of_many_columns() -> None:
    x = np.random.default_rng(1).normal(size=(65, 4 * SIDE_BY_SIDE + 200)).astype("f4")
    wide = gc.compile(lambda x: np.tanh(x) * x[:, ::-1])
    np.testing.assert_allclose(wide(x), np.tanh(x) * x[:, ::-1], rtol=1e-6)
