"""Give compiled functions the names that the user knows.

A converted function is compiled inside a factory, and its branches are functions of their own.
In tracebacks, and in `__qualname__` of what it defines, none of that should show: a branch has
the name of the function that it is a branch of, and a qualified name that marks it.
"""

from __future__ import annotations

import types

from graphc.trace.syntax_runtime import BRANCH, SYNTHETIC, is_added

_Names = dict[str, str]
"""Qualified names as they were compiled, and as they should be."""

_IS_FUNCTION = 0x1  # CO_OPTIMIZED: a class body does not have it


def restore_names(code: types.CodeType, original: types.CodeType) -> types.CodeType:
    """`code`, the conversion of `original`, with the names of `original`."""
    renamed = {code.co_qualname: original.co_qualname}
    return code.replace(
        co_name=original.co_name,
        co_qualname=original.co_qualname,
        co_consts=_constants(code, original.co_name, renamed),
    )


def _constants(code: types.CodeType, function: str, renamed: _Names) -> tuple[object, ...]:
    return tuple(
        _restore(constant, function, renamed) if isinstance(constant, types.CodeType) else constant
        for constant in code.co_consts
    )


def _restore(code: types.CodeType, function: str, renamed: _Names) -> types.CodeType:
    """Rename `code`, defined inside the function of the name `function`, and all within it."""
    qualified = _lookup(code.co_qualname, renamed)
    if is_added(code.co_name) or BRANCH in code.co_varnames:
        # What a branch defines belongs to the function around it.
        around = qualified.removesuffix(f".{code.co_name}").removesuffix(".<locals>")
        inner = _constants(code, function, {**renamed, code.co_qualname: around})
        return code.replace(co_name=function, co_qualname=around + SYNTHETIC, co_consts=inner)
    constants = _constants(code, code.co_name, {**renamed, code.co_qualname: qualified})
    if not code.co_flags & _IS_FUNCTION:
        constants = tuple(qualified if c == code.co_qualname else c for c in constants)
    return code.replace(co_qualname=qualified, co_consts=constants)


def _lookup(qualified: str, renamed: _Names) -> str:
    """`qualified` with the longest beginning that was renamed replaced."""
    beginnings = [name for name in renamed if qualified.startswith(name + ".")]
    if not beginnings:
        return qualified
    longest = max(beginnings, key=len)
    return renamed[longest] + qualified[len(longest) :]
