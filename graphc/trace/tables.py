"""`table[i]` in converted source: ordinary arrays, lists and tuples at traced positions."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from graphc import errors
from graphc.dims import Dim
from graphc.ir import INTS
from graphc.trace.joiners import Grid, Joiner
from graphc.trace.promotion import is_python_scalar
from graphc.trace.scope import is_tracing, user_loc
from graphc.trace.tracer import Tracer, holds_tracer, lift, wrap


def indexed(value: Any) -> Any:
    """What to index in place of `value`."""
    kind = type(value)
    if kind is np.ndarray:
        return _Array(value) if is_tracing() else value
    if kind is list or kind is tuple:
        return _Sequence(value) if is_tracing() else value
    if kind is dict:
        return _Dict(value) if is_tracing() else value
    if (value is np.r_ or value is np.c_) and is_tracing():
        return Joiner(value)
    if (value is np.mgrid or value is np.ogrid) and is_tracing():
        return Grid(value)
    return value


class _Array:
    """An ordinary array for the time of one subscript."""

    __slots__ = ("array",)

    def __init__(self, array: np.ndarray):
        self.array = array

    def __getitem__(self, index: Any) -> Any:
        return (lift(self.array) if holds_tracer((index,)) else self.array)[index]


class _Sequence:
    """A list or a tuple for the time of one subscript."""

    __slots__ = ("parts",)

    def __init__(self, parts: Any):
        self.parts = parts

    def __getitem__(self, index: Any) -> Any:
        if not isinstance(index, Tracer) or not _is_position(index):
            return self.parts[index]
        table = _table(self.parts)
        return self.parts[index] if table is None else _element(table, index, self.parts)


class _Dict:
    """A dict for the time of one subscript."""

    __slots__ = ("entries",)

    def __init__(self, entries: dict[Any, Any]):
        self.entries = entries

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, Tracer):
            return self.entries[key]
        if key.argument is not None:
            return self.entries[operator.index(key)]
        raise errors.ConcreteValueError(
            f"the key of a dict is a traced value {key.type}, not known while tracing; look it up"
            " in an array or a list by a position, or write an `if` for each key",
            user_loc(),
        )


def _is_position(index: Tracer) -> bool:
    """Whether an index is a number that depends on data: not one that arguments fix."""
    return index.is_scalar and index.argument is None and index.dtype_name in INTS | {"bool"}


def _table(parts: Any) -> Tracer | None:
    """The elements as one array, None where they are not numbers or arrays of one shape."""
    is_data = all(_is_data(part) for part in parts)
    if not parts or not is_data or len({np.shape(part) for part in parts}) > 1:
        return None
    return lift(parts) if holds_tracer(parts) else lift(np.array(parts))


def _is_data(part: Any) -> bool:
    if isinstance(part, Dim):
        return False
    return is_python_scalar(part) or isinstance(part, (Tracer, np.ndarray, np.number, np.bool_))


def _element(table: Tracer, index: Tracer, parts: Any) -> Any:
    """The element at a position.  It is a copy, so it cannot be assigned to."""
    place = index.astype(np.int64) if index.dtype_name == "bool" else index
    element = wrap(table[place].value())
    element.storage.mutable = False
    numbers = (is_python_scalar(x) or (isinstance(x, Tracer) and x.weak) for x in parts)
    element.weak = element.dtype_name != "bool" and all(numbers)
    return element
