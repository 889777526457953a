"""What the backward of a held graph needs of its forward: kept by the one, read by the other.

Before:  body(h, w) { a = multiply(h, w); b = tanh(a); return b }
After:   forward(h, w) { ...; return b, b, h }; backward(w, b, h, ct) { ...; return ct_h, ct_w }

Kept is as little as possible: operands that are at hand anyway (`free`) are not, and what is cheap
to compute from values that are there is computed again.  Sound because only pure equations are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from graphc.build import Builder, rename
from graphc.ir import Atom, Eqn, Graph, Type, Var, has_effect, map_subgraphs
from graphc.ops import shape
from graphc.passes.dce import eliminate_dead

SPREADING = shape.VIEWS - {shape.slice} | {shape.iota, shape.constant, shape.dimension}
"""Never kept: what they read is no larger, or nothing."""

VIEWS = SPREADING | shape.VIEWS

CHEAP = frozenset(
    {
        *("add", "subtract", "multiply", "negative", "abs", "square", "maximum", "minimum"),
        *("where", "cast", "sign", "less", "less_equal", "greater", "greater_equal", "equal"),
        *("not_equal", "logical_and", "logical_or", "logical_xor", "logical_not", "isnan"),
        *("floor", "ceil", "round", "trunc", "stop_gradient"),
    }
)
"""Elementwise ops that cost less than reading a value which has been kept."""


class Joint(NamedTuple):
    """A graph, and the equations of its backward, which read its variables."""

    forward: Graph
    after: list[Eqn]
    given: list[Var]
    """The cotangents of the results."""
    grads: dict[int, Atom]
    """The cotangents of the parameters, by position, where there are any."""


Differentiate = Callable[[Graph, Sequence[int], Sequence[int]], Joint]
"""The joint graph for parameters to differentiate by and results that have cotangents."""


class Split(NamedTuple):
    """A held graph in two.

    `forward` returns its results and then what is kept (`kept` are their types).  `backward` takes
    the free parameters at `reads`, what was kept, and the cotangents of the results; it returns the
    cotangents of the parameters at `found`.
    """

    forward: Graph
    backward: Graph
    reads: list[int]
    kept: list[Type]
    found: list[int]


def split(joint: Joint, free: Collection[int]) -> Split:
    """The two halves of a joint graph; the parameters at `free` are read and not kept."""
    found = sorted(joint.grads)
    outs = tuple(joint.grads[i] for i in found)
    after = eliminate_dead(Graph("backward", (), tuple(joint.after), outs)).eqns
    own, params = joint.forward.eqns, joint.forward.params
    at_hand = {params[i] for i in free}
    made = {out for eqn in after for out in eqn.outs}
    needed = _reads(after, outs) - made - set(joint.given)
    again = _computed_again(own, needed, at_hand)
    inside = [eqn for eqn in own if eqn in again]
    needed |= _reads(inside, ())
    needed -= {out for eqn in inside for out in eqn.outs}
    reads = [i for i, param in enumerate(params) if param in needed and i in free]
    every = (*params, *(out for eqn in own for out in eqn.outs))
    kept = [var for var in every if var in needed and var not in at_hand]
    given = [*(params[i] for i in reads), *kept, *joint.given]
    backward = _closed(given, [*inside, *after], outs)
    forward = joint.forward.replace(outs=(*joint.forward.outs, *kept))
    return Split(forward, backward, reads, [var.type for var in kept], found)


def _reads(eqns: Iterable[Eqn], outs: Iterable[Atom]) -> set[Var]:
    atoms = [*(atom for eqn in eqns for atom in eqn.ins), *outs]
    return {atom for atom in atoms if isinstance(atom, Var)}


def _computed_again(eqns: Sequence[Eqn], needed: set[Var], free: set[Var]) -> set[Eqn]:
    """The forward equations that the backward runs again, rather than to read what they gave."""
    wanted = set(needed)
    for eqn in reversed(eqns):
        if eqn.op in SPREADING and not wanted.isdisjoint(eqn.outs):
            wanted = wanted.difference(eqn.outs) | _reads([eqn], ())
    there = free | (wanted - {out for eqn in eqns for out in eqn.outs})
    derived = set()
    for eqn in eqns:
        is_cheap = eqn.op in VIEWS or eqn.op.name in CHEAP
        if is_cheap and _reads([eqn], ()) <= there:
            derived.add(eqn)
            there.update(eqn.outs)
        else:
            there.update(wanted.intersection(eqn.outs))
    again, wanted = set(), set(needed)
    for eqn in reversed(eqns):
        if eqn in derived and not wanted.isdisjoint(eqn.outs):
            again.add(eqn)
            wanted |= _reads([eqn], ())
    return again


def _closed(params: Sequence[Var], eqns: Sequence[Eqn], outs: Sequence[Atom]) -> Graph:
    """A closed graph of equations that read `params`, with variables of its own."""
    builder = Builder("backward")
    names: dict[Var, Atom] = {p: builder.param(p.type, p.hint).atom for p in params}
    for eqn in eqns:
        builder.copy(eqn, names)
    return builder.finish([rename(out, names) for out in outs])


def without_effects(graph: Graph) -> Graph:
    """The graph without what has happened already when it is computed a second time."""
    pure = (eqn for eqn in graph.eqns if eqn.outs or not has_effect(eqn))
    return graph.replace(eqns=tuple(map_subgraphs(without_effects, eqn) for eqn in pure))
