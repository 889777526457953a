"""Run the kernels of a graph as a device would, each memory an array of exactly its size."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from unittest import mock

import numpy as np
from ptx_device import PtxModule

from graphc.ir import NUMPY_DTYPES, Graph
from graphc.runtime.cuda.emit.module import DeviceModule
from graphc.runtime.cuda.emulated import host
from graphc.runtime.cuda.emulated.module import EmulatedModule
from graphc.runtime.cuda.plan.device_kernel import Limits
from graphc.runtime.cuda.plan.rejoin import rejoined
from graphc.runtime.planner import make_program
from graphc.runtime.program import Call, Fail, Program, Root

SMALL = Limits(threads=64, most_blocks=3, most_workspace=1 << 12, little_work=64)
"""So few threads that small arrays need several turns."""


def assemble(text: str, architecture: str) -> None:
    """Have `ptxas` read PTX, where there is one on the path."""
    assembler = shutil.which("ptxas")
    if assembler is None:
        warnings.warn("ptxas is not on the path: PTX is made, and not assembled", stacklevel=2)
        return
    command = [assembler, f"-arch={architecture}", "-O0", "-o", os.devnull, "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def spilled_bytes(text: str, architecture: str) -> int:
    """Bytes that threads write to memory for want of registers; 0 where `ptxas` is not there."""
    assembler = shutil.which("ptxas")
    if assembler is None:
        return 0
    command = [assembler, "-v", f"-arch={architecture}", "-o", os.devnull, "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return sum(map(int, re.findall(r"(\d+) bytes spill stores", done.stderr)))


def device_module(graph: Graph, flags: str = "", limits: Limits | None = None) -> DeviceModule:
    """The code of all kernels of a fused graph."""
    module = DeviceModule(flags, limits)
    for call in calls(rejoined(make_program(graph))):
        module.add(call.kernel, call.roots)
    return module


def calls(program: Program) -> list[Call]:
    """The kernels of a program without conditionals and loops, in order; checks are not made."""
    assert all(isinstance(item, (Call, Fail)) for item in program.items), "only kernels"
    return [item for item in program.items if isinstance(item, Call)]


_Module: type[EmulatedModule] | type[PtxModule] = EmulatedModule


def everything_as_ptx() -> ExitStack:
    """Until it is closed, the kernels that are emulated are executed as PTX."""
    stack = ExitStack()
    stack.enter_context(mock.patch.object(sys.modules[__name__], "_Module", PtxModule))
    stack.enter_context(mock.patch.object(host, "EmulatedModule", PtxModule))
    return stack


class Emulated:
    """A fused graph without control flow, to be called on arrays; results are fresh.

    `as_ptx` runs its PTX, instead of the same code made for this processor.
    """

    def __init__(
        self,
        graph: Graph,
        limits: Limits | None = None,
        backwards: bool = False,
        flags: str = "",
        atomics: bool = False,
        as_ptx: bool = False,
    ):
        self.program = rejoined(make_program(graph))
        self.module = DeviceModule(flags, limits, atomics=atomics)
        self.launches = [self.module.add(c.kernel, c.roots) for c in calls(self.program)]
        text = self.module.text
        self.code = (PtxModule if as_ptx else _Module)(text, backwards)

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        program = self.program
        memory: dict[Root, np.ndarray] = {}
        for root, array in zip(program.arguments, arrays, strict=True):
            memory[root] = _aligned(np.array(array, order="C").reshape(-1))
        for call, launches in zip(calls(program), self.launches, strict=True):
            for root in call.roots:
                if root not in memory:
                    memory[root] = self._fresh(root)
            buffers = [memory[root] for root in call.roots]
            work = _aligned(np.full(launches.workspace_bytes, 255, np.uint8))
            everything = [*buffers, work]
            ranges = [(a.ctypes.data, a.nbytes) for a in everything]
            for kernel in launches.kernels:
                given = kernel.given(ranges)
                self.code.launch(kernel, [start for start, _ in given], given)
        results = []
        updates = {result: argument for argument, result in program.graph.updates}
        for j, out in enumerate(program.graph.outs):
            root = program.results[j] or program.arguments[updates[j]]
            if root not in memory:
                memory[root] = self._fresh(root)
            results.append(memory[root].reshape(out.type.shape))
        return results

    def _fresh(self, root: Root) -> np.ndarray:
        """New memory, which holds the constant, or NaN and other rubbish."""
        if root.kind == "constant":
            return _aligned(np.array(self.program.constants[root.number].array).reshape(-1))
        dtype = np.dtype(NUMPY_DTYPES[root.dtype])
        rubbish = np.full(root.nbytes, 255, np.uint8)
        return _aligned(rubbish.view(dtype))


def _aligned(array: np.ndarray) -> np.ndarray:
    """A copy that begins at a multiple of 256 bytes."""
    block = np.empty(array.nbytes + 256, np.uint8)
    start = -block.ctypes.data % 256
    copied = block[start : start + array.nbytes].view(array.dtype)
    copied[:] = array
    return copied
