"""Finding a step by its trace: in a new process the passes need not run for code that is on disk.

The key of a step is made of the graph as it was traced, of what was asked of the compiler, and of
this machine.  The compiler itself, which is known by its files, is noted in the record under the
key: the files are looked at where there is one, and after a first call, to keep what it made.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

import llvmlite.binding as llvm
import numpy as np

import graphc
import graphc.passes
import graphc.runtime
from graphc.fingerprint import fingerprint
from graphc.ir import Graph
from graphc.passes import pipeline
from graphc.runtime.background import A_MOMENT, Background
from graphc.runtime.disk_cache import current_cache, key_of
from graphc.runtime.llvm.target import host_target
from graphc.runtime.recalled import Record, keep, load
from graphc.runtime.threads import allowed_threads, has_pool

if TYPE_CHECKING:
    from graphc.runtime.code import Code
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
    graph = fingerprint(traced)
    if graph is None:
        return None
    asked = (options.fastmath, options.fusion, options.threads or allowed_threads(), has_pool())
    place = f"{graphc.__version__} {graphc.__file__}"
    return key_of("step", graph, place, repr(asked), repr(tuple(host_target())))


def find(key: str) -> Record | None:
    """The record under a key, if this very compiler made it."""
    record = load(key)
    return None if record is None or record.compiler != compiler_stamp() else record


class _Unkept:
    """Steps that are not on disk yet: key, code, and whether it is short."""

    steps: ClassVar[list[tuple[str, Code, bool]]] = []


def keep_later(key: str, code: Code, is_short: bool) -> None:
    """Note a step for `keep_steps`."""
    _Unkept.steps.append((key, code, is_short))


def keep_steps() -> None:
    """Record on disk what has been noted, beside whatever this thread does next."""
    if _Unkept.steps:
        keeping.begin()


def _keep_steps() -> None:
    compiler = compiler_stamp()
    while _Unkept.steps:
        key, code, is_short = _Unkept.steps.pop()
        if compiler is not None:
            keep(key, code, is_short, compiler)


keeping = Background("graphc records", _keep_steps, A_MOMENT)


@functools.cache
def compiler_stamp() -> str | None:
    """What changes with any change of graphc's source; None where graphc does not lie in files."""
    files = compiler_files()
    if files is None:
        return None
    return key_of(repr(files), np.__version__, repr(llvm.llvm_version_info))


def compiler_files() -> list[File] | None:
    """Each file of graphc's source, with its size and times; None where it does not lie in files.

    The time of the last change of a file's inode cannot be set, so that it tells files apart which
    an installer gave one date.
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
    return sorted(files)


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
