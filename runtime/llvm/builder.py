"""Writing LLVM IR as text.

`Function` appends instructions and returns registers (`Reg`); `Module` collects functions,
declarations and constant tables.  Text is written directly because that is several times faster
than building and printing `llvmlite.ir` objects.  Every value is a scalar or a vector of `lanes`
elements, and the same code serves both: with `lanes == 1` types and constants are scalar.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from graphc.dims import Dim, Size

if TYPE_CHECKING:
    from graphc.runtime.sizes import Sizing

from graphc.rounding import narrow_bits

BITS = {"float": 32, "double": 64, "i1": 1, "i8": 8, "i16": 16, "i32": 32, "i64": 64}
UNSIGNED = {f"u{bits}": f"i{bits}" for bits in (8, 16, 32, 64)}
"""Element types that count from zero upwards: to LLVM the same words as others."""
WORDS = {**UNSIGNED, "f16": "i16", "bf16": "i16"}
"""Element types of graphc's own, and the words that LLVM sees: floats of 16 bits are only moved."""
BITS |= {"half": 16, **{elem: BITS[word] for elem, word in WORDS.items()}}


class Reg(NamedTuple):
    """An LLVM value: how it is written, its element type, and its number of lanes."""

    text: str
    elem: str
    lanes: int = 1

    @property
    def type(self) -> str:
        return type_name(self.elem, self.lanes)

    @property
    def typed(self) -> str:
        return f"{type_name(self.elem, self.lanes)} {self.text}"


def llvm_elem(elem: str) -> str:
    """What LLVM calls an element type."""
    return WORDS.get(elem, elem)


@functools.cache
def type_name(elem: str, lanes: int = 1) -> str:
    name = llvm_elem(elem)
    return name if lanes == 1 else f"<{lanes} x {name}>"


def float_text(value: float, elem: str) -> str:
    """A float constant in LLVM's exact hexadecimal form (of the double that it equals)."""
    if elem == "float":
        value = _round_to_f32(value)
    return "0x" + struct.pack(">d", value).hex().upper()


def _round_to_f32(value: float) -> float:
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def constant(value: bool | int | float, elem: str, lanes: int = 1) -> Reg:
    """A constant, the same in each lane."""
    if elem in ("f16", "bf16"):
        value = narrow_bits(float(value), elem)
    text = float_text(float(value), elem) if elem in ("float", "double") else str(int(value))
    return Reg(text if lanes == 1 else f"splat ({llvm_elem(elem)} {text})", elem, lanes)


def lane_constants(values: Sequence[int], elem: str) -> Reg:
    """A vector constant with its own integer in each lane."""
    return _lane_constants(tuple(values), elem)


@functools.lru_cache(1024)
def _lane_constants(values: tuple[int, ...], elem: str) -> Reg:
    if len(values) == 1:
        return constant(values[0], elem)
    name = llvm_elem(elem)
    return Reg("<" + ", ".join(f"{name} {v}" for v in values) + ">", elem, len(values))


class Module:
    """LLVM IR text under construction: constant tables, declarations, functions.

    `emulations` are what stands for intrinsics that the target has no instruction for, `sizing`
    says where in the table of sizes a number stands that is not known.
    """

    def __init__(
        self,
        emulations: Mapping[str, Callable[..., Reg]] | None = None,
        sizing: Sizing | None = None,
    ) -> None:
        self.emulations = emulations or {}
        self.sizing = sizing
        self.declarations: dict[str, str] = {}
        self.tables: dict[str, str] = {}
        self.functions: dict[str, str] = {}

    def declare(self, name: str, result: str, parameters: Sequence[str]) -> None:
        self.declarations.setdefault(name, f"declare {result} @{name}({', '.join(parameters)})")

    def table(self, name: str, elem: str, values: Sequence[int | float]) -> Reg:
        """A constant array in memory; the pointer to its first element."""
        if name not in self.tables:
            items = ", ".join(f"{elem} {constant(v, elem).text}" for v in values)
            self.tables[name] = (
                f"@{name} = private constant [{len(values)} x {elem}] [{items}], align 64"
            )
        return Reg(f"@{name}", "ptr")

    def add(self, function: Function) -> None:
        self.functions[function.name] = function.finish()

    def __str__(self) -> str:
        parts = (self.tables, self.declarations, self.functions)
        return "\n".join(text for part in parts for text in part.values()) + "\n"


class Function:
    """One LLVM function: appends instructions to the current basic block.

    `flags` are put on the arithmetic of the user's expressions (`fadd`, `fmul`, …): "" for IEEE,
    "reassoc nsz arcp contract" under fast-math.  Vector math code clears it for its own steps.
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
        self.module = module
        self.name = name
        self.flags = flags
        self.is_straight = runs_once
        self.parameters = tuple(parameters)
        self._head = f"define {linkage} {result} @{name}({', '.join(p.typed for p in parameters)})"
        self._lines: list[str] = ["entry:"]
        self._first: list[str] = []
        self._rows: dict[int, Reg] = {}
        self.sizes: Reg | None = None
        self._count = 0
        self.block = "entry"

    # ---- the text --------------------------------------------------------------------------------

    def line(self, text: str) -> None:
        self._lines.append("  " + text)

    def finish(self) -> str:
        lines = [*self._lines[:1], *self._first, *self._lines[1:]]
        mark = "#1" if self.is_straight else "#0"
        return self._head + f" {mark} {{\n" + "\n".join(lines) + "\n}\n"

    def name_of(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def let(self, text: str, elem: str, lanes: int = 1) -> Reg:
        """`%tN = text`, as a register of the given type."""
        self._count += 1
        reg = Reg(f"%t{self._count}", elem, lanes)
        self._lines.append(f"  {reg.text} = {text}")
        return reg

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

    def const(self, value: bool | int | float, like: Reg) -> Reg:
        """`value` with the element type and lanes of `like`."""
        return constant(value, like.elem, like.lanes)

    # ---- arithmetic ------------------------------------------------------------------------------

    def binary(self, opcode: str, a: Reg, b: Reg) -> Reg:
        return self.let(f"{opcode} {a.type} {a.text}, {b.text}", a.elem, a.lanes)

    def fadd(self, a: Reg, b: Reg) -> Reg:
        return self.binary(f"fadd {self.flags}", a, b)

    def fsub(self, a: Reg, b: Reg) -> Reg:
        return self.binary(f"fsub {self.flags}", a, b)

    def fmul(self, a: Reg, b: Reg) -> Reg:
        return self.binary(f"fmul {self.flags}", a, b)

    def fdiv(self, a: Reg, b: Reg) -> Reg:
        return self.binary(f"fdiv {self.flags}", a, b)

    def fneg(self, a: Reg) -> Reg:
        return self.let(f"fneg {a.typed}", a.elem, a.lanes)

    def fma(self, a: Reg, b: Reg, c: Reg) -> Reg:
        """a*b + c with one rounding."""
        return self.intrinsic("fma", a, b, c)

    def polynomial(self, x: Reg, coefficients: Sequence[float]) -> Reg:
        """c0*x^(n-1) + ... + c(n-1) by Horner's rule with fused multiply-adds."""
        value = self.const(coefficients[0], x)
        for coefficient in coefficients[1:]:
            value = self.fma(value, x, self.const(coefficient, x))
        return value

    def add(self, a: Reg, b: Reg) -> Reg:
        return self.binary("add", a, b)

    def sub(self, a: Reg, b: Reg) -> Reg:
        return self.binary("sub", a, b)

    def mul(self, a: Reg, b: Reg) -> Reg:
        return self.binary("mul", a, b)

    def and_(self, a: Reg, b: Reg) -> Reg:
        return self.binary("and", a, b)

    def or_(self, a: Reg, b: Reg) -> Reg:
        return self.binary("or", a, b)

    def xor(self, a: Reg, b: Reg) -> Reg:
        return self.binary("xor", a, b)

    def shl(self, a: Reg, b: Reg) -> Reg:
        return self.binary("shl", a, b)

    def lshr(self, a: Reg, b: Reg) -> Reg:
        return self.binary("lshr", a, b)

    def ashr(self, a: Reg, b: Reg) -> Reg:
        return self.binary("ashr", a, b)

    # ---- comparing and choosing ------------------------------------------------------------------

    def fcmp(self, predicate: str, a: Reg, b: Reg) -> Reg:
        return self.let(f"fcmp {predicate} {a.type} {a.text}, {b.text}", "i1", a.lanes)

    def icmp(self, predicate: str, a: Reg, b: Reg) -> Reg:
        return self.let(f"icmp {predicate} {a.type} {a.text}, {b.text}", "i1", a.lanes)

    def select(self, mask: Reg, a: Reg, b: Reg) -> Reg:
        """a where mask, else b, lane by lane."""
        return self.let(f"select {mask.typed}, {a.typed}, {b.typed}", a.elem, a.lanes)

    def not_(self, mask: Reg) -> Reg:
        return self.xor(mask, self.const(-1 if mask.elem != "i1" else 1, mask))

    # ---- conversions -----------------------------------------------------------------------------

    def convert(self, opcode: str, a: Reg, elem: str) -> Reg:
        """`opcode` is one of bitcast, fptrunc, fpext, fptosi, sitofp, uitofp, trunc, zext, sext."""
        return self.let(f"{opcode} {a.typed} to {type_name(elem, a.lanes)}", elem, a.lanes)

    def bitcast(self, a: Reg, elem: str) -> Reg:
        return self.convert("bitcast", a, elem)

    # ---- lanes -----------------------------------------------------------------------------------

    def splat(self, a: Reg, lanes: int) -> Reg:
        """A scalar repeated over lanes."""
        if lanes == 1 or a.lanes == lanes:
            return a
        if not a.text.startswith("%"):
            return Reg(f"splat ({llvm_elem(a.elem)} {a.text})", a.elem, lanes)
        kind = type_name(a.elem, lanes)
        first = self.let(f"insertelement {kind} poison, {a.typed}, i64 0", a.elem, lanes)
        zeros = f"<{lanes} x i32> zeroinitializer"
        return self.let(f"shufflevector {kind} {first.text}, {kind} poison, {zeros}", a.elem, lanes)

    def half(self, a: Reg, part: int) -> Reg:
        """The first (`part` 0) or second half of the lanes of a vector."""
        count = a.lanes // 2
        if count == 1:
            return self.extract(a, part)
        picks = lane_constants(range(part * count, (part + 1) * count), "i32")
        text = f"shufflevector {a.typed}, {a.type} poison, {picks.typed}"
        return self.let(text, a.elem, count)

    def joined(self, low: Reg, high: Reg) -> Reg:
        """The lanes of two vectors, one after the other."""
        return self.shuffle(low, high, range(low.lanes + high.lanes))

    def shuffle(self, low: Reg, high: Reg, picks: Sequence[int]) -> Reg:
        """These lanes of two vectors of equal length, those of the second counted on."""
        lanes = lane_constants(picks, "i32")
        text = f"shufflevector {low.typed}, {high.typed}, {lanes.typed}"
        return self.let(text, low.elem, len(picks))

    def extract(self, a: Reg, lane: int) -> Reg:
        return a if a.lanes == 1 else self.let(f"extractelement {a.typed}, i64 {lane}", a.elem)

    # ---- calls -----------------------------------------------------------------------------------

    def intrinsic(self, name: str, *args: Reg) -> Reg:
        """`llvm.NAME` overloaded on the type of the first argument, which is its result type."""
        if name in self.module.emulations:
            return self.module.emulations[name](self, *args)
        first = args[0]
        suffix = ("f" if first.elem in ("float", "double") else "i") + str(BITS[first.elem])
        if first.lanes != 1:
            suffix = f"v{first.lanes}{suffix}"
        full = f"llvm.{name}.{suffix}"
        self.module.declare(full, first.type, [arg.type for arg in args])
        return self.let(
            f"call {first.type} @{full}({', '.join(a.typed for a in args)})",
            first.elem,
            first.lanes,
        )

    def call(self, name: str, args: Sequence[Reg], result: str = "void", lanes: int = 1) -> Reg:
        """Call a function that the module declares or defines."""
        text = f"call {type_name(result, lanes)} @{name}({', '.join(a.typed for a in args)})"
        if result == "void":
            self.line(text)
            return Reg("", "void")
        return self.let(text, result, lanes)

    # ---- memory ----------------------------------------------------------------------------------

    def on_stack(self, nbytes: int) -> Reg:
        """Memory for as long as the function runs, at a multiple of 16 bytes."""
        reg = Reg(f"%{self.name_of('stack')}", "ptr")
        self._lines.insert(1, f"  {reg.text} = alloca [{nbytes} x i8], align 16")
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

    def prefetch(self, address: Reg) -> None:
        """Ask for the cache line of an address, to be read soon; any address will do."""
        self.module.declare("llvm.prefetch.p0", "void", ["ptr", "i32", "i32", "i32"])
        self.line(f"call void @llvm.prefetch.p0(ptr {address.text}, i32 0, i32 3, i32 1)")

    def store(self, value: Reg, address: Reg) -> None:
        align = max(BITS[value.elem] // 8, 1)
        self.line(f"store {value.typed}, ptr {address.text}, align {align}")

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
