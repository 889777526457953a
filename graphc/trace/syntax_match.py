"""`match` on numbers as the `if` that says the same, so that it may depend on data.

Before:  match n:                      After:  if n == 0:
             case 0: a()                           a()
             case 1 | 2: b()                   elif n == 1 or n == 2:
             case _: c()                           b()
                                               else:
                                                   c()

Where a pattern looks into its subject (a sequence, a mapping, a class), the statement stays.
"""

from __future__ import annotations

import ast
from typing import TypeVar

from graphc.trace.syntax_names import statements_in

N = TypeVar("N", bound=ast.AST)


def without_matches(node: N) -> N:
    """A function's tree with such statements replaced; functions in it are no exception."""
    if not any(isinstance(statement, ast.Match) for statement in statements_in(node)):
        return node  # as most are, and this look at statements is a short one
    rewritten: N = _Matches().visit(node)
    return rewritten


class _Matches(ast.NodeTransformer):
    def visit_Match(self, node: ast.Match) -> ast.stmt | list[ast.stmt]:
        self.generic_visit(node)
        if not all(map(_is_simple, node.cases)):
            return node
        name = f"__graphc_subject_{node.lineno}_{node.col_offset}__"
        keep = ast.Assign([ast.Name(name, ast.Store())], node.subject)
        chain = _chain(node.cases, name)
        return [_placed(part, node) for part in (keep, *chain)]


def _is_simple(case: ast.match_case) -> bool:
    binds = isinstance(case.pattern, ast.MatchAs) and case.pattern.name is not None
    return _compares(case.pattern) and not (binds and case.guard is not None)


def _compares(pattern: ast.pattern, inside: bool = False) -> bool:
    """Whether a pattern asks only what its subject is equal to."""
    if isinstance(pattern, ast.MatchOr):
        return all(_compares(part, inside=True) for part in pattern.patterns)
    if isinstance(pattern, ast.MatchAs):
        plain = pattern.pattern is None or _compares(pattern.pattern, inside=True)
        return plain and not (inside and pattern.name is not None)
    return isinstance(pattern, (ast.MatchValue, ast.MatchSingleton))


def _chain(cases: list[ast.match_case], subject: str) -> list[ast.stmt]:
    if not cases:
        return []
    first, *rest = cases
    tests = [test for test in (_test(first.pattern, subject), first.guard) if test is not None]
    body = list(first.body)
    if isinstance(first.pattern, ast.MatchAs) and first.pattern.name is not None:
        value = ast.Name(subject, ast.Load())
        body.insert(0, ast.Assign([ast.Name(first.pattern.name, ast.Store())], value))
    if not tests:
        return [_placed(part, first.pattern) for part in body]
    test = tests[0] if len(tests) == 1 else ast.BoolOp(ast.And(), tests)
    return [_placed(ast.If(test, body, _chain(rest, subject)), first.pattern)]


def _test(pattern: ast.pattern, subject: str) -> ast.expr | None:
    """What a pattern asks of the subject, None if it takes anything."""
    value = ast.Name(subject, ast.Load())
    if isinstance(pattern, ast.MatchValue):
        return ast.Compare(value, [ast.Eq()], [pattern.value])
    if isinstance(pattern, ast.MatchSingleton):
        return ast.Compare(value, [ast.Is()], [ast.Constant(pattern.value)])
    if isinstance(pattern, ast.MatchOr):
        tests = [_test(part, subject) for part in pattern.patterns]
        known = [test for test in tests if test is not None]
        return ast.BoolOp(ast.Or(), known) if len(known) == len(tests) else None
    if isinstance(pattern, ast.MatchAs) and pattern.pattern is not None:
        return _test(pattern.pattern, subject)
    return None


def _placed(node: ast.stmt, origin: ast.AST) -> ast.stmt:
    """The node at the place of what it was made from, where it has none of its own."""
    if not hasattr(node, "lineno"):
        ast.copy_location(node, origin)
    return ast.fix_missing_locations(node)
