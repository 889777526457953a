"""Batching: every op, random graphs and functions against a loop over the examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from random_graphs import Recipe, arguments, random_graph
from running import assert_same
from specs import CASES, Case
from test_random_graphs import random_graphs, sized

import graphc as gc
from graphc import errors
from graphc.build import Builder
from graphc.ir import OPS, Graph, Type, all_eqns
from graphc.ops import elementwise as ew
from graphc.passes.vmap import batch
from graphc.runtime.reference import evaluate
from graphc.verify import verify

SIZE = 3

# ---- against a loop over the examples, in the interpreter ----------------------------------------


def stacked(graph: Graph, columns: Sequence[Sequence[np.ndarray]], flags: Sequence[bool]) -> Any:
    """The results of one example after the other, and the operands for all of them at once."""
    rows = [[c[i] if f else c[0] for c, f in zip(columns, flags)] for i in range(SIZE)]
    results = [evaluate(graph, *row) for row in rows]
    together = [np.stack(c) if f else c[0] for c, f in zip(columns, flags)]
    return results, together


def check_batched(graph: Graph, columns: Any, flags: Sequence[bool]) -> None:
    with np.errstate(all="ignore"):
        expected, together = stacked(graph, columns, flags)
        batched, has_axis = batch(graph, flags, SIZE)
        verify(batched)
        got = evaluate(batched, *together)
    for place, (value, flag) in enumerate(zip(got, has_axis)):
        for i in range(SIZE):
            assert_same(value[i] if flag else value, expected[i][place], str(graph))


def graph_of(case: Case) -> Graph:
    builder = Builder("case")
    params = [builder.param(type).atom for type in case.ins]
    return builder.finish(
        [out.atom for out in builder.emit(OPS[case.op], params, dict(case.attrs))]
    )


SMALL = [case for case in CASES if sum(type.size for type in case.ins) <= 400 and case.ins]
BOUND = ("take", "scatter_add", "searchsorted", "check")
"""Ops whose operands mean something: positions, a sorted table."""
EXACT = [case for case in SMALL if case.op != "matmul"]


@pytest.mark.parametrize("part", range(8))
def test_every_op(part: int) -> None:
    source = np.random.default_rng(part)
    for case in EXACT[part::8]:
        flags = [bool(flag) for flag in source.integers(0, 2, len(case.ins))]
        samples = [case.operands() for _ in range(SIZE)]
        if case.op not in BOUND:
            samples = [[_other(source, array) for array in operands] for operands in samples]
        columns = list(zip(*samples))
        check_batched(graph_of(case), columns, flags)


def _other(source: np.random.Generator, array: np.ndarray) -> np.ndarray:
    """The same numbers in another order: what a case's op may be given."""
    return source.permutation(array.reshape(-1)).reshape(array.shape)


@pytest.mark.parametrize("case", [case for case in SMALL if case.op == "matmul"][::3], ids=str)
@pytest.mark.parametrize("flags", [(True, False), (False, True), (True, True)])
def test_products(case: Case, flags: tuple[bool, bool]) -> None:
    source = np.random.default_rng(0)
    columns = [
        [source.integers(-4, 5, type.shape).astype(type.numpy_dtype) for _ in range(SIZE)]
        for type in case.ins
    ]
    check_batched(graph_of(case), columns, flags)


@sized(80)
@random_graphs
def test_random_graphs(params: list[int], recipe: Recipe, outs: list[int]) -> None:
    graph = random_graph(params, recipe, outs).replace(updates=())
    columns = list(zip(*(arguments(graph, seed) for seed in range(SIZE))))
    flags = [bool((params[0] >> i) & 1) for i in range(len(graph.params))]
    try:
        stacked(graph, columns, flags)
    except errors.GraphcError as error:
        together = [np.stack(c) if f else c[0] for c, f in zip(columns, flags)]
        with pytest.raises(type(error)):
            evaluate(batch(graph, flags, SIZE)[0], *together)
    else:
        check_batched(graph, columns, flags)


# ---- functions -----------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 3))
W = RNG.normal(size=(3, 5))
INDICES = np.array([2, 0, 1, 1])


def predict(w: Any, x: Any) -> Any:
    return np.tanh(x @ w)


def branching(x: Any) -> Any:
    if x[0] > 0:
        y = np.sqrt(x[0]) + x
    else:
        y = -x
    return y.sum()


def picked(x: Any, i: Any) -> Any:
    return x[i] * 2.0


FUNCTIONS = {
    "dot": (lambda x: np.dot(x, x), 0, (X,)),
    "predict": (predict, (None, 0), (W, X)),
    "many weights": (predict, (0, None), (np.stack([W, 2 * W]), X[0])),
    "both": (predict, (0, 0), (np.stack([W] * 4), X)),
    "branching": (branching, 0, (X,)),
    "picked": (picked, (0, 0), (X, INDICES)),
    "picked from one": (picked, (None, 0), (X[0], INDICES)),
    "second axis": (lambda x: x / x.sum(), 1, (X,)),
    "softmax": (lambda x: np.exp(x - x.max()) / np.exp(x - x.max()).sum(), 0, (X,)),
    "concatenate": (lambda x: np.concatenate([x, np.ones(2)]), 0, (X,)),
    "largest": (lambda x: x[np.argmax(x)], 0, (X,)),
    "constant": (lambda x: np.arange(3.0), 0, (X,)),
    "scalars": (lambda x: x**2 if x > 0 else x, 0, (X[:, 0],)),
}


def loop(fn: Any, in_axes: Any, args: Any) -> Any:
    axes = (in_axes,) * len(args) if isinstance(in_axes, int) else in_axes
    size = next(arg.shape[axis] for arg, axis in zip(args, axes) if axis is not None)
    rows = [
        [a if k is None else np.take(a, i, axis=k) for a, k in zip(args, axes)] for i in range(size)
    ]
    return np.stack([fn(*row) for row in rows])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_against_a_loop(name: str) -> None:
    fn, in_axes, args = FUNCTIONS[name]
    np.testing.assert_allclose(gc.vmap(fn, in_axes)(*args), loop(fn, in_axes, args), rtol=1e-12)


def test_trees_and_out_axes() -> None:
    def pair(params: Any, x: Any) -> Any:
        return {"sum": params["w"] + x, "twice": (2 * x,)}

    params = {"w": np.arange(3.0), "b": np.zeros(2)}
    mapped = gc.vmap(pair, ({"w": None, "b": None}, 0), {"sum": 1, "twice": 0})
    result = mapped(params, X)
    np.testing.assert_array_equal(result["sum"], (X + params["w"]).T)
    np.testing.assert_array_equal(result["twice"][0], 2 * X)


def test_gradients_of_each_example_and_through_a_batch() -> None:
    def loss(w: Any, x: Any) -> Any:
        return np.sum(predict(w, x) ** 2)

    each = gc.vmap(gc.grad(loss), (None, 0))(W, X)
    for i in range(4):
        np.testing.assert_allclose(each[i], gc.grad(loss)(W, X[i]), rtol=1e-12)
    total = gc.grad(lambda w: np.sum(gc.vmap(loss, (None, 0))(w, X)))(W)
    np.testing.assert_allclose(total, each.sum(axis=0), rtol=1e-12)


def test_nested() -> None:
    outer = gc.vmap(gc.vmap(np.dot, (None, 0)), (0, None))(X, X)
    np.testing.assert_allclose(outer, X @ X.T, rtol=1e-12)


def test_one_product_for_the_whole_batch() -> None:
    graph = gc.trace(gc.vmap(predict, (None, 0)), W, X)
    products = [eqn for eqn in all_eqns(graph) if eqn.op.name == "matmul"]
    assert [eqn.out.type.shape for eqn in products] == [(4, 5)]


def test_a_common_condition_stays_one_and_a_differing_cheap_one_is_a_choice() -> None:
    def scaled(p: Any, x: Any) -> Any:
        return x * 2 if p > 0 else x

    common = gc.trace(gc.vmap(scaled, (None, 0)), 1.0, X)
    assert [eqn.op.name for eqn in all_eqns(common)].count("cond") == 1
    names = [eqn.op.name for eqn in all_eqns(gc.trace(gc.vmap(scaled), X[:, 0], X))]
    assert "cond" not in names and "where" in names


def costly(x: Any) -> Any:
    if x[0] > 0:
        y = np.outer(x, x) @ x
    else:
        y = x
    return y


def halvings(x: Any) -> Any:
    n = 0
    while np.abs(x[0]) > 0.1:
        x = x / 2
        n += 1
    return x, n


def test_explain_says_what_became_of_a_condition_and_of_a_loop() -> None:
    for fn, form in ((branching, "selected"), (costly, "one by one"), (halvings, "one by one")):
        (note,) = gc.compile(gc.vmap(fn)).explain(X).loops
        assert f": {form} (" in note and "differs between examples" in note


def test_costly_branches_and_loops_run_for_the_examples_that_take_them() -> None:
    np.testing.assert_allclose(gc.compile(gc.vmap(costly))(X), loop(costly, 0, (X,)), rtol=1e-12)
    got, counts = gc.compile(gc.vmap(halvings))(X)
    for i in range(4):
        expected, count = halvings(X[i])
        np.testing.assert_allclose(got[i], expected)
        assert counts[i] == count


def test_gradients_through_them() -> None:
    each = gc.vmap(gc.grad(lambda x: np.sum(costly(x) ** 2)))(X)
    for i in range(4):
        expected = gc.grad(lambda x: np.sum(costly(x) ** 2))(X[i])
        np.testing.assert_allclose(each[i], expected, rtol=1e-12)


def test_assignment_to_a_mapped_argument_reaches_it() -> None:
    def fill(x: Any) -> None:
        x[0] = x[1] + x[2]

    x = X.copy()
    gc.compile(gc.vmap(fill))(x)
    np.testing.assert_allclose(x[:, 0], X[:, 1] + X[:, 2])


def test_what_has_no_rule_runs_in_a_loop_over_the_examples() -> None:
    builder = Builder("case")
    table, x = builder.param(Type("f64", (5,))), builder.param(Type("f64", (2,)))
    (out,) = builder.emit(OPS["searchsorted"], [table.atom, x.atom], {"side": "left"})
    graph = builder.finish([out.atom])
    tables = [np.sort(RNG.normal(size=5)) for _ in range(SIZE)]
    check_batched(graph, [tables, [RNG.normal(size=2) for _ in range(SIZE)]], (True, True))
    batched, _ = batch(graph, (True, True), SIZE)
    assert [eqn.op.name for eqn in all_eqns(batched)] == ["scan", "searchsorted"]


def doubling_loop() -> Graph:
    """The first power of two above x, and how many doublings that took."""
    builder = Builder("loop")
    x = builder.param(Type("f64"))
    test, body = Builder("test"), Builder("body")
    for held in (test, body):
        held.param(Type("f64")), held.param(Type("i64")), held.param(Type("f64"))
    below = ew.less(test.value(test.params[0]), test.value(test.params[2]))
    power, count, _ = map(body.value, body.params)
    attrs = {
        "carried": 2,
        "test": test.finish([below.atom]),
        "body": body.finish([(power * 2.0).atom, (count + 1).atom]),
    }
    one, zero = builder.literal(1.0, Type("f64")), builder.literal(0, Type("i64"))
    outs = builder.emit(OPS["while"], [one.atom, zero.atom, x.atom], attrs)
    return builder.finish([out.atom for out in outs])


def test_a_loop_ends_for_each_example_in_its_own_time() -> None:
    check_batched(doubling_loop(), [[np.array(v) for v in (0.5, 5.0, 100.0)]], (True,))


# ---- errors --------------------------------------------------------------------------------------

WRONG = [
    (lambda: gc.vmap(np.add, (0, 0, 0))(X, X), "does not fit 2 positional argument(s)"),
    (lambda: gc.vmap(np.add, None)(X, X), "maps over no argument"),
    (lambda: gc.vmap(np.add)(X, 1.0), "has no axis 0 to map over"),
    (lambda: gc.vmap(np.add)(X, X[:2]), "the mapped axes have the sizes 4, 2"),
    (lambda: gc.vmap(np.sin)(X[:0]), "there are no examples"),
    (lambda: gc.vmap(lambda p: p["w"], ({"v": 0},))({"w": X}), "do not have the structure"),
    (lambda: gc.vmap(np.sin, 0, None)(X), "out_axes must say"),
]


@pytest.mark.parametrize("call, message", WRONG)
def test_wrong_axes(call: Any, message: str) -> None:
    with pytest.raises(errors.ArgumentError) as raised:
        call()
    assert message in str(raised.value)


def test_writes_to_what_is_not_mapped_are_refused() -> None:
    def outer(total: Any, x: Any) -> None:
        def add(row: Any) -> Any:
            total[0] = row[0]
            return row

        gc.vmap(add)(x)

    with pytest.raises(errors.ArgumentError, match="none of its mapped arguments"):
        gc.compile(outer)(np.zeros(1), X)
