"""Conditionals while tracing: what `syntax.convert` turns `if`, `and`, `or`, `not` into.

On an ordinary Python value each of these functions does what the statement would have done.  On a
traced value both branches are traced, each into a closed graph, and become one `cond` equation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc import errors
from graphc.build import Value
from graphc.ir import Lit, Loc
from graphc.ops import elementwise as ew
from graphc.trace import maybe, mutations, objects, syntax, tree
from graphc.trace.branches import (
    UNDEFINED,
    Branch,
    Unusable,
    choose,
    own,
    settled,
    trace_branches,
    truth,
)
from graphc.trace.maybe import Maybe
from graphc.trace.merging import (
    Shown,
    merge_branches,
    mismatch,
    restrict,
    with_traced_bools,
    zeros_like,
)
from graphc.trace.parking import State
from graphc.trace.scope import (
    Storage,
    current,
    reenter,
    user_loc,
)
from graphc.trace.syntax import BranchLocs
from graphc.trace.tracer import Tracer, lift, wrap


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
    watched = mutations.Watched(mutations.visible())
    outside = set(map(id, mutations.Watched(mutations.visible_outside()).containers))
    before = State(get_state())
    held: list[Any] = []

    def run(branch: Callable[[], Any]) -> dict[_Name, Any]:
        set_state(before.values())
        value = branch()
        held.append(value if watched.holds(value) else None)
        watched.expect_arrays_unchanged()
        watched.expect_globals_unchanged()
        changes = watched.changes(UNDEFINED).items()
        seen = {e: v for e, v in changes if id(watched.containers[e.container]) in outside}
        given: dict[Any, Any] = {RESULT: None if held[-1] is not None else value, **seen}
        result: dict[_Name, Any] = own(objects.opened(given, watched.containers))
        watched.restore()
        return result

    nothing = State((UNDEFINED,))
    kept: list[dict[_Name, Any]] = [{}, {}]
    final = _merge_state(test, run, (then, otherwise), (RESULT,), nothing, kept, watched, loc)
    watched.put({k: v for k, v in final.items() if isinstance(k, mutations.Entry)}, UNDEFINED)
    if any(value is not None for value in held):
        return _one_object(held, loc)
    result = final[RESULT]
    if isinstance(result, Unusable):
        raise result.error
    return result


def _one_object(held: list[Any], loc: BranchLocs) -> Any:
    """The object that both branches return."""
    if held[0] is held[-1]:
        return held[0]
    kinds = {type(value).__name__ for value in held if value is not None}
    raise errors.BranchMismatchError(
        f"a branch of a traced conditional returns an object ({', '.join(sorted(kinds))}) that the"
        " other does not return, and which of the two it is cannot depend on data; return arrays,"
        " or the same object from both",
        loc.test,
    )


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
    before = State(get_state())

    kept: list[dict[_Name, Any]] = []

    def run(branch: Callable[[], None]) -> dict[_Name, Any]:
        set_state(before.values())
        branch()
        watched.expect_arrays_unchanged()
        watched.expect_globals_unchanged()
        after = get_state()
        rows = zip(names, after, before.changed(after), strict=True)
        assigned = maybe.left_by_branch({name: new for name, new, changed in rows if changed})
        assigned = {name: settled(new) for name, new in assigned.items()}
        kept.append(_written(names, before, after))
        given: dict[Any, Any] = {**assigned, **watched.changes(UNDEFINED)}
        result: dict[_Name, Any] = own(objects.opened(given, watched.containers))
        watched.restore()
        return result

    final = _merge_state(test, run, (then, otherwise), names, before, kept, watched, loc)
    set_state(tuple(final[name] for name in names))
    watched.put({k: v for k, v in final.items() if isinstance(k, mutations.Entry)}, UNDEFINED)


def _written(names: tuple[str, ...], before: State, after: tuple[Any, ...]) -> dict[_Name, Any]:
    """What the variables that a branch did not rebind hold, where it assigned into their arrays.

    It counts if the other branch rebinds them, and nobody else holds the array.
    """
    scope = current()
    rows = zip(names, before.arrays(), after, strict=True)
    return {
        name: wrap(value.value())
        for name, array, value in rows
        if array is not None
        and array in scope.written
        and isinstance(value, Tracer)
        and value.storage is array
    }


def _refuse_globals(names: tuple[str, ...], loc: BranchLocs) -> None:
    if names:
        raise errors.UnsupportedSyntaxError(
            f"a branch of a traced conditional assigns the global {names[0]!r}, which would happen"
            " in both branches; return the value and assign it outside",
            loc.test,
        )


_Name = str | mutations.Entry

RESULT = "the result"
"""What the branches of an `if` that returns give, under a name that no variable has."""


def _merge_state(
    test: Tracer,
    run: Callable[[Callable[[], None]], dict[_Name, Any]],
    branches: tuple[Callable[[], None], Callable[[], None]],
    names: tuple[str, ...],
    before: State,
    kept: list[dict[_Name, Any]],
    watched: mutations.Watched,
    loc: BranchLocs,
) -> dict[_Name, Any]:
    """What the names, and the containers' entries, hold after the conditional."""
    pred = truth(test)
    changed: list[dict[_Name, Any]] = []

    def results(branch: Callable[[], None]) -> dict[_Name, Any]:
        changed.append({})
        changed[-1] = run(branch)
        return {k: v for k, v in changed[-1].items() if v is not UNDEFINED}

    thunks = [lambda branch=branch: results(branch) for branch in branches]
    first, second = trace_branches(loc, *thunks)
    gone = {n for n, array in zip(names, before.arrays(), strict=True) if array is None}
    old: dict[_Name, Any] = dict(zip(names, before.values(), strict=True))
    entries = [k for side in changed for k in side if isinstance(k, mutations.Entry)]
    old.update({entry: watched.before(entry, UNDEFINED) for entry in entries})
    for branch, side in ((first, changed[1]), (second, changed[0])):
        if branch.raised is not None:  # the names are as the other branch leaves them
            survivor = second if branch is first else first
            merged = tree.unflatten(survivor.structure, merge_branches(pred, first, second))
            return _finished({**old, **side, **merged}, loc)
    usable = {}
    final = dict(old)
    returned = [_has_returned(side) for side in changed]
    for name in old:
        if name not in changed[0] and name not in changed[1]:
            continue
        left = kept if name in gone else ({}, {})
        sides = [
            side.get(name, rest.get(name, old[name]))
            for side, rest in zip(changed, left, strict=True)
        ]
        sides = _filled(name, sides, returned, (first, second))
        sides = _with_flags(name, sides, (first, second))
        sides = with_traced_bools(sides, (first, second))
        problem = _problem(name, sides, (first, second))
        if problem is None:
            usable[name] = sides
        elif all(side is UNDEFINED for side in sides):
            final[name] = UNDEFINED
        elif isinstance(name, mutations.Entry) and name.kind in ("list", "set", "deque"):
            raise problem
        else:
            final[name] = Unusable(problem)
    restrict(first, {name: sides[0] for name, sides in usable.items()})
    restrict(second, {name: sides[1] for name, sides in usable.items()})
    final.update(tree.unflatten(first.structure, merge_branches(pred, first, second)))
    return _finished(final, loc)


def _finished(final: dict[_Name, Any], loc: BranchLocs) -> dict[_Name, Any]:
    """The values as the program sees them: objects whole, doubtful variables with their checks."""
    return {
        name: objects.closed(maybe.with_checks(name, value, loc.test))
        for name, value in final.items()
    }


def _with_flags(name: _Name, sides: list[Any], branches: tuple[Branch, Branch]) -> list[Any]:
    """The values of a variable that not every path gives one, each with whether it was given."""
    if not isinstance(name, str) or name == RESULT:
        return sides
    sides = [maybe.in_doubt(side) for side in sides]
    if not any(isinstance(side, Maybe) or side is UNDEFINED for side in sides):
        return sides
    sides = [_traced_bool(side, branch) for side, branch in zip(sides, branches, strict=True)]
    known = [side.value if isinstance(side, Maybe) else side for side in sides]
    given = [value for value in known if value is not UNDEFINED]
    if not given or any(isinstance(value, Unusable) for value in known):
        return sides
    if tree.flatten(given[0])[0] and maybe.agree(given[0], given[-1]):
        pairs = zip(sides, branches, strict=True)
        return [_with_flag(side, given[0], branch) for side, branch in pairs]
    if all(isinstance(side, Maybe) for side in sides):
        return [UNDEFINED, known[1]]
    return [UNDEFINED if isinstance(side, Maybe) else side for side in sides]


def _traced_bool(side: Any, branch: Branch) -> Any:
    if type(side) is not bool:
        return side
    with reenter(branch.scope):
        return lift(side)


def _with_flag(side: Any, like: Any, branch: Branch) -> Maybe:
    if isinstance(side, Maybe):
        return side
    with reenter(branch.scope):
        flag = lift(side is not UNDEFINED)
    return Maybe(_zeros(like, branch) if side is UNDEFINED else side, flag)


def _filled(
    name: _Name, sides: list[Any], returned: list[bool], branches: tuple[Branch, Branch]
) -> list[Any]:
    """The values of a name, and zeros in place of one that is missing and nobody reads.

    That is what a `return` gave, in the branch that does not return: a flag says whether it was
    reached.  And it is a variable in the branch that is sure to have returned.
    """
    if not isinstance(name, str) or sum(side is UNDEFINED for side in sides) != 1:
        return sides
    missing = next(i for i, side in enumerate(sides) if side is UNDEFINED)
    given = sides[1 - missing]
    is_behind = returned[missing] and not returned[1 - missing]
    if isinstance(given, Unusable) or not (is_behind or syntax.is_exit_value(name)):
        return sides
    filled = _zeros(given, branches[missing])
    return [filled if i == missing else side for i, side in enumerate(sides)]


def _has_returned(side: dict[_Name, Any]) -> bool:
    """Whether a branch is sure to have reached a `return`: then nobody reads what it leaves."""
    flags = (value for name, value in side.items() if syntax.is_exit_flag(name))
    return any(_is_true(flag) for flag in flags)


def _is_true(flag: Any) -> bool:
    if isinstance(flag, Tracer):
        return isinstance(flag.storage.atom, Lit) and bool(flag.storage.atom.value)
    return flag is True


def _zeros(value: Any, branch: Branch) -> Any:
    with reenter(branch.scope):
        return tree.map_leaves(zeros_like, value)


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
        first, second = map(_describe, sides)
        shown = RESULT if name == RESULT else repr(name)
        return mismatch(f"{shown} is {first}", branches[0], second, branches[1])
    if isinstance(name, str) and name != RESULT and not maybe.agree(*sides):
        first, second = map(_describe, sides)
        return mismatch(f"{name!r} is {first}", branches[0], second, branches[1])
    return None


def _describe(value: Any) -> str:
    return repr(tree.map_leaves(lambda leaf: Shown(lift(leaf).type), value))


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
