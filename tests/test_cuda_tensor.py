"""Matrix products on tensor cores: emulated beside the interpreter, and what their PTX is like."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from emulated_device import SMALL, Emulated, assemble, calls, device_module, spilled_bytes
from emulated_device import _aligned as aligned
from running import build, fused, interpret, op
from test_cuda_driver import Driver

import graphc as gc
from graphc.ir import Graph, Type
from graphc.ops.elementwise import erf
from graphc.runtime.code import FAST_MATH
from graphc.runtime.cuda.current import use
from graphc.runtime.cuda.driver import CudaDevice
from graphc.runtime.cuda.emit import simt, tensor_simt
from graphc.runtime.cuda.emit.module import DeviceModule
from graphc.runtime.cuda.emit.ptx import ptx
from graphc.runtime.cuda.emulated.module import EmulatedModule
from graphc.runtime.cuda.plan.device_kernel import DeviceKernel
from graphc.runtime.cuda.plan.fragments import MMA_16, MMA_32, MMA_64, Mma
from graphc.runtime.cuda.plan.panel_shapes import Panel
from graphc.runtime.cuda.plan.rejoin import rejoined
from graphc.runtime.kernel import Access, Buffer, Kernel, Name, Product, Store
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.module import Module
from graphc.runtime.llvm.registers import Reg, constant
from graphc.runtime.planner import make_program
from graphc.runtime.program import Root

MMA = {
    "f16": "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32",
    "bf16": "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32",
    "f64": "mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64",
    "f32": "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32",
}
STEP = {"f16": 2.0**-10, "bf16": 2.0**-7, "f64": 2.0**-52, "f32": 2.0**-23}
"""From one number to the next: totals that differ in their last bits may be rounded to either."""
TERM = {"f16": 2.0**-24, "bf16": 2.0**-24, "f64": 2.0**-53, "f32": 2.0**-11}
"""How far each addition, or for f32 each factor, is rounded."""


def plain(a: Any, b: Any) -> Any:
    return op("matmul")(a, b)


def product_of(dtype: str, rows: int, inner: int, columns: int, *batch: int) -> Graph:
    types = [Type(dtype, (*batch, rows, inner)), Type(dtype, (*batch, inner, columns))]
    return build(types, plain)


def draw(graph: Graph) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [
        np.asarray(rng.normal(size=p.type.shape)).astype(p.type.numpy_dtype) for p in graph.params
    ]


def check(graph: Graph, dtype: str, inner: int, flags: str = "", limits: Any = None) -> Emulated:
    """The emulated results are those of the interpreter, but for the order of additions and the
    rounding of what is stored; whatever is read together lies in different banks."""
    arrays = draw(graph)
    emulated = Emulated(fused(graph), limits, backwards=limits is SMALL, flags=flags)
    assert "nvvm.mma" in emulated.module.text
    for got, expected in zip(emulated(arrays), interpret(graph, arrays), strict=True):
        one, other = got.astype("f8"), expected.astype("f8")
        error = STEP[dtype] * np.abs(other) + 8 * inner * TERM[dtype]
        assert one.shape == other.shape
        assert (np.abs(one - other) <= error).all(), np.abs(one - other).max()
    assert emulated.code.conflicts == 0
    return emulated


SHAPES = [(64, 64, 64), (37, 51, 29), (130, 40, 72), (8, 16, 8), (9, 200, 33)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["f16", "bf16", "f64"])
@pytest.mark.parametrize("limits", [None, SMALL], ids=["", "small"])
def test_products(dtype: str, shape: tuple[int, int, int], limits: Any) -> None:
    check(product_of(dtype, *shape), dtype, shape[1], limits=limits)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_under_fast_math_f32_is_rounded_to_ten_bits(shape: tuple[int, int, int]) -> None:
    rows, inner, columns = shape
    graph = product_of("f32", rows, inner, columns)
    arrays = draw(graph)
    emulated = Emulated(fused(graph), flags=FAST_MATH)
    (got,), exact = emulated(arrays), arrays[0].astype("f8") @ arrays[1].astype("f8")
    size = np.abs(arrays[0]).astype("f8") @ np.abs(arrays[1]).astype("f8")
    error = np.abs(got - exact) / size
    assert error.max() <= 2.0**-10  # two factors, each rounded to nearest
    assert error.max() > 2.0**-16  # f32 in full has less
    assert MMA["f32"] in ptx(emulated.module.text)


def test_without_fast_math_f32_is_multiplied_in_full() -> None:
    assert "nvvm.mma" not in device_module(fused(product_of("f32", 64, 64, 64))).text


@pytest.mark.parametrize("dtype", ["f16", "f64"])
def test_batches(dtype: str) -> None:
    check(product_of(dtype, 40, 24, 16, 3), dtype, 24)


def swapped(x: Any) -> Any:
    return op("transpose")(x, axes=(1, 0))


TRANSPOSED: dict[str, Callable[[Any, Any], Any]] = {
    "left": lambda a, b: op("matmul")(swapped(a), b),
    "right": lambda a, b: op("matmul")(a, swapped(b)),
    "both": lambda a, b: op("matmul")(swapped(a), swapped(b)),
}


@pytest.mark.parametrize("which", TRANSPOSED)
@pytest.mark.parametrize("dtype", ["f16", "f64", "f32"])
@pytest.mark.parametrize("size", [48, 37])
def test_transposed_operands(dtype: str, which: str, size: int) -> None:
    """Read as they lie: in fragments that are turned on the way, of 16 bits, or one by one."""
    graph = build([Type(dtype, (size, size))] * 2, TRANSPOSED[which])
    flags = FAST_MATH if dtype == "f32" else ""
    emulated = check(graph, dtype, 64, flags)
    turned = "ldmatrix.sync.aligned.m8n8.x4.trans" in ptx(emulated.module.text)
    straight = dtype == "f16" and which == "right"
    assert turned == (dtype == "f16" and not straight)


@pytest.mark.parametrize("batch, block", [(32, 256), (16, 128)])
def test_tiles_of_many_products(batch: int, block: int) -> None:
    emulated = check(product_of("f16", 130, 16, 136, batch), "f16", 16)
    assert [k.block for run in emulated.launches for k in run.kernels] == [block]


def test_long_inner_products_in_parts() -> None:
    emulated = check(product_of("f16", 40, 2100, 24), "f16", 2100)
    assert len(emulated.launches[0].kernels) == 2


# ---- what comes after the product ----------------------------------------------------------------


def dense(activation: Callable[[Any], Any]) -> Callable[..., Any]:
    def make(x: Any, w: Any, bias: Any, residual: Any) -> Any:
        shape = residual.type.shape
        wide = op("broadcast")(bias, shape=shape, axes=(1,))
        return activation(op("matmul")(x, w) + wide) + residual

    return make


def relu(x: Any) -> Any:
    return op("maximum")(x, x - x)


def gelu(x: Any) -> Any:
    return x * erf(x)


@pytest.mark.parametrize("columns", [64, 37])
@pytest.mark.parametrize("activation", [relu, gelu])
@pytest.mark.parametrize("dtype", ["f16", "bf16", "f64"])
def test_bias_activation_and_residual_are_in_the_kernel_of_the_product(
    dtype: str, activation: Callable[[Any], Any], columns: int
) -> None:
    rows, inner = 70, 48
    types = [(rows, inner), (inner, columns), (columns,), (rows, columns)]
    graph = build([Type(dtype, shape) for shape in types], dense(activation))
    arrays = draw(graph)
    emulated = Emulated(fused(graph))
    assert len(emulated.launches) == 1
    (got,), (expected,) = emulated(arrays), interpret(graph, arrays)
    error = np.abs(got.astype("f8") - expected.astype("f8"))
    # The interpreter rounds after each operation.
    assert (error <= 4 * STEP[dtype] * (20 + np.abs(expected.astype("f8")))).all()


def test_long_epilogues_are_written_once() -> None:
    """A gelu for each of 32 places of a thread was most of the code."""
    shapes = [(512, 64), (64, 4096), (4096,), (512, 4096)]
    sizes = {}
    for activation in (relu, gelu):
        graph = build([Type("f16", shape) for shape in shapes], dense(activation))
        text = ptx(device_module(fused(graph)).text)
        sizes[activation] = len(text.splitlines())
        assert spilled_bytes(text, "sm_80") == 0
    assert sizes[gelu] < 2 * sizes[relu]


# ---- operands that are views ---------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_rows_that_overlap(dtype: Any) -> None:
    """Each row of the left operand begins one element further on."""
    name, rows, inner, columns = {2: "f16", 8: "f64"}[np.dtype(dtype).itemsize], 277, 24, 16
    total = Name(0, "f64" if name == "f64" else "f32")
    product = Product(
        total,
        Access(0, 0, (0, 0)),
        Access(1, 0, (0, 0)),
        *(rows, inner, columns, (1, 1), (columns, 1), 0, 1),
        (Store(Access(2, 0, (columns, 1)), total),),
    )
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=300).astype(dtype), rng.normal(size=(inner, columns)).astype(dtype)
    out = np.zeros((rows, columns), total.dtype.replace("f", "float"))
    arrays = [aligned(array.reshape(-1)) for array in (x, w, out)]
    kinds = zip(("x", "w", "out"), (name, name, total.dtype), arrays, strict=True)
    buffers = [Buffer(n, d, a.size, "out" if n == "out" else "in") for n, d, a in kinds]
    kernel = Kernel("k", (rows, columns), tuple(buffers), (product,))
    roots = [
        Root("argument", i, b.dtype, a.nbytes) for i, (b, a) in enumerate(zip(buffers, arrays))
    ]
    module = DeviceModule()
    launches = module.add(kernel, roots)
    assert module.uses_tensor_cores
    work = aligned(np.zeros(launches.workspace_bytes, np.uint8))
    memory = [(a.ctypes.data, a.nbytes) for a in (*arrays, work)]
    code = EmulatedModule(module.text)
    for function in launches.kernels:
        given = function.given(memory)
        code.launch(function, [start for start, _ in given], given)
    windows = np.lib.stride_tricks.sliding_window_view(x, inner).astype("f8")
    expected = windows @ w.astype("f8")
    np.testing.assert_allclose(arrays[2].reshape(rows, columns), expected, atol=24 * 8 * TERM[name])


@pytest.mark.parametrize("start", [0, 1, 2, 4, 8])
def test_slices_are_copied_in_pieces_that_are_aligned(start: int) -> None:
    def make(a: Any, b: Any) -> Any:
        part = op("slice")(a, starts=(0, start), sizes=(40, 32), steps=(1, 1))
        return op("matmul")(part, b)

    graph = build([Type("f16", (40, 48)), Type("f16", (32, 24))], make)
    emulated = check(graph, "f16", 32)
    text = ptx(emulated.module.text)
    widths = {int(n) for n in re.findall(r"cp\.async\.c[ag]\.shared\.global .*?\], (\d+)", text)}
    assert 16 in widths  # the right operand
    if start in (2, 4):
        assert 2 * start in widths


# ---- the code ------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize("dtype", MMA)
def test_code_is_what_it_should_be(dtype: str, architecture: str) -> None:
    flags = FAST_MATH if dtype == "f32" else ""
    text = ptx(device_module(fused(product_of(dtype, 2048, 512, 2048)), flags).text, architecture)
    assert text.count(MMA[dtype]) >= 16
    assert "cp.async.cg.shared.global" in text and "cp.async.wait_group" in text
    assert ("ldmatrix.sync" in text) == (dtype in ("f16", "bf16"))
    assert spilled_bytes(text, architecture) == 0
    assemble(text, architecture)


def test_older_devices_have_code_without_tensor_cores() -> None:
    """LLVM ends the process where it is to write instructions that a device lacks."""
    code = []
    for capability in ((7, 5), (8, 0)):
        step = gc.compile(lambda a, b: a @ b, target="cuda")
        driver = Driver(capability)
        a = np.ones((64, 64))
        with use(CudaDevice(driver)):
            step(a, a)
        ((_, image, *_),) = driver.calls("cuModuleLoadDataEx")
        code.append(image)
    assert MMA["f64"].encode() not in code[0] and MMA["f64"].encode() in code[1]


def test_code_for_one_device_is_made_again_for_an_older_one() -> None:
    step = gc.compile(lambda a, b: a @ b, target="cuda")
    a = np.ones((64, 64))
    step.explain(a, a)  # compiled without a device: for the usual ones
    driver = Driver((7, 0))
    with use(CudaDevice(driver)):
        step(a, a)
    ((_, image, *_),) = driver.calls("cuModuleLoadDataEx")
    assert b".target sm_70" in image and MMA["f64"].encode() not in image


def test_a_module_without_tensor_cores() -> None:
    graph = product_of("f16", 64, 64, 64)
    module = DeviceModule(tensor_cores=False)
    for call in calls(rejoined(make_program(fused(graph)))):
        module.add(call.kernel, call.roots)
    assert not module.uses_tensor_cores
    assemble(ptx(module.text, "sm_70"), "sm_75")


# ---- fragments and banks -------------------------------------------------------------------------


def stated(mma: Mma, which: str, lane: int, i: int) -> tuple[int, int]:
    """Where element i of a thread is, in the words of the PTX ISA."""
    group, thread = lane >> 2, lane % 4
    if mma is MMA_64:
        return {"left": (group, thread), "right": (thread, group), "out": (group, 2 * thread + i)}[
            which
        ]
    if which == "out":
        return group if i < 2 else group + 8, thread * 2 + (i & 1)
    if mma is MMA_32 and which == "left":
        return group if i in (0, 2) else group + 8, thread if i < 2 else thread + 4
    if mma is MMA_32:
        return thread + 4 * i, group
    if which == "left":
        row = group if i < 2 or 4 <= i < 6 else group + 8
        return row, thread * 2 + (i & 1) + (0 if i < 4 else 8)
    return thread * 2 + (i & 1) + (0 if i < 2 else 8), group


@pytest.mark.parametrize("mma", [MMA_16, MMA_32, MMA_64], ids=lambda mma: mma.inputs[0])
@pytest.mark.parametrize("which", ["left", "right", "out"])
def test_fragments_are_those_of_the_instructions(mma: Mma, which: str) -> None:
    fragment = getattr(mma, which)
    sizes = {"left": (mma.rows, mma.depth), "right": (mma.depth, mma.columns)}
    rows, columns = sizes.get(which, (mma.rows, mma.columns))
    found = [fragment.place(t, i) for t in range(32) for i in range(len(fragment.steps))]
    assert found == [
        stated(mma, which, t, i) for t in range(32) for i in range(len(fragment.steps))
    ]
    assert sorted(found) == [(row, column) for row in range(rows) for column in range(columns)]


@pytest.mark.parametrize("along_depth", [True, False])
@pytest.mark.parametrize("outer", [32, 64, 128])
@pytest.mark.parametrize("mma", [MMA_32, MMA_64], ids=lambda mma: mma.inputs[0])
@pytest.mark.parametrize("which", ["left", "right"])
def test_threads_read_elements_of_different_banks(mma, outer, along_depth, which) -> None:  # type: ignore[no-untyped-def]
    """32 words are read at once: by all threads of a warp, or of 64 bits by half of them."""
    panel = Panel(outer, 16, along_depth, mma.inputs[0])
    fragment = getattr(mma, which)
    for i in range(len(fragment.steps)):
        places = [fragment.place(lane, i)[:: 1 if which == "left" else -1] for lane in range(32)]
        lines = [place if along_depth else place[::-1] for place in places]
        words = [(a * panel.pitch + b) * panel.size // 4 for a, b in lines]
        for start in range(0, 32, 128 // panel.size):
            together = words[start : start + 128 // panel.size]
            assert len({word % 32 for word in together}) == len(together)


def test_copies_that_nobody_waits_for_are_not_made() -> None:
    """The emulated device would not notice a wait that is missing otherwise."""
    source = np.arange(4, dtype=np.int32)

    def write(f: Function) -> None:
        shared = simt.shared_array(f.module, "s", 16)
        tensor_simt.copy_ahead(f, shared, Reg("%in", "ptr"), 16, constant(12, "i32"))
        tensor_simt.end_of_copies(f)
        for out, wait in ((0, False), (1, True)):
            if wait:
                tensor_simt.wait_for_copies(f, 0)
            for i in range(4):
                value = f.load(f.offset(shared, "i32", constant(i, "i64")), "i32")
                f.store(value, f.offset(Reg("%out", "ptr"), "i32", constant(4 * out + i, "i64")))

    module = Module()
    f = Function(module, "k", [Reg("%in", "ptr"), Reg("%out", "ptr")], linkage="ptx_kernel")
    write(f)
    f.line("ret void")
    module.add(f)
    out = np.zeros(8, np.int32)
    memory = [(a.ctypes.data, a.nbytes) for a in (source, out)]
    code = EmulatedModule(f"{module}attributes #0 = {{ nounwind }}\n")
    code.launch(DeviceKernel("k", 1, 1, ()), [a for a, _ in memory], memory)
    np.testing.assert_array_equal(out, [-1, -1, -1, -1, 0, 1, 2, 0])
