"""What the code generator writes, and the corners of its loops."""

from __future__ import annotations

import re

import numpy as np
import pytest
from models import softmax
from running import assert_same, assert_within, build, compiled, fused, interpret, op
from specs import subsets

import graphc as gc
from graphc.build import Builder, Value
from graphc.ir import Type
from graphc.ops.elementwise import cast, exp, sin
from graphc.runtime.llvm.emit_step import emit_step, work_bytes
from graphc.runtime.llvm.target import host_target
from graphc.runtime.plan import plan_arena
from graphc.runtime.planner import make_program
from graphc.runtime.reductions import identity
from graphc.runtime.step import Step


def functions(text: str) -> list[str]:
    """The names of the kernels in LLVM IR text."""
    return re.findall(r"^define .*@((?:kernel|copy|move)\w*)\(", text, re.MULTILINE)


def apart(make, count: int, *types: Type) -> Builder:  # type: ignore[no-untyped-def]
    """`count` copies on parameters of their own: kernels that nothing can join."""
    builder = Builder("main")
    outs = [make(*(builder.param(type) for type in types)) for _ in range(count)]
    return builder.finish([out.atom for out in outs])


def test_equal_kernels_are_one_function() -> None:
    step = Step(fused(apart(lambda x: exp(x) * 2.0, 5, Type("f64", (40,)))))
    assert len(step.kernel_names()) == 5
    assert len(functions(step.text)) == 1
    arrays = [np.full(40, float(i)) for i in range(5)]
    for i, out in enumerate(step(arrays)):
        np.testing.assert_allclose(out, np.full(40, 2 * np.exp(i)), rtol=1e-15)


@pytest.mark.parametrize(
    "make",
    [
        lambda b: [op("sum")(b.param(Type("f64", s)), axes=(0,)) for s in ((8,), (9,))],
        lambda b: [exp(b.param(Type(d, (8,)))) for d in ("f32", "f64")],
        lambda b: [b.param(Type("f64", (8,))) * x for x in (0.0, -0.0)],
        lambda b: [b.param(Type("f64", (8,))) + x for x in (1.0, 1.0 + 2**-52)],
        lambda b: [b.param(Type("f32", (8,))) * 1.0, b.param(Type("i32", (8,))) * 1],
    ],
    ids=["size", "dtype", "sign of zero", "last bit", "number"],
)
def test_kernels_that_differ_in_anything_are_two(make) -> None:  # type: ignore[no-untyped-def]
    builder = Builder("main")
    outs = make(builder)
    assert len(functions(Step(fused(builder.finish([out.atom for out in outs]))).text)) == 2


def test_text_is_the_same_every_time() -> None:
    texts = {Step(fused(build([Type("f32", (9, 33))], softmax))).text for _ in range(3)}
    assert len(texts) == 1


def test_no_calls_into_a_math_library() -> None:
    text = Step(fused(build([X], lambda x: sin(exp(x))))).text
    names = re.findall(r"declare .* @([\w.]+)\(", text)
    assert all(name.startswith("llvm.") for name in names)


X = Type("f32", (100,))


def test_work_memory_is_that_of_the_largest_product() -> None:
    graph = fused(build([Type("f64", (64, 64))] * 2, lambda a, b: op("matmul")(a, b)))
    program = make_program(graph)
    assert work_bytes(program, host_target()) > 0
    assert work_bytes(make_program(fused(build([X], exp))), host_target()) == 0
    text = emit_step(program, plan_arena(program), host_target(), "step", "").text
    assert "@step(" in text


@pytest.mark.parametrize(
    ("combine", "dtype", "expected"),
    [
        ("sum", "f64", 0.0),
        ("sum", "i32", 0),
        ("prod", "f32", 1.0),
        ("max", "i32", -(2**31)),
        ("min", "i64", 2**63 - 1),
        ("max", "f32", -np.inf),
        ("any", "bool", False),
        ("all", "bool", True),
    ],
)
def test_what_reductions_start_from(combine, dtype, expected) -> None:  # type: ignore[no-untyped-def]
    assert identity(combine, dtype) == expected


@pytest.mark.parametrize("shape", [(0,), (1,), (19,), (300,), (3, 1), (1, 3), (1, 1)])
@pytest.mark.parametrize("name", ["sum", "prod", "max"])
def test_signs_of_zero(name: str, shape: tuple[int, ...]) -> None:
    """A sum of negative zeros is 0.0; the others keep the sign."""
    for axes in subsets(len(shape)):
        if 0 in shape and name == "max":
            continue
        graph = build([Type("f64", shape)], lambda x, axes=axes: op(name)(x, axes=axes))
        x = np.full(shape, -0.0)
        assert_same(compiled(graph)(x)[0], interpret(graph, [x])[0], axes)


LENGTHS = [*range(1, 10), 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 130, 191, 257]


@pytest.mark.parametrize("dtype", ["f32", "f64", "i32", "bool"])
def test_every_length_of_a_row(dtype: str) -> None:
    """Full vectors, unrolled ones, tails: by elements, along a row, and across rows."""
    builder = Builder("main")
    outs: list[Value] = []
    for n in LENGTHS:
        for shape, axis in (((n,), 0), ((3, n), 1), ((n, 3), 0)):
            x = builder.param(Type(dtype, shape))
            outs += [x + x if dtype != "bool" else op("logical_not")(x)]
            outs += [op("any" if dtype == "bool" else "sum")(x, axes=(axis,))]
            outs += [op("max")(x, axes=(axis,))]
    graph = builder.finish([out.atom for out in outs])
    rng = np.random.default_rng(2)
    arrays = [rng.integers(0, 2, p.type.shape).astype(p.type.numpy_dtype) for p in graph.params]
    for got, expected in zip(compiled(graph)(*arrays), interpret(graph, arrays), strict=True):
        assert_same(got, expected)


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (3, 7), (4, 64), (2, 3, 65), (65, 2, 3)])
def test_stages_over_rows(shape: tuple[int, ...]) -> None:
    for axis in range(len(shape)):
        graph = build([Type("f64", shape)], lambda x, axis=axis: softmax(x, axis))
        x = np.random.default_rng(3).normal(size=shape)
        (expected,) = interpret(graph, [x])
        assert_within(compiled(graph)(x)[0], expected, 1e-14 * expected)


@pytest.mark.parametrize("extra", [1, 2])
def test_narrowed_values_at_the_end_of_a_row_stay_within_it(extra: int) -> None:
    """One masked lane of a narrowed integer was once stored with its whole width."""
    type = Type("i64", (2, 16 + extra))
    graph = build([type], lambda x: (cast(x, dtype="i32"), op("sum")(x, axes=(0,))))
    x = np.arange(2 * type.shape[1]).reshape(type.shape)
    for got, expected in zip(compiled(graph)(x), interpret(graph, [x]), strict=True):
        assert_same(got, expected)


@pytest.mark.parametrize("rows", [1, 3, 14, 29])
@pytest.mark.parametrize("wide", ["f32", "f64"])
def test_every_width_of_a_finished_product(rows: int, wide: str) -> None:
    """What is done with tiles, in whole vectors and in parts of them, and in two widths."""
    builder = Builder("main")
    outs: list[Value] = []
    for n in LENGTHS:
        a, b, bias = (builder.param(Type("f32", s)) for s in ((rows, 5), (5, n), (rows, n)))
        total = op("matmul")(a, b) + bias
        outs += [cast(total, dtype=wide), op("less")(total, bias)]
    graph = builder.finish([out.atom for out in outs])
    rng = np.random.default_rng(4)
    arrays = [rng.integers(-9, 9, p.type.shape).astype(p.type.numpy_dtype) for p in graph.params]
    for got, expected in zip(compiled(graph)(*arrays), interpret(graph, arrays), strict=True):
        assert_same(got, expected)


@pytest.mark.parametrize(("columns", "is_masked"), [(16, False), (64, False), (10, True)])
def test_whole_tiles_need_no_masks(columns: int, is_masked: bool) -> None:
    if host_target().vector_bytes != 64:
        pytest.skip("other tiles")
    types = [Type("f32", (64, 64)), Type("f32", (64, columns)), Type("f32", (64, columns))]
    graph = fused(build(types, lambda a, b, c: op("matmul")(a, b) + c))
    program = make_program(graph)
    text = emit_step(program, plan_arena(program), host_target(), "step", "").text
    kernel = text[text.index("@kernel") :]
    assert ("masked" in kernel[: kernel.index("\n}")]) is is_masked


@pytest.mark.parametrize("columns", [1, 3, 5, 10, 15, 16, 17, 20, 31, 33])
@pytest.mark.parametrize("rows", [2, 13, 14, 65])
def test_updates_by_narrow_products(rows: int, columns: int) -> None:
    """In place, where the rows of tiles lie side by side, and where a bias keeps them apart."""

    def step(w, v, x, g, bias):  # type: ignore[no-untyped-def]
        w -= x.T @ g
        v -= x.T @ g + bias

    rng = np.random.default_rng(5)
    shapes = [(rows, columns), (rows, columns), (7, rows), (7, columns), (columns,)]
    w, v, x, g, bias = (rng.integers(-9, 9, shape).astype("f4") for shape in shapes)
    expected = w - x.T @ g, v - (x.T @ g + bias)
    gc.compile(step)(w, v, x, g, bias)
    assert_same(w, expected[0])
    assert_same(v, expected[1])
