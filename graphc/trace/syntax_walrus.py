"""`:=` in an `and` or `or` of an `if`: the `if` is taken apart, so that each test stands alone.

    if a and (n := f()) > 0:          if a:
        use(n)                            if (n := f()) > 0:
    else:                      ->             use(n)
        other()                           else:
                                              other()
                                      else:
                                          other()

A suite is written twice where it is small, so that every name is known on each path as it was.
"""

from __future__ import annotations

import ast
import copy
from typing import TypeVar

from graphc.trace.syntax_names import statements_in, why_unmovable

N = TypeVar("N", bound=ast.AST)

_LARGE = 300
"""How many nodes of syntax are written twice at most."""


def without_assignments_in_tests(node: N) -> N:
    """A function's tree with such statements taken apart; functions in it are no exception."""
    if not any(isinstance(part, ast.If) and _may_assign(part) for part in statements_in(node)):
        return node
    rewritten: N = _Tests().visit(node)
    return rewritten


def _may_assign(node: ast.If) -> bool:
    """Whether its test is of several, one of which assigns after the first."""
    return isinstance(node.test, ast.BoolOp) and any(map(_assigns, node.test.values[1:]))


class _Tests(ast.NodeTransformer):
    def visit_If(self, node: ast.If) -> ast.stmt:
        self.generic_visit(node)
        return _apart(node)


def _apart(node: ast.If) -> ast.If:
    test = node.test
    if not isinstance(test, ast.BoolOp) or not _may_assign(node):
        return node
    is_and = isinstance(test.op, ast.And)
    repeated = node.orelse if is_and else node.body
    if sum(1 for part in repeated for _ in ast.walk(part)) > _LARGE:
        return node
    first, *rest = test.values
    remaining = rest[0] if len(rest) == 1 else ast.copy_location(ast.BoolOp(test.op, rest), rest[0])
    again = copy.deepcopy(repeated)
    inner = ast.If(remaining, again if not is_and else node.body, again if is_and else node.orelse)
    inner = _apart(ast.copy_location(inner, node))
    if is_and:
        return ast.copy_location(ast.If(first, [inner], node.orelse), node)
    return ast.copy_location(ast.If(first, node.body, [inner]), node)


def _assigns(test: ast.expr) -> bool:
    return why_unmovable(test) == ":="
