"""Conversion of statements: every `if` becomes a call of a hook with its branches as functions.

    if p:                    def then(): nonlocal y; y = 1
        y = 1         ->     __graphc__.conditional("if_statement", 0, p, then, nothing, probe)

    if p:                    def then(): return 1
        return 1      ->     def rest(): nonlocal y; y = 2; return y
    y = 2                    return __graphc__.conditional("if_return", 0, p, then, rest, probe)
    return y

In the second form what follows the `if` is a function that both branches may end with, so that
nothing is written twice.  Each branch then returns the value of the whole function.

    while p:                 def test(): return p
        y = y + 1     ->     def body(): nonlocal y; y = y + 1
                             __graphc__.loop("while_statement", 0, test, body, probe)

A loop is first freed of its exits (`syntax_exits`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from graphc.trace import syntax_names as names
from graphc.trace.syntax_exits import EXITS, ExitLowering, Loop, ends
from graphc.trace.syntax_expressions import TRY, ExpressionRewriter, Scope
from graphc.trace.syntax_pieces import at, first_argument, lambda_, load, text
from graphc.trace.syntax_runtime import RUNTIME, BranchLocs
from graphc.trace.syntax_source import FunctionNode, definition


class Tail(NamedTuple):
    """What happens at the end of a suite whose value is the value of the function.

    `rest` names the function that goes on from there (None: the function returns None), and
    `assigned` is what that may assign.
    """

    rest: str | None = None
    assigned: frozenset[str] = frozenset()


class FunctionRewriter(ExpressionRewriter):
    """Rewrites a whole function."""

    def rewrite(self, node: FunctionNode) -> None:
        """Convert the function that everything else is inside of."""
        if isinstance(node, ast.Lambda):
            self.visit_Lambda(node)
        else:
            self.rewrite_body(node)

    # ---- functions and classes ----

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.decorator_list = [self.visit(decorator) for decorator in node.decorator_list]
        node.args = self.visit(node.args)
        self.rewrite_body(node)
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AsyncFunctionDef:
        node.decorator_list = [self.visit(decorator) for decorator in node.decorator_list]
        node.args = self.visit(node.args)
        self.rewrite_body(node)
        return node

    def rewrite_body(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        with self.entering(self.function_scope(node)) as scope:
            scope.lowering = ExitLowering(self.name, self.may_move)
            documentation, body = _split_documentation(node.body)
            statements = self.suite(body, None if scope.suspends else Tail())
            node.body = [*documentation, *self.declarations(node), *scope.hoisted, *statements]

    def function_scope(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Scope:
        bindings = names.bindings_of(node.body)
        outside = bindings.globals | bindings.nonlocals
        raw = bindings.names.union(names.parameters(node.args)) - outside
        suspends = isinstance(node, ast.AsyncFunctionDef) or "yield" in names.exits(node.body)
        return Scope(
            line=node.lineno,
            bindings=bindings,
            local_names=self.mangled(raw),
            class_name=self.scope.class_name,
            first_argument=first_argument(node.args) if self.scope.has_class else None,
            has_class=self.scope.has_class,
            suspends=suspends,
        )

    def declarations(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.stmt]:
        """Keep every name what it was, wherever the statements that bind it have moved to."""
        bindings = self.scope.bindings
        if bindings.globals:
            yield at(ast.Global(sorted(bindings.globals)), node)
        if bindings.nonlocals:
            yield at(ast.Nonlocal(sorted(bindings.nonlocals)), node)
        outside = bindings.globals.union(bindings.nonlocals, names.parameters(node.args))
        for name in sorted(bindings.names.union(self.lowering.added) - outside):
            # An annotation makes a name local and compiles to nothing.
            target = ast.Name(name, ast.Store())
            yield at(ast.AnnAssign(target, ast.Constant(None), None, 1), node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        for part in ("decorator_list", "bases", "keywords"):
            setattr(node, part, [self.visit(child) for child in getattr(node, part)])
        scope = Scope(line=node.lineno, class_name=node.name, is_class=True, has_class=True)
        with self.entering(scope):
            node.body = self.suite(node.body, None)
        return node

    def visit_Global(self, node: ast.Global) -> ast.stmt | None:
        return node if self.scope.is_class else None

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.stmt | None:
        return node if self.scope.is_class else None

    # ---- statements that stay ----

    def visit_With(self, node: ast.With | ast.AsyncWith) -> ast.stmt:
        with self.inside("`with`"):
            self.generic_visit(node)
        return node

    visit_AsyncWith = visit_With

    def visit_Match(self, node: ast.Match) -> ast.stmt:
        with self.inside("`match`"):
            self.generic_visit(node)
        return node

    def visit_match_case(self, node: ast.match_case) -> ast.match_case:
        self.generic_visit(node)
        if node.guard is not None:
            node.guard = self.test(node.guard, "the guard of a `case`")
        return node

    def visit_Try(self, node: ast.Try | ast.TryStar) -> ast.stmt:
        with self.inside(TRY if node.handlers else "`try ... finally`"):
            node.body = self.inner_suite(node.body)
        with self.inside("`except`, `else` or `finally`"):
            node.handlers = [self.visit(handler) for handler in node.handlers]
            node.orelse = node.orelse and self.inner_suite(node.orelse)
            node.finalbody = node.finalbody and self.inner_suite(node.finalbody)
        return node

    visit_TryStar = visit_Try

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.ExceptHandler:
        """A handler first hands on what says that something cannot be traced."""
        self.generic_visit(node)
        node.body.insert(0, at(ast.Expr(self.runtime("caught", node)), node))
        return node

    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        why = self.why_kept(*([] if node.msg is None else [node.msg])) or self.scope.why_not_here()
        if why is None and TRY in self.scope.inside:
            why = f"inside {TRY}"
        source, loc = ast.unparse(node.test), self.loc(node)
        self.generic_visit(node)
        if why is not None:
            node.test = self.test(node.test, f"an `assert` {why}")
            return node
        message = ast.Constant(None) if node.msg is None else self.delayed(node.msg)
        site = self.site(loc, why=source)
        node.test = self.runtime("asserted", node.test, node.test, site, message)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt | None:
        """Drop the annotation of a variable: it has no effect, and does not go with `nonlocal`."""
        node.value = node.value and self.visit(node.value)
        if self.scope.is_class:
            return node
        node.target = self.visit(node.target)
        if not isinstance(node.target, ast.Name):
            return node
        if node.value is None:
            return None
        return at(ast.Assign([node.target], node.value), node)

    @contextmanager
    def inside(self, construct: str) -> Iterator[None]:
        self.scope.inside.append(construct)
        yield
        self.scope.inside.pop()

    # ---- loops ----

    def may_move(self, node: Loop) -> bool:
        """Whether the body of a loop may become a function."""
        if self.scope.why_not_here() is not None or self.scope.suspends:
            return False
        kinds = names.exits(
            [*node.body, *node.orelse, node.test if isinstance(node, ast.While) else node.iter]
        )
        return kinds <= EXITS and not names.leaves_try([node])

    @property
    def lowering(self) -> ExitLowering:
        """The exits of the function that is being converted."""
        assert self.scope.lowering is not None
        return self.scope.lowering

    def is_lowered(self, node: Loop) -> bool:
        return self.scope.lowering is not None and node in self.scope.lowering.stops

    def visit_While(self, node: ast.While) -> ast.stmt:
        if not self.is_lowered(node):
            with self.inside("a loop"):
                self.generic_visit(node)
            node.test = self.test(node.test, "a `while` loop" + self.place())
            return node
        assigned = self.carried([ast.Expr(node.test), *node.body])
        answer: ast.stmt = at(ast.Return(node.test), node.test)
        test = self.define("test", [answer], None)
        body = self.branch("body", node.body, None)
        return self.loop("while_statement", node, load(test), body, assigned)

    def visit_For(self, node: ast.For | ast.AsyncFor) -> ast.stmt:
        if isinstance(node, ast.AsyncFor) or not self.is_lowered(node):
            with self.inside("a loop"):
                self.generic_visit(node)
            return node
        item = self.name("item")
        first = at(ast.Assign([node.target], load(item)), node.target)
        statements = [first, *node.body]
        assigned = self.carried(statements)
        body = load(self.define("body", statements, None, (item,)))
        iterable = self.visit(node.iter)
        return self.loop("for_statement", node, iterable, body, assigned)

    visit_AsyncFor = visit_For

    def loop(
        self, hook: str, node: Loop, subject: ast.expr, body: ast.expr, assigned: frozenset[str]
    ) -> ast.stmt:
        head = node.test if isinstance(node, ast.While) else node.iter
        outer = assigned & self.scope.bindings.globals
        variables = sorted(self.mangled(set(assigned - outer)))
        site = self.site(
            BranchLocs(self.loc(head), self.loc(head), self.loc(node.body[0])),
            names=tuple(variables),
            globals_assigned=tuple(sorted(outer)),
            stops=self.lowering.stops[node],
            augmented=self.mangled(names.only_augmented(node.body)),
        )
        probe = lambda_([], ast.Tuple([load(name) for name in variables], ast.Load()), head)
        call = self.runtime("loop", head, text(hook), site, subject, body, probe)
        return at(ast.Expr(call), node)

    # ---- suites ----

    def suite(self, statements: list[ast.stmt], tail: Tail | None) -> list[ast.stmt]:
        """Convert a suite.  With a tail, its end is the end of the function, or goes on in it."""
        converted: list[ast.stmt] = []
        if self.scope.lowering is not None:
            statements = self.scope.lowering.expand(statements)
        for index, statement in enumerate(statements):
            rest = statements[index + 1 :]
            if isinstance(statement, ast.If) and tail and self.ends_function(statement, rest):
                if self.would_repeat(statement, rest, tail):
                    lowered = self.lowering.without_returns(statement)
                    return [*converted, *self.suite([*lowered, *rest], tail)]
                return [*converted, self.if_return(statement, rest, tail)]
            converted += self.statement(statement)
        if tail and tail.rest and names.falls_through(statements):
            call = ast.Call(load(tail.rest), [], [])
            converted.append(at(ast.Return(call), self.origin(statements[-1:])))
        return converted or [at(ast.Pass(), self.origin(statements))]

    def origin(self, statements: list[ast.stmt]) -> ast.AST:
        """The first of `statements`; where there is none, the first line of the function."""
        return statements[0] if statements else _on_line(ast.Pass(), self.scope.line)

    def statement(self, node: ast.stmt) -> list[ast.stmt]:
        converted = self.visit(node)
        if converted is None:
            return []
        return converted if isinstance(converted, list) else [converted]

    def ends_function(self, node: ast.If, rest: list[ast.stmt]) -> bool:
        """Whether an `if` returns, and it and what follows can become functions."""
        return "return" in names.exits([node]) and names.exits([node, *rest]) == {"return"}

    def would_repeat(self, node: ast.If, rest: list[ast.stmt], tail: Tail) -> bool:
        """Whether what follows a returning `if` would be traced more than once as a function."""
        follows = bool(rest or tail.rest)
        several = ends(node.body) + ends(node.orelse) > 1
        return follows and several and not names.leaves_try([node])

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Convert the suites of a compound statement, and its expressions."""
        for field, value in ast.iter_fields(node):
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                setattr(node, field, self.inner_suite(value))
            elif isinstance(value, list):
                setattr(node, field, [self._child(child) for child in value])
            elif isinstance(value, ast.AST):
                setattr(node, field, self.visit(value))
        return node

    def _child(self, child: object) -> object:
        return self.visit(child) if isinstance(child, ast.AST) else child

    def inner_suite(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        """Convert a suite of a compound statement that itself stays as it is.

        One that always returns is as good as the end of the function.
        """
        returns = not self.scope.suspends and not names.falls_through(statements)
        return self.suite(statements, Tail() if returns else None)

    # ---- conditionals ----

    def visit_If(self, node: ast.If) -> ast.stmt:
        why = self.why_if_kept(node)
        if why is not None:
            test = self.visit(node.test)
            node.body = self.inner_suite(node.body)
            node.orelse = node.orelse and self.inner_suite(node.orelse)
            node.test = self.test(test, f"an `if` {why}")
            return node
        assigned = self.carried(node.body + node.orelse)
        then = self.branch("then", node.body, None)
        otherwise = self.branch("else", node.orelse, None)
        call = self.conditional("if_statement", node, then, otherwise, assigned)
        return at(ast.Expr(call), node)

    def why_if_kept(self, node: ast.If) -> str | None:
        """Why an `if` stays an `if`, None if it can become a call of `if_statement`."""
        kinds = names.exits(node.body + node.orelse)
        if kinds:
            kind = min(kinds)
            return f"that contains `{kind}`" + (self.place() if kind == "return" else "")
        return self.scope.why_not_here()

    def place(self) -> str:
        if self.scope.suspends:
            return " in a generator or coroutine"
        return f" inside {self.scope.inside[-1]}" if self.scope.inside else ""

    def if_return(self, node: ast.If, rest: list[ast.stmt], tail: Tail) -> ast.stmt:
        """Convert an `if` that may return, together with the statements after it."""
        assigned = self.carried([*node.body, *node.orelse, *rest]) | tail.assigned
        otherwise_line = (node.orelse or rest or [node])[0]
        after = tail
        if rest and (names.falls_through(node.body) or names.falls_through(node.orelse)):
            assigned_after = self.carried(rest) | tail.assigned
            after = Tail(self.define("rest", rest, tail), assigned_after)
        then = self.branch("then", node.body, after)
        otherwise = self.branch("else", node.orelse, after)
        call = self.conditional("if_return", node, then, otherwise, assigned, otherwise_line)
        return at(ast.Return(call), node)

    def conditional(
        self,
        hook: str,
        node: ast.If,
        then: ast.expr,
        otherwise: ast.expr,
        assigned: frozenset[str],
        otherwise_line: ast.AST | None = None,
    ) -> ast.expr:
        other = otherwise_line or (node.orelse or [node])[0]
        here = (self.loc(node.test), self.loc(node.body[0]), self.loc(other))
        locs = BranchLocs(*here, is_tried=TRY in self.scope.inside)
        test = self.visit(node.test)
        outer = assigned & self.scope.bindings.globals
        variables = sorted(self.mangled(set(assigned - outer)))
        site = self.site(locs, names=tuple(variables), globals_assigned=tuple(sorted(outer)))
        probe = lambda_([], ast.Tuple([load(name) for name in variables], ast.Load()), node.test)
        return self.runtime(
            "conditional", node.test, text(hook), site, test, then, otherwise, probe
        )

    def assigned(self, statements: list[ast.stmt]) -> frozenset[str]:
        return frozenset(names.bindings_of(statements).names)

    def carried(self, statements: list[ast.stmt]) -> frozenset[str]:
        """The names assigned, without those of the conversion that live in the statements alone."""
        assigned = self.assigned(statements)
        lowering = self.scope.lowering
        if lowering is None or assigned.isdisjoint(lowering.homes):
            return assigned
        return assigned - lowering.begun_in(statements)

    def branch(self, kind: str, statements: list[ast.stmt], tail: Tail | None) -> ast.expr:
        """A function that runs a suite."""
        if statements:
            return load(self.define(kind, statements, tail))
        if tail and tail.rest:
            return load(tail.rest)
        return ast.Attribute(load(RUNTIME), "nothing", ast.Load())

    def define(
        self,
        kind: str,
        statements: list[ast.stmt],
        tail: Tail | None,
        parameters: tuple[str, ...] = (),
    ) -> str:
        """Define a function that runs a suite, at the top of the user's function; its name."""
        assigned = self.assigned(statements)  # first: the conversion moves statements elsewhere
        before = len(self.lowering.added)
        converted = self.suite(statements, tail)
        assigned = assigned.union(self.lowering.added[before:])
        outer = assigned & self.scope.bindings.globals
        declared: list[ast.stmt] = []
        if outer:
            declared.append(ast.Global(sorted(outer)))
        if assigned - outer:
            declared.append(ast.Nonlocal(sorted(assigned - outer)))
        function = definition(self.name(kind))
        function.args.args = [ast.arg(name) for name in parameters]
        function.body = [*declared, *converted]
        self.scope.hoisted.append(at(function, self.origin([])))
        return function.name


def _split_documentation(body: list[ast.stmt]) -> tuple[list[ast.stmt], list[ast.stmt]]:
    match body:
        case [ast.Expr(value=ast.Constant(value=str())), *rest]:
            return body[:1], rest
    return [], body


Statement = TypeVar("Statement", bound=ast.stmt)


def _on_line(node: Statement, line: int) -> Statement:
    node.lineno = node.end_lineno = line
    node.col_offset = node.end_col_offset = 0
    return node
