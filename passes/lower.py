"""Lowering: composite ops become the reductions and elementwise ops that kernels are made of.

Before:  i = argmax(x, axis=1)
After:   m = broadcast(max(x, axes=(1,))); i = min(where(x == m, iota, n), axes=(1,))

Sound because the values are exactly those of the op's reference: the first position of the
extremum, where NaN is the extremum of anything with a NaN in it.
"""

from __future__ import annotations

import numpy as np

from graphc.build import Value
from graphc.ir import FLOATS, INT_RANGES, OPS, Atom, Dense, Eqn, Graph, Lit, Op
from graphc.ops import index, linalg, reduce, shape
from graphc.ops.elementwise import (
    cast,
    equal,
    isnan,
    logical_not,
    logical_or,
    minimum,
    where,
)
from graphc.passes import lower_linalg, lower_special
from graphc.passes.fold import known_dimension
from graphc.passes.rewrite import Result, Rewriter, Rule, rewrite, table

INT64_MIN = -(2**63)


def lower(graph: Graph) -> Graph:
    """`graph` in the ops that kernels run."""
    return rewrite(graph, LOWERINGS, required=True)


def _position_of(extremum: Op) -> Rule:
    def lower_position(at: Rewriter, eqn: Eqn) -> Result:
        x, axis = at.value(eqn.ins[0]), eqn.attrs["axis"]
        best: Value = extremum(x, axes=(axis,))
        hit: Value = equal(x, reduce.spread(best, x, (axis,)))
        if x.dtype in FLOATS:  # the extremum is NaN where there is one, and equals nothing
            hit = logical_or(hit, isnan(x))
        (positions,) = at.emit(shape.iota, (), {"shape": x.shape, "axis": axis, "dtype": "i64"})
        first: Value = reduce.min(where(hit, positions, x.shape[axis]), axes=(axis,))
        return first.atom

    return lower_position


def lower_check(at: Rewriter, eqn: Eqn) -> Result:
    """Whether anything failed, and the largest value that did."""
    ok, value = map(at.value, eqn.ins)
    if 0 in ok.shape:  # no element can fail
        return ()
    failed: Value = logical_not(ok)
    if ok.shape:
        axes = tuple(range(len(ok.shape)))
        value = reduce.max(where(ok, value.literal(INT64_MIN), value), axes=axes)
        failed = reduce.any(failed, axes=axes)
    at.emit(index.fail_if, (failed.atom, value.atom), eqn.attrs)
    return ()


def signed_positions(at: Rewriter, eqn: Eqn) -> Result:
    """Positions of u64 as i64: what is beyond the largest is beyond every axis, too."""
    x, positions, *rest = eqn.ins
    if positions.type.dtype != "u64":
        return None
    most = INT_RANGES["i64"][1]
    signed: Value = cast(minimum(at.value(positions), most), dtype="i64")
    return at.make(eqn.op, x, signed.atom, *rest, **eqn.attrs)


PRODUCTS = {
    **dict.fromkeys(("i8", "i16", "u8", "u16", "u32"), "i32"),
    "u64": "i64",
}
"""In which dtype a product of matrices of integers is computed."""


def product_of_words(at: Rewriter, eqn: Eqn) -> Result:
    """matmul(a, b) = cast(matmul(cast(a), cast(b))): the low bits of sums of products are those of
    the low bits of the factors."""
    dtype = eqn.out.type.dtype
    if dtype not in PRODUCTS:
        return None
    factors = [cast(at.value(atom), dtype=PRODUCTS[dtype]) for atom in eqn.ins]
    product: Value = cast(linalg.matmul(*factors), dtype=dtype)
    return product.atom


def operands_in_memory(at: Rewriter, eqn: Eqn) -> Result:
    """What reads memory, a matrix product or a routine: a literal becomes a number in memory."""
    if not any(isinstance(atom, Lit) for atom in eqn.ins):
        return None
    ins = [_in_memory(at, atom) if isinstance(atom, Lit) else atom for atom in eqn.ins]
    return tuple(value.atom for value in at.emit(eqn.op, ins, eqn.attrs))


def _in_memory(at: Rewriter, number: Lit) -> Atom:
    array = np.array(number.value, number.type.numpy_dtype)
    (scalar,) = at.emit(shape.constant, (), {"value": Dense(array)})
    return at.make(shape.broadcast, scalar.atom, shape=number.type.shape, axes=())


LOWERINGS = table(
    (
        *lower_linalg.LOWERINGS,
        *lower_special.LOWERINGS,
        ("argmax", _position_of(reduce.max)),
        ("argmin", _position_of(reduce.min)),
        ("check", lower_check),
        ("dimension", known_dimension),
        ("matmul", product_of_words),
        *((op.name, signed_positions) for op in (*index.GATHERS, index.scatter_add, index.put)),
        *(
            (name, operands_in_memory)
            for name, op in OPS.items()
            if op.native or op is linalg.matmul
        ),
    )
)
