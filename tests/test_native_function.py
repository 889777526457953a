"""The address of a step: called by ctypes, by numba, with constants, updates and failing checks."""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.runtime.native_function import NativeFunction


def call(native: NativeFunction, *arguments: np.ndarray) -> tuple[int, int, list[np.ndarray]]:
    """Status, failing value and results."""
    results = [np.empty(t.shape, t.numpy_dtype) for t in native.results]
    addresses = [a.ctypes.data for a in (*arguments, *results)] + list(native.constants)
    arrays = np.array(addresses, np.uint64)
    arena = np.empty(native.arena_bytes + 64, np.uint8)
    failing = np.zeros(1, np.int64)
    start = arena.ctypes.data + -arena.ctypes.data % 64
    status = native.ctypes(arrays.ctypes.data, start, failing.ctypes.data)
    return status, int(failing[0]), results


def softmax(x: Any, scale: Any) -> Any:
    e = np.exp((x - x.max(axis=1, keepdims=True)) * scale)
    return e / e.sum(axis=1, keepdims=True), e.sum()


def test_it_gives_what_the_step_gives() -> None:
    x = np.random.default_rng(0).standard_normal((5, 7))
    compiled = gc.compile(softmax)
    native = compiled.address(x, 2.0)
    status, _, results = call(native, x, np.array(2.0))
    assert status == 0
    for got, expected in zip(results, compiled(x, 2.0)):
        np.testing.assert_array_equal(got, expected)
    assert repr(native).endswith(": (f64[5,7], f64[]) -> (f64[5,7], f64[])>")


def test_constants_are_handed_over() -> None:
    weights = np.arange(4.0)
    native = gc.compile(lambda x: x * weights).address(gc.Spec((4,), "f64"))
    assert len(native.constants) == 1
    np.testing.assert_array_equal(call(native, np.full(4, 2.0))[2][0], weights * 2)


def test_updates_are_written_in_place_and_overlaps_refused() -> None:
    def decay(w: Any, g: Any) -> None:
        w -= 0.5 * g

    native = gc.compile(decay).address(np.ones(3), np.ones(3))
    memory = np.ones(6)
    assert native.results == () and call(native, memory[:3], memory[3:])[0] == 0
    np.testing.assert_array_equal(memory, [0.5, 0.5, 0.5, 1.0, 1.0, 1.0])
    assert call(native, memory[:3], memory[1:4])[0] == -1


def test_a_failing_check_has_a_number_and_a_value() -> None:
    native = gc.compile(lambda x, i: x[i]).address(np.ones(3), 1)
    assert call(native, np.ones(3), np.array(7))[:2] == (1, 7)


def test_threads_bring_their_own_memory() -> None:
    inputs = [np.random.default_rng(i).standard_normal((20, 30)) for i in range(4)]
    native = gc.compile(softmax).address(inputs[0], 1.0)
    expected = [softmax(x, 1.0)[0] for x in inputs]
    wrong: list[int] = []

    def run(i: int) -> None:
        for _ in range(50):
            if not np.allclose(call(native, inputs[i], np.array(1.0))[2][0], expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_code_outlives_the_compiled_function() -> None:
    native = gc.compile(lambda x: x + 1.0).address(np.ones(2))
    np.testing.assert_array_equal(call(native, np.ones(2))[2][0], [2.0, 2.0])


def test_a_method_has_an_address() -> None:
    class Model:
        w = 3.0

        @gc.compile
        def step(self, x: Any) -> Any:
            return x * self.w

    native = Model().step.address(np.ones(2))
    np.testing.assert_array_equal(call(native, np.ones(2))[2][0], [3.0, 3.0])


def test_numba_calls_it() -> None:
    numba = pytest.importorskip("numba")
    native = gc.compile(lambda x: np.tanh(x) * 2.0).address(np.ones(4))
    step = native.ctypes
    assert isinstance(step, ctypes._CFuncPtr)

    @numba.njit
    def many(x: Any, out: Any, arrays: Any, arena: Any, failing: Any, times: Any) -> Any:
        arrays[0], arrays[1] = x.ctypes.data, out.ctypes.data
        status = 0
        for _ in range(times):
            status |= step(arrays.ctypes.data, arena.ctypes.data, failing.ctypes.data)
        return status

    x, out = np.arange(4.0), np.empty(4)
    arrays, failing = np.zeros(2, np.uint64), np.zeros(1, np.int64)
    block = np.empty(native.arena_bytes + 128, np.uint8)
    arena = block[-block.ctypes.data % 64 :]
    assert many(x, out, arrays, arena, failing, 3) == 0
    np.testing.assert_allclose(out, np.tanh(x) * 2, rtol=1e-14)
