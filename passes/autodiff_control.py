"""Gradients of equations that hold graphs: each has a backward of its own kind.

The backward of a conditional is a conditional on the same predicate: of the backward graphs, too,
only the one of the taken branch runs.  The backward of a scan is a scan in the other direction,
that of a while loop a loop over the tape on which the iterations have left what it needs.  What
they need (`residuals.py`) becomes further results of the forward equation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from graphc.build import Builder, Value, literal, rename, zero_of
from graphc.ir import Atom, Eqn, Graph, Op, Type, Var
from graphc.ops import control
from graphc.passes.residuals import Differentiate, Split, split


@dataclass
class Backward:
    """One equation that holds graphs, and where its backward goes."""

    builder: Builder
    eqn: Eqn
    names: dict[Var, Atom]
    is_active: Callable[[Atom], bool]
    depending: Callable[[Sequence[Eqn], set[Var]], set[Var]]
    cotangents: dict[int, Value]
    """Those of the results that have one, by position."""
    differentiate: Differentiate

    def split(
        self, label: str, wrt: Iterable[int], results: Iterable[int], free: Iterable[int]
    ) -> Split:
        graph: Graph = self.eqn.attrs[label]
        joint = self.differentiate(graph, sorted(wrt), sorted(results))
        return split(joint, graph, set(free))

    def operand(self, i: int) -> Atom:
        return rename(self.eqn.ins[i], self.names)

    def cotangent(self, i: int) -> Atom:
        known = self.cotangents.get(i)
        return literal(0.0, self.eqn.outs[i].type) if known is None else known.atom

    def extend(
        self, attrs: dict[str, Any], types: Sequence[Type], ins: Sequence[Atom] = ()
    ) -> list[Var]:
        """Give the forward equation, which has been emitted already, further results."""
        first = rename(self.eqn.outs[0], self.names)
        at = next(i for i, eqn in enumerate(self.builder.eqns) if first in eqn.outs)
        eqn = self.builder.eqns[at]
        further = [Var(type) for type in types]
        self.builder.eqns[at] = eqn.replace(
            ins=(*eqn.ins, *ins),
            outs=(*eqn.outs, *further),
            attrs=MappingProxyType({**eqn.attrs, **attrs}),
        )
        return further

    def no_gradients(self) -> list[Value | None]:
        return [None] * len(self.eqn.ins)


def backward_of(at: Backward) -> Sequence[Value | None]:
    """The cotangents of the operands, emitted into `at.builder`."""
    return _RULES[at.eqn.op](at)


# ---- conditionals --------------------------------------------------------------------------------


def _cond(at: Backward) -> list[Value | None]:
    """One conditional on the same predicate, over operands, what was kept, and cotangents.

    The branches keep values of their own.  Those of one type share a result of the forward
    conditional; where a branch has none, it returns anything of that type.
    """
    wrt = [i for i, atom in enumerate(at.eqn.ins[1:]) if at.is_active(atom)]
    results = sorted(at.cotangents)
    free = range(len(at.eqn.ins) - 1)
    halves = {label: at.split(label, wrt, results, free) for label in ("then", "else")}
    slots = _slots([half.kept for half in halves.values()])
    own = {label: _assigned(half.kept, slots) for label, half in halves.items()}
    forward = {
        label: _with_slots(half, own[label], slots, len(at.eqn.outs))
        for label, half in halves.items()
    }
    kept = at.extend(forward, slots)
    reads = sorted({i for half in halves.values() for i in half.reads})
    given = [*(at.eqn.ins[1 + i].type for i in reads), *slots]
    backward = {
        label: _branch_backward(half, reads, own[label], wrt, given)
        for label, half in halves.items()
    }
    cotangents = [at.cotangent(i) for i in results]
    operands = [at.operand(0), *(at.operand(1 + i) for i in reads), *kept, *cotangents]
    outs = at.builder.emit(control.cond, operands, backward)
    grads = at.no_gradients()
    for i, out in zip(wrt, outs, strict=True):
        grads[1 + i] = out
    return grads


def _slots(kept: Sequence[Sequence[Type]]) -> list[Type]:
    """As many results of each type as the branch that keeps most of them needs."""
    slots: list[Type] = []
    for types in kept:
        for type in types:
            if slots.count(type) < types.count(type):
                slots.append(type)
    return slots


def _assigned(kept: Sequence[Type], slots: Sequence[Type]) -> list[int]:
    """The slot of each value that a branch keeps."""
    free = list(enumerate(slots))
    assigned = []
    for type in kept:
        place = next(slot for slot in free if slot[1] == type)
        free.remove(place)
        assigned.append(place[0])
    return assigned


def _with_slots(half: Split, own: Sequence[int], slots: Sequence[Type], results: int) -> Graph:
    graph = half.forward
    kept = dict(zip(own, graph.outs[results:], strict=True))
    builder = Builder()
    filled = [kept.get(i) or _anything(graph, type, builder) for i, type in enumerate(slots)]
    eqns = (*graph.eqns, *builder.eqns)
    return graph.replace(eqns=eqns, outs=(*graph.outs[:results], *filled))


def _anything(graph: Graph, type: Type, builder: Builder) -> Atom:
    """A value of this type which costs nothing, if there is one."""
    known = next((param for param in graph.params if param.type == type), None)
    return known if known is not None else _nothing(type, builder)


def _nothing(type: Type, builder: Builder) -> Atom:
    return literal(zero_of(type.dtype), type)


def _branch_backward(
    half: Split, reads: Sequence[int], own: Sequence[int], wrt: Sequence[int], given: Sequence[Type]
) -> Graph:
    builder = Builder("backward")
    params = [builder.param(type).atom for type in given]
    split_at = len(half.reads) + len(half.kept)
    cotangents = [builder.param(p.type).atom for p in half.backward.params[split_at:]]
    read = [params[reads.index(i)] for i in half.reads]
    kept = [params[len(reads) + slot] for slot in own]
    outs = dict(
        zip(half.found, builder.inline(half.backward, [*read, *kept, *cotangents]), strict=True)
    )
    types = half.forward.in_types
    return builder.finish([outs.get(i, literal(0.0, types[i])) for i in wrt])


# ---- scans ---------------------------------------------------------------------------------------


def _carried_with_cotangents(
    at: Backward,
    label: str,
    first: int,
    wrt: Sequence[int],
    stacked: Sequence[int],
    free: Sequence[int],
) -> tuple[list[int], Split]:
    """The carried values whose cotangents a backward iteration needs or makes, and its two halves.

    `first` is the position of the first carried value among the parameters of the body.
    """
    count = at.eqn.attrs["carried"]
    active = [i for i in range(count) if first + i in wrt]
    carried = [i for i in active if i in at.cotangents]
    while True:
        half = at.split(label, wrt, [*carried, *stacked], free)
        reached = [i for i in active if i in carried or first + i in half.found]
        if reached == carried:
            return carried, half
        carried = reached


def _active_parameters(at: Backward, first: int) -> list[int]:
    """The positions of the body's parameters that depend on what is differentiated by.

    In any iteration: a carried value does if it does after some iteration.
    """
    body: Graph = at.eqn.attrs["body"]
    active = {first + i for i, atom in enumerate(at.eqn.ins) if at.is_active(atom)}
    while True:
        inside = at.depending(body.eqns, {body.params[i] for i in active})
        grown = active | {
            first + i for i in range(at.eqn.attrs["carried"]) if body.outs[i] in inside
        }
        if grown == active:
            return sorted(active)
        active = grown


def _scan(at: Backward) -> list[Value | None]:
    """A scan in the other direction over what was kept, the sequences and the cotangents.

    It carries the cotangents of the carried values, and the sums of those of the constants.
    """
    eqn = at.eqn
    count, length = eqn.attrs["carried"], eqn.attrs["length"]
    changing = 1 + count + eqn.attrs["sequences"]
    wrt = _active_parameters(at, 1)
    stacked = [j for j in sorted(at.cotangents) if j >= count]
    free = [0, *range(1 + count, 1 + len(eqn.ins))]
    carried, half = _carried_with_cotangents(at, "body", 1, wrt, stacked, free)
    kept = at.extend({"body": half.forward}, [Type(t.dtype, (length, *t.shape)) for t in half.kept])
    parts = _Parts(half, carried, count, changing)
    sequences = [*(at.operand(i - 1) for i in parts.sequences), *kept, *map(at.cotangent, stacked)]
    initial = [at.cotangent(i) for i in carried]
    sums = [literal(0.0, eqn.ins[i - 1].type) for i in parts.summed]
    attrs = {
        "carried": len(initial) + len(sums),
        "sequences": len(sequences),
        "length": length,
        "reverse": not eqn.attrs["reverse"],
        "body": parts.scan_body(eqn, stacked),
    }
    constants = [at.operand(i - 1) for i in parts.constants]
    outs = at.builder.emit(control.scan, [*initial, *sums, *sequences, *constants], attrs)
    grads = at.no_gradients()
    for i, out in zip([*(1 + i for i in carried), *parts.summed, *parts.sliced], outs, strict=True):
        grads[i - 1] = out
    return grads


@dataclass
class _Parts:
    """What goes through a backward loop, by positions of the body's parameters."""

    half: Split
    carried: list[int]
    count: int
    changing: int

    @property
    def sequences(self) -> list[int]:
        return [i for i in self.half.reads if 1 + self.count <= i < self.changing]

    @property
    def constants(self) -> list[int]:
        return [i for i in self.half.reads if i >= self.changing]

    @property
    def summed(self) -> list[int]:
        """Constants with a cotangent: each iteration adds to it."""
        return [i for i in self.half.found if i >= self.changing]

    @property
    def sliced(self) -> list[int]:
        """Sequences with a cotangent, made slice by slice."""
        return [i for i in self.half.found if 1 + self.count <= i < self.changing]

    def scan_body(self, eqn: Eqn, stacked: Sequence[int]) -> Graph:
        types = (Type("i64"), *(self.half.forward.in_types[1:]))
        builder = Builder("backward")
        given = {0: builder.param(types[0]).atom}
        after = [builder.param(types[1 + i]).atom for i in self.carried]
        sums = [builder.param(types[i]) for i in self.summed]
        given.update({i: builder.param(types[i]).atom for i in self.sequences})
        kept = [builder.param(type).atom for type in self.half.kept]
        slices = [builder.param(self.half.forward.outs[j].type).atom for j in stacked]
        given.update({i: builder.param(types[i]).atom for i in self.constants})
        read = [given[i] for i in self.half.reads]
        return builder.finish(self.results(builder, [*read, *kept, *after, *slices], sums))

    def results(self, builder: Builder, given: Sequence[Atom], sums: Sequence[Value]) -> list[Atom]:
        """The cotangents before the iteration, the sums with its share, and those of slices."""
        outs = builder.inline(self.half.backward, given)
        found = dict(zip(self.half.found, outs, strict=True))
        types = self.half.forward.in_types
        carried = [found.get(1 + i, literal(0.0, types[1 + i])) for i in self.carried]
        shares = [builder.value(found[i]) for i in self.summed]
        totals = [(total + share).atom for total, share in zip(sums, shares, strict=True)]
        return [*carried, *totals, *(found[i] for i in self.sliced)]


_RULES: dict[Op, Callable[[Backward], list[Value | None]]] = {
    control.cond: _cond,
    control.scan: _scan,
}
