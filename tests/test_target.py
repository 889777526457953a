"""Code for other machines: older ones of this kind run here, ARM's is read."""

from __future__ import annotations

import functools
import platform
import re
from collections.abc import Callable
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest
from models import softmax
from running import all_results, assert_same, assert_ulps, assert_within, build, fused, interpret
from test_gemm import MIDDLE, PLAIN, SMALL, check_products

from graphc.build import Value
from graphc.ir import OPS, Graph, Type
from graphc.runtime.llvm.emit_step import emit_step
from graphc.runtime.llvm.jit import assembly
from graphc.runtime.llvm.target import (
    USUAL_LAST_CACHE,
    X86_LEVELS,
    HostTarget,
    host_target,
    last_cache_bytes,
    neon_target,
    x86_target,
)
from graphc.runtime.plan import plan_arena
from graphc.runtime.planner import make_program
from graphc.runtime.step import Step

LEVELS = [level for level, size in X86_LEVELS.items() if size <= host_target().vector_bytes]
x86_only = pytest.mark.skipif(platform.machine() != "x86_64", reason="code for x86-64")

UNARY = [
    *("exp", "expm1", "log", "log1p", "log2", "exp2", "tanh", "sigmoid", "sqrt", "rsqrt", "cbrt"),
    *("sin", "cos", "tan", "arctan", "arcsin", "sinh", "cosh", "arcsinh"),
    *("floor", "ceil", "round", "trunc", "abs", "sign", "square", "reciprocal", "isnan"),
]
BINARY = ["add", "divide", "power", "mod", "floor_divide", "arctan2", "maximum", "less", "hypot"]

VALUES = [0.0, -0.0, 0.5, -0.5, 1.5, 2.5, -2.5, 0.49999997, 8388607.5, -4503599627370495.5, 1e30]
VALUES += [1e-30, -1e-40, 3e38, np.inf, -np.inf, np.nan]


def every_function(x: Value, y: Value) -> tuple[Value, ...]:
    return (*(OPS[n](x) for n in UNARY if n in OPS), *(OPS[n](x, y) for n in BINARY if n in OPS))


def values_of(dtype: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scale = np.exp(rng.normal(size=333) * 3)
    with np.errstate(over="ignore"):
        return rng.permutation(np.append(rng.normal(size=333) * scale, VALUES)).astype(dtype)


@x86_only
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_functions(level: str, dtype: str) -> None:
    arrays = [values_of({"f32": "f4", "f64": "f8"}[dtype], seed) for seed in (0, 1)]
    graph = build([Type(dtype, arrays[0].shape)] * 2, every_function)
    step = Step(fused(graph), target=x86_target(level))
    names = [n for n in (*UNARY, *BINARY) if n in OPS]
    results = zip(names, all_results(step, graph, arrays), interpret(graph, arrays), strict=True)
    for name, got, expected in results:
        if got.dtype == bool:
            assert_same(got, expected, name)
        else:
            assert_ulps(got, expected, 5, name)


@x86_only
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", ["f32", "f64", "i32"])
def test_products(level: str, dtype: str) -> None:
    check_products([*SMALL, *MIDDLE[:4]], PLAIN, dtype, x86_target(level), at_end=True)


@x86_only
@pytest.mark.parametrize("level", LEVELS)
def test_rows(level: str) -> None:
    graph = attention()
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=t.shape).astype("f4") for t in graph.in_types]
    (got,) = Step(fused(graph), target=x86_target(level))(arrays)
    (expected,) = interpret(graph, arrays)
    assert_within(got, expected, 1e-4 * (1 + np.abs(expected)))


def attention() -> Graph:
    def make(q: Value, k: Value, v: Value) -> Value:
        return OPS["matmul"](softmax(OPS["matmul"](q, k)), v)

    shapes = [(2, 30, 8), (2, 8, 40), (2, 40, 8)]
    return build([Type("f32", shape) for shape in shapes], make)


# ---- what the code looks like --------------------------------------------------------------------

TARGETS: dict[str, Callable[[], HostTarget]] = {
    **{level: functools.partial(x86_target, level) for level in X86_LEVELS},
    "neon": neon_target,
}
MULTIPLY_ADDS = {
    "x86-64": "mulps",
    "x86-64-v2": "mulps",
    "x86-64-v3": r"vfmadd\d+ps.*ymm",
    "x86-64-v4": r"vfmadd\d+ps.*zmm",
    "neon": r"fmla\s+v",
}


@pytest.fixture(scope="module")
def every_target() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


def code_for(graph: Graph, target: HostTarget) -> str:
    program = make_program(fused(graph))
    return assembly(emit_step(program, plan_arena(program), target, "step", "").text, target)


def functions_called(code: str) -> set[str]:
    names = re.findall(r"\t(?:callq?|bl|jmp|movabsq)\t\$?([A-Za-z_]\w*)", code)
    defined = set(re.findall(r"^([A-Za-z_]\w*):", code, flags=re.MULTILINE))
    return set(names) - defined


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("dtype", ["f32", "f64", "f16", "bf16"])
@pytest.mark.usefixtures("every_target")
def test_no_function_of_the_c_library_is_called(name: str, dtype: str) -> None:
    graph = build([Type(dtype, (100,))] * 2, every_function)
    assert functions_called(code_for(graph, TARGETS[name]())) == set()


HALVES = {
    "x86-64-v3": (r"vcvtph2ps.*ymm", r"vcvtps2ph.*ymm"),
    "x86-64-v4": (r"vcvtph2ps.*zmm", r"vcvtps2ph.*zmm"),
    "neon": (r"fcvtl", r"fcvtn"),
}


@pytest.mark.parametrize("name", HALVES)
@pytest.mark.usefixtures("every_target")
def test_floats_of_16_bits_are_converted_in_vectors(name: str) -> None:
    graph = build([Type("f16", (1000,))] * 2, lambda x, y: x * y)
    code = code_for(graph, TARGETS[name]())
    assert all(re.search(instruction, code) for instruction in HALVES[name])


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.usefixtures("every_target")
def test_products_use_the_vectors_of_the_target(name: str) -> None:
    code = code_for(attention(), TARGETS[name]())
    assert re.search(MULTIPLY_ADDS[name], code)
    assert functions_called(code) == set()


def test_this_machine() -> None:
    target = host_target()
    assert target.vector_bytes in (16, 32, 64)
    assert target.vector_registers in (16, 32)


def test_the_last_cache_is_the_largest_that_the_system_lists(tmp_path: Path) -> None:
    assert last_cache_bytes(str(tmp_path)) == USUAL_LAST_CACHE
    for number, size in enumerate(("32K\n", "1024K", "3M", "12")):
        folder = tmp_path / f"index{number}"
        folder.mkdir()
        (folder / "size").write_text(size)
        largest = (32 << 10, 1 << 20, 3 << 20, 3 << 20)[number]
        assert last_cache_bytes(str(tmp_path)) == largest
    (tmp_path / "index0" / "size").write_text("large")
    assert last_cache_bytes(str(tmp_path)) == USUAL_LAST_CACHE
