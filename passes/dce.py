"""Dead code: what nobody reads is not computed.

Before:  a = exp(x); b, c = cond(p, x, y) then(i, j) { return i, j } else(k, l) { return k, l }
After:   c = cond(p, y) then(j) { return j } else(l) { return l }          if b is not read

Sound because a dropped equation is pure, branches too; equations with an effect all stay.  A
parameter of the graph itself stays even if it is not read: it is part of its signature.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from graphc.ir import Atom, Eqn, Graph, Var, has_effect, map_subgraphs, subgraphs
from graphc.ops import control


def eliminate_dead(graph: Graph) -> Graph:
    """Drop equations, and results and operands of conditionals, that nobody reads."""
    live = set(_variables(graph.outs))
    kept: list[Eqn] = []
    for eqn in reversed(graph.eqns):
        if live.isdisjoint(eqn.outs) and not has_effect(eqn):
            continue
        eqn = _without_results(eqn, live)
        eqn = _without_operands(map_subgraphs(eliminate_dead, eqn))
        kept.append(eqn)
        live.update(_variables(eqn.ins))
    return graph.replace(eqns=tuple(reversed(kept)))


def _variables(atoms: Iterable[Atom]) -> Iterable[Var]:
    return (atom for atom in atoms if isinstance(atom, Var))


def _without_results(eqn: Eqn, live: Collection[Var]) -> Eqn:
    """A conditional that returns only what is in `live`."""
    wanted = [i for i, out in enumerate(eqn.outs) if out in live]
    if eqn.op is not control.cond or len(wanted) == len(eqn.outs):
        return eqn
    narrowed = map_subgraphs(
        lambda branch: branch.replace(outs=tuple(branch.outs[i] for i in wanted)), eqn
    )
    return narrowed.replace(outs=tuple(eqn.outs[i] for i in wanted))


def _without_operands(eqn: Eqn) -> Eqn:
    """A conditional that takes only what one of its branches reads."""
    if eqn.op is not control.cond:
        return eqn
    read: set[int] = set()
    for _, branch in subgraphs(eqn):
        used = _read(branch)
        read.update(i for i, param in enumerate(branch.params) if param in used)
    wanted = sorted(read)
    if len(wanted) == len(eqn.ins) - 1:
        return eqn
    narrowed = map_subgraphs(
        lambda branch: branch.replace(params=tuple(branch.params[i] for i in wanted)), eqn
    )
    return narrowed.replace(ins=(eqn.ins[0], *(eqn.ins[1 + i] for i in wanted)))


def _read(graph: Graph) -> set[Var]:
    """The variables that a graph reads; its held graphs read only their own."""
    read = set(_variables(graph.outs))
    for eqn in graph.eqns:
        read.update(_variables(eqn.ins))
    return read
