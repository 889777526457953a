"""What a piece of Python syntax binds, and how control leaves it.

Both questions are about one function: what nested functions, lambdas and classes do inside of
themselves is their own affair, and only their names, decorators and defaults count.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

FRAME_FUNCTIONS = frozenset({"locals", "vars", "dir", "eval", "exec"})
"""Builtins whose answer depends on the frame that calls them."""

COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


_LEAVES = frozenset({"arg", "attr", "ctx", "id", "kind", "op", "ops", "type_comment"})
"""Fields that hold names, operators and contexts."""


_FIELDS: dict[type[ast.AST], tuple[str, ...]] = {ast.Constant: ()}


def fields_with_nodes(kind: type[ast.AST]) -> tuple[str, ...]:
    """The fields of a kind of node that may hold others."""
    found = _FIELDS.get(kind)
    if found is None:
        found = _FIELDS[kind] = tuple(name for name in kind._fields if name not in _LEAVES)
    return found


def children(node: ast.AST) -> list[ast.AST]:
    """`ast.iter_child_nodes` in a third of the time, without operators and contexts."""
    found: list[ast.AST] = []
    for name in fields_with_nodes(node.__class__):
        value = getattr(node, name, None)
        if value.__class__ is list:
            found += [part for part in value if isinstance(part, ast.AST)]
        elif isinstance(value, ast.AST):
            found.append(value)
    return found


def everything_in(node: ast.AST) -> Iterator[ast.AST]:
    """`node` and all that is nested in it."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += children(node)


_SUITES = ("body", "orelse", "finalbody", "handlers", "cases")


def statements_in(node: ast.AST) -> Iterator[ast.AST]:
    """The statements in `node`, those of nested functions and classes as well."""
    for name in _SUITES:
        suite = getattr(node, name, None)
        if isinstance(suite, list):
            for statement in suite:
                yield statement
                yield from statements_in(statement)


def outer_parts(node: ast.AST) -> Sequence[ast.AST]:
    """The children of `node` that run in the same function as it does, annotations left out."""
    is_apart = node.__class__.__name__ in _APART
    return _parts_outside(node) if is_apart else children(node)


_APART = frozenset(
    {"FunctionDef", "AsyncFunctionDef", "Lambda", "ClassDef", "AnnAssign", "TypeAlias"}
)


def _parts_outside(node: Any) -> Sequence[ast.AST]:
    """Those of a node with parts that run elsewhere, or later, or not at all."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return [*node.decorator_list, *_defaults(node.args)]
        case ast.Lambda():
            return _defaults(node.args)
        case ast.ClassDef():
            return [*node.decorator_list, *node.bases, *node.keywords]
        case ast.AnnAssign():
            return [node.target] if node.value is None else [node.target, node.value]
    return [node.name]  # of a `type` statement, since Python 3.12; its value is evaluated lazily


def _defaults(arguments: ast.arguments) -> list[ast.expr]:
    return [*arguments.defaults, *(d for d in arguments.kw_defaults if d is not None)]


# ---- names ---------------------------------------------------------------------------------------


@dataclass
class Bindings:
    """The names that some statements bind or delete, and those declared global or nonlocal."""

    names: set[str] = field(default_factory=set)
    globals: set[str] = field(default_factory=set)
    nonlocals: set[str] = field(default_factory=set)


def bindings_of(nodes: Iterable[ast.AST]) -> Bindings:
    """What `nodes` bind in the function that they stand in."""
    found = Bindings()
    for node in nodes:
        _collect(node, found, in_comprehension=False)
    return found


def _collect(node: ast.AST, found: Bindings, in_comprehension: bool) -> None:
    if isinstance(node, ast.Global):
        found.globals.update(node.names)
    elif isinstance(node, ast.Nonlocal):
        found.nonlocals.update(node.names)
    elif isinstance(node, ast.NamedExpr):
        # An assignment expression in a comprehension binds in the function around it.
        found.names.add(node.target.id)
    elif not in_comprehension and node.__class__ in NAMING:
        found.names.update(own_names(node))
    inside = in_comprehension or isinstance(node, COMPREHENSIONS)
    for part in outer_parts(node):
        _collect(part, found, inside)


def only_augmented(nodes: Iterable[ast.AST]) -> set[str]:
    """The names that `nodes` bind by augmented assignment and in no other way."""
    augmented: list[str] = []
    every: list[str] = []
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            augmented.append(node.target.id)
        every += own_names(node)
        waiting += outer_parts(node)
    return {name for name in augmented if augmented.count(name) == every.count(name)}


NAMING = frozenset(
    {
        *(ast.arg, ast.Name, ast.alias, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef),
        *(ast.ExceptHandler, ast.MatchAs, ast.MatchStar, ast.MatchMapping),
    }
)
"""The kinds of node that bind names themselves."""


def own_names(node: ast.AST) -> Iterator[str]:
    """The names that `node` itself binds, not its children."""
    if isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.Name):
        if not isinstance(node.ctx, ast.Load):
            yield node.id
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.alias):
        yield node.asname or node.name.partition(".")[0]
    elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
        if node.name is not None:
            yield node.name
    elif isinstance(node, ast.MatchMapping) and node.rest is not None:
        yield node.rest


def parameters(arguments: ast.arguments) -> list[str]:
    """The parameters of a function, those that a positional argument can fill first."""
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    stars = [star for star in (arguments.vararg, arguments.kwarg) if star is not None]
    return [argument.arg for argument in (*every, *stars)]


def mangle(name: str, class_name: str | None) -> str:
    """`name` as the compiler stores it: `__x` in class `C` is `_C__x`."""
    if class_name is None or not name.startswith("__") or name.endswith("__"):
        return name
    prefix = class_name.lstrip("_")
    return f"_{prefix}{name}" if prefix else name


# ---- control -------------------------------------------------------------------------------------


def exits(nodes: Iterable[ast.AST]) -> frozenset[str]:
    """How control can leave `nodes` other than at their end or by an exception.

    Any of "break", "continue" (of a loop around them), "return", "yield" and "await"; and a name
    such as "locals()" for a call whose answer depends on the frame that it is made in.
    """
    return frozenset(kind for node in nodes for kind in _exits(node))


def _exits(node: ast.AST) -> Iterator[str]:
    own = _own_exit(node)
    if own is not None:
        yield own
    if isinstance(node, ast.For | ast.AsyncFor | ast.While):
        # A `break` in the body belongs to this loop, one in its `else` to a loop around it.
        yield from exits(node.body) - {"break", "continue"}
        yield from exits(node.orelse)
        yield from exits([node.test] if isinstance(node, ast.While) else [node.target, node.iter])
    else:
        for part in outer_parts(node):
            yield from _exits(part)


_EXITS: Mapping[type[ast.AST], str] = {
    ast.Break: "break",
    ast.Continue: "continue",
    ast.Return: "return",
    ast.Yield: "yield",
    ast.YieldFrom: "yield",
    ast.Await: "await",
    ast.AsyncFor: "await",
    ast.AsyncWith: "await",
}


def _own_exit(node: ast.AST) -> str | None:
    kind = node.__class__
    if kind is ast.Call:
        match node:
            case ast.Call(func=ast.Name(id=name)) if depends_on_frame(node):
                return f"{name}()"
    elif kind is ast.comprehension:
        return "await" if node.is_async else None  # type: ignore[attr-defined]
    return _EXITS.get(kind)


def depends_on_frame(call: ast.Call) -> bool:
    """Whether a call reads the frame that it is made in: `locals()`, but not `vars(x)`."""
    if not isinstance(call.func, ast.Name) or call.func.id not in FRAME_FUNCTIONS:
        return False
    return call.func.id in ("eval", "exec") or not call.args


def falls_through(suite: list[ast.stmt]) -> bool:
    """Whether control may reach the end of a suite.  True where the syntax alone cannot tell."""
    if not suite:
        return True
    match suite[-1]:
        case ast.Return() | ast.Raise() | ast.Break() | ast.Continue():
            return False
        case ast.If(body=body, orelse=orelse):
            return falls_through(body) or falls_through(orelse)
    return True


def leaves_try(nodes: Iterable[ast.AST]) -> bool:
    """Whether control leaves a `try` in `nodes` by `break`, `continue` or `return`."""
    return any(
        (isinstance(node, ast.Try | ast.TryStar) and bool(exits([node])))
        or leaves_try(outer_parts(node))
        for node in nodes
    )


def why_unmovable(expression: ast.expr) -> str | None:
    """What forbids to put an expression into a lambda of its own, None if nothing does."""
    for node in _same_function(expression):
        if isinstance(node, ast.NamedExpr):
            return ":="
        if (kind := _own_exit(node)) is not None:
            return kind
    return None


def _same_function(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for part in outer_parts(node):
        yield from _same_function(part)
