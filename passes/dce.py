"""Dead code: what nobody reads is not computed.

Before:  a = exp(x); b, c = cond(p, x, y) then(i, j) { return i, j } else(k, l) { return k, l }
After:   c = cond(p, y) then(j) { return j } else(l) { return l }          if b is not read

Of a loop, carried values on which no result depends go, and so do stacked results, sequences and
constants that nobody reads.

Sound because a dropped equation is pure, branches too; equations with an effect all stay.  A
parameter of the graph itself stays even if it is not read: it is part of its signature.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from types import MappingProxyType

from graphc.ir import Atom, Eqn, Graph, Var, has_effect, map_subgraphs, subgraphs
from graphc.ops import control

ONCE = frozenset({control.cond, control.checkpoint, control.again})
"""Ops that hold graphs which run once, and return what the op does."""
LOOPS = frozenset({control.while_, control.scan})


def eliminate_dead(graph: Graph) -> Graph:
    """Drop equations, and results and operands of what holds graphs, that nobody reads."""
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
    """An equation whose held graphs return only what is in `live`, or needed to compute it."""
    if eqn.op in LOOPS:
        results = _live_results(eqn, live)
        count = eqn.attrs["carried"]
        operands = [i for i in range(len(eqn.ins)) if i >= count or i in results]
        return _loop_of(eqn, operands, results)
    wanted = [i for i, out in enumerate(eqn.outs) if out in live]
    if eqn.op not in ONCE or len(wanted) == len(eqn.outs):
        return eqn
    narrowed = map_subgraphs(
        lambda branch: branch.replace(outs=tuple(branch.outs[i] for i in wanted)), eqn
    )
    return narrowed.replace(outs=tuple(eqn.outs[i] for i in wanted))


def _without_operands(eqn: Eqn) -> Eqn:
    """An equation that takes only what one of its held graphs reads."""
    if eqn.op in LOOPS:
        operands = sorted(_read_operands(eqn) | set(range(eqn.attrs["carried"])))
        return _loop_of(eqn, operands, list(range(len(eqn.outs))))
    if eqn.op not in ONCE:
        return eqn
    first = len(eqn.ins) - len(next(subgraphs(eqn))[1].params)
    read: set[int] = set()
    for _, branch in subgraphs(eqn):
        used = _read(branch)
        read.update(i for i, param in enumerate(branch.params) if param in used)
    wanted = sorted(read)
    if len(wanted) == len(eqn.ins) - first:
        return eqn
    narrowed = map_subgraphs(
        lambda branch: branch.replace(params=tuple(branch.params[i] for i in wanted)), eqn
    )
    return narrowed.replace(ins=(*eqn.ins[:first], *(eqn.ins[first + i] for i in wanted)))


# ---- loops ---------------------------------------------------------------------------------------


def _first(eqn: Eqn) -> int:
    """The position of the first carried value among the parameters of a loop's body."""
    return 1 if eqn.op is control.scan else 0


def _live_results(eqn: Eqn, live: Collection[Var]) -> list[int]:
    """The results that are read, and the carried values that these, or the test, depend on."""
    body: Graph = eqn.attrs["body"]
    params = body.params[_first(eqn) :][: eqn.attrs["carried"]]
    wanted = {i for i, out in enumerate(eqn.outs) if out in live}
    if eqn.op is control.while_:
        used = _needed(eqn.attrs["test"], eqn.attrs["test"].outs)
        wanted.update(i for i, p in enumerate(eqn.attrs["test"].params[: len(params)]) if p in used)
    while True:
        used = _needed(body, [body.outs[i] for i in wanted])
        grown = wanted | {i for i, param in enumerate(params) if param in used}
        if grown == wanted:
            return sorted(wanted)
        wanted = grown


def _needed(graph: Graph, outs: Iterable[Atom]) -> set[Var]:
    """What `outs`, and the effects of the graph, are computed from."""
    needed = set(_variables(outs))
    for eqn in reversed(graph.eqns):
        if not needed.isdisjoint(eqn.outs) or has_effect(eqn):
            needed.update(_variables(eqn.ins))
    return needed


def _read_operands(eqn: Eqn) -> set[int]:
    """The positions of the operands that the held graphs of a loop read."""
    read: set[int] = set()
    for label, graph in subgraphs(eqn):
        first = _first(eqn) if label == "body" else 0
        used = _read(graph)
        read.update(i - first for i, param in enumerate(graph.params) if param in used)
    return {i for i in read if i >= 0}


def _loop_of(eqn: Eqn, operands: list[int], results: list[int]) -> Eqn:
    """A loop with some of its operands and results; of carried values, with both or neither."""
    if len(operands) == len(eqn.ins) and len(results) == len(eqn.outs):
        return eqn
    first, count = _first(eqn), eqn.attrs["carried"]
    attrs = {**eqn.attrs, "carried": sum(i < count for i in operands)}
    if eqn.op is control.scan:
        attrs["sequences"] = sum(0 <= i - count < eqn.attrs["sequences"] for i in operands)
    else:
        test: Graph = eqn.attrs["test"]
        attrs["test"] = test.replace(params=tuple(test.params[i] for i in operands))
    body: Graph = eqn.attrs["body"]
    attrs["body"] = body.replace(
        params=(*body.params[:first], *(body.params[first + i] for i in operands)),
        outs=tuple(body.outs[i] for i in results),
    )
    return eqn.replace(
        ins=tuple(eqn.ins[i] for i in operands),
        outs=tuple(eqn.outs[i] for i in results),
        attrs=MappingProxyType(attrs),
    )


def _read(graph: Graph) -> set[Var]:
    """The variables that a graph reads; its held graphs read only their own."""
    read = set(_variables(graph.outs))
    for eqn in graph.eqns:
        read.update(_variables(eqn.ins))
    return read
