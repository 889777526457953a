"""Conditionals while tracing: what `syntax.convert` turns `if`, `and`, `or`, `not` into.

On an ordinary Python value each of these functions does what the statement would have done.  On a
traced value both branches are traced, each into a closed graph, and become one `cond` equation.
"""

from __future__ import annotations

import functools
import os
import site
import sysconfig
import types
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc import errors
from graphc.build import Value, zero_of
from graphc.ir import FLOATS, Atom, Graph, Lit, Loc, Type, Var
from graphc.ops import control as control_ops
from graphc.ops import elementwise as ew
from graphc.ops import index as index_ops
from graphc.ops import shape as shape_ops
from graphc.trace import mutations, syntax, tree
from graphc.trace.scope import (
    Scope,
    Storage,
    current,
    is_tracing,
    open_scope,
    raised_at,
    reenter,
    user_loc,
)
from graphc.trace.syntax import BranchLocs
from graphc.trace.tracer import Tracer, cast_to, holds_tracer, lift

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
class _Branch:
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


def _trace_branches(
    locs: BranchLocs | None, then: Callable[[], Any], otherwise: Callable[[], Any]
) -> tuple[_Branch, _Branch]:
    """Both branches; one that raises gives what the other gives, which nobody will see."""
    first = _trace_branch("then", locs.then if locs else user_loc(), then)
    second = _trace_branch("else", locs.otherwise if locs else user_loc(), otherwise)
    if first.raised is not None and second.raised is not None:
        raise first.raised
    for branch, other in ((first, second), (second, first)):
        if branch.raised is not None:
            _give_as(branch, other)
    return first, second


def _give_as(branch: _Branch, other: _Branch) -> None:
    """Make `branch`, which raised, give zeros of the types that `other` gives."""
    branch.leaves, branch.structure, branch.weak = other.leaves, other.structure, other.weak
    branch.aliases = [None] * len(other.leaves)
    branch.values = [
        None if value is None else branch.scope.builder.literal(zero_of(value.dtype), value.type)
        for value in other.values
    ]


def _failing_branch(label: str, loc: Loc | None, scope: Scope, error: Exception) -> _Branch:
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
    return _Branch(label, loc, scope, [], tree.LEAF, [], [], [], scope.undo_writes(), error)


def _trace_branch(label: str, loc: Loc | None, thunk: Callable[[], Any]) -> _Branch:
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
    return _Branch(
        label,
        loc,
        scope,
        leaves,
        structure,
        values,
        [x is not None and x.weak for x in lifted],
        [_outer_alias(x, scope) for x in lifted],
        scope.undo_writes(),
    )


def _outer_alias(x: Tracer | None, scope: Scope) -> weakref.ref[Storage] | None:
    """The array of an enclosing scope whose memory `x` shares, if any."""
    if x is None or not x.storage.mutable or x.storage.scope is scope:
        return None
    return weakref.ref(x.storage)


def _merge(predicate: Value, then: _Branch, otherwise: _Branch) -> list[Any]:
    """One `cond` equation; the leaves that it gives, of equal type in both branches."""
    pairs = [_unify(then, otherwise, i) for i in range(len(then.leaves))]
    storages = [*then.writes, *(s for s in otherwise.writes if s not in then.writes)]
    for storage in storages:
        pairs.append(
            (_held(then, storage), _held(otherwise, storage), False)  # what both leave in memory
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


def _held(branch: _Branch, storage: Storage) -> Value:
    if storage in branch.writes:
        return branch.writes[storage]
    return branch.scope.builder.value(branch.scope.resolve(storage.atom, storage.scope))


def _unify(then: _Branch, otherwise: _Branch, i: int) -> tuple[Value, Value, bool]:
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
        raise _mismatch(f"{names[i]} is {a.type}", then, f"{b.type}", otherwise)
    return a, b, weak_a and weak_b


def _fits(weak: str, dtype: str) -> bool:
    return dtype in FLOATS or (weak == "i64" and dtype != "bool")


def _mismatch(
    what: str, then: _Branch, other: str, otherwise: _Branch
) -> errors.BranchMismatchError:
    return errors.BranchMismatchError(
        f"the branches of a traced conditional differ: {what} in the {then.label} branch"
        f" ({then.loc}) but {other} in the {otherwise.label} branch ({otherwise.loc}); make both"
        " the same, with .astype, np.reshape or np.broadcast_to",
        user_loc(),
    )


def _emit_cond(
    predicate: Value,
    then: _Branch,
    otherwise: _Branch,
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
    from graphc.ir import has_effect

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
    first, second = _trace_branches(
        locs, *(_restoring(branch, watched, is_return) for branch in (then, otherwise))
    )
    if first.structure != second.structure:
        raise _mismatch(f"the result is {_outline(first)}", first, _outline(second), second)
    return tree.unflatten(first.structure, _merge(pred, first, second))


def _restoring(
    branch: Callable[[], Any], watched: mutations.Watched, is_return: bool
) -> Callable[[], Any]:
    """`branch`, after which every container holds what it held before.

    One that nobody can see after a return may have changed.
    """

    def run() -> Any:
        result = _own(branch())
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


def _outline(branch: _Branch) -> str:
    """A branch's result in words short enough for a message."""
    types = iter(str(v.type) if v is not None else "nothing" for v in branch.values)
    return repr(tree.unflatten(branch.structure, [_Shown(t) for t in types]))


class _Shown(str):
    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


# ---- the hooks -----------------------------------------------------------------------------------


def if_expression(
    test: Any, then: Callable[[], Any], otherwise: Callable[[], Any], loc: BranchLocs
) -> Any:
    """`then() if test else otherwise()`"""
    if not isinstance(test, Tracer):
        return then() if test else otherwise()
    return choose(test, then, otherwise, loc)


def if_return(
    test: Any,
    then: Callable[[], Any],
    otherwise: Callable[[], Any],
    get_state: Callable[[], tuple[Any, ...]],
    set_state: Callable[[tuple[Any, ...]], None],
    names: tuple[str, ...],
    loc: BranchLocs,
    globals_assigned: tuple[str, ...] = (),
) -> Any:
    """An `if` that returns: the branches give the value of the whole function."""
    if not isinstance(test, Tracer):
        return then() if test else otherwise()
    _refuse_globals(globals_assigned, loc)
    before = get_state()

    def second() -> Any:
        set_state(before)
        return otherwise()

    return choose(test, then, second, loc, is_return=True)


def if_statement(
    test: Any,
    then: Callable[[], None],
    otherwise: Callable[[], None],
    get_state: Callable[[], tuple[Any, ...]],
    set_state: Callable[[tuple[Any, ...]], None],
    names: tuple[str, ...],
    loc: BranchLocs,
    globals_assigned: tuple[str, ...] = (),
) -> None:
    """An `if` whose branches assign `names`."""
    if not isinstance(test, Tracer):
        (then if test else otherwise)()
        return
    _refuse_globals(globals_assigned, loc)
    watched = mutations.Watched(mutations.visible())
    before = get_state()

    def run(branch: Callable[[], None]) -> dict[_Name, Any]:
        set_state(before)
        branch()
        after = zip(names, get_state(), before, strict=True)
        assigned = {name: new for name, new, old in after if new is not old}
        result: dict[_Name, Any] = _own({**assigned, **watched.changes(UNDEFINED)})
        watched.restore()
        return result

    final = _merge_state(test, run, (then, otherwise), (names, before), watched, loc)
    set_state(tuple(final[name] for name in names))
    watched.put({k: v for k, v in final.items() if isinstance(k, mutations.Entry)}, UNDEFINED)


def _own(values: Any) -> Any:
    """A copy of what a branch gives, which restoring a container does not change."""
    return tree.map_leaves(lambda leaf: leaf, values)


def _refuse_globals(names: tuple[str, ...], loc: BranchLocs) -> None:
    if names:
        raise errors.UnsupportedSyntaxError(
            f"a branch of a traced conditional assigns the global {names[0]!r}, which would happen"
            " in both branches; return the value and assign it outside",
            loc.test,
        )


_Name = str | mutations.Entry


def _merge_state(
    test: Tracer,
    run: Callable[[Callable[[], None]], dict[_Name, Any]],
    branches: tuple[Callable[[], None], Callable[[], None]],
    state: tuple[tuple[str, ...], tuple[Any, ...]],
    watched: mutations.Watched,
    loc: BranchLocs,
) -> dict[_Name, Any]:
    """What the names of `state`, and the containers' entries, hold after the conditional."""
    pred = truth(test)
    old: dict[_Name, Any] = dict(zip(*state, strict=True))
    changed: list[dict[_Name, Any]] = []

    def results(branch: Callable[[], None]) -> dict[_Name, Any]:
        changed.append({})
        changed[-1] = run(branch)
        return {k: v for k, v in changed[-1].items() if v is not UNDEFINED}

    thunks = [lambda branch=branch: results(branch) for branch in branches]
    first, second = _trace_branches(loc, *thunks)
    entries = [k for side in changed for k in side if isinstance(k, mutations.Entry)]
    old.update({entry: watched.before(entry, UNDEFINED) for entry in entries})
    for branch, side in ((first, changed[1]), (second, changed[0])):
        if branch.raised is not None:  # the names are as the other branch leaves them
            survivor = second if branch is first else first
            merged = tree.unflatten(survivor.structure, _merge(pred, first, second))
            return {**old, **side, **merged}
    usable = {}
    final = dict(old)
    for name in old:
        if name not in changed[0] and name not in changed[1]:
            continue
        sides = [side.get(name, old[name]) for side in changed]
        problem = _problem(name, sides, (first, second))
        if problem is None:
            usable[name] = sides
        elif all(side is UNDEFINED for side in sides):
            final[name] = UNDEFINED
        elif isinstance(name, mutations.Entry) and name.kind in ("list", "set"):
            raise problem
        else:
            final[name] = Unusable(problem)
    _restrict(first, {name: sides[0] for name, sides in usable.items()})
    _restrict(second, {name: sides[1] for name, sides in usable.items()})
    final.update(tree.unflatten(first.structure, _merge(pred, first, second)))
    return final


def _problem(
    name: _Name, sides: list[Any], branches: tuple[_Branch, _Branch]
) -> errors.GraphcError | None:
    """Why `name` has no common value after the conditional, or None where it has."""
    for side, branch, other in zip(sides, branches, reversed(branches), strict=True):
        if side is UNDEFINED:
            return errors.OneSidedNameError(
                f"{name!r} is defined only in the {other.label} branch ({other.loc}) of a traced"
                f" conditional, not in the {branch.label} branch ({branch.loc}), and used later;"
                f" give it a value in both, or before the conditional",
                user_loc(),
            )
        if isinstance(side, Unusable):
            return side.error  # type: ignore[no-any-return]
    structures = [tree.flatten(side)[1] for side in sides]
    if structures[0] != structures[1]:
        return _mismatch(
            f"{name!r} is {_describe(sides[0])}", branches[0], _describe(sides[1]), branches[1]
        )
    return None


def _describe(value: Any) -> str:
    return repr(tree.map_leaves(lambda leaf: _Shown(lift(leaf).type), value))


def _restrict(branch: _Branch, values: dict[_Name, Any]) -> None:
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


_Row = tuple[Value | None, bool, weakref.ref[Storage] | None]


def _given(branch: _Branch, i: int) -> _Row:
    return branch.values[i], branch.weak[i], branch.aliases[i]


def _unchanged(leaf: Any, branch: _Branch) -> _Row:
    """A value from before the conditional that the branch did not rebind (but may have written)."""
    if not isinstance(leaf, Tracer):
        with reenter(branch.scope):
            x = lift(leaf)
            return x.value(), x.weak, None
    value = _held(branch, leaf.storage)
    for view in leaf.views:
        value = view.get(value)
    return value, leaf.weak, _outer_alias(leaf, branch.scope)


def and_(first: Any, *rest: Any, loc: BranchLocs) -> Any:
    """`first and rest[0]() and ...`"""
    if not rest:
        return first

    def further() -> Any:
        return and_(rest[0](), *rest[1:], loc=loc)

    if isinstance(first, Tracer):
        return choose(first, further, lambda: first, loc)
    return further() if first else first


def or_(first: Any, *rest: Any, loc: BranchLocs) -> Any:
    """`first or rest[0]() or ...`"""
    if not rest:
        return first

    def further() -> Any:
        return or_(rest[0](), *rest[1:], loc=loc)

    if isinstance(first, Tracer):
        return choose(first, lambda: first, further, loc)
    return first or further()


def not_(value: Any, loc: Loc) -> Any:
    """`not value`"""
    if not isinstance(value, Tracer):
        return not value
    result: Value = ew.logical_not(truth(value))
    return Tracer(Storage(result.atom, current(), mutable=False), ())


# ---- calls ---------------------------------------------------------------------------------------


def _library_folders() -> tuple[str, ...]:
    paths = {sysconfig.get_paths()[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths.update(site.getsitepackages())
    paths.add(os.path.dirname(np.__file__))
    return tuple(os.path.join(os.path.abspath(path), "") for path in paths)


_LIBRARIES = _library_folders()


def is_user_code(code: types.CodeType) -> bool:
    """Whether a function is the user's own: not graphc's, not an installed library's."""
    from graphc.trace.scope import shown_file

    path = os.path.abspath(code.co_filename)
    return not path.startswith(_LIBRARIES) and shown_file(code.co_filename) is not None


def call(function: Any, loc: Loc | None = None) -> Any:
    """What to call in place of `function`: of the user's own functions, the converted form."""
    if not is_tracing():
        return function
    from graphc.trace import calls

    return calls.stand_in(function) or converted(function)


def converted(function: Any, required: bool = False) -> Any:
    """`function` with its conditionals turned into calls of this module."""
    if isinstance(function, types.MethodType):
        return types.MethodType(converted(function.__func__, required), function.__self__)
    if isinstance(function, functools.partial):
        inner = converted(function.func, required)
        return functools.partial(inner, *function.args, **function.keywords)
    if isinstance(function, types.FunctionType):
        if not is_user_code(function.__code__):
            return function
        return syntax.convert(function, _HOOKS, required=required)
    method = getattr(type(function), "__call__", None)  # noqa: B004 - its code is wanted
    if isinstance(method, types.FunctionType) and is_user_code(method.__code__):
        return types.MethodType(converted(method, required), function)
    return function


def indexed(value: Any) -> Any:
    """What to index in place of `value`: an ordinary array may meet a traced index."""
    return _Table(value) if type(value) is np.ndarray and is_tracing() else value


class _Table:
    """An ordinary array for the time of one subscript."""

    def __init__(self, array: np.ndarray):
        self.array = array

    def __getitem__(self, index: Any) -> Any:
        return (lift(self.array) if holds_tracer((index,)) else self.array)[index]


class _Hooks:
    """The functions of this module that converted source calls."""

    UNDEFINED = UNDEFINED
    if_statement = staticmethod(if_statement)
    if_return = staticmethod(if_return)
    if_expression = staticmethod(if_expression)
    and_ = staticmethod(and_)
    or_ = staticmethod(or_)
    not_ = staticmethod(not_)
    test = staticmethod(test)
    call = staticmethod(call)
    indexed = staticmethod(indexed)


_HOOKS = _Hooks()
