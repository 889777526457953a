"""Kernels whose last axes are short: the values, and that vectors run along the one before them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc as gc
from graphc.ir import Lit, Type
from graphc.runtime.kernel import Access, Buffer, Compute, Index, Kernel, Load, Loop, Name, Store
from graphc.runtime.short_axes import write_out_short_axes

RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(40, 3))


def kernel(*body, domain=(20, 3), inputs=1) -> Kernel:
    size = int(np.prod(domain))
    buffers = [Buffer(f"x{i}", "f64", size, "in") for i in range(inputs)]
    return Kernel("k", domain, (*buffers, Buffer("y", "f64", size, "out")), body)


def test_each_index_is_a_statement_of_its_own() -> None:
    t = Name(1, "f64")
    inner = Loop((1,), True, (Load(t, Access(0, 0, (3, 1))), Store(Access(1, 0, (3, 1)), t)))
    written = write_out_short_axes(kernel(Loop((0,), False, (inner,))))
    assert str(written).splitlines()[1:] == [
        "  vector for i0 < 20 {",
        "    t1 = load x0[i0*3]",
        "    t2 = load x0[i0*3 + 1]",
        "    t3 = load x0[i0*3 + 2]",
        "    store y[i0*3] = t1",
        "    store y[i0*3 + 1] = t2",
        "    store y[i0*3 + 2] = t3",
        "  }",
        "}",
    ]


def test_what_is_not_chosen_is_not_read() -> None:
    i, first, t, chosen = Name(1, "i64"), Name(2, "bool"), Name(3, "f64"), Name(4, "f64")
    zero = Lit(0.0, Type("f64"))
    body = (
        Index(i, 1),
        Compute(first, "less", (i, Lit(1, Type("i64")))),
        Load(t, Access(0, 0, (1, 0)), guard=first),
        Compute(chosen, "where", (first, t, zero)),
        Store(Access(1, 0, (3, 1)), chosen),
    )
    written = write_out_short_axes(kernel(Loop((0, 1), True, body)))
    (loop,) = written.body
    assert [type(s) for s in loop.body] == [Load, Store, Store, Store]
    assert loop.body[0].guard is None


def test_rows_that_share_an_element_stay() -> None:
    """A total over the rows is written once for each: vectors must not run along them."""
    t = Name(1, "f64")
    body = (Load(t, Access(0, 0, (3, 1))), Store(Access(1, 0, (0, 1)), t))
    nest = kernel(Loop((0, 1), True, body))
    assert write_out_short_axes(nest) is nest


def test_several_short_axes() -> None:
    t = Name(1, "f64")
    strides = (6, 2, 1)
    body = (Load(t, Access(0, 0, strides)), Store(Access(1, 0, strides), t))
    (loop,) = write_out_short_axes(kernel(Loop((0, 1, 2), True, body), domain=(20, 3, 2))).body
    assert loop.axes == (0,) and loop.vector
    assert {s.access.offset for s in loop.body if isinstance(s, Store)} == set(range(6))


@pytest.mark.parametrize("domain", [(20, 5), (8, 3), (20, 1), (3,)])
def test_axes_that_stay(domain: tuple[int, ...]) -> None:
    strides = (domain[-1], 1) if len(domain) == 2 else (1,)
    t = Name(1, "f64")
    body = (Load(t, Access(0, 0, strides)), Store(Access(1, 0, strides), t))
    nest = kernel(Loop(tuple(range(len(domain))), True, body), domain=domain)
    assert write_out_short_axes(nest) is nest


def normalised(x):
    return x / np.sqrt((x * x).sum(-1, keepdims=True))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def rotated(x):
    return np.stack([x[:, 1], -x[:, 0], x[:, 2] * x[:, 0]], 1)


def kinds_of_totals(x):
    return x.sum(1), x.prod(1), x.max(1), x.min(1), (x > 0).any(1), (x > 0).all(1), x.argmax(1)


def column_totals(x):
    return x.sum(0), x.max(0), x.mean(), (x * x).sum(1)


def windows(x):
    return x[:, :2].reshape(20, 2, 2).max((1, 2)), x.reshape(20, 2, 3).mean(1)


def matrices(x):
    a = x.reshape(30, 2, 2)
    return a @ a, np.linalg.det(a), a.sum((1, 2)), a.transpose(0, 2, 1) * a, a.max(1), a + np.eye(2)


def positions(x):
    return x * np.arange(3) + np.arange(40)[:, None]


def pairs(x):
    return np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1) + 1e-3)


def running(x):
    return np.cumsum(x, 1), np.flip(x, 1), np.roll(x, 1, 1), x[:, [2, 0, 1]]


def padded(x):
    return np.pad(x, ((0, 0), (1, 0))), np.concatenate([x[:, 1:], x[:, :1]], 1)


FUNCTIONS = [
    normalised, softmax, rotated, kinds_of_totals, column_totals, windows, matrices, positions,
    pairs, running, padded,
]  # fmt: skip


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int32])
@pytest.mark.parametrize("order", ["C", "F"])
def test_values(function: Callable, dtype: type, order: str) -> None:
    x = np.asarray(10 * POINTS, dtype, order)
    for found, wanted in zip(each(gc.compile(function)(x)), each(function(x)), strict=True):
        assert found.dtype == wanted.dtype
        rtol = 1e-5 if found.dtype == np.float32 else 1e-12
        np.testing.assert_allclose(found, wanted, rtol=rtol)


def each(results):
    return results if isinstance(results, tuple) else (results,)


@pytest.mark.parametrize("function", [normalised, softmax, rotated, pairs])
def test_gradients(function: Callable) -> None:
    weights = RNG.normal(size=function(POINTS).shape)
    loss = lambda x: (function(x) * weights).sum()
    slopes = gc.compile(gc.grad(loss))(POINTS)
    for place in [(0, 0), (17, 1), (39, 2)]:
        moved = np.zeros_like(POINTS)
        moved[place] = 1e-6
        slope = (loss(POINTS + moved) - loss(POINTS - moved)) / 2e-6
        assert abs(slopes[place] - slope) < 1e-6 * (1 + abs(slope))


def test_in_place() -> None:
    def turn(x):
        x[:, 0], x[:, 1] = x[:, 1] - x[:, 0], x[:, 0] + x[:, 1] * x[:, 2]
        x *= x.sum(1, keepdims=True)

    found, wanted = POINTS.copy(), POINTS.copy()
    gc.compile(turn)(found)
    a, b = wanted[:, 1] - wanted[:, 0], wanted[:, 0] + wanted[:, 1] * wanted[:, 2]
    wanted[:, 0], wanted[:, 1] = a, b
    wanted *= wanted.sum(1, keepdims=True)
    np.testing.assert_allclose(found, wanted, rtol=1e-13)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([2, 3, 4]),
    st.integers(16, 70),
    st.lists(st.sampled_from(["pad", "flip", "norm", "stack", "mean", "shift"]), max_size=4),
    st.sampled_from([np.float32, np.float64]),
)
def test_random_chains(width: int, length: int, steps: list[str], dtype: type) -> None:
    def f(x):
        for step in steps:
            if step == "pad":
                x = x + np.pad(x, ((0, 0), (1, 0)))[:, :-1]
            elif step == "flip":
                x = x * 0.5 - x[:, ::-1]
            elif step == "norm":
                x = x / (1 + np.abs(x).max(1, keepdims=True))
            elif step == "stack":
                x = np.stack([x[:, i] * (i + 1) for i in range(width)], 1)
            elif step == "mean":
                x = x - x.mean(0)
            else:
                x = np.concatenate([x[1:], x[:1]]) + x
        return x, x.sum(1), x.sum(0)

    x = np.random.default_rng(length).normal(size=(length, width)).astype(dtype)
    tolerance = 1e-4 if dtype is np.float32 else 1e-11
    for found, wanted in zip(gc.compile(f)(x), f(x.astype(np.float64)), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=10 * tolerance)
