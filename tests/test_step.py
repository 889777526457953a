"""A step is called again and again, from any thread, and says what went wrong."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from models import dense, softmax
from running import assert_same, assert_within, build, compiled, cond, fused, op

from graphc import errors
from graphc.build import Value
from graphc.ir import OPS, Type
from graphc.ops.elementwise import cast, exp, greater, less, logical_and
from graphc.runtime.step import Step
from graphc.text import parse

X = Type("f64", (40, 30))
W = Type("f64", (30, 30))
ROW = Type("f64", (30,))


def network(x: Value, w: Value, b: Value) -> Value:
    return softmax(OPS["matmul"](dense(x, w, b), w) * 0.1)


def numpy_network(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    e = np.exp(np.maximum(x @ w + b, 0) @ w * 0.1)
    return e / e.sum(axis=1, keepdims=True)


def arguments(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=type.shape) for type in (X, W, ROW)]


def test_the_same_step_from_many_threads() -> None:
    step = Step(fused(build([X, W, ROW], network)))

    def many(seed: int) -> None:
        arrays = arguments(seed)
        expected = numpy_network(*arrays)
        for _ in range(50):
            assert_within(step(arrays)[0], expected, 1e-12 * np.ones(X.shape))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(many, range(8)))


def test_results_are_fresh_and_calls_repeat() -> None:
    step = Step(fused(build([X, W, ROW], network)))
    arrays = arguments(1)
    first, second = step(arrays)[0], step(arrays)[0]
    assert not np.shares_memory(first, second)
    assert_same(first, second)
    first[:] = 0.0
    assert_same(step(arrays)[0], second)


def test_several_steps_live_side_by_side() -> None:
    steps = [compiled(build([ROW], lambda x, n=n: x + float(n))) for n in range(4)]
    x = np.arange(30.0)
    del steps[1]
    for step, n in zip(steps, (0, 2, 3), strict=True):
        assert_same(step(x)[0], x + n)


# ---- checks --------------------------------------------------------------------------------------

PICK = parse("""\
graph pick(%x: f64[5], %i: i64[4]) {
  %low: bool[4] = greater_equal(%i, 0)
  %high: bool[4] = less(%i, 5)
  %ok: bool[4] = logical_and(%low, %high)
  check(%ok, %i, error="IndexError", message="index {value} is out of range")  # pick.py:7
  %y: f64[4] = take(%x, %i, axis=0)
  return %y
}""")


def test_a_failed_check_names_line_and_value() -> None:
    step = Step(fused(PICK))
    x = np.arange(5.0)
    assert_same(step([x, np.array([4, 0, 0, 2])])[0], np.array([4.0, 0.0, 0.0, 2.0]))
    with pytest.raises(IndexError) as caught:
        step([x, np.array([1, 9, -3, 7])])
    assert str(caught.value) == "pick.py:7: index 9 is out of range"
    assert isinstance(caught.value, errors.IndexOutOfRangeError)
    assert_same(step([x, np.array([1, 1, 1, 1])])[0], np.ones(4))


def test_the_first_check_that_fails_is_the_one_that_is_named() -> None:
    def make(n: Value) -> Value:
        for limit in (3, 2):
            op("check")(less(n, limit), n, error="ValueError", message=f"{limit}: {{value}}")
        return n

    run = compiled(build([Type("i64")], make))
    for value, message in ((5, "3: 5"), (2, "2: 2")):
        with pytest.raises(errors.CheckFailedError, match=message):
            run(np.int64(value))


# ---- conditionals --------------------------------------------------------------------------------


def guarded(x: Value, i: Value) -> Value:
    """x[i] where i is in range, else 0: the branch checks again."""

    def inside(a: Value, j: Value) -> Value:
        op("check")(less(j, 5), j, error="IndexError", message="{value}")
        return op("take")(a, j, axis=0)

    fits = logical_and(greater(i, -1), less(i, 5))
    return cond(fits, [x, i], inside, lambda a, j: a.builder.literal(0.0, Type("f64")))


@pytest.mark.parametrize(("index", "expected"), [(3, 3.0), (5, 0.0), (-1, 0.0), (2**62, 0.0)])
def test_a_check_in_the_untaken_branch_does_not_run(index: int, expected: float) -> None:
    run = compiled(build([Type("f64", (5,)), Type("i64")], guarded))
    assert run(np.arange(5.0), np.int64(index))[0] == expected


def test_branches_that_divide_by_zero() -> None:
    def make(n: Value, m: Value) -> Value:
        quotient = op("floor_divide")
        return cond(greater(m, 0), [n, m], quotient, lambda a, b: quotient(a, b.literal(0)))

    run = compiled(build([Type("i64")] * 2, make))
    assert run(np.int64(7), np.int64(2))[0] == 3
    assert run(np.int64(7), np.int64(0))[0] == 0  # NumPy's answer


# ---- memory --------------------------------------------------------------------------------------

GUARD = 64


def guarded_array(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`values` in the middle of a block of canaries, and the block."""
    block = np.full(values.size + 2 * GUARD, 77, values.dtype)
    inside = block[GUARD : GUARD + values.size].reshape(values.shape)
    inside[...] = values
    return inside, block


POSITIONS = np.array([0, -1, 6, 5, 2**62, -(2**62), 2, np.iinfo(np.int64).min])


@pytest.mark.parametrize("dtype", ["f32", "f64", "i32", "i64"])
@pytest.mark.parametrize("shape", [(6,), (6, 3), (6, 19)])
def test_scatter_stays_inside(dtype: str, shape: tuple[int, ...]) -> None:
    """Positions far outside go to the ends; nothing around the updated array is touched."""
    kind = Type(dtype, shape)
    values = Type(dtype, (len(POSITIONS), *shape[1:]))
    graph = build(
        [kind, Type("i64", POSITIONS.shape), values],
        lambda x, at, v: op("scatter_add")(x, at, v, axis=0),
    ).replace(updates=((0, 0),))
    x, block = guarded_array(np.zeros(shape, kind.numpy_dtype))
    v, _ = guarded_array(np.ones(values.shape, kind.numpy_dtype))
    Step(fused(graph))([x, POSITIONS, v])
    expected = np.zeros(shape, kind.numpy_dtype)
    np.add.at(expected, np.clip(POSITIONS, 0, 5), v)
    assert_same(x, expected)
    assert (block[:GUARD] == 77).all() and (block[-GUARD:] == 77).all()


@pytest.mark.parametrize("shape", [(5,), (16,), (17,), (3, 5), (33, 3), (7, 1)])
def test_kernels_write_nothing_outside(shape: tuple[int, ...]) -> None:
    """In place over an argument in the middle of canaries: tails of vectors are masked."""
    for dtype in ("f32", "f64", "i32", "bool"):
        kind = Type(dtype, shape)
        make = (lambda x: op("logical_not")(x)) if dtype == "bool" else (lambda x: x + 1)
        graph = build([kind], make).replace(updates=((0, 0),))
        x, block = guarded_array(np.zeros(shape, kind.numpy_dtype))
        canaries = block.copy()
        Step(fused(graph))([x])
        assert (x == 1).all()
        assert_same(block[:GUARD], canaries[:GUARD])
        assert_same(block[-GUARD:], canaries[-GUARD:])


def test_arguments_need_no_alignment() -> None:
    """Of more than their elements: a slice of an array is an argument like any other."""
    run = Step(fused(build([Type("f64", (21,))], exp)))
    base = np.linspace(0, 1, 40)
    for start in range(5):
        part = base[start : start + 21]
        np.testing.assert_allclose(run([part])[0], np.exp(part), rtol=1e-15)


# ---- what it is made of --------------------------------------------------------------------------


def test_fastmath_only_when_asked_for() -> None:
    graph = fused(build([X], lambda x: op("sum")(x, axes=(0, 1))))
    assert "reassoc" not in Step(graph).text
    fast = Step(graph, fastmath=True)
    assert "reassoc" in fast.text
    assert fast([np.ones(X.shape)])[0] == 1200.0


def test_kernel_names_are_those_of_the_functions() -> None:
    step = Step(fused(build([X, W, ROW], network)))
    names = step.kernel_names()
    assert len(names) == 2
    assert all(f"@{name}(" in step.text for name, _, _ in names)


def test_casts_between_every_dtype_in_one_kernel() -> None:
    def make(x: Value) -> Value:
        for dtype in ("i32", "f32", "i64", "bool", "f64"):
            x = cast(x, dtype=dtype)
        return x

    assert_same(compiled(build([ROW], make))(np.arange(30.0) - 3)[0], (np.arange(30) != 3) * 1.0)
