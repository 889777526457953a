"""What is printed: graphs in their formats, kernels and code."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

from graphc import errors
from graphc.compiled import Compiled
from graphc.ir import Graph
from graphc.runtime.step import Step
from graphc.specialised import make_step

if TYPE_CHECKING:
    from graphc.runtime.cuda.step import CudaStep


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
    """The code of a function at one of the stages `kernels`, `llvm`, `asm` and `ptx`."""
    from graphc.runtime.listing import listing

    options = compiled._options
    step = make_step(fused, replace(options, threads=1))
    if stage == "kernels":
        return listing(step)
    if stage == "llvm":
        return step.text.rstrip("\n")
    return _machine_text(step, stage)


def _machine_text(step: Step | CudaStep, stage: str) -> str:
    from graphc.runtime.llvm.jit import assembly

    if isinstance(step, Step):
        if stage == "ptx":
            raise errors.CommandError("--stage ptx shows code of a GPU; add --target cuda")
        return assembly(step.text).rstrip("\n")
    if stage == "asm":
        raise errors.CommandError("--stage asm shows code of this machine; use --stage ptx")
    from graphc.runtime.cuda.ptx_cache import DEFAULT, cached_ptx

    return cached_ptx(step.text, DEFAULT).rstrip("\n")
