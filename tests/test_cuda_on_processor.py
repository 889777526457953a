"""What no device can run is run by the processor, on copies of what lies on the device."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
import scipy.special
from emulated_device import device_module
from running import build, fused, op

import graphc as gc
from graphc import errors
from graphc.ir import Type
from graphc.runtime.cuda.on_processor import filled, merged
from graphc.runtime.cuda.plan.processor_kernels import why_processor
from graphc.runtime.planner import make_program
from graphc.runtime.program import Call


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).standard_normal(shape)


def positive(*shape: int) -> np.ndarray:
    a = normal(*shape)
    return a @ a.swapaxes(-1, -2) + np.eye(shape[-1])


@gc.elementwise(derivative=lambda x: np.where(x > 0.0, 1.0, 0.5))
def leaky(x):  # type: ignore[no-untyped-def]
    return x if x > 0.0 else 0.5 * x


def solved_again_and_again(a, b):  # type: ignore[no-untyped-def]
    def step(x, row):  # type: ignore[no-untyped-def]
        x = np.linalg.solve(a, x + row)
        return x, x.sum()

    return gc.scan(step, np.zeros(40), b)


def by_size(a):  # type: ignore[no-untyped-def]
    if a.sum() > 0:
        w = np.linalg.eigvalsh(a)
    else:
        w = a.sum(axis=1)
    return w * 2.0


def in_place(x, y):  # type: ignore[no-untyped-def]
    x[1:3] = scipy.special.jv(1.0, y[1:3]) + x[:2]
    return x.sum()


FUNCTIONS = {
    "solve": (
        lambda a, b: np.linalg.solve(a * 2.0, b) + 1.0,
        [positive(3, 40, 40), normal(3, 40, 2)],
    ),
    "cholesky": (np.linalg.cholesky, [positive(40, 40)]),
    "a triangle": (lambda a: np.linalg.qr(a)[1] ** 2, [normal(6, 4)]),
    "singular values": (lambda a: np.linalg.svd(a, compute_uv=False), [normal(2, 6, 4)]),
    "complex eigenvalues": (lambda a: np.linalg.eigvals(a).sum(), [normal(5, 5)]),
    "in a loop": (solved_again_and_again, [positive(40, 40), normal(3, 40)]),
    "in a branch": (by_size, [positive(4, 4)]),
    "of scipy": (lambda x: scipy.special.jv(2.0, x * 2.0) - 1.0, [normal(200)]),
    "of scipy, float32": (lambda x: scipy.special.jv(2.0, x), [normal(9).astype(np.float32)]),
    "two nests of one kernel": (
        lambda x, y: (scipy.special.jv(2.0, x), scipy.special.jv(1.0, y)),
        [normal(6), normal(9)],
    ),
    "of the user": (lambda x: leaky(x) + np.sin(x), [normal(4, 50)]),
    "within rows": (lambda x: leaky(x) / leaky(x).sum(axis=1, keepdims=True), [normal(4, 50)]),
    "a gradient": (gc.grad(lambda x: np.sum(leaky(x) * x)), [normal(30)]),
    "into a part": (in_place, [normal(5), normal(5)]),
    "of no elements": (lambda x: leaky(x), [normal(0, 3)]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values(name: str, device: Any) -> None:
    function, args = FUNCTIONS[name]
    expected = [a.copy() for a in args]
    wanted = gc.compile(function)(*expected)
    compiled = gc.compile(function, target="cuda")
    for _ in range(3):
        given = [a.copy() for a in args]
        results = compiled(*given)
        for got, want in zip(_flat(results), _flat(wanted), strict=True):
            np.testing.assert_allclose(np.asarray(got), want, rtol=1e-6, atol=1e-9)
            assert got.dtype == np.asarray(want).dtype
        for got, want in zip(given, expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-9)


def _flat(results: Any) -> list[Any]:
    return list(results) if isinstance(results, tuple) else [results]


def test_a_singular_matrix_is_an_error(device: Any) -> None:
    @gc.compile(target="cuda")
    def inverse(a):  # type: ignore[no-untyped-def]
        return np.linalg.inv(a)

    with pytest.raises(np.linalg.LinAlgError, match="test_cuda_on_processor"):
        inverse(np.zeros((3, 3)))
    np.testing.assert_allclose(np.asarray(inverse(2.0 * np.eye(3))), 0.5 * np.eye(3))


def test_explain_says_what_is_copied() -> None:
    root = gc.compile(lambda x: np.linalg.cholesky(x) + 1.0, target="cuda")
    report = root.explain(positive(40, 40))
    (lapack, _, after) = report.kernels
    assert lapack.launches == ("runs on the processor (LAPACK's potrf): 38.4 kB to and fro",)
    assert "<<<" in after.launches[0]
    bessel = gc.compile(lambda x: scipy.special.jv(1.0, x), target="cuda")
    (kernel,) = bessel.explain(np.ones(125)).kernels
    assert kernel.launches == ("runs on the processor (scipy.special.jv): 2.0 kB to and fro",)
    (kernel,) = gc.compile(lambda x: leaky(x) * 2.0, target="cuda").explain(np.ones(125)).kernels
    assert kernel.launches == ("runs on the processor (leaky): 2.0 kB to and fro",)


def test_only_what_is_read_and_written_is_copied(emulated: Any) -> None:
    """Of `y = jv(1, x)`: x once from the device, y once to it."""
    function = gc.compile(lambda x: scipy.special.jv(1.0, x), target="cuda")
    x = gc.to_device(normal(100))
    function(x)
    before = emulated.downloads, emulated.uploads
    function(x)
    assert (emulated.downloads - before[0], emulated.uploads - before[1]) == (1, 1)


def test_beside_a_function_that_is_called(device: Any) -> None:
    double = numba.njit(lambda x: x * 2.0)

    @gc.compile(target="cuda")
    def step(x):  # type: ignore[no-untyped-def]
        return gc.call(double, gc.Spec((3,), "f64"), leaky(x)) + leaky(-x)

    x = np.array([-1.0, 0.0, 3.0])
    assert np.asarray(step(x)).tolist() == [-1.0 + 1.0, 0.0, 6.0 - 1.5]


def test_code_for_a_device_calls_nothing_that_it_has_not() -> None:
    """It would be the address of nothing."""
    graph = gc.compile(lambda x: leaky(x)).graph(np.ones(3), stage="fused")
    with pytest.raises(errors.DeviceOperationError, match="leaky is machine code"):
        device_module(graph)


# ---- the parts -----------------------------------------------------------------------------------


def _calls(types: list[Type], make: Any) -> list[Call]:
    items = make_program(fused(build(types, make))).items
    return [item for item in items if isinstance(item, Call)]


def test_what_a_device_can_run_stays_there() -> None:
    def running(x):  # type: ignore[no-untyped-def]
        return op("exp")(op("cumsum")(x, axis=0, reverse=False))

    for call in _calls([Type("f64", (3, 4))], running):
        assert not why_processor(call.kernel)


def test_a_buffer_is_filled_by_a_loop_over_all_of_it() -> None:
    (call,) = _calls([Type("f64", (3, 4))], lambda x: op("exp")(x))
    assert filled(call.kernel) == {1}
    (call,) = _calls([Type("f64", (3, 4))], lambda x: op("sum")(x, axes=(1,)))
    assert filled(call.kernel) == {1}


def test_ranges_that_share_addresses_are_one() -> None:
    assert merged([(0, 4), (8, 12), (2, 6)]) == [(0, 6), (8, 12)]
    assert merged([(4, 8), (0, 4)]) == [(0, 4), (4, 8)]
    assert merged([(4, 4), (4, 4)]) == [(4, 4)]
    assert merged([(0, 8), (2, 4), (0, 8)]) == [(0, 8)]
