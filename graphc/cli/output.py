"""What is printed: graphs in their formats, kernels and code."""

from __future__ import annotations

import json
import shutil
import subprocess

from graphc import errors
from graphc.compiled import Compiled
from graphc.ir import Graph


def formatted(graph: Graph, format: str) -> str:
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


def code_text(compiled: Compiled, fused: Graph, stage: str) -> str:
    from graphc.runtime.listing import listing
    from graphc.runtime.llvm.jit import assembly
    from graphc.runtime.step import Step

    step = Step(fused, compiled._options.fastmath)
    if stage == "llvm":
        return step.text.rstrip("\n")
    if stage == "asm":
        return assembly(step.text).rstrip("\n")
    return listing(step)
