"""The rules of `simplify` for matrix products."""

from __future__ import annotations

import math

from graphc.ir import Atom, Eqn
from graphc.ops import linalg, shape
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


PRODUCTS: tuple[tuple[str, Rule], ...] = (("sum", sum_of_products),)
