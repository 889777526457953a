"""Accesses to neighbouring elements: which are made at once, and what is read and written."""

from __future__ import annotations

import numpy as np
import pytest
from llvm_functions import call
from running import build, op

import graphc as gc
from graphc.ir import Type
from graphc.runtime.kernel import Access, Buffer, Compute, Kernel, Load, Loop, Name, Store
from graphc.runtime.llvm.interleaved import (
    evens,
    groups,
    put_together,
    taken_apart,
    with_stores_together,
)
from graphc.runtime.llvm.registers import constant
from graphc.runtime.program import Root

A, B = Name(0, "f64"), Name(1, "f64")
EVEN, ODD, FAR = Access(0, 0, (2,)), Access(0, 1, (2,)), Access(0, 2, (2,))


def test_neighbouring_accesses_are_groups() -> None:
    body = (Load(A, EVEN), Load(B, ODD), Store(EVEN, B), Store(ODD, A))
    assert groups(body, Load, 0) == {EVEN: (EVEN, ODD), ODD: (EVEN, ODD)}
    assert groups(body, Store, 0) == {EVEN: (EVEN, ODD), ODD: (EVEN, ODD)}


@pytest.mark.parametrize(
    "body",
    [
        (Load(A, EVEN), Load(B, FAR)),
        (Load(A, EVEN), Load(B, Access(1, 1, (2,)))),
        (Load(A, EVEN), Load(B, EVEN), Load(Name(2, "f64"), ODD)),
        (Load(A, EVEN), Load(B, ODD, guard=Name(3, "bool"))),
        (Load(A, EVEN), Load(B, ODD, Name(3, "i64"), 2)),
        (Load(A, Access(0, 0, (1,))), Load(B, Access(0, 1, (1,)))),
        (Load(A, EVEN), Store(EVEN, A), Load(B, ODD)),
    ],
)
def test_what_is_no_group(body: tuple) -> None:
    assert groups(body, Load, 0) == {}


def test_stores_with_a_loop_between_them_are_no_group() -> None:
    between = Loop((1,), False, (Compute(B, "negative", (A,)),))
    assert groups((Store(EVEN, A), between, Store(ODD, B)), Store, 0) == {}


def test_more_neighbours() -> None:
    for step in (3, 4, 9):
        accesses = tuple(Access(0, 7 + i, (step,)) for i in range(step))
        body = tuple(Load(Name(i, "f64"), own) for i, own in enumerate(accesses))
        assert groups(body, Load, 0) == dict.fromkeys(accesses, accesses)
        assert groups(body[:-1], Load, 0) == {}


@pytest.mark.parametrize("is_same", [False, True])
def test_stores_wait_for_loads_of_other_memory(is_same: bool) -> None:
    target = [Access(1, i, (2,)) for i in range(2)]
    body = (Load(A, EVEN), Store(target[0], A), Load(B, ODD), Store(target[1], B))
    buffers = (Buffer("x", "f64", 20, "in"), Buffer("y", "f64", 20, "out"))
    first, second = (Root("argument", i, "f64", 160) for i in range(2))
    roots = (first, first if is_same else second)
    nest = Kernel("k", (10,), buffers, (Loop((0,), True, body),))
    (loop,) = with_stores_together(nest, roots).body
    assert (loop.body == body) == is_same
    if not is_same:
        assert loop.body == (body[0], body[2], body[1], body[3])


def test_groups_do_not_share_accesses() -> None:
    """Rows that overlap, and strides of two axes: what waits for others is written with them."""
    accesses = [Access(0, i, (3,)) for i in range(6)]
    found = groups([Store(own, A) for own in accesses], Store, 0)
    assert set(found.values()) == {tuple(accesses[:3]), tuple(accesses[3:])}
    accesses = [Access(0, i, (4, 2)) for i in range(4)]
    found = groups([Store(own, A) for own in accesses], Store, 0)
    assert set(found.values()) == {tuple(accesses)}


def test_columns_that_two_loops_share() -> None:
    """One loop reads all four, each of two others only a half of them."""

    def f(x):
        y = x - x.sum(0) * 0.1
        return np.stack([y, y * y, y + x, np.abs(y)]), x.sum(0)

    x = np.random.default_rng(0).normal(size=(33, 4))
    for found, wanted in zip(gc.compile(f)(x), f(x), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("step", [2, 3, 4, 6, 9])
@pytest.mark.parametrize("lanes", [2, 4, 8])
def test_vectors_are_taken_apart_and_put_together(step: int, lanes: int) -> None:
    x = np.arange(step * lanes, dtype=np.float64)
    apart, together = np.zeros((step, lanes)), np.zeros(step * lanes)

    def body(f, p):
        def at(base, i):
            return f.offset(base, "double", constant(i * lanes, "i64"))

        vectors = [f.load(at(p[0], i), "double", lanes) for i in range(step)]
        values = taken_apart(f, vectors)
        for i, value in enumerate(values):
            f.store(value, at(p[1], i))
        for i, vector in enumerate(put_together(f, values)):
            f.store(vector, at(p[2], i))

    call(body, x, apart, together)
    np.testing.assert_array_equal(apart, x.reshape(lanes, step).T)
    np.testing.assert_array_equal(together, x)


@pytest.mark.parametrize("lanes", [2, 4, 8, 16])
def test_every_second_element_lies_inside(lanes: int) -> None:
    memory = np.arange(2 * lanes - 1)
    stretches = np.concatenate([memory[:lanes], memory[lanes - 1 :]])
    assert stretches[evens(lanes)].tolist() == memory[::2].tolist()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 31, 64, 65, 1000])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "i8", "u1", "?"])
def test_every_second_element_of_an_array(size: int, dtype: str) -> None:
    x = (np.arange(2 * size - 1) % 3).astype(dtype)
    f = gc.compile(lambda x: (np.logical_not(x[::2]), np.maximum(x[::2], x[-1])))
    for got, want in zip(f(x), (np.logical_not(x[::2]), np.maximum(x[::2], x[-1])), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 31, 64, 65, 1000])
@pytest.mark.parametrize("dtype", ["c8", "c16"])
def test_complex_arrays_of_any_size(size: int, dtype: str) -> None:
    z = (np.arange(size) + 1j * np.arange(size)[::-1]).astype(dtype)
    f = gc.compile(lambda z, w: (z * w, np.conj(z), z.real + 1, z.imag * 2, 1j * z[::-1]))
    for got, want in zip(
        f(z, z), (z * z, np.conj(z), z.real + 1, z.imag * 2, 1j * z[::-1]), strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=1e-6)


@pytest.mark.parametrize("size", [3, 64, 1001])
def test_parts_are_written_in_place(size: int) -> None:
    def multiply(z, w):
        z *= w

    def exchange(z, w):
        real = z.real * 2
        z.real = z.imag * 3
        z.imag = real + w.real

    for f in (multiply, exchange):
        z = np.arange(size) + 1j * np.arange(size)[::-1]
        w, plain, mine = z[::-1] - 1j, z.copy(), z.copy()
        compiled = gc.compile(f)
        for _ in range(3):
            compiled(mine, w)
            f(plain, w)
            np.testing.assert_allclose(mine, plain)
    report = gc.compile(multiply).explain(z, w)
    assert len(report.kernels) == 1
    assert report.arena_bytes == 0


def test_a_column_of_pairs_is_read_alone() -> None:
    graph = build([Type("f64", (9, 2))], lambda x: op("sum")(x, axes=(0,)))
    assert graph.out_types[0].shape == (2,)
    x = np.arange(18.0).reshape(9, 2)
    np.testing.assert_allclose(
        gc.compile(lambda x: np.exp(x[:, 1] * 0.1))(x), np.exp(x[:, 1] * 0.1)
    )
