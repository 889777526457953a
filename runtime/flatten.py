"""Taking joined kernels apart: a kernel of several nests is planned nest by nest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from graphc.build import rename
from graphc.ir import Atom, Eqn, Graph, Var, map_subgraphs, subgraphs
from graphc.ops import control


def flattened(graph: Graph) -> tuple[Graph, dict[Eqn, Eqn]]:
    """`graph` with the nests of joined kernels as equations; which kernel each of them is from."""
    origins: dict[Eqn, Eqn] = {}
    return _flattened(graph, origins), origins


def _flattened(graph: Graph, origins: dict[Eqn, Eqn]) -> Graph:
    eqns: list[Eqn] = []
    for eqn in graph.eqns:
        if eqn.op is not control.fused:
            eqns.append(map_subgraphs(lambda inner: _flattened(inner, origins), eqn))
        elif eqn.attrs["kind"] != "nests":
            eqns.append(eqn)
        else:
            for nest in _nests(eqn):
                origins[nest] = eqn
                eqns.append(nest)
    return graph.replace(eqns=tuple(eqns))


def _nests(eqn: Eqn) -> Iterator[Eqn]:
    body: Graph = eqn.attrs["body"]
    names: dict[Var, Atom] = dict(zip(body.params, eqn.ins, strict=True))
    names.update((inner, out) for inner, out in zip(body.outs, eqn.outs, strict=True))  # type: ignore[misc]
    for nest in body.eqns:
        ins = tuple(rename(atom, names) for atom in nest.ins)
        outs = tuple(rename(out, names) for out in nest.outs)
        yield nest.replace(ins=ins, outs=outs)


def uses(graph: Graph) -> Counter[Atom]:
    """How often each value is read or returned, in held graphs other than kernels too."""
    counts: Counter[Atom] = Counter(graph.outs)
    for eqn in graph.eqns:
        counts.update(eqn.ins)
        if eqn.op is not control.fused:
            for _, inner in subgraphs(eqn):
                counts += uses(inner)
    return counts
