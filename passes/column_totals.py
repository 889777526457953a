"""Totals over the rows of a kernel as kernels of their own: the inverse of what `groups.py` does.

Before:  y, t = fused(x, reduce=(1,)) { ...; y = ...; s = ...; t = sum(s, axes=(0,)) }
After:   y, s = fused(x, reduce=(1,)) { ...; y = ...; s = ... }
         t = fused(s, reduce=(0,)) { t = sum(s, axes=(0,)) }

Sound because nothing in a kernel reads its totals.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType

from graphc.axis_maps import AxisMap, is_column_total, reduced_axes
from graphc.ir import Atom, Eqn, Graph, Var
from graphc.ops import control


def has_totals(eqn: Eqn) -> bool:
    """Whether an equation is a kernel that adds up over its rows."""
    return any(True for _ in _totals(eqn))


def _totals(eqn: Eqn) -> Iterator[tuple[Eqn, AxisMap]]:
    if eqn.op is control.fused and eqn.attrs["kind"] == "loop":
        for inner, own in zip(eqn.attrs["body"].eqns, eqn.attrs["maps"], strict=True):
            if is_column_total(inner, own, eqn.attrs["reduce"]):
                yield inner, own


def separated(eqn: Eqn) -> tuple[Eqn, ...]:
    """A kernel without its totals, and the kernels that make those."""
    body: Graph = eqn.attrs["body"]
    totals = list(_totals(eqn))
    outer: dict[Atom, Atom] = dict(zip(body.params, eqn.ins, strict=True))
    outer.update(zip(body.outs, eqn.outs, strict=True))
    results = [out for out in body.outs if out not in {inner.out for inner, _ in totals}]
    for inner, _ in totals:
        source = inner.ins[0]
        if isinstance(source, Var) and source not in outer:
            outer[source] = Var(source.type, source.hint)
            results.append(source)
    left = [
        pair
        for pair in zip(body.eqns, eqn.attrs["maps"], strict=True)
        if all(pair[0] is not inner for inner, _ in totals)
    ]
    attrs = {
        **eqn.attrs,
        "body": body.replace(eqns=tuple(inner for inner, _ in left), outs=tuple(results)),
        "maps": tuple(own for _, own in left),
    }
    outs = tuple(out for r in results if isinstance(out := outer[r], Var))
    rows = eqn.replace(outs=outs, attrs=MappingProxyType(attrs))
    return rows, *(_kernel(eqn, inner, own, outer) for inner, own in totals)


def _kernel(eqn: Eqn, total: Eqn, own: AxisMap, outer: dict[Atom, Atom]) -> Eqn:
    """The kernel of one total; `outer` says what values of the body are outside of it."""
    source, result = outer.get(total.ins[0], total.ins[0]), outer[total.out]
    assert isinstance(result, Var)
    inside, out = Var(source.type), Var(result.type)
    attrs = {
        "kind": "loop",
        "domain": eqn.attrs["domain"],
        "reduce": tuple(sorted(reduced_axes(total, own))),
        "maps": (own,),
        "body": Graph("body", (inside,), (total.replace(ins=(inside,), outs=(out,)),), (out,)),
    }
    return Eqn(control.fused, (source,), (result,), MappingProxyType(attrs), total.loc)
