"""Joining kernels: one kernel of several loop nests.

Before:  a = fused(x, kind="loop"); b = fused(y, kind="loop"); c = concatenate(a, b)
After:   c = fused(x, y, kind="nests") body(...) { a = fused(...); b = fused(...); c = ... }

Three kinds of kernels are joined to others:

  - *parts*: what only an array in parts reads (a `concatenate`, a `pad`, an `update_slice`) is made
    together with it, each part where it belongs;
  - *tails*: a small nest that continues a large one, as the sum over the losses of all rows
    continues the nest that computes them, and small nests that prepare a large one;
  - *leaves*: what no other kernel reads, such as the new values of all parameters, is one kernel.

Sound because no path leads out of what is joined and back in: all readers of a part are joined
with it, leaves have none, and what a tail reads beside its kernel was made before that began.
"""

from __future__ import annotations

import math

from graphc.ir import Atom, Eqn, Graph
from graphc.ops import control, shape
from graphc.passes.fuse import enclosed, everywhere, in_order
from graphc.passes.groups import PARTS
from graphc.questions import hint

GRAPH = -1
"""The reader of what a graph returns."""

SMALL = 8
"""A nest is small beside another with this many times its elements."""

JOINED = frozenset({"loop", *PARTS})
"""The kinds of kernels that are joined."""


def join(graph: Graph) -> Graph:
    """The graph with its kernels joined, inside conditionals and loops too."""
    return everywhere(_join, graph)


def _join(graph: Graph, written: set[Atom]) -> Graph:
    clusters = _Clusters(graph)
    clusters.join_to_readers()
    clusters.join_tails()
    joined = [sorted(members) for members in clusters.with_leaves() if len(members) > 1]
    if not joined:
        return graph
    inside = {i for members in joined for i in members}
    units = [eqn for i, eqn in enumerate(graph.eqns) if i not in inside]
    for members in joined:
        results = [out for i in members for out in graph.eqns[i].outs]
        results = [out for out in results if clusters.readers.get(out, set()) - set(members)]
        nests = in_order([graph.eqns[i] for i in members], written)
        units.append(enclosed(nests, results, {"kind": "nests"}))
    return graph.replace(eqns=tuple(in_order(units, written)))


class _Clusters:
    """Kernels, by position, that become one: `home` is the position that stands for each."""

    def __init__(self, graph: Graph):
        self.eqns = graph.eqns
        self.maker = {out: i for i, eqn in enumerate(graph.eqns) for out in eqn.outs}
        self.home = list(range(len(graph.eqns)))
        self.readers: dict[Atom, set[int]] = {atom: {GRAPH} for atom in graph.outs}
        for i, eqn in enumerate(graph.eqns):
            for atom in eqn.ins:
                self.readers.setdefault(atom, set()).add(i)

    def members(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for i, home in enumerate(self.home):
            found.setdefault(home, []).append(i)
        return found

    def readers_of(self, position: int) -> set[int]:
        return {r for out in self.eqns[position].outs for r in self.readers.get(out, ())}

    # ---- parts, and what prepares a kernel -------------------------------------------------------

    def join_to_readers(self) -> None:
        """Join kernels with the one kernel that reads all that they make."""
        for i in reversed(range(len(self.eqns))):
            readers = self.readers_of(i)
            homes = {self.home[r] for r in readers if r != GRAPH}
            if not _is_joined(self.eqns[i]) or GRAPH in readers or len(homes) != 1:
                continue
            (target,) = homes
            eqn = self.eqns[target]
            if _is_joined(eqn) and (eqn.attrs["kind"] in PARTS or _is_small(self.eqns[i], eqn)):
                self.home[i] = target

    # ---- tails -----------------------------------------------------------------------------------

    def join_tails(self) -> None:
        """Join small kernels with the large one that they continue.

        A kernel's *level* is one more than that of what it reads.  A cluster begins at the level of
        its first kernel; whatever enters it was made on a lower one, which excludes a way back.
        """
        members = self.members()
        level: dict[int, int] = {}
        begins: dict[int, int] = {}
        for i, eqn in enumerate(self.eqns):
            if self.home[i] != i:
                continue  # it is placed with its reader
            sources = {s for m in members[i] for s in self._sources(m)} - set(members[i])
            runs = eqn.op is not shape.constant and eqn.op not in shape.VIEWS
            level[i] = max((level[s] for s in sources), default=0) + runs
            begins[i] = level[i]
            if not _is_joined(eqn) or len(members[i]) > 1 or not sources:
                continue
            top = max(sources, key=lambda s: level[s])
            start = begins[self.home[top]]
            others = [s for s in sources if self.home[s] != self.home[top]]
            is_tail = _is_joined(self.eqns[top]) and _is_small(eqn, self.eqns[self.home[top]])
            if is_tail and all(level[s] < start for s in others):
                self.home[i] = self.home[top]
                self._take_views(i)

    def _sources(self, position: int) -> set[int]:
        """The kernels, by what stands for them, and other equations that make what one reads."""
        found = set()
        for atom in self.eqns[position].ins:
            maker = self._seen_through(atom)
            if maker is not None:
                found.add(maker if self._is_tail(maker) else self.home[maker])
        return found

    def _is_tail(self, position: int) -> bool:
        """A tail has a level of its own, above that of its cluster."""
        return self.home[position] < position

    def _seen_through(self, atom: Atom) -> int | None:
        """Who makes a value; of a view who makes what it is a view of."""
        maker = self.maker.get(atom)  # type: ignore[arg-type]
        while maker is not None and self.eqns[maker].op in shape.VIEWS:
            maker = self.maker.get(self.eqns[maker].ins[0])  # type: ignore[arg-type]
        return maker

    def _take_views(self, position: int) -> None:
        """Views between the nests of a cluster belong to it."""
        for atom in self.eqns[position].ins:
            maker = self.maker.get(atom)  # type: ignore[arg-type]
            source = self._seen_through(atom)
            inside = source is not None and self.home[source] == self.home[position]
            while inside and maker is not None and self.eqns[maker].op in shape.VIEWS:
                self.home[maker] = self.home[position]
                maker = self.maker.get(self.eqns[maker].ins[0])  # type: ignore[arg-type]

    # ---- leaves ----------------------------------------------------------------------------------

    def with_leaves(self) -> list[set[int]]:
        """All clusters, those that nobody else reads as one."""
        leaves: set[int] = set()
        rest = []
        for home, members in self.members().items():
            inside = {*members, GRAPH}
            if _is_joined(self.eqns[home]) and all(self.readers_of(i) <= inside for i in members):
                leaves.update(members)
            else:
                rest.append(set(members))
        return [*rest, leaves]


def _is_joined(eqn: Eqn) -> bool:
    return eqn.op is control.fused and eqn.attrs["kind"] in JOINED


def _is_small(eqn: Eqn, beside: Eqn) -> bool:
    """Whether a kernel has little to do beside another one."""
    return SMALL * _work(eqn) <= _work(beside)


def _work(eqn: Eqn) -> int:
    """The elements that the loops of a kernel run over."""
    if eqn.attrs["kind"] in PARTS:
        return hint(eqn.out.type.size)
    return hint(math.prod(eqn.attrs["domain"]))
