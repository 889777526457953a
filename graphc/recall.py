"""Finding a step by its trace: in a new process the passes need not run for code that is on disk.

The key of a step is made of all that decides what it is: the graph as it was traced, what was asked
of the compiler, this machine, and the compiler itself, which is known by its files.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import llvmlite.binding as llvm
import numpy as np

import graphc
import graphc.passes
import graphc.runtime
from graphc.fingerprint import fingerprint
from graphc.ir import Graph
from graphc.passes import pipeline
from graphc.runtime.disk_cache import current_cache, key_of
from graphc.runtime.llvm.target import host_target
from graphc.runtime.threads import allowed_threads, has_pool

if TYPE_CHECKING:
    from graphc.specialised import Options

File = tuple[str, int, tuple[int, int], int]
"""A file's path, size, times of change, and inode."""

LEAST = 8
"""Graphs of fewer equations compile as fast as they are found."""


def key_of_step(traced: Graph, options: Options) -> str | None:
    """The key for the step of a graph, None where none is kept.

    Nor is it while somebody watches the passes: with GRAPHC_DEBUG.
    """
    if (
        current_cache() is None
        or options.target != "cpu"
        or len(traced.eqns) < LEAST
        or pipeline.is_watched()
    ):
        return None
    compiler, graph = compiler_stamp(), fingerprint(traced)
    if compiler is None or graph is None:
        return None
    asked = (options.fastmath, options.fusion, options.threads or allowed_threads(), has_pool())
    return key_of("step", graph, compiler, repr(asked), repr(tuple(host_target())))


@functools.cache
def compiler_stamp() -> str | None:
    """What changes with any change of graphc's source: each file's size and times.

    The time of the last change of a file's inode cannot be set, so that it tells files apart which
    an installer gave one date.  None where graphc does not lie in files.
    """
    files: set[File] = set()
    try:
        for package in (graphc, graphc.passes, graphc.runtime):
            own = set(_files(os.path.dirname(package.__file__ or "")))
            if not own:
                return None  # it lies in an archive, or in the interpreter
            files |= own
    except OSError:
        return None
    return repr((sorted(files), np.__version__, llvm.llvm_version_info))


def _files(folder: str) -> Iterator[File]:
    """The files of modules in a folder and those below, as source or compiled without it."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith((".py", ".pyc")):
                status = entry.stat()
                times = status.st_mtime_ns, status.st_ctime_ns
                yield entry.path, status.st_size, times, status.st_ino
            elif "." not in entry.name and entry.name != "__pycache__" and entry.is_dir():
                yield from _files(entry.path)


class LaterGraphs(dict[str, Graph]):
    """The graphs of a step that was found, by stage: passes run when one is asked for."""

    def __init__(
        self, traced: Graph, kernels: tuple[pipeline.Pass, ...], pass_ms: dict[str, float]
    ):
        super().__init__(traced=traced)
        self._kernels, self._pass_ms = kernels, pass_ms

    def __missing__(self, stage: str) -> Graph:
        before, passes = (
            (self["traced"], pipeline.OPTIMIZE)
            if stage == "optimized"
            else (self["optimized"], self._kernels)
        )
        self[stage], spent = pipeline.run(before, passes)
        self._pass_ms.update(spent)
        return self[stage]
