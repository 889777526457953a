"""From a program to one LLVM module: a function for each distinct kernel, and the step.

The step is `i64 step(ptr arguments, ptr arena, ptr failing_value)`; `arguments` holds a pointer for
each argument, result and constant.  It gives 0, or 1 + the number of the check that failed, or
`OVERLAP` if an argument that it writes overlaps another one that it uses.

A program for several threads becomes two functions: see `emit_parallel.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from graphc.dims import Size
from graphc.ir import Graph, Var
from graphc.runtime.kernel import Kernel
from graphc.runtime.llvm.alike import merge_alike
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.elements import memory_elem
from graphc.runtime.llvm.emit import emit_kernel, is_sized, workspace_size
from graphc.runtime.llvm.emit_in_line import emit_in_line, forget, is_in_line
from graphc.runtime.llvm.emit_loops import emit_repeat
from graphc.runtime.llvm.emit_tapes import emit_around, emit_pop, emit_push
from graphc.runtime.llvm.emulated import emulations
from graphc.runtime.llvm.interleaved import with_shared_buffers, with_stores_together
from graphc.runtime.llvm.module import Module
from graphc.runtime.llvm.overlaps import emit_overlap_check
from graphc.runtime.llvm.registers import Reg, constant
from graphc.runtime.llvm.repeated import share_loops
from graphc.runtime.llvm.target import HostTarget
from graphc.runtime.plan import Arena
from graphc.runtime.program import (
    Barrier,
    Branch,
    Call,
    Fail,
    Foreign,
    Item,
    Place,
    Pop,
    Program,
    Push,
    Repeat,
    Root,
    parts,
)
from graphc.runtime.sizes import Sizing, applied, largest

OVERLAP = -1

ARENA_END = "the end of the arena"
"""The row of the table of sizes for it; those of places in the arena go by their `Root`."""


def work_bytes(program: Program, target: HostTarget) -> Size:
    """The working memory behind the arena that the kernels of each share use in turn."""
    needed = dict.fromkeys(workspace_size(k, target) for k in kernels(program.items))
    return applied(largest, *needed)  # type: ignore[no-any-return]


def kernels(items: Sequence[Item]) -> list[Kernel]:
    """The kernels of a program, in order, those in branches too."""
    found = []
    for item in items:
        if isinstance(item, Call):
            found.append(item.kernel)
        for part in parts(item):
            found += kernels(part)
    return found


def used_variables(graph: Graph) -> set[Var]:
    """The values that an equation of the graph reads or that it returns."""
    read = {atom for eqn in graph.eqns for atom in eqn.ins if isinstance(atom, Var)}
    return read | {atom for atom in graph.outs if isinstance(atom, Var)}


class StepText(NamedTuple):
    """LLVM IR text of a step, and the name of the function that each call of a kernel runs."""

    text: str
    names: tuple[tuple[str, Call], ...]


def emit_step(
    program: Program,
    arena: Arena,
    target: HostTarget,
    name: str,
    flags: str = "",
    sizing: Sizing | None = None,
) -> StepText:
    """LLVM IR text of the step, a function `name`; `sizing` collects the rows of its table."""
    from graphc.runtime.llvm.emit_parallel import emit_shares  # it builds on this module

    module = Module(emulations(target), sizing)
    parameters = [Reg("%arguments", "ptr"), Reg("%arena", "ptr"), Reg("%failing", "ptr")]
    body = f"{name}_body" if program.has_tape else name
    linkage = "internal" if program.has_tape else ""
    f = Function(module, body, parameters, "i64", linkage=linkage, runs_once=True)
    emitter = StepEmitter(f, program, arena, target, flags, Frame(*parameters))
    emitter.refuse_overlap()
    if program.shares == 1:
        emitter.items(program.items)
        f.line("ret i64 0")
        calls = emitter.calls
    else:
        calls = emit_shares(f, program, arena, target, flags)
    module.add(f)
    if program.has_tape:
        emit_around(module, name, body)
    own = dict.fromkeys(kernel for kernel, _ in calls if kernel in module.functions)
    merged = merge_alike(module.functions, own)
    share_loops(module.functions, [kernel for kernel in own if kernel not in merged])
    return StepText(str(module), tuple((merged.get(name, name), call) for name, call in calls))


def read_table(f: Function, arguments: Reg, slot: int) -> None:
    """Have `f`, a function of a step, read where the table of sizes is: behind the constants."""
    f.sizes = Reg("%sizes", "ptr")
    f.first(f"%sizes.at = getelementptr ptr, ptr {arguments.text}, i64 {slot}")
    f.first("%sizes = load ptr, ptr %sizes.at, align 8")


class Frame(NamedTuple):
    """What a step is given: the table of arguments, the arena, where to put a failing value."""

    arguments: Reg
    arena: Reg
    failing: Reg


class StepEmitter:
    """Emits the items of a program into `f`, which runs them all on one thread.

    Inside of loops (`depth`), `cells` are the values whose memory holds what is in a register,
    `turning` the memory whose address changes from one iteration to the next, and `blocks` that
    of the innermost loop.
    """

    is_alone = True
    """Whether one thread runs all items, so that a number may stay in a register."""

    def __init__(
        self,
        f: Function,
        program: Program,
        arena: Arena,
        target: HostTarget,
        flags: str,
        frame: Frame,
    ):
        self.f = f
        self.program = program
        self.arena = arena
        self.target = target
        self.flags = flags
        self.frame = frame
        self.names: dict[str, str] = {}
        self.calls: list[tuple[str, Call]] = []
        self.pointers: dict[Root, Reg] = {}
        self.cells: dict[Root, Reg] = {}
        self.turning: set[Root] = set()
        self.blocks: set[Root] = set()
        self.depth = 0
        results = [root for root in program.results if root is not None]
        self.slots = {root: i for i, root in enumerate((*program.arguments, *results))}
        self.first_constant = len(self.slots)
        if is_sized(f.module):
            read_table(f, frame.arguments, self.first_constant + len(program.constants))
        self.work = self._at(frame.arena, self._in_arena(ARENA_END, arena.nbytes))
        for root in self.slots:
            self.pointers[root] = self._slot(self.slots[root])

    def refuse_overlap(self) -> None:
        """Return at once if an updated argument shares memory with another that the step uses."""
        program, f = self.program, self.f
        used = used_variables(program.graph)
        roots = [
            root
            for root in program.arguments
            if root.nbytes
            and (root.number in program.updated or program.graph.params[root.number] in used)
        ]
        updated = [i for i, root in enumerate(roots) if root.number in program.updated]
        if not updated or len(roots) < 2:
            return
        arguments = self.frame.arguments
        check = Function(f.module, "has_overlap", [arguments], "i1")
        if is_sized(f.module):
            read_table(check, arguments, self.first_constant + len(program.constants))
        numbers, nbytes = [root.number for root in roots], [root.nbytes for root in roots]
        vector = self.target.vector_bytes
        emit_overlap_check(check, arguments, numbers, nbytes, updated, vector)
        f.module.add(check)
        overlap, apart = f.name_of("overlap"), f.name_of("apart")
        f.branch_if(f.call("has_overlap", [arguments], "i1"), overlap, apart)
        f.label(overlap)
        f.line(f"ret i64 {OVERLAP}")
        f.label(apart)

    def _slot(self, number: int) -> Reg:
        address = self.f.offset(self.frame.arguments, "ptr", constant(number, "i64"))
        return self.f.let(f"load ptr, ptr {address.text}, align 8", "ptr")

    def _at(self, base: Reg, nbytes: Reg) -> Reg:
        return self.f.offset(base, "i8", nbytes)

    def _in_arena(self, what: Root | str, offset: int) -> Reg:
        """A place in the arena: where sizes have names, it depends on them."""
        sizing = self.f.module.sizing
        if sizing is None or sizing.is_fixed:
            return constant(offset, "i64")
        return self.f.table_row(sizing.row(what))

    def pointer(self, root: Root) -> Reg:
        if root in self.pointers:
            return self.pointers[root]
        if root.kind == "arena":
            return self._at(self.frame.arena, self._in_arena(root, self.arena.offsets[root]))
        if root.kind == "constant":
            return self._slot(self.first_constant + root.number)
        raise AssertionError(f"{root} has no pointer here")

    def place(self, place: Place) -> Reg:
        elem = memory_elem(place.root.dtype)
        return self.f.offset(self.pointer(place.root), elem, self.f.number(place.layout.offset))

    def items(self, items: Sequence[Item]) -> None:
        for item in items:
            self.item(item)
            if not isinstance(item, (Call, Fail)):
                forget(self, item)

    def item(self, item: Item) -> None:
        match item:
            case Call():
                self.call(item)
            case Branch():
                self.branch(item)
            case Repeat():
                emit_repeat(self, item)
            case Push():
                emit_push(self, item)
            case Pop():
                emit_pop(self, item)
            case Fail():
                self.fail(item)
            case Barrier():
                self.barrier()
            case Foreign():
                self.foreign(item)

    def call(self, call: Call) -> None:
        if self.is_alone and self.depth and is_in_line(call, self.target):
            emit_in_line(self, call)
            self.calls.append((f"{call.kernel.name}_in_line_{len(self.calls)}", call))
            return
        self.call_function(call)
        forget(self, call)

    def call_function(self, call: Call) -> None:
        name = self.kernel(call)
        self.calls.append((name, call))
        pointers = [self.pointer(root) for root in call.roots]
        self.f.call(name, [*pointers, self.work, *self.table_argument()])

    def table_argument(self) -> list[Reg]:
        """The table of sizes, as kernels are given it, if there is one."""
        sizes = self.f.sizes
        return [] if sizes is None else [sizes]

    def kernel(self, call: Call) -> str:
        """The function of a call's kernel; kernels that differ in nothing share one."""
        shared = with_shared_buffers(call.kernel, call.roots)
        kernel = with_stores_together(shared, call.roots)
        key = repr(kernel)  # all of it: what `str` shows leaves out the strides of products
        if key not in self.names:
            self.names[key] = f"{kernel.name}_{len(self.names)}"
            named = kernel._replace(name=self.names[key])
            emit_kernel(self.f.module, named, self.target, self.flags)
        return self.names[key]

    def branch(self, branch: Branch) -> None:
        f = self.f
        then, otherwise, after = (f.name_of(n) for n in ("then", "else", "joined"))
        raw = f.load(self.place(branch.predicate), "i8")
        f.branch_if(f.icmp("ne", raw, f.const(0, raw)), then, otherwise)
        ends = []
        for label, items, side in ((then, branch.then, 0), (otherwise, branch.otherwise, 1)):
            f.label(label)
            self.cells.clear()
            self.items(items)
            ends.append(
                (
                    [self._chosen(c.then if side == 0 else c.otherwise) for c in branch.choices],
                    f.block,
                )
            )
            f.branch(after)
        f.label(after)
        for i, choice in enumerate(branch.choices):
            incoming = [(pointers[i], block) for pointers, block in ends]
            self.pointers[choice.root] = f.phi("ptr", 1, incoming)

    def _chosen(self, source: tuple[Root, Size]) -> Reg:
        root, offset = source
        return self.f.offset(self.pointer(root), memory_elem(root.dtype), self.f.number(offset))

    def fail(self, fail: Fail) -> None:
        f = self.f
        failed, passed = f.name_of("failed"), f.name_of("passed")
        raw = f.load(self.place(fail.failed), "i8")
        f.branch_if(f.icmp("ne", raw, f.const(0, raw)), failed, passed)
        f.label(failed)
        self.leave(fail)
        f.label(passed)

    def leave(self, fail: Fail) -> None:
        """Return the number of a check that failed."""
        f = self.f
        f.store(f.load(self.place(fail.value), "i64"), self.frame.failing)
        f.line(f"ret i64 {fail.number + 1}")

    def barrier(self) -> None:
        raise AssertionError("a barrier in a program for one thread")

    def foreign(self, foreign: Foreign) -> None:
        """A call by symbol: the linker is told its address, and the text holds none."""
        f = self.f
        pointers = [self.place(place) for place in (*foreign.operands, *foreign.results)]
        result = "i64" if foreign.checked else "void"
        f.module.declare(foreign.function, result, ["ptr"] * len(pointers))
        status = f.call(foreign.function, pointers, result)
        if foreign.checked:
            self.leave_if_failed(foreign, status)

    def leave_if_failed(self, foreign: Foreign, status: Reg) -> None:
        f = self.f
        failed, passed = f.name_of("failed"), f.name_of("passed")
        f.branch_if(f.icmp("ne", status, f.const(0, status)), failed, passed)
        f.label(failed)
        f.store(status, self.frame.failing)
        f.line(f"ret i64 {foreign.number + 1}")
        f.label(passed)
