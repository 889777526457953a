"""Which equations run as one loop nest: the grouping behind `fuse`.

A loop group has a *domain* (the sizes it loops over, those of 1 left out) and the domain axes that
its reductions combine.  Each equation has an *axis map*: which domain axis each axis of its result
runs along (None for size 1); a reduction has the map of its input.  Two groups become one if the
axes of one can be laid onto the axes of the other so that the value between them runs along the
same axes in both, and if no path leads out of the merged group and back in.

A group whose reductions run along its rows also takes in sums over its rows, or over everything
(the gradient of a bias beside that of a layer norm): they grow from row to row, and what they come
to is for other groups to read.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from graphc.axis_maps import (
    AxisMap,
    natural_domain,
    natural_map,
    operand_map,
    reduced_axes,
    result_map,
)
from graphc.dims import surely_less
from graphc.ir import FLOATS, Eqn, Graph, Var, has_effect
from graphc.ops import index, linalg, shape
from graphc.ops.reduce import REDUCTIONS
from graphc.ops.reduce import sum as summation
from graphc.passes.absorb import (
    ASSEMBLERS,
    Absorption,
    absorb,
    absorb_nothing,
    is_soft,
    is_view_mover,
)
from graphc.questions import hint

PARTS = {"concatenate", "pad", "update_slice"}
"""Ops whose result, in memory, has parts that other kernels may write where they belong."""

TOTALS_BYTES = 32 * 1024
"""The most that the sums over the rows of a group hold: each row adds to them in the L1 cache."""

STANDALONE = {*PARTS, "scatter_add", "put", "native"}
"""Ops with loop nests of their own; the first three only where their result is in memory."""


@dataclass
class Group:
    """Equations (by position) that run as one kernel.

    `ids` has a bit for each member, `ancestors` the bits of groups that must run before it (one
    bit of each at least), `sources` the positions whose results it reads directly.
    `totals` are the members that add up over the rows: nothing in the group reads them.
    """

    kind: str
    members: list[int]
    domain: tuple[int, ...]
    reduce: frozenset[int]
    ids: int
    ancestors: int = 0
    sources: set[int] = field(default_factory=set)
    totals: set[int] = field(default_factory=set)


class Grouping:
    """The groups of a graph's equations, merged step by step."""

    def __init__(self, graph: Graph, absorption: Absorption):
        self.graph = graph
        self.absorption = absorption
        self.group_of: list[int] = []
        self.groups: dict[int, Group] = {}
        self.maps: dict[int, AxisMap] = {}
        self.producer: dict[Var, int] = {}
        self.readers: dict[Var, list[int]] = {}
        self.moved: set[tuple[Var, int]] = set()
        self.last_effect: int | None = None

    # ---- starting --------------------------------------------------------------------------------

    def add(self, position: int, eqn: Eqn) -> None:
        """A group for one equation, after the groups of everything that it reads."""
        self.group_of.append(position)
        if position not in self.absorption.regular:
            return  # computed where it is read
        group = self._single(position, eqn)
        for atom, moved in self.absorption.reads[position]:
            if moved:
                self.moved.add((atom, position))
            if atom in self.producer:
                self.readers[atom].append(position)
                self._follow(group, self.producer[atom])
        if has_effect(eqn):  # effects keep their order
            if self.last_effect is not None:
                self._follow(group, self.last_effect)
            self.last_effect = position
        self.groups[position] = group
        for out in eqn.outs:
            self.producer[out] = position
            self.readers[out] = []

    def _follow(self, group: Group, source: int) -> None:
        """Note that a new group runs after the one of an equation."""
        before = self.groups[self.group_of[source]]
        group.ancestors |= before.ancestors | before.ids
        group.sources.add(source)

    def _single(self, position: int, eqn: Eqn) -> Group:
        ids = 1 << position
        if eqn.op is linalg.matmul:
            self.maps[position] = natural_map(eqn.out.type)
            return Group("matmul", [position], natural_domain(eqn.out.type), frozenset(), ids)
        if not self.is_loop_eqn(position):
            kind = "native" if eqn.op.native else eqn.op.name
            kind = kind if kind in STANDALONE else ""
            return Group(kind, [position], (), frozenset(), ids)
        looped = eqn.ins[0].type if eqn.op in REDUCTIONS else eqn.out.type
        own = natural_map(looped)
        self.maps[position] = own
        axes = reduced_axes(eqn, own) if eqn.op in REDUCTIONS else frozenset()
        return Group("loop", [position], natural_domain(looped), axes, ids)

    def is_loop_eqn(self, position: int) -> bool:
        """Whether an equation runs along loops; a view alone does not: it is free in memory."""
        eqn = self.graph.eqns[position]
        if eqn.op in ASSEMBLERS:
            return position in self.absorption.pulled
        if is_view_mover(eqn):
            return position in self.absorption.closure
        return (
            eqn.op.elementwise
            or eqn.op in REDUCTIONS
            or eqn.op in (shape.iota, shape.dimension)
            or eqn.op in index.GATHERS
            or is_soft(eqn)
        )

    # ---- merging ---------------------------------------------------------------------------------

    def merge_producers(self, position: int, eqn: Eqn) -> None:
        """Join the groups of the equation's operands to its own, where that is possible."""
        if position not in self.maps or eqn.op is linalg.matmul:
            return
        for atom, moved in self.absorption.reads[position]:
            if not moved and atom in self.producer:
                self._merge_along(atom, position, eqn)

    def _merge_along(self, value: Var, position: int, eqn: Eqn) -> None:
        source = self.producer[value]
        a, b = self.group_of[source], self.group_of[position]
        if a == b or source not in self.maps or self._makes_cycle(a, b):
            return
        in_a = result_map(self.graph.eqns[source], self.maps[source])
        in_b = operand_map(eqn, self.maps[position], value.type)
        layout = _lay_together(self.groups[a], self.groups[b], in_a, in_b)
        if layout is not None and self._maps_agree(a, b, *layout):
            self._merge(a, b, *layout)
        elif layout is None and in_a == in_b and self._takes_in(a, b):
            self._take_in(a, b)

    def _maps_agree(self, a: int, b: int, onto_a: Sequence[int], onto_b: Sequence[int]) -> bool:
        """Whether every value that b reads of a runs along the same axes in both.

        A matrix product reads rows and columns of its operands, whatever it is merged with.
        """
        return all(
            self.graph.eqns[reader].op is not linalg.matmul
            and source not in self.groups[a].totals
            and (value, reader) not in self.moved
            and _moved(result_map(self.graph.eqns[source], self.maps[source]), onto_a)
            == _moved(operand_map(self.graph.eqns[reader], self.maps[reader], value.type), onto_b)
            for value, source, reader in self._between(a, b)
        )

    # ---- totals over rows ------------------------------------------------------------------------

    def _takes_in(self, rows: int, total: int) -> bool:
        """Whether `total` is a sum over the rows of the group `rows`, or over all of it."""
        group, one = self.groups[rows], self.groups[total]
        if len(one.members) != 1 or (group.kind, one.kind) != ("loop", "loop"):
            return False
        eqn, axes = self.graph.eqns[one.members[0]], frozenset(range(len(group.domain)))
        return (
            eqn.op is summation
            and eqn.out.type.dtype in FLOATS
            and bool(group.reduce)
            and group.reduce < axes
            and max(axes) in group.reduce
            and one.domain == group.domain
            and one.reduce in (axes, axes - group.reduce)
            and 0 not in group.domain
            and self._totals_bytes(group) + hint(eqn.out.type.nbytes) <= TOTALS_BYTES
            and self._maps_agree(rows, total, range(len(axes)), range(len(axes)))
        )

    def _totals_bytes(self, group: Group) -> int:
        return sum(hint(self.graph.eqns[i].out.type.nbytes) for i in group.totals)

    def _take_in(self, rows: int, total: int) -> None:
        group, one = self.groups[rows], self.groups[total]
        same = range(len(group.domain))
        reduce, totals = group.reduce, {*group.totals, *one.members}
        self._merge(rows, total, same, same)
        merged = self.groups[self.group_of[group.members[0]]]
        merged.reduce, merged.totals = reduce, totals

    def _between(self, a: int, b: int) -> Iterator[tuple[Var, int, int]]:
        """Each value that group a makes and group b reads; found from the smaller of the two."""
        first, second = self.groups[a], self.groups[b]
        if len(first.members) <= len(second.members):
            for source in first.members:
                for value in self.graph.eqns[source].outs:
                    for reader in self.readers[value]:
                        if self.group_of[reader] == b:
                            yield value, source, reader
            return
        for reader in second.members:
            for atom, _ in self.absorption.reads[reader]:
                if self.group_of[self.producer.get(atom, reader)] == a:
                    yield atom, self.producer[atom], reader

    def _makes_cycle(self, a: int, b: int) -> bool:
        """Whether a path leads from one group to the other through a third."""
        return self._path_through_third(a, b) or self._path_through_third(b, a)

    def _path_through_third(self, first: int, last: int) -> bool:
        ids = self.groups[first].ids
        if not self.groups[last].ancestors & ids:
            return False
        before = {self.group_of[source] for source in self.groups[last].sources} - {first, last}
        return any(self.groups[root].ancestors & ids for root in before)

    def _merge(self, a: int, b: int, onto_a: Sequence[int], onto_b: Sequence[int]) -> None:
        """Make a and b one group; `onto_*` are where the axes of each lie in the new domain."""
        if len(self.groups[a].members) < len(self.groups[b].members):
            a, b, onto_a, onto_b = b, a, onto_b, onto_a
        big, small = self.groups[a], self.groups[b]
        big.domain = max(big.domain, small.domain, key=len)
        self._lay_members(big, onto_a)
        self._lay_members(small, onto_b)
        big.reduce |= small.reduce
        big.kind = "matmul" if "matmul" in (big.kind, small.kind) else "loop"
        big.members += small.members
        big.sources |= small.sources
        big.totals |= small.totals
        for member in small.members:
            self.group_of[member] = a
        del self.groups[b]
        self._join_ancestors(big, small)

    def _lay_members(self, group: Group, onto: Sequence[int]) -> None:
        """Number the axes of a group's members, and of its reductions, by those of the domain."""
        if list(onto) == list(range(len(onto))):
            return
        group.reduce = frozenset(onto[i] for i in group.reduce)
        for member in group.members:
            self.maps[member] = _moved(self.maps[member], onto)

    def _join_ancestors(self, big: Group, small: Group) -> None:
        """What ran before one of them now runs before everything that follows either."""
        both = big.ids | small.ids
        ancestors = (big.ancestors | small.ancestors) & ~both
        grown = ancestors & ~big.ancestors or ancestors & ~small.ancestors
        big.ids, big.ancestors = both, ancestors
        if grown:
            for group in self.groups.values():
                if group.ancestors & both:
                    group.ancestors |= ancestors | both

    def merge_siblings(self) -> None:
        """Join loop groups that read the same value over the same domain: one pass over it."""
        readers: dict[tuple[Var, tuple[int, ...]], list[int]] = {}
        for position in sorted(self.maps):
            root = self.group_of[position]
            if self.groups[root].kind != "loop":
                continue
            for atom, moved in self.absorption.reads[position]:
                if not moved and self._is_outside(atom, root):
                    key = (atom, self.groups[root].domain)
                    readers.setdefault(key, []).append(position)
        for (value, _), positions in readers.items():
            for position in positions[1:]:
                self._merge_readers(value, positions[0], position)

    def _is_outside(self, value: Var, root: int) -> bool:
        return value not in self.producer or self.group_of[self.producer[value]] != root

    def _merge_readers(self, value: Var, one: int, other: int) -> None:
        a, b = self.group_of[one], self.group_of[other]
        if a == b or self._makes_cycle(a, b):
            return
        first, second = self.groups[a], self.groups[b]
        maps = [operand_map(self.graph.eqns[i], self.maps[i], value.type) for i in (one, other)]
        full = len({axis for axis in maps[0] if axis is not None}) == len(first.domain)
        if not full or maps[0] != maps[1]:
            return
        if self._takes_in(a, b):
            self._take_in(a, b)
        elif self._takes_in(b, a):
            self._take_in(b, a)
        elif _reductions_agree(first, second):
            same = range(len(first.domain))
            if first.domain == second.domain and all(
                self._maps_agree(x, y, same, same) for x, y in ((a, b), (b, a))
            ):
                self._merge(a, b, same, same)


def _moved(axes: AxisMap, onto: Sequence[int]) -> AxisMap:
    return tuple(None if axis is None else onto[axis] for axis in axes)


def _reductions_agree(a: Group, b: Group) -> bool:
    return not a.reduce or not b.reduce or a.reduce == b.reduce


def _lay_together(
    a: Group, b: Group, in_a: AxisMap, in_b: AxisMap
) -> tuple[Sequence[int], Sequence[int]] | None:
    """How the axes of a and b lie in a common domain, or None where there is none.

    The value between them must run along the same axes in both.  The group with fewer axes is laid
    onto the other; it may then have no reductions, whose axes would no longer be the domain's.
    """
    if "" in (a.kind, b.kind) or a.kind in STANDALONE or b.kind in STANDALONE:
        return None
    same = range(len(a.domain))
    if a.domain == b.domain and in_a == in_b:
        if not _reductions_agree(a, b):
            return None
        if "matmul" in (a.kind, b.kind) and (a.kind == b.kind or a.reduce or b.reduce):
            return None
        return same, same
    pairs = {(i, j) for i, j in zip(in_a, in_b, strict=True) if i is not None and j is not None}
    if len(a.domain) < len(b.domain):
        onto = _embedding(a, b, dict(pairs))
        return None if onto is None else (onto, range(len(b.domain)))
    if len(b.domain) < len(a.domain):
        onto = _embedding(b, a, {j: i for i, j in pairs})
        return None if onto is None else (same, onto)
    return None


def _embedding(small: Group, big: Group, axes: dict[int, int]) -> Sequence[int] | None:
    """Where each axis of `small` lies in `big`.

    Not in a domain without elements: its loops never run, and `small` may have results.
    """
    if not surely_less(0, math.prod(big.domain)):
        return None
    if small.reduce or small.kind == "matmul" or len(axes) != len(small.domain):
        return None
    if big.kind == "matmul" and small.domain:
        return None
    onto = [axes[i] for i in range(len(small.domain))]
    increasing = all(i < j for i, j in itertools.pairwise(onto))
    return onto if increasing else None


def find_groups(graph: Graph) -> Grouping:
    """The groups of a graph, each of them convex: its kernels can be put in an order."""
    grouping = Grouping(graph, absorb(graph))
    for position, eqn in enumerate(graph.eqns):
        grouping.add(position, eqn)
        if position in grouping.groups:
            grouping.merge_producers(position, eqn)
    grouping.merge_siblings()
    return grouping


def single_groups(graph: Graph) -> Grouping:
    """Each equation as a group of its own: what there would be without fusion."""
    grouping = Grouping(graph, absorb_nothing(graph))
    for position, eqn in enumerate(graph.eqns):
        grouping.add(position, eqn)
    return grouping
