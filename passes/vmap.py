"""Batching: a graph for one example to the graph for a batch of them, along a new first axis.

Before:  graph f(x: f64[3]) { y = sum(x, axes=(0,)); return y }
After:   graph f(x: f64[8,3]) { y = sum(x, axes=(1,)); return y }

Sound because each rule computes, at each index of the first axis, what the equation computes of
the operands there.  A value that does not depend on the batch stays as it is, and is repeated only
where it meets one that does.  An equation without a rule runs in a loop over the batch; so does
what must not run for all examples at once: a branch with an effect or a loop of its own under a
predicate that differs between examples, and a loop whose examples end at different times.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphc.build import Builder, Value, rename
from graphc.ir import Atom, Eqn, Graph, Lit, Loc, Op, Type, Var, all_eqns, has_effect
from graphc.ops import (
    complex_decompositions,
    complex_eigenvalues,
    control,
    cumulative,
    decompositions,
    elementwise,
    index,
    linalg,
    reduce,
    shape,
    sorting,
)
from graphc.ops.reduce import REDUCTIONS
from graphc.passes.complex_boundary import complex_batch
from graphc.passes.complex_pairs import is_complex

Ints = tuple[int, ...]
Flags = tuple[bool, ...]
"""Which values have the axis of the batch."""


Note = Callable[[Loc | None, str, str], None]
"""Is told of control flow that differs between examples: the line, what became of it, and why."""


def batch(
    graph: Graph, batched: Sequence[bool], size: int, note: Note | None = None
) -> tuple[Graph, Flags]:
    """`graph` for `size` examples at once, and which of its results have the new first axis.

    `batched` says which parameters have it.
    """
    if is_complex(graph):
        return complex_batch(lambda g, flags: batch(g, flags, size, note), graph, batched, size)
    return Batching(graph.name, size, note).of(graph, tuple(batched), None)


def _batch(
    outer: Batching, graph: Graph, batched: Flags, wanted: Flags | None
) -> tuple[Graph, Flags]:
    """A held graph for the batch; with `wanted`, those results have the axis in any case."""
    return Batching(graph.name, outer.size, outer.note).of(graph, batched, wanted)


def _with_batch(type: Type, size: int) -> Type:
    return type.with_shape((size, *type.shape))


class Batching:
    """A batched graph under construction."""

    def __init__(self, name: str, size: int, note: Note | None = None):
        self.builder = Builder(name)
        self.size = size
        self.note = note
        self.names: dict[Var, Atom] = {}
        self.batched: set[Atom] = set()
        """The variables of the old graph whose new values have the axis."""

    def of(self, graph: Graph, batched: Flags, wanted: Flags | None) -> tuple[Graph, Flags]:
        """`graph` for the batch, and which results have the axis: those `wanted` in any case."""
        for param, is_batched in zip(graph.params, batched, strict=True):
            type = _with_batch(param.type, self.size) if is_batched else param.type
            self.names[param] = self.builder.param(type, param.hint).atom
            if is_batched:
                self.batched.add(param)
        for eqn in graph.eqns:
            self.visit(eqn)
        flags = tuple(out in self.batched for out in graph.outs)
        outs = [rename(out, self.names) for out in graph.outs]
        if wanted is not None:
            outs = [
                self.repeated(out) if want and not flag else out
                for out, want, flag in zip(outs, wanted, flags, strict=True)
            ]
            flags = tuple(a or b for a, b in zip(wanted, flags, strict=True))
        return self.builder.finish(outs), flags

    def visit(self, eqn: Eqn) -> None:
        flags = tuple(atom in self.batched for atom in eqn.ins)
        if not any(flags):
            self.builder.copy(eqn, self.names)
            return
        self.builder.loc = eqn.loc
        ins = [rename(atom, self.names) for atom in eqn.ins]
        rule = RULES.get(eqn.op, _elementwise if eqn.op.elementwise else one_by_one)
        outs = rule(self, eqn, ins, flags)
        self.names.update(zip(eqn.outs, outs, strict=True))
        self.batched.update(eqn.outs)

    def tell(self, eqn: Eqn, form: str, reason: str) -> None:
        if self.note is not None:
            self.note(eqn.loc, form, reason)

    def repeated(self, atom: Atom) -> Atom:
        """A value without the axis, the same for all examples."""
        type = _with_batch(atom.type, self.size)
        if isinstance(atom, Lit):
            return Lit(atom.value, type)
        axes = tuple(range(1, type.rank))
        return self.emit(shape.broadcast, [atom], {"shape": type.shape, "axes": axes})[0]

    def all_batched(self, ins: Sequence[Atom], flags: Flags) -> list[Atom]:
        pairs = zip(ins, flags, strict=True)
        return [atom if flag else self.repeated(atom) for atom, flag in pairs]

    def emit(self, op: Op, ins: Sequence[Atom], attrs: Mapping[str, Any]) -> tuple[Atom, ...]:
        return tuple(value.atom for value in self.builder.emit(op, ins, dict(attrs)))

    def value(self, atom: Atom) -> Value:
        return self.builder.value(atom)


Rule = Callable[[Batching, Eqn, list[Atom], Flags], Sequence[Atom]]
"""Emits an equation for a batch, at least one of whose operands has the axis; so do its results."""

# ---- ops that keep the axis apart ----------------------------------------------------------------


def _elementwise(at: Batching, eqn: Eqn, ins: list[Atom], flags: Flags) -> Sequence[Atom]:
    return at.emit(eqn.op, at.all_batched(ins, flags), eqn.attrs)


def _with_attrs(change: Callable[[Batching, Mapping[str, Any]], dict[str, Any]]) -> Rule:
    """The same op, every operand with the axis, its attributes moved behind it."""

    def rule(at: Batching, eqn: Eqn, ins: list[Atom], flags: Flags) -> Sequence[Atom]:
        return at.emit(eqn.op, at.all_batched(ins, flags), change(at, eqn.attrs))

    return rule


def _behind(axes: Ints) -> Ints:
    return tuple(axis + 1 for axis in axes)


def _window(at: Batching, attrs: Mapping[str, Any]) -> dict[str, Any]:
    """All examples of a window."""
    whole = {"starts": 0, "sizes": at.size, "steps": 1}
    return {name: (whole[name], *numbers) for name, numbers in attrs.items()}


OF_MATRICES = (
    decompositions.OF_MATRICES
    | complex_decompositions.OF_MATRICES
    | complex_eigenvalues.OF_MATRICES
)

AXIS_ATTRS: dict[Op, Callable[[Batching, Mapping[str, Any]], dict[str, Any]]] = {
    **dict.fromkeys(REDUCTIONS, lambda at, attrs: {"axes": _behind(attrs["axes"])}),
    reduce.argmax: lambda at, attrs: {"axis": attrs["axis"] + 1},
    reduce.argmin: lambda at, attrs: {"axis": attrs["axis"] + 1},
    shape.reshape: lambda at, attrs: {"shape": (at.size, *attrs["shape"])},
    shape.transpose: lambda at, attrs: {"axes": (0, *_behind(attrs["axes"]))},
    shape.broadcast: lambda at, attrs: {
        "shape": (at.size, *attrs["shape"]),
        "axes": (0, *_behind(attrs["axes"])),
    },
    shape.slice: _window,
    shape.skew: lambda at, attrs: {
        "axis": attrs["axis"] + 1,
        "by": attrs["by"] + 1,
        "step": attrs["step"],
    },
    shape.update_slice: _window,
    shape.pad: lambda at, attrs: {
        "low": (0, *attrs["low"]),
        "high": (0, *attrs["high"]),
        "value": attrs["value"],
    },
    shape.concatenate: lambda at, attrs: {"axis": attrs["axis"] + 1},
    **dict.fromkeys(
        (
            cumulative.cumsum,
            cumulative.cumprod,
            cumulative.cummax,
            cumulative.cummin,
            cumulative.recurrence,
            index.pick,
        ),
        lambda at, attrs: {**attrs, "axis": attrs["axis"] + 1},
    ),
    **dict.fromkeys(
        (index.check, sorting.sort, sorting.argsort, *OF_MATRICES), lambda at, attrs: dict(attrs)
    ),
}
"""How the attributes of an op change when its operands have one more axis in front."""

# ---- matrix products -----------------------------------------------------------------------------


def _matmul(at: Batching, eqn: Eqn, ins: list[Atom], flags: Flags) -> Sequence[Atom]:
    """One product of many rows where only one side differs between examples."""
    a, b = map(at.value, ins)
    if flags == (True, False) and len(b.shape) == 2:
        return [_many_rows(a, b).atom]
    if flags == (False, True) and len(a.shape) == 2 and b.shape[-1] == 1:
        rows: Value = shape.reshape(b, shape=(at.size, b.shape[1]))
        product: Value = linalg.matmul(rows, shape.transpose(a, axes=(1, 0)))
        return [shape.reshape(product, shape=(at.size, a.shape[0], 1)).atom]
    return at.emit(eqn.op, at.all_batched(ins, flags), eqn.attrs)


def _many_rows(a: Value, b: Value) -> Value:
    rows: Value = shape.reshape(a, shape=(math.prod(a.shape[:-1]), a.shape[-1]))
    product: Value = linalg.matmul(rows, b)
    return shape.reshape(product, shape=(*a.shape[:-1], b.shape[-1]))


# ---- positions -----------------------------------------------------------------------------------


def _take(at: Batching, eqn: Eqn, ins: list[Atom], flags: Flags) -> Sequence[Atom]:
    """x[i] with x, i or both of them different for each example."""
    x, positions = map(at.value, ins)
    axis: int = eqn.attrs["axis"]
    if flags == (True, False):
        return at.emit(eqn.op, ins, {"axis": axis + 1})
    if flags == (False, True):
        taken: Value = index.take(x, positions, axis=axis)
        return [_to_front(taken, axis).atom]
    moved = _axis_second(x, axis)
    merged: Value = shape.reshape(moved, shape=(at.size * moved.shape[1], *moved.shape[2:]))
    places = _of_all_examples(at, positions, moved.shape[1])
    rows: Value = index.take(merged, places, axis=0)
    return [_back_behind(rows, 1, len(positions.shape) - 1, axis + 1).atom]


def _scatter_add(at: Batching, eqn: Eqn, ins: list[Atom], flags: Flags) -> Sequence[Atom]:
    """x with v added at i: the first axis of x and of v becomes part of the position."""
    axis: int = eqn.attrs["axis"]
    if not flags[1]:
        x, positions, v = ins[0], ins[1], ins[2]
        x = x if flags[0] else at.repeated(x)
        v = v if flags[2] else at.repeated(v)
        return at.emit(eqn.op, [x, positions, v], {"axis": axis + 1})
    x_all, positions_all, v_all = map(at.value, at.all_batched(ins, flags))
    moved = _axis_second(x_all, axis)
    merged: Value = shape.reshape(moved, shape=(at.size * moved.shape[1], *moved.shape[2:]))
    places = _of_all_examples(at, positions_all, moved.shape[1])
    added_rank = len(positions_all.shape) - 1
    values = _in_front(v_all, axis + 1, added_rank)
    total: Value = index.scatter_add(merged, places, values, axis=0)
    split: Value = shape.reshape(total, shape=moved.shape)
    return [_back_behind(split, 1, 1, axis + 1).atom]


def _of_all_examples(at: Batching, positions: Value, size: int) -> Value:
    """Positions in rows of `size`, one row an example, as positions in all rows together."""
    inside: Value = elementwise.minimum(elementwise.maximum(positions, 0), max(size - 1, 0))
    attrs = {"shape": positions.shape, "axis": 0, "dtype": positions.dtype}
    (example,) = at.builder.emit(shape.iota, (), attrs)
    return inside + example * size


def _to_front(x: Value, axis: int) -> Value:
    order = (axis, *(i for i in range(len(x.shape)) if i != axis))
    return x if axis == 0 else shape.transpose(x, axes=order)


def _axis_second(x: Value, axis: int) -> Value:
    """x, whose first axis is the batch, with axis `axis` of an example right behind it."""
    order = (0, axis + 1, *(i for i in range(1, len(x.shape)) if i != axis + 1))
    return x if axis == 0 else shape.transpose(x, axes=order)


def _back_behind(x: Value, first: int, count: int, target: int) -> Value:
    """x with its `count` axes from `first` on moved so that they start at `target`."""
    moving = tuple(range(first, first + count))
    rest = [i for i in range(len(x.shape)) if i not in moving]
    order = (*rest[:target], *moving, *rest[target:])
    return x if order == tuple(range(len(order))) else shape.transpose(x, axes=order)


def _in_front(x: Value, first: int, count: int) -> Value:
    """The inverse of `_back_behind`: axes `first`... follow the batch directly."""
    moving = tuple(range(first, first + count))
    order = (0, *moving, *(i for i in range(1, len(x.shape)) if i not in moving))
    return x if order == tuple(range(len(order))) else shape.transpose(x, axes=order)


def _searchsorted(at: Batching, eqn: Eqn, ins: list[Atom], flags: Flags) -> Sequence[Atom]:
    """In one table all examples are looked for together."""
    return one_by_one(at, eqn, ins, flags) if flags[0] else at.emit(eqn.op, ins, eqn.attrs)


# ---- control flow --------------------------------------------------------------------------------


def _cond(at: Batching, eqn: Eqn, ins: list[Atom], flags: Flags) -> Sequence[Atom]:
    """A conditional again where all examples agree; else a choice, or a conditional for each."""
    branches = [eqn.attrs[label] for label in ("then", "else")]
    if not flags[0]:
        return _common_branch(at, branches, ins, flags)
    if any(_runs_alone(branch) for branch in branches):
        at.tell(eqn, "one by one", "its condition differs between examples, and a branch is costly")
        return one_by_one(at, eqn, ins, flags)
    at.tell(eqn, "selected", "its condition differs between examples, and both branches are cheap")
    sides = []
    for branch in branches:
        graph, _ = _batch(at, branch, flags[1:], (True,) * len(branch.outs))
        sides.append([at.value(atom) for atom in at.builder.inline(graph, ins[1:])])
    return [_chosen(at.value(ins[0]), *pair).atom for pair in zip(*sides, strict=True)]


def _common_branch(
    at: Batching, branches: Sequence[Graph], ins: list[Atom], flags: Flags
) -> Sequence[Atom]:
    all_outs = (True,) * len(branches[0].outs)
    then, otherwise = (_batch(at, branch, flags[1:], all_outs)[0] for branch in branches)
    return at.emit(control.cond, ins, {"then": then, "else": otherwise})


COSTLY = frozenset({"matmul", "while", "scan"})
"""Not for all examples, when a predicate that differs between them asks for some."""


def _runs_alone(branch: Graph) -> bool:
    """Whether a branch may only run for the examples that take it."""
    return any(has_effect(e) or e.op.name in COSTLY or e.op.native for e in all_eqns(branch))


def _chosen(predicate: Value, first: Value, second: Value) -> Value:
    mask: Value = shape.broadcast(predicate, shape=first.shape, axes=(0,))
    return elementwise.where(mask, first, second)


def _while(at: Batching, eqn: Eqn, ins: list[Atom], flags: Flags) -> Sequence[Atom]:
    """One loop for all examples where its test does not depend on them."""
    count: int = eqn.attrs["carried"]
    carried = _stable_flags(at, eqn.attrs["body"], flags, 0, count)
    inside = (*carried, *flags[count:])
    test, (is_batched,) = _batch(at, eqn.attrs["test"], inside, None)
    if is_batched:
        at.tell(eqn, "one by one", "the number of its iterations differs between examples")
        return one_by_one(at, eqn, ins, flags)
    body, _ = _batch(at, eqn.attrs["body"], inside, carried)
    given = _repeat_where(at, ins, flags, carried)
    outs = at.emit(eqn.op, given, {"carried": count, "test": test, "body": body})
    return _repeat_where(at, outs, carried, (True,) * count)


def _scan(at: Batching, eqn: Eqn, ins: list[Atom], flags: Flags) -> Sequence[Atom]:
    """The same loop over slices of all examples: the axis of the batch follows that of the loop."""
    count, sequences = eqn.attrs["carried"], eqn.attrs["sequences"]
    carried = _stable_flags(at, eqn.attrs["body"], (False, *flags), 1, count)
    outs = len(eqn.attrs["body"].outs)
    wanted = (*carried, *(True,) * (outs - count))
    inside = (False, *carried, *flags[count:])
    body, _ = _batch(at, eqn.attrs["body"], inside, wanted)
    given = _repeat_where(at, ins, flags, carried)
    for i in range(count, count + sequences):
        if flags[i]:
            given[i] = _swap_first_two(at, given[i])
    results = at.emit(eqn.op, given, {**eqn.attrs, "body": body})
    last = _repeat_where(at, results[:count], carried, (True,) * count)
    return [*last, *(_swap_first_two(at, stacked) for stacked in results[count:])]


def _stable_flags(at: Batching, body: Graph, flags: Flags, first: int, count: int) -> Flags:
    """Which carried values have the axis: those that start with it or get it in an iteration."""
    carried = flags[first : first + count]
    while True:
        inside = (*flags[:first], *carried, *flags[first + count :])
        _, after = _batch(at, body, inside, None)
        grown = tuple(a or b for a, b in zip(carried, after[:count], strict=True))
        if grown == carried:
            return carried
        carried = grown


def _repeat_where(at: Batching, atoms: Sequence[Atom], flags: Flags, wanted: Flags) -> list[Atom]:
    """The first atoms with the axis where it is wanted and missing; the rest as they are."""
    changed = [
        at.repeated(atom) if want and not flag else atom
        for atom, flag, want in zip(atoms, flags, wanted, strict=False)
    ]
    return [*changed, *atoms[len(changed) :]]


def _swap_first_two(at: Batching, atom: Atom) -> Atom:
    if isinstance(atom, Lit):
        first, second, *rest = atom.type.shape
        return Lit(atom.value, atom.type.with_shape((second, first, *rest)))
    axes = (1, 0, *range(2, atom.type.rank))
    return at.emit(shape.transpose, [atom], {"axes": axes})[0]


def one_by_one(at: Batching, eqn: Eqn, ins: list[Atom], flags: Flags) -> Sequence[Atom]:
    """The equation itself in a loop over the examples."""
    body = Builder("example")
    body.param(Type("i64"), "i")
    body.loc = eqn.loc
    sequences = [atom for atom, flag in zip(ins, flags, strict=True) if flag]
    constants = [atom for atom, flag in zip(ins, flags, strict=True) if not flag]
    slices = [body.param(atom.type.with_shape(atom.type.shape[1:])).atom for atom in sequences]
    same = [body.param(atom.type).atom for atom in constants]
    own = iter(slices), iter(same)
    operands = tuple(next(own[0] if flag else own[1]) for flag in flags)
    inner = eqn.replace(ins=operands)
    names: dict[Var, Atom] = {}
    body.copy(inner, names)
    graph = body.finish([rename(out, names) for out in eqn.outs])
    attrs = {
        "carried": 0,
        "sequences": len(sequences),
        "length": at.size,
        "reverse": False,
        "body": graph,
    }
    return at.emit(control.scan, [*sequences, *constants], attrs)


RULES: dict[Op, Rule] = {
    **{op: _with_attrs(change) for op, change in AXIS_ATTRS.items()},
    linalg.matmul: _matmul,
    index.take: _take,
    index.scatter_add: _scatter_add,
    sorting.searchsorted: _searchsorted,
    control.cond: _cond,
    control.while_: _while,
    control.scan: _scan,
}
"""Ops with a rule of their own; elementwise ops need none, every other runs one by one."""
