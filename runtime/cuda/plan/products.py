"""Which kernels are matrix products that a library can do, and what is left of them then.

A kernel that is a product and an epilogue becomes a call of the library and, unless the epilogue
only stores the product or adds a bias to each column, a kernel for the rest, which reads the
product from the workspace.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from graphc.dims import Dim, Size
from graphc.runtime.cuda.plan.tensor_tiling import tensor_elem
from graphc.runtime.kernel import (
    Access,
    Blocks,
    Buffer,
    Compute,
    Index,
    Kernel,
    Load,
    Loop,
    Operand,
    Product,
    Statement,
    Store,
    inner,
    is_plain,
)
from graphc.runtime.program import Root

ITEMSIZES = {"f32": 4, "f64": 8, "f16": 2, "bf16": 2}
"""The dtypes that a library is asked for, and the bytes of an element."""

RESULTS = {"f32": ("f32",), "f64": ("f64",), "f16": ("f16", "f32"), "bf16": ("bf16", "f32")}
"""What it makes of operands of each of them."""

LEAST_WORK = 1 << 20
"""Multiply-adds below which a call is not worth it: a generated kernel has less to decide."""


LEAST_INNER = {"f16": 1024, "bf16": 1024, "f64": 128}
"""From so many terms of its inner products on the library multiplies although what comes after the
product is left for a kernel of its own.

That one writes and reads the product once more: 8 bytes for each element, of f64 16.  It takes as
long as a device needs for about so many terms: tensor cores do 200 to 300 operations for each byte
that memory gives, of f64 about 13.  Below, a generated kernel is done sooner, though it multiplied
at half the speed.  Reckoned from what devices are said to do, not measured.  Where generated code
has no tensor cores for a dtype, the library is always asked."""


class Matrix(NamedTuple):
    """A matrix of each batch in a buffer: `step` elements from one row to the next, or with
    `is_transposed` from one column to the next, neighbours in the other direction; `apart` elements
    from one batch to the next."""

    buffer: int
    offset: int
    step: int
    is_transposed: bool
    apart: int


class MatrixProduct(NamedTuple):
    """out = left @ right + bias, for each batch; `dtype` is that of the operands, and the bias is
    of `out_dtype`."""

    dtype: str
    out_dtype: str
    rows: int
    inner: int
    columns: int
    batch: int
    left: Matrix
    right: Matrix
    out: Matrix
    bias: Access | None


class Divided(NamedTuple):
    """A kernel as a product for a library and the kernel for the rest, which is given one more
    buffer: the product."""

    product: MatrixProduct
    rest: Kernel | None
    roots: tuple[Root, ...]
    """Of the rest."""
    nbytes: int
    """Of the product, if it does not go to its place at once."""


# ---- which kernels -------------------------------------------------------------------------------


class Decision(NamedTuple):
    """What a library does of a kernel, None where it does nothing, and why."""

    parts: Divided | None
    why: str


def decided(
    kernel: Kernel, roots: Sequence[Root], may_fail: bool, tensor_elems: frozenset[str]
) -> Decision:
    """Who multiplies: a library, or generated code, which has tensor cores for some types.

    Where a check `may_fail`, no library writes to an argument: what it does is not held back.
    """
    if not any(isinstance(statement, Product) for statement in inner(kernel.body)):
        return Decision(None, "")
    found = _product(kernel)
    if found is None:
        return Decision(None, _why_not(kernel))
    batch_axes, product = found
    elem = tensor_elem(kernel, product, tensor_elems)
    if elem == "float":
        return Decision(None, "under fastmath TF32 is faster than the f32 that it would compute")
    plain = _plain(kernel, product, batch_axes)
    if plain is not None and not (may_fail and roots[plain.out.buffer].kind == "argument"):
        return Decision(Divided(plain, None, (), 0), "a product with at most a bias is all of it")
    dtype = kernel.buffers[product.left.buffer].dtype
    least = LEAST_INNER[dtype] if elem is not None else 0
    if int(product.inner) < least:
        return Decision(None, f"a kernel for the rest takes longer than {product.inner} terms")
    parts = _with_rest(kernel, product, batch_axes, roots)
    if parts is None:
        return Decision(None, "it does not take such operands, or there is more than elements")
    return Decision(parts, f"{product.inner} terms take longer than a kernel for the rest")


def _why_not(kernel: Kernel) -> str:
    """Why a kernel with a product is not one for a library."""
    products = [s for s in inner(kernel.body) if isinstance(s, Product)]
    if len(products) > 1 or any(isinstance(s, Blocks) for s in inner(kernel.body)):
        return "the product is one step among others"
    return "fewer than a million multiply-adds, or more than a product in a batch"


def _product(kernel: Kernel) -> tuple[tuple[int, ...], Product] | None:
    """The product that is all of a kernel, and the axes of its batches."""
    if not kernel.body:  # a routine on nothing
        return None
    (first, *others) = kernel.body
    axes: tuple[int, ...] = ()
    if isinstance(first, Loop) and not first.accumulators and len(first.axes) == 1:
        axes = first.axes
        (first, *others) = (*first.body, *others)
    if others or not isinstance(first, Product):
        return None
    sizes = (first.rows, first.inner, first.columns, *kernel.domain)
    if any(isinstance(size, Dim) for size in sizes):
        return None
    work = int(first.rows) * int(first.inner) * int(first.columns)
    has_axes = first.row_axis is not None and first.column_axis is not None
    return (axes, first) if has_axes and work >= LEAST_WORK else None


def _plain(kernel: Kernel, product: Product, axes: tuple[int, ...]) -> MatrixProduct | None:
    """The product whose epilogue is a store, or a store after adding a bias to each column, which
    the library does in single precision; what is narrowed for the store is narrowed by it."""
    *before, last = product.epilogue
    if not isinstance(last, Store):
        return None
    stored = last.value
    match before[-1:]:
        case [Compute(out=narrow, op="narrow", ins=(wide,))] if narrow == stored:
            before, stored = before[:-1], wide
    out_dtype = kernel.buffers[last.access.buffer].dtype
    if not before and stored == product.out:
        return _as_whole(kernel, product, axes, last.access, out_dtype, None)
    bias = _bias(kernel, product, before, stored)
    if bias is None or kernel.buffers[bias.buffer].dtype != out_dtype:
        return None
    return _as_whole(kernel, product, axes, last.access, out_dtype, bias)


def _bias(
    kernel: Kernel, product: Product, statements: Sequence[Statement], stored: Operand
) -> Access | None:
    """What is added to each column of a product by these statements, if that is all they do."""
    added: Operand
    match statements:
        case [Load(out=read, access=access, position=None, guard=None), *rest]:
            added = read
        case _:
            return None
    match rest[:1]:
        case [Compute(out=wide, op="widen", ins=(operand,))] if operand == added:
            added, rest = wide, rest[1:]
    ones = [1 if axis == product.column_axis else 0 for axis in range(len(kernel.domain))]
    match rest:
        case [Compute(out=total, op="add", ins=ins)] if (
            total == stored and set(ins) == {product.out, added} and total.dtype == "f32"
        ):
            return access if [*access.strides] == ones else None
    return None


def _as_whole(
    kernel: Kernel,
    product: Product,
    axes: tuple[int, ...],
    access: Access,
    out_dtype: str,
    bias: Access | None,
) -> MatrixProduct | None:
    dtype = kernel.buffers[product.left.buffer].dtype
    row, column = product.row_axis, product.column_axis
    assert row is not None
    assert column is not None
    if kernel.buffers[product.right.buffer].dtype != dtype or out_dtype not in RESULTS.get(
        dtype, ()
    ):
        return None
    out_strides = (access.strides[row], access.strides[column])
    matrices = [
        _matrix(at, strides, sizes, axes)
        for at, strides, sizes in (
            (product.left, product.left_strides, (product.rows, product.inner)),
            (product.right, product.right_strides, (product.inner, product.columns)),
            (access, out_strides, (product.rows, product.columns)),
        )
    ]
    left, right, out = matrices
    if left is None or right is None or out is None or out.is_transposed:
        return None
    batch = int(kernel.domain[axes[0]]) if axes else 1
    sizes = int(product.rows), int(product.inner), int(product.columns)
    return MatrixProduct(dtype, out_dtype, *sizes, batch, left, right, out, bias)


def _matrix(
    access: Access, strides: tuple[Size, Size], sizes: tuple[Size, Size], axes: tuple[int, ...]
) -> Matrix | None:
    apart = int(access.strides[axes[0]]) if axes else 0
    (rows, columns), (down, along) = map(int, sizes), map(int, strides)
    if along == 1 and down >= columns:
        return Matrix(access.buffer, int(access.offset), down, False, apart)
    if down == 1 and along >= rows:
        return Matrix(access.buffer, int(access.offset), along, True, apart)
    return None


def _with_rest(
    kernel: Kernel, product: Product, axes: tuple[int, ...], roots: Sequence[Root]
) -> Divided | None:
    """The product in the workspace, and a kernel for the epilogue."""
    if not all(_is_element_by_element(statement) for statement in product.epilogue):
        return None
    dtype = product.out.dtype
    rows, columns = int(product.rows), int(product.columns)
    batch = int(kernel.domain[axes[0]]) if axes else 1
    strides = [0] * len(kernel.domain)
    assert product.row_axis is not None
    assert product.column_axis is not None
    strides[product.row_axis], strides[product.column_axis] = columns, 1
    for axis in axes:
        strides[axis] = rows * columns
    size = batch * rows * columns
    access = Access(len(kernel.buffers), 0, tuple(strides))
    found = _as_whole(kernel, product, axes, access, dtype, None)
    if found is None:
        return None
    order = (*axes, product.row_axis, product.column_axis)
    is_vector = all(
        statement.access.strides[product.column_axis] in (0, 1)
        for statement in product.epilogue
        if isinstance(statement, (Load, Store))
    )
    body: tuple[Statement, ...] = (Load(product.out, access), *product.epilogue)
    rest = kernel._replace(
        name=f"{kernel.name}_rest",
        buffers=(*kernel.buffers, Buffer("product", dtype, size, "in")),
        body=(Loop(order, is_vector, body),),
    )
    nbytes = size * ITEMSIZES[dtype]
    return Divided(found, rest, (*roots, Root("arena", -1, dtype, nbytes)), nbytes)


def _is_element_by_element(statement: Statement) -> bool:
    if isinstance(statement, (Load, Store)):
        return is_plain(statement)
    return isinstance(statement, (Compute, Index))
