"""The arguments of a function by `--arg` and by annotation."""

from __future__ import annotations

import ast
import contextlib
import inspect
import re
from collections.abc import Sequence
from typing import Any

from graphc import errors
from graphc.cli.function import place
from graphc.ir import DTYPES
from graphc.size_text import parse_size
from graphc.trace.trace import Spec


def arguments(function: Any, given: Sequence[str]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The function's arguments by `--arg`, and by annotation where there is none."""
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for text in given:
        name, value = _named(text)
        if name is None:
            positional.append(value)
        else:
            named[name] = value
    signature = inspect.signature(function)
    shown = f"{title(function)}({', '.join(signature.parameters)})"
    try:
        bound = signature.bind_partial(*positional, **named)
    except TypeError as error:
        raise errors.CommandError(
            f"{shown}: {error}; give one --arg for each argument",
            place(function),
        ) from None
    for parameter in signature.parameters.values():
        if parameter.name not in bound.arguments and _is_needed(parameter):
            bound.arguments[parameter.name] = _by_annotation(function, parameter)
    return bound.args, bound.kwargs


def _is_needed(parameter: inspect.Parameter) -> bool:
    is_rest = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return parameter.default is parameter.empty and not is_rest


def title(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _by_annotation(function: Any, parameter: inspect.Parameter) -> Any:
    annotation = parameter.annotation
    if annotation is float or annotation == "float":
        return 0.0  # an input: its value is of no account to the graph
    if isinstance(annotation, Spec):
        return annotation
    if isinstance(annotation, str):
        with contextlib.suppress(errors.CommandError):
            return _value(annotation)
    raise errors.CommandError(
        f"{title(function)}: no type for its argument {parameter.name}; add --arg"
        f" '{parameter.name}=f32[64,1000]', or annotate it: {parameter.name}: \"f32[64,1000]\"",
        place(function),
    )


def _named(text: str) -> tuple[str | None, Any]:
    """NAME=TYPE, or a type alone."""
    name, equals, rest = text.partition("=")
    if equals and name.strip().isidentifier():
        return name.strip(), _value(rest)
    return None, _value(text)


_TYPE = rf"({'|'.join(DTYPES)})\[([-+*\w,\s]*)\]"
_QUOTED_TYPE = re.compile(rf"(['\"])\s*({_TYPE})\s*\1")
_STRING_OR_TYPE = re.compile(rf"'[^']*'|\"[^\"]*\"|(?<!\w){_TYPE}")


def _value(text: str) -> Any:
    """A type, a number, or a tree of them, as Python would write it.

    Types are no Python expressions (`f32[]`), so each is first replaced by the name `type_N`.
    """
    types: list[Spec] = []

    def stand_in(match: re.Match[str]) -> str:
        if match.group(1) is None:
            return match.group()
        sizes = tuple(parse_size(size) for size in match.group(2).split(",") if size.strip())
        types.append(Spec(sizes, match.group(1)))
        return f"type_{len(types) - 1}"

    replaced = _STRING_OR_TYPE.sub(stand_in, _QUOTED_TYPE.sub(r"\2", text)).strip()
    try:
        return _literal(ast.parse(replaced, mode="eval").body, types)
    except (SyntaxError, ValueError, RecursionError):
        raise errors.CommandError(
            f"--arg {text!r} is neither a type such as f32[64,1000] (of {', '.join(DTYPES)};"
            " f32[] is a scalar) nor a number such as 0.1 nor a tuple, list or dict of them"
        ) from None


def _literal(node: ast.expr, types: Sequence[Spec]) -> Any:
    match node:
        case ast.Name(id=name) if name.startswith("type_") and int(name[5:]) < len(types):
            return types[int(name[5:])]
        case ast.Tuple(elts=parts):
            return tuple(_literal(part, types) for part in parts)
        case ast.List(elts=parts):
            return [_literal(part, types) for part in parts]
        case ast.Dict(keys=keys, values=values) if None not in keys:
            return {
                ast.literal_eval(key): _literal(value, types)
                for key, value in zip(keys, values, strict=True)
                if key is not None
            }
    return ast.literal_eval(node)
