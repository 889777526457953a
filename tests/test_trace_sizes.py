"""Tracing for symbolic sizes: one trace is right for every size that its guards let through."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import models
import numpy as np
import programs_loops  # noqa: F401 - adds to PROGRAMS
import pytest
from numpy_rows import ALL
from programs import PROGRAMS

import graphc as gc
from graphc import errors
from graphc.binding import bind, read_sizes, symbol_names
from graphc.build import Builder
from graphc.dims import dim
from graphc.equal import structurally_equal
from graphc.ir import OPS, Graph, Type, all_eqns
from graphc.passes.dce import eliminate_dead
from graphc.signature import leaf_names
from graphc.trace import tree

tracing = importlib.import_module("graphc.trace.trace")
"""`graphc.trace`, the function, hides the module's package."""

Spec = gc.Spec


def trace_by_example(function: Callable[..., Any], args: Sequence[Any]) -> Any:
    """Traced with each size from 2 upwards as a symbol: equal sizes are one."""
    leaves, structure = tree.flatten((tuple(args), {}))
    names = leaf_names(function, tuple(args), {})
    given, keywords = tree.unflatten(structure, [general(leaf) for leaf in leaves])
    aliases = list(range(len(leaves)))
    return tracing.trace(function, given, keywords, names, aliases, by_example=True)


def general(leaf: Any) -> Any:
    if not isinstance(leaf, np.ndarray) or all(n < 2 for n in leaf.shape):
        return leaf
    return Spec(tuple(dim(f"n{n}", n) if n >= 2 else n for n in leaf.shape), leaf.dtype)


SHIFTS: tuple[Callable[[int], int], ...] = (
    lambda n: n,
    lambda n: n + 1,
    lambda n: n + 3 + n % 2,
    lambda n: 2 if n == 3 else n,
)


def resized(leaf: Any, shift: Callable[[int], int]) -> Any:
    if not isinstance(leaf, np.ndarray) or not leaf.size:
        return leaf
    return np.resize(leaf, tuple(shift(n) if n >= 2 else n for n in leaf.shape))


def check_sizes(function: Callable[..., Any], args: Sequence[Any]) -> int:
    """The trace, with numbers for its sizes, gives what a trace of those sizes does; for how many
    other sizes it could be used."""
    try:
        traced = trace_by_example(function, args)
    except errors.GraphcError:
        return 0  # it is traced for fixed sizes, then
    leaves, structure = tree.flatten((tuple(args), {}))
    count = 0
    for shift in SHIFTS:
        moved = [resized(leaf, shift) for leaf in leaves]
        try:
            sizes = read_sizes(traced.graph.in_types, [np.shape(leaf) for leaf in moved])
        except errors.ShapeError:
            continue
        if not all(guard.fits(sizes) for guard in traced.guards):
            continue
        bound = bind(traced.graph, sizes)
        try:
            fixed = gc.trace(function, *tree.unflatten(structure, moved)[0])
        except errors.GraphcError:
            same_error(bound, function, tree.unflatten(structure, moved)[0], moved)
        else:
            same_results(bound, fixed, moved)
        count += shift is not SHIFTS[0]
    return count


def same_error(
    bound: Graph, function: Callable[..., Any], args: Sequence[Any], leaves: Sequence[Any]
) -> None:
    """Where NumPy raises, too, so does the graph; else a fixed size was too much to trace."""
    try:
        with np.errstate(all="ignore"):
            function(*args)
    except (ValueError, IndexError) as error:
        arrays = [
            np.asarray(x, p.type.numpy_dtype) for x, p in zip(leaves, bound.params, strict=True)
        ]
        with pytest.raises(type(error)):
            gc.evaluate(bound, *arrays)


def same_results(bound: Graph, fixed: Graph, leaves: Sequence[Any]) -> None:
    arrays = [np.asarray(x, p.type.numpy_dtype) for x, p in zip(leaves, fixed.params, strict=True)]
    try:
        expected = gc.evaluate(fixed, *arrays)
    except errors.GraphcError as error:
        with pytest.raises(type(error)) as caught:
            gc.evaluate(bound, *arrays)
        assert str(caught.value) == str(error)
        return
    for got, wanted in zip(gc.evaluate(bound, *arrays), expected, strict=True):
        assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
        single = wanted.dtype == np.float32
        np.testing.assert_allclose(got, wanted, rtol=1e-4 if single else 1e-9, atol=1e-6)


ROWS = [
    pytest.param(*row, id=f"{topic}: {name}", marks=[] if i % 4 == 0 else [pytest.mark.slow])
    for topic, rows in ALL.items()
    for i, (name, row) in enumerate(rows.items())
]


@pytest.mark.parametrize(("function", "args"), ROWS)
def test_row(function: Callable[..., Any], args: Sequence[Any]) -> None:
    check_sizes(function, args)


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_program(program: Any) -> None:
    check_sizes(program.function, program.cases[0])


def test_most_rows_are_for_other_sizes_too() -> None:
    """So that a change that makes every trace fall back to fixed sizes is seen."""
    counts = [check_sizes(*row) for rows in ALL.values() for row in list(rows.values())[::9]]
    assert sum(count > 0 for count in counts) >= len(counts) // 2


# ---- sizes as values -----------------------------------------------------------------------------


def test_sizes_are_numbers_in_arithmetic() -> None:
    def function(x: Any) -> Any:
        n = len(x)
        return x.sum() / x.shape[0], n * 0.5, x * n, np.sqrt(n), x.size, n**2, float(n), 2 // 1 + n

    graph = gc.trace(function, Spec(("B", 3), "f32"))
    x = np.arange(15, dtype=np.float32).reshape(5, 3)
    wanted = (x.sum() / 5, 2.5, x * 5, np.sqrt(5), 15, 25, 5.0, 7)
    for got, value in zip(gc.evaluate(graph, x), wanted, strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-6)
        assert got.dtype == np.asarray(value).dtype


def test_a_loop_over_a_symbolic_axis_is_a_scan() -> None:
    def function(x: Any) -> Any:
        total = np.zeros(3)
        for i in range(len(x)):
            total = total * 0.5 + x[i]
        for row in x:
            total = total + row
        return total

    graph = gc.trace(function, Spec(("B", 3), "f64"))
    lengths = [eqn.attrs["length"] for eqn in all_eqns(graph) if eqn.op is OPS["scan"]]
    assert lengths == [dim("B"), dim("B")]
    x = np.random.default_rng(0).standard_normal((9, 3))
    np.testing.assert_allclose(gc.evaluate(graph, x)[0], function(x))


def test_scans_and_random_numbers_of_a_symbolic_length() -> None:
    def function(x: Any, key: Any) -> Any:
        carry, sums = gc.scan(lambda c, row: (c * 0.5 + row, row.sum()), np.zeros(3), x)
        order = gc.random.permutation(key, len(x))
        return carry, sums, order, gc.random.normal(key, x.shape), gc.random.uniform(key, (len(x),))

    key = gc.random.key(3)
    graph = gc.trace(function, Spec(("B", 3), "f64"), key)
    for count in (2, 9):
        x = np.random.default_rng(0).standard_normal((count, 3))
        fixed = gc.trace(function, x, key)
        for got, wanted in zip(gc.evaluate(graph, x, key), gc.evaluate(fixed, x, key), strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_labels_are_picked() -> None:
    """`x[np.arange(len(x)), labels]` is one `pick`, as for a fixed size."""
    graph = gc.trace(
        lambda x, y: x[np.arange(len(x)), y], Spec(("B", 10), "f64"), Spec(("B",), "i64")
    )
    assert [eqn.op.name for eqn in graph.eqns if eqn.op.name in ("pick", "take")] == ["pick"]


def test_text_with_a_size_is_made_when_the_step_runs(capsys: Any) -> None:
    def function(x: Any) -> Any:
        print(f"{len(x)} rows", x.shape)  # noqa: T201
        return x

    gc.evaluate(gc.trace(function, Spec(("B", 3), "f64")), np.zeros((4, 3)))
    assert capsys.readouterr().out == "4 rows (4, 3)\n"


def test_a_failed_check_names_the_number() -> None:
    graph = gc.trace(lambda x, i: x[i], Spec(("B",), "f64"), 3)
    with pytest.raises(IndexError, match="index 7 is out of bounds for an axis of size 5"):
        gc.evaluate(graph, np.zeros(5), np.int64(7))


# ---- questions -----------------------------------------------------------------------------------

X = np.ones((5, 3))


def test_guards_say_what_was_asked_and_where() -> None:
    def function(x: Any) -> Any:
        return x[:4] if len(x) > 3 else x

    traced = trace_by_example(function, (X,))
    (guard, *_) = traced.guards
    assert str(guard).startswith("3 < n5: asked at") and ("test_trace_sizes.py" in str(guard))
    assert guard.fits({"n5": 4}) and not guard.fits({"n5": 3})


def test_a_number_that_is_needed_fixes_the_size() -> None:
    def function(x: Any) -> Any:
        return x * sum(range(10)[: int(x.shape[0])])

    traced = trace_by_example(function, (X,))
    assert symbol_names(traced.graph) == ("n3",)
    (fixed,) = traced.fixed
    assert str(fixed).startswith("n5 = 5: the number that n5 stands for was needed at")


def test_an_answer_that_the_function_catches_is_not_lost() -> None:
    def function(x: Any) -> Any:
        try:
            half = len(x) // 2
        except:  # noqa: E722 - programs do
            half = 0
        return x * half

    compiled = gc.compile(function)
    for count in (4, 6, 7, 9, 4):
        x = np.ones((count, 3))
        np.testing.assert_array_equal(compiled(x), x * (count // 2))
    with pytest.raises(errors.UndecidedSizeError, match="number that B stands for"):
        gc.trace(function, Spec(("B", 3), "f64"))


def test_sizes_that_must_be_equal_are_one() -> None:
    traced = trace_by_example(lambda x, y: x @ y, (np.ones((5, 3)), np.ones((3, 4))))
    assert traced.fixed == () and traced.guards == ()
    first = Spec((dim("B", 6), 3), "f64")
    second = Spec((dim("N", 6), 3), "f64")
    traced = tracing.trace(lambda x, y: x + y, (first, second), {}, ["x", "y"], [0, 1], True)
    assert [str(t) for t in traced.graph.in_types] == ["f64[N,3]", "f64[N,3]"]
    assert "B = N" in str(traced.fixed[0])


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * {5: 1.0, 6: 2.0}[len(x)],
        lambda x: x * (2.0 if len(x) in {5, 6} else 3.0),
        lambda x: x * (2.0 if x.shape == (5, 3) else 3.0),
        lambda x: x * {5: 2.0}.get(x.shape[0], 3.0),
        lambda x: x * len([0] * x.shape[0]),
        lambda x: x * (x.shape[0] == 5),
        lambda x: x * (2.0 if len(x) in [5, 6] else 3.0),
        lambda x: x * (2.0 if len(x) not in (5, 6) else 3.0),
        lambda x: x * (2.0 if 5 in x.shape else 3.0),
        lambda x: x * (2.0 if x.shape in [(5, 3), (6, 3)] else 3.0),
        lambda x: x * (2.0 if len(x) in range(5, 7) else 3.0),
        lambda x: x * (2.0 if len(x) in {5: 1} else 3.0),
        lambda x: x * (2.0 if np.equal(len(x), 5) else 3.0),
        lambda x: x * max((len(x), 2), (5, 1))[1],
    ],
)
def test_numbers_in_the_users_own_tables(function: Callable[..., Any]) -> None:
    """A lookup by a size means its number: it must not miss because the size is symbolic."""
    compiled = gc.compile(function)
    for count in (4, 5, 6, 7, 5):
        x = np.ones((count, 3))
        try:
            wanted = function(x)
        except KeyError:
            with pytest.raises(KeyError):
                compiled(x)
            continue
        np.testing.assert_array_equal(compiled(x), wanted)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x * 2 if len(x) > 10 else x, r"whether 10 < B is asked"),
        (lambda x: x * 2 if len(x) == 10 else x, r"whether B == 10 is asked"),
        (lambda x: x[::2], r"the number that B \+ 1 stands for is asked"),
    ],
)
def test_a_named_size_stays_open(function: Callable[..., Any], message: str) -> None:
    """Who names a size means every number; what depends on it is an error with the line."""
    with pytest.raises(errors.UndecidedSizeError, match=message) as caught:
        gc.trace(function, Spec(("B", 3), "f64"))
    assert "test_trace_sizes.py" in str(caught.value)


# ---- bind and trace ------------------------------------------------------------------------------


def layer_norm(x: Any, gain: Any, bias: Any) -> Any:
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5) * gain + bias


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attention(q: Any, k: Any, v: Any) -> Any:
    return softmax(q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])) @ v


def cross_entropy(params: Any, x: Any, y: Any) -> Any:
    for w, b in params[:-1]:
        x = np.maximum(x @ w + b, 0)
    scores = x @ params[-1][0] + params[-1][1]
    return -np.log(softmax(scores))[np.arange(len(y)), y].mean()


def sgd(params: Any, x: Any, y: Any) -> Any:
    loss, grads = gc.value_and_grad(cross_entropy)(params, x, y)
    pairs = zip(params, grads, strict=True)
    return loss, [(w - 0.1 * dw, b - 0.1 * db) for (w, b), (dw, db) in pairs]


def rnn(x: Any, w: Any, u: Any) -> Any:
    state = np.zeros((x.shape[1], w.shape[1]))
    for row in x:
        state = np.tanh(row @ w + state @ u)
    return state.sum()


def mlp_params() -> Any:
    return [
        (Spec((20, 16), "f32"), Spec((16,), "f32")),
        (Spec((16, 10), "f32"), Spec((10,), "f32")),
    ]


MODELS: dict[str, tuple[Callable[..., Any], Callable[[Any], tuple[Any, ...]]]] = {
    "layer norm": (
        gc.grad(lambda *args: layer_norm(*args).sum()),
        lambda n: (Spec((n, 32), "f32"), Spec((32,), "f32"), Spec((32,), "f32")),
    ),
    "attention, batch": (attention, lambda n: (Spec((n, 4, 8, 16), "f32"),) * 3),
    "attention, length": (
        gc.grad(lambda *args: attention(*args).sum()),
        lambda n: (Spec((2, n, 16), "f32"),) * 3,
    ),
    "sgd": (sgd, lambda n: (mlp_params(), Spec((n, 20), "f32"), Spec((n,), "i64"))),
    "rnn": (
        gc.grad(rnn, argnums=1),
        lambda n: (Spec((n, 5, 3), "f64"), Spec((3, 4), "f64"), Spec((4, 4), "f64")),
    ),
    "vmap": (
        gc.vmap(lambda x: softmax(x) * x.sum()),
        lambda n: (Spec((n, 7), "f64"),),
    ),
}


KERNELS: dict[str, Callable[..., Any]] = {
    "softmax": lambda b, n: models.softmax(b.param(Type("f32", (n, 10)))),
    "log_softmax": lambda b, n: models.log_softmax(b.param(Type("f32", (n, 10))), axis=0),
    "layer_norm": lambda b, n: models.layer_norm(
        b.param(Type("f32", (n, 10))), b.param(Type("f32", (10,))), b.param(Type("f32", (10,)))
    ),
    "gelu": lambda b, n: models.gelu(b.param(Type("f64", (3, n)))),
    "dense": lambda b, n: models.dense(
        b.param(Type("f32", (n, 4))), b.param(Type("f32", (4, 5))), b.param(Type("f32", (5,)))
    ),
}


@pytest.mark.parametrize("name", KERNELS)
def test_a_graph_built_of_symbolic_types(name: str) -> None:
    def built(size: Any) -> Graph:
        builder = Builder("main")
        return builder.finish([KERNELS[name](builder, size).atom])

    assert structurally_equal(built(dim("B")).bind(B=67), built(67))


@pytest.mark.parametrize("name", MODELS)
def test_a_bound_trace_is_the_trace_of_the_numbers(name: str) -> None:
    function, specs = MODELS[name]
    bound = eliminate_dead(gc.trace(function, *specs("B")).bind(B=67))
    fixed = eliminate_dead(gc.trace(function, *specs(67)))
    assert structurally_equal(bound, fixed), f"{bound}\n{fixed}"
