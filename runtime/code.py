"""A fused graph as machine code, and what it has to be given for sizes that have names."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping
from typing import NamedTuple

import numpy as np

from graphc.dims import Dim, Size
from graphc.ir import Eqn, Graph, Type, all_eqns
from graphc.ops import effects, external
from graphc.questions import evaluate
from graphc.runtime.arenas import Arenas
from graphc.runtime.barriers import place_barriers
from graphc.runtime.llvm.emit_parallel import LOOKS, TEAM, looks
from graphc.runtime.llvm.emit_step import ARENA_END, emit_step, work_bytes
from graphc.runtime.llvm.jit import add_symbols, compile_text, nothing
from graphc.runtime.llvm.routines import lapack
from graphc.runtime.llvm.target import HostTarget, host_target
from graphc.runtime.near_rows import with_near_rows
from graphc.runtime.plan import Arena, lay_out, lifetimes
from graphc.runtime.planner import make_program
from graphc.runtime.program import Call, Program
from graphc.runtime.result_rows import with_result_rows
from graphc.runtime.shares import Thresholds, divide
from graphc.runtime.sizes import Sizes, Sizing
from graphc.runtime.streams import with_streams
from graphc.runtime.threads import MOST, expect_pool, has_pool, start_pool

FAST_MATH = "reassoc nsz arcp contract"
STEP = "step"


class Options(NamedTuple):
    """How a step is to be made: see `step.Step`."""

    fastmath: bool
    threads: int
    thresholds: Thresholds
    target: HostTarget | None


class Clock:
    """The milliseconds of each stage, one after the other."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}
        self._start = time.perf_counter()

    def end(self, stage: str) -> None:
        now = time.perf_counter()
        self.milliseconds[stage] = 1e3 * (now - self._start)
        self._start = now


class Needs(NamedTuple):
    """What the code needs for one choice of sizes.

    The types of its results, the bytes of its working memory, and its constants: the last of them
    is the table of sizes, if it reads one.
    """

    types: list[Type]
    nbytes: int
    constants: list[np.ndarray]


class Code:
    """Machine code for a fused graph, planned for the `example` of its named sizes."""

    def __init__(self, graph: Graph, example: Mapping[str, int], options: Options):
        clock = Clock()
        target = options.target or host_target()
        self.sizing = Sizing(dict(example))
        with self.sizing.open():
            self._plan(graph, options, target)
            if self.program.shares > 1:
                expect_pool(self.program.shares)
            clock.end("plan")
            flags = FAST_MATH if options.fastmath else ""
            emitted = emit_step(self.program, self.arena, target, STEP, flags, self.sizing)
            self._work: Size = work_bytes(self.program, target)
        self.text = emitted.text
        self._calls = emitted.names
        add_symbols(_external_addresses(graph))
        lapack.provide(self.text)
        clock.end("emit")
        linked = start_pool if self.program.shares > 1 else nothing
        self.machine = compile_text(self.text, target=target, before_linking=linked)
        clock.end("machine code")
        self.stage_ms = clock.milliseconds
        self.address = self.machine.address(STEP)
        self.arenas = Arenas()

    @property
    def is_fixed(self) -> bool:
        """Whether no size has a name."""
        return self.sizing.is_fixed

    def _plan(self, graph: Graph, options: Options, target: HostTarget) -> None:
        shares = min(options.threads, MOST) if has_pool() else 1
        program = with_streams(make_program(graph), target.last_cache)
        program = with_near_rows(with_result_rows(program))
        divided = divide(program, shares, target.vector_bytes, options.thresholds)
        self._spans = lifetimes(divided)
        self.arena: Arena = lay_out(self._spans, self.sizing.example)
        self.program: Program = divided
        if divided.shares > 1:
            self.program = place_barriers(divided, self.arena)

    @property
    def updated(self) -> frozenset[int]:
        """The arguments that it writes."""
        return self.program.updated

    def kernel_names(self) -> list[tuple[str, Eqn | None, Call]]:
        """Each kernel that the step calls: its function's name, its equation, the call."""
        return [(name, call.eqn, call) for name, call in self._calls]

    def needs(self, sizes: Sizes) -> Needs:
        """What the code needs for these sizes, `Sizing.complete`."""
        graph, program = self.program.graph, self.program
        arena = self.arena if self.is_fixed else lay_out(self._spans, sizes)
        outs = [graph.outs[r.number].type for r in program.results if r is not None]
        constants = [dense.array for dense in program.constants]
        if not self.is_fixed:
            constants.append(self._table(sizes, arena))
            outs = [numbered(type, sizes) for type in outs]
        return Needs(outs, arena.nbytes + program.shares * evaluate(self._work, sizes), constants)

    def _table(self, sizes: Sizes, arena: Arena) -> np.ndarray:
        """The rows that the code reads: sizes, places in the arena, how many threads to call."""
        known = dict[Hashable, int](arena.offsets.items())
        known[ARENA_END] = arena.nbytes
        saving = self.program.saving
        if saving is not None:
            saved = saving.at(sizes)
            known[TEAM] = self.program.shares if saved >= saving.least else 1
            known[LOOKS] = looks(saving.patience_for(saved))
        rows = self.sizing.rows
        values = [evaluate(k, sizes) if isinstance(k, Dim) else known[k] for k in rows]
        return np.array(values or [0], np.int64)


def numbered(type: Type, sizes: Sizes) -> Type:
    """The type with the numbers of its sizes."""
    return type.with_shape(tuple(evaluate(size, sizes) for size in type.shape))


def _external_addresses(graph: Graph) -> dict[str, int]:
    """Where the machine code of each external function is that the graph calls."""
    called = effects.FOREIGN | external.EXTERNAL
    functions = {effects.function_of(eqn) for eqn in all_eqns(graph) if eqn.op in called}
    return {function.name: function.address() for function in functions}
