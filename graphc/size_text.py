"""Reading sizes: `"784"`, `"B"`, `"2*B + 1"`."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from graphc.dims import Size, dim
from graphc.errors import ShapeError
from graphc.polynomials import EXAMPLE


def parse_size(text: str, examples: Mapping[str, int] | None = None) -> Size:
    """The size that a text says: `"784"`, `"B"`, `"2*B + 1"`.

    Raises `errors.ShapeError` for what is not made of names, integers, `+`, `-` and `*`.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        tree = None
    size = None if tree is None else _read(tree, examples or {})
    if size is None:
        raise ShapeError(f"{text!r} is no size; write names, integers, +, - and *: '2*B + 1'")
    return size


def _read(tree: ast.expr, examples: Mapping[str, int]) -> Size | None:
    match tree:
        case ast.Constant(value=int(number)) if not isinstance(number, bool):
            return number
        case ast.Name(id=name):
            return dim(name, examples.get(name, EXAMPLE))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = _read(operand, examples)
            return None if inner is None else -inner
        case ast.BinOp(left=left, op=operation, right=right) if type(operation) in _ARITHMETIC:
            first, second = _read(left, examples), _read(right, examples)
            if first is None or second is None:
                return None
            return _ARITHMETIC[type(operation)](first, second)
    return None


_ARITHMETIC: Mapping[type, Callable[[Any, Any], Size]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}
