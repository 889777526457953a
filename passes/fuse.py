"""Fusion: equations that run as one kernel become one `fused` equation.

Before:  m = max(x, axes=(1,)); b = broadcast(m); d = subtract(x, b); e = exp(d); ...
After:   y = fused(x, kind="loop", domain=(64,1000), reduce=(1,)) body(...) { m = max(x) ... }

Sound because a group is convex (no path leads out of it and back in), pure, and keeps the order of
its equations; `groups.py` says which groups are one loop nest.  What is free as a view of memory
stays outside of the kernels.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from graphc.axis_maps import AxisMap, is_read_elsewhere
from graphc.build import rename
from graphc.ir import Atom, Eqn, Graph, Lit, Var, has_effect, map_subgraphs
from graphc.ops import control, linalg
from graphc.passes.absorb import is_soft
from graphc.passes.groups import PARTS, Group, Grouping, find_groups, single_groups

Unit = tuple[Group | None, list[int]]
"""The equations of a kernel, or one equation that is none."""


def fuse(graph: Graph) -> Graph:
    """The graph with its kernels as `fused` equations, inside conditionals and loops too."""
    return everywhere(lambda held, written: _outlined(find_groups(held), written), graph)


def separate(graph: Graph) -> Graph:
    """The graph with each equation as a kernel of its own: what fusion is compared with."""
    return everywhere(lambda held, written: _outlined(single_groups(held), written), graph)


def everywhere(
    change: Callable[[Graph, set[Atom]], Graph], graph: Graph, written: set[Atom] | None = None
) -> Graph:
    """The graph after `change`, and before that the graphs that it holds, but those of kernels.

    `change` is told which results take the place of a parameter: new values of arguments, and what
    the body of a loop carries on.
    """
    if written is None:
        written = {graph.outs[result] for _, result in graph.updates}
    eqns = tuple(eqn if eqn.op is control.fused else _with_held(change, eqn) for eqn in graph.eqns)
    return change(graph.replace(eqns=eqns), written)


def _with_held(change: Callable[[Graph, set[Atom]], Graph], eqn: Eqn) -> Eqn:
    carried = eqn.attrs.get("carried", 0)
    return map_subgraphs(lambda held: everywhere(change, held, set(held.outs[:carried])), eqn)


def _outlined(grouping: Grouping, written: set[Atom]) -> Graph:
    """`written`: results that take the place of a parameter when nothing reads it any more."""
    graph = grouping.graph
    needed = _readers(graph, grouping)
    units: list[Unit] = []
    for group in grouping.groups.values():
        members = sorted(group.members)
        free = _peel(grouping, members, needed) if group.kind in ("loop", "matmul") else set()
        rest = [i for i in members if i not in free]
        is_kernel = bool(group.kind) and bool(rest)
        if rest:
            units.append((group if is_kernel else None, rest))
        units.extend((None, [i]) for i in sorted(free))
    eqns = [_as_eqn(graph, grouping, unit, needed) for unit in units]
    # A kernel without results is dead: `eliminate_dead` is not a condition of fusing.
    eqns = [eqn for eqn in eqns if eqn.op is not control.fused or eqn.outs]
    return graph.replace(eqns=tuple(in_order(eqns, written)))


def _readers(graph: Graph, grouping: Grouping) -> dict[Var, set[int]]:
    """The positions of the equations that read each value; the graph's own results are at -1.

    What a mover absorbs, it reads itself.
    """
    readers: dict[Var, set[int]] = {}
    for position, reads in grouping.absorption.reads.items():
        for value, _ in reads:
            readers.setdefault(value, set()).add(position)
    for atom in graph.outs:
        if isinstance(atom, Var):
            readers.setdefault(atom, set()).add(-1)
    return readers


def _peel(grouping: Grouping, members: Sequence[int], readers: dict[Var, set[int]]) -> set[int]:
    """Broadcasts and unit reshapes at the rim of a group: outside of it they are free views.

    A view whose result the group does not read, or whose operand it does not make.
    """
    eqns = grouping.graph.eqns
    inside = set(members)
    made = {out: i for i in members for out in eqns[i].outs}
    changed = True
    while changed:
        changed = False
        for i in list(inside):
            eqn = eqns[i]
            if not is_soft(eqn) or i in grouping.absorption.closure:
                continue
            source = eqn.ins[0]
            from_outside = isinstance(source, Lit) or made.get(source) not in inside
            if from_outside or _is_for_others(grouping, readers.get(eqn.out, set()), inside):
                inside.discard(i)
                changed = True
    return set(members) - inside


def _is_for_others(grouping: Grouping, readers: set[int], inside: set[int]) -> bool:
    """Whether only others read a value, and not as a part that the kernel can write to its place.

    A value that is a part of another in memory is best made in the shape in which it goes there.
    """
    kinds = {grouping.groups[grouping.group_of[r]].kind for r in readers if r >= 0}
    is_part = bool(kinds) and kinds <= PARTS and -1 not in readers
    return inside.isdisjoint(readers) and not is_part


def _as_eqn(graph: Graph, grouping: Grouping, unit: Unit, readers: dict[Var, set[int]]) -> Eqn:
    group, members = unit
    if group is None:
        return graph.eqns[members[0]]
    regular = set(members)
    absorbed = {i for member in members for i in grouping.absorption.closure.get(member, ())}
    everything = sorted(regular | absorbed)
    maps = tuple(grouping.maps.get(i, ()) if i in regular else () for i in everything)
    results = [
        out for i in members for out in graph.eqns[i].outs if readers.get(out, set()) - regular
    ]
    return outline(graph, group, maps, everything, results)


def outline(
    graph: Graph,
    group: Group,
    maps: tuple[AxisMap, ...],
    members: Sequence[int],
    results: Sequence[Var],
) -> Eqn:
    """The equations at `members` as one `fused` equation over a closed body."""
    attrs = {
        "kind": group.kind,
        "domain": group.domain,
        "reduce": tuple(sorted(group.reduce)),
        "maps": maps,
    }
    eqns = [graph.eqns[i] for i in members]
    if group.kind == "matmul":
        eqns = _with_operands_in_memory(eqns, maps)
    return enclosed(eqns, results, attrs)


def _with_operands_in_memory(eqns: Sequence[Eqn], maps: Sequence[AxisMap]) -> list[Eqn]:
    """The equations of a kernel, where a matrix product does not read what a mover has absorbed.

    That is computed at the places where the mover reads it; the product reads it from memory, where
    another kernel has written it.
    """
    factors = {atom for eqn in eqns if eqn.op is linalg.matmul for atom in eqn.ins}
    absorbed = [eqn.out for eqn, own in zip(eqns, maps, strict=True) if is_read_elsewhere(eqn, own)]
    names: dict[Var, Atom] = {x: Var(x.type, x.hint) for x in absorbed if x in factors}

    def renamed(eqn: Eqn) -> Eqn:
        ins = tuple(rename(atom, names) for atom in eqn.ins)
        outs = tuple(_var(names, out) if out in names else out for out in eqn.outs)
        return eqn if eqn.op is linalg.matmul else eqn.replace(ins=ins, outs=outs)

    return [renamed(eqn) for eqn in eqns] if names else list(eqns)


def enclosed(eqns: Sequence[Eqn], results: Sequence[Var], attrs: Mapping[str, Any]) -> Eqn:
    """A `fused` equation that holds `eqns` and gives `results`."""
    made = {out for eqn in eqns for out in eqn.outs}
    operands = list(
        dict.fromkeys(
            atom for eqn in eqns for atom in eqn.ins if isinstance(atom, Var) and atom not in made
        )
    )
    names: dict[Var, Atom] = {var: Var(var.type, var.hint) for var in (*operands, *made)}
    body = Graph(
        "body",
        tuple(_var(names, var) for var in operands),
        tuple(
            eqn.replace(
                ins=tuple(rename(atom, names) for atom in eqn.ins),
                outs=tuple(_var(names, out) for out in eqn.outs),
            )
            for eqn in eqns
        ),
        tuple(names[out] for out in results),
    )
    loc = next((eqn.loc for eqn in reversed(eqns) if eqn.loc is not None), None)
    held = MappingProxyType({"body": body, **attrs})
    return Eqn(control.fused, tuple(operands), tuple(results), held, loc)


def _var(names: dict[Var, Atom], var: Var) -> Var:
    renamed = names[var]
    assert isinstance(renamed, Var)
    return renamed


def in_order(eqns: Sequence[Eqn], written: set[Atom]) -> list[Eqn]:
    """The equations sorted so that each follows what it reads, and effects keep their order.

    Kernels that make the new value of a parameter (`written`) come as late as they can: when
    nothing reads the old value any more, they may write it in place.
    """
    made = {out: i for i, eqn in enumerate(eqns) for out in eqn.outs}
    waits_for = [
        {made[atom] for atom in eqn.ins if isinstance(atom, Var) and atom in made} for eqn in eqns
    ]
    effects = [i for i, eqn in enumerate(eqns) if has_effect(eqn)]
    for before, after in itertools.pairwise(effects):
        waits_for[after].add(before)
    followers: list[list[int]] = [[] for _ in eqns]
    for i, sources in enumerate(waits_for):
        for source in sources:
            followers[source].append(i)
    missing = [len(sources) for sources in waits_for]
    keys = [(not written.isdisjoint(eqn.outs), i) for i, eqn in enumerate(eqns)]
    ready = [key for key, count in zip(keys, missing, strict=True) if count == 0]
    heapq.heapify(ready)
    ordered = []
    while ready:
        _, i = heapq.heappop(ready)
        ordered.append(eqns[i])
        for follower in followers[i]:
            missing[follower] -= 1
            if missing[follower] == 0:
                heapq.heappush(ready, keys[follower])
    assert len(ordered) == len(eqns), "a fused group is not convex"
    return ordered
