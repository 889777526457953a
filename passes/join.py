"""Joining kernels that need not wait for each other: one kernel of several loop nests.

Before:  a = fused(x, kind="loop"); b = fused(y, kind="loop"); c = concatenate(a, b)
After:   c = fused(x, y, kind="nests") body(...) { a = fused(...); b = fused(...); c = ... }

Two kinds of kernels are joined.  What only an array in parts reads (a `concatenate`, a `pad`, an
`update_slice`) is made together with it, each part where it belongs.  And what no other kernel
reads, such as the new values of all parameters, is one kernel: nothing comes between its nests.

Sound because no path leads out of what is joined and back in: all readers of the first kind are
joined with it, and the second kind has none.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.ir import Atom, Eqn, Graph, Var
from graphc.ops import control
from graphc.passes.fuse import enclosed, everywhere, in_order
from graphc.passes.groups import PARTS

JOINED = frozenset({"loop", *PARTS})
"""The kinds of kernels that are joined."""


def join(graph: Graph) -> Graph:
    """The graph with its kernels joined, inside conditionals and loops too."""
    return everywhere(_join, graph)


def _join(graph: Graph, written: set[Atom]) -> Graph:
    eqns = graph.eqns
    clusters = [cluster for cluster in _clusters(eqns) if len(cluster) > 1]
    if not clusters:
        return graph
    inside = {i for cluster in clusters for i in cluster}
    units = [eqn for i, eqn in enumerate(eqns) if i not in inside]
    for cluster in clusters:
        members = in_order([eqns[i] for i in sorted(cluster)], written)
        units.append(_nests(graph, members))
    return graph.replace(eqns=tuple(in_order(units, written)))


def _clusters(eqns: Sequence[Eqn]) -> list[set[int]]:
    """The positions of kernels to be joined, the kernels that stay alone among them."""
    made = {out: i for i, eqn in enumerate(eqns) for out in eqn.outs}
    readers: list[set[int]] = [set() for _ in eqns]
    for i, eqn in enumerate(eqns):
        for atom in eqn.ins:
            if isinstance(atom, Var) and atom in made:
                readers[made[atom]].add(i)
    home: dict[int, int] = {}
    clusters: dict[int, set[int]] = {}
    for i in reversed(range(len(eqns))):
        if not _is_joined(eqns[i]):
            continue
        homes = {home.get(reader, -1) for reader in readers[i]}
        target = next(iter(homes)) if len(homes) == 1 else -1
        root = target if target >= 0 and _takes_parts(eqns[target]) else i
        home[i] = root
        clusters.setdefault(root, set()).add(i)
    leaves: set[int] = set()
    rest = []
    for cluster in clusters.values():
        is_leaf = all(readers[i] <= cluster for i in cluster)
        if is_leaf:
            leaves |= cluster
        else:
            rest.append(cluster)
    return [*rest, leaves]


def _is_joined(eqn: Eqn) -> bool:
    return eqn.op is control.fused and eqn.attrs["kind"] in JOINED


def _takes_parts(eqn: Eqn) -> bool:
    return eqn.attrs["kind"] in PARTS


def _nests(graph: Graph, members: Sequence[Eqn]) -> Eqn:
    """The kernels `members` as one `fused` equation."""
    inside = set(members)
    read = {atom for eqn in graph.eqns if eqn not in inside for atom in eqn.ins} | set(graph.outs)
    results = [out for eqn in members for out in eqn.outs if out in read]
    return enclosed(members, results, {"kind": "nests"})
