"""A step for a device: planned and compiled anywhere, run where there is one."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence

import numpy as np

from graphc import errors
from graphc.ir import Eqn, Graph, Type
from graphc.runtime.calling import Calling
from graphc.runtime.code import FAST_MATH, Clock
from graphc.runtime.cuda.arrays import DeviceArray
from graphc.runtime.cuda.call import Given, Made, Memory
from graphc.runtime.cuda.code import Code, all_items, make_code
from graphc.runtime.cuda.current import current_session, opened_session
from graphc.runtime.cuda.emit.tensor_simt import LEAST_CAPABILITY
from graphc.runtime.cuda.pieces import cut
from graphc.runtime.cuda.plan.device_kernel import Limits
from graphc.runtime.cuda.plan.processor_kernels import with_processor
from graphc.runtime.cuda.plan.rejoin import rejoined
from graphc.runtime.cuda.runner import Loaded, Runner
from graphc.runtime.cuda.session import Session
from graphc.runtime.cuda.settle import settled
from graphc.runtime.llvm.emit_step import used_variables
from graphc.runtime.plan import Arena, plan_arena
from graphc.runtime.planner import make_program
from graphc.runtime.program import Call, Program, Root


class CudaStep:
    """Device code for a fused graph; `limits` say how its work is divided.

    Calling it with the arguments in order, arrays of the device or of this machine, gives the
    results that are not updates, in order, as arrays of the device.  Updated arguments of the
    device are written in place, those of this machine copied back.  Several threads may call it:
    one runs after the other.
    """

    def __init__(self, graph: Graph, fastmath: bool = False, limits: Limits | None = None):
        clock = Clock()
        self.program: Program = settled(rejoined(with_processor(make_program(graph))))
        self.arena: Arena = plan_arena(self.program)
        self.pieces = cut(self.program)
        clock.end("plan")
        self._make = functools.partial(
            make_code, self.program, FAST_MATH if fastmath else "", limits
        )
        session = opened_session()
        self.code: Code = self._make(session is None or _has_tensor_cores(session))
        clock.end("emit")
        self.stage_ms = clock.milliseconds
        self.from_disk = False
        self._results = [root for root in self.program.results if root is not None]
        self._types = [graph.outs[root.number].type for root in self._results]
        self._used = _used_arguments(self.program)
        self._loaded: Loaded | None = None
        self._lock = threading.Lock()

    @property
    def text(self) -> str:
        return self.code.text

    @property
    def nbytes(self) -> int:
        return self.arena.nbytes + self.code.workspace_bytes

    def __call__(
        self,
        arguments: Sequence[np.ndarray | DeviceArray],
        types: Sequence[Type] | None = None,
    ) -> list[DeviceArray]:
        """Run the step on contiguous arrays of the graph's types (of which nothing is checked).

        types  what the results are arrays of, if not of the graph's types: complex numbers are
               pairs to the graph
        """
        session = current_session()
        if self.program.updated and self.overlapping(arguments):
            raise errors.OverlapError(
                "an argument that is assigned to in place shares memory with another argument;"
                " pass a copy of one of them"
            )
        with session.working() as has_lent:
            loaded = self.on(session)
            if has_lent:  # the memory that steps share is in use, and maybe this one's own
                loaded = loaded._replace(memory=self._memory(session, shared=False), recordings={})
            given = Given(session, loaded.memory, self.program, arguments)
            made = Made(session, loaded.memory, self._results)
            runner = Runner(
                self.program,
                self.arena,
                self.code,
                loaded,
                given.addresses | made.addresses,
            )
            runner.run(self.pieces)
            given.bring_back(self.program.updated)
            return made.arrays(self._types if types is None else types)

    def on(self, session: Session) -> Loaded:
        """The step on a device, loaded when that is first needed."""
        with self._lock:
            if self._loaded is None or self._loaded.session is not session:
                clock = Clock()
                if self.code.uses_tensor_cores and not _has_tensor_cores(session):
                    self.code = self._make(False)
                text, names = self.code.text, self.code.names()
                load = functools.partial(session.device.load, text, names)
                self._loaded = Loaded(
                    session,
                    session.pool.with_room(load, "no memory for the code of a step"),
                    self._memory(session),
                    {},
                )
                clock.end("load")
                self.stage_ms |= clock.milliseconds
            return self._loaded

    def _memory(self, session: Session, shared: bool = True) -> Memory:
        return Memory(session, self.program, self.code, self.arena.nbytes, shared)

    def overlapping(self, arguments: Sequence[np.ndarray | DeviceArray]) -> tuple[int, int] | None:
        """An updated argument that shares memory of a device with another that the step uses."""
        spans = {
            root.number: (array.address, array.address + root.nbytes)
            for root in self._used
            if isinstance(array := arguments[root.number], DeviceArray)
        }
        for i in self.program.updated & spans.keys():
            for j, (start, end) in spans.items():
                if i != j and start < spans[i][1] and spans[i][0] < end:
                    return i, j
        return None

    def native(self, calling: Calling) -> None:
        """There is no entry in machine code: a device is told what to do from Python."""

    def kernel_names(self) -> list[tuple[str, Eqn | None, Call]]:
        """Each kernel that the step calls: its function's name, its equation, the call."""
        calls = [item for item in all_items(self.program.items) if isinstance(item, Call)]
        return [(name_of(self.code, call), call.eqn, call) for call in calls]


def _has_tensor_cores(session: Session) -> bool:
    return session.device.capability >= LEAST_CAPABILITY


def name_of(code: Code, call: Call) -> str:
    """What a kernel is called: like its first function."""
    functions = code.functions(call)
    return functions[0].name if functions else call.kernel.name


def _used_arguments(program: Program) -> list[Root]:
    """The arguments that the step reads or writes."""
    used = used_variables(program.graph)
    params = program.graph.params
    return [
        root
        for root in program.arguments
        if root.nbytes and (root.number in program.updated or params[root.number] in used)
    ]
