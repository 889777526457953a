"""Variables that only some paths through conditionals assign.

Such a variable has a value, zeros where no branch gave one, and a flag that says whether one did.
Reading it checks the flag when the step runs, and fails as Python does.  Where it leaves another
conditional, the flag goes along: `if a: s = 1` and `elif b: s = 2` give `s` and `a or b`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from graphc.ir import Lit, Loc, Type
from graphc.ops import index as index_ops
from graphc.trace import tree
from graphc.trace.promotion import holds_number
from graphc.trace.scope import Storage, current
from graphc.trace.tracer import Tracer, lift


@dataclass(frozen=True)
class Maybe:
    """What a name holds, and whether it was given that: two parts of a branch's result."""

    value: Any
    given: Any


class Given:
    """What to do before a variable is read that may not have been given a value."""

    __slots__ = ("flag", "loc", "name", "storage")

    def __init__(self, flag: Tracer, name: str, loc: Loc | None, storage: Storage):
        self.flag = flag
        self.name = name
        self.loc = loc
        self.storage = storage

    def __call__(self) -> None:
        scope = current()
        ok = self.flag.value()
        index_ops.check(
            ok,
            scope.builder.literal(0, Type("i64")),
            error="UnboundLocalError",
            message=f"cannot access local variable {self.name!r}: the branch taken of the"
            f" conditional at {self.loc} gave it no value; give it one in both, or before",
        )
        if self.storage.scope is scope:
            self.storage.unless = None


def in_doubt(value: Any) -> Any:
    """`value` as a `Maybe` where it is one variable that may have no value; else itself."""
    leaves = tree.flatten(value)[0]
    if not all(isinstance(leaf, Tracer) for leaf in leaves):
        return value
    doubts = [leaf.storage.unless for leaf in leaves if leaf.storage.unless is not None]
    flags = {id(doubt.flag): doubt.flag for doubt in doubts if isinstance(doubt, Given)}
    if len(flags) != 1 or len(doubts) != len(leaves):
        return value
    if not all(isinstance(doubt, Given) for doubt in doubts):
        return value
    return Maybe(value, *flags.values())


def left_by_branch(names: dict[Any, Any]) -> dict[Any, Any]:
    """What a branch leaves in names: in place of a check on reading, the flag as a part."""
    scope = current()
    left = {name: in_doubt(value) for name, value in names.items()}
    for name, value in left.items():
        if not isinstance(value, Maybe):
            continue
        leaves = tree.flatten(value.value)[0]
        if all(leaf.storage.scope is scope for leaf in leaves):
            for leaf in leaves:
                leaf.storage.unless = None
        else:  # a variable from outside the branch under another name
            left[name] = names[name]
    return left


def agree(first: Any, second: Any) -> bool:
    """Whether two values are of one structure and type, so that a conditional may choose."""
    mine, structure = tree.flatten(first)
    theirs, other = tree.flatten(second)
    return structure == other and all(map(_agree, mine, theirs))


def _agree(a: Any, b: Any) -> bool:
    x, y = lift(a), lift(b)
    if x.shape != y.shape:
        return False
    if x.dtype_name == y.dtype_name or (x.weak and y.weak):
        return True
    if x.weak:
        return holds_number(y.dtype_name, x.dtype_name)
    return y.weak and holds_number(x.dtype_name, y.dtype_name)


def with_checks(name: Any, value: Any, loc: Loc | None) -> Any:
    """`value`; in place of a `Maybe` its value, which checks the flag before it is read."""
    if not isinstance(value, Maybe):
        return value
    flag = value.given
    if isinstance(flag.storage.atom, Lit) and flag.storage.atom.value:
        return value.value
    for leaf in tree.flatten(value.value)[0]:
        leaf.storage.unless = Given(flag, str(name), loc, leaf.storage)
    return value.value
