"""Suites that control leaves only at their end: `break`, `continue` and `return` become variables.

    for x in xs:                 broke = False
        if x < 0:                for x in xs:  # until `broke`
            break         ->         if x < 0:
        y += x                           broke = True
    else:                            else:
        y = 0                            y += x
                                 if broke:
                                     pass
                                 else:
                                     y = 0

What follows an exit goes into the other branch of the `if` that it stands in, so that nothing is
written twice.  Where either branch may go on, it is guarded by the variables.  A `return` inside
of a loop is one more way to stop it, and `if returned: return value` after the loop.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import NamedTuple

from graphc.trace import syntax_names as names
from graphc.trace.syntax_pieces import at, load
from graphc.trace.syntax_runtime import RUNTIME

EXITS = frozenset({"break", "continue", "return"})

Loop = ast.While | ast.For


class Flags(NamedTuple):
    """The variables that say how control left a suite, and with which value."""

    skipped: str
    broke: str
    returned: str
    value: str

    def of(self, kinds: frozenset[str]) -> list[str]:
        """The variables that exits of these kinds set."""
        known = {"continue": self.skipped, "break": self.broke, "return": self.returned}
        return [name for kind, name in known.items() if kind in kinds]


class ExitLowering:
    """Rewrites suites.  `stops` collects, for each loop rewritten, the variables that stop it.

    `homes` has the statement by which each variable begins.  It is read in the same suite, after
    that statement, and nowhere else: loops and conditionals around it need not know of it.

    fresh     gives a new name of a kind
    may_move  whether the body of a loop may become a function
    """

    def __init__(self, fresh: Callable[[str], str], may_move: Callable[[Loop], bool]):
        self.fresh = fresh
        self.may_move = may_move
        self.stops: dict[ast.stmt, tuple[str, ...]] = {}
        self.added: list[str] = []
        self.homes: dict[str, ast.stmt] = {}

    # ---- loops -----------------------------------------------------------------------------------

    def expand(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        """The suite with its loops rewritten, those inside of other statements not."""
        return [new for statement in statements for new in self._expanded(statement)]

    def _expanded(self, node: ast.stmt) -> Iterator[ast.stmt]:
        if not isinstance(node, Loop) or node in self.stops or not self.may_move(node):
            yield node
            return
        node.body = self.expand(node.body)
        kinds = names.exits(node.body) & EXITS
        flags = self.flags()
        stops = flags.of(kinds - {"continue"})
        orelse, node.orelse = node.orelse, []
        self.stops[node] = tuple(stops)
        for name in stops:
            yield self.begin(name, ast.Constant(False), node)
        if "return" in kinds:
            yield self.begin(flags.value, self.no_value(node), node)
        node.body = self.lower(node.body, flags, guarded=False)
        if flags.skipped in self.added:
            node.body.insert(0, self.begin(flags.skipped, ast.Constant(False), node))
        yield node
        if "return" in kinds:
            yield return_if(flags, node) if may_end(node, kinds) else return_value(flags, node)
        if "break" in kinds and orelse:
            yield at(ast.If(load(flags.broke), [at(ast.Pass(), node)], orelse), orelse[0])
        else:
            yield from self.expand(orelse)

    # ---- conditionals that may return ------------------------------------------------------------

    def without_returns(self, node: ast.If) -> list[ast.stmt]:
        """An `if` of which some paths return and some go on, and what returns after it."""
        flags = self.flags()
        first = self.begin(flags.returned, ast.Constant(False), node)
        second = self.begin(flags.value, self.no_value(node), node)
        lowered = self.lower([node], flags, guarded=True)
        return [first, second, *lowered, return_if(flags, node)]

    # ---- suites ----------------------------------------------------------------------------------

    def lower(self, statements: list[ast.stmt], flags: Flags, guarded: bool) -> list[ast.stmt]:
        """The suite without exits; if `guarded`, what comes after it asks the variables."""
        statements = self.expand(statements)
        for index, node in enumerate(statements):
            kinds = names.exits([node]) & EXITS
            if kinds:
                ending = self._ending(node, statements[index + 1 :], kinds, flags, guarded)
                lowered = [*statements[:index], *ending]
                return lowered or [at(ast.Pass(), node)]
        return statements

    def _ending(
        self,
        node: ast.stmt,
        rest: list[ast.stmt],
        kinds: frozenset[str],
        flags: Flags,
        guarded: bool,
    ) -> list[ast.stmt]:
        """`node`, of which control leaves by `kinds`, and the statements after it."""
        if isinstance(node, ast.Break):
            return [self.assign(flags.broke, ast.Constant(True), node)]
        if isinstance(node, ast.Continue):
            return [self.assign(flags.skipped, ast.Constant(True), node)] if guarded else []
        if isinstance(node, ast.Return):
            value = node.value or at(ast.Constant(None), node)
            return [
                self.assign(flags.value, value, node),
                self.assign(flags.returned, ast.Constant(True), node),
            ]
        if isinstance(node, ast.If):
            if not names.falls_through(node.body):
                node.body = self.lower(node.body, flags, guarded)
                node.orelse = self.lower([*node.orelse, *rest], flags, guarded)
                return [node]
            if not names.falls_through(node.orelse):
                node.body = self.lower([*node.body, *rest], flags, guarded)
                node.orelse = self.lower(node.orelse, flags, guarded)
                return [node]
        must_guard = guarded or bool(rest)
        for suite in _suites(node):
            suite[:] = self.lower(suite, flags, must_guard)
        if not rest:
            return [node]
        return [node, self._unless(flags.of(kinds), self.lower(rest, flags, guarded), rest[0])]

    def _unless(self, set_by: list[str], rest: list[ast.stmt], origin: ast.AST) -> ast.stmt:
        tests: list[ast.expr] = [load(name) for name in set_by]
        test = tests[0] if len(tests) == 1 else ast.BoolOp(ast.Or(), tests)
        return at(ast.If(test, [at(ast.Pass(), origin)], rest), origin)

    # ---- variables -------------------------------------------------------------------------------

    def flags(self) -> Flags:
        return Flags(*map(self.fresh, ("skipped", "broke", "returned", "value")))

    def assign(self, name: str, value: ast.expr, origin: ast.AST) -> ast.stmt:
        self.added.append(name)
        return at(ast.Assign([ast.Name(name, ast.Store())], value), origin)

    def begin(self, name: str, value: ast.expr, origin: ast.AST) -> ast.stmt:
        """The first assignment to a variable of this class."""
        self.homes[name] = self.assign(name, value, origin)
        return self.homes[name]

    def no_value(self, origin: ast.AST) -> ast.expr:
        return at(ast.Attribute(load(RUNTIME), "undefined", ast.Load()), origin)

    def begun_in(self, statements: list[ast.stmt]) -> set[str]:
        """The variables of this class that begin in one of the statements."""
        homes = {id(home): name for name, home in self.homes.items()}
        inside = names.statements_in(ast.Module(statements, []))
        return {homes[id(node)] for node in inside if id(node) in homes}


def may_end(node: Loop, kinds: frozenset[str]) -> bool:
    """Whether a loop may end otherwise than by `return`."""
    if not isinstance(node, ast.While) or "break" in kinds:
        return True
    return not (isinstance(node.test, ast.Constant) and node.test.value)


def return_value(flags: Flags, origin: ast.AST) -> ast.stmt:
    return at(ast.Return(load(flags.value)), origin)


def return_if(flags: Flags, origin: ast.AST) -> ast.stmt:
    return at(ast.If(load(flags.returned), [return_value(flags, origin)], []), origin)


def _suites(node: ast.AST) -> Iterator[list[ast.stmt]]:
    """The suites of a compound statement that is not a loop."""
    for _, value in ast.iter_fields(node):
        if not isinstance(value, list) or not value:
            continue
        if isinstance(value[0], ast.stmt):
            yield value
        elif isinstance(value[0], ast.match_case):
            yield from (case.body for case in value)


def ends(suite: list[ast.stmt]) -> int:
    """In how many places what follows a suite would be called, if its returns are final."""
    if not suite:
        return 1
    match suite[-1]:
        case ast.If(body=body, orelse=orelse) if "return" in names.exits([suite[-1]]):
            return ends(body) + ends(orelse)
    return int(names.falls_through(suite))
