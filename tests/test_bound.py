"""A compiled function as a Python object: methods, copies, pickles, other processes, threads."""

from __future__ import annotations

import copy
import functools
import multiprocessing
import pickle
import threading
from typing import Any

import numpy as np
import pytest

import graphc as gc

X = np.arange(3.0)


@gc.compile
def scale(x: Any, factor: float = 2.0) -> Any:
    return x * factor


def plain(x: Any) -> Any:
    return x + 1.0


fast_sum = gc.compile(lambda x: x.sum(), fastmath=True)
other_name = gc.compile(plain)


class Model:
    def __init__(self, w: float) -> None:
        self.w = w

    @gc.compile
    def step(self, x: Any) -> Any:
        """One step."""
        return x * self.w

    @gc.compile
    @staticmethod
    def static(x: Any) -> Any:
        return x * 3.0

    @staticmethod
    @gc.compile
    def static_too(x: Any) -> Any:
        return x * 4.0

    @gc.compile
    @classmethod
    def of_class(cls, x: Any) -> Any:
        return x * len(cls.__name__)

    @classmethod
    @gc.compile
    def of_class_too(cls, x: Any) -> Any:
        return x * len(cls.__name__)

    @property
    @gc.compile
    def twice(self) -> Any:
        return np.multiply(self.w, 2.0)


# ---- methods -------------------------------------------------------------------------------------


def test_a_method_is_compiled_for_its_instance() -> None:
    first, second = Model(2.0), Model(3.0)
    for _ in range(2):
        np.testing.assert_array_equal(first.step(X), X * 2)
        np.testing.assert_array_equal(second.step(X), X * 3)
    np.testing.assert_array_equal(Model.step(first, X), X * 2)
    assert first.twice == 4.0


def test_a_method_has_what_a_compiled_function_has() -> None:
    model = Model(2.0)
    assert len(model.step.explain(X).kernels) == 1
    assert model.step.graph(X, stage="traced").in_types == model.step.graph(X).in_types
    assert model.step.__doc__ == "One step."
    assert model.step == model.step and model.step != Model(2.0).step
    assert len({model.step, model.step}) == 1
    assert repr(model.step).startswith("<bound <compiled function Model.step> of <")


@pytest.mark.parametrize("owner", [Model, Model(1.0)], ids=["class", "instance"])
def test_static_and_class_methods_in_either_order(owner: Any) -> None:
    np.testing.assert_array_equal(owner.static(X), X * 3)
    np.testing.assert_array_equal(owner.static_too(X), X * 4)
    np.testing.assert_array_equal(owner.of_class(X), X * 5)
    np.testing.assert_array_equal(owner.of_class_too(X), X * 5)


def test_it_looks_like_the_function() -> None:
    assert scale.__name__ == "scale" and repr(scale) == "<compiled function scale>"
    assert "partial" in repr(gc.compile(functools.partial(plain)))


def generator(x: Any) -> Any:
    yield x


async def coroutine(x: Any) -> Any:
    return x


async def both(x: Any) -> Any:
    yield x


@pytest.mark.parametrize("function", [generator, coroutine, both])
def test_generators_and_coroutines_are_refused(function: Any) -> None:
    with pytest.raises(gc.errors.ArgumentError, match="is a generator or a coroutine"):
        gc.compile(function)


# ---- copies and pickles --------------------------------------------------------------------------


@pytest.mark.parametrize("function", [scale, Model.step, fast_sum], ids=repr)
def test_a_copy_is_the_function(function: Any) -> None:
    assert copy.copy(function) is function and copy.deepcopy([function])[0] is function


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_decorated_function_is_pickled_by_its_name(protocol: int) -> None:
    for function in (scale, Model.step):
        assert pickle.loads(pickle.dumps(function, protocol)) is function


def test_a_function_compiled_under_another_name_is_pickled_with_its_options() -> None:
    for compiled in (other_name, gc.compile(plain, fastmath=True)):
        compiled(X)
        again = pickle.loads(pickle.dumps(compiled))
        assert again is not compiled and again._options == compiled._options
        np.testing.assert_array_equal(again(X), X + 1)


def test_a_bound_method_is_pickled_with_its_instance() -> None:
    again = pickle.loads(pickle.dumps(Model(5.0).step))
    np.testing.assert_array_equal(again(X), X * 5)


def test_what_python_cannot_pickle_is_its_error() -> None:
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(fast_sum)


@pytest.mark.cpu_only("its machine code on disk")
def test_another_process() -> None:
    scale(X)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(scale, (X, 3.0)).tolist() == [0.0, 3.0, 6.0]
        assert pool.apply(Model(5.0).step, (X,)).tolist() == [0.0, 5.0, 10.0]
        report = pool.apply(scale.explain, (X,))
    assert report.from_disk  # what this process has compiled


# ---- threads and nesting -------------------------------------------------------------------------


def test_threads_that_call_first_at_once() -> None:
    compiled = gc.compile(lambda x: np.exp(x).sum() + x[0])
    results: list[Any] = []
    gate = threading.Barrier(6)

    def run() -> None:
        gate.wait()
        results.append(compiled(X))

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [compiled(X)] * 6
    assert len(compiled._cache) == 1


def test_a_compiled_function_inside_of_another_is_a_part_of_it() -> None:
    outer = gc.compile(lambda x: scale(scale(x), factor=3.0) + Model(2.0).step(x))
    np.testing.assert_array_equal(outer(X), X * 8)
    assert len(outer.explain(X).kernels) == 1


def test_a_function_that_fails_can_be_called_again() -> None:
    @gc.compile
    def half(x: Any, fail: bool) -> Any:
        if fail:
            raise KeyError("a user's error")
        return x / 2

    for _ in range(2):
        with pytest.raises(KeyError, match="a user's error"):
            half(X, True)
        np.testing.assert_array_equal(half(X, False), X / 2)
