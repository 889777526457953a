"""Row blocks: kernels that hand rows to each other become one, which runs block of rows by block.

Before:  s = fused(q, k, kind="matmul") ...; p = fused(s, kind="loop", reduce=(1,)) ...;
         y = fused(p, v, kind="matmul") ...
After:   y = fused(q, k, v, kind="rows", domain=(1024,)) body(...) { s = fused(...) ... }

A matrix product needs whole rows of its left operand, and makes whole rows; so does a loop nest
whose reductions run along its rows.  Where the values between such kernels are read row by row,
a block of rows goes through all of them while it is in cache, and the whole values, attention's
scores say, are never written (but where something else reads them, too).

A kernel that also adds up over its rows is taken apart for this (`column_totals.py`), because the
blocks of rows may overlap; where it is then joined to nothing, it stays whole.

Sound because each row that a kernel reads of another one is the row that it works on: the axes of
the value between them that belong to rows (and to a batch of matrices around them) are the first
axes of both domains.  The merged kernel is convex, as every kernel is.

It pays where the rows of the value between are long beside what is done with them, and as long as
the right operands stay in cache, because each block of rows reads all of them again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from graphc.axis_maps import AxisMap, is_read_elsewhere, operand_map, result_map
from graphc.dims import surely_less
from graphc.ir import Atom, Eqn, Graph, Type, Var
from graphc.ops import control, linalg
from graphc.passes.absorb import is_mover, is_soft
from graphc.passes.column_totals import has_totals, separated
from graphc.passes.fuse import everywhere, in_order, outline
from graphc.passes.groups import Group
from graphc.questions import hint

RIGHT_BYTES = 512 * 1024
"""The most that a right operand may hold: every block of rows reads it from the L2 cache."""

ROW_BYTES = 16 * 1024
"""The longest row of a value between kernels: a block of at least 16 rows stays in the L2 cache."""

PARTS = 12
"""The most kernels that are joined: the values between all of them share the cache."""

SEARCHED = 500
"""Equations that are looked at for a path around a chain; beyond, there may be one."""


def fuse_rows(graph: Graph) -> Graph:
    """The fused graph with row-wise sequences of kernels as one `fused` equation each."""
    return everywhere(_fuse_rows, graph)


def _fuse_rows(graph: Graph, written: set[Atom]) -> Graph:
    apart = {eqn: separated(eqn) for eqn in graph.eqns if has_totals(eqn)}
    if not apart:
        return _joined(graph, written)
    eqns = [part for eqn in graph.eqns for part in apart.get(eqn, (eqn,))]
    joined = _joined(graph.replace(eqns=tuple(eqns)), written)
    left = set(joined.eqns)
    whole = {parts[0]: eqn for eqn, parts in apart.items() if parts[0] in left}
    others = {part for parts in apart.values() if parts[0] in left for part in parts[1:]}
    kept = [whole.get(eqn, eqn) for eqn in joined.eqns if eqn not in others]
    return graph.replace(eqns=tuple(in_order(kept, written)))


def _joined(graph: Graph, written: set[Atom]) -> Graph:
    chains = _Chains(graph)
    for position in chains.kernels:
        chains.join_producers(position)
    merged = [chain for chain in chains.chains.values() if len(chain.kernels) > 1]
    if not merged:
        return graph
    inside = {i for chain in merged for i in chain.members}
    eqns = [eqn for i, eqn in enumerate(graph.eqns) if i not in inside]
    eqns += [chains.outlined(chain) for chain in merged]
    return graph.replace(eqns=tuple(in_order(eqns, written)))


def _readers_of(graph: Graph) -> dict[Var, set[int]]:
    """The positions of the equations that read each value; the graph's own results are at -1."""
    readers: dict[Var, set[int]] = {}
    lists = [(i, eqn.ins) for i, eqn in enumerate(graph.eqns)]
    for position, atoms in [*lists, (-1, graph.outs)]:
        for atom in atoms:
            if isinstance(atom, Var):
                readers.setdefault(atom, set()).add(position)
    return readers


@dataclass
class Chain:
    """Kernels (by position) that run together; `views` between them are taken in."""

    kernels: list[int]
    views: set[int] = field(default_factory=set)
    leading: tuple[int, ...] = ()
    """The sizes of the axes of batch and rows, where a matrix product settles them."""

    @property
    def members(self) -> list[int]:
        return sorted({*self.kernels, *self.views})


class _Chains:
    """The chains of a fused graph, joined step by step; at first each kernel is one."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.readers = _readers_of(graph)
        self.producer = {out: i for i, eqn in enumerate(graph.eqns) for out in eqn.outs}
        self.kernels = [i for i, eqn in enumerate(graph.eqns) if _is_row_wise(eqn)]
        self.chains = {
            i: Chain([i], leading=leading_axes(graph.eqns[i]) or ()) for i in self.kernels
        }
        self.chain_of = {i: i for i in self.kernels}

    def outlined(self, chain: Chain) -> Eqn:
        """The kernels of a chain as one."""
        members = chain.members
        made = [out for i in chain.kernels for out in self.graph.eqns[i].outs]
        results = [out for out in made if self.readers.get(out, set()) - set(members)]
        group = Group("rows", members, chain.leading, frozenset(), 0)
        return outline(self.graph, group, (), members, results)

    def join_producers(self, position: int) -> None:
        for atom in self.graph.eqns[position].ins:
            value, views = self._source(atom)
            if value is not None and self.producer[value] in self.chain_of:
                self._join(self.producer[value], position, views)

    def _source(self, atom: object) -> tuple[Var | None, set[int]]:
        """The value behind the free views that `atom` is of, and the positions of those."""
        views: set[int] = set()
        while isinstance(atom, Var) and atom in self.producer:
            eqn = self.graph.eqns[self.producer[atom]]
            if not is_soft(eqn):
                return atom, views
            views.add(self.producer[atom])
            atom = eqn.ins[0]
        return None, views

    def _join(self, source: int, position: int, views: set[int]) -> None:
        a, b = self.chain_of[source], self.chain_of[position]
        if a == b:
            return
        first, second = self.chains[a], self.chains[b]
        if len(first.kernels) + len(second.kernels) > PARTS:
            return
        leading = first.leading or second.leading
        joined = Chain(first.kernels + second.kernels, first.views | second.views | views, leading)
        if not leading or (second.leading or leading) != leading or not self._pays(joined):
            return
        if not self._only_inside(joined) or not self._rows_agree(first, second, leading):
            return
        if self._path_outside(first, joined):
            return
        self.chains[a] = joined
        del self.chains[b]
        for kernel in second.kernels:
            self.chain_of[kernel] = a

    def _pays(self, chain: Chain) -> bool:
        """Whether rows are reduced on their way, and everything fits in the cache."""
        eqns = [self.graph.eqns[i] for i in chain.kernels]
        return any(eqn.attrs["reduce"] for eqn in eqns) and not too_large(eqns)

    def _only_inside(self, chain: Chain) -> bool:
        """Whether nothing else reads the views that are taken in."""
        inside = {*chain.kernels, *chain.views}
        return all(self.readers[self.graph.eqns[i].out] <= inside for i in chain.views)

    def _rows_agree(self, first: Chain, second: Chain, leading: tuple[int, ...]) -> bool:
        """Whether both work on the same rows, in everything that the second reads of the first."""
        kernels = [self.graph.eqns[i] for i in (*first.kernels, *second.kernels)]
        if any(not _works_on_rows(eqn, leading) for eqn in kernels):
            return False
        rank = len(leading)
        for i in second.kernels:
            eqn = self.graph.eqns[i]
            for position, atom in enumerate(eqn.ins):
                value, views = self._source(atom)
                if value is None or self.producer[value] not in first.kernels:
                    continue
                made = _rows_of(made_along(self.graph.eqns[self.producer[value]], value), rank)
                for axes in read_along(eqn, position):
                    through = self._through(axes, views)
                    if through is None or _rows_of(through, rank) != made:
                        return False
        return True

    def _through(self, axes: AxisMap | None, views: set[int]) -> AxisMap | None:
        """The axes of the value behind some views, of which the last has the axes given."""
        for i in sorted(views, reverse=True):
            eqn = self.graph.eqns[i]
            axes = None if axes is None else operand_map(eqn, axes, eqn.ins[0].type)
        return axes

    def _path_outside(self, first: Chain, joined: Chain) -> bool:
        """Whether something outside both may need the first, and be needed by the second."""
        inside, earliest = set(joined.members), min(first.members)
        waiting = [j for i in inside for j in self._producers(i) if j not in inside]
        seen: set[int] = set()
        while waiting:
            i = waiting.pop()
            if i in inside:
                return True
            if i in seen or i < earliest:
                continue
            seen.add(i)
            if len(seen) > SEARCHED:
                return True
            waiting += self._producers(i)
        return False

    def _producers(self, position: int) -> list[int]:
        ins = self.graph.eqns[position].ins
        return [self.producer[a] for a in ins if isinstance(a, Var) and a in self.producer]


# ---- what fits -----------------------------------------------------------------------------------


def too_large(kernels: Sequence[Eqn]) -> str:
    """What makes these kernels too large for blocks of rows, as a sentence; "" if nothing does."""
    right = max(map(_right_bytes, kernels))
    if right > RIGHT_BYTES:
        return (
            f"each block of rows would read a right operand of {right} bytes again, and no more"
            f" than {RIGHT_BYTES} stay in cache"
        )
    row = max(hint(_row_bytes(eqn, out.type)) for eqn in kernels for out in eqn.outs)
    if row > ROW_BYTES:
        return f"a row has {row} bytes, and blocks of rows over {ROW_BYTES} do not stay in cache"
    return ""


def parts_of(eqn: Eqn) -> list[Eqn]:
    """The kernels that a kernel consists of: those on its blocks of rows, or itself."""
    if eqn.attrs["kind"] != "rows":
        return [eqn]
    return [inner for inner in eqn.attrs["body"].eqns if inner.op is control.fused]


def _right_bytes(eqn: Eqn) -> int:
    """The bytes of one right matrix of the products in a kernel."""
    sizes = [0]
    for inner in eqn.attrs["body"].eqns:
        if inner.op is linalg.matmul:
            right = inner.ins[1].type
            sizes.append(hint(right.with_shape(right.shape[-2:]).nbytes))
    return max(sizes)


def _row_bytes(eqn: Eqn, type: Type) -> int:
    """The bytes of one row of a result: what lies along the last axis of the domain."""
    domain = eqn.attrs["domain"]
    is_whole = bool(domain) and math.prod(domain) == type.size
    return domain[-1] * type.numpy_dtype.itemsize if is_whole else 0


# ---- rows ----------------------------------------------------------------------------------------


def _is_row_wise(eqn: Eqn) -> bool:
    return eqn.op is control.fused and eqn.attrs["kind"] in ("loop", "matmul")


def leading_axes(eqn: Eqn) -> tuple[int, ...] | None:
    """The sizes of batch and rows of a matrix product with more than one row and column."""
    for inner, axes in _inner(eqn):
        if inner.op is linalg.matmul and axes[-2] is not None and axes[-1] is not None:
            return tuple(eqn.attrs["domain"][:-1])
    return None


def _works_on_rows(eqn: Eqn, leading: tuple[int, ...]) -> bool:
    """Whether its domain begins with these axes, has more, and is reduced along others alone."""
    domain, rank = eqn.attrs["domain"], len(leading)
    begins = tuple(domain[:rank]) == leading and len(domain) > rank
    is_never_empty = surely_less(0, math.prod(domain))
    return begins and is_never_empty and all(axis >= rank for axis in eqn.attrs["reduce"])


def _rows_of(axes: AxisMap, rank: int) -> tuple[int | None, ...]:
    """Which axes of a value are those of the batch and the rows, in their order."""
    places = {axis: i for i, axis in enumerate(axes) if axis is not None}
    return tuple(places.get(axis) for axis in range(rank))


def made_along(eqn: Eqn, value: Var) -> AxisMap:
    """Along which axes of its domain a kernel makes one of its results."""
    body: Graph = eqn.attrs["body"]
    out = body.outs[eqn.outs.index(value)]
    return next(result_map(inner, own) for inner, own in _inner(eqn) if out in inner.outs)


def read_along(eqn: Eqn, position: int) -> Iterator[AxisMap | None]:
    """Along which axes a kernel reads an operand, each time; None if it needs other rows, too.

    As the right of a product does, and what moves elements from elsewhere to its own rows.
    """
    param = eqn.attrs["body"].params[position]
    for inner, own in _inner(eqn):
        if inner.op is linalg.matmul:
            if inner.ins[0] is param:
                yield (*own[:-1], None)
            if inner.ins[1] is param:
                yield None
        elif param in inner.ins:
            is_moved = is_mover(inner) or is_read_elsewhere(inner, own)
            yield None if is_moved else operand_map(inner, own, param.type)


def _inner(eqn: Eqn) -> Iterator[tuple[Eqn, AxisMap]]:
    return zip(eqn.attrs["body"].eqns, eqn.attrs["maps"], strict=True)
