"""The command line: `graphc dump` and `graphc explain`.

Whatever is wrong with the user's file, function or arguments becomes one message on stderr, with
the user's line where there is one, and exit code 2.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import graphc
from graphc import errors
from graphc.api import TARGETS
from graphc.cli.arguments import arguments
from graphc.cli.function import blaming_user, load, place
from graphc.cli.output import code_text, formatted
from graphc.compiled import STAGES, Compiled
from graphc.ir import FLOATS, Graph, Loc
from graphc.trace import tree
from graphc.trace.scope import shown_file
from graphc.trace.trace import Spec

T = TypeVar("T")

CODE_STAGES = ("kernels", "llvm", "asm", "ptx")
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
        " (kernels); LLVM IR; the assembly of this machine; PTX for a GPU (default: %(default)s)",
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
    parser.add_argument(
        "--target",
        choices=TARGETS,
        help="what to compile for (default: what the file compiles the function for, else cpu); a"
        " GPU is not needed to look at what it would run",
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
        return job.run(lambda: code_text(job.compiled, job.graph("fused"), options.stage))
    return formatted(job.graph(options.stage), options.format)


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
            with blaming_user(self.path):
                return action()
        except errors.GraphcError as error:
            if _is_ours(error.loc):  # said of the function as a whole
                raise errors.CommandError(_message(error), place(self.compiled)) from None
            raise


def _job(options: argparse.Namespace) -> _Job:
    path, function = load(options.function)
    args, kwargs = arguments(function, options.arg)
    if options.grad:
        function = _with_gradient(function, args)
    return _Job(_compiled(function, options.target), args, kwargs, path)


def _compiled(function: Any, target: str | None) -> Compiled:
    """The function, for a target or for that which it is compiled for already."""
    if not isinstance(function, Compiled):
        return graphc.compile(function, target=target or "cpu")  # type: ignore[no-any-return]
    if target in (None, function._options.target):
        return function
    options = function._options
    return graphc.compile(  # type: ignore[no-any-return]
        function._function,
        target=target,
        fastmath=options.fastmath,
        donate=options.donate,
        check_nan=options.check_nan,
    )


def _with_gradient(function: Any, args: tuple[Any, ...]) -> Any:
    argnums = tuple(i for i, arg in enumerate(args) if _is_float(arg))
    if not argnums:
        raise errors.CommandError(
            "--grad needs an argument of floats to differentiate by, such as --arg 'f32[3]'",
            place(function),
        )
    return graphc.value_and_grad(function, argnums)


def _is_float(arg: Any) -> bool:
    leaves = tree.flatten(arg)[0]
    return bool(leaves) and all(isinstance(x, Spec) and x.dtype in FLOATS for x in leaves)
