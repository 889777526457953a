"""The rules of `simplify` for matrix products."""

from __future__ import annotations

import math

from graphc.build import literal
from graphc.dims import Size
from graphc.ir import FLOATS, Atom, Eqn
from graphc.ops import elementwise, linalg, reduce, shape
from graphc.passes.rewrite import Result, Rewriter, Rule


def sum_of_products(at: Rewriter, eqn: Eqn) -> Result:
    """The sum of a batch of products is one product, along rows and batch together.

    Before:  t = transpose(x, (0, 2, 1)); p = matmul(t, g): f32[8,256,1024]; s = sum(p, axes=(0,))
    After:   s = matmul(transpose(reshape(x, (8*128, 256)), (1, 0)), reshape(g, (8*128, 1024)))

    That is how the gradient of a matrix comes that multiplies a batch.  Sound because both are the
    same sums; floats are added up in another order.  Only products with a transposed left operand,
    for which no reshape is a copy where the operands lie in the usual order.
    """
    product = at.definition(eqn.ins[0], linalg.matmul)
    if product is None:
        return None
    left, right = product.ins
    rank, axes = right.type.rank, eqn.attrs["axes"]
    swapped = at.definition(left, shape.transpose)
    if swapped is None or swapped.attrs["axes"] != _last_two_swapped(rank):
        return None
    if not axes or max(axes) >= rank - 2:
        return None
    left = swapped.ins[0]
    if any(at.definition(atom, shape.broadcast) for atom in (left, right)):
        return None  # it repeats one matrix: a reshape would write it as often
    rows = _stacked(at, left, axes)
    return at.make(
        linalg.matmul,
        at.make(shape.transpose, rows, axes=_last_two_swapped(rows.type.rank)),
        _stacked(at, right, axes),
    )


def _last_two_swapped(rank: int) -> tuple[int, ...]:
    return (*range(rank - 2), rank - 1, rank - 2)


def _stacked(at: Rewriter, matrices: Atom, axes: tuple[int, ...]) -> Atom:
    """The matrices along some axes of a batch one below the other."""
    rank, sizes = matrices.type.rank, matrices.type.shape
    kept = tuple(i for i in range(rank - 2) if i not in axes)
    order = (*kept, *axes, rank - 2, rank - 1)
    height = math.prod(sizes[i] for i in axes) * sizes[-2]
    stacked = (*(sizes[i] for i in kept), height, sizes[-1])
    return at.make(shape.reshape, at.make(shape.transpose, matrices, axes=order), shape=stacked)


def product_of_single_terms(at: Rewriter, eqn: Eqn) -> Result:
    """A product with one term in each sum is elementwise: it fuses with what is around it.

    Before:  p = matmul(a: f32[64,1], b: f32[1,10])
    After:   p = multiply(broadcast(a), broadcast(b))

    Sound because nothing is added up; a sum starts at 0.0, so that it is never -0.0.
    """
    left, right = eqn.ins
    rank, batch = left.type.rank, tuple(range(left.type.rank - 2))
    if not _is_one(left.type.shape[-1]) or eqn.attrs.get("wide"):
        return None
    column = at.make(shape.reshape, left, shape=left.type.shape[:-1])
    row = at.make(shape.reshape, right, shape=(*right.type.shape[:-2], right.type.shape[-1]))
    sizes = eqn.out.type.shape
    product = at.make(
        elementwise.multiply,
        at.make(shape.broadcast, column, shape=sizes, axes=(*batch, rank - 2)),
        at.make(shape.broadcast, row, shape=sizes, axes=(*batch, rank - 1)),
    )
    zero = literal(0, product.type)
    return at.make(elementwise.add, product, zero) if product.type.dtype in FLOATS else product


def product_of_vectors(at: Rewriter, eqn: Eqn) -> Result:
    """A product of one row with one column is a sum, which shares its loop with others.

    Before:  p = matmul(a: f32[1,1000], b: f32[1000,1])
    After:   p = reshape(sum(multiply(reshape(a, (1000,)), reshape(b, (1000,)))), (1, 1))

    Sound because it is the same sum, which begins with 0.0 in both; floats are added up in another
    order.
    """
    left, right = eqn.ins
    sizes = eqn.out.type.shape
    if not (_is_one(sizes[-2]) and _is_one(sizes[-1])) or eqn.attrs.get("wide"):
        return None
    long = (*sizes[:-2], left.type.shape[-1])
    rows = [at.make(shape.reshape, vector, shape=long) for vector in (left, right)]
    total = at.make(reduce.sum, at.make(elementwise.multiply, *rows), axes=(len(long) - 1,))
    return at.make(shape.reshape, total, shape=sizes)


SMALL = 4
"""The largest matrix whose products with many rows are elementwise."""

MANY = 64
"""How many rows those are at least."""


def product_with_small_matrix(at: Rewriter, eqn: Eqn) -> Result:
    """Many rows by matrices of up to 4x4: each result is a sum of up to four products.

    Before:  p = matmul(a: f32[5000,3,3], b: f32[5000,3,1])
    After:   p = sum(multiply(broadcast(a), broadcast(transpose(b))), axes=(3,))

    A tile of a product would be filled by a part; vectors run along the rows instead.  Sound
    because they are the same sums.
    """
    left, right = eqn.ins
    rank, batch = left.type.rank, tuple(range(left.type.rank - 2))
    *_, inner, columns = right.type.shape
    if not all(type(size) is int and size <= SMALL for size in (inner, columns)):
        return None
    rows = left.type.size // inner if type(left.type.size) is int and inner else 0
    if rows < MANY or eqn.attrs.get("wide"):
        return None
    sizes = (*eqn.out.type.shape, inner)
    turned = at.make(shape.transpose, right, axes=_last_two_swapped(rank))
    product = at.make(
        elementwise.multiply,
        at.make(shape.broadcast, left, shape=sizes, axes=(*batch, rank - 2, rank)),
        at.make(shape.broadcast, turned, shape=sizes, axes=(*batch, rank - 1, rank)),
    )
    return at.make(reduce.sum, product, axes=(rank,))


def _is_one(size: Size) -> bool:
    return type(size) is int and size == 1


PRODUCTS: tuple[tuple[str, Rule], ...] = (
    ("sum", sum_of_products),
    ("matmul", product_of_single_terms),
    ("matmul", product_of_vectors),
    ("matmul", product_with_small_matrix),
)
