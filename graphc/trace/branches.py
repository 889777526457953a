"""Tracing the branches of a conditional, and making them one `cond` equation.

Each branch is traced into a closed graph.  What it assigned, also inside of arrays and containers,
is undone before the next one is traced, and given by the conditional afterwards.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from graphc import errors
from graphc.build import Value, zero_of
from graphc.ir import FLOATS, Atom, Graph, Lit, Loc, Type, Var, has_effect
from graphc.ops import control as control_ops
from graphc.ops import index as index_ops
from graphc.ops import shape as shape_ops
from graphc.trace import mutations, tree
from graphc.trace.scope import (
    Scope,
    Storage,
    current,
    open_scope,
    raised_at,
    user_loc,
)
from graphc.trace.syntax import BranchLocs
from graphc.trace.tracer import Tracer, cast_to, lift

# ---- names that only one branch defines ----------------------------------------------------------


class _Undefined:
    """Stands for a name that has no value."""

    def __repr__(self) -> str:
        return "UNDEFINED"


UNDEFINED = _Undefined()


class Unusable:
    """What a name holds that the branches of a traced conditional left without a common value."""

    __graphc_leaf__ = True
    __hash__ = None  # type: ignore[assignment]
    __slots__ = ("error",)

    def __init__(self, error: errors.GraphcError):
        object.__setattr__(self, "error", error)

    def _fail(self, *args: Any, **kwargs: Any) -> Any:
        raise self.error

    __bool__ = __float__ = __int__ = __index__ = __len__ = __iter__ = __call__ = _fail
    __getitem__ = __setitem__ = __array__ = __array_ufunc__ = __array_function__ = _fail
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = _fail
    __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = _fail
    __matmul__ = __rmatmul__ = __neg__ = __pos__ = __abs__ = __invert__ = _fail
    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = __and__ = __or__ = __xor__ = _fail

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise self.error


# ---- predicates ----------------------------------------------------------------------------------


def truth(test: Tracer) -> Value:
    """`bool(test)` as a traced value bool[]."""
    if test.size != 1:
        raise errors.AmbiguousTruthError(
            f"the truth value of an array {test.type} is ambiguous; use np.any or np.all, or"
            " np.where to choose element by element",
            user_loc(),
        )
    value = test.value()
    if value.shape:
        value = shape_ops.reshape(value, shape=())
    return cast_to(value, "bool")


def test(value: Any, loc: Loc, why: str) -> Any:
    """A test that stays ordinary Python: `value`, which must not be traced."""
    if isinstance(value, Tracer):
        raise errors.ConcreteValueError(
            f"{why} cannot depend on a traced value {value.type}; compute both outcomes and choose"
            " with np.where, or with an `if` whose branches only assign or return",
            loc,
        )
    return value


# ---- tracing two branches ------------------------------------------------------------------------


@dataclass
class Branch:
    """One traced branch: its scope, and what it gave, leaf by leaf."""

    label: str
    loc: Loc | None
    scope: Scope
    leaves: list[Any]
    structure: tree.Structure
    values: list[Value | None]
    weak: list[bool]
    aliases: list[weakref.ref[Storage] | None]
    writes: dict[Storage, Value]
    raised: Exception | None = None


def trace_branches(
    locs: BranchLocs | None, then: Callable[[], Any], otherwise: Callable[[], Any]
) -> tuple[Branch, Branch]:
    """Both branches; one that raises gives what the other gives, which nobody will see."""
    first = _trace_branch("then", locs.then if locs else user_loc(), then)
    second = _trace_branch("else", locs.otherwise if locs else user_loc(), otherwise)
    if first.raised is not None and second.raised is not None:
        raise first.raised
    for branch, other in ((first, second), (second, first)):
        if branch.raised is not None:
            _give_as(branch, other)
    return first, second


def _give_as(branch: Branch, other: Branch) -> None:
    """Make `branch`, which raised, give zeros of the types that `other` gives."""
    branch.leaves, branch.structure, branch.weak = other.leaves, other.structure, other.weak
    branch.aliases = [None] * len(other.leaves)
    branch.values = [
        None if value is None else branch.scope.builder.literal(zero_of(value.dtype), value.type)
        for value in other.values
    ]


def _failing_branch(label: str, loc: Loc | None, scope: Scope, error: Exception) -> Branch:
    """A branch that raises: what it did before, and then a check that fails."""
    names = (cls.__name__ for cls in type(error).__mro__ if cls.__module__ == "builtins")
    kind = next(names)
    where = raised_at(error)
    if kind not in index_ops.CHECK_ERRORS:
        raise errors.UnsupportedSyntaxError(
            f"the {label} branch ({loc}) of a traced conditional raises {type(error).__name__}:"
            f" {error}; a compiled step can raise {', '.join(index_ops.CHECK_ERRORS)}",
            where,
        ) from error
    builder = scope.builder
    builder.loc = where
    message = str(error).removeprefix(f"{where}: ")
    index_ops.check(
        builder.literal(False, Type("bool")),
        builder.literal(0, Type("i64")),
        error=kind,
        message=message,
    )
    return Branch(label, loc, scope, [], tree.LEAF, [], [], [], scope.undo_writes(), error)


def _trace_branch(label: str, loc: Loc | None, thunk: Callable[[], Any]) -> Branch:
    with open_scope(label) as scope:
        try:
            result = thunk()
        except Exception as error:
            known = isinstance(error, (errors.IndexOutOfRangeError, errors.CheckFailedError))
            if isinstance(error, errors.GraphcError) and not known:
                raise
            if isinstance(error, RecursionError):
                raise errors.UnsupportedSyntaxError(
                    "a function that calls itself under a traced condition has no end while"
                    " tracing; use a `for` over a range whose branches do the steps",
                    loc,
                ) from None
            return _failing_branch(label, loc, scope, error)
        leaves, structure = tree.flatten(result)
        lifted = [None if isinstance(leaf, Unusable) else lift(leaf) for leaf in leaves]
        values = [None if x is None else x.value() for x in lifted]
    return Branch(
        label,
        loc,
        scope,
        leaves,
        structure,
        values,
        [x is not None and x.weak for x in lifted],
        [outer_alias(x, scope) for x in lifted],
        scope.undo_writes(),
    )


def outer_alias(x: Tracer | None, scope: Scope) -> weakref.ref[Storage] | None:
    """The array of an enclosing scope whose memory `x` shares, if any."""
    if x is None or not x.storage.mutable or x.storage.scope is scope:
        return None
    return weakref.ref(x.storage)


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
    outs = _emit_cond(predicate, then, otherwise, pairs)
    scope = current()
    count = len(then.leaves)
    for storage, out in zip(storages, outs[count:], strict=True):
        scope.write(storage, out)
    return [
        _leaf(out, weak, (then.aliases[i], otherwise.aliases[i]), scope)
        for i, (out, (_, _, weak)) in enumerate(zip(outs[:count], pairs[:count], strict=True))
    ]


def _leaf(
    out: Value, weak: bool, aliases: Sequence[weakref.ref[Storage] | None], scope: Scope
) -> Tracer:
    known = tuple(alias for alias in aliases if alias is not None)
    storage = Storage(out.atom, scope, mutable=bool(out.shape), aliases=known)
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
        a, b = cast_to(a, "f64"), cast_to(b, "f64")
    elif weak_a and not weak_b and _fits(a.dtype, b.dtype):
        a = cast_to(a, b.dtype)
    elif weak_b and not weak_a and _fits(b.dtype, a.dtype):
        b = cast_to(b, a.dtype)
    if a.type != b.type:
        names = list(tree.paths(then.structure, "result"))
        raise mismatch(f"{names[i]} is {a.type}", then, f"{b.type}", otherwise)
    return a, b, weak_a and weak_b


def _fits(weak: str, dtype: str) -> bool:
    return dtype in FLOATS or (weak == "i64" and dtype != "bool")


def mismatch(what: str, then: Branch, other: str, otherwise: Branch) -> errors.BranchMismatchError:
    return errors.BranchMismatchError(
        f"the branches of a traced conditional differ: {what} in the {then.label} branch"
        f" ({then.loc}) but {other} in the {otherwise.label} branch ({otherwise.loc}); make both"
        " the same, with .astype, np.reshape or np.broadcast_to",
        user_loc(),
    )


def _emit_cond(
    predicate: Value,
    then: Branch,
    otherwise: Branch,
    pairs: list[tuple[Value, Value, bool]],
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


def choose(
    predicate: Tracer,
    then: Callable[[], Any],
    otherwise: Callable[[], Any],
    locs: BranchLocs | None = None,
    is_return: bool = False,
) -> Any:
    """`then() if predicate else otherwise()` as one `cond` equation; both give trees of arrays."""
    pred = truth(predicate)
    watched = mutations.Watched(mutations.visible())
    first, second = trace_branches(
        locs, *(_restoring(branch, watched, is_return) for branch in (then, otherwise))
    )
    if first.structure != second.structure:
        raise mismatch(f"the result is {_outline(first)}", first, _outline(second), second)
    return tree.unflatten(first.structure, merge_branches(pred, first, second))


def _restoring(
    branch: Callable[[], Any], watched: mutations.Watched, is_return: bool
) -> Callable[[], Any]:
    """`branch`, after which every container holds what it held before.

    One that nobody can see after a return may have changed.
    """

    def run() -> Any:
        result = own(branch())
        watched.expect_arrays_unchanged()
        watched.expect_globals_unchanged()
        changed = watched.changed()
        if changed and is_return:
            outside = set(map(id, mutations.Watched(mutations.visible_outside()).containers))
            changed = [container for container in changed if id(container) in outside]
        if changed:
            raise errors.UnsupportedSyntaxError(
                f"a branch of a traced conditional changes a {type(changed[0]).__name__} that was"
                " made before it, which would happen whether or not it is taken; change it in an"
                " `if` statement that does not return, or return the new value",
                user_loc(),
            )
        watched.restore()
        return result

    return run


def own(values: Any) -> Any:
    """A copy of what a branch gives, which restoring a container does not change."""
    return tree.map_leaves(lambda leaf: leaf, values)


def _outline(branch: Branch) -> str:
    """A branch's result in words short enough for a message."""
    types = iter(str(v.type) if v is not None else "nothing" for v in branch.values)
    return repr(tree.unflatten(branch.structure, [Shown(t) for t in types]))


class Shown(str):
    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
