"""What threads of a device have that those of a processor do not: who they are, waiting for each
other, reading each other's registers, memory that a block shares.

Written as LLVM's intrinsics for PTX.  `emulated/module.py` defines functions of the same names,
with another prefix, for the processor that this runs on.
"""

from __future__ import annotations

import re

from graphc.runtime.cuda.plan.device_kernel import WARP
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.module import Module
from graphc.runtime.llvm.registers import BITS, Reg, constant, llvm_elem, type_name

PREFIX = "llvm.nvvm."

REGISTERS = {"thread": "tid", "block": "ctaid"}
"""What a thread can ask about itself."""

EVERYONE = "-1"
"""The mask of a warp of which all threads take part."""


def place_in(f: Function, what: str) -> Reg:
    """The number of this "thread" in its block, or of its "block" in the grid, as i64."""
    name = f"{PREFIX}read.ptx.sreg.{REGISTERS[what]}.x"
    f.module.declare(name, "i32", [])
    return f.convert("zext", f.let(f"call i32 @{name}()", "i32"), "i64")


def wait_for_block(f: Function) -> None:
    """All threads of the block have come here, and each sees what the others wrote."""
    f.module.declare(f"{PREFIX}barrier0", "void", [])
    f.line(f"call void @{PREFIX}barrier0()")


def wait_for_warp(f: Function) -> None:
    """The same for the threads of a warp."""
    f.module.declare(f"{PREFIX}bar.warp.sync", "void", ["i32"])
    f.line(f"call void @{PREFIX}bar.warp.sync(i32 {EVERYONE})")


def from_neighbour(f: Function, value: Reg, distance: int) -> Reg:
    """`value` of the thread whose number in the warp differs in the bit `distance`."""
    return _exchanged(f, "bfly", value, distance)


def from_first(f: Function, value: Reg) -> Reg:
    """`value` of the first thread of the warp."""
    return _exchanged(f, "idx", value, 0)


def _exchanged(f: Function, way: str, value: Reg, number: int) -> Reg:
    """Registers of 32 bits are exchanged: others in two parts, or as one wider than they are."""
    elem = value.elem
    if value.lanes > 1:
        parts = [_exchanged(f, way, f.extract(value, i), number) for i in range(value.lanes)]
        return together(f, parts)
    if BITS[elem] < 32:
        wide = _exchanged(f, way, f.convert("zext", value, "i32"), number)
        return f.convert("trunc", wide, elem)
    if BITS[elem] == 32:
        return as_elem(f, _exchanged_word(f, way, as_elem(f, value, "i32"), number), elem)
    whole = as_elem(f, value, "i64")
    half = constant(32, "i64")
    low = _exchanged_word(f, way, f.convert("trunc", whole, "i32"), number)
    high = _exchanged_word(f, way, f.convert("trunc", f.lshr(whole, half), "i32"), number)
    joined = f.or_(f.convert("zext", low, "i64"), f.shl(f.convert("zext", high, "i64"), half))
    return as_elem(f, joined, elem)


def as_elem(f: Function, value: Reg, elem: str) -> Reg:
    """The same bits as an element of another type."""
    if llvm_elem(value.elem) == llvm_elem(elem):
        return value._replace(elem=elem)
    return f.bitcast(value, elem)


def _exchanged_word(f: Function, way: str, word: Reg, number: int) -> Reg:
    name = f"{PREFIX}shfl.sync.{way}.i32"
    f.module.declare(name, "i32", ["i32"] * 4)
    arguments = f"i32 {EVERYONE}, {word.typed}, i32 {number}, i32 {WARP - 1}"
    return f.let(f"call i32 @{name}({arguments})", "i32")


def together(f: Function, parts: list[Reg]) -> Reg:
    """A vector of these scalars."""
    if len(parts) == 1:
        return parts[0]
    kind, vector = type_name(parts[0].elem, len(parts)), "poison"
    for i, part in enumerate(parts):
        text = f"insertelement {kind} {vector}, {part.typed}, i64 {i}"
        made = f.let(text, part.elem, len(parts))
        vector = made.text
    return made


def shared_array(module: Module, name: str, nbytes: int) -> Reg:
    """Memory that the threads of a block share, from an address like any other; who asks for more
    of the same name makes it larger."""
    known = re.search(r"\[(\d+) x i8\]", module.tables.get(name, ""))
    size = max(nbytes, int(known[1]) if known else 0)
    module.tables[name] = f"@{name} = internal addrspace(3) global [{size} x i8] undef, align 16"
    return Reg(f"addrspacecast (ptr addrspace(3) @{name} to ptr)", "ptr")
