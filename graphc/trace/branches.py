"""Tracing the branches of a conditional.

Each branch is traced into a closed graph.  What it assigned, also inside of arrays and containers,
is undone before the next one is traced, and given by the conditional afterwards.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from graphc import errors
from graphc.build import Value, zero_of
from graphc.ir import Loc, Type
from graphc.ops import index as index_ops
from graphc.ops import shape as shape_ops
from graphc.trace import mutations, objects, tree
from graphc.trace.maybe import Given
from graphc.trace.merging import (
    Shown,
    align_bools,
    merge_branches,
    mismatch,
    outer_arrays,
)
from graphc.trace.promotion import cast_to
from graphc.trace.scope import (
    Aliases,
    Scope,
    Storage,
    open_scope,
    raised_at,
    user_loc,
)
from graphc.trace.syntax import BranchLocs
from graphc.trace.tracer import Tracer, lift

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


def settled(value: Any) -> Any:
    """What a branch or an iteration leaves in a name: `value`, if it is sure to have one."""
    for leaf in tree.flatten(value)[0]:
        if isinstance(leaf, Tracer) and isinstance(leaf.storage.unless, Given):
            return Unusable(_one_sided(leaf.storage.unless.name))
        if isinstance(leaf, Tracer) and leaf.storage.unless is not None:
            return Unusable(
                errors.UnboundNameError(
                    "this variable is assigned only in a loop that may run no iteration, inside of"
                    " a branch or another loop; give it a value before them",
                    user_loc(),
                )
            )
    return value


def _one_sided(name: str) -> errors.OneSidedNameError:
    return errors.OneSidedNameError(
        f"{name!r} is given a value only in some branches of traced conditionals, inside of a loop"
        " or under another name, and used later; give it a value before them",
        user_loc(),
    )


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
    aliases: list[Aliases]
    writes: MutableMapping[Storage, Value]
    raised: Exception | None = None


def trace_branches(
    locs: BranchLocs | None, then: Callable[[], Any], otherwise: Callable[[], Any]
) -> tuple[Branch, Branch]:
    """Both branches; one that raises gives what the other gives, which nobody will see."""
    first = _trace_branch("then", locs.then if locs else user_loc(), then)
    second = _trace_branch("else", locs.otherwise if locs else user_loc(), otherwise)
    if first.raised is not None and second.raised is not None:
        raise first.raised
    raised = first.raised or second.raised
    if raised is not None and locs is not None and locs.is_tried:
        raise errors.UnsupportedSyntaxError(
            f"a branch of a traced conditional raises {type(raised).__name__} inside of a `try`: a"
            " handler does not see what a step raises when it runs; choose with an `if` instead",
            locs.test,
        ) from raised
    for branch, other in ((first, second), (second, first)):
        if branch.raised is not None:
            _give_as(branch, other)
    return first, second


def _give_as(branch: Branch, other: Branch) -> None:
    """Make `branch`, which raised, give zeros of the types that `other` gives."""
    branch.leaves, branch.structure, branch.weak = other.leaves, other.structure, other.weak
    branch.aliases = [()] * len(other.leaves)
    branch.values = [
        None if value is None else branch.scope.builder.literal(zero_of(value.dtype), value.type)
        for value in other.values
    ]


def _failing_branch(label: str, loc: Loc | None, scope: Scope, error: Exception) -> Branch:
    """A branch that raises: what it did before, and then a check that fails."""
    names = (cls.__name__ for cls in type(error).__mro__ if cls.__module__ == "builtins")
    kind = next(names)
    where = raised_at(error)
    message = _message(error).removeprefix(f"{where}: ")
    if not isinstance(error, errors.GraphcError) and kind in ("Exception", "NotImplementedError"):
        kind, message = "RuntimeError", f"{type(error).__name__}: {message}"
    if kind not in index_ops.CHECK_ERRORS:
        raise errors.UnsupportedSyntaxError(
            f"the {label} branch ({loc}) of a traced conditional raises {type(error).__name__}:"
            f" {error}; a compiled step can raise {', '.join(index_ops.CHECK_ERRORS)}",
            where,
        ) from error
    builder = scope.builder
    builder.loc = where
    index_ops.check(
        builder.literal(False, Type("bool")),
        builder.literal(0, Type("i64")),
        error=kind,
        message=message,
    )
    writes = weakref.WeakKeyDictionary(scope.undo_writes())
    return Branch(label, loc, scope, [], tree.LEAF, [], [], [], writes, error)


def _message(error: Exception) -> str:
    from graphc.trace import texts  # here, because texts reads this module

    known = error.args[:1] and error.args[0]
    return texts.describe(known) if isinstance(known, texts.TracedText) else str(error)


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
        [outer_arrays(x, scope) for x in lifted],
        weakref.WeakKeyDictionary(scope.undo_writes()),
    )


def choose(
    predicate: Tracer,
    then: Callable[[], Any],
    otherwise: Callable[[], Any],
    locs: BranchLocs | None = None,
) -> Any:
    """`then() if predicate else otherwise()` as one `cond` equation; both give trees of arrays."""
    pred = truth(predicate)
    watched = mutations.Watched(mutations.visible())
    first, second = trace_branches(
        locs, *(_restoring(branch, watched) for branch in (then, otherwise))
    )
    align_bools(first, second)
    if first.structure != second.structure:
        raise mismatch(f"the result is {_outline(first)}", first, _outline(second), second)
    merged = tree.unflatten(first.structure, merge_branches(pred, first, second))
    return objects.closed(merged)


def _restoring(branch: Callable[[], Any], watched: mutations.Watched) -> Callable[[], Any]:
    """`branch`, after which every container holds what it held before."""

    def run() -> Any:
        result = own(objects.opened(branch(), watched.containers))
        watched.expect_arrays_unchanged()
        watched.expect_globals_unchanged()
        changed = watched.changed()
        if changed:
            raise errors.UnsupportedSyntaxError(
                f"a branch of a traced conditional changes a {type(changed[0]).__name__} that was"
                " made before it, which would happen whether or not it is taken; change it in an"
                " `if` statement",
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
