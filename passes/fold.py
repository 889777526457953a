"""Constant folding: what is known while compiling is computed then, if it is small.

Before:  a = broadcast(2.0, (64, 10)); b = multiply(a, 3.0); c = add(x, b)
After:   c = add(x, 6.0: f32[64,10])

Sound because a value is computed by its op's reference in its own dtype, which is what the op
means; only pure ops are computed, and those never raise.  Bounded: an elementwise op on literals
takes one element, anything else takes at most `LIMIT` elements in and out.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphc.build import literal
from graphc.dims import Dim, surely_less
from graphc.ir import FLOATS, OPS, Atom, Dense, Eqn, Graph, Lit, Op, Type
from graphc.ops import control, reduce, shape
from graphc.passes.rewrite import Result, Rewriter, Rule, is_number, rewrite, table

LIMIT = 4096
"""No equation with more elements than this, in its inputs and its output together, is evaluated."""

EXACT_INTEGERS = {"bf16": 2**8, "f16": 2**11, "f32": 2**24, "f64": 2**53}
"""Up to here each whole number is a float, so that sums of them round nowhere."""


def fold_constants(graph: Graph) -> Graph:
    """`graph` with the equations computed whose inputs are known, and known branches taken."""
    return rewrite(graph, table(FOLDING))


def _evaluate(op: Op, ins: list[np.ndarray], attrs: Any) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray(op.reference(*ins, **attrs))


def _filled(lit: Lit, shape: tuple[int, ...] = ()) -> np.ndarray:
    return np.full(shape, lit.value, lit.type.numpy_dtype)


# ---- literals ------------------------------------------------------------------------------------


def elementwise_of_literals(at: Rewriter, eqn: Eqn) -> Result:
    """f(2.0, 3.0): each element is the same, so one is computed, whatever the shape."""
    literals = [atom for atom in eqn.ins if isinstance(atom, Lit)]
    if len(literals) != len(eqn.ins):
        return None
    value = _evaluate(eqn.op, [_filled(lit) for lit in literals], eqn.attrs)
    return Lit(value.item(), eqn.out.type)


def move_of_literal(at: Rewriter, eqn: Eqn) -> Result:
    """A literal moved, repeated or read in part is that literal in the new shape."""
    x = eqn.ins[0]
    return Lit(x.value, eqn.out.type) if isinstance(x, Lit) else None


def join_of_literal(at: Rewriter, eqn: Eqn) -> Result:
    """concatenate(c, c) = c, and c with a part of it set to c is c."""
    first = eqn.ins[0]
    if not isinstance(first, Lit):
        return None
    same = all(is_number(atom, first.value) for atom in eqn.ins)
    return Lit(first.value, eqn.out.type) if same else None


def where_of_known(at: Rewriter, eqn: Eqn) -> Result:
    """where(True, x, y) = x."""
    condition, x, y = eqn.ins
    return (x if condition.value else y) if isinstance(condition, Lit) else None


def first_position(at: Rewriter, eqn: Eqn) -> Result:
    """argmax(c) = 0: of equal elements, NaNs too, the first."""
    return literal(0, eqn.out.type) if isinstance(eqn.ins[0], Lit) else None


def extremum_of_literal(at: Rewriter, eqn: Eqn) -> Result:
    """max(c, c, c) = c; so too min, and any and all where there are elements."""
    x = eqn.ins[0]
    combined = math.prod(x.type.shape[axis] for axis in eqn.attrs["axes"])
    has_some = surely_less(0, combined)
    return Lit(x.value, eqn.out.type) if isinstance(x, Lit) and has_some else None


def total_of_literal(at: Rewriter, eqn: Eqn) -> Result:
    """sum and prod of n equal numbers: computed for small n, multiplied where that is exact."""
    x = eqn.ins[0]
    if not isinstance(x, Lit):
        return None
    count = math.prod(x.type.shape[axis] for axis in eqn.attrs["axes"])
    if count <= LIMIT:
        value = _evaluate(eqn.op, [_filled(x, (count,))], {"axes": (0,)})
        return Lit(value.item(), eqn.out.type)
    return _exact_multiple(x, count, eqn.out.type) if eqn.op is reduce.sum else None


def _exact_multiple(x: Lit, count: int, type: Type) -> Lit | None:
    if type.dtype not in FLOATS:  # a sum of integers is a product modulo 2**n
        return literal(int(x.value) * count, type)
    is_exact = float(x.value).is_integer() and abs(x.value * count) <= EXACT_INTEGERS[type.dtype]
    return literal(0.0 + x.value * count, type) if is_exact else None  # a sum starts from 0.0


# ---- small arrays --------------------------------------------------------------------------------


def known_arrays(at: Rewriter, eqn: Eqn) -> Result:
    """f(constant, 2.0): computed, if the arrays are small."""
    size = sum(atom.type.size for atom in (*eqn.ins, *eqn.outs))
    if isinstance(size, Dim) or size > LIMIT or not eqn.ins:
        return None
    arrays = [_known(at, atom) for atom in eqn.ins]
    known = [array for array in arrays if array is not None]
    if len(known) != len(arrays):
        return None
    if len(eqn.outs) == 1:
        return at.constant(_evaluate(eqn.op, known, eqn.attrs)).atom
    with np.errstate(all="ignore"):
        results = eqn.op.reference(*known, **eqn.attrs)
    return tuple(at.constant(np.asarray(result)).atom for result in results)


def _known(at: Rewriter, atom: Atom) -> np.ndarray | None:
    if isinstance(atom, Lit):
        return _filled(atom, atom.type.shape)
    constant = at.definition(atom, shape.constant)
    if constant is None:
        return None
    value: Dense = constant.attrs["value"]
    return value.array


# ---- control -------------------------------------------------------------------------------------


def take_known_branch(at: Rewriter, eqn: Eqn) -> Result:
    """cond(True, x) is its `then` branch: the same equations run, effects in their order."""
    predicate, operands = eqn.ins[0], eqn.ins[1:]
    if not isinstance(predicate, Lit):
        return None
    return at.splice(eqn.attrs["then" if predicate.value else "else"], operands)


def known_dimension(at: Rewriter, eqn: Eqn) -> Result:
    """dimension(64) = 64."""
    size = eqn.attrs["size"]
    return None if isinstance(size, Dim) else literal(size, eqn.out.type)


def body_in_its_place(at: Rewriter, eqn: Eqn) -> Result:
    """checkpoint(x) and custom(x) are their `body`: gradients have been taken."""
    return at.splice(eqn.attrs["body"], eqn.ins)


def check_that_holds(at: Rewriter, eqn: Eqn) -> Result:
    """check(True, ...) cannot fail, so its effect never happens."""
    return () if is_number(eqn.ins[0], True) else None


LITERALS: tuple[tuple[str, Rule], ...] = (
    *((op.name, elementwise_of_literals) for op in OPS.values() if op.elementwise),
    *((name, move_of_literal) for name in ("broadcast", "reshape", "transpose", "slice", "skew")),
    *((name, move_of_literal) for name in ("take", "pick")),
    *((name, join_of_literal) for name in ("concatenate", "update_slice")),
    ("where", where_of_known),
    *((name, first_position) for name in ("argmax", "argmin")),
    *((name, extremum_of_literal) for name in ("max", "min", "any", "all")),
    *((name, total_of_literal) for name in ("sum", "prod")),
    ("cond", take_known_branch),
    ("dimension", known_dimension),
    ("checkpoint", body_in_its_place),
    ("custom", body_in_its_place),
    ("check", check_that_holds),
)

# A broadcast would turn what is read again and again into an array that is stored.
ARRAYS: tuple[tuple[str, Rule], ...] = tuple(
    (op.name, known_arrays)
    for op in OPS.values()
    if op.effect is None and op not in (*control.HOLDING, shape.broadcast, shape.dimension)
)

FOLDING = (*LITERALS, *ARRAYS)
