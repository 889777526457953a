"""Reverse-mode differentiation: a graph to the graph that also computes its gradients.

Before:  graph f(x) { y = sin(x); return y }
After:   graph f(x) { y = sin(x); c = cos(x); d = 1.0 * c; return y, d }

Sound because each op's `vjp` is the transpose of its derivative: cotangents are summed over the
uses of a value and carried from results to parameters in reverse order.  The backward of a
conditional is a conditional on the same predicate: of the backward graphs, too, only the one of
the taken branch runs.  That branch recomputes what it needs of its forward part (effects, which
have happened, excepted).
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc import errors
from graphc.build import Builder, Value, literal, rename
from graphc.ir import FLOATS, Atom, Eqn, Graph, Lit, Var, has_effect
from graphc.ops import control

Cotangents = dict[Var, Value]


def gradient(graph: Graph, wrt: Sequence[int], result: int = 0) -> Graph:
    """`graph` with the gradients of its scalar result `result` with respect to parameters `wrt`
    as further results.

    Raises `errors.GradientError` if the result is not a floating-point scalar or a parameter is
    not floating point.
    """
    _expect_scalar(graph, result)
    for position in wrt:
        _expect_float(graph, position)
    builder, names = _copy_forward(graph)
    active = _active(graph.eqns, {graph.params[i] for i in wrt})
    seed = builder.literal(1.0, graph.outs[result].type)
    cotangents: Cotangents = {}
    _accumulate(cotangents, graph.outs[result], seed)
    _backward(builder, graph.eqns, names, active, cotangents)
    grads = [_final(builder, graph.params[i], cotangents) for i in wrt]
    outs = [rename(out, names) for out in graph.outs]
    return builder.finish([*outs, *grads], graph.updates)


def pullback(graph: Graph, wrt: Sequence[int], results: Sequence[int]) -> Graph:
    """The graph of parameters and one cotangent for each of `results`, giving those of `wrt`."""
    builder, names = _copy_forward(graph, effects=False)
    active = _active(graph.eqns, {graph.params[i] for i in wrt})
    cotangents: Cotangents = {}
    for i in results:
        _accumulate(cotangents, graph.outs[i], builder.param(graph.outs[i].type))
    _backward(builder, graph.eqns, names, active, cotangents)
    return builder.finish([_final(builder, graph.params[i], cotangents) for i in wrt])


def _expect_scalar(graph: Graph, result: int) -> None:
    type = graph.outs[result].type
    if type.shape or type.dtype not in FLOATS:
        raise errors.GradientError(
            f"the gradient needs a floating-point scalar, {graph.name} returns {type};"
            " reduce it first (np.sum, np.mean)"
        )


def _expect_float(graph: Graph, position: int) -> None:
    param = graph.params[position]
    if param.type.dtype not in FLOATS:
        raise errors.GradientError(
            f"argument {param.hint or position} of {graph.name} is {param.type}: gradients exist"
            " for floating-point arguments; convert it with .astype, or leave it out of argnums"
        )


def _copy_forward(graph: Graph, effects: bool = True) -> tuple[Builder, dict[Var, Atom]]:
    builder = Builder(graph.name)
    names: dict[Var, Atom] = {
        param: builder.param(param.type, param.hint).atom for param in graph.params
    }
    for eqn in graph.eqns:
        if effects or not (has_effect(eqn) and not eqn.outs):
            builder.copy(eqn, names)
    return builder, names


def _active(eqns: Sequence[Eqn], sources: set[Var]) -> set[Var]:
    """The floating-point values that depend on `sources`."""
    active = set(sources)
    for eqn in eqns:
        if not active.isdisjoint(_variables(eqn)):
            active.update(out for out in eqn.outs if out.type.dtype in FLOATS)
    return active


def _variables(eqn: Eqn) -> list[Var]:
    return [atom for atom in eqn.ins if isinstance(atom, Var)]


def _backward(
    builder: Builder,
    eqns: Sequence[Eqn],
    names: dict[Var, Atom],
    active: set[Var],
    cotangents: Cotangents,
) -> None:
    """Carry cotangents through the equations in reverse."""
    for eqn in reversed(eqns):
        if not any(out in cotangents and out in active for out in eqn.outs):
            continue
        builder.loc = eqn.loc
        grads = _vjp(builder, eqn, names, active, cotangents)
        for atom, cotangent in zip(eqn.ins, grads, strict=True):
            if cotangent is not None and atom in active:
                _accumulate(cotangents, atom, cotangent)


def _accumulate(cotangents: Cotangents, atom: Atom, cotangent: Value) -> None:
    if isinstance(atom, Lit) or atom.type.dtype not in FLOATS:
        return
    known = cotangents.get(atom)
    cotangents[atom] = cotangent if known is None else known + cotangent


def _final(builder: Builder, param: Var, cotangents: Cotangents) -> Atom:
    value = cotangents.get(param)
    return literal(0.0, param.type) if value is None else value.atom


def _vjp(
    builder: Builder,
    eqn: Eqn,
    names: dict[Var, Atom],
    active: set[Var],
    cotangents: Cotangents,
) -> Sequence[Value | None]:
    ins = [builder.value(rename(atom, names)) for atom in eqn.ins]
    if eqn.op is control.cond:
        return _vjp_cond(builder, eqn, ins, active, cotangents)
    if eqn.op.vjp is None:
        return [None] * len(ins)
    out = builder.value(rename(eqn.out, names))
    grads: Sequence[Value | None] = eqn.op.vjp(cotangents[eqn.out], out, *ins, **eqn.attrs)
    return grads


def _vjp_cond(
    builder: Builder, eqn: Eqn, ins: list[Value], active: set[Var], cotangents: Cotangents
) -> Sequence[Value | None]:
    """One conditional on the same predicate, over operands and cotangents."""
    wrt = [i for i, atom in enumerate(eqn.ins[1:]) if atom in active]
    results = [i for i, out in enumerate(eqn.outs) if out in cotangents and out in active]
    branches = {label: pullback(eqn.attrs[label], wrt, results) for label in ("then", "else")}
    operands = [*ins, *(cotangents[eqn.outs[i]] for i in results)]
    outs = builder.emit(control.cond, [value.atom for value in operands], branches)
    grads: list[Value | None] = [None] * len(ins)
    for i, out in zip(wrt, outs, strict=True):
        grads[i + 1] = out
    return grads
