"""Calls that differ in sizes alone: one trace for all of them, and what `explain` says of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from test_trace_sizes import cross_entropy, layer_norm, sgd

import graphc as gc
from graphc import errors, symbolic
from graphc.binding import bind
from graphc.symbolic import ENTRIES, Family

Spec = gc.Spec
rng = np.random.default_rng(5)


def counted(function: Callable[..., Any]) -> tuple[Any, list[int]]:
    """The function compiled, and a list that grows by one each time that it is traced."""
    traces: list[int] = []

    def run(*args: Any) -> Any:
        traces.append(1)
        return function(*args)

    return gc.compile(run), traces


def rows(count: int, width: int = 3) -> np.ndarray:
    return rng.standard_normal((count, width))


@pytest.mark.cpu_only("code for all sizes")
def test_two_hundred_batch_sizes_are_two_traces() -> None:
    compiled, traces = counted(lambda x, w: np.tanh(x @ w).mean(0) + len(x))
    w = rows(3, 4)
    for count in range(2, 202):
        x = rows(count)
        np.testing.assert_allclose(compiled(x, w), np.tanh(x @ w).mean(0) + count, rtol=1e-12)
    assert len(traces) == 2
    ((known,),) = (family.entries for family in compiled._families.values())
    assert known.steps is not None and known.steps.compilations == 1


@pytest.mark.cpu_only("its entry point")
def test_a_new_size_answers_what_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole trace is neither bound nor verified again, unless a rule needs the number."""
    bound: list[int] = []

    def binding(graph: Any, sizes: dict[str, int]) -> Any:
        bound.append(sizes.get("n", -1))
        return bind(graph, sizes)

    monkeypatch.setattr(symbolic, "bind", binding)
    plain, sliced = gc.compile(lambda x: np.tanh(x).sum(0)), gc.compile(lambda x: x[2:] * 2.0)
    for count in (4, 5, 6, 7):
        x = rows(count)
        np.testing.assert_allclose(plain(x), np.tanh(x).sum(0), rtol=1e-12)
    assert bound == []
    for count in (4, 5, 6, 7, 3, 2):
        x = rows(count)
        np.testing.assert_array_equal(sliced(x), x[2:] * 2.0)
    assert set(bound) <= {2, -1}  # two elements are sliced by a trace of their own


@pytest.mark.cpu_only("its entry point")
def test_sizes_that_were_met_stay_in_the_native_entry_point() -> None:
    compiled, _ = counted(lambda x: x * len(x))
    arrays = [rows(n) for n in (4, 5, 6, 7)]
    for x in (*arrays, *arrays):
        np.testing.assert_array_equal(compiled(x), x * len(x))
    for x in arrays[1:]:  # the first has a trace of its own
        np.testing.assert_array_equal(compiled._fast(x), x * len(x))


def test_a_training_step_of_any_batch_size() -> None:
    params = [(rows(20, 16) / 4, np.zeros(16)), (rows(16, 10) / 4, np.zeros(10))]
    compiled, traces = counted(sgd)
    for count in (8, 5, 32, 2, 17):
        x, y = rows(count, 20), rng.integers(0, 10, count)
        loss, new = compiled(params, x, y)
        np.testing.assert_allclose(loss, cross_entropy(params, x, y), rtol=1e-12)
        _, grads = gc.value_and_grad(cross_entropy)(params, x, y)
        np.testing.assert_allclose(new[0][0], params[0][0] - 0.1 * grads[0][0], rtol=1e-9)
    assert len(traces) == 2


def test_sizes_that_vary_apart_have_names_of_their_own() -> None:
    compiled, traces = counted(lambda x, y: x.sum() * y)
    for m, n in ((4, 4), (5, 5), (6, 7), (8, 9), (10, 10)):
        x, y = rows(m), rows(n)
        np.testing.assert_allclose(compiled(x, y), x.sum() * y, rtol=1e-12)
    assert len(traces) == 3
    assert [size.split(":")[0] for size in compiled.explain(rows(20), rows(30)).sizes] == [
        "n = args[0].shape[0]",
        "n1 = args[1].shape[0]",
    ]


def test_sizes_that_vary_together_are_one() -> None:
    compiled, traces = counted(lambda x, y: x + y)
    for n in (4, 5, 6):
        compiled(rows(n), rows(n))
    assert len(traces) == 2
    with pytest.raises(errors.ShapeError, match="do not broadcast"):
        compiled(rows(4), rows(6))


def test_zero_and_one_are_never_symbolic() -> None:
    compiled, traces = counted(lambda x: x - x.sum(0))
    for n in (5, 1, 0, 6, 1, 0, 7):
        x = rows(n)
        np.testing.assert_allclose(compiled(x), x - x.sum(0), rtol=1e-12)
    assert len(traces) == 4  # 5, 1, 0, and any other


@pytest.mark.parametrize("first", [1, 0])
def test_after_a_size_of_one_or_zero(first: int) -> None:
    compiled, traces = counted(lambda x: x - x.sum(0))
    for n in (first, 5, 6, 7, 8):
        x = rows(n)
        np.testing.assert_allclose(compiled(x), x - x.sum(0), rtol=1e-12)
    assert len(traces) == 3


def test_other_dtypes_are_another_family() -> None:
    compiled, traces = counted(lambda x: x * 2)
    for n in (4, 5, 6):
        compiled(rows(n))
        compiled(rows(n).astype(np.float32))
    assert len(traces) == 4


# ---- what holds for some sizes alone -------------------------------------------------------------


def test_a_branch_on_a_size_guards_the_trace() -> None:
    def function(x: Any) -> Any:
        return x * 2 if len(x) > 10 else x * 3

    compiled, traces = counted(function)
    for n in (4, 5, 6, 20, 30, 7, 40, 10, 11):
        x = rows(n)
        np.testing.assert_array_equal(compiled(x), function(x))
    assert len(traces) == 3
    (condition,) = compiled.explain(rows(40)).specialisations
    assert condition.startswith("10 < n: asked at") and "test_symbolic.py" in condition


def test_a_number_that_is_needed_fixes_the_size_and_explain_says_so() -> None:
    def function(x: Any) -> Any:
        return x * sum([0.5] * len(x))

    compiled, traces = counted(function)
    for n in (4, 5, 6, 5):
        x = rows(n)
        np.testing.assert_allclose(compiled(x), function(x), rtol=1e-12)
    report = compiled.explain(rows(6))
    assert report.sizes == ()
    assert any("the number that n stands for was needed at" in s for s in report.specialisations)
    assert "test_symbolic.py" in str(report)
    assert len(traces) <= 7  # each size once more, to begin anew with the number


def test_sizes_that_are_divided_are_multiples() -> None:
    compiled, traces = counted(lambda x: x.reshape(-1, 2, 3).sum(1) + len(x[::2]))
    for n in (32, 24, 16, 40, 36, 12, 28):
        x = rows(n)
        wanted = x.reshape(-1, 2, 3).sum(1) + n // 2
        np.testing.assert_allclose(compiled(x), wanted, rtol=1e-12)
    assert len(traces) <= 8  # at 24 and at 36: for n, n = 24, and for 8*n, then 4*n
    traced = len(traces)
    for n in (44, 48, 52, 400):
        compiled(rows(n))
    assert len(traces) == traced
    assert compiled.explain(rows(44)).sizes == ("4*n = args[0].shape[0]: any n from 2 upwards",)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: np.where(np.tril(np.ones((len(x), len(x)))) > 0, x @ x.T, -1e9),
        lambda x: np.triu(x @ x.T, 1) + np.tril(x @ x.T, -1) * 2,
        lambda x: np.corrcoef(x.T) + np.cov(x.T),
        lambda x: np.linalg.inv(x @ x.T + len(x) * np.eye(len(x))),
        lambda x: np.diag(x[:, 0]) + np.linalg.matrix_power(np.eye(len(x)) * 0.5, 2),
        lambda x: np.pad(x, ((0, 20 - len(x)), (0, 0))),
        lambda x: x + np.arange(len(x))[:, None] / 10 ** (np.arange(3) / 3),
    ],
)
def test_functions_that_know_no_number(function: Callable[..., Any]) -> None:
    compiled, traces = counted(function)
    for n in (4, 5, 9, 7):
        x = rows(n)
        np.testing.assert_allclose(compiled(x), function(x), rtol=1e-8, atol=1e-10)
    assert len(traces) == 2


def test_a_size_that_equals_another_by_chance() -> None:
    compiled, _ = counted(lambda x, y: x @ y if x.shape[1] == y.shape[0] else x.sum() * y)
    for n in (3, 4, 5, 3, 6):
        x, y = rows(n, 3), rows(n, 3)
        np.testing.assert_allclose(compiled(x, y), x @ y if n == 3 else x.sum() * y, rtol=1e-12)


def test_what_cannot_be_traced_for_every_size_is_traced_for_each() -> None:
    def function(x: Any) -> Any:
        return np.linalg.matrix_rank(x) + 0.0 * x.sum()

    compiled, traces = counted(function)
    for n in (4, 5, 6):
        x = rows(n)
        np.testing.assert_allclose(compiled(x), function(x))
    assert any("these sizes" in reason for reason in compiled.explain(rows(6)).specialisations)
    before = len(traces)
    for n in range(10, 20):
        compiled(rows(n))
    assert len(traces) - before <= 11  # it is given up soon


def test_errors_of_the_function_come_from_the_trace_of_the_sizes_at_hand() -> None:
    compiled, _ = counted(lambda x: x.reshape(4, 3))
    compiled(rows(4))
    with pytest.raises(errors.ShapeError, match=r"reshape an array of size 15 into shape \(4, 3\)"):
        compiled(rows(5))
    np.testing.assert_array_equal(compiled(rows(4)).shape, (4, 3))


def test_a_window_that_some_sizes_do_not_have() -> None:
    compiled, _ = counted(lambda x: x[2:].max(0))
    for n in (5, 6, 7, 3):
        x = rows(n)
        np.testing.assert_array_equal(compiled(x), x[2:].max(0))
    with pytest.raises(ValueError, match="no elements"):
        compiled(rows(2))


def test_ever_new_conditions_end_in_fixed_sizes() -> None:
    """A function that asks for another bound with each size does not collect traces without end."""

    def function(x: Any) -> Any:
        steps = 0
        while steps * steps < len(x):
            steps += 1
        return x * steps

    compiled, traces = counted(function)
    for n in range(2, 150, 7):
        x = rows(n)
        np.testing.assert_array_equal(compiled(x), function(x))
    (family,) = compiled._families.values()
    assert len(family.entries) <= ENTRIES
    assert len(traces) <= 22 + ENTRIES


def test_values_that_fix_a_trace_and_sizes_that_do_not() -> None:
    compiled, traces = counted(lambda x, k: x.reshape(-1, k))
    for n, k in ((4, 2), (6, 2), (8, 2), (9, 3), (12, 3)):
        x = rows(n, 2)
        np.testing.assert_array_equal(compiled(x, k), x.reshape(-1, k))
    assert len(traces) >= 3


def test_arrays_that_are_assigned_to() -> None:
    def function(x: Any, y: Any) -> None:
        x[1:] += y[:-1]
        x[0] = len(x)

    compiled, traces = counted(function)
    for n in (4, 5, 9):
        x, y = rows(n), rows(n)
        plain = x.copy()
        function(plain, y)
        compiled(x, y)
        np.testing.assert_allclose(x, plain, rtol=1e-12)
    assert len(traces) == 2


def test_donated_arguments() -> None:
    compiled = gc.compile(lambda state, x: state + x.sum(0), donate="state")
    for n in (4, 5, 6):
        x, state = rows(n), np.ones(3)
        np.testing.assert_allclose(compiled(state.copy(), x), 1 + x.sum(0), rtol=1e-12)


def test_the_same_array_twice() -> None:
    compiled, _ = counted(lambda x, y: x * y)
    for n in (4, 5, 6):
        x = rows(n)
        np.testing.assert_allclose(compiled(x, x), x * x, rtol=1e-12)


@pytest.mark.cpu_only("code for all sizes")
def test_where_code_cannot_be_shared_each_size_has_its_own(monkeypatch: Any) -> None:
    def fail(*args: Any) -> Any:
        raise NotImplementedError("no such kernel")

    monkeypatch.setattr("graphc.specialised.make_steps", fail)
    compiled, traces = counted(lambda x: x - x.mean(0))
    for n in (4, 5, 6, 5):
        x = rows(n)
        np.testing.assert_allclose(compiled(x), x - x.mean(0), rtol=1e-12)
    assert len(traces) == 2
    (reason,) = compiled.explain(rows(6)).specialisations
    assert reason == "these sizes, in machine code: NotImplementedError: no such kernel"


def test_text_and_functions_outside_of_the_step(capsys: Any) -> None:
    """They are called with arrays of known sizes."""

    def function(x: Any) -> Any:
        print(x, len(x))  # noqa: T201
        return x * 2

    compiled, traces = counted(function)
    for n in (2, 3, 4):
        compiled(np.ones(n))
        assert capsys.readouterr().out == f"{np.ones(n)} {n}\n"
    assert len(traces) == 2


def test_checks_name_the_number() -> None:
    compiled, traces = counted(lambda x, i: x[i])
    for n in (4, 5, 6):
        with pytest.raises(IndexError, match=f"index 9 is out of bounds for an axis of size {n}"):
            compiled(np.ones(n), 9)
    assert len(traces) == 2


@pytest.mark.cpu_only("code for all sizes")
def test_kernels_that_read_a_size() -> None:
    """A size is no kernel of its own."""
    compiled, _ = counted(lambda x: x.mean(0) / len(x))
    for n in (4, 5, 6):
        compiled(rows(n))
    report = compiled.explain(rows(6))
    assert len(report.kernels) == 1
    assert report.kernels[0].reads == ("f64[n,3]",) and report.kernels[0].bytes == 8 * (18 + 3)


# ---- named sizes ---------------------------------------------------------------------------------


def test_named_sizes_are_traced_up_front() -> None:
    compiled, traces = counted(lambda x: x - x.mean(0))
    graph = compiled.graph(Spec(("B", 3), "f64"), stage="fused")
    assert str(graph.in_types[0]) == "f64[B,3]" and len(traces) == 1
    report = compiled.explain(Spec(("B", 3), "f64"))
    assert report.sizes == ("B = args[0].shape[0]: any B from 2 upwards",)
    assert "for every B = args[0].shape[0]" in str(report)
    for n in (4, 7, 2):
        x = rows(n)
        np.testing.assert_allclose(compiled(x), x - x.mean(0), rtol=1e-12)
    assert len(traces) == 1


def test_expressions_of_named_sizes_are_checked() -> None:
    compiled, traces = counted(lambda x, y: x.sum() + y.sum())
    compiled.graph(Spec(("B", 3), "f64"), Spec(("2*B + 1",), "f64"))
    compiled(rows(4), np.ones(9))
    assert len(traces) == 1
    compiled(rows(4), np.ones(10))  # fits no longer: traced as any other call
    assert len(traces) == 2


@pytest.mark.cpu_only("a step as a C function")
def test_a_c_function_has_fixed_sizes() -> None:
    with pytest.raises(errors.ArgumentError, match="a C function has fixed sizes"):
        gc.compile(lambda x: x * 2).address(Spec(("B", 3), "f64"))


def test_a_named_size_that_the_function_needs_as_a_number() -> None:
    with pytest.raises(errors.UndecidedSizeError, match="number that B stands for"):
        gc.compile(lambda x: x * sum([0.5] * len(x))).explain(Spec(("B", 3), "f64"))


# ---- families ------------------------------------------------------------------------------------


def test_generalised_shapes() -> None:
    family = Family()
    assert family.generalised(((4, 3), None)) is None
    family.remember(((4, 3), (4,), None))
    assert str(family.generalised(((5, 3), (5,), None))) == "((n, 3), (n,), None)"
    assert str(family.generalised(((5, 3), (6,), None))) == "((n, 3), (n1,), None)"
    assert family.generalised(((1, 3), (1,), None)) is None
    family.remember(((1, 3), (1,), None))
    assert str(family.generalised(((5, 3), (4,), None))) == "((n, 3), (4,), None)"


def test_layer_norm_gradients() -> None:
    gradient, traces = counted(gc.grad(lambda *args: layer_norm(*args).sum()))
    fixed = gc.grad(lambda *args: (layer_norm(*args) ** 1).sum())
    gain, bias = rng.standard_normal(8), rng.standard_normal(8)
    for n in (4, 6, 11):
        x = rows(n, 8)
        np.testing.assert_allclose(gradient(x, gain, bias), fixed(x, gain, bias), atol=1e-9)
    assert len(traces) == 2


@pytest.mark.cpu_only("code for all sizes")
def test_explain_names_what_the_machine_code_is_for() -> None:
    compiled = gc.compile(lambda x: np.linalg.cholesky(x @ x.T + np.eye(3)[:1, :1] * 9.0) * 2.0)
    for n in (3, 4, 5):
        x = rows(n, n) + 9.0 * np.eye(n)
        np.testing.assert_allclose(compiled(x), np.linalg.cholesky(x @ x.T + 9.0) * 2.0, rtol=1e-9)
    (condition,) = compiled.explain(rows(5, 5)).specialisations
    assert condition == "machine code where n == 5; other sizes have code of their own"
    plain = gc.compile(lambda x: x.sum(0))
    for n in (3, 4, 5):
        plain(rows(n))
    assert plain.explain(rows(4)).specialisations == ()
