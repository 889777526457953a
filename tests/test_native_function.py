"""A step as a C function: from ctypes, from numba, from a C program."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import graphc as gc
from graphc import errors

pytestmark = pytest.mark.cpu_only("a step as a C function")


def model(p, x, scale):
    hidden = np.tanh(x @ p["w"]) * scale
    return {"sum": hidden.sum(), "hidden": hidden}


W = np.arange(6.0).reshape(2, 3) * 0.1
X = np.ones((4, 2))


@pytest.fixture(scope="module")
def exported():
    return gc.compile(model).address({"w": W}, X, 2.0)


def results():
    return [np.empty(()), np.empty((4, 3))]


def test_what_it_says_of_itself(exported):
    assert exported.signature == "int64_t step(void *const *arguments, void *const *results)"
    shown = [str(operand) for operand in (*exported.arguments, *exported.results)]
    assert shown == [
        "float64 p['w'][2][3]",
        "float64 x[4][2]",
        "float64 scale",
        "float64 result['sum']",
        "float64 result['hidden'][4][3]",
    ]
    assert exported.updates == ()


def pointers(arrays):
    return (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))


def test_from_ctypes(exported):
    function = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)(exported.address)
    got = results()
    assert function(pointers([W, X, np.array(2.0)]), pointers(got)) == 0
    want = model({"w": W}, X, 2.0)
    np.testing.assert_allclose(got[0], want["sum"])
    np.testing.assert_allclose(got[1], want["hidden"])


def test_many_threads_at_once():
    """The step owns one arena; who comes meanwhile gets memory of its own."""

    @gc.compile(threads=1)
    def f(x):
        return np.exp(x @ x) @ x

    x = np.random.default_rng(0).normal(size=(40, 40)) * 0.1
    native, want = f.address(x), f(x)

    def many(_):
        y = np.empty_like(x)
        for _ in range(100):
            assert native([x], [y]) == 0
            assert np.array_equal(y, want)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(many, range(4)))


def test_updates_in_place_and_constants():
    table = np.arange(3.0)

    def step(w, g):
        w -= g * table

    native = gc.compile(step).address(np.ones(3), np.ones(3))
    w, g = np.ones(3), np.full(3, 2.0)
    assert native.updates == ("w",)
    assert native([w, g], []) == 0
    assert np.array_equal(w, 1 - 2 * table)
    assert isinstance(native.error(native([w, w], [])), errors.OverlapError)


def test_a_failed_check():
    native = gc.compile(lambda x, i: x[i]).address(np.ones(3), 1)
    y = np.empty(())
    assert native([np.arange(3.0), np.array(2)], [y]) == 0
    assert y == 2.0
    assert native.error(0) is None
    error = native.error(native([np.arange(3.0), np.array(7)], [y]))
    assert isinstance(error, IndexError)
    assert "test_native_function.py" in str(error)


def test_a_method_has_an_address():
    class Model:
        w = 3.0

        @gc.compile
        def step(self, x):
            return x * self.w

    y = np.empty(2)
    assert Model().step.address(np.ones(2))([np.ones(2)], [y]) == 0
    assert np.array_equal(y, [3.0, 3.0])


def test_it_outlives_the_function_that_it_was_made_of():
    native = gc.compile(lambda x: x + np.ones(3)).address(np.ones(3))
    y = np.empty(3)
    assert native([np.ones(3)], [y]) == 0
    assert np.array_equal(y, np.full(3, 2.0))


@pytest.mark.slow
def test_from_numba(exported):
    numba = pytest.importorskip("numba")
    function = exported.ctypes

    @numba.njit
    def call(w, x, scale, total, hidden):
        arguments = np.array([w.ctypes.data, x.ctypes.data, scale.ctypes.data], np.uint64)
        found = np.array([total.ctypes.data, hidden.ctypes.data], np.uint64)
        return function(arguments.ctypes, found.ctypes)

    total, hidden = np.empty(1), np.empty((4, 3))
    assert call(W, X, np.array([2.0]), total, hidden) == 0
    np.testing.assert_allclose(hidden, model({"w": W}, X, 2.0)["hidden"])


C_PROGRAM = r"""
#include <stdint.h>

typedef int64_t step(void *const *arguments, void *const *results);

int64_t twice(step *f, double *w, double *x, double scale, double *total, double *hidden) {
    void *arguments[] = {w, x, &scale}, *results[] = {total, hidden};
    int64_t status = f(arguments, results);
    return status ? status : f(arguments, results);
}
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler")
def test_from_c(exported, tmp_path):
    source, library = tmp_path / "twice.c", tmp_path / "twice.so"
    source.write_text(C_PROGRAM)
    subprocess.run(["gcc", "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    twice = ctypes.CDLL(str(library)).twice
    twice.restype = ctypes.c_int64
    address = ctypes.c_void_p(exported.address)
    found = results()
    w, x, total, hidden = (ctypes.c_void_p(array.ctypes.data) for array in (W, X, *found))
    assert twice(address, w, x, ctypes.c_double(2.0), total, hidden) == 0
    np.testing.assert_allclose(found[1], model({"w": W}, X, 2.0)["hidden"])
