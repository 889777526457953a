"""What all launches of a kernel have in common: their functions, and how values get to them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

from graphc.runtime.cuda.emit.branches import digits, only_if
from graphc.runtime.cuda.emit.elements import I64
from graphc.runtime.cuda.emit.placement import (
    Placement,
)
from graphc.runtime.cuda.emit.simt import place_in
from graphc.runtime.cuda.emit.statements import ThreadEmitter
from graphc.runtime.cuda.emit.team import block_team, warp_team
from graphc.runtime.cuda.emit.team_work import TeamEmitter
from graphc.runtime.cuda.plan.device_kernel import (
    WARP,
    DeviceKernel,
    Launches,
    Limits,
    aligned,
)
from graphc.runtime.cuda.plan.forms import Form
from graphc.runtime.cuda.plan.mapping import Unit
from graphc.runtime.cuda.plan.phases import needed, phases_of, written_memory
from graphc.runtime.kernel import Kernel, Name, Product, Statement, inner
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.elements import memory_elem
from graphc.runtime.llvm.module import Module
from graphc.runtime.llvm.registers import Reg, constant
from graphc.runtime.program import Root

BLOCKS_OF_PRODUCTS = 2
"""Enough blocks at a time where threads hold squares of a product."""
SLOT = 8
"""Bytes of a value that one launch leaves for the next."""

STATUS = Reg("%status", "ptr")
WORK = Reg("%work", "ptr")


class Settings(NamedTuple):
    """What all kernels of a module have in common: see `DeviceModule`."""

    flags: str
    limits: Limits
    has_status: bool
    atomics: bool = False


class Inherited(NamedTuple):
    """What the second half of a kernel has from the first: the launches before its own, how many
    pointers its functions are given, where in the workspace its other buffers are, and where they
    end."""

    launches: list[DeviceKernel]
    pointers: int
    parts: dict[int, int]
    stop: int


class LaunchEmitter:
    """Writes device functions of one kernel into a module, one after the other."""

    def __init__(
        self,
        module: Module,
        kernel: Kernel,
        roots: Sequence[Root],
        alignments: Sequence[int],
        settings: Settings,
        inherited: Inherited | None = None,
    ):
        self.module = module
        self.kernel = kernel
        self.roots = roots
        self.alignments = alignments
        self.settings = settings
        self.limits = settings.limits
        self.plan = phases_of(kernel, roots)
        self.slots = {name.number: i for i, name in enumerate(self.plan.kept)}
        known = inherited or Inherited([], len(kernel.buffers), {}, 0)
        self.launches = known.launches
        self.pointers = known.pointers
        self.parts = known.parts
        self.slots_at = known.stop
        self.extra = known.stop + aligned(SLOT * len(self.slots))
        self.workspace_bytes = self.extra
        self.products: list[str] = []
        """How the function that is being written multiplies matrices."""

    def finished(self) -> Launches:
        return Launches(tuple(self.launches), self.workspace_bytes)

    # ---- functions -------------------------------------------------------------------------------

    def function(self) -> Function:
        """The next device function of this kernel, with all parameters that it may come to need."""
        name = f"{self.kernel.name}_{len(self.launches)}"
        flags = self.settings.flags
        f = Function(self.module, name, self.parameters, linkage="ptx_kernel", flags=flags)
        if self.settings.has_status:
            fine = f.icmp("eq", f.load(STATUS, I64), constant(0, I64))
            f.branch_if(fine, "run", "leave")
            f.label("run")
        return f

    @functools.cached_property
    def parameters(self) -> tuple[Reg, ...]:
        """A pointer for each buffer, one to the workspace, and one to the status where there is."""
        written = written_memory(self.kernel, self.roots)
        buffers = [
            Reg(pointer.text, f"ptr{self.promises(i, written)}")
            for i, pointer in enumerate(self.pointer_names)
        ]
        return (*buffers, WORK, *([STATUS] if self.settings.has_status else []))

    @functools.cached_property
    def pointer_names(self) -> list[Reg]:
        return [Reg(f"%b{i}", "ptr") for i in range(self.pointers)]

    def promises(self, buffer: int, written: set[Root]) -> str:
        """What LLVM may rely on: with memory that nothing writes, loads go through the cache of
        constants."""
        aligned = f" align {self.alignments[buffer]}" if self.alignments[buffer] > 1 else ""
        only_read = written.isdisjoint(self.roots[buffer].memories())
        return f" noalias readonly{aligned}" if only_read else aligned

    def add(self, f: Function, grid: int, block: int) -> None:
        if self.settings.has_status:
            f.branch("leave")
            f.label("leave")
        f.line("ret void")
        touched = f.keep_used_parameters()
        self.module.add(f)
        at_once = BLOCKS_OF_PRODUCTS if self.has_product else 0
        products = tuple(dict.fromkeys(self.products))
        self.products.clear()
        self.launches.append(DeviceKernel(f.name, grid, block, touched, at_once, products))

    @functools.cached_property
    def has_product(self) -> bool:
        return any(isinstance(s, Product) for s in inner(self.kernel.body))

    def thread(self, f: Function) -> ThreadEmitter:
        bases = list(self.pointer_names)
        for place in self.parts.values():
            bases.append(f.offset(WORK, "i8", constant(place, I64)))
        return ThreadEmitter(f, self.kernel, bases, self.alignments)

    def enter(self, emitter: ThreadEmitter, statements: Sequence[Statement]) -> None:
        """Make known what statements need of what was made before this function."""
        for number in needed(statements, self.plan.again):
            if number in emitter.values:
                continue
            if number in self.plan.again:
                emitter.statement(self.plan.again[number])
            elif number in self.slots:
                name = self.plan.kept[self.slots[number]]
                emitter.values[number] = self.slot_value(emitter, name)

    def slot_value(self, emitter: ThreadEmitter, name: Name) -> Reg:
        raw = emitter.f.load(self.slot(emitter.f, name), memory_elem(name.dtype))
        return emitter.as_value(raw, name.dtype)

    def slot(self, f: Function, name: Name) -> Reg:
        place = self.slots_at + SLOT * self.slots[name.number]
        return f.offset(WORK, "i8", constant(place, I64))

    def keep(self, emitter: TeamEmitter) -> None:
        """Store what later launches need."""
        names = [n for n in self.plan.kept if n.number in emitter.values]
        if names:
            with only_if(emitter.f, emitter.is_first()):
                for name in names:
                    value = emitter.as_memory(emitter.values[name.number], name.dtype)
                    emitter.f.store(value, self.slot(emitter.f, name))

    def bind(
        self, emitter: ThreadEmitter, units: Sequence[Unit], number: Reg, lanes: int = 1
    ) -> ExitStack:
        """Inside, the axes of units have the indices of unit `number`."""
        stack = ExitStack()
        if not units:
            return stack
        counts = [unit.turns for unit in units]
        counts[-1] //= lanes
        places = digits(emitter.f, number, counts)
        if lanes > 1:
            places[-1] = emitter.f.mul(places[-1], constant(lanes, I64))
        for unit, place in zip(units, places, strict=True):
            if unit.blocks is None:
                stack.enter_context(emitter.bound(unit.axis, place))
            else:
                stack.enter_context(emitter.block_at(unit.blocks, place))
        return stack

    def reserve(self, nbytes: int) -> None:
        self.workspace_bytes = max(self.workspace_bytes, aligned(nbytes))

    def team_emitter(self, f: Function, form: Form, placed: Placement) -> tuple[TeamEmitter, Reg]:
        """The emitter of a team, and the number of this thread's team in the grid."""
        block = place_in(f, "block")
        if placed.block == form.team:
            team, number = block_team(f, form.team), block
        else:
            team = warp_team(f)
            warp = f.lshr(place_in(f, "thread"), constant(WARP.bit_length() - 1, I64))
            number = f.add(f.mul(block, constant(placed.block // WARP, I64)), warp)
        elems = self.limits.tensor_elems
        emitter = TeamEmitter(self.thread(f), self.roots, team, form.lanes, placed, elems)
        emitter.products = self.products
        placed.apply(emitter, WORK, number)
        return emitter, number

    def grid_of_threads(self, count: int) -> tuple[int, int]:
        threads = min(self.limits.threads, -(-count // WARP) * WARP)
        return min(-(-count // threads), self.limits.most_blocks), threads
