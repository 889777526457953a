"""Recomputation: what a later kernel can compute from less, it does not read from memory.

Before:  h, s, t = fused(x, w) { h = matmul(x, w); s = square(h); t = tanh(s); ... }
         d = fused(g, s, t) { ... s ... t ... }                     # the backward of both
After:   h = fused(x, w) { h = matmul(x, w); ... }
         d = fused(g, h) { s = square(h); t = tanh(s); ... }

A kernel's large results that are elementwise functions of its other results, or of its operands,
are made again where they are read.  That is most of what a gradient keeps of its forward pass:
instead of each step of an activation, its argument is written and read.

Sound because what is made again is elementwise, so pure, and made from the same values by the same
operations along the same axes; the interpreter gives the same bits.  It pays because memory is
slower than arithmetic for values that do not stay in cache; what that is worth is bounded by
`BURDEN`, and a value is only replaced by at most one other that a kernel did not read before.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType

from graphc.axis_maps import AxisMap, is_read_elsewhere, operand_map
from graphc.build import rename
from graphc.ir import Atom, Eqn, Graph, Var
from graphc.ops import control, linalg
from graphc.ops.costs import cost
from graphc.passes.absorb import is_mover, is_soft
from graphc.passes.fuse import everywhere
from graphc.passes.row_blocks import made_along
from graphc.questions import hint

LARGE = 256 * 1024
"""Bytes from which a value is large: smaller ones are read from cache."""

BURDEN = 60
"""How many additions an element may take to be made again."""


def recompute(graph: Graph) -> Graph:
    """The fused graph with large values made again where that saves reading them."""
    return everywhere(lambda held, _: _Recomputing(held).run(), graph)


Place = tuple[int, int]
"""The position of a kernel, and of an equation in it."""


@dataclass
class Kernel:
    """A kernel while values are taken out of it or into it."""

    position: int
    eqn: Eqn
    eqns: list[Eqn]
    maps: list[AxisMap]
    params: dict[Atom, Var]
    """The parameter of the body for each operand."""
    results: dict[Var, Atom]
    """The value in the body of each result."""
    taken_in: dict[Var, Var] = field(default_factory=dict)
    """The copies of values of other kernels, by those."""
    copies: list[tuple[Place, Eqn, AxisMap]] = field(default_factory=list)
    """The equations that make them, and where those come from."""
    burden: int = 0
    """What the copies cost for each element."""

    def rename(self, old: Var, new: Var) -> None:
        def renamed(eqn: Eqn) -> Eqn:
            return eqn.replace(ins=tuple(rename(atom, {old: new}) for atom in eqn.ins))

        self.eqns = [renamed(eqn) for eqn in self.eqns]
        self.copies = [(place, renamed(eqn), own) for place, eqn, own in self.copies]

    def everything(self) -> list[tuple[Place, Eqn, AxisMap]]:
        """All equations in order, each with its place: the copies are put before the others."""
        own = zip(self.eqns, self.maps, strict=True)
        copies = sorted(self.copies, key=lambda copy: copy[0])
        return [*copies, *(((self.position, i), *pair) for i, pair in enumerate(own))]

    def finished(self) -> Eqn:
        """The equation without what nothing in it needs any more."""
        needed = set(self.results.values())
        kept: list[tuple[Eqn, AxisMap]] = []
        for _, inner, own in reversed(self.everything()):
            if not needed.isdisjoint(inner.outs):
                kept.append((inner, own))
                needed.update(inner.ins)
        kept.reverse()
        operands = [atom for atom, param in self.params.items() if param in needed]
        body = Graph(
            "body",
            tuple(self.params[atom] for atom in operands),
            tuple(inner for inner, _ in kept),
            tuple(self.results.values()),
        )
        attrs = {**self.eqn.attrs, "body": body, "maps": tuple(own for _, own in kept)}
        return self.eqn.replace(
            ins=tuple(operands), outs=tuple(self.results), attrs=MappingProxyType(attrs)
        )


def _opened(position: int, eqn: Eqn) -> Kernel:
    body: Graph = eqn.attrs["body"]
    return Kernel(
        position,
        eqn,
        list(body.eqns),
        list(eqn.attrs["maps"]),
        dict(zip(eqn.ins, body.params, strict=True)),
        dict(zip(eqn.outs, body.outs, strict=True)),
    )


class _Recomputing:
    def __init__(self, graph: Graph):
        self.graph = graph
        self.kernels = {i: _opened(i, e) for i, e in enumerate(graph.eqns) if _is_nest(e)}
        self.readers: dict[Var, list[int]] = {}
        for i, eqn in enumerate(graph.eqns):
            for atom in eqn.ins:
                if isinstance(atom, Var):
                    self.readers.setdefault(atom, []).append(i)
        self.arguments = set(graph.params)  # to be overwritten, perhaps, when they have been read
        self.returned = {out for out in graph.outs if isinstance(out, Var)}

    def run(self) -> Graph:
        for kernel in self.kernels.values():
            if sum(hint(out.type.nbytes) >= LARGE for out in kernel.eqn.outs) > 1:
                self._without_results(kernel)
        eqns = tuple(
            self.kernels[i].finished() if i in self.kernels else eqn
            for i, eqn in enumerate(self.graph.eqns)
        )
        return self.graph.replace(eqns=eqns)

    def _without_results(self, kernel: Kernel) -> None:
        """Take large results out of a kernel, the last first, where all readers can make them."""
        for value in reversed(kernel.eqn.outs):
            if hint(value.type.nbytes) < LARGE or value in self.returned:
                continue
            chain = _chain(kernel, value)
            readers = self.readers.get(value, [])
            if chain and readers and all(self._can_make(i, kernel, value, chain) for i in readers):
                for i in readers:
                    self._take_in(self.kernels[i], kernel, value, chain)
                    self._note_reads(i, chain)
                del kernel.results[value]

    def _note_reads(self, reader: int, chain: Chain) -> None:
        for leaf in chain.leaves:
            if isinstance(leaf, Var) and reader not in self.readers.setdefault(leaf, []):
                self.readers[leaf].append(reader)

    def _can_make(self, reader: int, kernel: Kernel, value: Var, chain: Chain) -> bool:
        """Whether a kernel runs along the same axes, and has at most one more value to read."""
        other = self.kernels.get(reader)
        if other is None or other.eqn.attrs["domain"] != kernel.eqn.attrs["domain"]:
            return False
        if other.burden + chain.burden > BURDEN:
            return False
        new = [leaf for leaf in chain.leaves if _is_large(leaf) and leaf not in other.params]
        if len(new) > 1 or not self.arguments.isdisjoint(new):
            return False
        return _reads_along(other, value, made_along(kernel.eqn, value))

    def _take_in(self, other: Kernel, source: Kernel, value: Var, chain: Chain) -> None:
        """Put copies of the equations of the chain before everything in `other`."""
        names: dict[Var, Atom] = {}
        for leaf, inside in chain.leaves.items():
            if leaf not in other.params:
                assert isinstance(leaf, Var)
                other.params[leaf] = Var(leaf.type, leaf.hint)
            names[inside] = other.params[leaf]
        for place, inner, own in chain.eqns:
            (out,) = inner.outs
            if out in other.taken_in:
                continue
            other.taken_in[out] = Var(out.type, out.hint)
            other.burden += _burden(inner)
            ins = tuple(rename(atom, {**other.taken_in, **names}) for atom in inner.ins)
            copy = inner.replace(ins=ins, outs=(other.taken_in[out],))
            other.copies.append((place, copy, own))
        made = source.results[value]
        assert isinstance(made, Var)
        other.rename(other.params.pop(value), other.taken_in[made])


def _is_nest(eqn: Eqn) -> bool:
    return eqn.op is control.fused and eqn.attrs["kind"] in ("loop", "matmul")


def _burden(eqn: Eqn) -> int:
    return cost(eqn.op.name) if eqn.op.elementwise else 0


def _is_large(atom: Atom) -> bool:
    return hint(atom.type.nbytes) >= LARGE


# ---- how a result is made ------------------------------------------------------------------------


@dataclass
class Chain:
    """The equations that make a value, in order; `leaves`: from what, and what that is inside."""

    eqns: list[tuple[Place, Eqn, AxisMap]]
    leaves: dict[Atom, Var]
    burden: int = 0


def _chain(kernel: Kernel, value: Var) -> Chain | None:
    """How to make a result from others of its kernel and its operands; None if that is dear."""
    start = kernel.results[value]
    outer: dict[Atom, Atom] = {inside: out for out, inside in kernel.results.items()}
    outer.update({param: atom for atom, param in kernel.params.items()})
    wanted = {start}
    chain = Chain([], {})
    for place, inner, own in reversed(kernel.everything()):
        if wanted.isdisjoint(inner.outs):
            continue
        if not (inner.op.elementwise or is_soft(inner)) or is_read_elsewhere(inner, own):
            return None
        chain.burden += _burden(inner)
        if chain.burden > BURDEN:
            return None
        chain.eqns.append((place, inner, own))
        for atom in inner.ins:
            if isinstance(atom, Var) and atom in outer:
                chain.leaves[outer[atom]] = atom
            elif isinstance(atom, Var):
                wanted.add(atom)
    chain.eqns.reverse()
    return chain if chain.eqns else None


def _reads_along(kernel: Kernel, value: Var, made: AxisMap) -> bool:
    """Whether a kernel reads a value along the axes along which another one makes it."""
    param = kernel.params[value]
    for inner, own in zip(kernel.eqns, kernel.maps, strict=True):
        if param not in inner.ins:
            continue
        if inner.op is linalg.matmul or is_mover(inner) or is_read_elsewhere(inner, own):
            return False
        if operand_map(inner, own, value.type) != made:
            return False
    return True
