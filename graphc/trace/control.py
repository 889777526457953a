"""What converted source calls: the hooks, and the converted form of the functions that it calls."""

from __future__ import annotations

import functools
import types
from typing import Any

import numpy as np

from graphc import errors
from graphc.ir import Loc
from graphc.trace import (
    branches,
    conditionals,
    handlers,
    loops,
    masks,
    packages,
    quantifiers,
    syntax,
    tables,
    texts,
)
from graphc.trace.scope import is_tracing, user_loc
from graphc.trace.tracer import holds_tracer
from graphc.trace.user_code import is_package_code, is_user_code


def call(function: Any, loc: Loc | None = None) -> Any:
    """What to call in place of `function`: of the user's own functions, the converted form."""
    if not is_tracing():
        return function
    from graphc.trace import calls

    template = getattr(function, "__self__", None)
    if isinstance(template, str) and function.__name__ == "format":
        return texts.format_method(template)
    return calls.stand_in(function) or converted(function)


def converted(function: Any, required: bool = False) -> Any:
    """`function` with its conditionals turned into calls of this module."""
    if isinstance(function, types.MethodType):
        return types.MethodType(converted(function.__func__, required), function.__self__)
    if isinstance(function, functools.partial):
        inner = call(function.func) if not required else converted(function.func, required)
        return functools.partial(inner, *function.args, **function.keywords)
    if isinstance(function, types.FunctionType):
        if is_package_code(function.__code__):
            return packages.reading(function, _HOOKS)
        if not is_user_code(function.__code__):
            return function
        return syntax.convert(function, _HOOKS, required=required)
    if isinstance(function, type):
        return _constructor(function)
    method = getattr(type(function), "__call__", None)  # noqa: B004 - its code is wanted
    if isinstance(method, types.FunctionType) and _is_read(method.__code__):
        return types.MethodType(converted(method, required), function)
    return function


def _constructor(kind: Any) -> Any:
    """A class of which `__init__` is converted; what makes its objects in another way stays."""
    if issubclass(kind, np.ndarray) and kind not in (np.ndarray, np.matrix):
        return _subclass_of_array(kind)
    init = kind.__init__
    if not isinstance(init, types.FunctionType) or not _is_read(init.__code__):
        return kind
    if type(kind).__call__ is not type.__call__:
        return kind

    def make(*args: Any, **kwargs: Any) -> Any:
        made = kind.__new__(kind, *args, **kwargs)
        if isinstance(made, kind):
            converted(type(made).__init__)(made, *args, **kwargs)
        return made

    return make


def _subclass_of_array(kind: Any) -> Any:
    def make(*args: Any, **kwargs: Any) -> Any:
        if holds_tracer((*args, *kwargs.values())):
            raise errors.UnsupportedFunctionError(
                f"{kind.__name__} derives from np.ndarray: its objects hold ordinary memory, not"
                " traced values; use functions of plain arrays",
                user_loc(),
            )
        return kind(*args, **kwargs)

    return make


def _is_read(code: types.CodeType) -> bool:
    return is_user_code(code) or is_package_code(code)


class _Hooks:
    """The functions that converted source calls."""

    UNDEFINED = branches.UNDEFINED
    if_statement = staticmethod(conditionals.if_statement)
    if_return = staticmethod(conditionals.if_return)
    if_expression = staticmethod(conditionals.if_expression)
    and_ = staticmethod(conditionals.and_)
    or_ = staticmethod(conditionals.or_)
    not_ = staticmethod(conditionals.not_)
    while_statement = staticmethod(loops.while_statement)
    for_statement = staticmethod(loops.for_statement)
    test = staticmethod(branches.test)
    call = staticmethod(call)
    indexed = staticmethod(tables.indexed)
    assigned = staticmethod(masks.assigned)
    contains = staticmethod(quantifiers.contains)
    joined = staticmethod(texts.joined)
    modulo = staticmethod(texts.modulo)
    asserted = staticmethod(texts.asserted)
    caught = staticmethod(handlers.caught)


_HOOKS = _Hooks()
