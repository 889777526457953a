"""The rule of `simplify` for what is computed with the elements of a product in another shape.

Before:  r = reshape(matmul(a, b), (8, 32, 30, 30)); y = maximum(add(r, broadcast(bias)), 0.0)
After:   y = reshape(maximum(add(matmul(a, b), broadcast(bias)), 0.0), (8, 32, 30, 30))

The tiles of a product take in what is done with their elements, but only along their own axes.
Sound because an elementwise operation gives each element the same value in any shape; the operands
beside the product are numbers, are repeated along the axes that the reshape takes apart, or come
from the same shape.
"""

from __future__ import annotations

from graphc.axis_maps import is_unit_reshape
from graphc.dims import Shape, same, same_shape
from graphc.ir import OPS, Atom, Eqn, Lit
from graphc.ops import linalg, shape
from graphc.passes.rewrite import Result, Rewriter, Rule

SEARCHED = 6
"""So many operations after a product are followed back to it."""


def elementwise_of_reshaped_product(at: Rewriter, eqn: Eqn) -> Result:
    """f(reshape(product), b) = reshape(f(product, b))."""
    inner = next((y for x in eqn.ins if (y := _reshaped_product(at, x))), None)
    if inner is None:
        return None
    kept = _kept_axes(inner.type.shape, eqn.out.type.shape)
    found = [_before(at, x, inner.type.shape, kept) for x in eqn.ins]
    operands = [x for x in found if x is not None]
    if len(operands) < len(found):
        return None
    result = at.make(eqn.op, *operands, **eqn.attrs)
    return at.make(shape.reshape, result, shape=eqn.out.type.shape)


def _reshaped_product(at: Rewriter, atom: Atom) -> Atom | None:
    """What a reshape reads, if it is a product or computed from one."""
    reshape = at.definition(atom, shape.reshape)
    if reshape is None or is_unit_reshape(reshape):
        return None
    return reshape.ins[0] if _is_from_product(at, reshape.ins[0], SEARCHED) else None


def _is_from_product(at: Rewriter, atom: Atom, steps: int) -> bool:
    maker = None if isinstance(atom, Lit) else at.made.get(atom)
    if maker is None or not steps:
        return False
    if maker.op is linalg.matmul:
        return True
    first = next((x for x in maker.ins if not isinstance(x, Lit)), None)
    return maker.op.elementwise and first is not None and _is_from_product(at, first, steps - 1)


def _kept_axes(old: Shape, new: Shape) -> dict[int, int]:
    """Which axes of a reshape's result are axes of its operand: equal sizes before and behind."""
    kept: dict[int, int] = {}
    for i, (before, after) in enumerate(zip(old, new, strict=False)):
        if not same(before, after):
            break
        kept[i] = i
    for i, (before, after) in enumerate(zip(reversed(old), reversed(new), strict=False), 1):
        if not same(before, after) or len(old) - i in kept.values():
            break
        kept[len(new) - i] = len(old) - i
    return kept


def _before(at: Rewriter, atom: Atom, whole: Shape, kept: dict[int, int]) -> Atom | None:
    """The operand in the shape that the product has, if it is free in that."""
    if isinstance(atom, Lit):
        return Lit(atom.value, atom.type.with_shape(whole))
    reshape = at.definition(atom, shape.reshape)
    if reshape is not None and same_shape(reshape.ins[0].type.shape, whole):
        return reshape.ins[0]
    spread = at.definition(atom, shape.broadcast)
    if spread is None:
        return None
    x = spread.ins[0]
    axes = [a for n, a in zip(x.type.shape, spread.attrs["axes"], strict=True) if not same(n, 1)]
    if any(axis not in kept for axis in axes):
        return None
    sizes = tuple(n for n in x.type.shape if not same(n, 1))
    bare = x if len(sizes) == x.type.rank else at.make(shape.reshape, x, shape=sizes)
    return at.make(shape.broadcast, bare, shape=whole, axes=tuple(kept[axis] for axis in axes))


RESHAPED_PRODUCTS: tuple[tuple[str, Rule], ...] = tuple(
    (name, elementwise_of_reshaped_product) for name, op in OPS.items() if op.elementwise
)
