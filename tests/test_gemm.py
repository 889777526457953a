"""Generated matrix products against NumPy: every size, layout and type, and nothing outside."""

import ctypes
import itertools
import math
from collections.abc import Callable

import llvmlite.binding as llvm
import numpy as np
import pytest
from fences import fenced, fenced_copy

from graphc.ir import NUMPY_DTYPES
from graphc.runtime.llvm import gemm_tiling
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.emulated import emulations
from graphc.runtime.llvm.gemm import MatmulShape, Tile, emit_matmul, workspace_bytes
from graphc.runtime.llvm.gemm_kernels import counted, tile_kernel
from graphc.runtime.llvm.jit import Machine, assembly, compile_text
from graphc.runtime.llvm.module import Module
from graphc.runtime.llvm.registers import Reg, constant, type_name
from graphc.runtime.llvm.target import HostTarget, host_target, x86_target

DTYPES = {"f32": np.float32, "f64": np.float64, "i32": np.int32, "i64": np.int64}

SMALL = [(1, 1, 1), (1, 5, 1), (1, 40, 300), (300, 40, 1), (3, 7, 2), (2, 100, 40), (40, 50, 3)]
MIDDLE = [
    (13, 17, 19),
    (14, 3, 10),
    (15, 16, 16),
    (29, 31, 37),
    (65, 33, 70),
    (100, 1, 33),
    (14, 3, 430),
]
EMPTY = [(0, 3, 4), (4, 3, 0), (5, 0, 6), (1, 0, 1), (0, 0, 0)]
LARGE = [(64, 1000, 100), (97, 401, 211), (40, 1024, 130)]

LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "N": np.ascontiguousarray,
    "T": np.asfortranarray,
    "S": lambda a: np.repeat(np.repeat(a, 2, axis=0), 3, axis=1)[::2, ::3],
    "R": lambda a: np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1],
    "B": lambda a: np.broadcast_to(a[:1], a.shape),
}
PLAIN = ["NN", "NT", "TN", "TT"]
ODD = ["SS", "RR", "NR", "RN", "BN", "NB", "BT", "TS"]


# ---- building and calling ------------------------------------------------------------------------


Step = Callable[[Function, Reg, Reg, Reg, Reg], Reg]
"""(function, bias, old value, value of the product, column) -> new value"""


def subtract(f: Function, _bias: Reg, old: Reg, new: Reg, _column: Reg) -> Reg:
    """An element computed twice or never shows."""
    return f.binary("fsub" if old.elem in ("float", "double") else "sub", old, new)


def each_element(f: Function, tile: Tile, columns: int, elem: str, lanes: int, step: Step) -> None:
    """out[i, j] = step(out[i, j], tile[i, j]), where the tile is read by whole vectors."""
    _, _, out, _, bias, _, _ = f.parameters
    zero = constant(0, "i64")
    with counted(f, zero, tile.rows, 1) as r, counted(f, zero, tile.columns, 1) as c:
        inside = f.add(f.mul(r, constant(tile.stride, "i64")), c)
        column = f.add(tile.column, c)
        row = f.mul(f.add(tile.row, r), constant(columns, "i64"))
        place = f.offset(out, elem, f.add(row, column))
        value = f.extract(whole_vector(f, f.offset(tile.pointer, elem, inside), elem, lanes), 0)
        f.store(step(f, bias, f.load(place, elem), value, column), place)


def shape_of(left: np.ndarray, right: np.ndarray, dtype: str) -> MatmulShape:
    strides = [tuple(stride // a.itemsize for stride in a.strides) for a in (left, right)]
    return MatmulShape(left.shape[0], left.shape[1], right.shape[1], dtype, *strides)


def whole_vector(f: Function, address: Reg, elem: str, lanes: int) -> Reg:
    """A load that LLVM may not narrow to the lane that is used."""
    kind = type_name(elem, lanes)
    return f.let(f"load volatile {kind}, ptr {address.text}, align 4", elem, lanes)


PARAMETERS = [Reg(f"%p{i}", "ptr") for i in range(5)] + [Reg("%low", "i64"), Reg("%high", "i64")]


def add_product(
    module: Module,
    name: str,
    shape: MatmulShape,
    target: HostTarget,
    step: Step = subtract,
    shares: int = 1,
) -> None:
    """A function (left, right, out, workspace, bias, low, high)."""
    f = Function(module, name, PARAMETERS, linkage="dso_local")
    left, right, _, workspace, _, low, high = PARAMETERS
    lanes = target.vector_bytes // shape.size

    def epilogue(g: Function, tile: Tile) -> None:
        each_element(g, tile, shape.columns, shape.elem, lanes, step)

    rows = None if shares == 1 else (low, high)
    emit_matmul(f, shape, left, right, epilogue, target, workspace, rows, shares)
    f.line("ret void")
    module.add(f)


def call(machine: Machine, name: str, *arrays, rows: tuple[int, int] = (0, 0)) -> None:
    signature = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 5, *[ctypes.c_int64] * 2)
    signature(machine.address(name))(*(a.ctypes.data for a in arrays), *rows)


def workspace_for(shape: MatmulShape, target: HostTarget, shares: int = 1) -> np.ndarray:
    return np.frombuffer(fenced(workspace_bytes(shape, target, shares), at_end=True), np.uint8)


def random_matrix(rng, rows: int, columns: int, dtype: str) -> np.ndarray:
    if dtype in ("f32", "f64"):
        return rng.standard_normal((rows, columns)).astype(DTYPES[dtype])
    limits = np.iinfo(DTYPES[dtype])
    return rng.integers(limits.min, limits.max, (rows, columns), DTYPES[dtype])


Stored = tuple[str, str]


def operands(
    rng,
    size: tuple[int, int, int],
    layout: str,
    dtype: str,
    at_end: bool,
    stored: Stored = ("", ""),
):
    rows, inner, columns = size
    matrices = random_matrix(rng, rows, inner, dtype), random_matrix(rng, inner, columns, dtype)
    narrowed = (m.astype(NUMPY_DTYPES[s or dtype]) for m, s in zip(matrices, stored, strict=True))
    left, right = (LAYOUTS[name](m) for name, m in zip(layout, narrowed, strict=True))
    return fenced_copy(left, at_end), fenced_copy(right, at_end)


def check(got: np.ndarray, before: np.ndarray, left: np.ndarray, right: np.ndarray) -> None:
    """got = before - left @ right, as exactly as the length of the sums allows."""
    if got.dtype.kind == "i":
        np.testing.assert_array_equal(got, before - left @ right)
        return
    wide = np.longdouble if got.dtype == np.float64 else np.float64
    a, b = left.astype(wide), right.astype(wide)
    bound = np.finfo(got.dtype).eps * (left.shape[1] * (abs(a) @ abs(b)) + abs(before) + abs(got))
    assert (abs(got - (before - a @ b)) <= bound).all()


def check_products(
    sizes,
    layouts,
    dtype: str,
    target: HostTarget,
    at_end: bool,
    stored: Stored = ("", ""),
) -> None:
    rng = np.random.default_rng(0)
    module, cases = Module(emulations(target)), []
    for size in sizes:
        for layout in layouts:
            if "B" in layout and 0 in size:
                continue
            left, right = operands(rng, size, layout, dtype, at_end, stored)
            name = f"product{len(cases)}"
            shape = shape_of(left, right, dtype)._replace(stored=stored)
            add_product(module, name, shape, target)
            cases.append((name, shape, left, right))
    machine = compile_text(str(module), target=target)
    for name, shape, left, right in cases:
        before = random_matrix(rng, shape.rows, shape.columns, dtype)
        out, work = fenced_copy(before, at_end), workspace_for(shape, target)
        call(machine, name, left, right, out, work, work)
        check(out, before, left, right)


# ---- the tests -----------------------------------------------------------------------------------


@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_products_of_all_sizes_and_layouts(dtype: str, at_end: bool) -> None:
    check_products(SMALL + MIDDLE + EMPTY, PLAIN, dtype, host_target(), at_end)


@pytest.mark.parametrize("dtype", DTYPES)
def test_odd_strides(dtype: str) -> None:
    sizes = [(3, 7, 2), (1, 9, 35), (33, 9, 1), (29, 31, 37)]
    check_products(sizes, ODD, dtype, host_target(), at_end=True)


@pytest.mark.parametrize("stored", [("f16", "f16"), ("bf16", "bf16"), ("bf16", ""), ("", "f16")])
def test_operands_of_16_bits(stored: Stored) -> None:
    """Widened where they are packed or loaded; no byte beyond them is read."""
    check_products(SMALL + MIDDLE + EMPTY, PLAIN, "f32", host_target(), True, stored)
    odd = [(3, 7, 2), (1, 9, 35), (33, 9, 1), (29, 31, 37)]
    check_products(odd, ODD, "f32", host_target(), True, stored)


@pytest.mark.parametrize("level", ["x86-64", "x86-64-v3"])
@pytest.mark.parametrize("name", ["f16", "bf16"])
def test_operands_of_16_bits_on_other_machines(level: str, name: str) -> None:
    if not host_target().triple.startswith("x86_64") or host_target().vector_bytes < 32:
        pytest.skip("runs the code of these levels")
    sizes = [(1, 9, 35), (29, 31, 37)]
    check_products(sizes, PLAIN, "f32", x86_target(level), True, (name, name))


@pytest.mark.parametrize("name", ["", "bf16"])
def test_blocks_of_operands_of_16_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gemm_tiling, "PANEL_BYTES", 4096)
    monkeypatch.setattr(gemm_tiling, "SUMS_BYTES", 8192)
    monkeypatch.setattr(gemm_tiling, "LEFT_BLOCK_BYTES", 2 * 1024 * 16 * 4)
    sizes = [(40, 1024, 130), (50, 99, 40)]
    check_products(sizes, PLAIN, "f32", host_target(), True, (name, name))


@pytest.mark.parametrize("vector_bytes", [64, 32, 16])
@pytest.mark.parametrize("dtype", ["f32", "i64"])
def test_vector_widths(vector_bytes: int, dtype: str) -> None:
    target = host_target()._replace(vector_bytes=vector_bytes)
    check_products([(1, 9, 35), (29, 31, 37)], PLAIN, dtype, target, at_end=True)


def test_large_products() -> None:
    check_products(LARGE, PLAIN, "f32", host_target(), at_end=True)


@pytest.mark.parametrize("dtype", ["f32", "f64", "i32"])
@pytest.mark.parametrize("panel_bytes", [128, 4096, 1 << 30])
def test_blocks_of_rows_and_of_k(
    dtype: str, panel_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gemm_tiling, "PANEL_BYTES", panel_bytes)
    monkeypatch.setattr(gemm_tiling, "SUMS_BYTES", 8192)
    monkeypatch.setattr(gemm_tiling, "LEFT_BLOCK_BYTES", 2 * 1024 * 16 * 4)
    sizes = [(40, 1024, 130), (67, 1024, 130), (50, 99, 40)]
    check_products(sizes, PLAIN, dtype, host_target(), at_end=True)


@pytest.mark.parametrize(
    "size", [(64, 20, 40), (50, 20, 1), (3, 20, 40), (5, 0, 6), (99, 1024, 130), (90, 5000, 40)]
)
def test_shares_of_the_rows(size: tuple[int, int, int]) -> None:
    check_shares(size, "NT")


def check_shares(size: tuple[int, int, int], layout: str) -> None:
    rng = np.random.default_rng(1)
    target, module, shares = host_target(), Module(), 3
    left, right = operands(rng, size, layout, "f32", at_end=True)
    shape = shape_of(left, right, "f32")
    add_product(module, "product", shape, target, shares=shares)
    machine = compile_text(str(module))
    before = random_matrix(rng, shape.rows, shape.columns, "f32")
    out, work = fenced_copy(before, True), workspace_for(shape, target, shares)
    bounds = [0, 0, shape.rows // 3, shape.rows // 2 + 1, shape.rows]
    for rows in itertools.pairwise(bounds):
        call(machine, "product", left, right, out, work, work, rows=rows)
    check(out, before, left, right)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("vector_bytes", [64, 32, 16])
def test_narrow_products_are_computed_transposed(dtype: str, vector_bytes: int) -> None:
    """Few columns, of a left matrix that runs along its rows: each tile is turned in memory."""
    if host_target().vector_bytes < vector_bytes:
        pytest.skip("runs the code of this width")
    target = host_target()._replace(vector_bytes=vector_bytes)
    sizes = [(rows, 20, columns) for rows in (32, 37, 100) for columns in (2, 3, 5, 7, 9, 10, 12)]
    check_products(sizes, ["TN", "TT", "TS", "TB"], dtype, target, at_end=True)
    shape = MatmulShape(100, 20, 3, dtype, (1, 100), (3, 1))
    assert gemm_tiling.plan(shape, target, 1)[1].turns


@pytest.mark.parametrize("layout", ["NT", "TN"])
def test_shares_of_the_rows_of_narrow_products(layout: str) -> None:
    check_shares((100, 20, 10), layout)


def test_update_in_place() -> None:
    def descend(f: Function, _bias: Reg, old: Reg, new: Reg, _column: Reg) -> Reg:
        return f.fsub(old, f.fmul(new, constant(0.25, "float")))

    rng = np.random.default_rng(2)
    left, right = operands(rng, (100, 64, 33), "TN", "f32", at_end=True)
    weights = random_matrix(rng, 100, 33, "f32")
    got = run_one(left, right, weights, np.zeros(33, np.float32), descend)
    np.testing.assert_allclose(got, weights - 0.25 * (left @ right), atol=1e-4)


def test_bias_and_relu() -> None:
    def relu(f: Function, bias: Reg, _old: Reg, new: Reg, column: Reg) -> Reg:
        total = f.fadd(new, f.load(f.offset(bias, "float", column), "float"))
        zero = constant(0, "float")
        return f.select(f.fcmp("ogt", total, zero), total, zero)

    rng = np.random.default_rng(3)
    left, right = operands(rng, (64, 100, 10), "NN", "f32", at_end=True)
    bias = random_matrix(rng, 1, 10, "f32")
    got = run_one(left, right, np.zeros((64, 10), np.float32), bias, relu)
    np.testing.assert_allclose(got, np.maximum(left @ right + bias, 0), atol=1e-4)


def run_one(left, right, before: np.ndarray, bias: np.ndarray, step: Step) -> np.ndarray:
    module, shape = Module(), shape_of(left, right, "f32")
    add_product(module, "product", shape, host_target(), step)
    out, work = fenced_copy(before, True), workspace_for(shape, host_target())
    call(compile_text(str(module)), "product", left, right, out, work, bias)
    return out


def test_products_share_micro_kernels() -> None:
    module, target = Module(), host_target()
    for name, columns in (("first", 128), ("second", 256)):
        shape = MatmulShape(64, 30, columns, "f32", (30, 1), (columns, 1))
        add_product(module, name, shape, target)
    assert len([name for name in module.functions if name.startswith("matmul_tile")]) == 1


def test_workspace_is_bounded() -> None:
    size = 1 << 20
    shape = MatmulShape(size, 1024, size, "f32", (1024, 1), (1, 1024))
    assert workspace_bytes(shape, host_target()) < 16 * 1024 * 1024


@pytest.mark.parametrize(
    ("dtype", "size", "packed"),
    [
        ("f32", 1900, True),
        ("f64", 1500, True),
        ("f64", 600, False),
        ("f64", 512, True),
        ("f32", 512, False),
    ],
)
def test_left_is_packed_where_its_lines_do_not_stay_in_cache(
    dtype: str, size: int, packed: bool
) -> None:
    """Transposed, each k takes lines of its own for the few rows of a tile."""
    target = host_target()._replace(vector_bytes=64)
    shape = MatmulShape(size, size, size, dtype, (1, size), (size, 1))
    assert gemm_tiling.choose_tiling(shape, target).pack_left is packed


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_scattered_left(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gemm_tiling, "SCATTERED_BYTES", 1024)
    check_products([(40, 99, 130), (67, 33, 200)], ["TN", "TT", "RT"], dtype, host_target(), True)


@pytest.mark.parametrize("stored", [("", ""), ("bf16", "bf16")])
def test_tiles_of_left_packed_together(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole groups, groups that lack a tile or a few rows, and fewer rows than one group."""
    monkeypatch.setattr(gemm_tiling, "SCATTERED_BYTES", 1024)
    monkeypatch.setattr(gemm_tiling, "RUN_BYTES", 128)
    monkeypatch.setattr(gemm_tiling, "LEFT_BLOCK_BYTES", 16 * 99 * 4 * 5)
    sizes = [(rows, 99, 130) for rows in (1, 17, 27, 28, 31, 56, 57, 65, 211)]
    check_products(sizes, ["TN", "TT"], "f32", host_target(), True, stored)


@pytest.mark.parametrize("dtype", DTYPES)
def test_panels_asked_for_ahead(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Far beyond both matrices too, where nothing is."""
    monkeypatch.setattr(gemm_tiling, "AHEAD_BYTES", 1)
    monkeypatch.setattr(gemm_tiling, "AHEAD_TILES", 1)
    monkeypatch.setattr(gemm_tiling, "PACK_BYTES", 0)
    monkeypatch.setattr(gemm_tiling, "PACK_USES", ((math.inf, 4),))
    sizes = [(200, 33, 70), (500, 9, 40), (67, 100, 200)]
    shape = MatmulShape(200, 33, 70, dtype, (33, 1), (70, 1))
    assert gemm_tiling.choose_tiling(shape, host_target()).asks_ahead
    check_products(sizes, [*PLAIN, "RR", "SS", "NB"], dtype, host_target(), at_end=True)


@pytest.mark.parametrize(
    ("size", "packed"),
    [((64, 1000, 100), False), ((256, 256, 256), False), ((256, 1024, 1024), True)],
)
def test_right_is_packed_where_it_does_not_stay_in_cache(
    size: tuple[int, int, int], packed: bool
) -> None:
    """Rows a power of two apart share few sets of it."""
    rows, inner, columns = size
    shape = MatmulShape(rows, inner, columns, "f32", (inner, 1), (columns, 1))
    assert gemm_tiling.choose_tiling(shape, host_target()).pack_right is packed


def test_blocks_of_left_are_alike() -> None:
    """Right is packed once for each block of left: a small block at the end would cost as much."""
    target = host_target()._replace(vector_bytes=64)
    shape = MatmulShape(2048, 2048, 2048, "f32", (2048, 1), (2048, 1))
    tiling = gemm_tiling.choose_tiling(shape, target)
    blocks = -(-shape.rows // tiling.row_block)
    assert 2 <= blocks <= 3
    assert tiling.row_block * blocks < 1.05 * shape.rows


@pytest.mark.parametrize("vectors", [1, 2])
def test_tile_keeps_its_row_pointers(vectors: int) -> None:
    """One pointer for three rows, none of them moved between the multiplications."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = x86_target("x86-64-v4")
    module = Module(emulations(target))
    tile_kernel(module, MatmulShape(13, 100, 64, "f32", (100, 1), (64, 1)), 13, vectors, 16)
    code = assembly(str(module), target)
    loop = code[code.index("vfmadd") : code.rindex("vfmadd")]
    assert loop.count("vfmadd") == 13 * vectors - 1
    assert "addq" not in loop
