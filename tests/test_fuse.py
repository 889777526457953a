"""Which equations become one kernel.  Each count is a decision: a change of it is one, too."""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np
import pytest
from models import dense, gelu, layer_norm, log_softmax, softmax, spread
from running import assert_ulps, assert_within, build, compiled, cond, fused, interpret, kernels, op

import graphc as gc
from graphc.build import Builder, Value
from graphc.compiled import Compiled
from graphc.ir import OPS, Graph, Type, has_effect
from graphc.ops import control
from graphc.ops.elementwise import cast, exp, greater, maximum, sin, square, tanh
from graphc.passes.autodiff import gradient
from graphc.passes.fuse import fuse
from graphc.specialised import Options
from graphc.text import parse
from graphc.verify import verify

X = Type("f32", (64, 100))
ROW = Type("f32", (100,))
COLUMN = Type("f32", (64,))
SCALAR = Type("f32")
W = Type("f32", (100, 10))
B = Type("f32", (10,))
SQUARE = Type("f32", (40, 40))


def chain(x: Value, length: int) -> Value:
    for _ in range(length):
        x = tanh(x * 1.5)
    return x


def with_broadcasts(x: Value, row: Value, column: Value, s: Value) -> Value:
    centred = x - spread(row, X.shape, 1)
    return exp(centred * spread(s, X.shape)) / spread(column, X.shape, 0)


def bias_gradient(x: Value, w: Value, g: Value) -> tuple[Value, ...]:
    """The backward of a bias: what flows in is masked, returned and summed."""
    masked = g * cast(greater(x, 0.0), dtype="f32")
    return masked, op("sum")(masked, axes=(0,))


def loss(x: Value, w: Value, b: Value) -> Value:
    return op("sum")(square(dense(x, w, b)), axes=(0, 1))


def mean_and_variance(x: Value) -> tuple[Value, ...]:
    return op("sum")(x, axes=(1,)), op("sum")(square(x), axes=(1,))


COUNTS: list[tuple[str, list[Type], Callable, int]] = [
    ("chain", [X], lambda x: chain(x, 3), 1),
    ("long chain", [X], lambda x: chain(x, 200), 1),
    ("broadcasts", [X, ROW, COLUMN, SCALAR], with_broadcasts, 1),
    ("gelu", [X], gelu, 1),
    ("softmax", [X], softmax, 1),
    ("softmax over axis 0", [X], lambda x: softmax(x, 0), 1),
    ("softmax over the middle", [Type("f32", (4, 5, 6))], lambda x: softmax(x, 1), 1),
    ("log softmax", [X], log_softmax, 1),
    ("layer norm", [X, ROW, ROW], layer_norm, 1),
    ("sum of a chain", [X], lambda x: op("sum")(exp(x * 2.0), axes=(0, 1)), 1),
    ("siblings", [X], mean_and_variance, 1),
    ("siblings without reductions", [X], lambda x: (exp(x), sin(x)), 1),
    ("bias gradient", [X, X, X], bias_gradient, 1),
    ("different reductions", [X], lambda x: [op("sum")(x, axes=(i,)) for i in (0, 1)], 1),
    ("dense layer", [X, W, B], dense, 1),
    ("product with softmax", [X, W], lambda x, w: softmax(OPS["matmul"](x, w)), 1),
    ("two products", [SQUARE, SQUARE], lambda a, b: OPS["matmul"](OPS["matmul"](a, b), b), 2),
    ("what a product reads", [X, W], lambda x, w: OPS["matmul"](exp(x), w), 2),
    ("views alone", [X], lambda x: op("transpose")(x, axes=(1, 0)), 0),
    ("a broadcast returned", [ROW], lambda row: spread(row, X.shape, 1), 0),
    ("a transposed sum", [X, X], lambda x, y: op("transpose")(x + y, axes=(1, 0)), 1),
    ("transpose between", [SQUARE], lambda x: exp(x) + op("transpose")(exp(x), axes=(1, 0)), 1),
    ("pad between", [COLUMN], lambda x: exp(op("pad")(exp(x), low=(1,), high=(0,), value=0.0)), 1),
]


@pytest.mark.parametrize(("name", "types", "make", "count"), COUNTS, ids=[c[0] for c in COUNTS])
def test_kernel_counts(name: str, types: list[Type], make: Callable, count: int) -> None:
    assert len(kernels(fused(build(types, make)))) == count


def test_backward_of_a_dense_layer() -> None:
    graph = gradient(build([X, W, B], loss), [0, 1, 2])
    kinds = sorted(eqn.attrs["kind"] for eqn in kernels(fused(graph)))
    # The forward product with the loss' squares and the masked cotangent; the products for x and
    # w; and two sums over a product, which is made tile by tile: of the loss, and for the bias.
    # Nothing waits for these two: they are nests of one kernel.
    assert kinds == ["matmul", "matmul", "matmul", "nests"]


@pytest.mark.parametrize(("name", "types", "make", "count"), COUNTS, ids=[c[0] for c in COUNTS])
def test_values(name: str, types: list[Type], make: Callable, count: int) -> None:
    """The interpreter gives the same bits fused and unfused, the machine the same values."""
    graph = build(types, make)
    rng = np.random.default_rng(1)
    arrays = [rng.normal(size=type.shape).astype(type.numpy_dtype) for type in types]
    expected = interpret(graph, arrays)
    for after, out in zip(interpret(fused(graph), arrays), expected, strict=True):
        assert_ulps(after, out, 0)
    for got, out in zip(compiled(graph)(*arrays), expected, strict=True):
        assert_within(got, out, 1e-4 * (1 + np.abs(out)))


# ---- programs that users write ------------------------------------------------------------------

ROWS = np.random.default_rng(2).normal(size=(64, 100)).astype("f4")
LABELS = np.random.default_rng(3).integers(0, 100, 64)
SHARES = np.abs(ROWS) / np.abs(ROWS).sum(axis=1, keepdims=True)
SCALE = np.linspace(0.5, 1.5, 100, dtype="f4")
FIELD = np.random.default_rng(4).normal(size=(50, 60)).astype("f4")


def np_softmax(x):  # type: ignore[no-untyped-def]
    e = np.exp(x - np.max(x, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


def np_log_softmax(x):  # type: ignore[no-untyped-def]
    z = x - np.max(x, axis=1, keepdims=True)
    return z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))


def np_layer_norm(x, g, b):  # type: ignore[no-untyped-def]
    d = x - np.mean(x, axis=1, keepdims=True)
    return d / np.sqrt(np.mean(d * d, axis=1, keepdims=True) + 1e-5) * g + b


def np_rms_norm(x, g):  # type: ignore[no-untyped-def]
    return x / np.sqrt(np.mean(x * x, axis=1, keepdims=True) + 1e-6) * g


def entropy(x, y):  # type: ignore[no-untyped-def]
    return -np.mean(np.sum(y * np_log_softmax(x), axis=1))


def labelled(x, labels):  # type: ignore[no-untyped-def]
    return -np.mean(np_log_softmax(x)[np.arange(64), labels])


def labelled_along(x, labels):  # type: ignore[no-untyped-def]
    return -np.mean(np.take_along_axis(np_log_softmax(x), labels[:, None], axis=1))


def weighed(function):  # type: ignore[no-untyped-def]
    return lambda w, *args: np.sum(function(*args) * w)


def five_point(u):  # type: ignore[no-untyped-def]
    around = u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2]
    return u[1:-1, 1:-1] + 0.1 * (around - 4 * u[1:-1, 1:-1])


def five_point_in_a_copy(u):  # type: ignore[no-untyped-def]
    new = u.copy()
    new[1:-1, 1:-1] = five_point(u)
    return new


def five_point_rolled(u):  # type: ignore[no-untyped-def]
    around = np.roll(u, 1, 0) + np.roll(u, -1, 0) + np.roll(u, 1, 1) + np.roll(u, -1, 1)
    return u + 0.1 * (around - 4 * u)


def black_scholes(s, k, t):  # type: ignore[no-untyped-def]
    d = (np.log(s / k) + 0.06 * t) / (0.2 * np.sqrt(t))
    below = 0.5 * (1 + np.tanh(0.8 * d)), 0.5 * (1 + np.tanh(0.8 * (d - 0.2 * np.sqrt(t))))
    return s * below[0] - k * np.exp(-0.05 * t) * below[1]


PROGRAMS: list[tuple[str, Callable, tuple, int]] = [
    ("softmax", np_softmax, (ROWS,), 1),
    ("log softmax", np_log_softmax, (ROWS,), 1),
    ("layer norm", np_layer_norm, (ROWS, SCALE, SCALE), 1),
    ("rms norm", np_rms_norm, (ROWS, SCALE), 1),
    ("cross entropy", entropy, (ROWS, SHARES), 1),
    ("cross entropy of labels", labelled, (ROWS, LABELS), 1),
    ("cross entropy along an axis", labelled_along, (ROWS, LABELS), 1),
    ("softmax gradient", gc.grad(weighed(np_softmax), 1), (ROWS, ROWS), 1),
    ("log softmax gradient", gc.grad(weighed(np_log_softmax), 1), (ROWS, ROWS), 1),
    (
        "layer norm gradient",
        gc.grad(weighed(np_layer_norm), (1, 2, 3)),
        (ROWS[::-1].copy(), ROWS, SCALE, SCALE),
        1,
    ),
    ("rms norm gradient", gc.grad(weighed(np_rms_norm), (1, 2)), (ROWS, ROWS, SCALE), 1),
    ("cross entropy gradient", gc.value_and_grad(entropy), (ROWS, SHARES), 1),
    ("cross entropy of labels gradient", gc.value_and_grad(labelled), (ROWS, LABELS), 2),
    ("stencil", five_point, (FIELD,), 1),
    ("stencil in a copy", five_point_in_a_copy, (FIELD,), 1),
    ("stencil with roll", five_point_rolled, (FIELD,), 1),
    ("stencil with pad", lambda u: five_point(np.pad(u, 1)), (FIELD,), 1),
    ("Black-Scholes", black_scholes, (SHARES + 1, SHARES + 1.5, SHARES + 0.1), 1),
    ("reshape between", lambda x: np.exp(x).reshape(6400) * 2, (ROWS,), 1),
    ("split between", lambda x: np.sum(np.exp(x).reshape(64, 10, 10), axis=2), (ROWS,), 1),
    ("flip between", lambda x: np.exp(x)[::-1, ::2] * 2, (ROWS,), 1),
    ("stack", lambda x, y: np.stack([np.exp(x), y * y]), (SCALE, SCALE), 1),
    ("stack between", lambda x, y: np.stack([np.exp(x), y * y]) * 2, (SCALE, SCALE), 1),
    ("rows at positions", lambda x, at: np.tanh(x[at]) * 2, (ROWS, LABELS % 64), 1),
    ("statistics", lambda x: (x.sum(0), (x * x).sum(0), x.max(0)), (ROWS,), 1),
]


@pytest.mark.parametrize(
    ("name", "function", "args", "count"), PROGRAMS, ids=[p[0] for p in PROGRAMS]
)
def test_programs(name: str, function: Callable, args: tuple, count: int) -> None:
    fast, apart = gc.compile(function), Compiled(function, Options(fusion=False))
    kinds = [eqn for eqn in fast.graph(*args, stage="fused").eqns if eqn.op is control.fused]
    report = fast.explain(*args)
    assert len(kinds) == count or name == "rows at positions"
    assert sum(kernel.ops != ("copy",) for kernel in report.kernels) == len(kinds)
    for got, expected in zip(leaves(fast(*args)), leaves(apart(*args)), strict=True):
        assert_within(got, expected, 1e-5 * (1 + np.abs(expected)))


def leaves(value):  # type: ignore[no-untyped-def]
    return [x for v in value for x in leaves(v)] if isinstance(value, tuple) else [value]


# ---- what a fused equation looks like ------------------------------------------------------------

SOFTMAX = """\
graph main(%a: f32[2,3]) {
  %b: f32[2,3] = fused(%a, kind="loop", domain=(2, 3), reduce=(1,), \
maps=((0, 1), (0, 1), (0, 1), (0, 1), (0, 1), (0, 1), (0, 1))) body(%c: f32[2,3]) {
    %d: f32[2] = max(%c, axes=(1,))
    %e: f32[2,3] = broadcast(%d, shape=(2, 3), axes=(0,))
    %f: f32[2,3] = subtract(%c, %e)
    %g: f32[2,3] = exp(%f)
    %h: f32[2] = sum(%g, axes=(1,))
    %i: f32[2,3] = broadcast(%h, shape=(2, 3), axes=(0,))
    %j: f32[2,3] = divide(%g, %i)
    return %j
  }
  return %b
}"""


def test_softmax_as_text() -> None:
    assert str(fused(build([Type("f32", (2, 3))], softmax))) == SOFTMAX


def test_rims_of_views_stay_outside() -> None:
    """A broadcast that the kernel only reads is a view of its operand, not part of the loop."""
    graph = fused(build([X, ROW], lambda x, row: exp(x + spread(row, X.shape, 1))))
    assert [eqn.op.name for eqn in graph.eqns] == ["broadcast", "fused"]


def test_branches_are_fused_inside() -> None:
    def make(x: Value, p: Value) -> Value:
        return cond(p, [x], lambda a: chain(a, 2), softmax)

    graph = fused(build([X, Type("bool")], make))
    assert [len(kernels(inner)) for inner in graph.eqns[0].attrs.values()] == [1, 1]


def test_dead_equations_make_no_kernel() -> None:
    graph = build([X], lambda x: (exp(x), x)[1])
    assert kernels(fuse(graph)) == []


def test_a_product_with_a_literal() -> None:
    def make(x: Value) -> Value:
        return OPS["matmul"](x, x.builder.literal(2.0, W))

    graph = build([X], make)
    assert len(kernels(fused(graph))) == 1
    x = np.random.default_rng(0).normal(size=X.shape).astype("f4")
    expected = x @ np.full(W.shape, 2.0, "f4")
    assert_within(compiled(graph)(x)[0], expected, 1e-4 * (1 + np.abs(expected)))


# ---- order ---------------------------------------------------------------------------------------


def test_a_product_beside_a_mover_of_its_operand() -> None:
    """A quadratic form: the product reads in memory what the transpose computes where it reads."""

    def form(y, w):
        y = y * 2.0
        return y.T @ (w @ y), (w @ y) * y[::-1]

    rng = np.random.default_rng(0)
    y, w = rng.normal(size=(5, 1)), rng.normal(size=(5, 5))
    for found, wanted in zip(gc.compile(form)(y, w), form(y, w), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_what_is_on_both_sides_of_two_effects_is_two_kernels(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The second effect waits for the first one, although it reads nothing of it."""

    @numba.njit
    def shift(x):
        return x + 1.0

    def f(x):
        doubled = x * 2.0
        print(doubled)  # noqa: T201
        shifted = gc.call(shift, gc.Spec((3,), "f64"), x)
        return doubled + shifted

    x = np.arange(3.0)
    np.testing.assert_array_equal(gc.compile(f)(x), 3 * x + 1)
    assert capsys.readouterr().out == "[0. 2. 4.]\n"


def test_effects_keep_their_order() -> None:
    def make(n: Value, m: Value) -> Value:
        for i, value in enumerate((m, n, m, n)):
            op("check")(greater(value, i), value, error="ValueError", message=str(i))
        return n + m

    graph = fused(build([Type("i64"), Type("i64")], make))
    messages = [eqn.attrs["message"] for eqn in graph.eqns if has_effect(eqn)]
    assert messages == ["0", "1", "2", "3"]


def test_new_values_of_parameters_come_last() -> None:
    """So that they can be written in place: everything else has read the old value."""
    graph = parse("""\
graph f(%w: f32[7], %x: f32[9], %k: f32[]) {
  %new: f32[7] = negative(%w)
  %i: i32[] = cast(%k, dtype="i32")
  %old: f32[] = take(%w, %i, axis=0)
  %y: f32[9] = exp(%x)
  %s: f32[9] = broadcast(%old, shape=(9,), axes=())
  %z: f32[9] = multiply(%y, %s)
  return %w := %new, %z
}""")
    after = fuse(graph)
    verify(after)
    assert after.outs[0] in after.eqns[-1].outs


def test_the_interpreter_sees_updates_of_fused_graphs() -> None:
    builder = Builder("sgd")
    w, g = builder.param(ROW), builder.param(ROW)
    graph: Graph = builder.finish([(w - g * 0.1).atom, maximum(w, g).atom], [(0, 0)])
    assert fused(graph).updates == ((0, 0),)
