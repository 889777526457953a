"""Writing LLVM IR as text: functions, their memory accesses and their control flow.

`Function` appends instructions and returns registers (`Reg`); `Module` collects functions,
declarations and constant tables.  Text is written directly because that is several times faster
than building and printing `llvmlite.ir` objects.  Every value is a scalar or a vector of `lanes`
elements, and the same code serves both: with `lanes == 1` types and constants are scalar.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from graphc.dims import Dim, Size
from graphc.runtime.llvm.instructions import Instructions
from graphc.runtime.llvm.module import Module
from graphc.runtime.llvm.registers import BITS, Reg, constant, llvm_elem, type_name

_NAMES = re.compile(r"%[\w.]+")
"""Registers, in a line of text."""


class Function(Instructions):
    """One LLVM function: appends instructions to the current basic block.

    `sizes` is the table of sizes, where the function is given one.
    """

    def __init__(
        self,
        module: Module,
        name: str,
        parameters: Sequence[Reg],
        result: str = "void",
        linkage: str = "internal",
        flags: str = "",
        runs_once: bool = False,
    ):
        super().__init__(module, flags)
        self.name = name
        self.is_straight = runs_once
        self.parameters = tuple(parameters)
        self._head = f"define {linkage} {result} @{name}"
        self._first: list[str] = []
        self._rows: dict[int, Reg] = {}
        self.sizes: Reg | None = None
        self.block = "entry"

    # ---- the text --------------------------------------------------------------------------------

    def finish(self) -> str:
        lines = [*self._lines[:1], *self._first, *self._lines[1:]]
        mark = "#1" if self.is_straight else "#0"
        parameters = ", ".join(p.typed for p in self.parameters)
        return f"{self._head}({parameters}) {mark} {{\n" + "\n".join(lines) + "\n}\n"

    def keep_used_parameters(self) -> tuple[int, ...]:
        """Leave out the parameters that nothing so far names; the numbers of those that stay."""
        named = {name for line in (*self._first, *self._lines) for name in _NAMES.findall(line)}
        kept = tuple(i for i, p in enumerate(self.parameters) if p.text in named)
        self.parameters = tuple(self.parameters[i] for i in kept)
        return kept

    # ---- constants -------------------------------------------------------------------------------

    def number(self, size: Size) -> Reg:
        """A size as an i64: a constant, or what the table of sizes says, read once."""
        if not isinstance(size, Dim):
            return constant(size, "i64")
        assert self.module.sizing is not None
        return self.table_row(self.module.sizing.row(size))

    def table_row(self, row: int) -> Reg:
        """A row of the table of sizes, read where the function begins."""
        if row not in self._rows:
            assert self.sizes is not None, f"{self.name} is given no table of sizes"
            at, value = f"%size{row}.at", Reg(f"%size{row}", "i64")
            self.first(f"{at} = getelementptr i64, ptr {self.sizes.text}, i64 {row}")
            self.first(f"{value.text} = load i64, ptr {at}, align 8")
            self._rows[row] = value
        return self._rows[row]

    def first(self, text: str) -> None:
        """A line where the function begins, after others of this kind."""
        self._first.append("  " + text)

    # ---- memory ----------------------------------------------------------------------------------

    def on_stack(self, nbytes: int) -> Reg:
        """Memory for as long as the function runs, at a multiple of 16 bytes."""
        reg = Reg(f"%{self.name_of('stack')}", "ptr")
        self._first.append(f"  {reg.text} = alloca [{nbytes} x i8], align 16")
        return reg

    def offset(self, base: Reg, elem: str, index: Reg) -> Reg:
        """The address of element `index` (i64) from `base`."""
        if index.text == "0":
            return base
        name = llvm_elem(elem)
        return self.let(f"getelementptr {name}, ptr {base.text}, i64 {index.text}", "ptr")

    def load(self, address: Reg, elem: str, lanes: int = 1) -> Reg:
        kind = type_name(elem, lanes)
        return self.let(
            f"load {kind}, ptr {address.text}, align {max(BITS[elem] // 8, 1)}", elem, lanes
        )

    def prefetch(self, address: Reg, write: bool = False, level: int = 1) -> None:
        """Ask for the cache line of an address, to be read or written soon; any address will do.

        It is brought into the cache of that level.
        """
        self.module.declare("llvm.prefetch.p0", "void", ["ptr", "i32", "i32", "i32"])
        how = f"i32 {int(write)}, i32 {4 - level}, i32 1"
        self.line(f"call void @llvm.prefetch.p0(ptr {address.text}, {how})")

    def store(self, value: Reg, address: Reg) -> None:
        align = max(BITS[value.elem] // 8, 1)
        self.line(f"store {value.typed}, ptr {address.text}, align {align}")

    def stream(self, value: Reg, address: Reg, align: int) -> None:
        """Store past the caches, at an address that is a multiple of `align`; see `fence`."""
        self.line(
            f"store {value.typed}, ptr {address.text}, align {align}, !nontemporal !{{i32 1}}"
        )

    def fence(self) -> None:
        """Have what was stored past the caches be there for other threads from here on."""
        self.module.declare("llvm.x86.sse.sfence", "void", [])
        self.line("call void @llvm.x86.sse.sfence()")

    def masked_load(self, address: Reg, elem: str, lanes: int, mask: Reg) -> Reg:
        """The lanes under `mask`, zero elsewhere; touches no memory outside the mask."""
        kind, name = type_name(elem, lanes), self._masked_name("load", elem, lanes)
        self.module.declare(name, kind, ["ptr", "i32 immarg", mask.type, kind])
        align = max(BITS[elem] // 8, 1)
        return self.let(
            f"call {kind} @{name}(ptr {address.text}, i32 {align}, {mask.typed},"
            f" {kind} zeroinitializer)",
            elem,
            lanes,
        )

    def masked_store(self, value: Reg, address: Reg, mask: Reg) -> None:
        """Store the lanes under `mask`.

        One known lane is stored alone: LLVM 20 to 22 make one store of it themselves, of the whole
        wide element where the value is a narrowed one (`trunc`), over its neighbour in memory.
        """
        if mask.text.startswith("<i1 1,") and mask.text.count("i1 1") == 1:
            self.store(self.extract(value, 0), address)
            return
        name = self._masked_name("store", value.elem, value.lanes)
        self.module.declare(name, "void", [value.type, "ptr", "i32 immarg", mask.type])
        align = max(BITS[value.elem] // 8, 1)
        self.line(
            f"call void @{name}({value.typed}, ptr {address.text}, i32 {align}, {mask.typed})"
        )

    def gather(self, addresses: Reg, elem: str, mask: Reg) -> Reg:
        """One element from each of a vector of addresses, zero where the mask is off."""
        lanes = addresses.lanes
        kind, letter = type_name(elem, lanes), "f" if elem in ("float", "double") else "i"
        name = f"llvm.masked.gather.v{lanes}{letter}{BITS[elem]}.v{lanes}p0"
        self.module.declare(name, kind, [addresses.type, "i32 immarg", mask.type, kind])
        align = max(BITS[elem] // 8, 1)
        return self.let(
            f"call {kind} @{name}({addresses.typed}, i32 {align}, {mask.typed},"
            f" {kind} zeroinitializer)",
            elem,
            lanes,
        )

    def scatter(self, value: Reg, addresses: Reg, mask: Reg) -> None:
        """Store each lane of `value` at its own address, where the mask is on."""
        lanes, letter = value.lanes, "f" if value.elem in ("float", "double") else "i"
        name = f"llvm.masked.scatter.v{lanes}{letter}{BITS[value.elem]}.v{lanes}p0"
        self.module.declare(name, "void", [value.type, addresses.type, "i32 immarg", mask.type])
        align = max(BITS[value.elem] // 8, 1)
        self.line(f"call void @{name}({value.typed}, {addresses.typed}, i32 {align}, {mask.typed})")

    @staticmethod
    def _masked_name(what: str, elem: str, lanes: int) -> str:
        letter = "f" if elem in ("float", "double") else "i"
        return f"llvm.masked.{what}.v{lanes}{letter}{BITS[elem]}.p0"

    # ---- control flow ----------------------------------------------------------------------------

    def label(self, name: str) -> None:
        self._lines.append(f"{name}:")
        self.block = name

    def branch(self, target: str) -> None:
        self.line(f"br label %{target}")

    def branch_if(self, condition: Reg, then: str, otherwise: str) -> None:
        self.line(f"br i1 {condition.text}, label %{then}, label %{otherwise}")

    def phi(self, elem: str, lanes: int, incoming: Sequence[tuple[Reg, str]]) -> Reg:
        pairs = ", ".join(f"[{value.text}, %{block}]" for value, block in incoming)
        return self.let(f"phi {type_name(elem, lanes)} {pairs}", elem, lanes)

    def carried_if(
        self, condition: Reg, before: Sequence[Reg], run: Callable[[], Sequence[Reg]]
    ) -> list[Reg]:
        """What `run` makes of registers where the condition holds; elsewhere they are `before`."""
        some, none, start = self.name_of("some"), self.name_of("none"), self.block
        self.branch_if(condition, some, none)
        self.label(some)
        results, last = run(), self.block
        self.branch(none)
        self.label(none)
        return [
            self.phi(a.elem, a.lanes, [(a, start), (b, last)])
            for a, b in zip(before, results, strict=True)
        ]

    @contextmanager
    def loop(
        self, start: Reg, stop: Reg, step: int | Reg, carried: Sequence[Reg] = ()
    ) -> Iterator[Loop]:
        """`for index in range(start, stop, step)` with `start < stop` known, carrying registers.

        The body sets `loop.next` (the carried registers of the next iteration); `loop.results`
        holds the final ones after the `with` block.  What the body computes from the index is as
        it says: see `opaque`.
        """
        head, after = self.name_of("loop"), self.name_of("after")
        self.is_straight = False
        before = self.block
        self.branch(head)
        self.label(head)
        index = Reg(f"%{self.name_of('i')}", "i64")
        inside = [Reg(f"%{self.name_of('c')}", c.elem, c.lanes) for c in carried]
        spot = len(self._lines)
        state = Loop(self.opaque(index), inside)
        yield state
        step_reg = step if isinstance(step, Reg) else constant(step, "i64")
        following = self.add(index, step_reg)
        more = self.icmp("slt", following, stop)
        last = self.block
        self.branch_if(more, head, after)
        phis = [f"  {index.text} = phi i64 [{start.text}, %{before}], [{following.text}, %{last}]"]
        for reg, initial, final in zip(inside, carried, state.next, strict=True):
            phis.append(
                f"  {reg.text} = phi {reg.type} [{initial.text}, %{before}],"
                f" [{final.text}, %{last}]"
            )
        self._lines[spot:spot] = phis
        self.label(after)
        state.results = list(state.next)

    def opaque(self, value: Reg) -> Reg:
        """An index (i64) or address as one of which LLVM knows nothing; it costs no instruction.

        LLVM rewrites addresses that grow steadily in a loop (loop strength reduction).  That takes
        a tenth of the compile time and undoes choices made here: of base + index it makes a pointer
        for each array, of a few pointers and fixed distances one that is moved from load to load.
        """
        if value.elem == "ptr":
            name, arguments = "llvm.launder.invariant.group.p0", [value.typed]
        else:
            name, arguments = "llvm.expect.i64", [value.typed, "i64 0"]
        self.module.declare(name, value.elem, [value.elem] * len(arguments))
        return self.let(f"call {value.elem} @{name}({', '.join(arguments)})", value.elem)

    @contextmanager
    def repeat(self, initial: Sequence[Reg]) -> Iterator[Repetition]:
        """A loop that runs until `Repetition.go_on_if`, which its body calls once, finds false.

        `carried` are its registers where an iteration begins, and still where the loop has ended;
        the body sets `next`.
        """
        head, after = self.name_of("again"), self.name_of("done")
        self.is_straight = False
        before = self.block
        self.branch(head)
        self.label(head)
        state = Repetition(self, [self._phi_of(reg) for reg in initial], after)
        spot = len(self._lines)
        yield state
        last = self.block
        self.branch(head)
        self._lines[spot:spot] = [
            f"  {reg.text} = phi {reg.type} [{first.text}, %{before}], [{following.text}, %{last}]"
            for reg, first, following in zip(state.carried, initial, state.next, strict=True)
        ]
        self.label(after)

    def _phi_of(self, reg: Reg) -> Reg:
        return Reg(f"%{self.name_of('c')}", reg.elem, reg.lanes)


class Repetition:
    """An open loop that leaves where it finds that it has to."""

    def __init__(self, f: Function, carried: Sequence[Reg], after: str):
        self.f = f
        self.after = after
        self.carried = list(carried)
        self.next: list[Reg] = list(carried)

    def go_on_if(self, condition: Reg) -> None:
        """Leave the loop unless `condition` holds; what follows is the rest of its body."""
        inside = self.f.name_of("inside")
        self.f.branch_if(condition, inside, self.after)
        self.f.label(inside)


class Loop:
    """An open loop: its index, the carried registers inside it, and those that come out."""

    def __init__(self, index: Reg, carried: Sequence[Reg]):
        self.index = index
        self.carried = list(carried)
        self.next: list[Reg] = list(carried)
        self.results: list[Reg] = []
