"""Conversion of expressions: `a if p else b`, `and`, `or`, `not`, `a < b < c`, and calls.

An operand that Python evaluates only sometimes becomes a lambda, so that a hook decides.  Where
that cannot be done (it holds a `:=` or a `yield`, or stands in a class body, whose names a lambda
does not see) the expression stays as it is and its tests go through `Runtime.test`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from graphc.ir import Loc
from graphc.trace import syntax_names as names
from graphc.trace.syntax_exits import ExitLowering
from graphc.trace.syntax_pieces import at, first_argument, lambda_, load, text
from graphc.trace.syntax_runtime import RUNTIME, BranchLocs, Site

TRY = "`try`"


@dataclass
class Scope:
    """The function, lambda or class body whose code is being converted.

    `hoisted` are the functions made from its branches; they are defined at its top, all side by
    side however deep the conditionals are nested.
    """

    line: int
    bindings: names.Bindings = field(default_factory=names.Bindings)
    local_names: frozenset[str] = frozenset()
    class_name: str | None = None
    first_argument: str | None = None
    suspends: bool = False  # a generator or coroutine
    is_class: bool = False
    has_class: bool = False  # `super()` works here
    hoisted: list[ast.stmt] = field(default_factory=list)
    lowering: ExitLowering | None = None  # of a function with statements
    inside: list[str] = field(default_factory=list)

    def why_not_here(self) -> str | None:
        """Why no conditional in this place becomes a hook's, None if they do."""
        return "in a class body" if self.is_class else None


class ExpressionRewriter(ast.NodeTransformer):
    """Rewrites expressions in place.  `sites` collects what `Runtime` needs to know of each."""

    def __init__(self, filename: str, shadowed: frozenset[str], scope: Scope):
        self.filename = filename
        self.shadowed = shadowed
        self.scope = scope
        self.sites: list[Site] = []
        self.counter = 0

    # ---- conditionals ----

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        why = self.why_kept(node.body, node.orelse) or self.scope.why_not_here()
        locs = (self.loc(node.test), self.loc(node.body), self.loc(node.orelse))
        self.generic_visit(node)
        if why is not None:
            node.test = self.test(node.test, f"a conditional expression {why}")
            return node
        site = self.site(BranchLocs(*locs))
        rest = (self.delayed(node.body), self.delayed(node.orelse))
        return self.runtime("lazy", node, text("if_expression"), site, node.test, *rest)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        word = "and" if isinstance(node.op, ast.And) else "or"
        why = self.why_kept(*node.values[1:])
        first, second = self.loc(node.values[0]), self.loc(node.values[1])
        locs = (
            BranchLocs(first, second, first) if word == "and" else BranchLocs(first, first, second)
        )
        self.generic_visit(node)
        if why is not None:
            *tested, last = node.values
            node.values = [*(self.test(value, f"an `{word}` {why}") for value in tested), last]
            return node
        rest = map(self.delayed, node.values[1:])
        site = self.site(locs)
        return self.runtime("lazy", node, text(word + "_"), site, node.values[0], *rest)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        self.generic_visit(node)
        if not isinstance(node.op, ast.Not):
            return node
        return self.runtime("not_", node, node.operand, self.site(self.loc(node)))

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        why = self.why_kept(*node.comparators[1:])
        self.generic_visit(node)
        if len(node.ops) == 1:
            return self.membership(node)
        if why is not None:
            return node
        left, right = self.name("left"), self.name("right")
        chain = self.chain(node, 0, left, right)
        function = lambda_([left, right], chain, node)
        return at(ast.Call(function, [node.left, node.comparators[0]], []), node)

    def membership(self, node: ast.Compare) -> ast.expr:
        """`x in xs`, which asks each comparison for its truth."""
        if not isinstance(node.ops[0], (ast.In, ast.NotIn)):
            return node
        found = self.runtime("contains", node, node.left, node.comparators[0])
        if isinstance(node.ops[0], ast.In):
            return found
        return self.runtime("not_", node, found, self.site(self.loc(node)))

    def chain(self, node: ast.Compare, index: int, left: str, right: str) -> ast.expr:
        """`left op right and (right op next and ...)`, each operand evaluated once."""
        first = self.membership(at(ast.Compare(load(left), [node.ops[index]], [load(right)]), node))
        if index + 1 == len(node.ops):
            return first
        following = self.name("right")
        rest = self.chain(node, index + 1, right, following)
        function = lambda_([following], rest, node)
        applied = at(ast.Call(function, [node.comparators[index + 1]], []), node)
        here, there = self.loc(node), self.loc(node.comparators[index + 1])
        site = self.site(BranchLocs(here, there, here))
        return self.runtime("lazy", node, text("and_"), site, first, self.delayed(applied))

    def visit_comprehension(self, node: ast.comprehension) -> ast.comprehension:
        self.generic_visit(node)
        node.ifs = [self.test(test, "the `if` of a comprehension") for test in node.ifs]
        return node

    # ---- text ----

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.expr:
        if not any(isinstance(part, ast.FormattedValue) for part in node.values):
            return node
        return self.runtime("joined", node, *(self.piece(part) for part in node.values))

    def piece(self, part: ast.expr) -> ast.expr:
        if not isinstance(part, ast.FormattedValue):
            return part
        conversion = text("" if part.conversion < 0 else chr(part.conversion))
        spec = text("") if part.format_spec is None else self.visit(part.format_spec)
        return at(ast.Tuple([self.visit(part.value), conversion, spec], ast.Load()), part.value)

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        is_text = isinstance(node.left, ast.JoinedStr) or (
            isinstance(node.left, ast.Constant) and isinstance(node.left.value, str)
        )
        self.generic_visit(node)
        if is_text and isinstance(node.op, ast.Mod):
            return self.runtime("modulo", node, node.left, node.right)
        return node

    # ---- calls ----

    def visit_Call(self, node: ast.Call) -> ast.expr:
        frame_function = self.frame_function(node)
        if isinstance(node.func, ast.Attribute):  # a method: `call` looks at it
            node.func.value = self.visit(node.func.value)
        else:
            node.func = self.visit(node.func)
        node.args = [self.visit(argument) for argument in node.args]
        node.keywords = [self.visit(keyword) for keyword in node.keywords]
        if frame_function == "super":
            return self.with_arguments(node)
        if frame_function is not None:
            if frame_function in ("locals", "vars", "dir") and not node.args:
                return self.runtime("visible", node, node)
            return node
        function = node.func
        node.func = self.runtime("call", function, function, self.site(self.loc(function)))
        return _start_at_method(node, function)

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        """`table[i]`: an ordinary array can be read at a traced position, if it is asked first."""
        self.generic_visit(node)
        if isinstance(node.ctx, ast.Load):
            node.value = self.runtime("indexed", node.value, node.value)
        elif isinstance(node.ctx, ast.Store):
            node.value = self.runtime("assigned", node.value, node.value)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        """`x.name`: where it is a property of the user's, its function is converted, too."""
        self.generic_visit(node)
        if not isinstance(node.ctx, ast.Load):
            return node
        mangled = text(names.mangle(node.attr, self.scope.class_name))
        site = self.site(self.loc(node))
        return self.runtime("attribute", node, node.value, mangled, site)

    def visit_MatchValue(self, node: ast.MatchValue) -> ast.MatchValue:
        """A pattern names a constant as it stands."""
        return node

    def frame_function(self, node: ast.Call) -> str | None:
        """The builtin that is called, where its answer depends on the frame of the call."""
        if not isinstance(node.func, ast.Name) or node.func.id in self.shadowed:
            return None
        known = node.func.id in names.FRAME_FUNCTIONS | {"super", "globals"}
        return node.func.id if known else None

    def with_arguments(self, node: ast.Call) -> ast.expr:
        """`super()` finds its arguments in the frame, which may become the frame of a branch."""
        if not node.args and not node.keywords and self.scope.first_argument is not None:
            node.args = [
                at(load("__class__"), node),
                at(load(self.scope.first_argument), node),
            ]
        return node

    # ---- scopes ----

    def visit_Lambda(self, node: ast.Lambda) -> ast.Lambda:
        node.args = self.visit(node.args)
        with self.entering(self.lambda_scope(node)):
            node.body = self.visit(node.body)
        return node

    def lambda_scope(self, node: ast.Lambda) -> Scope:
        bindings = names.bindings_of([node.body])
        return Scope(
            line=node.lineno,
            local_names=self.mangled(bindings.names.union(names.parameters(node.args))),
            class_name=self.scope.class_name,
            first_argument=first_argument(node.args) if self.scope.has_class else None,
            has_class=self.scope.has_class,
        )

    def visit_arguments(self, node: ast.arguments) -> ast.arguments:
        node.defaults = [self.visit(default) for default in node.defaults]
        node.kw_defaults = [default and self.visit(default) for default in node.kw_defaults]
        return node

    @contextmanager
    def entering(self, scope: Scope) -> Iterator[Scope]:
        outer, self.scope = self.scope, scope
        yield scope
        self.scope = outer

    def mangled(self, raw: set[str]) -> frozenset[str]:
        return frozenset(names.mangle(name, self.scope.class_name) for name in raw)

    # ---- building ----

    def why_kept(self, *delayed: ast.expr) -> str | None:
        """Why these operands cannot be put into lambdas, None if they can."""
        for expression in delayed:
            if (kind := names.why_unmovable(expression)) is not None:
                return f"that contains `{kind}`"
        return "in a class body" if self.scope.is_class else None

    def test(self, value: ast.expr, why: str) -> ast.expr:
        return self.runtime("test", value, value, self.site(self.loc(value), why=why))

    def runtime(self, method: str, origin: ast.AST, *arguments: ast.expr) -> ast.expr:
        """A call of a method of `Runtime`, at the place of `origin`."""
        function = ast.Attribute(load(RUNTIME), method, ast.Load())
        return at(ast.Call(function, list(arguments), []), origin)

    def delayed(self, expression: ast.expr) -> ast.expr:
        return lambda_([], expression, expression)

    def site(self, loc: Any, **known: Any) -> ast.expr:
        """The number of a new entry of `sites`."""
        self.sites.append(Site(loc, local_names=self.scope.local_names, **known))
        return ast.Constant(len(self.sites) - 1)

    def name(self, kind: str) -> str:
        self.counter += 1
        return f"__graphc_{kind}_{self.counter}__"

    def loc(self, node: ast.AST) -> Loc:
        return Loc(self.filename, node.lineno)  # type: ignore[attr-defined]


def _start_at_method(node: ast.Call, function: ast.expr) -> ast.Call:
    """Move a call `x.method()` of several lines to the line of `method`, as the compiler does."""
    end = function.end_lineno
    if isinstance(function, ast.Attribute) and end is not None and end != function.lineno:
        node.lineno, node.col_offset = end, (function.end_col_offset or 0) - len(function.attr)
    return node
