"""The order in which the axes of a value lie in memory, where an unusual one saves a copy.

Before:  y = fused(...): f32[8,4,128,64]; t = transpose(y, axes=(0,2,1,3)); r = reshape(t, ...)
         y lies in the usual order, and the reshape of its transpose is a copy
After:   y lies as t would, t is a view of it in the usual order, and so is r

Only orders that leave the last axis where it is: along that one kernels write in vectors.
"""

from __future__ import annotations

from collections.abc import Mapping

from graphc.dims import Size
from graphc.ir import Eqn, Graph, Type, Var
from graphc.ops import control, shape
from graphc.runtime.layout import Layout, contiguous

Axes = tuple[int, ...]


def preferred_orders(graph: Graph) -> Mapping[Var, Axes]:
    """The axes of the transpose that a value is read by, for values that should lie like it.

    Apart from that transpose only kernels read them, which read any order.
    """
    made = {out for eqn in graph.eqns if is_nest(eqn) for out in eqn.outs}
    made -= {out for out in graph.outs if isinstance(out, Var)}
    orders: dict[Var, Axes] = {}
    refused: set[Var] = set()
    for eqn in graph.eqns:
        for atom in eqn.ins:
            if not isinstance(atom, Var) or atom not in made or is_nest(eqn):
                continue
            axes = eqn.attrs.get("axes", ()) if eqn.op is shape.transpose else ()
            if axes[-1:] == (atom.type.rank - 1,) and orders.setdefault(atom, axes) == axes:
                continue
            refused.add(atom)
    return {value: axes for value, axes in orders.items() if value not in refused}


def is_nest(eqn: Eqn) -> bool:
    """Whether an equation is a kernel of loops, which reads and writes any layout."""
    return eqn.op is control.fused and eqn.attrs["kind"] in ("loop", "matmul", "rows")


def ordered(type: Type, axes: Axes | None) -> Layout:
    """A value whose transpose by `axes` lies in the usual order."""
    if axes is None:
        return contiguous(type.shape)
    there = contiguous(tuple(type.shape[axis] for axis in axes)).strides
    strides: list[Size] = [0] * type.rank
    for axis, stride in zip(axes, there, strict=True):
        strides[axis] = stride
    return Layout(type.shape, tuple(strides))


def seen_through(graph: Graph, out: Var, orders: Mapping[Var, Axes]) -> Var:
    """The value of which `out` is a view that lies in the usual order, all of it."""
    makers = {made: eqn for eqn in graph.eqns if eqn.op in shape.VIEWS for made in eqn.outs}
    while out in makers:
        eqn = makers[out]
        source = eqn.ins[0]
        if not isinstance(source, Var):
            break
        is_ordered = eqn.op is shape.transpose and orders.get(source) == eqn.attrs["axes"]
        if eqn.op is not shape.reshape and not is_ordered:
            break
        out = source
    return out
