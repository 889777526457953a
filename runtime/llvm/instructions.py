"""Instructions on registers: arithmetic, comparisons, conversions, lanes, calls.

Each method appends one instruction to the current basic block and returns its register; memory and
control flow are in `builder.Function`.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.runtime.llvm.module import Module
from graphc.runtime.llvm.registers import (
    BITS,
    Reg,
    constant,
    lane_constants,
    llvm_elem,
    type_name,
)


class Instructions:
    """Text of a function under construction, as a list of instructions.

    `flags` are put on the arithmetic of the user's expressions (`fadd`, `fmul`, …): "" for IEEE,
    "reassoc nsz arcp contract" under fast-math.  Vector math code clears it for its own steps.
    """

    def __init__(self, module: Module, flags: str = ""):
        self.module = module
        self.flags = flags
        self._lines: list[str] = ["entry:"]
        self._count = 0

    def line(self, text: str) -> None:
        self._lines.append("  " + text)

    def name_of(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def let(self, text: str, elem: str, lanes: int = 1) -> Reg:
        """`%tN = text`, as a register of the given type."""
        self._count += 1
        reg = Reg(f"%t{self._count}", elem, lanes)
        self._lines.append(f"  {reg.text} = {text}")
        return reg

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
