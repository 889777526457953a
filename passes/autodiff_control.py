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

from graphc.build import Builder, Value, fresh, literal, rename, zero_of
from graphc.ir import TAPE, Atom, Eqn, Graph, Op, Type, Var
from graphc.ops import control, shape, tape
from graphc.ops import elementwise as ew
from graphc.passes.dce import eliminate_dead
from graphc.passes.residuals import Differentiate, Split, split, without_effects


@dataclass
class Backward:
    """One equation that holds graphs, and where its backward goes."""

    builder: Builder
    forward: list[Eqn]
    """Where the equation has been emitted under its new name."""
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
        return split(joint, set(free))

    def operand(self, i: int) -> Atom:
        return rename(self.eqn.ins[i], self.names)

    def cotangent(self, i: int) -> Atom:
        known = self.cotangents.get(i)
        if known is not None:
            return known.atom
        return zero_cotangent(self.builder, self.eqn.outs[i].type)

    def replace_forward(self, change: Callable[[Eqn], Sequence[Eqn]]) -> None:
        """Put others in the place of the equation that has been emitted."""
        first = rename(self.eqn.outs[0], self.names)
        at = next(i for i, eqn in enumerate(self.forward) if first in eqn.outs)
        self.forward[at : at + 1] = change(self.forward[at])

    def extend(self, attrs: dict[str, Any], types: Sequence[Type]) -> list[Var]:
        """Give the forward equation further results."""
        further = [Var(type) for type in types]
        self.replace_forward(
            lambda eqn: [
                eqn.replace(
                    outs=(*eqn.outs, *further), attrs=MappingProxyType({**eqn.attrs, **attrs})
                )
            ]
        )
        return further

    def no_gradients(self) -> list[Value | None]:
        return [None] * len(self.eqn.ins)


def zero_cotangent(builder: Builder, type: Type) -> Atom:
    """Nothing, of a type: zero, or empty tapes."""
    if type.dtype == TAPE.dtype:
        (empty,) = builder.emit(tape.empty_tape, ())
        return shape.broadcast(empty, shape=type.shape, axes=()).atom if type.shape else empty.atom
    return literal(zero_of(type.dtype), type)


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
    return known if known is not None else zero_cotangent(builder, type)


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
    return builder.finish([outs.get(i, zero_cotangent(builder, types[i])) for i in wrt])


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
    parts = _Parts(half, carried, 1, count, changing)
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
    first: int
    """The position of the first carried value."""
    count: int
    """How many are carried."""
    changing: int
    """The position of the first constant."""

    @property
    def sequences(self) -> list[int]:
        return [i for i in self.half.reads if self.first + self.count <= i < self.changing]

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
        return [i for i in self.half.found if self.first + self.count <= i < self.changing]

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

    def while_body(self) -> Graph:
        types = self.half.forward.in_types
        builder = Builder("backward")
        last = builder.param(TAPE)
        after = [builder.param(types[i]).atom for i in self.carried]
        sums = [builder.param(types[i]) for i in self.summed]
        given = {i: builder.param(types[i]).atom for i in self.constants}
        attrs = tape.record(self.half.kept)
        below, *kept = (v.atom for v in builder.emit(tape.pop, [last.atom], attrs))
        read = [given[i] for i in self.half.reads]
        return builder.finish([below, *self.results(builder, [*read, *kept, *after], sums)])

    def results(self, builder: Builder, given: Sequence[Atom], sums: Sequence[Value]) -> list[Atom]:
        """The cotangents before the iteration, the sums with its share, and those of slices."""
        outs = builder.inline(self.half.backward, given)
        found = dict(zip(self.half.found, outs, strict=True))
        types = self.half.forward.in_types
        carried = [
            found.get(self.first + i, zero_cotangent(builder, types[self.first + i]))
            for i in self.carried
        ]
        shares = [builder.value(found[i]) for i in self.summed]
        totals = [(total + share).atom for total, share in zip(sums, shares, strict=True)]
        return [*carried, *totals, *(found[i] for i in self.sliced)]


# ---- while loops ---------------------------------------------------------------------------------


def _while(at: Backward) -> list[Value | None]:
    """A loop that pops from the tape what each iteration of the forward has pushed on it.

    It carries the tape, the cotangents of the carried values, and the sums of those of constants.
    """
    eqn = at.eqn
    count = eqn.attrs["carried"]
    wrt = _active_parameters(at, 0)
    free = range(count, len(eqn.ins))
    carried, half = _carried_with_cotangents(at, "body", 0, wrt, [], free)
    parts = _Parts(half, carried, 0, count, count)
    left = Var(TAPE)
    at.replace_forward(lambda emitted: _taping(emitted, half, left))
    types = half.forward.in_types
    initial = [left, *(at.cotangent(i) for i in carried)]
    sums = [zero_cotangent(at.builder, types[i]) for i in parts.summed]
    constants = [at.operand(i) for i in parts.constants]
    operands = [*initial, *sums, *constants]
    attrs = {
        "carried": len(initial) + len(sums),
        "test": _until_empty([atom.type for atom in operands]),
        "body": parts.while_body(),
    }
    outs = at.builder.emit(control.while_, operands, attrs)[1:]
    grads = at.no_gradients()
    for i, out in zip([*carried, *parts.summed], outs, strict=True):
        grads[i] = out
    return grads


def _taping(eqn: Eqn, half: Split, left: Var) -> list[Eqn]:
    """The forward loop with a tape as its last carried value: it ends up as `left`."""
    count = eqn.attrs["carried"]
    builder = Builder()
    builder.loc = eqn.loc
    (start,) = builder.emit(tape.empty_tape, ())
    attrs = {
        "carried": count + 1,
        "test": _with_tape(eqn.attrs["test"], count)[0],
        "body": _pushing(half, count, eqn),
    }
    ins = (*eqn.ins[:count], start.atom, *eqn.ins[count:])
    taped = eqn.replace(ins=ins, outs=(*eqn.outs, left), attrs=MappingProxyType(attrs))
    return [*builder.eqns, taped]


def _with_tape(graph: Graph, count: int) -> tuple[Graph, Var]:
    """The graph with a tape as a parameter after the first `count`."""
    param = Var(TAPE)
    params = (*graph.params[:count], param, *graph.params[count:])
    return graph.replace(params=params), param


def _pushing(half: Split, count: int, eqn: Eqn) -> Graph:
    """The forward body, which pushes what is kept."""
    graph, param = _with_tape(half.forward, count)
    builder = Builder()
    builder.loc = eqn.loc
    (pushed,) = builder.emit(tape.push, (param, *graph.outs[count:]))
    return graph.replace(eqns=(*graph.eqns, *builder.eqns), outs=(*graph.outs[:count], pushed.atom))


def _until_empty(types: Sequence[Type]) -> Graph:
    """Whether the first of the parameters, a tape, still has a record."""
    builder = Builder("test")
    params = [builder.param(type) for type in types]
    (empty,) = builder.emit(tape.is_empty, [params[0].atom])
    more: Value = ew.logical_not(empty)
    return builder.finish([more.atom])


# ---- gradients of one's own ----------------------------------------------------------------------


def _checkpoint(at: Backward) -> list[Value | None]:
    """Its graph and the backward of it in one, on the operands: nothing is kept."""
    wrt = [i for i, atom in enumerate(at.eqn.ins) if at.is_active(atom)]
    results = sorted(at.cotangents)
    joint = at.differentiate(without_effects(at.eqn.attrs["body"]), wrt, results)
    found = sorted(joint.grads)
    builder = Builder("backward")
    names: dict[Var, Atom] = {
        var: builder.param(var.type, var.hint).atom for var in (*joint.forward.params, *joint.given)
    }
    for eqn in (*joint.forward.eqns, *joint.after):
        builder.copy(eqn, names)
    body = eliminate_dead(builder.finish([rename(joint.grads[i], names) for i in found]))
    operands = [*(at.operand(i) for i in range(len(at.eqn.ins))), *map(at.cotangent, results)]
    grads = at.no_gradients()
    for i, out in zip(found, at.builder.emit(control.again, operands, {"body": body}), strict=True):
        grads[i] = out
    return grads


def _custom(at: Backward) -> list[Value | None]:
    """The backward that the user has given, on what the forward, run in its place, has kept."""
    eqn = at.eqn
    forward: Graph = fresh(eqn.attrs["forward"])
    kept = [Var(type) for type in forward.out_types[len(eqn.outs) :]]
    at.replace_forward(lambda emitted: [_called(emitted, forward, kept)])
    cotangents = [at.cotangent(i) for i in range(len(eqn.outs))]
    outs = at.builder.inline(eqn.attrs["backward"], [*kept, *cotangents])
    active = [at.is_active(atom) for atom in eqn.ins]
    return [at.builder.value(out) if on else None for out, on in zip(outs, active, strict=True)]


def _called(eqn: Eqn, body: Graph, further: Sequence[Var]) -> Eqn:
    """A graph in the place of an equation, with further results."""
    attrs = MappingProxyType({"body": body})
    return eqn.replace(op=control.checkpoint, outs=(*eqn.outs, *further), attrs=attrs)


_RULES: dict[Op, Callable[[Backward], list[Value | None]]] = {
    control.cond: _cond,
    control.scan: _scan,
    control.while_: _while,
    control.checkpoint: _checkpoint,
    control.again: _checkpoint,
    control.custom: _custom,
}
