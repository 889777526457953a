"""Loops: what no iteration changes is computed before them.

Before:  y = scan(x, c) body(i, a, k) { e = exp(k); b = multiply(a, e); return b }
After:   e = exp(c); y = scan(x, e) body(i, a, k) { b = multiply(a, k); return b }

A carried value that every iteration leaves as it is becomes a constant first.  Sound because only
pure equations move, which never fail: where the loop has no iterations, they run for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from graphc.build import rename
from graphc.ir import Atom, Eqn, Graph, Lit, Var, map_subgraphs
from graphc.ops import control, shape

LOOPS = frozenset({control.while_, control.scan})

FREE = shape.VIEWS | {shape.iota, shape.constant, shape.dimension}
"""They cost nothing inside of a loop: they move only with what reads them."""


def simplify_loops(graph: Graph) -> Graph:
    """`graph` with what is invariant in its loops moved out, from the innermost outwards."""
    kept: list[Eqn] = []
    names: dict[Var, Atom] = {}
    for eqn in graph.eqns:
        ins = tuple(rename(atom, names) for atom in eqn.ins)
        eqn = map_subgraphs(simplify_loops, eqn.replace(ins=ins))
        if eqn.op in LOOPS:
            eqn = _constants_instead(eqn, names)
            moved, eqn = _hoisted(eqn)
            kept += moved
        kept.append(eqn)
    return graph.replace(eqns=tuple(kept), outs=tuple(rename(out, names) for out in graph.outs))


def _first(eqn: Eqn) -> int:
    """The position of the first carried value among the parameters of the body."""
    return 1 if eqn.op is control.scan else 0


# ---- carried values that stay as they are --------------------------------------------------------


def _constants_instead(eqn: Eqn, names: dict[Var, Atom]) -> Eqn:
    """The loop with the carried values that it never changes as its last constants."""
    first, count, body = _first(eqn), eqn.attrs["carried"], eqn.attrs["body"]
    same = [
        i
        for i in range(count)
        if body.outs[i] is body.params[first + i] or _is_same_literal(eqn.ins[i], body.outs[i])
    ]
    if not same:
        return eqn
    names.update({eqn.outs[i]: eqn.ins[i] for i in same})
    changing = [i for i in range(len(eqn.ins)) if i not in same]
    order = [*changing, *same]
    attrs = {**eqn.attrs, "carried": count - len(same)}
    if eqn.op is control.while_:
        attrs["test"] = _reordered(eqn.attrs["test"], order, 0)
    moved = _reordered(body, order, first)
    attrs["body"] = moved.replace(
        outs=tuple(out for i, out in enumerate(body.outs) if i not in same)
    )
    return eqn.replace(
        ins=tuple(eqn.ins[i] for i in order),
        outs=tuple(out for i, out in enumerate(eqn.outs) if i not in same),
        attrs=MappingProxyType(attrs),
    )


def _is_same_literal(initial: Atom, after: Atom) -> bool:
    return isinstance(initial, Lit) and initial == after


def _reordered(graph: Graph, order: Sequence[int], first: int) -> Graph:
    params = (*graph.params[:first], *(graph.params[first + i] for i in order))
    return graph.replace(params=params)


# ---- what moves out ------------------------------------------------------------------------------


def _hoisted(eqn: Eqn) -> tuple[list[Eqn], Eqn]:
    """The equations that move out of a loop, and the loop with their results as constants."""
    moved: list[Eqn] = []
    for label in ("test", "body"):
        if label in eqn.attrs:
            found, eqn = _hoisted_from(eqn, label)
            moved += found
    return moved, eqn


def _hoisted_from(eqn: Eqn, label: str) -> tuple[list[Eqn], Eqn]:
    graph: Graph = eqn.attrs[label]
    operands = control.held_operands(eqn, label)
    outside: dict[Var, Atom] = {
        param: atom for param, atom in zip(graph.params, operands, strict=True) if atom is not None
    }
    chosen = _worth_moving(graph, set(outside))
    if not chosen:
        return [], eqn
    moved = []
    for inner in graph.eqns:
        if inner in chosen:
            outs = tuple(Var(out.type, out.hint) for out in inner.outs)
            ins = tuple(rename(atom, outside) for atom in inner.ins)
            outside.update(zip(inner.outs, outs, strict=True))
            moved.append(inner.replace(ins=ins, outs=outs))
    stay = [inner for inner in graph.eqns if inner not in chosen]
    read = {atom for inner in stay for atom in inner.ins} | set(graph.outs)
    results = [out for inner in graph.eqns if inner in chosen for out in inner.outs if out in read]
    attrs = dict(eqn.attrs)
    for other in ("test", "body"):
        if other in attrs and other != label:
            unread = (Var(out.type, out.hint) for out in results)
            attrs[other] = attrs[other].replace(params=(*attrs[other].params, *unread))
    attrs[label] = graph.replace(params=(*graph.params, *results), eqns=tuple(stay))
    ins = (*eqn.ins, *(outside[out] for out in results))
    return moved, eqn.replace(ins=ins, attrs=MappingProxyType(attrs))


def _worth_moving(graph: Graph, invariant: set[Var]) -> set[Eqn]:
    """The equations that compute something, the same in each iteration, and what they read."""
    candidates = []
    for eqn in graph.eqns:
        read = {atom for atom in eqn.ins if isinstance(atom, Var)}
        # A graph that is held may have a loop that never ends, where this one has no iterations.
        if read <= invariant and eqn.op not in control.HOLDING and eqn.op.effect is None:
            candidates.append(eqn)
            invariant.update(eqn.outs)
    chosen: set[Eqn] = set()
    needed: set[Var] = set()
    for eqn in reversed(candidates):
        if eqn.op not in FREE or not needed.isdisjoint(eqn.outs):
            chosen.add(eqn)
            needed.update(atom for atom in eqn.ins if isinstance(atom, Var))
    return chosen
