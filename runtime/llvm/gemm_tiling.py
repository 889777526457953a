"""How a matrix product is cut into tiles, by its shape and the machine's registers and caches.

The constants come from measurements on Zen 4 with AVX-512, and are guesses for narrower vectors;
none of them changes a result, but for rounding where k is taken in blocks.

Of a product with a named number of rows the height of tiles is chosen for each number, among a few
for which there are micro-kernels; one with a named inner dimension is always taken in blocks of k,
and one with a named number of columns always packed, so that its last panel may be of any width.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from graphc.dims import Dim, Size
from graphc.questions import hint
from graphc.runtime.llvm.gemm_kernels import MatmulShape
from graphc.runtime.llvm.target import HostTarget
from graphc.runtime.sizes import applied, large, same

HIGHEST = {32: 14, 16: 6}
"""By number of vector registers, the most rows in a tile two vectors wide."""

WIDEST = 8  # vectors in a tile; a single row may be wider, but is not held in registers then
ROW_BYTES = 16384  # the most of a single row computed together: longer runs of right, yet in L1
DOT_HEIGHTS = {1: 8, 2: 6, 3: 4, 4: 4}  # by columns: few enough that dot products along k pay
TILE_CALL_ROWS = 0.5  # what calling a kernel costs, in rows of work: decides between tile heights
PACK_USES = ((1, 24), (4, 6), (math.inf, 4))
"""By how many times the lines of a panel of right, as it lies, are those that the second cache has
for it at most: how many tiles have to use it to repay its copying."""

PACK_BYTES = 64 * 1024  # the rows of right span more than this where it is copied
CACHE_WAY_BYTES, CACHE_WAYS = 64 * 1024, 16
"""Of the second cache: so far apart, lines share a set, which has room for so many of them."""

TURN_DEPTH = 16  # over fewer k, tiles are not worth transposing ...
TURN_WASTE = 1.25  # ... nor where vectors across the columns are not so much wider than these
PACK_PANELS = 4  # left is copied only where so many panels use it
LINE_BYTES = 64
AHEAD_BYTES = 1024 * 1024  # a smaller right matrix is near enough not to be asked for ...
AHEAD_TILES = 4  # ... as are panels with fewer tiles
RUN_BYTES = 512  # of each row of left are read together where its tiles lie side by side
SCATTERED_BYTES = 200 * 1024  # lines of left for one tile that L2 does not keep beside a panel
LEFT_BLOCK_BYTES = 8 * 1024 * 1024  # bounds the packed part of left
PANEL_BYTES = (
    128 * 1024
)  # a longer panel is taken in blocks of this size along k: L2 keeps them ...
SUMS_BYTES = 128 * 1024  # ... and the sums of the tiles that wait for the next block
FEW_HEIGHTS = (8, 4, 2)  # of tiles of a named number of rows, below the greatest
TAIL_WASTE = 0.04  # below this, the last panel is not worth a kernel of its own width


class Tiling(NamedTuple):
    """How a product is cut up: tiles of `height` rows by `vectors` vectors of `lanes` elements.

    Where `dot` is not 0, tiles are height x dot, and computed by dot products along k instead.

    `row_block` rows are done at a time: left is packed for them, if at all, and where k is blocked
    (`inner_block` is less than the inner dimension) their sums are kept from block to block.
    """

    height: Size
    vectors: int
    tail_vectors: int
    lanes: int
    row_block: Size
    inner_block: Size
    pack_right: bool
    pack_left: bool = False
    dot: int = 0
    is_blocked: bool = False
    left_group: int = 1
    """Tiles of left that are packed together."""
    asks_ahead: bool = False
    """Whether kernels ask for the next panel of right, which memory is slow to hand out."""
    turns: bool = False
    """Whether a tile is computed transposed, and turned before what follows sees it."""
    highest: int = 0
    """What the height is at most: it may depend on a named number of rows."""

    @property
    def width(self) -> int:
        return self.dot or self.vectors * self.lanes

    @property
    def left_width(self) -> int:
        """Rows of a packed tile of left: whole vectors."""
        return round_up(self.highest, self.lanes)


def heights(tiling: Tiling) -> list[int]:
    """The heights that a tile may have where its number of rows has a name, the greatest first.

    Any such number is at least the least of them.
    """
    return [tiling.highest, *(h for h in FEW_HEIGHTS if h < tiling.highest)]


def choose_tiling(shape: MatmulShape, target: HostTarget, shares: int = 1) -> Tiling:
    """The tiling for a product whose rows are divided among `shares` threads."""
    lanes = target.vector_bytes // shape.size
    share = ceil_divide(large(shape.rows), shares)
    if uses_dots(shape):
        return tile_of_dots(shape, lanes, shares, target.vector_registers)
    if shape.rows == 1 and not must_pack_right(shape, 2 * lanes):
        vectors = choose_row_vectors(int(shape.columns), lanes, ROW_BYTES // target.vector_bytes)
        return Tiling(1, vectors, vectors, lanes, 1, shape.inner, pack_right=False, highest=1)
    tiling = tile_in_registers(shape, lanes, shares, target.vector_registers)
    panels = -(-hint(shape.columns) // tiling.width)
    packed = worth_packing_left(shape, panels, tiling.left_width)
    tiling = in_inner_blocks(shape, tiling._replace(pack_left=packed), share)
    if packed and same(shape.left_strides[0], 1):
        tiling = tiling._replace(left_group=max(RUN_BYTES // (tiling.left_width * shape.size), 1))
    tiling = tiling._replace(asks_ahead=worth_asking_ahead(shape, tiling, share))
    return tiling._replace(row_block=choose_row_block(shape, tiling, shares))


def tile_of_dots(shape: MatmulShape, lanes: int, shares: int, registers: int) -> Tiling:
    columns = int(shape.columns)
    highest = min(DOT_HEIGHTS[columns], (registers - 1) // (columns + 1))
    packed = shape.right_strides[0] != 1
    if isinstance(shape.rows, Dim):
        height = applied(choose_few_height, shape.rows, shares, highest)
    else:
        height = highest = min(ceil_divide(shape.rows, shares), highest)
    return Tiling(
        height, 1, 1, lanes, shape.rows, shape.inner, packed, dot=columns, highest=highest
    )


def tile_in_registers(shape: MatmulShape, lanes: int, shares: int, registers: int) -> Tiling:
    height, highest = tile_height(shape.rows, shares, HIGHEST[registers])
    share = ceil_divide(large(shape.rows), shares)
    vectors = min((registers - 1) // (highest + 1), WIDEST)
    packed = must_pack_right(shape, lanes) or worth_packing_right(shape, share, highest)
    tiling = Tiling(
        height, vectors, vectors, lanes, shape.rows, shape.inner, packed, highest=highest
    )
    if isinstance(shape.columns, Dim):  # packed, whatever their number
        return tiling._replace(tail_vectors=-(-vectors // 2))
    covering = -(-shape.columns // lanes)
    vectors = min(vectors, covering if packed else shape.columns // lanes)
    panels = -(-covering // vectors)
    tail = covering - (panels - 1) * vectors
    if panels > 1 and (vectors - tail) / covering < TAIL_WASTE:
        tail = vectors
    return tiling._replace(vectors=vectors, tail_vectors=tail)


def tile_height(rows: Size, shares: int, highest: int) -> tuple[Size, int]:
    """The height of a tile, and what it is at most."""
    if isinstance(rows, Dim):
        return applied(choose_few_height, rows, shares, highest), highest
    height = choose_height(ceil_divide(rows, shares), highest)
    return height, height


def worth_asking_ahead(shape: MatmulShape, tiling: Tiling, share: int) -> bool:
    """Where right is packed panel by panel, each used by some tiles, with the time to fetch it."""
    if not tiling.pack_right or tiling.is_blocked or isinstance(shape.inner, Dim):
        return False
    nbytes = shape.inner * large(shape.columns) * shape.size
    return nbytes >= AHEAD_BYTES and share >= AHEAD_TILES * tiling.highest


def in_inner_blocks(shape: MatmulShape, tiling: Tiling, share: int) -> Tiling:
    """Equal blocks of k, unless one or two would do, or nothing is used twice."""
    most = PANEL_BYTES // (tiling.width * shape.size)
    if isinstance(shape.inner, Dim):
        block = round_up(most, tiling.lanes)
        worth = isinstance(shape.rows, Dim) or share > tiling.highest
        return tiling._replace(inner_block=block, is_blocked=True) if worth else tiling
    if shape.inner <= 2 * most or share <= tiling.highest:
        return tiling
    blocks = -(-shape.inner // most)
    block = round_up(-(-shape.inner // blocks), tiling.lanes)
    return tiling._replace(inner_block=block, is_blocked=True)


def choose_row_block(shape: MatmulShape, tiling: Tiling, shares: int) -> Size:
    """Rows, in whole tiles, whose packed part and sums stay in the caches."""
    packed = shape.inner * tiling.left_width * shape.size if tiling.pack_left else 0
    kept = tile_bytes(shape, tiling) if tiling.is_blocked else 0
    return applied(rows_in_block, shape.rows, shares, tiling.height, packed, kept)  # type: ignore[no-any-return]


def rows_in_block(rows: int, shares: int, height: int, packed: int, kept: int) -> int:
    """Of a share; `packed` bytes of left and `kept` bytes of sums belong to each tile."""
    tiles = most = ceil_divide(ceil_divide(rows, shares), height)
    if packed:
        most = min(most, LEFT_BLOCK_BYTES // packed)
    if kept:
        most = min(most, SUMS_BYTES // kept)
    blocks = ceil_divide(tiles, max(most, 1))
    return ceil_divide(tiles, max(blocks, 1)) * height


def choose_height(rows: int, highest: int) -> int:
    """The tile height that does the least work, counting rows computed twice at the end."""
    if rows <= highest:
        return max(rows, 1)
    heights = range(highest, highest // 2, -1)
    return min(heights, key=lambda height: -(-rows // height) * (height + TILE_CALL_ROWS))


def choose_few_height(rows: int, shares: int, highest: int) -> int:
    """The same for a share of the rows, among the few heights where their number has a name."""
    few = [h for h in (highest, *FEW_HEIGHTS) if h <= min(rows, highest)]
    share = ceil_divide(rows, shares)
    return min(few, key=lambda height: -(-share // height) * (height + TILE_CALL_ROWS))


def choose_row_vectors(columns: int, lanes: int, most: int) -> int:
    """Vectors in each of several equal parts of a row, none wider than the row."""
    covering = -(-columns // lanes)
    parts = max(-(-covering // most), 2 if columns % lanes else 1)
    return -(-covering // parts)


def uses_dots(shape: MatmulShape) -> bool:
    """Few columns leave most lanes empty; better lanes along k, where left runs along k."""
    few = not isinstance(shape.columns, Dim) and shape.columns in DOT_HEIGHTS
    return few and shape.left_strides[1] == 1 and shape.inner > 1


def must_pack_right(shape: MatmulShape, lanes: int) -> bool:
    if isinstance(shape.columns, Dim):
        return True
    return shape.right_strides[1] != 1 or shape.columns < lanes


def worth_packing_right(shape: MatmulShape, share: Size, height: int) -> bool:
    """Rows of the right matrix far apart need many page translations, and may share cache sets.

    Where a panel stays in the second cache as it lies, it has to be used often before a copy, in
    which its rows are side by side, is worth its time.
    """
    if shape.stored[1] and large(share) > height:  # widened once, not for each tile
        return True
    stride, inner = abs(large(shape.right_strides[0])) * shape.size, large(shape.inner)
    if stride * inner <= PACK_BYTES:
        return False
    uses = next(uses for most, uses in PACK_USES if inner <= most * lines_kept(stride))
    return large(share) >= uses * height


def lines_kept(stride: int) -> int:
    """How many lines, `stride` bytes apart, the second cache has room for."""
    return CACHE_WAYS * CACHE_WAY_BYTES // math.gcd(stride, CACHE_WAY_BYTES)


def worth_packing_left(shape: MatmulShape, panels: int, width: int) -> bool:
    """Left needs it rarely: where what one panel reads of it has no room in the cache for the next.

    Rows a multiple of 4096 bytes apart share one set of L1; k far apart may share few sets of L2;
    and where rows lie side by side, each k takes whole cache lines for the few rows of a tile.
    """
    if shape.stored[0]:  # a kernel reads it number by number, and would widen each by itself
        return True
    along_rows, along_k = (abs(hint(stride)) * shape.size for stride in shape.left_strides)
    inner = hint(shape.inner)
    far = along_rows > shape.size and along_rows % 4096 == 0
    deep = along_k > shape.size and inner > lines_kept(along_k)
    lines = inner * (width * shape.size + LINE_BYTES)
    scattered = along_k > shape.size and lines > SCATTERED_BYTES
    enough = isinstance(shape.rows, Dim) or shape.rows >= width
    return panels >= PACK_PANELS and enough and (far or deep or scattered)


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


def worth_turning(shape: MatmulShape, target: HostTarget) -> bool:
    """Few columns leave lanes empty; as rows they do not, where left runs along its rows.

    Each finished tile has then to be transposed, which enough k make up for.
    """
    if any(shape.stored) or not all(isinstance(n, int) for n in shape[:3]):
        return False
    lanes = target.vector_bytes // shape.size
    highest = HIGHEST[target.vector_registers]
    is_narrow = 1 < shape.columns <= highest
    is_wasteful = round_up(int(shape.columns), lanes) > TURN_WASTE * shape.columns
    is_long = shape.rows >= 2 * lanes and shape.inner >= TURN_DEPTH
    return bool(is_narrow and is_wasteful and is_long and shape.left_strides[0] == 1)


def plan(shape: MatmulShape, target: HostTarget, shares: int) -> tuple[MatmulShape, Tiling, bool]:
    if worth_turning(shape, target):
        seen = shape.transposed()
        return seen, choose_tiling(seen, target, 1)._replace(turns=True), True
    seen, transposed = seen_from(shape)
    return seen, choose_tiling(seen, target, 1 if transposed else shares), transposed


def areas(shape: MatmulShape, tiling: Tiling) -> tuple[Size, Size, Size]:
    """The bytes of the workspace for tiles, a packed panel of right, a packed block of left."""
    inner = tiling.inner_block
    if tiling.dot:
        inner = applied(round_up, inner, tiling.lanes)
    right = inner * tiling.width if tiling.pack_right else 0
    right = applied(round_up, right * shape.size, LINE_BYTES)
    block, tile = (tiling.row_block, tiling.height), tile_bytes(shape, tiling)
    kept = applied(bytes_of_tiles, *block, tile) if tiling.is_blocked else 0
    packed = shape.inner * tiling.left_width * shape.size
    left = applied(bytes_of_tiles, *block, packed) if tiling.pack_left else 0
    return (2 if tiling.turns else 1) * tile + kept, right, left


def bytes_of_tiles(row_block: int, height: int, each: int) -> int:
    """Room for something of each tile in a block of rows."""
    return round_up(ceil_divide(row_block, height) * each, LINE_BYTES)


def tile_bytes(shape: MatmulShape, tiling: Tiling) -> int:
    """A vector to spare lets epilogues read whole vectors up to the end of a tile.

    What turns a tile reads as many rows as there are lanes, or more.
    """
    rows = max(tiling.lanes, tiling.highest) if tiling.turns else tiling.highest
    return round_up((rows * tiling.width + tiling.lanes) * shape.size, 64)


def ceil_divide(value: int, parts: int) -> int:
    return -(-value // parts)


def round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
