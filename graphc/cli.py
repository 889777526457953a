"""The command line: `graphc dump` and `graphc explain`.

Whatever is wrong with the user's file, function or arguments becomes one message on stderr, with
the user's line where there is one, and exit code 2.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib.util
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import graphc
from graphc import errors
from graphc.compiled import STAGES, Compiled
from graphc.ir import FLOATS, NUMPY_DTYPES, Graph, Loc
from graphc.trace import tree
from graphc.trace.scope import shown_file
from graphc.trace.trace import Spec

if TYPE_CHECKING:
    pass

T = TypeVar("T")

CODE_STAGES = ("kernels", "llvm", "asm")
FORMATS = ("text", "dot", "json", "svg")


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out a command line; the exit code."""
    options = _parser().parse_args(argv)
    try:
        command: Callable[[argparse.Namespace], str] = options.command
        print(command(options))
        sys.stdout.flush()
    except errors.GraphcError as error:
        print(f"graphc: {_message(error)}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader (`| head`) has what it wanted; nothing is left to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _message(error: errors.GraphcError) -> str:
    text = str(error)
    return text.removeprefix(f"{error.loc}: ") if _is_ours(error.loc) else text


def _is_ours(loc: object) -> bool:
    """Whether a place is none of the user's: it lies in the script that started us."""
    return loc is None or (isinstance(loc, Loc) and loc.file == shown_file(sys.argv[0]))


# ---- the commands --------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="graphc", description="Look at what graphc makes of a function."
    )
    parser.add_argument("--version", action="version", version=f"graphc {graphc.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_dump(commands)
    _add_explain(commands)
    return parser


def _add_dump(commands: Any) -> None:
    dump = commands.add_parser(
        "dump",
        help="print the graph, the kernels or the code of a function",
        description="Print the graph, the kernels or the code of a function.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_function(dump)
    dump.add_argument(
        "--stage",
        choices=(*STAGES, *CODE_STAGES),
        default="optimized",
        help="how far to compile: the graph as traced, optimized or fused; the loop nests"
        " (kernels); LLVM IR; the assembly of this machine (default: %(default)s)",
    )
    dump.add_argument(
        "--format",
        choices=FORMATS,
        default="text",
        help="how to write a graph; svg needs Graphviz (default: %(default)s)",
    )
    dump.set_defaults(command=_dump)


def _add_explain(commands: Any) -> None:
    explain = commands.add_parser(
        "explain",
        help="say which kernels a function becomes, and why",
        description="Say which kernels a function becomes, what they move, and what was not fused.",
        epilog=EXAMPLES.replace("dump", "explain").replace(" --stage fused", ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_function(explain)
    explain.add_argument("--json", action="store_true", help="for programs, not for people")
    explain.set_defaults(command=_explain)


def _add_function(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("function", metavar="FILE.py:FN", help="the file, and the function in it")
    parser.add_argument(
        "--arg",
        action="append",
        default=[],
        metavar="TYPE",
        help="the type of an argument, in order: 'f32[64,1000]', a number such as 0.1, or a tuple,"
        " list or dict of them; NAME=TYPE for a keyword.  Arguments without --arg take their"
        ' annotation, x: "f32[64,1000]"',
    )
    parser.add_argument(
        "--grad",
        action="store_true",
        help="the function's value and its gradient by every argument of floats",
    )


EXAMPLES = """examples:
  graphc dump model.py:loss --arg 'f32[64,1000]' --arg 'f32[1000,10]' --stage fused
  graphc dump model.py:loss --arg "{'w': f32[3], 'b': f32[]}" --grad
"""


def _dump(options: argparse.Namespace) -> str:
    if options.stage in CODE_STAGES and options.format != "text":
        raise errors.CommandError(
            f"--stage {options.stage} is text; leave out --format {options.format}, or choose one"
            f" of the stages {', '.join(STAGES)}"
        )
    job = _job(options)
    if options.stage in CODE_STAGES:
        return job.run(lambda: _code(job.compiled, job.graph("fused"), options.stage))
    return _formatted(job.graph(options.stage), options.format)


def _explain(options: argparse.Namespace) -> str:
    job = _job(options)
    report = job.run(lambda: job.compiled.explain(*job.args, **job.kwargs))
    return json.dumps(report.to_dict(), indent=2) if options.json else str(report)


@dataclass(frozen=True)
class _Job:
    """A compiled function, the arguments to compile it for, and the file that it is from."""

    compiled: Compiled
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    path: Path

    def graph(self, stage: str) -> Graph:
        return self.run(lambda: self.compiled.graph(*self.args, stage=stage, **self.kwargs))

    def run(self, action: Callable[[], T]) -> T:
        """`action()`, in which the user's function is traced: what it raises is a user error."""
        try:
            with _blaming_user(self.path):
                return action()
        except errors.GraphcError as error:
            if _is_ours(error.loc):  # said of the function as a whole
                raise errors.CommandError(_message(error), _place(self.compiled)) from None
            raise


def _job(options: argparse.Namespace) -> _Job:
    path, function = _load(options.function)
    args, kwargs = _arguments(function, options.arg)
    if options.grad:
        function = _with_gradient(function, args)
    compiled = function if isinstance(function, Compiled) else graphc.compile(function)
    return _Job(compiled, args, kwargs, path)


def _with_gradient(function: Any, args: tuple[Any, ...]) -> Any:
    argnums = tuple(i for i, arg in enumerate(args) if _is_float(arg))
    if not argnums:
        raise errors.CommandError(
            "--grad needs an argument of floats to differentiate by, such as --arg 'f32[3]'",
            _place(function),
        )
    return graphc.value_and_grad(function, argnums)


def _is_float(arg: Any) -> bool:
    leaves = tree.flatten(arg)[0]
    return bool(leaves) and all(isinstance(x, Spec) and x.dtype in FLOATS for x in leaves)


# ---- the function --------------------------------------------------------------------------------


def _load(target: str) -> tuple[Path, Any]:
    """The file and the function that FILE.py:FN names."""
    file, colon, name = target.rpartition(":")
    if not colon or not file or not name:
        raise errors.CommandError(f"{target!r} is not FILE.py:FN, a file and a function in it")
    path = Path(file)
    if not path.is_file():
        raise errors.CommandError(f"there is no file {file}; give the path of a Python file")
    return path, _find(_import_file(path), name, file)


def _import_file(path: Path) -> ModuleType:
    """Run the file as a module, with its folder importable, as `python FILE.py` has it."""
    sys.path.insert(0, str(path.parent.resolve()))
    name = f"graphc_file_{path.stem}"  # a file called types.py must not replace that module
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise errors.CommandError(f"{path} is not a Python file; its name must end in .py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    with _blaming_user(path):
        spec.loader.exec_module(module)
    return module


def _find(module: ModuleType, name: str, file: str) -> Any:
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise errors.CommandError(f"{file} has no function {name}{_known(module)}")
        found = getattr(found, part)
    if not callable(found) or isinstance(found, type):
        raise errors.CommandError(
            f"{name} in {file} is not a function, but of type {type(found).__name__}"
            f"{_known(module)}"
        )
    return found


def _known(module: ModuleType) -> str:
    own = [name for name, value in vars(module).items() if _is_own(value, module)]
    return f"; it has {', '.join(own)}" if own else "; it defines no function"


def _is_own(value: Any, module: ModuleType) -> bool:
    is_here = getattr(value, "__module__", None) == module.__name__
    return is_here and callable(value) and not isinstance(value, type)


@contextlib.contextmanager
def _blaming_user(path: Path) -> Iterator[None]:
    """Turn an exception from the user's code into an error with the user's line.

    What the code prints goes to stderr, so that stdout is the dump alone.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except errors.GraphcError:
        raise
    except SyntaxError as error:
        where = Loc(shown_file(error.filename or str(path)) or str(path), error.lineno or 1)
        raise errors.CommandError(f"{error.msg}; correct the file", where) from None
    except (Exception, SystemExit) as error:
        where_raised = _user_line(error, path)
        if where_raised is None:
            raise  # not the user's doing: a bug of graphc, which needs its traceback
        raise errors.CommandError(
            f"{type(error).__name__}: {error}; graphc runs the file and traces the function, and"
            " this is what it raised",
            where_raised,
        ) from None


def _user_line(error: BaseException, path: Path) -> Loc | None:
    """The innermost line below the file's folder that `error` came through."""
    folder = path.parent.resolve()
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).resolve().is_relative_to(folder)
        and "site-packages" not in frame.filename
        and shown_file(frame.filename) is not None
        and frame.filename != sys.argv[0]
    ]
    if not frames:
        return None
    return Loc(shown_file(frames[-1].filename) or str(path), frames[-1].lineno or 1)


def _place(function: Any) -> Loc | None:
    """Where a function is defined."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    shown = shown_file(code.co_filename) if code is not None else None
    return Loc(shown, code.co_firstlineno) if code is not None and shown is not None else None


# ---- its arguments -------------------------------------------------------------------------------


def _arguments(function: Any, given: Sequence[str]) -> tuple[tuple[Any, ...], dict[str, Any]]:
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
    shown = f"{_title(function)}({', '.join(signature.parameters)})"
    try:
        bound = signature.bind_partial(*positional, **named)
    except TypeError as error:
        raise errors.CommandError(
            f"{shown}: {error}; give one --arg for each argument",
            _place(function),
        ) from None
    for parameter in signature.parameters.values():
        if parameter.name not in bound.arguments and _is_needed(parameter):
            bound.arguments[parameter.name] = _by_annotation(function, parameter)
    return bound.args, bound.kwargs


def _is_needed(parameter: inspect.Parameter) -> bool:
    is_rest = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return parameter.default is parameter.empty and not is_rest


def _title(function: Any) -> str:
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
        f"{_title(function)}: no type for its argument {parameter.name}; add --arg"
        f" '{parameter.name}=f32[64,1000]', or annotate it: {parameter.name}: \"f32[64,1000]\"",
        _place(function),
    )


def _named(text: str) -> tuple[str | None, Any]:
    """NAME=TYPE, or a type alone."""
    name, equals, rest = text.partition("=")
    if equals and name.strip().isidentifier():
        return name.strip(), _value(rest)
    return None, _value(text)


_TYPE = rf"({'|'.join(NUMPY_DTYPES)})\[([\d,\s]*)\]"
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
        sizes = tuple(int(size) for size in match.group(2).split(",") if size.strip())
        types.append(Spec(sizes, match.group(1)))
        return f"type_{len(types) - 1}"

    replaced = _STRING_OR_TYPE.sub(stand_in, _QUOTED_TYPE.sub(r"\2", text)).strip()
    try:
        return _literal(ast.parse(replaced, mode="eval").body, types)
    except (SyntaxError, ValueError, RecursionError):
        raise errors.CommandError(
            f"--arg {text!r} is neither a type such as f32[64,1000] (of {', '.join(NUMPY_DTYPES)};"
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


# ---- what is printed -----------------------------------------------------------------------------


def _formatted(graph: Graph, format: str) -> str:
    from graphc.draw import to_dot, to_json

    if format == "json":
        return json.dumps(to_json(graph), indent=2)
    if format == "text":
        return str(graph)
    return to_dot(graph) if format == "dot" else _svg(to_dot(graph))


def _svg(dot: str) -> str:
    program = shutil.which("dot")
    if program is None:
        raise errors.CommandError(
            "--format svg needs Graphviz, whose command `dot` is not on the PATH; install it, or"
            " use --format dot"
        )
    drawn = subprocess.run([program, "-Tsvg"], input=dot, capture_output=True, text=True)
    if drawn.returncode:
        raise errors.CommandError(
            f"Graphviz failed: {drawn.stderr.strip()}; use --format dot to see what it was given"
        )
    return drawn.stdout.rstrip("\n")


def _code(compiled: Compiled, fused: Graph, stage: str) -> str:
    from graphc.runtime.listing import listing
    from graphc.runtime.llvm.jit import assembly
    from graphc.runtime.step import Step

    step = Step(fused, compiled._options.fastmath)
    if stage == "llvm":
        return step.text.rstrip("\n")
    if stage == "asm":
        return assembly(step.text).rstrip("\n")
    return listing(step)
