"""Matrix products by a library: which kernels, with which arguments, and what is left of them.

The library is made up here: it does in NumPy what cuBLASLt's documentation says of its arguments.
Nothing here shows that the real one does.
"""

from __future__ import annotations

import ctypes
import enum
import sys
import types

import numpy as np
import pytest

import graphc as gc
from graphc.ir import bfloat16
from graphc.runtime.cuda.current import use
from graphc.runtime.cuda.emulated.host import HostDevice
from graphc.runtime.cuda.library import FOUND, WORKSPACE_BYTES, CublasLt, alignment, open_library
from graphc.runtime.cuda.plan import products

SIZES = {3: 4, 4: 4, 5: 4, 6: 8, 7: 4, 8: 8}
"""Bytes of each attribute."""
PREFERENCES = {1: 8, 3: 4, 5: 4, 6: 4, 7: 4, 8: 4}
"""Those of what is preferred."""
WAY = 0x1234
DTYPES = {0: np.dtype("f4"), 1: np.dtype("f8"), 2: np.dtype("f2"), 14: np.dtype(bfloat16())}
COMPUTE = {68: 0, 70: 1}
RESULT_OF = {(0, 0), (1, 1), (2, 2), (2, 0), (14, 14), (14, 0)}
"""Which operands give which results."""


class Bindings:
    """`nvmath.bindings.cublasLt`, in NumPy."""

    MatmulDescAttribute = enum.IntEnum(
        "MatmulDescAttribute", {"TRANSA": 3, "TRANSB": 4, "EPILOGUE": 7, "BIAS_POINTER": 8}
    )
    MatrixLayoutAttribute = enum.IntEnum(
        "MatrixLayoutAttribute", {"BATCH_COUNT": 5, "STRIDED_BATCH_OFFSET": 6}
    )
    MatmulPreferenceAttribute = enum.IntEnum(
        "MatmulPreferenceAttribute",
        {
            "MAX_WORKSPACE_BYTES": 1,
            "REDUCTION_SCHEME_MASK": 3,
            "MIN_ALIGNMENT_A_BYTES": 5,
            "MIN_ALIGNMENT_B_BYTES": 6,
            "MIN_ALIGNMENT_C_BYTES": 7,
            "MIN_ALIGNMENT_D_BYTES": 8,
        },
    )
    Epilogue = enum.IntEnum("Epilogue", {"DEFAULT": 1, "BIAS": 4})
    ReductionScheme = enum.IntEnum("ReductionScheme", {"COMPUTE_TYPE": 2})

    class cuBLASLtError(Exception):
        """As it is there: of no other class."""

    def __init__(self):
        self.made = []
        self.asked = []
        self.is_helpless = ""
        self.workspace = (0, 0)
        self.calls = []

    def create(self):
        return 4711

    def matmul_desc_create(self, compute, scale):
        assert COMPUTE[compute] == scale
        self.made.append({3: 0, 4: 0, 7: 1})
        return len(self.made) - 1

    def matrix_layout_create(self, kind, rows, columns, step):
        assert step >= rows
        self.made.append({"shape": (rows, columns), "step": step, "kind": kind})
        return len(self.made) - 1

    def matmul_desc_set_attribute(self, what, attribute, address, size):
        assert size == SIZES[attribute]
        kind = ctypes.c_uint64 if size == 8 else ctypes.c_int32
        self.made[what][attribute] = kind.from_address(address).value

    matrix_layout_set_attribute = matmul_desc_set_attribute

    def matrix(self, layout, address, batch):
        """A matrix in columns."""
        described = self.made[layout]
        (rows, columns), dtype = described["shape"], DTYPES[described["kind"]]
        start = address + batch * described[6] * dtype.itemsize
        count = (columns - 1) * described["step"] + rows
        raw = np.ctypeslib.as_array((ctypes.c_byte * (count * dtype.itemsize)).from_address(start))
        strides = (dtype.itemsize, described["step"] * dtype.itemsize)
        return np.lib.stride_tricks.as_strided(raw.view(dtype), (rows, columns), strides)

    def matmul_preference_create(self):
        self.made.append({})
        return len(self.made) - 1

    def matmul_preference_set_attribute(self, what, attribute, address, size):
        assert size == PREFERENCES[attribute]
        kind = ctypes.c_uint64 if size == 8 else ctypes.c_int32
        self.made[what][attribute] = kind.from_address(address).value

    def matmul_preference_destroy(self, what):
        self.asked.append(self.made[what])

    def matmul_algo_get_heuristic(self, handle, what, a, b, c, d, preferred, most, found, count):
        assert (handle, c, most) == (4711, d, 1)
        assert self.made[preferred][3] == self.ReductionScheme.COMPUTE_TYPE
        kinds = [self.made[layout]["kind"] for layout in (a, b, d)]
        assert kinds[0] == kinds[1]
        assert (kinds[0], kinds[2]) in RESULT_OF
        if self.is_helpless == "raises":
            raise self.cuBLASLtError("CUBLAS_STATUS_NOT_SUPPORTED (15)")
        way = np.ctypeslib.as_array((ctypes.c_uint64 * 12).from_address(found))
        way[0] = WAY
        assert way.nbytes == FOUND.itemsize
        ctypes.c_int32.from_address(count).value = 0 if self.is_helpless else 1

    def matmul(self, handle, what, alpha, a, a_is, b, b_is, beta, c, c_is, d, d_is, way, *rest):
        assert (handle, c, c_is) == (4711, d, d_is)
        assert ctypes.c_uint64.from_address(way).value == WAY
        assert rest == (*self.workspace, 0)
        operation = self.made[what]
        kind = ctypes.c_double if self.made[a_is]["kind"] == 1 else ctypes.c_float
        assert (kind.from_address(alpha).value, kind.from_address(beta).value) == (1.0, 0.0)
        self.calls.append(operation[7])
        for batch in range(self.made[d_is][5]):
            first, second = (
                self.matrix(layout, place, batch).astype(kind)
                for layout, place in ((a_is, a), (b_is, b))
            )
            product = (first.T if operation[3] else first) @ (second.T if operation[4] else second)
            out = self.matrix(d_is, d, batch)
            if operation[7] == self.Epilogue.BIAS:
                raw = (ctypes.c_byte * (len(product) * out.itemsize)).from_address(operation[8])
                product = product + np.frombuffer(raw, out.dtype).astype(kind)[:, None]
            out[...] = product


@pytest.fixture
def bindings(monkeypatch):
    monkeypatch.setattr(products, "LEAST_WORK", 1)
    return Bindings()


@pytest.fixture
def device(bindings):
    device = HostDevice(library=CublasLt(bindings))
    with use(device):
        yield device


def normal(*shape, dtype="f4"):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


A, B, C = normal(6, 5), normal(5, 7), normal(7)

PLAIN = {
    "a product": (lambda a, b: a @ b, (A, B)),
    "in double precision": (lambda a, b: a @ b, (A.astype("f8"), B.astype("f8"))),
    "of a transposed left": (lambda a, b: a.T @ b, (normal(5, 6), B)),
    "of a transposed right": (lambda a, b: a @ b.T, (A, normal(7, 5))),
    "of two transposed": (lambda a, b: a.T @ b.T, (normal(5, 6), normal(7, 5))),
    "of columns of a larger matrix": (
        lambda a, b: a[:, 2:7] @ b[1:, :3],
        (normal(6, 9), normal(6, 7)),
    ),
    "of batches": (lambda a, b: a @ b, (normal(3, 6, 5), normal(3, 5, 7))),
    "of batches by one": (lambda a, b: a @ b, (normal(3, 6, 5), B)),
    "of transposed batches": (
        lambda a, b: a @ b.transpose(0, 2, 1),
        (normal(3, 6, 5), normal(3, 7, 5)),
    ),
    "with a bias": (lambda a, b, c: a @ b + c, (A, B, C)),
    "in half precision": (lambda a, b: a @ b, (A.astype("f2"), B.astype("f2"))),
    "in half precision with a bias": (
        lambda a, b, c: a @ b + c,
        (A.astype("f2"), B.astype("f2"), C.astype("f2")),
    ),
    "in brain floats": (lambda a, b: a @ b, (A.astype(bfloat16()), B.astype(bfloat16()))),
}

WITH_REST = {
    "a rectified one": (lambda a, b, c: np.maximum(a @ b + c, 0.0), (A, B, C)),
    "a bias in double precision": (
        lambda a, b, c: a @ b + c,
        (A.astype("f8"), B.astype("f8"), C.astype("f8")),
    ),
    "a bias for each row": (lambda a, b, c: a @ b + c[:, None], (A, B, normal(6))),
    "batches": (lambda a, b, c: np.tanh(a @ b) * c, (normal(3, 6, 5), normal(3, 5, 7), C)),
    "in half precision and more": (
        lambda a, b, c: np.maximum(a @ b + c, 0),
        (A.astype("f2"), B.astype("f2"), C.astype("f2")),
    ),
    "in brain floats and more": (
        lambda a, b: np.tanh(a @ b.T),
        (A.astype(bfloat16()), normal(7, 5).astype(bfloat16())),
    ),
    "an update": (lambda a, b, w: w - 0.1 * (a @ b), (A, B, normal(6, 7))),
}


def check(device, function, arguments):
    step, wanted = gc.compile(function, target="cuda"), function(*arguments)
    close = {2: 2e-2, 4: 1e-5, 8: 1e-12}[arguments[0].itemsize]
    for _ in range(3):
        got = np.asarray(step(*arguments))
        assert got.dtype == arguments[0].dtype
        got, exact = got.astype("f8"), np.asarray(wanted).astype("f8")
        np.testing.assert_allclose(got, exact, rtol=close, atol=close)
    assert device.products == 3


@pytest.mark.parametrize("case", PLAIN.values(), ids=PLAIN)
def test_products_alone(device, case):
    check(device, *case)
    assert device.launches == 0


@pytest.mark.parametrize("case", WITH_REST.values(), ids=WITH_REST)
def test_products_and_a_kernel_for_the_rest(device, case):
    check(device, *case)
    assert device.launches == 3


def test_a_bias_is_added_by_the_library(device, bindings):
    gc.compile(lambda a, b, c: a @ b + c, target="cuda")(A, B, C)
    gc.compile(lambda a, b: a @ b, target="cuda")(A, B)
    assert bindings.calls == [Bindings.Epilogue.BIAS, Bindings.Epilogue.DEFAULT]


@pytest.mark.parametrize("is_helpless", ["raises", "finds nothing"])
def test_what_the_library_has_no_way_for_is_generated(device, bindings, is_helpless):
    bindings.is_helpless = is_helpless
    step = gc.compile(lambda a, b: a @ b, target="cuda")
    for _ in range(3):
        np.testing.assert_allclose(np.asarray(step(A, B)), A @ B, rtol=1e-5)
    assert (device.products, device.launches) == (0, 3)
    assert len(bindings.asked) == 1


def test_operands_of_two_dtypes_are_no_product_for_the_library(device):
    a = A.astype("f2")
    for function, arguments in ((lambda a, b: a @ b, (a, B)), (lambda a, b: b.T @ a.T, (a, B))):
        got = np.asarray(gc.compile(function, target="cuda")(*arguments))
        np.testing.assert_allclose(got, function(*arguments), rtol=1e-5)


def test_the_library_is_told_of_how_many_bytes_addresses_are_multiples(device, bindings):
    """It takes them for multiples of 256 if nobody says otherwise."""
    step = gc.compile(lambda a, b: a[:, 1:] @ b, target="cuda")
    step(normal(6, 6), B)
    assert bindings.asked[0] == {
        1: 0,
        3: 2,
        5: 256,
        6: 4,
        7: bindings.asked[0][8],
        8: 256,
    }
    assert [alignment(a) for a in (0x1000, 0x1110, 0x1104, 0)] == [256, 16, 4, 256]


def test_the_library_has_working_memory_of_the_device(bindings, monkeypatch):
    for name in ("nvmath", "nvmath.bindings"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setattr(sys.modules["nvmath.bindings"], "cublasLt", bindings, raising=False)
    device = HostDevice()
    device.library = open_library(device.allocate)
    bindings.workspace = device.library.workspace
    assert bindings.workspace.nbytes == WORKSPACE_BYTES
    with use(device):
        np.testing.assert_allclose(
            np.asarray(gc.compile(lambda a, b: a @ b, target="cuda")(A, B)), A @ B, rtol=1e-5
        )
    assert open_library(HostDevice(limit=1000).allocate).workspace.nbytes == 0


def test_a_training_step(device):
    @gc.compile(target="cuda")
    def step(params, x, y):
        def loss(p):
            hidden = np.maximum(x @ p["w"] + p["b"], 0.0)
            return np.mean((hidden @ p["v"] - y) ** 2)

        value, gradient = gc.value_and_grad(loss)(params)
        for name in params:
            params[name] -= 0.1 * gradient[name]
        return value

    def arguments():
        params = {"w": normal(5, 8), "b": normal(8), "v": normal(8, 3)}
        return params, normal(6, 5), normal(6, 3)

    there, here = arguments(), arguments()
    for _ in range(4):
        loss = step(*there)
        wanted = gc.compile(step._function)(*here)
        assert float(loss) == pytest.approx(float(wanted), rel=1e-4)
    for name, array in there[0].items():
        np.testing.assert_allclose(array, here[0][name], rtol=1e-3, atol=1e-5)
    assert device.products


def test_after_a_failed_check_no_library_writes_to_an_argument(device):
    @gc.compile(target="cuda")
    def function(w, a, b, limit):
        assert a.sum() < limit
        w[...] = a @ b

    w = gc.to_device(normal(6, 7))
    before = w.copy_to_host()
    with pytest.raises(gc.errors.FailedAssertionError):
        function(w, A, B, -1e9)
    np.testing.assert_array_equal(np.asarray(w), before)
    function(w, A, B, 1e9)
    np.testing.assert_allclose(np.asarray(w), A @ B, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (lambda a, b: a[:, ::2] @ b, (normal(6, 10), B)),
        (lambda a, v: a @ v, (A, normal(5))),
        (lambda a, b: a @ b, (np.ones((6, 5), "i4"), np.ones((5, 7), "i4"))),
        (lambda a, b: np.sum(a @ b, axis=1), (A, B)),
    ],
    ids=["columns apart", "a vector", "integers", "a sum of it"],
)
def test_what_no_library_is_asked_for(device, function, arguments):
    got = np.asarray(gc.compile(function, target="cuda")(*arguments))
    np.testing.assert_allclose(got, function(*arguments), rtol=1e-5, atol=1e-5)


def test_small_products_are_generated(device, monkeypatch):
    monkeypatch.setattr(products, "LEAST_WORK", 6 * 5 * 7 + 1)
    gc.compile(lambda a, b: a @ b, target="cuda")(A, B)
    assert (device.products, device.launches > 0) == (0, True)


def test_a_library_that_does_not_start(monkeypatch):
    """Its exception is of no class that Python has: it has to be asked for."""
    module = types.ModuleType("cublasLt")
    module.cuBLASLtError = Bindings.cuBLASLtError

    def create():
        raise module.cuBLASLtError("NOT_INITIALIZED (1)")

    module.create = create
    package = types.ModuleType("nvmath.bindings")
    package.cublasLt = module
    monkeypatch.setitem(sys.modules, "nvmath", types.ModuleType("nvmath"))
    monkeypatch.setitem(sys.modules, "nvmath.bindings", package)
    assert open_library(HostDevice().allocate) is None


def test_without_the_library_kernels_are_generated():
    library = open_library(HostDevice().allocate)
    assert library is None or isinstance(library, CublasLt)
    with use(HostDevice()) as session:
        gc.compile(lambda a, b: a @ b, target="cuda")(A, B)
        assert session.device.products == 0
        assert session.device.launches > 0


def test_the_module_has_what_is_called():
    real = pytest.importorskip("nvmath.bindings.cublasLt", reason="nvmath-python is not installed")
    for name in vars(Bindings):
        if name.startswith("mat") and name != "matrix":
            assert hasattr(real, name), name
    assert real.matmul_heuristic_result_dtype.itemsize == FOUND.itemsize
    kinds = [name for name, held in vars(Bindings).items() if isinstance(held, enum.EnumMeta)]
    for kind in kinds:
        for member in getattr(Bindings, kind):
            found = getattr(getattr(real, kind), member.name)
            assert found.value == member.value
