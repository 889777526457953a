"""Shifts that cancel: no gradient goes through a maximum whose value does not matter.

Before:  m = max(x, axes=(1,)); s = subtract(x, broadcast(m)); e = exp(s); ... (a softmax of s)
After:   m = max(x, axes=(1,)); h = stop_gradient(m); s = subtract(x, broadcast(h)); ...

A softmax, its logarithm, a cross entropy, log(sum(exp(x))) are the same whatever number is taken
off each row of x beforehand; the largest is taken for the sake of exp.  Their slope by that number
is 0, which a gradient would compute as a difference of rounding errors, in more passes over rows.

Sound because it is proved for each maximum: with d added to it, each value that depends on it
becomes value + adds * d or value * exp(scales * d), and the one effect undoes the other before
anything else reads them.  So the derivative that is left out is 0 as a real number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from graphc.axis_maps import is_unit_reshape
from graphc.build import rename
from graphc.ir import FLOATS, NO_ATTRS, Atom, Eqn, Graph, Lit, Var, map_subgraphs
from graphc.ops import elementwise as ops
from graphc.ops import index, reduce, shape

MOST_READERS = 100
"""Equations that are looked at for one maximum; in a softmax there are a dozen."""


class Effect(NamedTuple):
    """What adding d to the maximum does to a value: it adds `adds * d`, or multiplies by
    exp(scales * d).  `rows` are the axes of the value along which d is another one."""

    rows: tuple[int, ...]
    adds: float = 0.0
    scales: float = 0.0

    @property
    def is_none(self) -> bool:
        return self.adds == self.scales == 0.0


NONE = Effect(())


class _Unknown(Exception):
    """A value that depends on the maximum in another way."""


def hold_shifts(graph: Graph) -> Graph:
    """`graph` with the gradient through such maxima stopped, inside conditionals and loops too."""
    readers = _readers(graph)
    held: dict[Var, Atom] = {}
    eqns: list[Eqn] = []
    for eqn in graph.eqns:
        inner = map_subgraphs(hold_shifts, eqn)
        eqns.append(inner.replace(ins=tuple(rename(atom, held) for atom in inner.ins)))
        if eqn.op is reduce.max and _cancels(graph, eqn, readers):
            stopped = Var(eqn.out.type, eqn.out.hint)
            held[eqn.out] = stopped
            eqns.append(Eqn(ops.stop_gradient, (eqn.out,), (stopped,), NO_ATTRS, eqn.loc))
    return graph.replace(eqns=tuple(eqns)) if _is_changed(graph, eqns) else graph


def _is_changed(graph: Graph, eqns: list[Eqn]) -> bool:
    return len(eqns) != len(graph.eqns) or any(
        a.attrs is not b.attrs for a, b in zip(eqns, graph.eqns, strict=True)
    )


def _readers(graph: Graph) -> dict[Atom, list[int]]:
    """The positions of the equations that read each value; the graph's results are at -1."""
    readers: dict[Atom, list[int]] = {out: [-1] for out in graph.outs}
    for position, eqn in enumerate(graph.eqns):
        for atom in dict.fromkeys(eqn.ins):
            readers.setdefault(atom, []).append(position)
    return readers


def _cancels(graph: Graph, maximum: Eqn, readers: Mapping[Atom, list[int]]) -> bool:
    """Whether no result of the graph depends on the value of a maximum."""
    type = maximum.out.type
    if type.dtype not in FLOATS:
        return False
    rows = tuple(axis for axis, size in enumerate(type.shape) if size != 1)
    effects: dict[Atom, Effect] = {maximum.out: Effect(rows, adds=1.0)}
    waiting = set(readers.get(maximum.out, ()))
    for _ in range(MOST_READERS):
        if not waiting:
            return True
        position = min(waiting)  # what an equation reads has been looked at before it
        waiting.discard(position)
        if position < 0 or len(graph.eqns[position].outs) != 1:
            return False
        eqn = graph.eqns[position]
        try:
            effect = _effect(eqn, effects)
        except _Unknown:
            return False
        if not effect.is_none:
            effects[eqn.out] = effect
            waiting |= set(readers.get(eqn.out, ()))
    return False


# ---- one equation --------------------------------------------------------------------------------


def _effect(eqn: Eqn, effects: Mapping[Atom, Effect]) -> Effect:
    """The effect on the result of an equation, of whose operands some depend on the maximum."""
    rule = _RULES.get(eqn.op.name)
    if rule is None:
        raise _Unknown
    return rule(eqn, [effects.get(atom, NONE) for atom in eqn.ins])


def _together(effects: list[Effect]) -> tuple[int, ...]:
    """The rows of values of one shape, which have to be the same."""
    rows = {effect.rows for effect in effects if not effect.is_none}
    if len(rows) != 1:
        raise _Unknown
    return rows.pop()


def _sum(sign: float) -> Callable[[Eqn, list[Effect]], Effect]:
    def rule(eqn: Eqn, ins: list[Effect]) -> Effect:
        one, other = ins
        scales = {e.scales for e, atom in zip(ins, eqn.ins, strict=True) if not _is_zero(atom)}
        if len(scales) != 1:
            raise _Unknown
        return Effect(_together(ins), one.adds + sign * other.adds, scales.pop())

    return rule


def _is_zero(atom: Atom) -> bool:
    return isinstance(atom, Lit) and atom.value == 0


def _product(eqn: Eqn, ins: list[Effect]) -> Effect:
    one, other = ins
    for effect, atom in ((one, eqn.ins[1]), (other, eqn.ins[0])):
        if effect.adds:
            if effect.scales or not isinstance(atom, Lit):
                raise _Unknown
            return effect._replace(adds=effect.adds * float(atom.value))
    return Effect(_together(ins), scales=one.scales + other.scales)


def _quotient(eqn: Eqn, ins: list[Effect]) -> Effect:
    one, other = ins
    if one.adds and isinstance(eqn.ins[1], Lit) and eqn.ins[1].value:
        return one._replace(adds=one.adds / float(eqn.ins[1].value))
    if one.adds or other.adds:
        raise _Unknown
    return Effect(_together(ins), scales=one.scales - other.scales)


def _exponential(eqn: Eqn, ins: list[Effect]) -> Effect:
    (one,) = ins
    if one.scales:
        raise _Unknown
    return Effect(one.rows, scales=one.adds)


def _power(exponent: float) -> Callable[[Eqn, list[Effect]], Effect]:
    def rule(eqn: Eqn, ins: list[Effect]) -> Effect:
        (one,) = ins
        if one.adds:
            raise _Unknown
        return Effect(one.rows, scales=exponent * one.scales)

    return rule


def _logarithm(eqn: Eqn, ins: list[Effect]) -> Effect:
    (one,) = ins
    if one.adds:
        raise _Unknown
    return Effect(one.rows, adds=one.scales)


def _negative(eqn: Eqn, ins: list[Effect]) -> Effect:
    (one,) = ins
    return one._replace(adds=-one.adds)


def _choice(eqn: Eqn, ins: list[Effect]) -> Effect:
    condition, *sides = ins
    changes = {
        (e.adds, e.scales)
        for e, atom in zip(sides, eqn.ins[1:], strict=True)
        if e.adds or not _is_zero(atom)  # 0 is 0, however it is scaled
    }
    if not condition.is_none or len(changes) != 1:
        raise _Unknown
    return Effect(_together(sides), *changes.pop())


# ---- moving and combining ------------------------------------------------------------------------


def _reshaped(eqn: Eqn, ins: list[Effect]) -> Effect:
    if not is_unit_reshape(eqn):
        raise _Unknown
    before, after = (
        [axis for axis, size in enumerate(atom.type.shape) if size != 1]
        for atom in (eqn.ins[0], eqn.out)
    )
    (one,) = ins
    return one._replace(rows=tuple(after[before.index(row)] for row in one.rows))


def _transposed(eqn: Eqn, ins: list[Effect]) -> Effect:
    (one,) = ins
    return one._replace(rows=tuple(eqn.attrs["axes"].index(row) for row in one.rows))


def _broadcast(eqn: Eqn, ins: list[Effect]) -> Effect:
    (one,) = ins
    return one._replace(rows=tuple(eqn.attrs["axes"][row] for row in one.rows))


def _total(eqn: Eqn, ins: list[Effect]) -> Effect:
    one = _without(ins[0], eqn.attrs["axes"])
    if not one.adds:
        return one
    counts = [eqn.ins[0].type.shape[axis] for axis in eqn.attrs["axes"]]
    if not all(isinstance(count, int) for count in counts):
        raise _Unknown
    for count in counts:
        one = one._replace(adds=one.adds * count)
    return one


def _largest(eqn: Eqn, ins: list[Effect]) -> Effect:
    return _without(ins[0], eqn.attrs["axes"])


def _picked(eqn: Eqn, ins: list[Effect]) -> Effect:
    if not ins[1].is_none:
        raise _Unknown
    return _without(ins[0], (eqn.attrs["axis"],))


def _without(one: Effect, axes: tuple[int, ...]) -> Effect:
    """The effect where some axes are gone, along which it was the same."""
    if set(axes) & set(one.rows):
        raise _Unknown
    return one._replace(rows=tuple(row - sum(axis < row for axis in axes) for row in one.rows))


def _kept(eqn: Eqn, ins: list[Effect]) -> Effect:
    return ins[0]


_RULES: Mapping[str, Callable[[Eqn, list[Effect]], Effect]] = {
    ops.add.name: _sum(1.0),
    ops.subtract.name: _sum(-1.0),
    ops.multiply.name: _product,
    ops.divide.name: _quotient,
    ops.exp.name: _exponential,
    ops.log.name: _logarithm,
    ops.negative.name: _negative,
    ops.square.name: _power(2.0),
    ops.sqrt.name: _power(0.5),
    ops.reciprocal.name: _power(-1.0),
    ops.where.name: _choice,
    ops.stop_gradient.name: _kept,
    shape.reshape.name: _reshaped,
    shape.transpose.name: _transposed,
    shape.broadcast.name: _broadcast,
    reduce.sum.name: _total,
    reduce.max.name: _largest,
    index.pick.name: _picked,
}
"""What is known of an op; `_Unknown` where it changes a value in another way."""
