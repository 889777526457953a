"""What devices of compute capability 8.0 and newer have beyond `simt.py`: tensor cores, registers
filled with small matrices, and copies to shared memory that run while other work goes on.

Written as LLVM's intrinsics for PTX; `emulated/tensor_cores.py` defines functions of these names.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.runtime.cuda.emit.simt import PREFIX
from graphc.runtime.cuda.plan.fragments import MMA_16, Mma
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.registers import Reg

LEAST_CAPABILITY = (8, 0)

MATRICES = "ldmatrix.sync.aligned.m8n8.x4"
"""Four matrices of 8 x 8 elements of 16 bits, one in a register of each thread."""
COPY_BYTES = {4: "cp.async.ca.shared.global.4", 8: "cp.async.ca.shared.global.8"}
COPY_BYTES |= {16: "cp.async.cg.shared.global.16"}
"""What a copy of so many bytes is called; one of 16 goes past the nearest cache."""


def mma_name(mma: Mma, elem: str) -> str:
    """The name of an instruction for elements of this type, without the prefix."""
    kinds = {"f16": "f32.f32", "bf16": "bf16", "float": "tf32", "double": "f64"}
    return f"mma.m{mma.rows}n{mma.columns}k{mma.depth}.row.col.{kinds[elem]}"


def mma_operands(mma: Mma, elem: str) -> tuple[str, int, int]:
    """The type of a register of what is multiplied, and how many of them the left and the right
    matrix take."""
    each = 2 if mma is MMA_16 else 1
    kind = {"f16": "<2 x half>", "double": "double"}.get(elem, "i32")
    return kind, len(mma.left.steps) // each, len(mma.right.steps) // each


def struct_of(elem: str, count: int) -> str:
    """The type of what an instruction with several results gives.

    >>> struct_of("float", 2)
    '{ float, float }'
    """
    return "{ " + ", ".join([elem] * count) + " }"


def multiply_matrices(
    f: Function, mma: Mma, elem: str, left: Sequence[Reg], right: Sequence[Reg], totals: list[Reg]
) -> list[Reg]:
    """This thread's part of totals + left @ right, from its parts of the three.

    What is multiplied is given as words (i32), two elements of 16 bits in each, or as doubles.
    """
    kind, _, _ = mma_operands(mma, elem)
    operands = [*left, *right]
    if elem == "f16":
        operands = [Reg(f.let(f"bitcast {x.typed} to {kind}", kind).text, kind) for x in operands]
    arguments = [f"{kind} {x.text}" for x in operands] + [x.typed for x in totals]
    kinds = [kind] * len(operands) + [mma.total] * len(totals)
    return _several(f, mma_name(mma, elem), kinds, arguments, mma.total, len(totals))


def load_matrices(f: Function, address: Reg, transposed: bool) -> list[Reg]:
    """Four matrices of 8 x 8 elements of 16 bits: the address that thread i gives is that of row
    i % 8 of matrix i // 8, in shared memory and a multiple of 16.

    A thread is given, of each, elements 2t and 2t + 1 of row g; with `transposed` of column g.
    """
    name = f"{MATRICES}{'.trans' if transposed else ''}.b16.p3"
    place = _in_space(f, address, 3)
    return _several(f, name, ["ptr addrspace(3)"], [f"ptr addrspace(3) {place}"], "i32", 4)


def _several(
    f: Function, name: str, kinds: Sequence[str], arguments: Sequence[str], elem: str, count: int
) -> list[Reg]:
    struct = struct_of(elem, count)
    f.module.declare(f"{PREFIX}{name}", struct, [*kinds])
    made = f.let(f"call {struct} @{PREFIX}{name}({', '.join(arguments)})", elem)
    return [f.let(f"extractvalue {struct} {made.text}, {i}", elem) for i in range(count)]


def rounded_to_tensor(f: Function, value: Reg) -> Reg:
    """The word of an f32 as a tensor core multiplies it: rounded to 10 bits of fraction."""
    name = f"{PREFIX}f2tf32.rna"
    f.module.declare(name, "i32", ["float"])
    return f.let(f"call i32 @{name}({value.typed})", "i32")


# ---- copies that run beside other work -----------------------------------------------------------


def copy_ahead(f: Function, target: Reg, source: Reg, nbytes: int, valid: Reg | None) -> None:
    """Begin to copy 4, 8 or 16 bytes from global to shared memory, both at a multiple of that.

    Of `valid` bytes (i32), if these are given: the others become 0, and are not read.
    """
    name = f"{PREFIX}{COPY_BYTES[nbytes]}{'' if valid is None else '.s'}"
    kinds = ["ptr addrspace(3)", "ptr addrspace(1)", *(["i32"] if valid is not None else [])]
    f.module.declare(name, "void", kinds)
    places = [f"ptr addrspace({n}) {_in_space(f, p, n)}" for p, n in ((target, 3), (source, 1))]
    f.line(f"call void @{name}({', '.join(places if valid is None else [*places, valid.typed])})")


def end_of_copies(f: Function) -> None:
    """The copies begun by this thread since the last time are a group."""
    f.module.declare(f"{PREFIX}cp.async.commit.group", "void", [])
    f.line(f"call void @{PREFIX}cp.async.commit.group()")


def wait_for_copies(f: Function, but: int) -> None:
    """All groups of this thread but the last few are copied; others see that after a barrier."""
    f.module.declare(f"{PREFIX}cp.async.wait.group", "void", ["i32 immarg"])
    f.line(f"call void @{PREFIX}cp.async.wait.group(i32 {but})")


def _in_space(f: Function, address: Reg, space: int) -> str:
    """The same address as one of shared (3) or global (1) memory."""
    return f.let(f"addrspacecast ptr {address.text} to ptr addrspace({space})", "ptr").text


def load_from_shared(f: Function, address: Reg, elem: str) -> Reg:
    """An element of the type that is multiplied, as a register of `multiply_matrices`."""
    value = f.load(address, elem)
    return value if elem == "double" else rounded_to_tensor(f, value)
