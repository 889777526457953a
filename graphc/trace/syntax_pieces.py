"""Pieces of syntax that the conversion is put together from."""

from __future__ import annotations

import ast
from typing import TypeVar

from graphc.trace.syntax_names import children
from graphc.trace.syntax_runtime import BRANCH


def load(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def text(value: str) -> ast.Constant:
    return ast.Constant(value)


Node = TypeVar("Node", bound=ast.AST)


def at(node: Node, origin: ast.AST) -> Node:
    """`node` at the place of `origin`, and what is new inside of it there as well."""
    ast.copy_location(node, origin)
    for child in children(node):
        if not hasattr(child, "lineno"):
            at(child, origin)
    return node


def lambda_(parameters: list[str], body: ast.expr, origin: ast.AST) -> ast.expr:
    """`lambda parameters, *__graphc_branch__: body`."""
    arguments = ast.arguments(
        posonlyargs=[],
        args=[ast.arg(name) for name in parameters],
        vararg=ast.arg(BRANCH),
        kwonlyargs=[],
        kw_defaults=[],
        defaults=[],
    )
    return at(ast.Lambda(arguments, body), origin)


def first_argument(arguments: ast.arguments) -> str | None:
    """The parameter that `super()` takes for the instance."""
    positional = [*arguments.posonlyargs, *arguments.args]
    return positional[0].arg if positional else None
