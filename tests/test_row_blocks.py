"""Row blocks: which kernels run together on blocks of rows, and that the values stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models import softmax, spread
from running import all_results, assert_within, build, fused, interpret, kernels, make_step, op
from test_scaling import calls

import graphc as gc
from graphc.build import Value
from graphc.ir import OPS, Graph, Type
from graphc.ops.elementwise import exp, greater_equal, maximum, rsqrt, square, where
from graphc.passes.autodiff import gradient
from graphc.passes.cse import eliminate_common
from graphc.passes.dce import eliminate_dead
from graphc.passes.fuse import fuse
from graphc.passes.reasons import why_apart
from graphc.passes.row_blocks import PARTS, RIGHT_BYTES, ROW_BYTES, fuse_rows, parts_of
from graphc.runtime import schedule_rows
from graphc.runtime.kernel import Blocks, Kernel, Loop
from graphc.runtime.planner import make_program


def matmul(a: Value, b: Value) -> Value:
    return OPS["matmul"](a, b)


def swapped(x: Value) -> Value:
    rank = len(x.shape)
    return op("transpose")(x, axes=(*range(rank - 2), rank - 1, rank - 2))


def attention(q: Value, k: Value, v: Value) -> Value:
    return matmul(softmax(matmul(q, swapped(k)) * 0.125), v)


def causal_attention(q: Value, k: Value, v: Value) -> Value:
    scores = matmul(q, swapped(k))
    attrs = {"shape": scores.shape, "dtype": "i64"}
    row, column = (
        scores.builder.emit(OPS["iota"], (), {**attrs, "axis": axis})[0] for axis in (-2 % 4, 3)
    )
    return matmul(softmax(where(greater_equal(row, column), scores, -1e9)), v)


def normalised_late(q: Value, k: Value, v: Value) -> Value:
    """Divided by the sums after the second product: they are read through a broadcast."""
    e = exp(matmul(q, swapped(k)))
    total = op("sum")(e, axes=(len(e.shape) - 1,))
    mixed = matmul(e, v)
    return mixed / spread(total, mixed.shape, *range(len(e.shape) - 1))


def types(batch: tuple[int, ...], rows: int, columns: int, width: int) -> list[Type]:
    return [Type("f64", (*batch, n, width)) for n in (rows, columns, columns)]


def normal(types: Sequence[Type], seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=t.shape).astype(t.numpy_dtype) for t in types]


def check(graph: Graph, seed: int = 0) -> None:
    arrays = normal(graph.in_types, seed)
    expected = interpret(graph, arrays)
    for got, out in zip(all_results(make_step(fused(graph)), graph, arrays), expected, strict=True):
        assert_within(got, out, 1e-10 * (1 + np.abs(out)))


# ---- what is joined ------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [attention, causal_attention, normalised_late])
@pytest.mark.parametrize("block_bytes", [1, 1000, 1 << 20])
def test_attention_is_one_kernel(
    model: Callable[..., Value], block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule_rows, "BLOCK_BYTES", block_bytes)
    graph = build(types((2, 3), 21, 18, 8), model)
    assert [eqn.attrs["kind"] for eqn in kernels(fused(graph))] == ["rows"]
    check(graph)


def test_attention_without_a_batch() -> None:
    graph = build(types((), 40, 30, 8), attention)
    assert len(kernels(fused(graph))) == 1
    check(graph)


def test_gradient_of_attention() -> None:
    """All that works on rows of the scores in one; the products for keys and values; the loss."""

    def loss(q: Value, k: Value, v: Value, g: Value) -> Value:
        return op("sum")(attention(q, k, v) * g, axes=(0, 1, 2))

    graph = build([*types((2,), 21, 18, 8), Type("f64", (2, 21, 8))], loss)
    graph = eliminate_dead(eliminate_common(gradient(graph, [0, 1, 2])))
    kinds = [eqn.attrs["kind"] for eqn in kernels(fused(graph))]
    assert sorted(kinds) == ["loop", "loop", "matmul", "matmul", "rows"]
    check(graph)


def test_a_value_that_others_read_is_written_too() -> None:
    def make(q: Value, k: Value, v: Value) -> tuple[Value, ...]:
        weights = softmax(matmul(q, swapped(k)))
        return matmul(weights, v), weights, op("sum")(weights, axes=(0,))

    graph = build(types((), 33, 18, 8), make)
    (eqn, *_) = kernels(fused(graph))
    assert eqn.attrs["kind"] == "rows" and len(eqn.outs) == 2
    check(graph)


# ---- what stays apart ----------------------------------------------------------------------------


def transposed_between(q: Value, k: Value, v: Value) -> Value:
    return matmul(swapped(softmax(matmul(q, swapped(k)))), v)


def read_as_right_too(q: Value, k: Value, v: Value) -> Value:
    weights = softmax(matmul(q, swapped(k)))
    return matmul(weights, weights)


def summed_over_rows(q: Value, k: Value, v: Value) -> Value:
    return op("sum")(matmul(q, swapped(k)), axes=(0, 1))


def around(q: Value, k: Value, v: Value) -> Value:
    """The second product needs the weights by way of a kernel that needs all of their rows."""
    weights = softmax(matmul(q, swapped(k)))
    total = op("sum")(op("sum")(weights, axes=(1,)), axes=(0,))
    return matmul(weights, v * spread(total, v.shape))


APART: list[tuple[Callable[..., Value], int]] = [
    (transposed_between, 2),
    (read_as_right_too, 2),
    (summed_over_rows, 2),
    (around, 4),
]


@pytest.mark.parametrize(("model", "count"), APART, ids=[m.__name__ for m, _ in APART])
def test_what_stays_apart(model: Callable[..., Value], count: int) -> None:
    graph = build(types((), 18, 18, 18), model)
    assert len(kernels(fused(graph))) == count
    check(graph)


def test_two_products_alone_stay_apart() -> None:
    """Nothing is reduced along the rows: joined, the second product is no faster."""
    graph = build(
        [Type("f32", (64, 64))] * 3, lambda x, a, b: matmul(maximum(matmul(x, a), 0.0), b)
    )
    assert [eqn.attrs["kind"] for eqn in kernels(fused(graph))] == ["matmul", "matmul"]


def reasons(*types: Type) -> list[str]:
    graph = fused(build(types, lambda x, w: softmax(matmul(x, w))))
    first, second = kernels(graph)
    return [why_apart(graph, first, second, first.out)]


def test_an_operand_with_a_unit_axis_is_read_along_the_sum() -> None:
    """The gradient of quadratic forms of many vectors, whose products read reshaped values."""

    def loss(x, a):
        return (np.einsum("ni,ij,nj->n", x, a, x) ** 2).sum()

    rng = np.random.default_rng(0)
    x, a = rng.normal(size=(10, 4)), rng.normal(size=(4, 4))
    of_x, of_a = gc.compile(gc.grad(loss, (0, 1)))(x, a)
    forms = np.einsum("ni,ij,nj->n", x, a, x)
    np.testing.assert_allclose(of_x, 2 * forms[:, None] * (x @ (a + a.T)), rtol=1e-11)
    np.testing.assert_allclose(of_a, np.einsum("n,ni,nj->ij", 2 * forms, x, x), rtol=1e-11)


def test_reasons() -> None:
    wide = RIGHT_BYTES // 4 // 100 + 1
    assert "right operand of" in reasons(Type("f32", (64, 100)), Type("f32", (100, wide)))[0]
    long = ROW_BYTES // 4 + 1
    assert "a row has" in reasons(Type("f32", (64, 8)), Type("f32", (8, long)))[0]


# ---- the kernel ----------------------------------------------------------------------------------


def rows_kernel(graph: Graph) -> Kernel:
    (call,) = make_program(fused(graph)).items
    return call.kernel


def test_only_a_block_of_the_scores_lies_in_memory() -> None:
    kernel = rows_kernel(build(types((4,), 1000, 600, 8), attention))
    scratch = [b for b in kernel.buffers if b.role == "scratch"]
    assert sum(b.size * 8 for b in scratch) < 2 * schedule_rows.BLOCK_BYTES
    (loop,) = kernel.body
    assert isinstance(loop, Loop)
    (blocks,) = loop.body
    assert isinstance(blocks, Blocks)
    assert 1000 // blocks.size > 10


def test_blocks_as_text() -> None:
    given = [Type("f32", shape) for shape in ((10, 4), (6, 4), (6, 3))]
    text = str(rows_kernel(build(given, attention)))
    assert "for blocks of 10 of i0 < 10 {" in text
    assert text.index("tiles of x0") < text.index("max over") < text.index("tiles of block")


# ---- random sequences ----------------------------------------------------------------------------


def _product(x: Value, n: int) -> Value:
    shape = (*x.shape[:-2], x.shape[-1], n % 19 + 1)
    return matmul(x, x.builder.param(x.type.with_shape(shape)))


def _bias(x: Value, n: int) -> Value:
    axis = len(x.shape) - 1 - n % 2
    row = x.builder.param(x.type.with_shape((x.shape[axis],)))
    return x + spread(row, x.shape, axis)


def _normalised(x: Value, n: int) -> Value:
    last = len(x.shape) - 1
    scale = rsqrt(op("sum")(square(x), axes=(last,)) + 1.0)
    return x * spread(scale, x.shape, *range(last))


def _over_rows(x: Value, n: int) -> Value:
    top = op("sum")(x, axes=(len(x.shape) - 2,))
    return x - spread(
        top * 0.1, x.shape, *(i for i in range(len(x.shape)) if i != len(x.shape) - 2)
    )


def _gram(x: Value, n: int) -> Value:
    return matmul(x, swapped(x))


SHAPES = [(7, 5), (1, 6), (33, 4), (2, 17, 3), (2, 1, 3), (3, 2, 5, 1), (0, 3), (2, 0, 3)]
STEPS = [
    _product,
    _product,
    _bias,
    lambda x, n: softmax(x) if x.shape[-1] else x,
    _normalised,
    _over_rows,
    _gram,
]


def random_model(shape: tuple[int, ...], recipe: Sequence[tuple[int, int]], kept: int) -> Graph:
    def make(x: Value) -> tuple[Value, ...]:
        made = [x]
        for which, n in recipe:
            made.append(STEPS[which % len(STEPS)](made[-1], n))
            if n % 3 == 0 and made[-1].type == made[n % len(made)].type:
                made.append(made[-1] + made[n % len(made)])
        return tuple(v for i, v in enumerate(made) if i + 1 == len(made) or kept >> i & 1)

    return build([Type("f64", shape)], make)


@settings(
    max_examples=60,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(
    st.sampled_from(SHAPES),
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 60)), min_size=2, max_size=8),
    st.integers(0, 255),
    st.sampled_from([1, 500, 1 << 18]),
)
def test_random_sequences(
    shape: tuple[int, ...], recipe: Sequence[tuple[int, int]], kept: int, block_bytes: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedule_rows, "BLOCK_BYTES", block_bytes)
        check(random_model(shape, recipe, kept))


# ---- many kernels --------------------------------------------------------------------------------


def ladder(count: int) -> Graph:
    """Products and softmax in turn: any number of kernels works on the same rows."""

    def make(x: Value, w: Value) -> Value:
        for _ in range(count):
            x = softmax(matmul(x, w))
        return x

    return build([Type("f64", (24, 8)), Type("f64", (8, 8))], make)


def test_a_bounded_number_of_kernels_is_joined() -> None:
    after = kernels(fused(ladder(PARTS)))
    assert [len(parts_of(eqn)) for eqn in after] == [PARTS, PARTS]
    check(ladder(PARTS))


def test_ten_times_the_kernels_take_about_ten_times_as_many_calls() -> None:
    few, many = (calls(partial(fuse_rows, fuse(ladder(n))))[1] for n in (30, 300))
    assert many < 15 * few
