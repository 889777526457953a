"""Donated arguments: results in their memory, and no use of them afterwards."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc import errors


def memory(array: np.ndarray) -> int:
    return int(array.ctypes.data)


@gc.compile(donate=("params",))
def step(params, grads):
    return {name: params[name] - 0.5 * grads[name] for name in params}, np.sum(grads["b"])


def parameters() -> dict[str, np.ndarray]:
    return {"w": np.ones((3, 4), np.float32), "b": np.ones(4, np.float32)}


@pytest.mark.cpu_only("the memory of NumPy's arrays")
def test_results_lie_in_the_memory_of_donated_arguments() -> None:
    params, grads = parameters(), parameters()
    places = {name: memory(array) for name, array in params.items()}
    for k in range(1, 4):
        params, total = step(params, grads)
        assert total == 4.0
        assert {name: memory(array) for name, array in params.items()} == places
        np.testing.assert_array_equal(params["w"], np.full((3, 4), 1 - 0.5 * k, np.float32))
    np.testing.assert_array_equal(grads["w"], np.ones((3, 4)))


def test_a_donated_array_is_refused() -> None:
    params = parameters()
    step(params, parameters())
    with pytest.raises(errors.DonatedError, match=r"params\['w'\] was donated .* pass a copy") as e:
        step(params, parameters())
    assert "test_donation.py:" in str(e.value)
    other = gc.compile(lambda x: x + 1)
    other(np.ones(3))
    with pytest.raises(errors.DonatedError, match="x was donated"):
        other(params["b"])
    np.testing.assert_array_equal(other(np.ones(3)), np.full(3, 2.0))


def test_what_is_returned_may_be_passed_on() -> None:
    new, _ = step(parameters(), parameters())
    double = gc.compile(lambda x: x * 2)
    np.testing.assert_array_equal(double(new["b"]), np.ones(4))


def test_old_values_are_read_before_they_are_lost() -> None:
    """Each result of a swap needs the value that the other one takes the place of."""
    swap = gc.compile(lambda a, b: (b[::-1] + 0.0, a[::-1] + 0.0), donate=("a", "b"))
    a, b = np.arange(9.0), np.arange(9.0) * 10
    expected = b[::-1].copy(), a[::-1].copy()
    for got, wanted in zip(swap(a, b), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_arguments_without_a_result_of_their_type() -> None:
    total = gc.compile(lambda x: np.sum(x), donate="x")
    x = np.ones(5)
    assert total(x) == 5.0
    np.testing.assert_array_equal(x, np.ones(5))
    with pytest.raises(errors.DonatedError):
        total(x)


def test_arrays_that_cannot_be_written_as_they_are() -> None:
    double = gc.compile(lambda x: x * 2, donate="x")
    np.testing.assert_array_equal(double(np.arange(8.0)[::2]), [0, 4, 8, 12])
    fixed = np.arange(4.0)
    fixed.flags.writeable = False
    with pytest.raises(errors.ReadOnlyError, match=r"x is .*read-only"):
        double(fixed)


def test_an_array_that_is_passed_twice_is_not_donated() -> None:
    add = gc.compile(lambda x, y: x + y, donate=("x", "y"))
    x = np.ones(4)
    np.testing.assert_array_equal(add(x, x), np.full(4, 2.0))
    np.testing.assert_array_equal(x, np.ones(4))


@pytest.mark.cpu_only("the memory of NumPy's arrays")
def test_an_argument_that_is_assigned_to_and_returned() -> None:
    @gc.compile(donate="x")
    def f(x):
        x += 1
        return x

    x = np.zeros(3)
    y = f(x)
    assert memory(y) == memory(x) and y is not x
    np.testing.assert_array_equal(f(y), np.full(3, 2.0))


def test_donated_memory_is_not_counted_twice() -> None:
    def f(x):
        return x * 2

    x = np.zeros(1000)
    plain, saving = gc.compile(f).explain(x), gc.compile(f, donate="x").explain(x)
    assert plain.peak_bytes - saving.peak_bytes == 8000


def test_a_name_that_the_function_does_not_take() -> None:
    with pytest.raises(errors.ArgumentError, match=r"donate names 'y', .* takes \(x\)"):
        gc.compile(lambda x: x, donate=("y",))


def test_names_of_donated_arguments_are_names():
    for wrong in (5, (0,), [None]):
        with pytest.raises(errors.ArgumentError, match="names no arguments; give a name"):
            gc.compile(lambda x: x, donate=wrong)
