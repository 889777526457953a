"""Kernels of a program for a device that the processor of this machine runs.

LAPACK, scipy's functions and those of `gc.elementwise` are machine code of this machine, and there
is no other.  A kernel that calls them is compiled as it is for the processor, and is given copies
of its buffers: what it reads comes from the device, what it has written goes back there.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphc.ir import ITEM_BYTES
from graphc.ops import external
from graphc.runtime.cuda.plan.processor_kernels import called_here
from graphc.runtime.footprints import footprints
from graphc.runtime.kernel import (
    Access,
    Compute,
    Kernel,
    Loop,
    Statement,
    Store,
    accesses,
    inner,
)
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.emit_step import Frame, StepEmitter, work_bytes
from graphc.runtime.llvm.emulated import emulations
from graphc.runtime.llvm.jit import Machine, add_symbols, compile_text
from graphc.runtime.llvm.module import Module
from graphc.runtime.llvm.registers import Reg
from graphc.runtime.llvm.routines import lapack
from graphc.runtime.llvm.target import host_target
from graphc.runtime.plan import Arena
from graphc.runtime.program import Call, Program, Root

ALIGNMENT = 64
"""Bytes: where the processor's kernels find their working memory."""

_Step = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


class Part(NamedTuple):
    """Memory that a kernel is given: how many bytes of it, whether it needs what is there, and
    whether it changes that."""

    root: Root
    nbytes: int
    is_read: bool
    is_written: bool


class OnProcessor:
    """One call of a kernel, compiled for the processor when it is first run."""

    def __init__(self, program: Program, call: Call, flags: str):
        self.call = call
        self.parts = tuple(parts_of(call))
        self._alone = program._replace(
            items=(call,), arguments=tuple(part.root for part in self.parts), results=()
        )
        self._flags = flags
        self._machine: Machine | None = None

    @property
    def moved_bytes(self) -> int:
        """What is copied from the device, and back to it."""
        return sum(p.nbytes * (p.is_read + p.is_written) for p in self.parts)

    def run(
        self,
        places: Sequence[int],
        read: Callable[[np.ndarray, int], None],
        write: Callable[[int, np.ndarray], None],
    ) -> None:
        """Run it on the memory of a device at `places`: `read` copies from there, `write` back."""
        spans = merged([(at, at + p.nbytes) for p, at in zip(self.parts, places, strict=True)])
        copies = [_aligned(end - start, start) for start, end in spans]
        pointers, read_spans, written_spans = [], set[int](), set[int]()
        for part, at in zip(self.parts, places, strict=True):
            end = at + part.nbytes
            i = next(i for i, span in enumerate(spans) if span[0] <= at and end <= span[1])
            pointers.append(copies[i].ctypes.data + at - spans[i][0])
            if part.nbytes:
                # A span that several parts share is read for all of them.
                if part.is_read or spans[i] != (at, end):
                    read_spans.add(i)
                if part.is_written:
                    written_spans.add(i)
        for i in sorted(read_spans):
            read(copies[i], spans[i][0])
        self._call(pointers)
        for i in sorted(written_spans):
            write(spans[i][0], copies[i])

    def _call(self, pointers: Sequence[int]) -> None:
        if self._machine is None:
            self._machine = self._compiled()
        table = (ctypes.c_void_p * len(pointers))(*pointers)
        work = _aligned(int(work_bytes(self._alone, host_target())), 0)
        _Step(self._machine.address("step"))(ctypes.addressof(table), work.ctypes.data, None)

    def _compiled(self) -> Machine:
        target = host_target()
        module = Module(emulations(target))
        frame = Frame(Reg("%arguments", "ptr"), Reg("%arena", "ptr"), Reg("%failing", "ptr"))
        f = Function(module, "step", list(frame), "i64", runs_once=True)
        emitter = StepEmitter(f, self._alone, Arena({}, 0, 0), target, self._flags, frame)
        emitter.call_function(self.call)
        f.line("ret i64 0")
        module.add(f)
        text = str(module)
        add_symbols(_addresses(self.call.kernel))
        lapack.provide(text)
        return compile_text(text, target=target)


def _addresses(kernel: Kernel) -> dict[str, int]:
    """Where the machine code of the functions from outside is that a kernel calls."""
    computed = (
        dict(s.attrs) for s in inner(kernel.body) if isinstance(s, Compute) and called_here(s)
    )
    functions = [external.known(attrs["function"]) for attrs in computed]
    return {function.name: function.address() for function in functions}


# ---- their memory --------------------------------------------------------------------------------


def parts_of(call: Call) -> Iterator[Part]:
    """The memory that a call is given, each once."""
    kernel = call.kernel
    touched = footprints(kernel)
    writing = {found.buffer for found in touched if found.writes}
    reading = {found.buffer for found in touched if not found.writes} | writing - filled(kernel)
    for root in dict.fromkeys(call.roots):
        buffers = [i for i, other in enumerate(call.roots) if other is root]
        sizes = [kernel.buffers[i].size for i in buffers]
        is_scratch = all(kernel.buffers[i].role == "scratch" for i in buffers)
        yield Part(
            root,
            max(int(size) for size in sizes) * ITEM_BYTES[root.dtype],
            not is_scratch and not reading.isdisjoint(buffers),
            not is_scratch and not writing.isdisjoint(buffers),
        )


def filled(kernel: Kernel) -> set[int]:
    """Buffers of which a loop stores every element, and which nothing else touches."""
    others = [s for s in inner(kernel.body) if not isinstance(s, (Store, Loop))]
    return set(_filled(kernel, kernel.body, ())) - {a.buffer for a in accesses(others)}


def _filled(kernel: Kernel, body: Sequence[Statement], axes: tuple[int, ...]) -> Iterator[int]:
    for statement in body:
        if isinstance(statement, Loop):
            yield from _filled(kernel, statement.body, (*axes, *statement.axes))
        elif isinstance(statement, Store) and _is_dense(kernel, statement.access, axes):
            yield statement.access.buffer


def _is_dense(kernel: Kernel, access: Access, axes: Sequence[int]) -> bool:
    """Whether an access at all indices along `axes` is every element of its buffer."""
    steps = sorted((access.strides[a], kernel.domain[a]) for a in axes if kernel.domain[a] != 1)
    size = 1
    for step, count in steps:
        if step != size:
            return False
        size *= count
    return access.offset == 0 and size == kernel.buffers[access.buffer].size


def merged(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges of addresses in order, those that share some as one."""
    result: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if result and (start < result[-1][1] or (start, end) == result[-1]):
            result[-1] = (result[-1][0], max(result[-1][1], end))
        else:
            result.append((start, end))
    return result


def _aligned(nbytes: int, like: int) -> Any:
    """New memory that lies as some address does between multiples of `ALIGNMENT`."""
    block = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = (like - block.ctypes.data) % ALIGNMENT
    return block[start : start + nbytes]
