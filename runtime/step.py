"""The repeated executable: a compiled step, called with arrays again and again."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np

from graphc import errors
from graphc.ir import Graph
from graphc.ops.index import check_error
from graphc.runtime.llvm.emit_step import emit_step, work_bytes
from graphc.runtime.llvm.jit import compile_text, host_target
from graphc.runtime.plan import ALIGNMENT, Arena, plan_arena
from graphc.runtime.program import Program, make_program

FAST_MATH = "reassoc nsz arcp contract"
ENTRY = "step"

_Native = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


class Step:
    """Machine code for a fused graph.

    Calling it with the arguments in order gives the results that are not updates, in order, as
    fresh arrays; updated arguments are written in place.  Several threads may call it at once.
    """

    def __init__(self, graph: Graph, fastmath: bool = False):
        self.program: Program = make_program(graph)
        self.arena: Arena = plan_arena(self.program)
        target = host_target()
        self.text = emit_step(
            self.program, self.arena, target, ENTRY, FAST_MATH if fastmath else ""
        )
        self._code = compile_text(self.text)
        self._native = _Native(self._code.address(ENTRY))
        self._bytes = self.arena.nbytes + work_bytes(self.program, target) + ALIGNMENT
        self._constants = [dense.array for dense in self.program.constants]
        self._outs = [
            (graph.outs[root.number].type.shape, graph.outs[root.number].type.numpy_dtype)
            for root in self.program.results
            if root is not None
        ]
        self._pointers = ctypes.c_void_p * (
            len(graph.params) + len(self._outs) + len(self._constants)
        )
        self._idle: list[np.ndarray] = []

    def __call__(self, arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run the step on contiguous arrays of the graph's types (of which nothing is checked)."""
        results = [np.empty(shape, dtype) for shape, dtype in self._outs]
        arrays = (*arguments, *results, *self._constants)
        pointers = self._pointers(*[array.ctypes.data for array in arrays])
        failing = ctypes.c_int64()
        arena = self._take_arena()
        status = self._native(
            ctypes.addressof(pointers), _aligned(arena.ctypes.data), ctypes.addressof(failing)
        )
        self._idle.append(arena)
        if status:
            raise self._failure(status - 1, failing.value)
        return results

    def _take_arena(self) -> np.ndarray:
        """An arena that no other thread is using; list operations are atomic."""
        try:
            return self._idle.pop()
        except IndexError:
            return np.empty(self._bytes, np.uint8)

    def _failure(self, number: int, value: int) -> errors.GraphcError:
        eqn = self.program.checks[number]
        return check_error(eqn.attrs["error"], eqn.attrs["message"], value, eqn.loc)


def _aligned(address: int) -> int:
    return -(-address // ALIGNMENT) * ALIGNMENT
