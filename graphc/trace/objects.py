"""Objects of classes that the branches of a conditional make: merged field by field.

Both branches make an object of one class with fields of one structure; the conditional makes one
with the fields that it chose.  An object is opened only where nothing can tell the difference: it
is new (the branch made it), plain (its class is written in Python, its fields are all there is to
it), and stands in one place of what the branch gives, so that nobody else holds it.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from graphc.trace import tree


class Opened(dict[str, Any]):
    """The fields of an object, by name.  Each class has a kind of its own (`_kind_of`)."""

    made: type

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.items())
        return f"{self.made.__name__}({fields})"


_kinds: dict[type, type[Opened]] = {}


def _kind_of(made: type) -> type[Opened]:
    if made not in _kinds:
        _kinds[made] = type(f"Opened{made.__name__}", (Opened,), {"made": made})
    return _kinds[made]


def opened(value: Any, existing: Iterable[Any]) -> Any:
    """`value` with the objects in it that are new, plain and held once as `Opened`."""
    old = set(map(id, existing))
    seen: Counter[int] = Counter()
    _count(value, old, seen)
    if not seen:
        return value
    return _replaced(
        value,
        lambda x: _is_plain(x) and id(x) not in old and seen[id(x)] == 1,
        lambda x, inner: _kind_of(type(x))(inner),
    )


def closed(value: Any) -> Any:
    """`value` with objects in place of their fields."""
    return _replaced(value, lambda x: isinstance(x, Opened), lambda x, inner: _object(x, inner))


def _object(fields: Opened, inner: dict[str, Any]) -> Any:
    made: Any = object.__new__(fields.made)
    made.__dict__.update(inner)
    return made


def _count(value: Any, old: set[int], seen: Counter[int]) -> None:
    """How often each new plain object is met, by identity; one that is met again is not entered."""
    if _is_plain(value):
        if id(value) in old:
            return
        seen[id(value)] += 1
        if seen[id(value)] == 1:
            for part in vars(value).values():
                _count(part, old, seen)
        return
    for part in tree.parts_of(value):
        _count(part, old, seen)


def _replaced(
    value: Any, chosen: Callable[[Any], bool], make: Callable[[Any, dict[str, Any]], Any]
) -> Any:
    """`value` with something else in place of what is chosen; itself where nothing is."""
    if chosen(value):
        fields = value if isinstance(value, dict) else dict(sorted(vars(value).items()))
        return make(value, {k: _replaced(part, chosen, make) for k, part in fields.items()})
    parts = tree.parts_of(value)
    new = [_replaced(part, chosen, make) for part in parts]
    if all(a is b for a, b in zip(parts, new, strict=True)):
        return value
    return tree.rebuilt(value, new)


def _is_dataclass(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _is_plain(value: Any) -> bool:
    """Whether an object is its fields: of a class in Python, without slots or a base in C."""
    kind: Any = type(value)
    if not hasattr(value, "__dict__") or isinstance(value, (type, BaseException)):
        return False
    if hasattr(kind, "__graphc_leaf__") or _is_dataclass(value) or tree.is_leaf(value):
        return False
    bases = kind.__mro__[:-1]
    return (
        kind.__new__ is object.__new__
        and all(base.__flags__ & _ON_THE_HEAP for base in bases)
        and not any(getattr(base, "__slots__", ()) for base in bases)
        and not callable(getattr(kind, "__del__", None))
        and kind.__module__.partition(".")[0] not in _NOT_OPENED
    )


_ON_THE_HEAP = 1 << 9
"""Py_TPFLAGS_HEAPTYPE: what a `class` statement makes."""

_NOT_OPENED = frozenset({"builtins", "types", "functools", "collections", "itertools", "graphc"})
