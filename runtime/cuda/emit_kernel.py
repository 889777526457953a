"""From a kernel to device functions: which launches there are, and what a thread of each does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from graphc.runtime.cuda.device_kernel import VECTOR_BYTES, WARP, DeviceKernel, Launches, Limits
from graphc.runtime.cuda.emit import I64, ThreadEmitter
from graphc.runtime.cuda.mapping import Nest, Unit, peeled
from graphc.runtime.cuda.simt import place_in
from graphc.runtime.kernel import Kernel, Loop, Statement
from graphc.runtime.llvm.builder import BITS, Function, Module, Reg, constant
from graphc.runtime.llvm.emit import memory_elem
from graphc.runtime.program import Root


class KernelEmitter:
    """Emits the functions of one kernel into a module."""

    def __init__(
        self,
        module: Module,
        kernel: Kernel,
        roots: Sequence[Root],
        alignments: Sequence[int],
        flags: str,
        limits: Limits,
    ):
        self.module = module
        self.kernel = kernel
        self.roots = roots
        self.alignments = alignments
        self.flags = flags
        self.limits = limits
        self.launches: list[DeviceKernel] = []
        self.workspace_bytes = 0

    def emit(self) -> Launches:
        body = self.kernel.body
        if len(body) == 1:
            nest = peeled(self.kernel, self.roots, body[0])
            if nest.units and not any(isinstance(s, Loop) for s in nest.body):
                self.elements(nest)
                return self.finished()
        self.alone(body)
        return self.finished()

    def finished(self) -> Launches:
        return Launches(tuple(self.launches), self.workspace_bytes)

    # ---- functions -------------------------------------------------------------------------------

    def function(self) -> Function:
        """The next device function of this kernel."""
        parameters = [Reg(f"%b{i}", "ptr") for i in range(len(self.kernel.buffers))]
        parameters.append(Reg("%work", "ptr"))
        name = f"{self.kernel.name}_{len(self.launches)}"
        return Function(self.module, name, parameters, linkage="ptx_kernel", flags=self.flags)

    def add(self, f: Function, grid: int, block: int) -> None:
        f.line("ret void")
        self.module.add(f)
        self.launches.append(DeviceKernel(f.name, grid, block, 0))

    def thread(self, f: Function) -> ThreadEmitter:
        bases = list(f.parameters[: len(self.kernel.buffers)])
        return ThreadEmitter(f, self.kernel, bases, self.alignments)

    # ---- one thread for everything ---------------------------------------------------------------

    def alone(self, statements: Sequence[Statement]) -> None:
        """One thread runs it all: always right, and for what little else is written yet."""
        f = self.function()
        self.thread(f).block(statements)
        self.add(f, 1, 1)

    # ---- a thread for each element ---------------------------------------------------------------

    def elements(self, nest: Nest) -> None:
        """A thread runs a unit, or several neighbouring ones as a vector."""
        lanes = self.lanes_of(nest)
        count = nest.size // lanes
        if not count:
            return
        f = self.function()
        threads = min(self.limits.threads, -(-count // WARP) * WARP)
        grid = min(-(-count // threads), self.limits.most_blocks)
        first = f.add(f.mul(place_in(f, "block"), constant(threads, I64)), place_in(f, "thread"))
        emitter = self.thread(f)

        def run(number: Reg) -> None:
            with ExitStack() as stack:
                self.bind(emitter, stack, nest.units, number, lanes)
                if lanes > 1:
                    emitter.lanes, emitter.vector_axis = lanes, nest.units[-1].axis
                emitter.block((*nest.before, *nest.body))

        in_turns(f, first, count, grid * threads, run)
        self.add(f, grid, threads)

    def lanes_of(self, nest: Nest) -> int:
        """How many neighbouring units a thread runs: as many elements as one access may have."""
        loop, last = nest.innermost, nest.units[-1]
        if loop is None or not loop.vector or last.blocks is not None:
            return 1
        touched = {b.dtype for b in self.kernel.buffers}
        lanes = VECTOR_BYTES // max(BITS[memory_elem(d)] // 8 for d in touched)
        while last.turns % lanes:
            lanes //= 2
        return lanes

    def bind(
        self,
        emitter: ThreadEmitter,
        stack: ExitStack,
        units: Sequence[Unit],
        number: Reg,
        lanes: int,
    ) -> None:
        """Give the axes of units the indices of unit `number`, outermost first."""
        counts = [unit.turns for unit in units]
        counts[-1] //= lanes
        places = digits(emitter.f, number, counts)
        places[-1] = emitter.f.mul(places[-1], constant(lanes, I64))
        for unit, place in zip(units, places, strict=True):
            if unit.blocks is None:
                stack.enter_context(emitter.bound(unit.axis, place))
            else:
                stack.enter_context(emitter.block_at(unit.blocks, place))


def digits(f: Function, number: Reg, counts: Sequence[int]) -> list[Reg]:
    """A number as one index for each of `counts`, the last one changing fastest."""
    found: list[Reg] = []
    for count in reversed(counts[1:]):
        size = constant(count, I64)
        found.append(f.binary("urem", number, size))
        number = f.binary("udiv", number, size)
    return [number, *reversed(found)]


def in_turns(f: Function, first: Reg, count: int, step: int, run: Callable[[Reg], None]) -> None:
    """`run` for first, first + step, ... below `count`; first is below `step`."""
    if step == count:
        run(first)
        return
    some, none = f.name_of("some"), f.name_of("none")
    f.branch_if(f.icmp("slt", first, constant(count, I64)), some, none)
    f.label(some)
    if step > count:
        run(first)
    else:
        with f.loop(first, constant(count, I64), step) as state:
            run(state.index)
    f.branch(none)
    f.label(none)
