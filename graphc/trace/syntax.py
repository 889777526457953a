"""Plain Python in, hooks out: rewrite a function so that its conditionals can be traced.

`convert(fn, hooks)` reads the source of `fn` and compiles it again with every conditional, loop and
call turned into a call of a hook.  The new function shares the globals, closure cells,
defaults, file and line numbers of the old one.  For ordinary values the hooks do what Python does.

The hooks, with `loc` a `Loc`, and `BranchLocs` where there are branches (all but the last six):

    if_statement(test, then, otherwise, get_state, set_state, names, loc, *, globals_assigned)
    if_return(test, then, otherwise, get_state, set_state, names, loc, *, globals_assigned)
    while_statement(test, body, get_state, set_state, site)
    for_statement(iterable, body, get_state, set_state, site)
    if_expression(test, then, otherwise, *, loc)
    and_(first, *rest, loc)      or_(first, *rest, loc)
    not_(value, loc)             test(value, loc, why)       call(fn, loc)
    joined(pieces)               modulo(template, values)    asserted(test, message, loc, source)
    caught()

and a value `UNDEFINED`, which stands for a variable that is not bound.
"""

from __future__ import annotations

import ast
import types
from collections.abc import Callable
from typing import Any, NamedTuple

from graphc import errors
from graphc.ir import Loc
from graphc.trace import syntax_names as names
from graphc.trace.scope import shown_file
from graphc.trace.syntax_expressions import Scope
from graphc.trace.syntax_match import without_matches
from graphc.trace.syntax_naming import restore_names
from graphc.trace.syntax_runtime import (
    RUNTIME,
    BranchLocs,
    Runtime,
    Site,
    is_added,
    is_exit_flag,
    is_exit_value,
    is_synthetic,
)
from graphc.trace.syntax_source import SourceMissing, bare, compile_function, find
from graphc.trace.syntax_statements import FunctionRewriter
from graphc.trace.syntax_walrus import without_assignments_in_tests

__all__ = [
    "BranchLocs",
    "Site",
    "convert",
    "is_added",
    "is_converted",
    "is_exit_flag",
    "is_exit_value",
    "is_synthetic",
]


class Template(NamedTuple):
    """What a code object is converted to.  It is kept alive here, so that its id stays its own."""

    original: types.CodeType
    code: types.CodeType | None
    sites: list[Site]
    problem: str = ""


_templates: dict[int, Template] = {}
_converted: dict[int, types.CodeType] = {}
"""The code objects that conversions made, those of functions defined inside others as well."""


def convert(fn: Callable[..., Any], hooks: Any, required: bool = False) -> Callable[..., Any]:
    """`fn` with its conditionals and calls made by `hooks`.

    A function without readable source is returned as it is, or is an error if `required`.
    """
    if isinstance(fn, types.MethodType):
        return types.MethodType(convert(fn.__func__, hooks, required), fn.__self__)
    if not isinstance(fn, types.FunctionType):
        return _unreadable(fn, "it is not a Python function", required)
    if is_converted(fn):
        return fn
    template = _templates.get(id(fn.__code__))
    if template is None:
        template = _templates[id(fn.__code__)] = _convert_code(fn)
    if template.code is None:
        return _unreadable(fn, template.problem, required)
    return _instantiate(template, template.code, fn, hooks)


def is_converted(fn: types.FunctionType) -> bool:
    """Whether `fn` is the result of a conversion, or was defined inside of such a function."""
    return id(fn.__code__) in _converted


def _unreadable(fn: Callable[..., Any], problem: str, required: bool) -> Callable[..., Any]:
    if not required:
        return fn
    name = getattr(fn, "__qualname__", repr(fn))
    code = getattr(fn, "__code__", None)
    raise errors.NoSourceError(
        f"the source of {name} is needed to convert its conditionals, but {problem};"
        " put the function in a file (and run it anew), or write gc.cond instead of `if`",
        _loc(code.co_filename, code.co_firstlineno) if code is not None else None,
    )


def _loc(filename: str, line: int) -> Loc:
    return Loc(shown_file(filename) or filename, line)


def _convert_code(fn: types.FunctionType) -> Template:
    code = fn.__code__
    try:
        found = find(code, fn.__globals__)
    except SourceMissing as missing:
        return Template(code, None, [], str(missing))
    node = without_assignments_in_tests(without_matches(bare(found.node)))
    scope = Scope(code.co_firstlineno, class_name=found.class_name)
    scope.has_class = "__class__" in code.co_freevars
    file = shown_file(code.co_filename) or code.co_filename
    try:
        rewriter = FunctionRewriter(file, _shadowed(node, fn), scope)
        rewriter.rewrite(node)
        converted = compile_function(node, found, code, (RUNTIME,))
    except (RecursionError, SyntaxError) as error:
        raise errors.UnsupportedSyntaxError(
            f"{fn.__qualname__} cannot be converted ({error}); split it into smaller functions",
            _loc(code.co_filename, code.co_firstlineno),
        ) from error
    converted = restore_names(converted, code)
    _remember(converted)
    return Template(code, converted, rewriter.sites)


def _remember(code: types.CodeType) -> None:
    _converted[id(code)] = code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            _remember(constant)


def _shadowed(node: ast.AST, fn: types.FunctionType) -> frozenset[str]:
    """The names that do not mean the builtins of that name in `fn`."""
    naming = [part for part in names.everything_in(node) if part.__class__ in names.NAMING]
    bound = (name for part in naming for name in names.own_names(part))
    return frozenset(bound).union(fn.__code__.co_freevars, fn.__globals__)


def _instantiate(
    template: Template, code: types.CodeType, fn: types.FunctionType, hooks: Any
) -> types.FunctionType:
    cells = dict(zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True))
    cells[RUNTIME] = types.CellType(Runtime(hooks, template.sites))
    closure = tuple(cells[name] for name in code.co_freevars)
    new = types.FunctionType(code, fn.__globals__, fn.__name__, fn.__defaults__, closure)
    new.__kwdefaults__ = fn.__kwdefaults__
    new.__annotations__ = fn.__annotations__
    for name in ("__doc__", "__module__", "__qualname__", "__type_params__"):
        if hasattr(fn, name):
            setattr(new, name, getattr(fn, name))
    new.__dict__.update(fn.__dict__)
    return new
