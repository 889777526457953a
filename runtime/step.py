"""The repeated executable: a compiled step, called with arrays again and again."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.ir import Eqn, Graph, Type, all_eqns
from graphc.ops import effects, external
from graphc.runtime.barriers import place_barriers
from graphc.runtime.calling import Calling
from graphc.runtime.failures import failure
from graphc.runtime.llvm.emit_step import emit_step, work_bytes
from graphc.runtime.llvm.entry import RESERVED, native_step
from graphc.runtime.llvm.jit import add_symbols, compile_text
from graphc.runtime.llvm.result_memory import empty_arrays
from graphc.runtime.llvm.routines import lapack
from graphc.runtime.llvm.target import HostTarget, host_target
from graphc.runtime.plan import ALIGNMENT, Arena, plan_arena
from graphc.runtime.planner import make_program
from graphc.runtime.program import Call, Program
from graphc.runtime.shares import USUAL, Thresholds, divide
from graphc.runtime.threads import MOST, has_pool, start_pool

if TYPE_CHECKING:
    from graphc.runtime.native_function import NativeFunction

FAST_MATH = "reassoc nsz arcp contract"
STEP = "step"


class _Clock:
    """The milliseconds of each stage, one after the other."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}
        self._start = time.perf_counter()

    def end(self, stage: str) -> None:
        now = time.perf_counter()
        self.milliseconds[stage] = 1e3 * (now - self._start)
        self._start = now


_Native = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


class Step:
    """Machine code for a fused graph, divided among at most `threads` where that pays.

    Calling it with the arguments in order gives the results that are not updates, in order, as
    fresh arrays; updated arguments are written in place.  Several threads may call it at once, and
    the GIL is released while it runs.  `target` is this machine, or an older one whose code it can
    run.
    """

    def __init__(
        self,
        graph: Graph,
        fastmath: bool = False,
        threads: int = 1,
        thresholds: Thresholds = USUAL,
        target: HostTarget | None = None,
    ):
        clock = _Clock()
        target = target or host_target()
        shares = min(threads, MOST) if has_pool() else 1
        divided = divide(make_program(graph), shares, target.vector_bytes, thresholds)
        self.arena: Arena = plan_arena(divided)
        self.program: Program = divided
        if divided.shares > 1:
            self.program = place_barriers(divided, self.arena)
        clock.end("plan")
        flags = FAST_MATH if fastmath else ""
        emitted = emit_step(self.program, self.arena, target, STEP, flags)
        self.text = emitted.text
        self._calls = emitted.names
        add_symbols(_external_addresses(graph))
        lapack.provide(self.text)
        if divided.shares > 1:
            start_pool()
        clock.end("emit")
        self._code = compile_text(self.text, target=target)
        clock.end("machine code")
        self.stage_ms = clock.milliseconds
        self.from_disk = self._code.from_disk
        self.nbytes = self.arena.nbytes + divided.shares * work_bytes(self.program, target)
        self._constants = [dense.array for dense in self.program.constants]
        self._types = [graph.outs[r.number].type for r in self.program.results if r is not None]
        self._address = self._code.address(STEP)
        self._native = _Native(self._address)
        self._idle: list[np.ndarray] = []

    def __call__(
        self, arguments: Sequence[np.ndarray], types: Sequence[Type] | None = None
    ) -> list[np.ndarray]:
        """Run the step on contiguous arrays of the graph's types (of which nothing is checked).

        types  what the results are arrays of, if not of the graph's types: complex numbers are
               pairs to the graph
        """
        results = empty_arrays(self._types if types is None else types)
        arrays = (*arguments, *results, *self._constants)
        table = (ctypes.c_void_p * len(arrays))(*[array.ctypes.data for array in arrays])
        arena = self._take_arena()
        start = arena.ctypes.data
        status = self._native(ctypes.addressof(table), start + RESERVED, start)
        value = int(arena[:8].view(np.int64)[0])
        self._idle.append(arena)
        if status:
            raise failure(self.program, status, value)
        return results

    def native(self, calling: Calling) -> Callable[..., Any] | None:
        """The step as a built-in function that is called as `calling` says, if this Python allows
        one: see `graphc.runtime.llvm.entry`."""
        return native_step(
            calling, calling.results, self._constants, self._address, self._take_arena(), self._code
        )

    def export(
        self, arguments: Sequence[tuple[str, Type]], results: Sequence[tuple[str, Type]]
    ) -> NativeFunction:
        """The step as a C function; its arguments and results have names, and types of NumPy."""
        from graphc.runtime.native_function import export  # few need it

        arena = self._take_arena()
        return export(
            self._address, self.program, arguments, results, self._constants, arena, self._code
        )

    def kernel_names(self) -> list[tuple[str, Eqn | None, Call]]:
        """Each kernel that the step calls: its function's name, its equation, the call."""
        return [(name, call.eqn, call) for name, call in self._calls]

    def _take_arena(self) -> np.ndarray:
        """An arena that no other thread is using; list operations are atomic."""
        try:
            return self._idle.pop()
        except IndexError:
            block = np.empty(RESERVED + self.nbytes + ALIGNMENT, np.uint8)
            start = -block.ctypes.data % ALIGNMENT
            return block[start:]


def _external_addresses(graph: Graph) -> dict[str, int]:
    """Where the machine code of each external function is that the graph calls."""
    called = effects.FOREIGN | external.EXTERNAL
    functions = {effects.function_of(eqn) for eqn in all_eqns(graph) if eqn.op in called}
    return {function.name: function.address() for function in functions}
