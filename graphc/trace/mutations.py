"""Lists, dicts and objects that the branches of a conditional change.

Python changes them when a branch is traced, whether or not it will be taken.  `Watched` remembers
what the containers that a function can see held before, so that each branch starts from the same
contents and the conditional can decide which of the new ones stay.
"""

from __future__ import annotations

import itertools
import sys
import types
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc import errors
from graphc.trace import masks, watch
from graphc.trace.scope import shown_file, user_loc
from graphc.trace.syntax import is_synthetic
from graphc.trace.tracer import Tracer

Content = dict[Any, Any]
"""What a container holds, by position or name; a set's elements by themselves."""

LIMIT = 10_000
"""How many containers are looked at, and how many elements of an array: more is no state."""


@dataclass(frozen=True)
class Entry:
    """A place in a watched container: what a conditional merges as it merges a name."""

    container: int
    key: Any
    kind: str

    def __repr__(self) -> str:
        if self.kind == "variable":
            return str(self.key)
        return f"{self.kind}.{self.key}" if self.kind == "object" else f"{self.kind}[{self.key!r}]"


class Watched:
    """The containers that some values hold, and what these held when they were first seen."""

    def __init__(self, values: Iterable[Any]):
        found = list(_reachable(values))
        self.containers: list[Any] = [x for x in found if _is_container(x)]
        self.contents = [_content(container) for container in self.containers]
        arrays = [x for x in found if isinstance(x, np.ndarray)]
        self.arrays = [(x, x.copy()) for x in arrays if x.size <= LIMIT]
        self.fixed = [(x, state) for x in found if (state := watch.state_of(x)) is not None]
        self.globals = [(names, dict(names)) for names in _user_globals()]

    def expect_arrays_unchanged(self) -> None:
        """Ordinary arrays are constants of the graph: a branch may not change them."""
        self.expect_fixed_unchanged()
        for array, before in self.arrays:
            if array.tobytes() != before.tobytes():
                array[...] = before
                masks.restart_if_made_here(array)
                raise errors.UnsupportedSyntaxError(
                    f"a branch of a traced conditional changes an ordinary array of shape"
                    f" {array.shape}, which would happen whichever branch is taken; change a copy"
                    " that is made in the branch, and assign it to the name",
                    user_loc(),
                )

    def expect_fixed_unchanged(self) -> None:
        """Iterators and large arrays cannot be put back to what they were."""
        for value, before in self.fixed:
            if watch.state_of(value) != before:
                raise errors.UnrestorableError(
                    f"a branch or loop over traced values changes a {watch.named(value)} that was"
                    " made before it, which would happen while tracing, however often it runs;"
                    " change a copy that is made in it, or use it outside",
                    user_loc(),
                )

    def expect_globals_unchanged(self) -> None:
        """A function that the branch calls may not assign to a global variable either."""
        for names, before in self.globals:
            changed = [
                name
                for name, value in names.items()
                if not name.startswith("__") and before.get(name, names) is not value
            ]
            if changed:
                for name in changed:
                    if name in before:
                        names[name] = before[name]
                    else:
                        del names[name]
                raise errors.UnsupportedSyntaxError(
                    f"a branch of a traced conditional assigns to the global variable {changed[0]},"
                    " which would happen whichever branch is taken; return the value and assign it"
                    " outside",
                    user_loc(),
                )

    def holds(self, value: Any) -> bool:
        """Whether `value` is one of the objects, which may change but are no trees of arrays."""
        return any(value is x and _kind(x) == "object" for x in self.containers)

    def changed(self) -> list[Any]:
        """The containers that hold something else than at first."""
        return [container for container, _ in self._changed()]

    def restore(self) -> None:
        for container, before in self._changed():
            _fill(container, before)

    def _changed(self) -> list[tuple[Any, Content]]:
        pairs = zip(self.containers, self.contents, strict=True)
        return [pair for pair in pairs if not _is_same(_content(pair[0]), pair[1])]

    def changes(self, missing: Any) -> dict[Entry, Any]:
        """The entries that differ from those at first, `missing` for one that is gone."""
        found: dict[Entry, Any] = {}
        for i, (container, before) in enumerate(zip(self.containers, self.contents, strict=True)):
            now = _content(container)
            kind = _kind(container)
            for key in dict.fromkeys([*before, *now]):
                new = now.get(key, missing)
                if new is not before.get(key, missing):
                    found[Entry(i, key, kind)] = new
        return found

    def before(self, entry: Entry, missing: Any) -> Any:
        return self.contents[entry.container].get(entry.key, missing)

    def put(self, entries: dict[Entry, Any], missing: Any) -> None:
        """Store the entries, and take out those that are `missing`."""
        for i in {entry.container for entry in entries}:
            content = dict(self.contents[i])
            content.update({e.key: value for e, value in entries.items() if e.container == i})
            kept = {key: value for key, value in content.items() if value is not missing}
            _fill(self.containers[i], kept)


def visible() -> list[Any]:
    """The values of the variables of the user's innermost function, those of its branches too, and
    of the global ones that they read."""
    values: list[Any] = []
    for frame in _user_frames():
        values += frame.f_locals.values()
        names = watch.global_names(frame.f_code)
        values += [frame.f_globals[name] for name in names if name in frame.f_globals]
        if not is_synthetic(frame.f_code):
            break
    return values


def visible_outside() -> list[Any]:
    """The values of the variables of the traced functions that called the innermost one."""
    frames = itertools.dropwhile(lambda frame: is_synthetic(frame.f_code), _user_frames())
    return [value for frame in list(frames)[1:] for value in frame.f_locals.values()]


def _user_globals() -> Iterator[dict[str, Any]]:
    """The global variables of the functions that are being traced, each module's once."""
    seen = {id(frame.f_globals): frame.f_globals for frame in _user_frames()}
    yield from seen.values()


def _user_frames() -> Iterator[types.FrameType]:
    """The frames of the user's functions that are being traced, the innermost first."""
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__") != "graphc.trace.trace":
        if shown_file(frame.f_code.co_filename) is not None:
            yield frame
        frame = frame.f_back


# ---- containers ----------------------------------------------------------------------------------


def _reachable(values: Iterable[Any]) -> Iterator[Any]:
    """The containers, arrays and iterators that `values` lead to."""
    seen: set[int] = set()
    waiting = deque(value for value in values if type(value) not in _PLAIN)
    while waiting and len(seen) < LIMIT:
        value = waiting.popleft()
        identity = id(value.cell if isinstance(value, watch.Variable) else value)
        if identity in seen:
            continue
        seen.add(identity)
        if isinstance(value, np.ndarray):
            if value.flags.writeable and not value.dtype.hasobject:
                yield value
            continue
        if watch.is_iterator(value) or _is_container(value):
            yield value
        waiting.extend([part for part in _parts(value) if type(part) not in _PLAIN])


def _parts(value: Any) -> Iterable[Any]:
    """The values that one value leads to."""
    if isinstance(value, (tuple, frozenset)):
        return value
    if isinstance(value, types.FunctionType):
        return watch.rebound_cells(value)
    if isinstance(value, types.MethodType):
        return value.__self__, value.__func__
    if watch.is_iterator(value):
        return watch.inner_iterators(value)
    return _content(value).values() if _is_container(value) else ()


_PLAIN = frozenset({bool, int, float, complex, str, bytes, type(None), types.ModuleType, Tracer})
"""Types of values that lead nowhere; most are of these."""


def _is_container(value: Any) -> bool:
    if isinstance(value, (list, dict, set, deque, watch.Variable)):
        return True
    kind = type(value)
    return hasattr(value, "__dict__") and not (
        isinstance(value, (type, types.ModuleType, types.FunctionType))
        or kind.__module__.partition(".")[0] in _NOT_STATE
    )


_NOT_STATE = {"graphc", "numpy", "builtins", *sys.stdlib_module_names}
"""Packages whose objects are no containers of traced values."""


def _content(container: Any) -> Content:
    if isinstance(container, watch.Variable):
        return container.content()
    if isinstance(container, (list, deque)):
        return dict(enumerate(container))
    if isinstance(container, set):
        return dict.fromkeys(container, True)
    return dict(container if isinstance(container, dict) else vars(container))


def _kind(container: Any) -> str:
    if isinstance(container, watch.Variable):
        return "variable"
    known = next((k for k in (list, set, dict, deque) if isinstance(container, k)), None)
    return "object" if known is None else known.__name__


def _is_same(a: Content, b: Content) -> bool:
    """Whether two contents are the same objects in the same places."""
    if list(a) != list(b):
        return False
    return all(x is y for x, y in zip(a.values(), b.values(), strict=True))


def _fill(container: Any, content: Content) -> None:
    if isinstance(container, watch.Variable):
        container.fill(content)
        return
    if isinstance(container, (list, deque)):
        container.clear()
        container.extend(content[i] for i in sorted(content))
        return
    target = container if isinstance(container, (dict, set)) else vars(container)
    target.clear()
    target.update(content)
