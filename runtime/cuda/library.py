"""Matrix products by cuBLASLt, where nvmath-python and the library are installed.

**Not run on a GPU yet**: the tests run it against bindings that do in NumPy what the library's
documentation says.  Without it generated kernels do the work (`products.py` says which).  Products
are of IEEE numbers of the dtype, without TF32.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from graphc.runtime.cuda.products import ITEMSIZES, Matrix, MatrixProduct


class ElementType(NamedTuple):
    """A dtype as the library has it: its number, and that of the arithmetic."""

    number: int
    compute: int
    numpy: np.dtype


TYPES = {
    "f32": ElementType(0, 68, np.dtype(np.float32)),
    "f64": ElementType(1, 70, np.dtype(np.float64)),
}
"""CUDA_R_32F with CUBLAS_COMPUTE_32F, CUDA_R_64F with CUBLAS_COMPUTE_64F."""

_ITSELF, _TRANSPOSED = 0, 1


class CublasLt:
    """Products by cuBLASLt; `bindings` is the module `nvmath.bindings.cublasLt`.

    The library thinks in columns: what lies in row-major order is to it the transposed matrix.  So
    it is told to multiply the transposed right by the transposed left, which gives the transposed
    product, in row-major order for us.
    """

    def __init__(self, bindings: Any):
        self._bindings = bindings
        self.errors: tuple[type[Exception], ...] = (bindings.cuBLASLtError, RuntimeError)
        """What the bindings raise: where the library fails, and where they do not find it."""
        self._handle = bindings.create()
        self._layouts = functools.cache(self._describe)
        self._operations = functools.cache(self._operation)

    def multiply(self, product: MatrixProduct, pointers: Sequence[int], stream: int) -> None:
        """Put the product on a stream; `pointers` are the addresses of the kernel's buffers."""
        kind, size = TYPES[product.dtype].numpy, ITEMSIZES[product.dtype]
        first, second, third = self._layouts(product)
        operation = self._operations(product)
        right, left, out = (
            pointers[matrix.buffer] + matrix.offset * size
            for matrix in (product.right, product.left, product.out)
        )
        if product.bias is not None:
            at = pointers[product.bias.buffer] + int(product.bias.offset) * size
            attribute = self._bindings.MatmulDescAttribute.BIAS_POINTER
            self._set(operation, attribute, at, np.uint64)
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
            0,  # the library chooses the algorithm, one without working memory
            0,
            0,
            stream,
        )

    def _describe(self, product: MatrixProduct) -> tuple[int, int, int]:
        """The layouts of the right, the left and the product."""
        rows, inner, columns = product.rows, product.inner, product.columns
        return (
            self._layout(product, product.right, inner, columns),
            self._layout(product, product.left, rows, inner),
            self._layout(product, product.out, rows, columns),
        )

    def _operation(self, product: MatrixProduct) -> int:
        kind, attributes = TYPES[product.dtype], self._bindings.MatmulDescAttribute
        operation: int = self._bindings.matmul_desc_create(kind.compute, kind.number)
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

    def _layout(self, product: MatrixProduct, matrix: Matrix, rows: int, columns: int) -> int:
        """A matrix as the library sees it, whose columns are our rows."""
        bindings, kind = self._bindings, TYPES[product.dtype]
        sizes = (rows, columns) if matrix.is_transposed else (columns, rows)
        layout: int = bindings.matrix_layout_create(kind.number, *sizes, matrix.step)
        attributes = bindings.MatrixLayoutAttribute
        for attribute, value, dtype in (
            (attributes.BATCH_COUNT, product.batch, np.int32),
            (attributes.STRIDED_BATCH_OFFSET, matrix.apart, np.int64),
        ):
            held = np.array([value], dtype)
            bindings.matrix_layout_set_attribute(
                layout, int(attribute), held.ctypes.data, held.nbytes
            )
        return layout


def open_library() -> CublasLt | None:
    """cuBLASLt, None where nvmath-python or the library is not installed, or does not start."""
    try:
        from nvmath.bindings import cublasLt
    except (ImportError, RuntimeError, OSError):
        return None
    try:
        return CublasLt(cublasLt)
    except (cublasLt.cuBLASLtError, RuntimeError, OSError):
        return None
