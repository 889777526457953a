"""Merging what two traced branches give: one `cond` equation, and its leaves."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from graphc import errors
from graphc.build import Value, zero_of
from graphc.ir import Atom, Graph, Lit, Type, Var, has_effect
from graphc.ops import control as control_ops
from graphc.ops import elementwise as ew
from graphc.trace import tree
from graphc.trace.promotion import cast_to, holds_number
from graphc.trace.scope import Aliases, Scope, Storage, current, reenter, user_loc
from graphc.trace.tracer import Tracer, lift, wrap

if TYPE_CHECKING:
    from graphc.trace.branches import Branch


def merge_branches(predicate: Value, then: Branch, otherwise: Branch) -> list[Any]:
    """One `cond` equation; the leaves that it gives, of equal type in both branches."""
    pairs = [_unify(then, otherwise, i) for i in range(len(then.leaves))]
    storages = [*then.writes, *(s for s in otherwise.writes if s not in then.writes)]
    for storage in storages:
        pairs.append(
            (
                held_value(then, storage),
                held_value(otherwise, storage),
                False,
            )  # what both leave in memory
        )
    outs = _merged(predicate, then, otherwise, pairs)
    scope = current()
    count = len(then.leaves)
    for storage, out in zip(storages, outs[count:], strict=True):
        scope.write(storage, out)
    return [
        _leaf(out, weak, (*then.aliases[i], *otherwise.aliases[i]), scope)
        for i, (out, (_, _, weak)) in enumerate(zip(outs[:count], pairs[:count], strict=True))
    ]


def _leaf(out: Value, weak: bool, aliases: Aliases, scope: Scope) -> Tracer:
    storage = Storage(out.atom, scope, mutable=bool(out.shape), aliases=aliases)
    return Tracer(storage, out.shape, weak=weak)


def held_value(branch: Branch, storage: Storage) -> Value:
    if storage in branch.writes:
        return branch.writes[storage]
    return branch.scope.builder.value(branch.scope.resolve(storage.atom, storage.scope))


def _unify(then: Branch, otherwise: Branch, i: int) -> tuple[Value, Value, bool]:
    """Leaf i of both branches with one type; Python numbers take the dtype of the other side."""
    a, b = then.values[i], otherwise.values[i]
    if a is None or b is None:
        leaf = then.leaves[i] if a is None else otherwise.leaves[i]
        raise leaf.error
    weak_a, weak_b = then.weak[i], otherwise.weak[i]
    if weak_a and weak_b and a.dtype != b.dtype:
        common = "c128" if "c128" in (a.dtype, b.dtype) else "f64"
        a, b = cast_to(a, common), cast_to(b, common)
    elif weak_a and not weak_b and holds_number(b.dtype, a.dtype):
        a = cast_to(a, b.dtype)
    elif weak_b and not weak_a and holds_number(a.dtype, b.dtype):
        b = cast_to(b, a.dtype)
    if a.type != b.type:
        names = list(tree.paths(then.structure, "result"))
        raise mismatch(f"{names[i]} is {a.type}", then, f"{b.type}", otherwise)
    return a, b, weak_a and weak_b


def mismatch(what: str, then: Branch, other: str, otherwise: Branch) -> errors.BranchMismatchError:
    repair = "make both the same, with .astype, np.reshape or np.broadcast_to"
    if other == "None" or what.endswith(" is None"):
        repair = "begin with a number instead of None, and with a bool that says whether it counts"
    return errors.BranchMismatchError(
        f"the branches of a traced conditional differ: {what} in the {then.label} branch"
        f" ({then.loc}) but {other} in the {otherwise.label} branch ({otherwise.loc}); {repair}",
        user_loc(),
    )


Pair = tuple[Value, Value, bool]


def _merged(predicate: Value, then: Branch, otherwise: Branch, pairs: list[Pair]) -> list[Value]:
    """The value of each pair: of flags that are known without running a branch, no result of it."""
    flags = {
        i: flag
        for i, (a, b, _) in enumerate(pairs)
        if (flag := _flag(predicate, _outside(then, a), _outside(otherwise, b))) is not None
    }
    rest = [pair for i, pair in enumerate(pairs) if i not in flags]
    outs = iter(_emit_cond(predicate, then, otherwise, rest))
    return [flags[i] if i in flags else next(outs) for i in range(len(pairs))]


def _outside(branch: Branch, value: Value) -> Atom | None:
    """What the scope around a branch calls `value`, None for what the branch computes."""
    if isinstance(value.atom, Lit):
        return value.atom
    captured = {inner.atom: var for var, inner in branch.scope.captures.items()}
    return branch.scope.outer(captured[value.atom]) if value.atom in captured else None


def _flag(predicate: Value, a: Atom | None, b: Atom | None) -> Value | None:
    """`a if predicate else b` of two bools that are known already, in terms of logic."""
    if a is None or b is None or a.type != Type("bool") or b.type != Type("bool"):
        return None
    builder = predicate.builder
    yes, no = builder.value(a), builder.value(b)
    if a == b:
        return yes
    if isinstance(a, Lit):
        if isinstance(b, Lit):
            return predicate if a.value else ew.logical_not(predicate)
        other = predicate if a.value else ew.logical_not(predicate)
        return ew.logical_or(other, no) if a.value else ew.logical_and(other, no)
    if isinstance(b, Lit):
        if b.value:
            return ew.logical_or(ew.logical_not(predicate), yes)
        return ew.logical_and(predicate, yes)
    return ew.where(predicate, yes, no)


def _emit_cond(
    predicate: Value,
    then: Branch,
    otherwise: Branch,
    pairs: list[Pair],
) -> list[Value]:
    """Close both graphs over the same operands, and emit the equation."""
    scope = current()
    captured = list(dict.fromkeys([*then.scope.captures, *otherwise.scope.captures]))
    operands = [
        then.scope.outer(var) if var in then.scope.captures else otherwise.scope.outer(var)
        for var in captured
    ]
    graphs = {
        "then": _close(then.scope, captured, [pair[0].atom for pair in pairs], "then"),
        "else": _close(otherwise.scope, captured, [pair[1].atom for pair in pairs], "else"),
    }
    if not pairs and not _has_effect(graphs.values()):
        return []
    if isinstance(predicate.atom, Lit):
        taken = graphs["then" if predicate.atom.value else "else"]
        return [scope.builder.value(atom) for atom in scope.builder.inline(taken, operands)]
    return list(scope.builder.emit(control_ops.cond, (predicate.atom, *operands), graphs))


def _has_effect(graphs: Any) -> bool:
    return any(has_effect(eqn) for graph in graphs for eqn in graph.eqns)


def _close(scope: Scope, captured: list[Var], outs: list[Atom], name: str) -> Graph:
    """The scope's graph with one parameter for each operand, in the order of `captured`."""
    params = tuple(
        scope.captures[var].atom if var in scope.captures else Var(var.type, var.hint)
        for var in captured
    )
    return scope.builder.finish(outs).replace(name=name, params=params)


def restrict(branch: Branch, values: dict[Any, Any]) -> None:
    """Make `values` what the branch gives; names that it left alone are read as it left them."""
    leaves, structure = tree.flatten(values)
    known = {id(leaf): i for i, leaf in enumerate(branch.leaves)}
    rows = [
        _given(branch, known[id(leaf)]) if id(leaf) in known else _unchanged(leaf, branch)
        for leaf in leaves
    ]
    branch.leaves, branch.structure = leaves, structure
    branch.values = [row[0] for row in rows]
    branch.weak = [row[1] for row in rows]
    branch.aliases = [row[2] for row in rows]


_Row = tuple[Value | None, bool, Aliases]


def _given(branch: Branch, i: int) -> _Row:
    return branch.values[i], branch.weak[i], branch.aliases[i]


def _unchanged(leaf: Any, branch: Branch) -> _Row:
    """A value from before the conditional that the branch did not rebind (but may have written)."""
    if not isinstance(leaf, Tracer):
        with reenter(branch.scope):
            x = lift(leaf)
            return x.value(), x.weak, ()
    value = held_value(branch, leaf.storage)
    for view in leaf.views:
        value = view.get(value)
    return value, leaf.weak, outer_arrays(leaf, branch.scope)


# ---- bools that depend on the branch -------------------------------------------------------------


def align_bools(then: Branch, otherwise: Branch) -> None:
    """Make traced values of the bools in which the results of two branches differ."""
    if then.structure != otherwise.structure:
        values = [tree.unflatten(side.structure, side.leaves) for side in (then, otherwise)]
        for branch, value in zip(
            (then, otherwise), with_traced_bools(values, (then, otherwise)), strict=True
        ):
            restrict(branch, value)


def with_traced_bools(sides: list[Any], branches: tuple[Branch, Branch]) -> list[Any]:
    """The values with the bools traced in which they differ; other bools stay Python's."""
    flat = [tree.flatten(side) for side in sides]
    if flat[0][1] == flat[1][1]:
        return sides
    return [
        tree.unflatten(with_traced(own[1], other[1], branch.scope), own[0])
        for own, other, branch in zip(flat, reversed(flat), branches, strict=True)
    ]


def with_traced(own: tree.Structure, other: tree.Structure, scope: Scope) -> tree.Structure:
    """`own` with those of its bools as values of `scope` that are something else in `other`."""
    if isinstance(own, tree.Static):
        if type(own.value) is not bool or own == other or not _may_be_bool(other):
            return own
        with reenter(scope):
            return tree.Static(lift(own.value))
    if isinstance(own, tree.Node) and isinstance(other, tree.Node) and own.keys == other.keys:
        pairs = zip(own.parts, other.parts, strict=True)
        return tree.Node(own.kind, own.keys, tuple(with_traced(a, b, scope) for a, b in pairs))
    return own


def _may_be_bool(structure: tree.Structure) -> bool:
    if isinstance(structure, tree.Static):
        return type(structure.value) is bool
    return isinstance(structure, tree.Leaf)


# ---- leaves --------------------------------------------------------------------------------------


def zeros_like(leaf: Any) -> Tracer:
    """Zeros of the type of a leaf, which may belong to a scope that has ended."""
    x = leaf if isinstance(leaf, Tracer) else lift(leaf)
    return wrap(current().builder.literal(zero_of(x.dtype_name), x.type), weak=x.weak)


def outer_arrays(x: Tracer | None, scope: Scope) -> Aliases:
    """The arrays that `x`, which `scope` leaves, may be: one from outside whose memory it shares,
    and those that a conditional or a loop inside may have chosen it from."""
    if x is None or not x.storage.mutable:
        return ()
    if x.storage.scope is scope and x.storage not in scope.written:  # made there
        return x.storage.aliases
    return (weakref.ref(x.storage), *x.storage.aliases)


class Shown(str):
    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
