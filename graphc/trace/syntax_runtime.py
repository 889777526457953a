"""What converted functions call: a thin layer between the generated code and the hooks.

A converted function holds one extra closure cell, `__graphc__`, with the `Runtime` of its code.
Everything about a place in the source that is known when it is converted is in `Runtime.sites`,
so that the generated call needs only a number.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from graphc.ir import Loc

RUNTIME = "__graphc__"
BRANCH = "__graphc_branch__"
"""A parameter by which the lambdas of the conversion are told apart from the user's."""

SYNTHETIC = ".<branch>"
"""How the qualified name of a function that the conversion made ends; its name is the user's."""

Branch = Callable[[], Any]


class BranchLocs(NamedTuple):
    """Where a conditional stands: its test, and the first lines of its two branches.

    Of `a and b` the branches are `b` and `a`, of `a or b` they are `a` and `b`.  `is_tried` where
    the function has a handler around it.
    """

    test: Loc
    then: Loc
    otherwise: Loc
    is_tried: bool = False

    def __str__(self) -> str:
        return str(self.test)


class Site(NamedTuple):
    """One converted place in the source.

    `names` are the variables that the branches assign, `local_names` all of the function's;
    `stops` are those that end a loop when they are true, `augmented` those that its body assigns by
    `+=` and its like alone.
    """

    loc: Any
    names: tuple[str, ...] = ()
    globals_assigned: tuple[str, ...] = ()
    why: str = ""
    stops: tuple[str, ...] = ()
    augmented: frozenset[str] = frozenset()
    local_names: frozenset[str] = frozenset()


class Runtime:
    """The hooks, with the sites of one function filled in."""

    def __init__(self, hooks: Any, sites: list[Site]):
        self.hooks = hooks
        self.sites = sites

    @property
    def undefined(self) -> Any:
        """What stands for the value of a variable that has none."""
        return self.hooks.UNDEFINED

    def conditional(
        self, hook: str, number: int, test: Any, then: Branch, otherwise: Branch, probe: Branch
    ) -> Any:
        """Call `if_statement` or `if_return`; `probe` reads the variables that change."""
        site = self.sites[number]
        get_state, set_state = state_of(probe, site.names, self.hooks.UNDEFINED)
        try:
            return getattr(self.hooks, hook)(
                test,
                then,
                otherwise,
                get_state,
                set_state,
                site.names,
                site.loc,
                globals_assigned=site.globals_assigned,
            )
        except NameError as error:
            if (local := as_local(error, site, probe)) is None:
                raise
            raise local from None

    def loop(
        self, hook: str, number: int, subject: Any, body: Callable[..., None], probe: Branch
    ) -> None:
        """Call `while_statement`, whose subject is its test, or `for_statement`."""
        site = self.sites[number]
        get_state, set_state = state_of(probe, site.names, self.hooks.UNDEFINED)
        try:
            getattr(self.hooks, hook)(subject, body, get_state, set_state, site)
        except NameError as error:
            if (local := as_local(error, site, probe)) is None:
                raise
            raise local from None

    def lazy(self, hook: str, number: int, first: Any, *rest: Branch) -> Any:
        """Call `if_expression`, `and_` or `or_`."""
        site = self.sites[number]
        try:
            return getattr(self.hooks, hook)(first, *rest, loc=site.loc)
        except NameError as error:
            if (local := as_local(error, site, rest[0])) is None:
                raise
            raise local from None

    def not_(self, value: Any, number: int) -> Any:
        return self.hooks.not_(value, self.sites[number].loc)

    def test(self, value: Any, number: int) -> Any:
        site = self.sites[number]
        return self.hooks.test(value, site.loc, site.why)

    def indexed(self, value: Any) -> Any:
        """What to index in place of `value`."""
        return self.hooks.indexed(value)

    def assigned(self, value: Any) -> Any:
        """What to assign to an element of in place of `value`."""
        return self.hooks.assigned(value)

    def contains(self, value: Any, container: Any) -> Any:
        """`value in container`"""
        return self.hooks.contains(value, container)

    def joined(self, *pieces: Any) -> Any:
        """An f-string."""
        return self.hooks.joined(pieces)

    def modulo(self, template: Any, values: Any) -> Any:
        return self.hooks.modulo(template, values)

    def asserted(self, value: Any, number: int, message: Branch | None) -> Any:
        """What an `assert` is to test."""
        site = self.sites[number]
        return self.hooks.asserted(value, message, site.loc, site.why)

    def caught(self) -> None:
        """What an `except` clause does first."""
        self.hooks.caught()

    def call(self, fn: Any, number: int) -> Any:
        return self.hooks.call(fn, self.sites[number].loc)

    def attribute(self, value: Any, name: str, number: int) -> Any:
        """`value.name`; the function of a property is called as any other."""
        holders = (vars(kind) for kind in type(value).__mro__)
        found = next((holder[name] for holder in holders if name in holder), None)
        if type(found) is property and isinstance(found.fget, types.FunctionType):
            return self.call(found.fget, number)(value)
        return getattr(value, name)

    @staticmethod
    def nothing() -> None:
        """The branch of an `if` without an `else`."""

    @staticmethod
    def visible(names: Any) -> Any:
        """`locals()`, `vars()` or `dir()` without the names that the conversion added."""
        if isinstance(names, dict):
            return {name: value for name, value in names.items() if not is_added(name)}
        return [name for name in names if not is_added(name)]


def is_added(name: str) -> bool:
    return name.startswith(RUNTIME.rstrip("_")) and name.endswith("__")


def is_exit_value(name: object) -> bool:
    """Whether a variable of the conversion holds what a `return` gives, where it was reached."""
    return isinstance(name, str) and name.startswith("__graphc_value_")


def is_exit_flag(name: object) -> bool:
    """Whether a variable of the conversion says that a `return` was reached."""
    return isinstance(name, str) and name.startswith("__graphc_returned_")


# ---- variables -----------------------------------------------------------------------------------


def state_of(
    probe: Branch, names: tuple[str, ...], undefined: Any
) -> tuple[Callable[[], tuple[Any, ...]], Callable[[Iterable[Any]], None]]:
    """Functions that read and set the variables `names`, which the function `probe` reads.

    The variables are shared with it through its closure, so that no code needs to be generated.
    """
    shared = dict(zip(probe.__code__.co_freevars, probe.__closure__ or (), strict=True))
    cells = [shared[name] for name in names]

    def get_state() -> tuple[Any, ...]:
        return tuple(_read(cell, undefined) for cell in cells)

    def set_state(values: Iterable[Any]) -> None:
        for cell, value in zip(cells, values, strict=True):
            _write(cell, value, undefined)

    return get_state, set_state


def _read(cell: types.CellType, undefined: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return undefined


def _write(cell: types.CellType, value: Any, undefined: Any) -> None:
    if value is not undefined:
        cell.cell_contents = value
    elif _read(cell, undefined) is not undefined:
        del cell.cell_contents


# ---- errors --------------------------------------------------------------------------------------


def is_synthetic(code: types.CodeType) -> bool:
    """Whether the conversion made this function: a branch of one of the user's functions."""
    return code.co_qualname.endswith(SYNTHETIC)


def as_local(error: NameError, site: Site, branch: Branch) -> UnboundLocalError | None:
    """What `error` would have been in the function as it was written, where that differs.

    An unbound variable of the user's function is, to a branch that became a function, one of the
    scope around it; Python then raises a NameError where it raised an UnboundLocalError.
    `branch` is one of the branches of `site`.
    """
    name = error.name
    if type(error) is not NameError or name not in site.local_names:
        return None
    raised_by = _innermost_code(error)
    if raised_by is None or raised_by.co_qualname != branch.__code__.co_qualname:
        return None  # some other function has reason to say what it said
    if raised_by.co_qualname.endswith(_OF_COMPREHENSION) or name not in raised_by.co_freevars:
        return None
    local = UnboundLocalError(
        f"cannot access local variable '{name}' where it is not associated with a value", name=name
    )
    return local.with_traceback(error.__traceback__ and error.__traceback__.tb_next)


_OF_COMPREHENSION = tuple(
    f".<{kind}>{SYNTHETIC}" for kind in ("genexpr", "listcomp", "setcomp", "dictcomp")
)
"""To a comprehension that is compiled to a function, the variables around it are not local."""


def _innermost_code(error: BaseException) -> types.CodeType | None:
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback.tb_frame.f_code if traceback is not None else None
