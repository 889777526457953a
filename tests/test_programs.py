"""Plain NumPy programs give the same compiled as run by NumPy: values, gradients, updates."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import programs_loops  # noqa: F401 - adds to PROGRAMS
import pytest
from programs import PROGRAMS, Program

import graphc as gc
from graphc.equal import structurally_equal
from graphc.ir import Graph, all_eqns
from graphc.trace import tree

TOLERANCE = {"f": {4: (2e-6, 1e-6), 8: (1e-12, 1e-12)}}
STAGES = ("traced", "optimized", "fused")

programs = pytest.mark.parametrize("program", PROGRAMS, ids=str)
with_gradient = [p for p in PROGRAMS if p.grad]


def run_plain(function: Callable[..., Any], args: Any) -> Any:
    with np.errstate(all="ignore"):
        return function(*args)


def assert_same(got: Any, wanted: Any) -> None:
    """Equal structure, dtypes, shapes, and values within the design's tolerances."""
    leaves, structure = tree.flatten(got)
    expected, shape_of = tree.flatten(wanted)
    assert repr(structure) == repr(shape_of)
    for a, b in zip(leaves, map(np.asarray, expected), strict=True):
        a = np.asarray(a)
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        relative, absolute = TOLERANCE.get(b.dtype.kind, {}).get(b.itemsize, (0, 0))
        np.testing.assert_allclose(a, b, rtol=relative, atol=absolute)


def copies(value: Any) -> Any:
    return copy.deepcopy(value)


@programs
def test_values_and_updates(program: Program) -> None:
    compiled = gc.compile(program.function)
    for case in program.cases:
        plain, given = copies(case), copies(case)
        wanted = run_plain(program.function, plain)
        assert_same(compiled(*given), wanted)
        assert_same(given, plain)


@programs
def test_graph(program: Program) -> None:
    """The number of conditionals, the text of every stage, and the interpreter."""
    for case in program.cases:
        compiled = gc.compile(program.function)
        graphs = {stage: compiled.graph(*copies(case), stage=stage) for stage in STAGES}
        if program.conds is not None:
            assert conds(graphs["traced"]) == program.conds
        for graph in graphs.values():
            assert structurally_equal(gc.parse(str(graph)), graph)
        leaves = tree.flatten(copies(case))[0]
        arrays = [
            np.asarray(leaf, p.type.numpy_dtype)
            for leaf, p in zip(leaves, graphs["traced"].params, strict=True)
        ]
        for a, b in zip(
            gc.evaluate(graphs["traced"], *arrays),
            gc.evaluate(graphs["fused"], *arrays),
            strict=True,
        ):
            assert_same(b, a)


def conds(graph: Graph) -> int:
    return sum(eqn.op.name == "cond" for eqn in all_eqns(graph))


def as_loss(program: Program, weights: list[np.ndarray]) -> Callable[..., Any]:
    """The program's floating-point results as one number."""

    def loss(*args):
        total = 0.0
        k = 0
        for leaf in tree.flatten(program.function(*args))[0]:
            if isinstance(leaf, int) or (not isinstance(leaf, float) and leaf.dtype.kind != "f"):
                continue
            total = total + np.sum(leaf * weights[k])
            k += 1
        return total

    return loss


@pytest.mark.parametrize("program", with_gradient, ids=str)
def test_gradients(program: Program) -> None:
    for case in program.cases:
        loss, args = prepare(program, case)
        gradients = gc.grad(loss, argnums=program.grad)(*copies(args))
        check_direction(loss, args, program.grad, gradients)


@pytest.mark.parametrize("program", [p for p in PROGRAMS if p.second], ids=str)
def test_second_derivatives(program: Program) -> None:
    for case in program.cases:
        loss, args = prepare(program, case)
        direction = [tree.map_leaves(random_like, args[i]) for i in program.grad]

        def slope(*args, loss=loss, direction=direction):
            gradients = gc.grad(loss, argnums=program.grad)(*args)
            pairs = zip(tree.flatten(gradients)[0], tree.flatten(direction)[0], strict=True)
            return sum(np.sum(g * d) for g, d in pairs)

        gradients = gc.grad(slope, argnums=program.grad)(*copies(args))
        check_direction(gc.compile(slope), args, program.grad, gradients)


def prepare(program: Program, case: tuple[Any, ...]) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    result = tree.flatten(run_plain(program.function, copies(case)))[0]
    floats = [np.asarray(x) for x in result if np.asarray(x).dtype.kind == "f"]
    weights = [np.random.default_rng(1).uniform(0.5, 1.5, x.shape) for x in floats]
    return as_loss(program, weights), case


def random_like(leaf: Any) -> Any:
    return np.random.default_rng(2).uniform(-1, 1, np.shape(leaf))


def check_direction(
    loss: Callable[..., Any], args: tuple[Any, ...], argnums: tuple[int, ...], gradients: Any
) -> None:
    """The gradient along one random direction against a central finite difference."""
    step = 1e-6
    direction = [tree.map_leaves(random_like, args[i]) for i in argnums]
    assert_same(tree.map_leaves(np.zeros_like, gradients), zeros(args, argnums))

    def moved(by: float) -> Any:
        changed = list(copies(args))
        for i, d in zip(argnums, direction, strict=True):
            leaves, structure = tree.flatten(changed[i])
            steps = tree.flatten(d)[0]
            changed[i] = tree.unflatten(
                structure, [x + by * s for x, s in zip(leaves, steps, strict=True)]
            )
        return run_plain(loss, changed)

    slope = (moved(step) - moved(-step)) / (2 * step)
    pairs = zip(tree.flatten(gradients)[0], tree.flatten(direction)[0], strict=True)
    along = sum(np.sum(g * d) for g, d in pairs)
    np.testing.assert_allclose(along, slope, rtol=2e-6, atol=2e-7)


def zeros(args: tuple[Any, ...], argnums: tuple[int, ...]) -> Any:
    return tuple(
        tree.map_leaves(lambda x: np.zeros_like(np.asarray(x))[()], args[i]) for i in argnums
    )


def test_products_of_equal_shapes_and_other_strides_are_two_kernels():
    """Kernels are shared by all that they do, strides of a product included."""
    left, right = np.random.default_rng(0).standard_normal((2, 5, 5))
    first, second = gc.compile(lambda a, b: (a @ b, a.T @ b))(left, right)
    np.testing.assert_allclose(first, left @ right)
    np.testing.assert_allclose(second, left.T @ right)


def test_a_partly_assigned_copy_of_a_view_is_written_back():
    def reverse_but_first(x):
        y = x[::-1].copy()
        y[0] = 9.0
        x[:] = y

    compiled, plain = np.arange(5.0), np.arange(5.0)
    gc.compile(reverse_but_first)(compiled)
    reverse_but_first(plain)
    np.testing.assert_array_equal(compiled, plain)


def test_a_chosen_array_is_not_read_after_its_choice_was_assigned_to():
    def stale(x, y, p):
        z = x if p > 0 else y
        x += 1.0
        return z

    with pytest.raises(gc.errors.StaleValueError, match="copy"):
        gc.compile(stale)(np.zeros(2), np.ones(2), 1.0)


@pytest.mark.parametrize(
    "program",
    [
        lambda x: np.sum(np.where(x > 0, np.log(x), 0.0)),
        lambda x: np.sum(np.where(x > 0, np.sqrt(x) * 3.0, -x)),
        lambda x: np.sum(np.where(x > 0, 1.0 / x, x**2)),
        lambda x: np.sum(np.where(np.sum(x) > 100, np.sqrt(np.sum(x) - 100), 1.0) * x),
    ],
)
def test_the_side_that_where_did_not_choose_does_not_poison_the_gradient(program):
    x = np.array([-1.0, 0.0, 1.0, 4.0])
    gradient = gc.grad(program)(x)
    assert np.isfinite(gradient).all()
    away = x != 0.0  # at 0 itself the sides do not meet
    for i in np.flatnonzero(away):
        step = np.eye(len(x))[i] * 1e-6
        with np.errstate(all="ignore"):
            slope = (program(x + step) - program(x - step)) / 2e-6
        np.testing.assert_allclose(gradient[i], slope, rtol=1e-5, atol=1e-8)


def test_a_small_result_beside_an_empty_array_is_made():
    """A loop over no elements must not carry the work of another shape."""
    value, empty = gc.compile(lambda x, s: (np.sin(s), x * np.sin(s)))(np.zeros(0), 0.5)
    assert value == pytest.approx(np.sin(0.5)) and empty.shape == (0,)
    row, empty = gc.compile(lambda x, b: (np.tanh(b), x * np.tanh(b)))(np.ones((0, 3)), np.ones(3))
    np.testing.assert_allclose(row, np.tanh(np.ones(3)))
    assert empty.shape == (0, 3)


def test_python_ints_as_arguments_keep_their_value_beside_int32():
    x = np.array([0, 5], np.int32)
    np.testing.assert_array_equal(gc.compile(lambda x, k: x < k)(x, 2**31), [True, True])
    np.testing.assert_array_equal(gc.compile(lambda x, k: x == k)(x, 2**40), [False, False])
    add = gc.compile(lambda x, k: x + k)
    assert add(x, 7).dtype == np.int32
    with pytest.raises(OverflowError, match="Python integer 2147483648 out of bounds for int32"):
        add(x, 2**31)


@pytest.mark.parametrize("dtype", ["i4", "i8", "f4", "f8"])
def test_fmod_at_the_edges(dtype):
    smallest = np.iinfo(dtype).min if dtype[0] == "i" else -0.0
    x = np.array([1, -7, 7, -7, smallest, 5, smallest], dtype)
    y = np.array([smallest or 1, 3, -3, -3, -1, 0, 3], dtype)
    with np.errstate(all="ignore"):
        expected = np.fmod(x, y)
    result = gc.compile(lambda a, b: np.fmod(a, b))(x, y)
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(np.signbit(result), np.signbit(expected))


def test_long_chains_and_long_sums():
    def chain(x):
        for _ in range(1500):
            x = x * 1.0001 + 0.1
        return x

    np.testing.assert_allclose(gc.compile(chain)(np.ones(3)), chain(np.ones(3)), rtol=1e-12)
    tenths = np.full(10_000_000, 0.1, np.float32)
    total = gc.compile(lambda x: x.sum())(tenths)
    assert abs(total / (10_000_000 * float(np.float32(0.1))) - 1) < 2e-6


def test_half_a_power_is_the_square_root():
    x = np.array([-0.0, -np.inf, 4.0])
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(gc.compile(lambda x: x**0.5)(x), x**0.5)


def test_an_argument_is_named_once_in_argnums():
    with pytest.raises(gc.errors.ArgumentError, match="names an argument twice"):
        gc.grad(lambda a, b: a * b, argnums=(0, 0))(1.0, 2.0)
