"""Matrix products by cuBLASLt, where nvmath-python and the library are installed.

**Not run on a GPU yet**: the tests run it against bindings that do in NumPy what the library's
documentation says.  Without it generated kernels do the work (`plan/products.py` says which).
Products of f32 and f64 are of IEEE numbers of that dtype, without TF32.  f16 and bf16 are
multiplied by tensor cores and added up in f32, which also parts of long inner products are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from graphc.runtime.cuda.device import OutOfMemory
from graphc.runtime.cuda.plan.products import ITEMSIZES, Matrix, MatrixProduct


class Arithmetic(NamedTuple):
    """How the library adds up: its number, that of the dtype of factors, and that dtype."""

    compute: int
    scale: int
    numpy: np.dtype


NUMBERS = {"f32": 0, "f64": 1, "f16": 2, "bf16": 14}
"""CUDA_R_32F, CUDA_R_64F, CUDA_R_16F, CUDA_R_16BF."""
_SINGLE = Arithmetic(68, NUMBERS["f32"], np.dtype(np.float32))
_DOUBLE = Arithmetic(70, NUMBERS["f64"], np.dtype(np.float64))
ARITHMETIC = {"f32": _SINGLE, "f16": _SINGLE, "bf16": _SINGLE, "f64": _DOUBLE}
"""CUBLAS_COMPUTE_32F and CUBLAS_COMPUTE_64F."""

_ITSELF, _TRANSPOSED = 0, 1
_IN_THE_ARITHMETIC = 2
"""CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE: the only way in which parts are added up in f32, and in
the same order each time."""

WORKSPACE_BYTES = 32 << 20
"""What the fastest ways of a Hopper device ask for."""
MOST_ALIGNMENT = 256

FOUND = np.dtype(
    [
        ("way", np.uint64, 8),
        ("workspace", np.uint64),
        ("status", np.int32),
        ("waves", np.float32),
        ("reserved", np.int32, 4),
    ]
)
"""The structure cublasLtMatmulHeuristicResult_t, whose first part is the cublasLtMatmulAlgo_t."""


class Workspace(NamedTuple):
    """Working memory on the device; products are done one after the other and share it."""

    address: int
    nbytes: int


class CublasLt:
    """Products by cuBLASLt; `bindings` is the module `nvmath.bindings.cublasLt`.

    The library thinks in columns: what lies in row-major order is to it the transposed matrix.  So
    it is told to multiply the transposed right by the transposed left, which gives the transposed
    product, in row-major order for us.
    """

    def __init__(self, bindings: Any):
        self._bindings = bindings
        self.workspace = Workspace(0, 0)
        self.errors: tuple[type[Exception], ...] = (bindings.cuBLASLtError, RuntimeError)
        """What the bindings raise: where the library fails, and where they do not find it."""
        self._handle = bindings.create()
        self._layouts = functools.cache(self._describe)
        self._operations = functools.cache(self._operation)
        self._ways = functools.cache(self._way)

    def has_way(self, product: MatrixProduct, pointers: Sequence[int]) -> bool:
        """Whether the library does a product on buffers at these addresses."""
        return self._ways(product, *map(alignment, _places(product, pointers))) is not None

    def multiply(self, product: MatrixProduct, pointers: Sequence[int], stream: int) -> None:
        """Put a product on a stream that there is a way for."""
        right, left, out = places = _places(product, pointers)
        way = self._ways(product, *map(alignment, places))
        assert way is not None
        first, second, third = self._layouts(product)
        operation = self._operations(product)
        if product.bias is not None:
            size = ITEMSIZES[product.out_dtype]
            at = pointers[product.bias.buffer] + int(product.bias.offset) * size
            attribute = self._bindings.MatmulDescAttribute.BIAS_POINTER
            self._set(operation, attribute, at, np.uint64)
        kind = ARITHMETIC[product.dtype].numpy
        one, zero = np.ones(1, kind), np.zeros(1, kind)
        self._bindings.matmul(
            self._handle,
            operation,
            one.ctypes.data,
            right,
            first,
            left,
            second,
            zero.ctypes.data,
            out,
            third,
            out,
            third,
            way.ctypes.data,
            *self.workspace,
            stream,
        )

    def _way(self, product: MatrixProduct, right: int, left: int, out: int) -> np.ndarray | None:
        """How the library does this best at addresses of these alignments; None if it does not."""
        bindings, found, count = self._bindings, np.zeros(1, FOUND), np.zeros(1, np.int32)
        attributes = bindings.MatmulPreferenceAttribute
        preference = bindings.matmul_preference_create()
        for attribute, value, dtype in (
            (attributes.MAX_WORKSPACE_BYTES, self.workspace.nbytes, np.uint64),
            (attributes.REDUCTION_SCHEME_MASK, _IN_THE_ARITHMETIC, np.uint32),
            (attributes.MIN_ALIGNMENT_A_BYTES, right, np.uint32),
            (attributes.MIN_ALIGNMENT_B_BYTES, left, np.uint32),
            (attributes.MIN_ALIGNMENT_C_BYTES, out, np.uint32),
            (attributes.MIN_ALIGNMENT_D_BYTES, out, np.uint32),
        ):
            held = np.array([value], dtype)
            bindings.matmul_preference_set_attribute(
                preference, int(attribute), held.ctypes.data, held.nbytes
            )
        first, second, third = self._layouts(product)
        arguments = (self._operations(product), first, second, third, third, preference)
        try:
            bindings.matmul_algo_get_heuristic(
                self._handle, *arguments, 1, found.ctypes.data, count.ctypes.data
            )
        except bindings.cuBLASLtError:  # NOT_SUPPORTED: there is none
            return None
        finally:
            bindings.matmul_preference_destroy(preference)
        return found if count[0] and not found[0]["status"] else None

    def _describe(self, product: MatrixProduct) -> tuple[int, int, int]:
        """The layouts of the right, the left and the product."""
        rows, inner, columns = product.rows, product.inner, product.columns
        return (
            self._layout(product, product.dtype, product.right, inner, columns),
            self._layout(product, product.dtype, product.left, rows, inner),
            self._layout(product, product.out_dtype, product.out, rows, columns),
        )

    def _operation(self, product: MatrixProduct) -> int:
        kind, attributes = ARITHMETIC[product.dtype], self._bindings.MatmulDescAttribute
        operation: int = self._bindings.matmul_desc_create(kind.compute, kind.scale)
        for attribute, matrix in (
            (attributes.TRANSA, product.right),
            (attributes.TRANSB, product.left),
        ):
            way = _TRANSPOSED if matrix.is_transposed else _ITSELF
            self._set(operation, attribute, way, np.int32)
        if product.bias is not None:
            bias = int(self._bindings.Epilogue.BIAS)
            self._set(operation, attributes.EPILOGUE, bias, np.uint32)
        return operation

    def _set(self, operation: int, attribute: Any, value: int, dtype: Any) -> None:
        held = np.array([value], dtype)
        self._bindings.matmul_desc_set_attribute(
            operation, int(attribute), held.ctypes.data, held.nbytes
        )

    def _layout(
        self, product: MatrixProduct, dtype: str, matrix: Matrix, rows: int, columns: int
    ) -> int:
        """A matrix as the library sees it, whose columns are our rows."""
        bindings = self._bindings
        sizes = (rows, columns) if matrix.is_transposed else (columns, rows)
        layout: int = bindings.matrix_layout_create(NUMBERS[dtype], *sizes, matrix.step)
        attributes = bindings.MatrixLayoutAttribute
        for attribute, value, kind in (
            (attributes.BATCH_COUNT, product.batch, np.int32),
            (attributes.STRIDED_BATCH_OFFSET, matrix.apart, np.int64),
        ):
            held = np.array([value], kind)
            bindings.matrix_layout_set_attribute(
                layout, int(attribute), held.ctypes.data, held.nbytes
            )
        return layout


def _places(product: MatrixProduct, pointers: Sequence[int]) -> list[int]:
    """Where the right, the left and the product are, of buffers at these addresses."""
    matrices = (
        (product.right, product.dtype),
        (product.left, product.dtype),
        (product.out, product.out_dtype),
    )
    return [pointers[m.buffer] + m.offset * ITEMSIZES[dtype] for m, dtype in matrices]


def alignment(address: int) -> int:
    """Of how many bytes an address is a multiple, as far as it matters.

    >>> alignment(0x1008)
    8
    """
    return min(address & -address, MOST_ALIGNMENT) or MOST_ALIGNMENT


def open_library(allocate: Callable[[int], int]) -> CublasLt | None:
    """cuBLASLt, None where nvmath-python or the library is not installed, or does not start.

    It takes its working memory by `allocate`, and does without where there is none left.
    """
    try:
        from nvmath.bindings import cublasLt
    except (ImportError, RuntimeError, OSError):
        return None
    try:
        library = CublasLt(cublasLt)
    except (cublasLt.cuBLASLtError, RuntimeError, OSError):
        return None
    with suppress(OutOfMemory):
        library.workspace = Workspace(allocate(WORKSPACE_BYTES), WORKSPACE_BYTES)
    return library
