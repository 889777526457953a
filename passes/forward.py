"""Forward-mode differentiation: a graph to the graph that also carries tangents along.

Before:  graph f(x) { y = sin(x); return y }
After:   graph f(x, t) { y = sin(x); c = cos(x); u = t * c; return y, u }

Sound because the tangent of an equation's result is its derivative applied to the operands'
tangents, and a derivative is the transpose of its transpose: an op's `vjp` is linear in the
cotangent g, so carrying the tangents backward through the equations that `vjp` emits, down to g,
gives the derivative itself.  No op needs a second rule.  Conditionals and loops hold graphs that
carry tangents in turn: of a conditional only the taken branch runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc import errors
from graphc.build import Builder, Value, fresh, literal, rename
from graphc.ir import DIFFERENTIABLE, FLOATS, INEXACT, Atom, Eqn, Graph, Type, Var
from graphc.ops import control, tape
from graphc.passes.autodiff import Cotangents, carry_backward, depending, stable
from graphc.passes.autodiff_control import zero_cotangent
from graphc.passes.complex_boundary import complex_pushforward
from graphc.passes.complex_pairs import is_complex
from graphc.passes.dce import eliminate_dead

Positions = Sequence[int]


def pushforward(graph: Graph, wrt: Positions) -> Graph:
    """`graph` with a tangent for each parameter in `wrt` as further parameters, and the tangents of
    its floating-point results as further results.

    Raises `errors.GradientError` for an equation that has a gradient of the user's own only.
    """
    if is_complex(graph):
        return complex_pushforward(pushforward, graph, wrt, _inexact_results(graph))
    carried = _carried(stable(graph), wrt, _float_results(graph))
    return eliminate_dead(carried).replace(updates=graph.updates)


def _float_results(graph: Graph) -> list[int]:
    return [i for i, out in enumerate(graph.outs) if out.type.dtype in FLOATS]


def _inexact_results(graph: Graph) -> list[int]:
    return [i for i, out in enumerate(graph.outs) if out.type.dtype in INEXACT]


def _carried(graph: Graph, wrt: Positions, results: Positions) -> Graph:
    """`graph` on values and tangents, with the tangents of `results` (zero where none arrives)."""
    at = Forward(graph.name)
    for param in graph.params:
        at.names[param] = at.builder.param(param.type, param.hint).atom
    for i in wrt:
        at.tangents[graph.params[i]] = at.builder.param(graph.params[i].type)
    for eqn in graph.eqns:
        at.visit(eqn)
    outs = [rename(out, at.names) for out in graph.outs]
    return at.builder.finish([*outs, *(at.tangent(graph.outs[i]) for i in results)])


class Forward:
    """A graph with tangents under construction."""

    def __init__(self, name: str):
        self.builder = Builder(name)
        self.names: dict[Var, Atom] = {}
        self.tangents: dict[Var, Value] = {}

    def tangent(self, atom: Atom) -> Atom:
        known = self.tangents.get(atom) if isinstance(atom, Var) else None
        return zero_cotangent(self.builder, atom.type) if known is None else known.atom

    def is_active(self, atom: Atom) -> bool:
        return isinstance(atom, Var) and atom in self.tangents

    def visit(self, eqn: Eqn) -> None:
        self.builder.loc = eqn.loc
        if not any(map(self.is_active, eqn.ins)):
            self.builder.copy(eqn, self.names)
        elif eqn.op in _HOLDING:
            _HOLDING[eqn.op](self, eqn)
        else:
            self.builder.copy(eqn, self.names)
            self.transpose_twice(eqn)

    def values(self, atoms: Sequence[Atom]) -> list[Value]:
        return [self.builder.value(rename(atom, self.names)) for atom in atoms]

    def transpose_twice(self, eqn: Eqn) -> None:
        """The tangents of the results, by carrying those of the operands through `vjp`."""
        if eqn.op.vjp is None:
            return
        linear = Builder("linear")
        linear.loc = eqn.loc
        cotangents = [linear.param(out.type) for out in eqn.outs]
        ins, outs = ([linear.value(v.atom) for v in self.values(x)] for x in (eqn.ins, eqn.outs))
        single = len(outs) == 1
        pulled = eqn.op.vjp(
            cotangents[0] if single else tuple(cotangents),
            outs[0] if single else tuple(outs),
            *ins,
            **eqn.attrs,
        )
        self.through(linear, pulled, eqn)

    def through(
        self, linear: Builder, pulled: Sequence[Value | errors.GradientError | None], eqn: Eqn
    ) -> None:
        # What `vjp` emitted is evaluated at cotangent zero: as the transpose of something linear
        # does not depend on it, nothing of it stays but factors such as cos(x).
        names: dict[Var, Atom] = {p: literal(0.0, p.type) for p in linear.params}
        for inner in linear.eqns:
            self.builder.copy(inner, names)
        found = Cotangents()
        for atom, value in zip(eqn.ins, pulled, strict=True):
            if isinstance(value, errors.GradientError) and self.is_active(atom):
                raise value
            if isinstance(value, Value) and self.is_active(atom):
                tangent = self.builder.value(self.tangent(atom))
                found.add(value.atom, tangent)
        active = depending(linear.eqns, set(linear.params))
        carry_backward(self.builder, linear.eqns, names, active, found)
        for param, out in zip(linear.params, eqn.outs, strict=True):
            if param in found and out.type.dtype in FLOATS:
                self.tangents[out] = found[param]

    def keep(self, eqn: Eqn, outs: Sequence[Value], active: Positions) -> None:
        """Results of an equation that holds graphs: its own, then the tangents of `active`."""
        own = [value.atom for value in outs[: len(eqn.outs)]]
        self.names.update(zip(eqn.outs, own, strict=True))
        for i, tangent in zip(active, outs[len(eqn.outs) :], strict=True):
            self.tangents[eqn.outs[i]] = tangent

    def emit(self, eqn: Eqn, ins: Sequence[Atom], attrs: dict[str, Any]) -> tuple[Value, ...]:
        return self.builder.emit(eqn.op, ins, attrs)

    def split(self, atoms: Sequence[Atom]) -> tuple[list[Atom], list[int]]:
        """The new values of `atoms`, and which of them have tangents."""
        values = [rename(atom, self.names) for atom in atoms]
        return values, [i for i, atom in enumerate(atoms) if self.is_active(atom)]


# ---- conditionals and loops ----------------------------------------------------------------------


def _cond(at: Forward, eqn: Eqn) -> None:
    operands, active = at.split(eqn.ins[1:])
    results = [i for i, out in enumerate(eqn.outs) if out.type.dtype in DIFFERENTIABLE]
    branches = {label: _carried(eqn.attrs[label], active, results) for label in ("then", "else")}
    predicate = rename(eqn.ins[0], at.names)
    tangents = [at.tangent(eqn.ins[1 + i]) for i in active]
    at.keep(eqn, at.emit(eqn, [predicate, *operands, *tangents], branches), results)


def _while(at: Forward, eqn: Eqn) -> None:
    """Carried: values, then tangents; constants: values, then tangents."""
    count: int = eqn.attrs["carried"]
    body: Graph = eqn.attrs["body"]
    values, active = at.split(eqn.ins)
    carried = _grown(body, 0, count, active)
    constants = [i for i in active if i >= count]
    pushed = _carried(body, [*carried, *constants], carried)
    order = [*range(count), *carried, *range(count, len(values)), *constants]
    types = [eqn.ins[i].type for i in order]
    ins = [
        *values[:count],
        *(at.tangent(eqn.ins[i]) for i in carried),
        *values[count:],
        *(at.tangent(eqn.ins[i]) for i in constants),
    ]
    at_value = _places(len(values), count, len(carried))
    at_tangent = [
        *range(count, count + len(carried)),
        *range(len(order) - len(constants), len(order)),
    ]
    attrs = {
        "carried": count + len(carried),
        "test": _called(eqn.attrs["test"], types, at_value),
        "body": _called(pushed, types, [*at_value, *at_tangent]),
    }
    at.keep(eqn, at.emit(eqn, ins, attrs), carried)


def _scan(at: Forward, eqn: Eqn) -> None:
    """Carried, sequences and constants: of each the values, then the tangents."""
    count, sequences = eqn.attrs["carried"], eqn.attrs["sequences"]
    body: Graph = eqn.attrs["body"]
    values, active = at.split(eqn.ins)
    carried = _grown(body, 1, count, active)
    parts = [(0, count), (count, count + sequences), (count + sequences, len(values))]
    moving = [carried, *([i for i in active if low <= i < high] for low, high in parts[1:])]
    stacked = [i for i in range(count, len(eqn.outs)) if eqn.outs[i].type.dtype in DIFFERENTIABLE]
    pushed = _carried(body, [1 + i for own in moving for i in own], [*carried, *stacked])
    ins: list[Atom] = []
    types = [Type("i64")]
    at_value, at_tangent = [0], list[int]()
    for (low, high), own in zip(parts, moving, strict=True):
        at_value += range(len(types), len(types) + high - low)
        types += [body.params[1 + i].type for i in range(low, high)]
        at_tangent += range(len(types), len(types) + len(own))
        types += [body.params[1 + i].type for i in own]
        ins += [*values[low:high], *(at.tangent(eqn.ins[i]) for i in own)]
    outs = len(body.outs)
    chosen = [*range(count), *range(outs, outs + len(carried))]
    chosen += [*range(count, outs), *range(outs + len(carried), len(pushed.outs))]
    attrs = {
        **eqn.attrs,
        "carried": count + len(carried),
        "sequences": sequences + len(moving[1]),
        "body": _called(pushed, types, [*at_value, *at_tangent], chosen),
    }
    results = at.emit(eqn, ins, attrs)
    total = count + len(carried)
    own_results = [*results[:count], *results[total : total + outs - count]]
    tangents = [*results[count:total], *results[total + outs - count :]]
    at.keep(eqn, [*own_results, *tangents], [*carried, *stacked])


def _grown(body: Graph, first: int, count: int, active: Positions) -> list[int]:
    """Which carried values have tangents: those that start with one or get it in an iteration."""
    known = set(active)
    while True:
        sources = {body.params[first + i] for i in known}
        depends = depending(body.eqns, sources)
        grown = known | {i for i, out in enumerate(body.outs[:count]) if out in depends}
        if grown == known:
            return sorted(i for i in known if i < count)
        known = grown


def _places(total: int, count: int, inserted: int) -> list[int]:
    """Where the values lie, `inserted` tangents having come in after the first `count`."""
    return [i if i < count else i + inserted for i in range(total)]


def _called(
    graph: Graph, types: Sequence[Type], places: Positions, outs: Positions | None = None
) -> Graph:
    """`graph` as a graph of parameters `types`, of which it is given those at `places`."""
    builder = Builder(graph.name)
    params = [builder.param(type).atom for type in types]
    results = builder.inline(graph, [params[i] for i in places])
    return builder.finish(results if outs is None else [results[i] for i in outs])


def _inline(at: Forward, eqn: Eqn) -> None:
    """Forward mode keeps nothing: what is not to be kept is an ordinary part of the graph."""
    body = fresh(eqn.attrs["body"])
    for param, atom in zip(body.params, eqn.ins, strict=True):
        at.names[param] = rename(atom, at.names)
        if at.is_active(atom):
            at.tangents[param] = at.tangents[atom]  # type: ignore[index]
    for inner in body.eqns:
        at.visit(inner)
    for out, atom in zip(eqn.outs, body.outs, strict=True):
        at.names[out] = rename(atom, at.names)
        if at.is_active(atom):
            at.tangents[out] = at.tangents[atom]  # type: ignore[index]


def _custom(at: Forward, eqn: Eqn) -> None:
    raise errors.GradientError(
        "forward mode through a function with a gradient of its own (gc.custom_vjp), which says"
        " only how cotangents go back; take gc.grad or gc.vjp",
        eqn.loc,
    )


# ---- tapes ---------------------------------------------------------------------------------------


def _push(at: Forward, eqn: Eqn) -> None:
    """The tangent of a tape is a tape: of the tangents of the records."""
    at.builder.copy(eqn, at.names)
    tangents = [at.tangent(atom) for atom in eqn.ins if atom.type.dtype in DIFFERENTIABLE]
    at.tangents[eqn.out] = at.builder.emit(tape.push, tangents)[0]


def _pop(at: Forward, eqn: Eqn) -> None:
    at.builder.copy(eqn, at.names)
    floats = [out for out in eqn.outs[1:] if out.type.dtype in DIFFERENTIABLE]
    attrs = tape.record([out.type for out in floats])
    tangents = at.builder.emit(tape.pop, [at.tangent(eqn.ins[0])], attrs)
    at.tangents.update(zip((eqn.outs[0], *floats), tangents, strict=True))


_HOLDING = {
    control.cond: _cond,
    control.while_: _while,
    control.scan: _scan,
    control.checkpoint: _inline,
    control.again: _inline,
    control.custom: _custom,
    tape.push: _push,
    tape.pop: _pop,
}
