"""From a function to the syntax tree that it was made of.

The whole file is parsed and the function is looked up in it by line and name: its text is never
cut out and dedented, which would break multi-line strings.  What was found is compiled and
compared with the code of the function, so that a file edited since its import is noticed, and so
that the right one of several lambdas on a line is taken.
"""

from __future__ import annotations
import __future__

import ast
import functools
import linecache
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from graphc.trace.syntax_names import children, fields_with_nodes, own_names

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

FACTORY = "__graphc_factory__"
FUNCTION = "__graphc_function__"

_FUTURE_FLAGS = sum(
    getattr(__future__, name).compiler_flag for name in __future__.all_feature_names
)


class SourceMissing(Exception):
    """The source of a function cannot be used; the message says why."""


class Found(NamedTuple):
    """A function in its file: its syntax, and what of the file its compilation depends on.

    The name of the class around it mangles `__x`, and a method call on a module that the file
    imports compiles to other instructions than one on an object.  `statement` is the one of the
    file that it stands in.
    """

    node: FunctionNode
    class_name: str | None
    imports: tuple[str, ...]
    statement: ast.stmt


def find(code: types.CodeType, module: dict[str, Any]) -> Found:
    """The syntax that `code`, of a function in `module`, was compiled from.

    The tree is shared between calls and must not be changed.
    """
    filename = code.co_filename
    linecache.checkcache(filename)
    lines = linecache.getlines(filename, module)
    if not lines:
        raise SourceMissing(f"there is no source file {filename!r}")
    candidates = _candidates(_parsed(filename, lines), code.co_name, code.co_firstlineno)
    if any(name.startswith("@py") for name in code.co_names) and len(candidates) == 1:
        return candidates[0]  # pytest has rewritten the asserts in it, so that its code differs
    if len(candidates) == 1 and _compiles_to(candidates[0], code):
        return candidates[0]
    compiled = [(found, _recompile(found, code)) for found in candidates]
    same = [(found, again) for found, again in compiled if _same_code(again, code)]
    if not same:
        raise SourceMissing(
            f"line {code.co_firstlineno} of {filename!r} does not hold the code that runs;"
            " the file has changed since it was imported, or an import hook rewrites it"
        )
    # Lambdas that differ in nothing but their place are told apart by their columns.
    exact = [pair for pair in same if _positions(pair[1]) == _positions(code)]
    return (exact or same)[0][0]


# ---- files ---------------------------------------------------------------------------------------


class _File(NamedTuple):
    """A file's lines, as `linecache` keeps them, the syntax in them, and the names it imports."""

    lines: list[str]
    tree: ast.Module
    imports: tuple[str, ...]


_files: dict[str, _File] = {}
"""`linecache` keeps one list of lines until the size or time of the file changes."""


def _parsed(filename: str, lines: list[str]) -> _File:
    known = _files.get(filename)
    if known is None or known.lines is not lines:
        try:
            tree = ast.parse("".join(lines), filename)
        except SyntaxError as error:
            raise SourceMissing(f"{filename!r} is not Python as it stands: {error}") from None
        known = _files[filename] = _File(lines, tree, tuple(_imports(tree.body)))
    return known


def _candidates(file: _File, name: str, line: int) -> list[Found]:
    """The functions of this name that begin on this line.

    Only what covers the line is searched, unless nothing is found there: before Python 3.12 what
    is within an f-string of several lines says that it stands elsewhere.
    """
    for covering in (line, None):
        found = [
            function
            for function in _walk(file, covering)
            if _first_line(function.node) == line
            and getattr(function.node, "name", "<lambda>") == name
        ]
        if found:
            return found
    return []


def _first_line(node: ast.AST) -> int:
    """Where Python says that a function begins: at its first decorator."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    first: int = min(part.lineno for part in (node, *decorators))  # type: ignore[attr-defined]
    return first


def _walk(file: _File, line: int | None) -> Iterator[Found]:
    """The functions of a file: those around `line`, or all of them."""
    for statement in file.tree.body:
        waiting: list[tuple[ast.AST, str | None]] = [(statement, None)]
        while waiting:
            node, class_name = waiting.pop()
            if not _covers(node, line):
                continue
            if isinstance(node, FunctionNode):
                yield Found(node, class_name, file.imports, statement)
            if isinstance(node, ast.ClassDef):
                class_name = node.name
            waiting.extend((child, class_name) for child in children(node))


def _covers(node: ast.AST, line: int | None) -> bool:
    end: int | None = getattr(node, "end_lineno", None)
    return line is None or end is None or _first_line(node) <= line <= end


def _imports(statements: Iterable[ast.stmt]) -> Iterator[str]:
    """The names that a module imports, outside of its functions and classes."""
    for statement in statements:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            for alias in statement.names:
                if alias.name != "*":
                    yield from own_names(alias)
        elif not isinstance(statement, FunctionNode | ast.ClassDef):
            for part in ("body", "orelse", "finalbody"):
                yield from _imports(getattr(statement, part, ()))
            for part in ("handlers", "cases"):
                for case in getattr(statement, part, ()):
                    yield from _imports(case.body)


# ---- compiling one function ----------------------------------------------------------------------


def _compiles_to(found: Found, code: types.CodeType) -> bool:
    """Whether the statement around the function, as it stands in the file, holds its code."""
    module = ast.Module([*_import_statements(found.imports), found.statement], [])
    flags = code.co_flags & _FUTURE_FLAGS
    try:
        compiled = compile(module, code.co_filename, "exec", flags=flags, dont_inherit=True)
    except SyntaxError:  # outside of the module that it was written for
        return False
    return code in _codes_in(compiled)


def _codes_in(code: types.CodeType) -> Iterator[types.CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield constant
            yield from _codes_in(constant)


@functools.lru_cache(64)
def _import_statements(names: tuple[str, ...]) -> Sequence[ast.stmt]:
    statements = [ast.Import([ast.alias(name)]) for name in names]
    return ast.fix_missing_locations(ast.Module([*statements], [])).body


def _recompile(found: Found, code: types.CodeType) -> types.CodeType:
    """The code of the function in `found`, unchanged, where `code` was compiled."""
    return compile_function(bare(found.node), found, code, ())


def bare(node: FunctionNode) -> FunctionNode:
    """A copy of a function without what runs when it is defined, rather than when it is called."""
    node = _copy(node)
    node.lineno = _first_line(node)
    node.args.defaults = []
    node.args.kw_defaults = [None] * len(node.args.kwonlyargs)
    arguments = node.args
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        argument.annotation = None
    for star in (arguments.vararg, arguments.kwarg):
        if star is not None:
            star.annotation = None
    if not isinstance(node, ast.Lambda):
        node.name = FUNCTION
        node.decorator_list = []
        node.returns = None
        if hasattr(node, "type_params"):
            node.type_params = []
    return node


def _copy(node: Any) -> Any:
    """`copy.deepcopy` of a syntax tree, many times as fast; what has no parts is shared."""
    kind: Any = node.__class__
    new = kind.__new__(kind)
    fields = new.__dict__
    fields.update(node.__dict__)
    for name in fields_with_nodes(kind):
        part = fields.get(name)
        if part.__class__ is list:
            fields[name] = [_copy(item) if isinstance(item, ast.AST) else item for item in part]
        elif isinstance(part, ast.AST):
            fields[name] = _copy(part)
    return new


def compile_function(
    node: FunctionNode, found: Found, like: types.CodeType, extra: tuple[str, ...]
) -> types.CodeType:
    """Compile a bare function as if it stood at `found`, where `like` was compiled.

    Its free variables, and the names `extra`, are parameters of a factory around it, which is
    compiled but never run; every other name is global, as it was.
    """
    free = [name for name in like.co_freevars if name.isidentifier()]
    inner: ast.stmt = ast.Expr(node) if isinstance(node, ast.Lambda) else node
    factory = definition(FACTORY)
    factory.args.args = [ast.arg(name) for name in (*free, *extra)]
    factory.body = [inner]
    if found.class_name is not None:
        factory.body = list(_inside_class(inner, found.class_name, free))
    module = ast.Module([*_import_statements(found.imports), factory], [])
    _locate(factory, {"lineno": 1, "col_offset": 0, "end_lineno": 1, "end_col_offset": 0})
    flags = like.co_flags & _FUTURE_FLAGS
    code: types.CodeType
    code = compile(module, like.co_filename, "exec", flags=flags, dont_inherit=True)
    for _ in range(2 if found.class_name is None else 3):
        code = next(const for const in code.co_consts if isinstance(const, types.CodeType))
    return code


_PLACE = ("lineno", "col_offset", "end_lineno", "end_col_offset")


def _locate(node: ast.AST, place: Mapping[str, Any]) -> None:
    """`ast.fix_missing_locations` in a third of the time: what stands nowhere stands where the
    node around it does, at `place`."""
    if "lineno" in node._attributes:
        own = node.__dict__
        if own.get("lineno") is None or own.get("end_lineno") is None:
            for name in _PLACE:
                if own.get(name) is None:
                    own[name] = place[name]
        place = own
    for child in children(node):
        _locate(child, place)


def _inside_class(node: ast.stmt, class_name: str, free: list[str]) -> Iterator[ast.stmt]:
    if class_name not in free:
        yield ast.Global([class_name])
    holder = ast.parse(f"class {class_name}: pass").body[0]
    assert isinstance(holder, ast.ClassDef)
    holder.body = [node]
    yield holder


def definition(name: str) -> ast.FunctionDef:
    """`def name(): pass`."""
    # Parsed, not built, because the required fields differ between versions of Python.
    definition = ast.parse(f"def {name}(): pass").body[0]
    assert isinstance(definition, ast.FunctionDef)
    return definition


# ---- comparing code ------------------------------------------------------------------------------

_COMPARED = (
    "co_argcount",
    "co_posonlyargcount",
    "co_kwonlyargcount",
    "co_varnames",
    "co_cellvars",
    "co_freevars",
    "co_names",
    "co_code",
)


def _same_code(one: types.CodeType, other: types.CodeType) -> bool:
    """Whether two code objects do the same, names and places apart."""
    return (
        all(getattr(one, name) == getattr(other, name) for name in _COMPARED)
        and len(one.co_consts) == len(other.co_consts)
        and all(map(_same_constant, one.co_consts, other.co_consts))
    )


def _same_constant(one: object, other: object) -> bool:
    if isinstance(one, types.CodeType) and isinstance(other, types.CodeType):
        return _same_code(one, other)
    if isinstance(one, str) and isinstance(other, str) and FUNCTION in one:
        return True  # the qualified name of a class defined inside the function
    if isinstance(one, frozenset):
        return one == other  # its order of printing is arbitrary
    return type(one) is type(other) and repr(one) == repr(other)


def _positions(code: types.CodeType) -> list[tuple[int | None, ...]]:
    return list(code.co_positions())
