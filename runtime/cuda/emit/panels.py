"""Panels in shared memory: what of the operands of a product a block multiplies next.

A panel is a slice of an operand, `outer` rows of the left one or columns of the right one, and
`depth` terms of their inner products.  It lies as the operand does in memory: along the depth, or
along the rows or columns, so that a copy of 16 bytes stays one.

Threads of a warp read eight addresses of 16 bytes at a time (elements of 16 bits), or 32 elements
(wider ones).  They are in different banks of the memory:

  - of 16 bits: the pieces of 16 bytes of a line are in another order in each line (the number of a
    piece, xor that of the line);
  - wider: lines lie a few elements further apart than they are long.
"""

from __future__ import annotations

from graphc.runtime.cuda.emit.tensor_simt import load_from_shared, load_matrices
from graphc.runtime.cuda.plan.fragments import Fragment
from graphc.runtime.cuda.plan.panel_shapes import Panel
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.registers import Reg, constant

I64 = "i64"
PIECE = 8
"""Elements of 16 bits in 16 bytes."""
MATRIX = 8
"""Rows and columns of a matrix that `load_matrices` reads."""


def place_in_panel(f: Function, panel: Panel, outer: Reg, depth: Reg) -> Reg:
    """At which byte an element is; of 16 bits, the first of a piece or `PIECE`s further on."""
    line, position = (outer, depth) if panel.along_depth else (depth, outer)
    start = f.mul(line, constant(panel.pitch * panel.size, I64))
    if panel.size == 2:
        position = _exchanged(f, panel, line, position)
    return f.add(start, f.mul(position, constant(panel.size, I64)))


def _exchanged(f: Function, panel: Panel, line: Reg, position: Reg) -> Reg:
    """The position in a line with its pieces in the order of that line.

    Eight lines of 64 bytes are two in each 128, four of the pieces each; of longer ones eight
    pieces are in each 128 bytes.
    """
    pieces = panel.length // PIECE
    if pieces < MATRIX:
        line = f.lshr(line, constant(1, I64))
    mask = f.and_(line, constant(min(pieces, MATRIX) - 1, I64))
    return f.xor(position, f.mul(mask, constant(PIECE, I64)))


class MatrixReader:
    """How a warp reads its part of a panel of elements of 16 bits: `tiles` fragments for each 16
    terms of depth.

    `tile` is the outer size of a fragment, 16 (left) or 8 (right); four matrices of 8 x 8 are one
    fragment of the left operand, or two of the right one.
    """

    def __init__(self, f: Function, panel: Panel, own: Reg, lane: Reg, tile: int, tiles: int):
        self.f = f
        self.panel = panel
        self.tile = tile
        self.reads = tiles * tile // 16
        row, number = f.and_(lane, constant(7, I64)), f.lshr(lane, constant(3, I64))
        first, second = f.and_(number, constant(1, I64)), f.lshr(number, constant(1, I64))
        down, deep = (first, second) if tile == 16 else (second, first)
        outer, depth = (f.mul(x, constant(MATRIX, I64)) for x in (down, deep))
        outer, depth = (
            (f.add(outer, row), depth) if panel.along_depth else (outer, f.add(depth, row))
        )
        start = place_in_panel(f, panel, f.add(own, outer), depth)
        self.starts = {0: start}
        for flip in self._flips():
            if flip:
                self.starts[flip] = f.xor(start, constant(flip, I64))

    def _flips(self) -> list[int]:
        """What is changed in an address from one read along a line to the next: the pieces of a
        line are exchanged by xor, so that this is one, too."""
        count = self.panel.depth // 16 if self.panel.along_depth else self.reads
        return [2 * PIECE * self.panel.size * i for i in range(count)]

    def fragments(self, panel: Reg, step: int) -> list[list[Reg]]:
        """The fragments for terms 16 * step and on of the panel at an address."""
        f, along = self.f, self.panel.along_depth
        found: list[list[Reg]] = []
        line = self.panel.pitch * self.panel.size
        for i in range(self.reads):
            flip, lines = (step, i) if along else (i, step)
            at = f.offset(panel, "i8", self.starts[2 * PIECE * self.panel.size * flip])
            at = f.offset(at, "i8", constant(16 * lines * line, I64))
            four = load_matrices(f, at, transposed=not along)
            found += [four] if self.tile == 16 else [four[:2], four[2:]]
        return found


class ElementReader:
    """The same for wider elements, which a thread reads one by one.

    `outer_first` says whether the rows of `fragment` are those of the panel, or its depth.
    """

    def __init__(
        self,
        f: Function,
        panel: Panel,
        own: Reg,
        lane: Reg,
        fragment: Fragment,
        outer_first: bool,
        tile: int,
        tiles: int,
        depth: int,
    ):
        self.f = f
        self.panel = panel
        self.tile = tile
        self.tiles = tiles
        self.depth = depth
        group, thread = f.lshr(lane, constant(2, I64)), f.and_(lane, constant(3, I64))
        down, along = (
            f.add(f.mul(group, constant(a, I64)), f.mul(thread, constant(b, I64)))
            for a, b in (fragment.row, fragment.column)
        )
        outer, deep = (down, along) if outer_first else (along, down)
        self.steps = [step if outer_first else step[::-1] for step in fragment.steps]
        self.start = place_in_panel(f, panel, f.add(own, outer), deep)

    def fragments(self, panel: Reg, step: int) -> list[list[Reg]]:
        """The fragments for terms depth * step and on of the panel at an address."""
        f, p = self.f, self.panel
        first = f.offset(panel, "i8", self.start)
        found = []
        for i in range(self.tiles):
            parts = []
            for outer, deep in self.steps:
                places = i * self.tile + outer, step * self.depth + deep
                line, position = places if p.along_depth else places[::-1]
                at = (line * p.pitch + position) * p.size
                parts.append(load_from_shared(f, f.offset(first, "i8", constant(at, I64)), p.elem))
            found.append(parts)
        return found
