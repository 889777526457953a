"""Kernels as a device runs them, emulated, beside the interpreter."""

from __future__ import annotations

import functools
import re

import numpy as np
import pytest
from emulated_device import SMALL, Emulated, assemble, calls, device_module, spilled_bytes
from models import softmax
from running import assert_same, assert_ulps, assert_within, build, fused, interpret, op

from graphc.ir import Graph, Type
from graphc.ops.elementwise import exp
from graphc.runtime.code import FAST_MATH
from graphc.runtime.cuda.code import make_code
from graphc.runtime.cuda.emit.approximations import APPROXIMATE
from graphc.runtime.cuda.emit.module import DeviceModule
from graphc.runtime.cuda.emit.ptx import ptx
from graphc.runtime.cuda.emulated.module import EmulatedModule
from graphc.runtime.cuda.plan.rejoin import rejoined
from graphc.runtime.planner import make_program


def draw(graph: Graph, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [
        np.asarray(rng.normal(size=p.type.shape)).astype(p.type.numpy_dtype) for p in graph.params
    ]


@pytest.mark.parametrize("shape", [(), (1,), (7,), (64,), (1000,), (3, 5, 8), (0,), (5, 0)])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_elementwise(shape: tuple[int, ...], dtype: str) -> None:
    graph = build([Type(dtype, shape)] * 2, lambda x, y: exp(x) * y)
    arrays = draw(graph)
    (expected,) = interpret(graph, arrays)
    for limits in (None, SMALL):
        (got,) = Emulated(fused(graph), limits)(arrays)
        assert_ulps(got, expected, 4)


def test_threads_take_neighbouring_elements_in_one_access() -> None:
    module = device_module(fused(build([Type("f32", (4096,))], exp)))
    text = ptx(module.text)
    assert "ld.global.nc.v4" in text and "st.global.v4" in text


@pytest.mark.parametrize(
    "types, make",
    [
        ([Type("f32", (9, 33))], softmax),
        ([Type("f64", (5, 7)), Type("f64", (7, 9))], lambda a, b: op("matmul")(a, b)),
    ],
    ids=["rows", "product"],
)
def test_against_the_interpreter(types, make) -> None:  # type: ignore[no-untyped-def]
    graph = build(types, make)
    arrays = draw(graph)
    for limits, backwards in ((None, False), (SMALL, True)):
        got = Emulated(fused(graph), limits, backwards)(arrays)
        for one, expected in zip(got, interpret(graph, arrays), strict=True):
            assert_within(one, expected, 1e-6 * np.maximum(1, np.abs(expected)))


def test_a_function_says_how_many_threads_a_block_has() -> None:
    module = device_module(fused(build([Type("f32", (4, 20000))], softmax)))
    assert ".maxntid 1024" in ptx(module.text)


@pytest.mark.parametrize(
    "shape, teams",
    [((2048, 1024), 1), ((9000, 40), 32), ((40_000, 5), 256)],
    ids=["few parts", "many parts", "more"],
)
def test_parts_of_columns_are_put_together_by_as_many_as_that_takes(shape, teams) -> None:  # type: ignore[no-untyped-def]
    """A million rows of 32 numbers had 2048 parts, which a single thread read one by one."""
    graph = build([Type("f32", shape)], lambda x: op("sum")(x, axes=(0,)))
    emulated = Emulated(fused(graph))
    ((_, last),) = (launches.kernels for launches in emulated.launches)
    assert last.grid * last.block >= teams * shape[1]
    arrays = draw(graph)
    (expected,) = interpret(graph, arrays)
    (got,) = emulated(arrays)
    assert_within(got, expected, 1e-3)


def test_threads_of_products_have_registers_enough() -> None:
    """`ptxas` had some of a float16 product's totals in memory, for the sake of more blocks."""
    dense = [Type("f16", (256, 256)), Type("f16", (256, 256))]
    text = ptx(device_module(fused(build(dense, lambda a, b: op("matmul")(a, b)))).text)
    assert ".minnctapersm 2" in text
    assert spilled_bytes(text, "sm_80") == 0
    rows = ptx(device_module(fused(build([Type("f32", (4, 20000))], softmax))).text)
    assert ".minnctapersm" not in rows


@pytest.mark.parametrize("count, version", [(500, "7.0"), (600, "8.1")])
def test_kernels_of_hundreds_of_arrays(count: int, version: str) -> None:
    """More than 544 addresses are parameters that the first versions of PTX do not have."""

    def total(*arrays):  # type: ignore[no-untyped-def]
        return functools.reduce(op("add"), arrays)

    graph = build([Type("f64", (3,))] * count, total)
    emulated = Emulated(fused(graph), as_ptx=True)
    text = ptx(emulated.module.text)
    assert f".version {version}" in text
    assemble(text, "sm_80")
    arrays = draw(graph)
    (got,) = emulated(arrays)
    np.testing.assert_allclose(got, interpret(graph, arrays)[0], rtol=1e-12)


def test_functions_have_the_parameters_that_they_touch() -> None:
    """Each function of a join of 600 arrays had 602 parameters."""
    types = [Type("f64", (300 + i,)) for i in range(20)]
    graph = build(types, lambda *parts: op("concatenate")(*parts, axis=0))
    emulated = Emulated(fused(graph))
    text, arrays = emulated.module.text, draw(graph)
    (launches,) = emulated.launches
    for kernel in launches.kernels:
        (parameters,) = re.findall(rf"@{kernel.name}\((.*)\) #0", text)
        named = re.findall(r"%b\d+", parameters)
        body = text[text.index(f"@{kernel.name}(") :].split("\n}")[0].partition("{")[2]
        assert set(named) == set(re.findall(r"%b\d+", body))
        assert [f"%b{i}" for i in kernel.touched] == named
    assert sum(len(kernel.touched) for kernel in launches.kernels) <= 2 * len(types)
    (got,) = emulated(arrays)
    np.testing.assert_array_equal(got, np.concatenate(arrays))


@pytest.mark.parametrize("name", ["left_shift", "right_shift"])
@pytest.mark.parametrize("dtype", ["i64", "u64", "i32"])
def test_shifts_by_distances_that_only_their_upper_half_makes_too_far(name, dtype) -> None:  # type: ignore[no-untyped-def]
    """A device's shift takes a distance of 32 bits: x << 2**32 was x."""
    graph = build([Type(dtype, (8,))] * 2, lambda x, n: op(name)(x, n))
    kind = graph.params[0].type.numpy_dtype
    far = [1 << 32, (1 << 32) + 1, 1 << 62] if dtype != "i32" else [1 << 16, 1 << 24, 1 << 30]
    x = np.array([-2, 5, -7, 9, 11, -13, 15, -17]).astype(kind)
    arrays = [x, np.array([0, 1, 31, 63, 64, *far]).astype(kind)]
    (expected,) = interpret(graph, arrays)
    for as_ptx in (False, True):
        (got,) = Emulated(fused(graph), as_ptx=as_ptx)(arrays)
        np.testing.assert_array_equal(got, expected)


# ---- the status ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status, expected", [(0, 4.0), (7, -1.0)])
def test_a_status_stops_every_thread(status: int, expected: float) -> None:
    program = make_program(fused(build([Type("f64", (200,))], lambda x: op("sum")(x, axes=(0,)))))
    module = DeviceModule(limits=SMALL, has_status=True)
    (launches,) = [module.add(c.kernel, c.roots) for c in calls(program)]
    x, out = np.full(200, 0.02), np.full(1, -1.0)
    arrays = [x, out, np.zeros(launches.workspace_bytes, np.uint8), np.array([status])]
    memory = [(a.ctypes.data, a.nbytes) for a in arrays]
    code = EmulatedModule(module.text)
    for kernel in launches.kernels:
        given = kernel.given(memory)
        code.launch(kernel, [start for start, _ in given], given)
    np.testing.assert_allclose(out, expected)
    assert "kernel_0_0" in ptx(module.text)


# ---- adding at computed positions ----------------------------------------------------------------


def scattered(places: int, columns: int, count: int) -> tuple[Graph, list[np.ndarray]]:
    """`count` rows added at computed rows of `places`, some of them at the same one."""
    types = [Type("f32", (places, columns)), Type("i64", (count,)), Type("f32", (count, columns))]
    graph = build(types, lambda x, at, rows: op("scatter_add")(x, at, rows, axis=0))
    rng = np.random.default_rng(3)
    at = rng.integers(0, places, count)
    return graph, [draw(graph)[0], at, draw(graph)[2]]


@pytest.mark.parametrize("places, columns, count", [(50, 8, 70), (7, 1, 300), (1, 5, 9)])
def test_rows_are_added_in_order(places, columns, count) -> None:  # type: ignore[no-untyped-def]
    graph, arrays = scattered(places, columns, count)
    (expected,) = interpret(graph, arrays)
    for backwards in (False, True):
        (got,) = Emulated(fused(graph), None, backwards)(arrays)
        assert_same(got, expected)


def test_ranges_of_places_have_threads_of_their_own() -> None:
    graph, _ = scattered(1000, 8, 70)
    program = make_program(fused(graph))
    module = DeviceModule()
    kernels = [k for c in calls(program) for k in module.add(c.kernel, c.roots).kernels]
    assert kernels[-1].grid * kernels[-1].block >= 8000


@pytest.mark.parametrize("dtype", ["f32", "i64"])
def test_atomic_additions(dtype: str) -> None:
    types = [Type(dtype, (6, 4)), Type("i64", (200,)), Type(dtype, (200, 4))]
    graph = build(types, lambda x, at, rows: op("scatter_add")(x, at, rows, axis=0))
    arrays = draw(graph)
    arrays[1] = np.random.default_rng(0).integers(0, 6, 200)
    emulated = Emulated(fused(graph), SMALL, atomics=True)
    assert "atomicrmw" in emulated.module.text
    text = ptx(emulated.module.text)
    assert "red.global.add" in text or "atom.global.add" in text
    (got,), (expected,) = emulated(arrays), interpret(graph, arrays)
    assert_within(got, expected, np.full((6, 4), 1e-4))


@pytest.mark.parametrize("dtype, is_atomic", [("i64", True), ("f32", False)])
def test_integers_are_added_as_they_come(dtype: str, is_atomic: bool) -> None:
    """Their total is the same in any order; floats are sorted first (`test_cuda_additions.py`)."""
    types = [Type(dtype, (6,)), Type("i64", (5000,)), Type(dtype, (5000,))]
    graph = build(types, lambda x, at, rows: op("scatter_add")(x, at, rows, axis=0))
    emulated = Emulated(fused(graph))
    assert ("atomicrmw" in emulated.module.text) == is_atomic
    kernels = emulated.launches[-1].kernels
    assert (len(kernels) == 2) == is_atomic
    assert max(k.grid * k.block for k in kernels) >= (5000 if is_atomic else 512)
    arrays = draw(graph)
    arrays[1] = np.random.default_rng(0).integers(0, 6, 5000)
    (expected,) = interpret(graph, arrays)
    bound = 0 if is_atomic else 1e-5 * np.abs(arrays[2]).sum()
    assert_within(emulated(arrays)[0], expected, bound)


def test_under_fast_math_floats_are_added_as_they_come_too() -> None:
    graph, _ = scattered(50, 8, 70)
    program = rejoined(make_program(fused(graph)))
    assert "atomicrmw" in make_code(program, FAST_MATH).text
    assert "atomicrmw" not in make_code(program).text


# ---- fast-math -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", APPROXIMATE)
def test_approximations_under_fast_math(name: str) -> None:
    count = 2 if name == "divide" else 1
    graph = build([Type("f32", (40,))] * count, lambda *x: op(name)(*x))
    arrays = [np.abs(array) + 0.1 for array in draw(graph)]
    fast = Emulated(fused(graph), flags=FAST_MATH)
    assert ".approx" in ptx(fast.module.text)
    assert ".approx" not in ptx(Emulated(fused(graph)).module.text)
    (got,), (expected,) = fast(arrays), interpret(graph, arrays)
    assert_within(got, expected, 1e-6 * (1 + np.abs(expected)))


def test_double_precision_is_not_approximated() -> None:
    graph = fused(build([Type("f64", (40,))], exp))
    assert "approx" not in Emulated(graph, flags=FAST_MATH).module.text


# ---- running operations --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "cummax", "cummin"])
@pytest.mark.parametrize(
    "shape, axis", [((1000,), 0), ((3, 777), 1), ((20, 70), 0), ((2, 9, 40), 1)]
)
@pytest.mark.parametrize("dtype", ["f64", "i32"])
def test_running_operations(name, shape, axis, dtype) -> None:  # type: ignore[no-untyped-def]
    for reverse in (False, True):
        attrs = {"axis": axis, "reverse": reverse}
        graph = build([Type(dtype, shape)], lambda x, attrs=attrs: op(name)(x, **attrs))
        arrays = [(draw(graph)[0] * 0.01 + 1).astype(graph.params[0].type.numpy_dtype)]
        (expected,) = interpret(graph, arrays)
        for limits, backwards in ((None, False), (SMALL, True)):
            emulated = Emulated(fused(graph), limits, backwards)
            (got,) = emulated(arrays)
            assert_within(got, expected, 1e-12 * np.abs(expected))
            (kernels,) = (run.kernels for run in emulated.launches)
            assert len(kernels) > 1 or kernels[0].block > 32


def test_a_running_maximum_passes_nan_on() -> None:
    graph = build([Type("f32", (2000,))], lambda x: op("cummax")(x, axis=0, reverse=False))
    (x,) = draw(graph)
    x[1234] = np.nan
    (got,), (expected,) = Emulated(fused(graph))([x]), interpret(graph, [x])
    assert_same(got, expected)
