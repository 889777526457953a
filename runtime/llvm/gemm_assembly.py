"""The micro-kernel of products of floats, as x86-64 assembly.

Each row of a tile is a broadcast and its multiply-adds: there is nothing that LLVM could find out
about them, and it takes 3 ms to do so.  Written down as they will be, they run as fast, and take a
third of that, which is for reading them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.registers import BITS, Reg
from graphc.runtime.llvm.target import HostTarget

ROWS_PER_POINTER = 3  # base, base + stride and base + 2*stride are each one x86 address
SUFFIXES = {"float": "s", "double": "d"}


def is_assembled(target: HostTarget, elem: str, *stored: str) -> bool:
    """Whether a target's kernels for elements of these types in memory are written here."""
    has_instructions = target.has_fma and target.vector_bytes in (32, 64)
    is_known = elem in SUFFIXES and all(other == elem for other in stored)
    return target.triple.startswith("x86_64") and has_instructions and is_known


class Tile(NamedTuple):
    """A tile of `height` rows by `vectors` vectors of elements."""

    elem: str
    height: int
    vectors: int
    lanes: int

    @property
    def size(self) -> int:
        """Bytes of an element."""
        return BITS[self.elem] // 8

    @property
    def is_wide(self) -> bool:
        """Whether there are 32 vectors of 64 bytes, and not 16 of 32 bytes."""
        return self.lanes * self.size == 64

    @property
    def suffix(self) -> str:
        """Of instructions for such elements."""
        return SUFFIXES[self.elem]

    def register(self, number: int) -> str:
        return f"%{'zmm' if self.is_wide else 'ymm'}{number}"

    def sum(self, row: int, vector: int) -> str:
        return self.register(row * self.vectors + vector)

    def right(self, vector: int) -> str:
        return self.register(self.height * self.vectors + vector)

    def factor(self, row: int) -> str:
        """Rows use two registers in turn, if there are so many."""
        first = (self.height + 1) * self.vectors
        last = min(first + 1, 31 if self.is_wide else 15)
        return self.register(first + row % (last - first + 1))

    def place(self, vector: int, base: str) -> str:
        return f"{vector * self.lanes * self.size}({base})"


def assemble(f: Function, tile: Tile, pointers: Sequence[Reg], ahead: bool) -> None:
    """The body of a kernel with the parameters of `gemm_kernels.KERNEL_NAMES`, and with `ahead`
    those of `AHEAD_NAMES`; there is a pointer for each three rows of left.

    The loop ends where `inner`, counted down, is 0: a product of no terms does not come here.
    """
    _, row_stride, left_step, right, right_step, inner, out, out_stride, *coming = f.parameters
    moving = [*pointers, right, inner, out, *coming[:1]]
    steady = [row_stride, left_step, right_step, out_stride, *coming[1:]]
    names = [f"${i}" for i in range(2 * len(moving) + len(steady))]
    places, strides = names[: len(moving)], names[2 * len(moving) :]
    text = "\\0A".join(instructions(tile, len(pointers), places, strides))
    ties = [str(i) for i in range(len(moving))]
    clobbers = ["~{memory}", "~{cc}", *(f"~{{xmm{i}}}" for i in range(32 if tile.is_wide else 16))]
    constraints = [*["=&r"] * len(moving), *ties, *["r"] * len(steady), *clobbers]
    types = ", ".join(register.elem for register in moving)
    arguments = ", ".join(register.typed for register in (*moving, *steady))
    f.line(f'call {{ {types} }} asm sideeffect "{text}", "{",".join(constraints)}"({arguments})')


def instructions(
    tile: Tile, groups: int, places: Sequence[str], strides: Sequence[str]
) -> Iterator[str]:
    """The lines; `places` are what moves, as in `assemble`, and `strides` how far."""
    lefts, (right, inner, out, *coming) = places[:groups], places[groups:]
    row_stride, left_step, right_step, out_stride, *ahead_step = strides
    clear = "vpxord" if tile.is_wide else "vxorps"
    for number in range(tile.height * tile.vectors):
        yield f"{clear} {', '.join([tile.register(number)] * 3)}"
    yield ".p2align 4"
    yield "1:"
    for v in range(tile.vectors):
        yield f"vmovup{tile.suffix} {tile.place(v, right)}, {tile.right(v)}"
    for row in range(tile.height):
        within = ("", f", {row_stride}", f", {row_stride}, 2")[row % ROWS_PER_POINTER]
        yield from multiply_adds(tile, row, f"({lefts[row // ROWS_PER_POINTER]}{within})")
    for place, step in ((right, right_step), *((left, left_step) for left in lefts)):
        yield f"addq {step}, {place}"
    for place, step in zip(coming, ahead_step, strict=True):
        yield f"prefetcht1 ({place})"
        yield f"addq {step}, {place}"
    yield f"decq {inner}"
    yield "jne 1b"
    yield from stores(tile, out, out_stride)
    yield "vzeroupper"


def multiply_adds(tile: Tile, row: int, place: str) -> Iterator[str]:
    """A row of the tile and its element of left: a single vector broadcasts it on its own."""
    if tile.vectors == 1 and tile.is_wide:
        operands = f"{place}{{1to{tile.lanes}}}", tile.right(0), tile.sum(row, 0)
        yield f"vfmadd231p{tile.suffix} {', '.join(operands)}"
        return
    yield f"vbroadcasts{tile.suffix} {place}, {tile.factor(row)}"
    for v in range(tile.vectors):
        operands = tile.right(v), tile.factor(row), tile.sum(row, v)
        yield f"vfmadd231p{tile.suffix} {', '.join(operands)}"


def stores(tile: Tile, out: str, stride: str) -> Iterator[str]:
    for row in range(tile.height):
        if row:
            yield f"addq {stride}, {out}"
        for v in range(tile.vectors):
            yield f"vmovup{tile.suffix} {tile.sum(row, v)}, {tile.place(v, out)}"
