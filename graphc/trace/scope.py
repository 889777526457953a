"""Where traced equations go: the stack of open scopes, and the storage behind traced arrays.

A `Scope` is a graph under construction: the whole function, or one branch of a conditional.  Its
graph is closed: reading a value of an enclosing scope makes it an operand (`captures`).  A
`Storage` is what a NumPy array is: memory that several names and views share and that assignment
changes.  While a scope is open it journals the storages that it writes, so that a branch can be
traced and then undone.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from graphc import errors
from graphc.build import Builder, Value
from graphc.ir import Atom, Lit, Loc, Type, Var
from graphc.questions import Question
from graphc.trace.user_code import SHOWN, is_users_file
from graphc.trace.user_code import shown_file as shown_file


@dataclass(frozen=True)
class Specialisation:
    """An argument whose value the trace needed, so that the compiled step holds for it alone."""

    argument: str
    value: Any
    cause: str
    loc: Loc | None

    def __str__(self) -> str:
        return f"{self.argument} = {self.value!r}: {self.cause} at {self.loc}"


@dataclass(frozen=True)
class LoopNote:
    """What became of a loop, or of control flow that `vmap` applies to a batch, and why.

    `form` is "unrolled", "scan" or "while"; under `vmap` also "selected" or "one by one".
    """

    loc: Loc
    form: str
    reason: str

    def __str__(self) -> str:
        return f"{self.loc}: {self.form} ({self.reason})"


@dataclass
class Session:
    """What is known of one trace as a whole."""

    specialisations: dict[int, Specialisation] = field(default_factory=dict)
    loops: dict[Loc, LoopNote] = field(default_factory=dict)
    loops_traced: dict[Any, Any] = field(default_factory=dict)
    """What loops carry: by `graphc.trace.loop_memory.Question`, what was `Found`."""
    loops_stopping: set[Any] = field(default_factory=set)
    """The same questions, of the loops that a traced value may end in their first iteration."""
    guards: dict[Question, Any] = field(default_factory=dict)
    """What was asked about symbolic sizes: `graphc.trace.sizes.Guard`s."""
    masks: dict[int, tuple[Any, Loc]] = field(default_factory=dict)
    """The ordinary arrays of truth values that were made, by identity, and their lines."""
    traced_masks: frozenset[Loc] = frozenset()
    """The lines whose arrays of truth values are traced: see `graphc.trace.masks`."""


Aliases = tuple["weakref.ref[Storage]", ...]
"""Arrays, any of which another may be."""


class Storage:
    """The memory of a traced array.  `atom` is what it holds now, an atom of `scope`.

    `aliases` are the arrays, any of which a conditional may have chosen to be this one: as long as
    one of them is alive, assignment to this one would have to change it, too.  The other way round,
    assignment to an alias makes this one `stale`: whether it changed is not known while tracing.
    Of a variable that only a loop assigns, `unless` is what to do before it is read: to check that
    the loop ran.  Of a row at a traced position, `home` is where it lies (see `rows`).
    """

    __slots__ = (
        "__weakref__",
        "aliases",
        "atom",
        "choices",
        "home",
        "mutable",
        "scope",
        "stale",
        "unless",
    )

    def __init__(
        self,
        atom: Atom,
        scope: Scope,
        mutable: bool,
        aliases: Aliases = (),
    ):
        self.atom = atom
        self.scope = scope
        self.mutable = mutable
        self.aliases = aliases
        self.choices: list[weakref.ref[Storage]] = []
        self.stale: Loc | None = None
        self.unless: Callable[[], None] | None = None
        self.home: Any = None
        for alias in aliases:
            if (array := alias()) is not None:
                array.choices.append(weakref.ref(self))

    def mark_choices_stale(self, loc: Loc | None) -> None:
        """This array is assigned to: what a conditional may have chosen it for is in doubt."""
        for choice in self.choices:
            if (array := choice()) is not None:
                array.stale = loc

    @property
    def is_ambiguous(self) -> bool:
        if all(alias() is None for alias in self.aliases):
            return False
        _refresh_snapshots()
        return any(alias() is not None for alias in self.aliases)

    @property
    def type(self) -> Type:
        return self.atom.type


class _UsersBuilder(Builder):
    """A builder at the user's line, which is looked up when something is emitted: a traced value is
    asked for much more often."""

    _line: Loc | None = None
    _is_known = True

    def forget_line(self) -> None:
        self._is_known = False

    @property
    def loc(self) -> Loc | None:
        if not self._is_known:
            self.loc = user_loc()
        return self._line

    @loc.setter
    def loc(self, line: Loc | None) -> None:
        self._line, self._is_known = line, True


class Scope:
    """One graph under construction, and what it reads of the scopes around it."""

    def __init__(self, name: str, session: Session, parent: Scope | None = None):
        self.builder = _UsersBuilder(name)
        self.session = session
        self.parent = parent
        self.captures: dict[Var, Value] = {}
        # Weakly: what was written into an array that no variable holds any more is of no interest.
        self.written: weakref.WeakKeyDictionary[Storage, tuple[Atom, Scope]] = (
            weakref.WeakKeyDictionary()
        )
        self.closed = False

    def read(self, storage: Storage) -> Value:
        """What `storage` holds, as a value of this scope."""
        return self.builder.value(self.resolve(storage.atom, storage.scope))

    def resolve(self, atom: Atom, owner: Scope) -> Atom:
        """`atom` of the scope `owner`, made an operand of this scope where it is another's."""
        if owner is self or isinstance(atom, Lit):
            return atom
        if atom in self.captures:
            return self.captures[atom].atom
        if self.parent is None or owner.closed:
            raise errors.LeakedValueError(
                "a traced value is used after the function or branch that made it has ended;"
                " return it from there instead of keeping it in a variable of another scope",
                user_loc(),
            )
        self.parent.resolve(atom, owner)
        self.captures[atom] = self.builder.param(atom.type, atom.hint)
        return self.captures[atom].atom

    def outer(self, var: Var) -> Atom:
        """What the parent scope calls `var`, which this scope captured."""
        assert self.parent is not None
        captures = self.parent.captures
        return captures[var].atom if var in captures else var

    def write(self, storage: Storage, value: Value) -> None:
        """Change what `storage` holds, remembering what it held when this scope began."""
        if storage.scope is not self:
            self.written.setdefault(storage, (storage.atom, storage.scope))
        storage.atom, storage.scope = value.atom, self
        storage.mark_choices_stale(self.builder.loc)

    def undo_writes(self) -> dict[Storage, Value]:
        """Restore every storage of an enclosing scope; what this scope had put there."""
        changed = {}
        for storage, (atom, owner) in list(self.written.items()):
            changed[storage] = self.builder.value(storage.atom)
            storage.atom, storage.scope = atom, owner
        return changed


class _Stack(threading.local):
    def __init__(self) -> None:
        self.scopes: list[Scope] = []


_stack = _Stack()
OPEN: list[None] = []
"""Global state: has an element for each scope that is open in some thread.  Where it is empty,
nobody traces, which is quicker to see than that this thread does not."""


def is_tracing() -> bool:
    """Whether a trace is under way in this thread."""
    return bool(_stack.scopes)


def current() -> Scope:
    """The innermost open scope, with its builder at the user's current line."""
    if not _stack.scopes:
        raise errors.LeakedValueError(
            "a traced value is used outside of the function that was traced;"
            " return it from the function instead",
            user_loc(),
        )
    scope = _stack.scopes[-1]
    scope.builder.forget_line()
    return scope


@contextmanager
def open_scope(name: str, session: Session | None = None) -> Iterator[Scope]:
    """A new innermost scope.  Without a session it belongs to the trace that is under way."""
    parent = None if session is not None else _stack.scopes[-1]
    if session is None:
        assert parent is not None
        session = parent.session
    scope = Scope(name, session, parent)
    _stack.scopes.append(scope)
    OPEN.append(None)
    try:
        yield scope
    finally:
        _stack.scopes.pop()
        OPEN.pop()
        scope.closed = True


@contextmanager
def reenter(scope: Scope) -> Iterator[Scope]:
    """A scope that has ended, open once more: to add what its results need."""
    _stack.scopes.append(scope)
    OPEN.append(None)
    was_closed, scope.closed = scope.closed, False
    try:
        yield scope
    finally:
        _stack.scopes.pop()
        OPEN.pop()
        scope.closed = was_closed


def _refresh_snapshots() -> None:
    """Make frames forget what their variables held when `f_locals` was last read.

    Up to Python 3.12 a frame keeps that dict, and with it arrays that no variable holds any more.
    """
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None:
        frame.f_locals  # noqa: B018 - reading it writes the variables into the dict anew
        frame = frame.f_back


# ---- the user's line -----------------------------------------------------------------------------


def at_user_line(error: errors.GraphcError) -> errors.GraphcError:
    """`error` with the user's line, and a traceback of the user's own functions alone."""
    kept = _user_traceback(error)
    if error.loc is None:
        error = type(error)(str(error), raised_at(error))
    elif isinstance(error.loc, Loc) and not is_users_file(error.loc.file):
        error = _where_called(error)
    return error.with_traceback(kept)


def _where_called(error: errors.GraphcError) -> errors.GraphcError:
    """An error in an installed package, at the user's line that called the package."""
    for traceback in reversed(_user_frames(error)):
        filename = traceback.tb_frame.f_code.co_filename
        if is_users_file(filename):
            loc = Loc(shown_file(filename) or filename, traceback.tb_lineno)
            return type(error)(f"in {error}", loc)
    return error


def hide_own_frames(error: BaseException) -> None:
    """Leave the user's own functions in a traceback, unless GRAPHC_DEBUG asks for all of it.

    For an `except` clause that ends in a bare `raise`, which adds no frame of its own.
    """
    if not os.environ.get("GRAPHC_DEBUG"):
        error.__traceback__ = _user_traceback(error)


F = TypeVar("F", bound=Callable[..., Any])


def with_user_frames(function: F) -> F:
    """`function` with tracebacks of the user's own functions alone."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            hide_own_frames(error)
            raise

    return cast(F, call)


def _user_traceback(error: BaseException) -> types.TracebackType | None:
    kept = None
    for frame in reversed(_user_frames(error)):
        kept = types.TracebackType(kept, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return kept


def raised_at(error: BaseException) -> Loc | None:
    """The user's line that raised an error, or called what did."""
    if isinstance(error, errors.GraphcError) and isinstance(error.loc, Loc):
        return error.loc
    frames = _user_frames(error)
    if not frames:
        return None
    shown = shown_file(frames[-1].tb_frame.f_code.co_filename)
    return Loc(shown or "", frames[-1].tb_lineno)


def _user_frames(error: BaseException) -> list[types.TracebackType]:
    """The frames of an error's traceback that are the user's, the innermost last."""
    frames: list[types.TracebackType] = []
    traceback: types.TracebackType | None = error.__traceback__
    while traceback is not None:
        if shown_file(traceback.tb_frame.f_code.co_filename) is not None:
            frames.append(traceback)
        traceback = traceback.tb_next
    return frames


def _is_own_text(frame: types.FrameType) -> bool:
    """Whether code that was made from a text is graphc's: the methods of its dataclasses are."""
    return str(frame.f_globals.get("__name__")).startswith("graphc.")


def user_loc() -> Loc | None:
    """The innermost line of the call stack that is not graphc's own."""
    frame: types.FrameType | None = sys._getframe(1)
    known = SHOWN  # looked up here: every equation asks, several times
    while frame is not None:
        filename = frame.f_code.co_filename
        shown = known[filename] if filename in known else shown_file(filename)
        if shown is not None and not (filename == "<string>" and _is_own_text(frame)):
            return Loc(shown, frame.f_lineno)
        frame = frame.f_back
    return None
