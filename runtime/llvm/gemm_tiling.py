"""How a matrix product is cut into tiles, by its shape and the machine's registers and caches.

The constants come from measurements on Zen 4 with AVX-512, and are guesses for narrower vectors;
none of them changes a result, but for rounding where k is taken in blocks.
"""

from __future__ import annotations

from typing import NamedTuple

from graphc.runtime.llvm.gemm_kernels import MatmulShape
from graphc.runtime.llvm.target import HostTarget

HIGHEST = {32: 14, 16: 6}
"""By number of vector registers, the most rows in a tile two vectors wide."""

WIDEST = 8  # vectors in a tile; a single row may be wider, but is not held in registers then
ROW_BYTES = 16384  # the most of a single row computed together: longer runs of right, yet in L1
DOT_HEIGHTS = {1: 8, 2: 6, 3: 4, 4: 4}  # by columns: few enough that dot products along k pay
TILE_CALL_ROWS = 0.5  # what calling a kernel costs, in rows of work: decides between tile heights
PACK_USES = 4  # an operand used this often repays its copying ...
PACK_BYTES = 64 * 1024  # ... when its rows or columns span more than this
LINE_BYTES = 64
SCATTERED_BYTES = 200 * 1024  # lines of left for one tile that L2 does not keep beside a panel
LEFT_BLOCK_BYTES = 4 * 1024 * 1024  # bounds the packed part of left
PANEL_BYTES = (
    128 * 1024
)  # a longer panel is taken in blocks of this size along k: L2 keeps them ...
SUMS_BYTES = 128 * 1024  # ... and the sums of the tiles that wait for the next block
TAIL_WASTE = 0.04  # below this, the last panel is not worth a kernel of its own width


class Tiling(NamedTuple):
    """How a product is cut up: tiles of `height` rows by `vectors` vectors of `lanes` elements.

    Where `dot` is not 0, tiles are height x dot, and computed by dot products along k instead.

    `row_block` rows are done at a time: left is packed for them, if at all, and where k is blocked
    (`inner_block` is less than the inner dimension) their sums are kept from block to block.
    """

    height: int
    vectors: int
    tail_vectors: int
    lanes: int
    row_block: int
    inner_block: int
    pack_right: bool
    pack_left: bool = False
    dot: int = 0

    @property
    def width(self) -> int:
        return self.dot or self.vectors * self.lanes

    @property
    def left_width(self) -> int:
        """Rows of a packed tile of left: whole vectors."""
        return round_up(self.height, self.lanes)


def choose_tiling(shape: MatmulShape, target: HostTarget, shares: int = 1) -> Tiling:
    """The tiling for a product whose rows are divided among `shares` threads."""
    lanes = target.vector_bytes // shape.size
    share = -(-shape.rows // shares)
    if uses_dots(shape):
        return tile_of_dots(shape, lanes, share, target.vector_registers)
    if shape.rows == 1 and not must_pack_right(shape, 2 * lanes):
        vectors = choose_row_vectors(shape.columns, lanes, ROW_BYTES // target.vector_bytes)
        return Tiling(1, vectors, vectors, lanes, 1, shape.inner, pack_right=False)
    tiling = tile_in_registers(shape, lanes, share, target.vector_registers)
    panels = -(-shape.columns // tiling.width)
    packed = worth_packing_left(shape, panels, tiling.left_width)
    tiling = tiling._replace(pack_left=packed, inner_block=choose_inner_block(shape, tiling, share))
    return tiling._replace(row_block=choose_row_block(shape, tiling, share))


def tile_of_dots(shape: MatmulShape, lanes: int, share: int, registers: int) -> Tiling:
    highest = min(DOT_HEIGHTS[shape.columns], (registers - 1) // (shape.columns + 1))
    packed = shape.right_strides[0] != 1
    height = min(share, highest)
    return Tiling(height, 1, 1, lanes, shape.rows, shape.inner, packed, dot=shape.columns)


def tile_in_registers(shape: MatmulShape, lanes: int, share: int, registers: int) -> Tiling:
    height = choose_height(share, HIGHEST[registers])
    vectors = min((registers - 1) // (height + 1), WIDEST)
    packed = must_pack_right(shape, lanes) or worth_packing_right(shape, share, height)
    covering = -(-shape.columns // lanes)
    vectors = min(vectors, covering if packed else shape.columns // lanes)
    panels = -(-covering // vectors)
    tail = covering - (panels - 1) * vectors
    if panels > 1 and (vectors - tail) / covering < TAIL_WASTE:
        tail = vectors
    return Tiling(height, vectors, tail, lanes, shape.rows, shape.inner, packed)


def choose_inner_block(shape: MatmulShape, tiling: Tiling, share: int) -> int:
    """Equal blocks of k, unless one or two would do, or nothing is used twice."""
    most = PANEL_BYTES // (tiling.width * shape.size)
    if shape.inner <= 2 * most or share <= tiling.height:
        return shape.inner
    blocks = -(-shape.inner // most)
    return round_up(-(-shape.inner // blocks), tiling.lanes)


def choose_row_block(shape: MatmulShape, tiling: Tiling, share: int) -> int:
    tiles = -(-share // tiling.height)
    if tiling.pack_left:
        tiles = min(tiles, LEFT_BLOCK_BYTES // (shape.inner * tiling.left_width * shape.size))
    if tiling.inner_block < shape.inner:
        tiles = min(tiles, SUMS_BYTES // tile_bytes(shape, tiling))
    return max(tiles, 1) * tiling.height


def choose_height(rows: int, highest: int) -> int:
    """The tile height that does the least work, counting rows computed twice at the end."""
    if rows <= highest:
        return max(rows, 1)
    heights = range(highest, highest // 2, -1)
    return min(heights, key=lambda height: -(-rows // height) * (height + TILE_CALL_ROWS))


def choose_row_vectors(columns: int, lanes: int, most: int) -> int:
    """Vectors in each of several equal parts of a row, none wider than the row."""
    covering = -(-columns // lanes)
    parts = max(-(-covering // most), 2 if columns % lanes else 1)
    return -(-covering // parts)


def uses_dots(shape: MatmulShape) -> bool:
    """Few columns leave most lanes empty; better lanes along k, where left runs along k."""
    return shape.columns in DOT_HEIGHTS and shape.left_strides[1] == 1 and shape.inner > 1


def must_pack_right(shape: MatmulShape, lanes: int) -> bool:
    return shape.right_strides[1] != 1 or shape.columns < lanes


def worth_packing_right(shape: MatmulShape, share: int, height: int) -> bool:
    """Rows of the right matrix far apart share cache sets and need many page translations."""
    spread = abs(shape.right_strides[0]) * shape.size * shape.inner
    return share >= PACK_USES * height and spread > PACK_BYTES


def worth_packing_left(shape: MatmulShape, panels: int, width: int) -> bool:
    """Left needs it rarely: where what one panel reads of it has no room in the cache for the next.

    Rows a multiple of 4096 bytes apart share one set of L1; so many k, 1024 apart, few sets of L2;
    and where rows lie side by side, each k takes whole cache lines for the few rows of a tile.
    """
    along_rows, along_k = (abs(stride) * shape.size for stride in shape.left_strides)
    far = along_rows > shape.size and along_rows % 4096 == 0
    deep = along_k > shape.size and along_k % 1024 == 0 and shape.inner >= 1024
    lines = shape.inner * (width * shape.size + LINE_BYTES)
    scattered = along_k > shape.size and lines > SCATTERED_BYTES
    return panels >= PACK_USES and shape.rows >= width and (far or deep or scattered)


def seen_from(shape: MatmulShape) -> tuple[MatmulShape, bool]:
    """The product or its transpose, whichever side suits the kernels; and whether transposed.

    A single column is computed as a single row.  Few rows by dot products become few columns.
    """
    flipped = shape.transposed()
    if shape.columns == 1 and not uses_dots(shape):
        return flipped, True
    if uses_dots(flipped) and not uses_dots(shape):
        return flipped, True
    return shape, False


def plan(shape: MatmulShape, target: HostTarget, shares: int) -> tuple[MatmulShape, Tiling, bool]:
    seen, transposed = seen_from(shape)
    return seen, choose_tiling(seen, target, 1 if transposed else shares), transposed


def areas(shape: MatmulShape, tiling: Tiling) -> tuple[int, int, int]:
    """The bytes of the workspace for tiles, a packed panel of right, a packed block of left."""
    inner = round_up(tiling.inner_block, tiling.lanes) if tiling.dot else tiling.inner_block
    right = inner * tiling.width if tiling.pack_right else 0
    tiles = -(-tiling.row_block // tiling.height)
    left = tiles * shape.inner * tiling.left_width if tiling.pack_left else 0
    kept = tiles if tiling.inner_block < shape.inner else 0
    right, left = round_up(right * shape.size, 64), round_up(left * shape.size, 64)
    return (1 + kept) * tile_bytes(shape, tiling), right, left


def tile_bytes(shape: MatmulShape, tiling: Tiling) -> int:
    """A vector to spare lets epilogues read whole vectors up to the end of a tile."""
    return round_up((tiling.height * tiling.width + tiling.lanes) * shape.size, 64)


def round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
