"""Reverse-mode differentiation: a graph to the graph that also computes its gradients.

Before:  graph f(x) { y = sin(x); return y }
After:   graph f(x) { y = sin(x); c = cos(x); d = 1.0 * c; return y, d }

Sound because each op's `vjp` is the transpose of its derivative: cotangents are summed over the
uses of a value and carried from results to parameters in reverse order.  Conditionals and loops
have backwards of their own: `autodiff_control.py`.

The side of a `where` that was not chosen has cotangent zero.  Further back, zero times an infinite
derivative would be NaN: d/dx where(x > 0, log(x), 0) at 0.  So a cotangent that came through a
`where` is carried with the condition under which it counts, and is zero elsewhere after every
operation whose derivative can be infinite.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc import errors
from graphc.build import Builder, Value, literal, rename
from graphc.ir import DIFFERENTIABLE, FLOATS, TAPE, Atom, Eqn, Graph, Lit, Var
from graphc.ops import control, elementwise, reduce, shape
from graphc.passes.autodiff_control import Backward, backward_of, zero_cotangent
from graphc.passes.complex_boundary import complex_gradient, complex_pullback
from graphc.passes.complex_pairs import is_complex
from graphc.passes.cse import eliminate_common
from graphc.passes.residuals import Joint, without_effects
from graphc.passes.shifts import hold_shifts
from graphc.passes.stabilize import is_concerned, stabilize

FINITE_SLOPE = frozenset({"add", "subtract", "negative", "cast", "where", "maximum", "minimum"})
"""Elementwise ops that turn a zero cotangent into zero whatever their operands are."""


class Cotangents:
    """The cotangent of each value so far, and where it counts: None for everywhere."""

    def __init__(self) -> None:
        self.values: dict[Var, Value] = {}
        self.masks: dict[Var, Value | None] = {}

    def __contains__(self, var: Var) -> bool:
        return var in self.values

    def __getitem__(self, var: Var) -> Value:
        return self.values[var]

    def add(self, atom: Atom, cotangent: Value, mask: Value | None = None) -> None:
        """Add to the cotangent of `atom`; of two that count in different places, all counts."""
        if isinstance(atom, Lit) or atom.type.dtype not in DIFFERENTIABLE:
            return
        known = self.values.get(atom)
        if known is not None and atom.type == TAPE:
            raise errors.GradientError(
                "a derivative of this order through a loop of unknown length reads its tape twice;"
                " give the loop a fixed number of iterations (gc.scan, range)"
            )
        self.values[atom] = cotangent if known is None else known + cotangent
        if known is not None and not _same(self.masks[atom], mask):
            mask = None
        self.masks[atom] = mask


def _same(a: Value | None, b: Value | None) -> bool:
    return a is not None and b is not None and a.atom is b.atom


def gradient(graph: Graph, wrt: Sequence[int], result: int = 0) -> Graph:
    """`graph` with the gradients of its scalar result `result` with respect to parameters `wrt`
    as further results.

    Raises `errors.GradientError` if the result is not a floating-point scalar or a parameter is
    not floating point.
    """
    if is_complex(graph):
        return complex_gradient(gradient, graph, wrt, result)
    graph = stable(graph)
    _expect_scalar(graph, result)
    for position in wrt:
        _expect_float(graph, position)
    builder, names = _copy_forward(graph)
    active = depending(graph.eqns, {graph.params[i] for i in wrt})
    seed = builder.literal(1.0, graph.outs[result].type)
    cotangents = Cotangents()
    cotangents.add(graph.outs[result], seed)
    carry_backward(builder, graph.eqns, names, active, cotangents)
    grads = [_final(graph.params[i], cotangents) for i in wrt]
    outs = [rename(out, names) for out in graph.outs]
    return builder.finish([*outs, *grads], graph.updates)


def stable(graph: Graph) -> Graph:
    """The graph in stable forms, whose derivatives are stable, too."""
    return hold_shifts(stabilize(eliminate_common(graph))) if is_concerned(graph) else graph


def pullback(graph: Graph, wrt: Sequence[int], results: Sequence[int]) -> Graph:
    """The graph of parameters and one cotangent for each of `results`, giving those of `wrt`."""
    if is_complex(graph):
        return complex_pullback(pullback, graph, wrt, results)
    builder, names = _copy_forward(graph, effects=False)
    active = depending(graph.eqns, {graph.params[i] for i in wrt})
    cotangents = Cotangents()
    for i in results:
        cotangents.add(graph.outs[i], builder.param(graph.outs[i].type))
    carry_backward(builder, graph.eqns, names, active, cotangents)
    return builder.finish([_final(graph.params[i], cotangents) for i in wrt])


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
    for eqn in graph.eqns if effects else without_effects(graph).eqns:
        builder.copy(eqn, names)
    return builder, names


def depending(eqns: Sequence[Eqn], sources: set[Var]) -> set[Var]:
    """The floating-point values that depend on `sources` other than by steps (`floor`)."""
    active = set(sources)
    for eqn in eqns:
        is_constant = eqn.op.elementwise and eqn.op.vjp is None
        if not is_constant and not active.isdisjoint(_variables(eqn)):
            active.update(out for out in eqn.outs if out.type.dtype in DIFFERENTIABLE)
    return active


def _variables(eqn: Eqn) -> list[Var]:
    return [atom for atom in eqn.ins if isinstance(atom, Var)]


def carry_backward(
    builder: Builder,
    eqns: Sequence[Eqn],
    names: dict[Var, Atom],
    active: set[Var],
    cotangents: Cotangents,
    forward: list[Eqn] | None = None,
) -> None:
    """Carry cotangents through the equations in reverse.

    `forward` is the list in which the equations, under their new `names`, have been emitted: that
    of the builder unless another is given.
    """
    forward = builder.eqns if forward is None else forward
    for eqn in reversed(eqns):
        if not any(out in cotangents and out in active for out in eqn.outs):
            continue
        builder.loc = eqn.loc
        grads = _vjp(builder, eqn, names, active, cotangents, forward)
        masks = _masks(builder, eqn, names, cotangents)
        for atom, cotangent, mask in zip(eqn.ins, grads, masks, strict=True):
            if cotangent is None or atom not in active:
                continue
            if isinstance(cotangent, errors.GradientError):
                raise cotangent
            if mask is not None and eqn.op.name not in FINITE_SLOPE:
                cotangent = elementwise.where(mask, cotangent, 0.0)
            cotangents.add(atom, cotangent, mask)


def _masks(
    builder: Builder, eqn: Eqn, names: dict[Var, Atom], cotangents: Cotangents
) -> Sequence[Value | None]:
    """For each operand, where its cotangent counts."""
    if len(eqn.outs) != 1:
        return [None] * len(eqn.ins)
    mask = cotangents.masks.get(eqn.out)
    if eqn.op is elementwise.where:
        chosen = builder.value(rename(eqn.ins[0], names))
        sides = (chosen, elementwise.logical_not(chosen))
        both = sides if mask is None else [elementwise.logical_and(mask, side) for side in sides]
        return [None, *both]
    if mask is not None and eqn.op is shape.broadcast:
        return [_any_of_copies(mask, eqn)]
    return [mask if eqn.op.elementwise else None] * len(eqn.ins)


def _any_of_copies(mask: Value, eqn: Eqn) -> Value:
    """An element that was repeated counts where one of its copies does."""
    source = eqn.ins[0].type
    pairs = zip(source.shape, eqn.attrs["axes"], strict=True)
    kept = {axis for size, axis in pairs if size == mask.shape[axis]}
    repeated = tuple(axis for axis in range(len(mask.shape)) if axis not in kept)
    counts = reduce.any(mask, axes=repeated) if repeated else mask
    return counts if counts.shape == source.shape else shape.reshape(counts, shape=source.shape)


def _final(param: Var, cotangents: Cotangents) -> Atom:
    return cotangents[param].atom if param in cotangents else literal(0.0, param.type)


def _vjp(
    builder: Builder,
    eqn: Eqn,
    names: dict[Var, Atom],
    active: set[Var],
    cotangents: Cotangents,
    forward: list[Eqn],
) -> Sequence[Value | errors.GradientError | None]:
    ins = [builder.value(rename(atom, names)) for atom in eqn.ins]
    if eqn.op in control.HOLDING:
        known = {
            i: cotangents[out]
            for i, out in enumerate(eqn.outs)
            if out in cotangents and out in active
        }
        at = Backward(builder, forward, eqn, names, active.__contains__, depending, known, _joint)
        return backward_of(at)
    if eqn.op.vjp is None:
        return [None] * len(ins)
    outs = tuple(builder.value(rename(out, names)) for out in eqn.outs)
    given = tuple(cotangents[out] if out in cotangents else _zero(builder, out) for out in eqn.outs)
    single = len(outs) == 1
    grads: Sequence[Value | errors.GradientError | None] = eqn.op.vjp(
        given[0] if single else given, outs[0] if single else outs, *ins, **eqn.attrs
    )
    return grads


def _zero(builder: Builder, out: Var) -> Value:
    return builder.value(zero_cotangent(builder, out.type))


def _joint(graph: Graph, wrt: Sequence[int], results: Sequence[int]) -> Joint:
    """A held graph and its backward."""
    forward, names = _copy_forward(graph)
    after = Builder("backward")
    active = depending(graph.eqns, {graph.params[i] for i in wrt})
    cotangents = Cotangents()
    given = [Var(graph.outs[i].type) for i in results]
    for i, var in zip(results, given, strict=True):
        cotangents.add(graph.outs[i], after.value(var))
    carry_backward(after, graph.eqns, names, active, cotangents, forward.eqns)
    grads = {i: cotangents[p] for i in wrt if (p := graph.params[i]) in cotangents}
    outs = [rename(out, names) for out in graph.outs]
    return Joint(forward.finish(outs), after.eqns, given, {i: g.atom for i, g in grads.items()})
