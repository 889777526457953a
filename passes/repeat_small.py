"""What a broadcast repeats is computed where it is repeated, if that takes nothing but parameters.

Before:  p = where(less(l, 0), add(l, 10), l); ... p ... ; b = broadcast(p); ... b ...
After:   p = where(...); ... p ... ; q = where(...); b = broadcast(q); ... b ...

A nest over rows and columns then needs not wait for the kernel that makes a column for others as
well (the loss, the check of labels), so the two sides of it can be one kernel: the gradient of a
cross entropy is written once, with what the labels take off it.

Sound because the operations are elementwise, and so pure.  They cost a row of work for a block.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.axis_maps import is_unit_reshape
from graphc.build import rename
from graphc.ir import Atom, Eqn, Graph, Var, map_subgraphs
from graphc.ops import shape
from graphc.questions import hint

RATIO = 8
"""How many times more elements the broadcast has."""

LARGE = 64 * 1024
"""Its bytes, from which on it is worth another look at its operand."""

MOST = 8
"""Equations that are repeated for one broadcast."""


def repeat_small(graph: Graph) -> Graph:
    """`graph` with such operands made again, inside conditionals and loops too."""
    makers = {out: eqn for eqn in graph.eqns for out in eqn.outs}
    reads = _reads(graph)
    eqns: list[Eqn] = []
    for eqn in graph.eqns:
        chain = _chain(eqn, makers) if eqn.op is shape.broadcast and _is_large(eqn) else []
        if any(reads[inner.out] > 1 for inner in chain):
            copies, names = _copied(chain)
            eqns += copies
            eqns.append(eqn.replace(ins=tuple(rename(atom, names) for atom in eqn.ins)))
        else:
            eqns.append(map_subgraphs(repeat_small, eqn))
    return graph.replace(eqns=tuple(eqns))


def _reads(graph: Graph) -> dict[Atom, int]:
    """How many equations, and the graph, read each value."""
    reads: dict[Atom, int] = {}
    for atoms in (*(set(eqn.ins) for eqn in graph.eqns), set(graph.outs)):
        for atom in atoms:
            reads[atom] = reads.get(atom, 0) + 1
    return reads


def _is_large(eqn: Eqn) -> bool:
    before, after = eqn.ins[0].type, eqn.out.type
    return hint(after.nbytes) >= LARGE and hint(after.size) >= RATIO * hint(before.size)


def _chain(broadcast: Eqn, makers: dict[Var, Eqn]) -> list[Eqn]:
    """The equations that make the operand from parameters, in order; none if there are others."""
    chain: dict[Eqn, None] = {}
    seen: set[Eqn] = set()
    waiting = [(atom, False) for atom in broadcast.ins]
    while waiting:
        atom, is_ready = waiting.pop()
        maker = makers.get(atom) if isinstance(atom, Var) else None
        if maker is not None and is_ready:
            chain[maker] = None
        if maker is None or maker in seen:
            continue
        seen.add(maker)
        if not (maker.op.elementwise or is_unit_reshape(maker)) or len(seen) > MOST:
            return []
        waiting.append((atom, True))
        waiting += [(operand, False) for operand in maker.ins]
    return list(chain)


def _copied(chain: Sequence[Eqn]) -> tuple[list[Eqn], dict[Var, Atom]]:
    names: dict[Var, Atom] = {}
    copies = []
    for eqn in chain:
        out = Var(eqn.out.type, eqn.out.hint)
        ins = tuple(rename(atom, names) for atom in eqn.ins)
        copies.append(eqn.replace(ins=ins, outs=(out,)))
        names[eqn.out] = out
    return copies, names
