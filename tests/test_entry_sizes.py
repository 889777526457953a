"""One built-in function for the steps of all sizes."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
from running import build, fused, op
from symbolic import B

from graphc.build import Value
from graphc.dims import dim
from graphc.ir import Type
from graphc.ops.elementwise import exp
from graphc.runtime.calling import MISS, Calling, Container, Fixed, Leaf, Result
from graphc.runtime.llvm.entry_rows import Rows, place_of
from graphc.runtime.step import NativeSteps, Steps

N = dim("N")
X, Y = Type("f32", (B, 10)), Type("f32", (B, 3))


def of(*types: Type) -> tuple[Leaf, ...]:
    return tuple(Leaf(np.ndarray, type) for type in types)


def native(steps: Steps, calling: Calling) -> NativeSteps:
    found = steps.native(calling)
    if found is None:
        pytest.skip("this Python has no entry point")
    return found


def pair(x: Value, y: Value) -> tuple[Value, Value]:
    return exp(x), op("sum")(y, axes=(0, 1))


def make_pair() -> NativeSteps:
    returns = Container(tuple, (0, 1), (Result(0), Result(1)))
    calling = Calling(of(X, Y), (), returns, (X, Type("f32")))
    return native(Steps(fused(build([X, Y], pair))), calling)


def arrays(number: int) -> list[np.ndarray]:
    rng = np.random.default_rng(number)
    return [rng.standard_normal((number, n)).astype(np.float32) for n in (10, 3)]


def test_learns_each_size() -> None:
    steps = make_pair()
    for number in (2, 64, 7, 300, 33, *range(100, 140)):
        x, y = arrays(number)
        assert steps.function(x, y) is MISS
        assert steps.learn({"B": number})
        assert steps.learn({"B": number})
    for number in (300, 2, 7, 64, 139, 100, 33):
        x, y = arrays(number)
        first, second = steps.function(x, y)
        np.testing.assert_allclose(first, np.exp(x), rtol=1e-6)
        np.testing.assert_allclose(second, y.sum(dtype=np.float64), rtol=1e-4, atol=1e-4)
        assert first.shape == (number, 10) and type(second) is np.float32


def test_other_arguments_are_not_taken() -> None:
    steps = make_pair()
    steps.learn({"B": 8})
    x, y = arrays(8)
    assert steps.function(x, y) is not MISS
    for wrong in (
        (x, y[:7]),
        (x[:, :9], y),
        (x[:1], y[:1]),
        (x.astype(np.float64), y),
        (np.asfortranarray(x), y),
        (x[0], y),
        (x,),
        (x, 3.0),
    ):
        assert steps.function(*wrong) is MISS
    assert steps.function(x, y=y) is MISS


def test_several_names_and_containers() -> None:
    types = [Type("f64", (B, N)), Type("f64", (N,))]
    graph = build(types, lambda x, v: x * op("broadcast")(v, shape=(B, N), axes=(1,)))
    pattern = Container(dict, ("x", "v"), of(*types))
    calling = Calling((pattern, Fixed(None)), (), Result(0), (types[0],))
    steps = native(Steps(fused(graph)), calling)
    rng = np.random.default_rng(0)
    for b, n in [(2, 3), (3, 2), (40, 5), (5, 40)]:
        x, v = rng.standard_normal((b, n)), rng.standard_normal(n)
        assert steps.function({"x": x, "v": v}, None) is MISS
        assert steps.learn({"B": b, "N": n})
        np.testing.assert_array_equal(steps.function({"x": x, "v": v}, None), x * v)
        assert steps.function({"x": x, "v": v[:-1]}, None) is MISS


def test_large_results_lie_in_memory_that_is_used_again() -> None:
    steps = make_pair()
    steps.learn({"B": 200_000})
    x, y = arrays(200_000)
    (first, _), (second, _) = steps.function(x, y), steps.function(x, y)
    assert first.ctypes.data % 64 == 0 and not np.shares_memory(first, second)
    np.testing.assert_array_equal(first, second)


def test_a_failed_call_is_left_to_others() -> None:
    """An argument that is written and overlaps another one: the slow path explains it."""
    types = [Type("f64", (B,)), Type("f64", (B,))]
    graph = build(types, lambda x, y: x + y)
    graph = graph.replace(updates=((0, 0),))
    steps = native(Steps(fused(graph)), Calling(of(*types), (), Result(0, True), ()))
    assert steps.learn({"B": 4})
    block = np.arange(6.0)
    assert steps.function(block[:4], block[2:]) is MISS
    x = np.ones(4)
    assert steps.function(x, np.ones(4)) is x
    np.testing.assert_array_equal(x, 2.0)


def test_a_size_that_no_argument_tells() -> None:
    types = [Type("f64", (B * 2,))]
    calling = Calling(of(*types), (), Result(0), tuple(types))
    assert Steps(fused(build(types, exp))).native(calling) is None


def test_memory_is_that_of_the_largest_size() -> None:
    """Temporaries grow while the function is in use, and it outlives what made it."""
    graph = build([X], lambda x: op("sort")(exp(x)) * 2.0)
    steps = native(Steps(fused(graph)), Calling(of(X), (), Result(0), (X,)))
    for number in (2, 1000, 30):
        steps.learn({"B": number})
    function = steps.function
    del steps
    gc.collect()
    for number in (1000, 2, 30):
        x = arrays(number)[0]
        expected = np.sort(np.exp(x), axis=1) * 2.0
        np.testing.assert_allclose(function(x), expected, rtol=1e-6)


def test_threads_learn_and_call_at_once() -> None:
    steps = make_pair()
    failures: list[object] = []

    def run(seed: int) -> None:
        for number in np.random.default_rng(seed).integers(2, 60, 400).tolist():
            x, y = arrays(number)
            steps.learn({"B": number})
            returned = steps.function(x, y)
            if returned is not MISS and not np.allclose(returned[0], np.exp(x), rtol=1e-5):
                failures.append(number)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_rows_are_found_where_the_code_looks() -> None:
    rows = Rows(2)
    fields = {"constant_table": 1, "types": 2, "handler": 0, "step": 3}
    wanted = [(b, n) for b in range(2, 12) for n in range(2, 12)]
    for sizes in wanted:
        rows.add(sizes, fields)
    mask = len(rows.table) - 1
    for sizes in wanted:
        place = place_of(sizes, mask)
        while tuple(rows.table[place, :2]) != sizes:
            assert rows.table[place, 0]
            place = (place + 1) & mask
    assert len(rows.table) >= 2 * len(wanted)
