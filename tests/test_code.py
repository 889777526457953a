"""One machine code for all sizes: each form of kernel, compared with the interpreter."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import dense, gelu, layer_norm, log_softmax, softmax, spread
from running import build, fused, op
from symbolic import PRIME, SIZES, B, check, compare, named, random_array

from graphc.build import Value
from graphc.ir import Type
from graphc.ops.elementwise import exp, maximum
from graphc.runtime.shares import ALWAYS
from graphc.runtime.step import Steps

F32 = "f32"
X = Type(F32, (B, 10))
LONG = (*SIZES, 40_000)


def transposed(x: Value) -> Value:
    return op("transpose")(x, axes=(1, 0))


def total(x: Value, *axes: int) -> Value:
    return op("sum")(x, axes=axes)


def number(x: Value, name: str, **attrs: object) -> Value:
    """What an op without operands gives, as f32."""
    (value,) = x.builder.emit(op(name), (), attrs)
    return op("cast")(value, dtype=F32)


KERNELS = {
    "chain": ([X], lambda x: exp(x) * 2.0 + 1.0, LONG),
    "vector": ([Type("f64", (B,))], lambda x: exp(x) * x, LONG),
    "row": ([X, Type(F32, (10,))], lambda x, b: exp(x + spread(b, x.shape, 1)), SIZES),
    "several": ([X, Type(F32, (B, 3))], lambda x, y: (exp(x), y * 2.0), SIZES),
    "mean over the batch": ([X], lambda x: total(x, 0), LONG),
    "mean over rows": ([Type(F32, (B, 300))], lambda x: total(exp(x), 1), SIZES),
    "mean over columns": ([Type(F32, (30, B))], lambda x: total(x, 1), LONG),
    "mean of all": ([X], lambda x: total(x, 0, 1), LONG),
    "long sum": ([Type(F32, (B,))], lambda x: total(x, 0), LONG),
    "greatest": ([Type(F32, (B,))], lambda x: op("max")(x, axes=(0,)), LONG),
    "softmax": ([X], softmax, SIZES),
    "softmax over the batch": ([X], lambda x: softmax(x, 0), SIZES),
    "softmax of symbolic rows": ([Type(F32, (7, B))], softmax, LONG),
    "log_softmax": ([Type(F32, (B, 130))], log_softmax, SIZES),
    "layer_norm": ([Type(F32, (B, 24)), *[Type(F32, (24,))] * 2], layer_norm, SIZES),
    "gelu": ([Type(F32, (B, 64))], gelu, SIZES),
    "transposed": ([Type(F32, (B, 40))], lambda x: transposed(x) + 1.0, SIZES),
    "crossing": ([Type(F32, (B, 40)), Type(F32, (40, B))], lambda x, y: transposed(x) * y, SIZES),
    "outer": ([Type(F32, (B,))], lambda x: spread(x, (B, B), 0) * spread(x, (B, B), 1), SIZES[:-1]),
    "scaled by the size": (
        [X],
        lambda x: x * spread(number(x, "dimension", size=B * 3), x.shape),
        SIZES,
    ),
    "concatenated": (
        [X, Type(F32, (3, 10))],
        lambda x, y: exp(op("concatenate")(x, y, axis=0)),
        SIZES,
    ),
    "without its first": (
        [X],
        lambda x: exp(op("slice")(x, starts=(1, 0), sizes=(B - 1, 10), steps=(1, 1))),
        SIZES,
    ),
    "without two": (
        [X],
        lambda x: exp(op("slice")(x, starts=(2, 0), sizes=(B - 2, 10), steps=(1, 1))),
        SIZES,
    ),
    "backwards": (
        [X],
        lambda x: exp(op("slice")(x, starts=(B - 1, 9), sizes=(B, 10), steps=(-1, -1))),
        SIZES,
    ),
    "flat": ([X], lambda x: exp(op("reshape")(x, shape=(10 * B,))), SIZES),
    "split": ([Type(F32, (B * 6,))], lambda x: total(op("reshape")(x, shape=(B, 6)), 0), SIZES),
    "padded": ([X], lambda x: op("pad")(x, low=(1, 2), high=(3, 0), value=7.0) * 2.0, SIZES),
    "counted": (
        [X],
        lambda x: x * spread(number(x, "iota", shape=(B,), axis=0, dtype="i64"), x.shape, 0),
        SIZES,
    ),
    "rows by number": ([X, Type("i64", (5,))], lambda x, i: op("take")(x, i, axis=0), SIZES),
    "symbolic numbers": (
        [Type(F32, (4, 10)), Type("i64", (B,))],
        lambda x, i: op("take")(x, i, axis=0),
        SIZES,
    ),
    "added at": (
        [Type(F32, (4, 10)), Type("i64", (B,)), X],
        lambda x, i, v: op("scatter_add")(x, i, v, axis=0),
        SIZES,
    ),
    "batch of products": (
        [Type(F32, (B, 5, 9)), Type(F32, (B, 9, 7))],
        lambda x, y: op("matmul")(x, y),
        SIZES[:-2],
    ),
    "heads": (
        [Type(F32, (3, B, 8)), Type(F32, (3, 8, 20))],
        lambda x, y: op("matmul")(x, y),
        SIZES[:-1],
    ),
    "rows of rows": (
        [Type(F32, (B, 5, 9)), Type(F32, (9, 7))],
        lambda x, y: op("matmul")(x, spread(y, (B, 9, 7), 1, 2)),
        SIZES[:-1],
    ),
    "running sums down": ([X], lambda x: op("cumsum")(x, axis=0, reverse=False), SIZES),
    "running sums along": (
        [Type(F32, (3, B))],
        lambda x: op("cumsum")(x, axis=1, reverse=True),
        SIZES,
    ),
    "running products across": (
        [Type(F32, (3, B))],
        lambda x: op("cumprod")(x, axis=0, reverse=True),
        SIZES,
    ),
    "sorted": ([Type(F32, (3, B))], op("sort"), LONG),
    "sorted rows": ([X], op("sort"), SIZES),
    "sorted positions": ([Type("i32", (3, B))], op("argsort"), LONG),
    "searched": (
        [Type(F32, (B,)), Type(F32, (5,))],
        lambda x, y: (
            op("searchsorted")(op("sort")(x), y, side="left"),
            op("searchsorted")(op("sort")(x), x * 2.0, side="right"),
        ),
        LONG,
    ),
    "two layers": (
        [Type(F32, (B, 20)), Type(F32, (20, 33)), Type(F32, (33,))],
        lambda x, w, b: total(dense(x, w, b), 1),
        SIZES,
    ),
}


COMPILATIONS = {"transposed": 2, "crossing": 2, "without two": 2}
"""Tiles are for sizes from 16 on; nothing is left of two elements without two."""


@pytest.mark.parametrize("name", KERNELS)
def test_one_code_for_all_sizes(name: str) -> None:
    types, make, sizes = KERNELS[name]
    assert check(types, make, sizes, 1e-4).compilations == COMPILATIONS.get(name, 1)


def test_attention() -> None:
    def attention(q: Value, k: Value, v: Value) -> Value:
        scores = op("matmul")(q, op("transpose")(k, axes=(0, 2, 1)))
        return op("matmul")(softmax(scores), v)

    numbers = build([Type(F32, (2, PRIME, 16))] * 3, attention)
    graph = build([Type(F32, (2, B, 16))] * 3, attention)
    steps = Steps(named(fused(numbers)))
    for size in SIZES[:-2]:
        arrays = [random_array(param.type, size, i) for i, param in enumerate(graph.params)]
        compare(steps, graph, size, arrays, 1e-4)
    assert steps.compilations == 1


# ---- threads -------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("name", KERNELS)
def test_shares_of_all_sizes(name: str, threads: int) -> None:
    types, make, sizes = KERNELS[name]
    steps = check(types, make, sizes[::4], 1e-4, threads=threads, thresholds=ALWAYS)
    assert steps.compilations <= COMPILATIONS.get(name, 1)


def test_small_sizes_wake_no_thread() -> None:
    steps = Steps(fused(build([Type(F32, (B, 1000))], exp)), threads=2)
    saving = steps.at({"B": 64}).program.saving
    assert saving is not None
    assert saving.at({"B": 4}) < saving.least < saving.at({"B": 10**4})


# ---- matrix products -----------------------------------------------------------------------------

PRODUCTS = {
    "rows": lambda k, n: ([(B, k), (k, n)], lambda x, w: op("matmul")(x, w)),
    "rows, transposed weights": lambda k, n: (
        [(B, n), (k, n)],
        lambda g, w: op("matmul")(g, transposed(w)),
    ),
    "inner": lambda k, n: ([(B, k), (B, n)], lambda x, g: op("matmul")(transposed(x), g)),
    "columns": lambda k, n: ([(n, k), (B, k)], lambda w, x: op("matmul")(w, transposed(x))),
    "columns as they lie": lambda k, n: ([(n, k), (k, B)], lambda w, x: op("matmul")(w, x)),
}


@pytest.mark.parametrize("kind", PRODUCTS)
@pytest.mark.parametrize(
    ("inner", "columns"), [(784, 128), (20, 10), (10, 1), (1, 5), (1024, 260), (64, 3), (7, 40)]
)
def test_products(kind: str, inner: int, columns: int) -> None:
    shapes, multiply = PRODUCTS[kind](inner, columns)
    steps = check(
        [Type(F32, shape) for shape in shapes],
        lambda x, y: maximum(multiply(x, y), -0.5),
        SIZES[:-1] if inner < 1000 else SIZES[::4],
        1e-3,
    )
    assert steps.compilations == 1


@pytest.mark.parametrize("dtype", ["f32", "f64", "i32"])
def test_a_product_of_which_all_sizes_are_symbolic(dtype: str) -> None:
    types = [Type(dtype, (B, B)), Type(dtype, (B, B))]
    steps = check(types, lambda x, y: op("matmul")(x, transposed(y)) * 2, SIZES[:-2], 1e-3)
    assert steps.compilations == 1


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 400))
def test_any_size(number: int) -> None:
    arrays = [random_array(type, number, seed) for seed, type in enumerate(ANY_TYPES)]
    compare(ANY_STEPS, ANY_GRAPH, number, arrays, 1e-3)


ANY_TYPES = [Type(F32, (B, 37)), Type(F32, (37, 19)), Type(F32, (19,))]
ANY_GRAPH = build(
    ANY_TYPES,
    lambda x, w, b: (
        softmax(dense(x, w, b)),
        op("matmul")(transposed(x), dense(x, w, b)),
        total(x, 0),
    ),
)
ANY_STEPS = Steps(fused(ANY_GRAPH))


# ---- what the code relies on ---------------------------------------------------------------------


def test_two_hundred_sizes_compile_once() -> None:
    steps = Steps(fused(ANY_GRAPH))
    for number in range(2, 202):
        steps.at({"B": number})
    assert steps.compilations == 1
    assert steps.conditions() == []


def test_a_size_has_one_step() -> None:
    steps = Steps(fused(build([X], exp)))
    assert steps.at({"B": 7}) is steps.at({"B": 7})
    assert steps.at({"B": 7}) is not steps.at({"B": 8})


def test_what_needs_the_number_is_compiled_for_each() -> None:
    """LAPACK is called with numbers: it is never wrong, and it says so."""
    types = [Type("f64", (B, B))]

    def factor(x: Value) -> Value:
        heavy = op("matmul")(x, transposed(x)) + x.literal(1.0)
        return op("cholesky")(heavy * 1.0)

    steps = check(types, factor, (2, 5, 30), 1e-4)
    assert steps.compilations == 4  # for the example, and for each of three sizes
    assert "B == 64" in [str(guard) for guard in steps.conditions()]
