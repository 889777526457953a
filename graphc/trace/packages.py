"""Functions of installed packages: read for control flow where they meet traced values.

A package's function that is given ordinary values alone is called as it is, and one that cannot be
converted as well: what it does then is what it did before graphc looked.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterable
from typing import Any

from graphc import errors
from graphc.dims import Dim
from graphc.trace import syntax
from graphc.trace.tracer import Tracer

_DEPTH = 3
"""How deep in the attributes and parts of arguments traced values are looked for."""


def reading(function: types.FunctionType, hooks: Any) -> Callable[..., Any]:
    """`function` of a package, which is converted when it is called with something traced."""
    if syntax.is_converted(function):
        return function

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if _meets_traced((*args, *kwargs.values(), *_enclosed(function)), _DEPTH):
            return converted(function, hooks)(*args, **kwargs)
        return function(*args, **kwargs)

    return call


def converted(function: types.FunctionType, hooks: Any) -> Callable[..., Any]:
    """`function` of a package converted, or itself where it cannot be."""
    try:
        return syntax.convert(function, hooks)
    except errors.UnsupportedSyntaxError:
        return function


def _enclosed(function: types.FunctionType) -> Iterable[Any]:
    """What the function reads of the functions around it."""
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not assigned yet
            continue


def _meets_traced(values: Iterable[Any], depth: int) -> bool:
    return any(_may_be_traced(value, depth) for value in values)


def _may_be_traced(value: Any, depth: int) -> bool:
    """Whether a value is traced, holds what is, or is a function that may be called with it."""
    if isinstance(value, (Tracer, Dim, types.FunctionType, types.MethodType, functools.partial)):
        return True
    if depth == 0 or isinstance(value, (type, types.ModuleType)):
        return False
    if isinstance(value, (list, tuple, set, frozenset)):
        return _meets_traced(value, depth - 1)
    if isinstance(value, dict):
        return _meets_traced(value.values(), depth - 1)
    held = getattr(value, "__dict__", None)
    return isinstance(held, dict) and _meets_traced(held.values(), depth - 1)
