"""Conditionals while tracing: what `syntax.convert` turns `if`, `and`, `or`, `not` into.

On an ordinary Python value each of these functions does what the statement would have done.  On a
traced value both branches are traced, each into a closed graph, and become one `cond` equation.
"""

from __future__ import annotations

import functools
import types
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import errors
from graphc.build import Value
from graphc.ir import Loc
from graphc.ops import elementwise as ew
from graphc.trace import mutations, syntax, tree
from graphc.trace.branches import (
    UNDEFINED,
    Branch,
    Shown,
    Unusable,
    choose,
    held_value,
    merge_branches,
    mismatch,
    outer_alias,
    own,
    test,
    trace_branches,
    truth,
)
from graphc.trace.scope import (
    Storage,
    current,
    is_tracing,
    reenter,
    user_loc,
)
from graphc.trace.syntax import BranchLocs
from graphc.trace.tracer import Tracer, holds_tracer, lift
from graphc.trace.user_code import is_user_code

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
        watched.expect_arrays_unchanged()
        watched.expect_globals_unchanged()
        after = zip(names, get_state(), before, strict=True)
        assigned = {name: new for name, new, old in after if new is not old}
        result: dict[_Name, Any] = own({**assigned, **watched.changes(UNDEFINED)})
        watched.restore()
        return result

    final = _merge_state(test, run, (then, otherwise), (names, before), watched, loc)
    set_state(tuple(final[name] for name in names))
    watched.put({k: v for k, v in final.items() if isinstance(k, mutations.Entry)}, UNDEFINED)


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
    first, second = trace_branches(loc, *thunks)
    entries = [k for side in changed for k in side if isinstance(k, mutations.Entry)]
    old.update({entry: watched.before(entry, UNDEFINED) for entry in entries})
    for branch, side in ((first, changed[1]), (second, changed[0])):
        if branch.raised is not None:  # the names are as the other branch leaves them
            survivor = second if branch is first else first
            merged = tree.unflatten(survivor.structure, merge_branches(pred, first, second))
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
    final.update(tree.unflatten(first.structure, merge_branches(pred, first, second)))
    return final


def _problem(
    name: _Name, sides: list[Any], branches: tuple[Branch, Branch]
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
        return mismatch(
            f"{name!r} is {_describe(sides[0])}", branches[0], _describe(sides[1]), branches[1]
        )
    return None


def _describe(value: Any) -> str:
    return repr(tree.map_leaves(lambda leaf: Shown(lift(leaf).type), value))


def _restrict(branch: Branch, values: dict[_Name, Any]) -> None:
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


def _given(branch: Branch, i: int) -> _Row:
    return branch.values[i], branch.weak[i], branch.aliases[i]


def _unchanged(leaf: Any, branch: Branch) -> _Row:
    """A value from before the conditional that the branch did not rebind (but may have written)."""
    if not isinstance(leaf, Tracer):
        with reenter(branch.scope):
            x = lift(leaf)
            return x.value(), x.weak, None
    value = held_value(branch, leaf.storage)
    for view in leaf.views:
        value = view.get(value)
    return value, leaf.weak, outer_alias(leaf, branch.scope)


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
