"""Copying an operand of a matrix product to where micro-kernels read it fastest.

Like micro-kernels, the copying functions are added to a module once, and serve every shape.
"""

from __future__ import annotations

from graphc.dims import Size
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.gemm_kernels import (
    MatmulShape,
    at,
    call,
    counted,
    index,
    lanes_below,
    shared,
    strided,
    take_lanes,
    when,
)
from graphc.runtime.llvm.math.narrow import load_wide
from graphc.runtime.llvm.module import Module
from graphc.runtime.llvm.registers import Reg, constant
from graphc.runtime.sizes import same


def pack_kernel(
    module: Module, shape: MatmulShape, strides: tuple[Size, Size], lanes: int, stored: str
) -> Reg:
    """A function that copies columns of a matrix into rows of `width` elements, side by side.

    `width` is whole vectors; zeros fill it up.  The strides passed to it are in bytes.  `stored` is
    the type of the elements that it reads.
    """
    along_k, along_columns = strides
    layout = pack_rows if same(along_columns, 1) else pack_columns if same(along_k, 1) else pack_any
    return layout(module, shape, lanes, stored)


def _name(shape: MatmulShape, stored: str) -> str:
    return shape.dtype if stored == shape.elem else f"{shape.dtype}_{stored}"


PACK_NAMES = "p_source k_stride column_stride inner columns p_out width".split()


def pack_rows(module: Module, shape: MatmulShape, lanes: int, stored: str) -> Reg:
    """Columns side by side already: copy a vector of each row."""
    elem = shape.elem

    def body(f: Function) -> None:
        source, k_stride, _, inner, columns, out, width = f.parameters
        row_bytes = f.mul(width, index(shape.size))
        with f.loop(index(0), inner, 1, [source, out]) as down:
            here, there = down.carried
            with f.loop(index(0), width, lanes) as across:
                mask = lanes_below(f, f.sub(columns, across.index), lanes)
                place = f.offset(here, stored, across.index)
                value = load_wide(f, place, stored, lanes, mask)
                f.store(value, f.offset(there, elem, across.index))
            down.next = [at(f, f.opaque(here), k_stride), at(f, f.opaque(there), row_bytes)]

    return shared(module, f"matmul_pack_rows_{_name(shape, stored)}", PACK_NAMES, body)


PIECE_NAMES = "p_source k_stride inner p_out width count step each_bytes".split()


def pack_pieces(module: Module, shape: MatmulShape, lanes: int, stored: str) -> Reg:
    """`pack_rows` for `count` panels at once: memory likes the longer run of each row.

    They begin `step` columns apart, and are packed `each_bytes` apart; all `width` columns exist.
    """
    elem = shape.elem

    def body(f: Function) -> None:
        source, k_stride, inner, out, width, count, step, each_bytes = f.parameters
        row_bytes = f.mul(width, index(shape.size))
        with f.loop(index(0), inner, 1, [source, out]) as down:
            with f.loop(index(0), count, 1, down.carried) as piece:
                here, there = piece.carried
                with f.loop(index(0), width, lanes) as across:
                    value = load_wide(f, f.offset(here, stored, across.index), stored, lanes)
                    f.store(value, f.offset(there, elem, across.index))
                piece.next = [f.offset(f.opaque(here), stored, step), at(f, there, each_bytes)]
            here, there = down.carried
            down.next = [at(f, f.opaque(here), k_stride), at(f, f.opaque(there), row_bytes)]

    return shared(module, f"matmul_pack_pieces_{_name(shape, stored)}", PIECE_NAMES, body)


def pack_any(module: Module, shape: MatmulShape, lanes: int, stored: str) -> Reg:
    """Any strides: element by element, in rows cleared before."""
    elem = shape.elem

    def body(f: Function) -> None:
        source, k_stride, column_stride, inner, columns, out, width = f.parameters
        row_bytes = f.mul(width, index(shape.size))
        with f.loop(index(0), inner, 1, [source, out]) as down:
            here, there = down.carried
            with f.loop(index(0), width, lanes) as across:
                f.store(constant(0, elem, lanes), f.offset(there, elem, across.index))
            with counted(f, index(0), columns, 1) as column:
                value = load_wide(f, at(f, here, f.mul(column, column_stride)), stored, 1)
                f.store(value, f.offset(there, elem, column))
            down.next = [at(f, f.opaque(here), k_stride), at(f, f.opaque(there), row_bytes)]

    return shared(module, f"matmul_pack_any_{_name(shape, stored)}", PACK_NAMES, body)


SEGMENT_BYTES = 16  # x86 shuffles work within segments of a vector; one 128-bit load fills one


def pack_columns(module: Module, shape: MatmulShape, lanes: int, stored: str) -> Reg:
    """Each column contiguous: transpose blocks in registers, and the edges element by element.

    The last block of columns is taken early enough to be whole.
    """
    edges = pack_any(module, shape, lanes, stored)

    def body(f: Function) -> None:
        source, k_stride, column_stride, inner, columns, out, width = f.parameters
        row_bytes = f.mul(width, index(shape.size))
        whole = f.and_(inner, index(-(SEGMENT_BYTES // shape.size)))
        done = f.select(f.icmp("slt", columns, index(lanes)), index(0), whole)
        with when(f, f.icmp("sgt", done, index(0))):
            with when(f, f.icmp("slt", columns, width)):
                call(f, edges, [source, k_stride, column_stride, done, index(0), out, width])
            with f.loop(index(0), columns, lanes) as across:
                column = f.intrinsic("smin", across.index, f.sub(columns, index(lanes)))
                here = at(f, source, f.mul(column, column_stride))
                there = f.offset(out, shape.elem, column)
                ends = (here, column_stride), (there, row_bytes)
                transpose_band(f, shape, lanes, stored, *ends, done)
        with when(f, f.icmp("slt", done, inner)):
            source, out = at(f, source, f.mul(done, k_stride)), at(f, out, f.mul(done, row_bytes))
            left_over = f.sub(inner, done)
            call(f, edges, [source, k_stride, column_stride, left_over, columns, out, width])

    return shared(module, f"matmul_pack_columns_{_name(shape, stored)}", PACK_NAMES, body)


def transpose_band(
    f: Function,
    shape: MatmulShape,
    lanes: int,
    stored: str,
    source: tuple[Reg, Reg],
    out: tuple[Reg, Reg],
    inner: Reg,
) -> None:
    """Turn `lanes` columns, each contiguous, into `inner` rows; (address, stride) of both."""
    piece = SEGMENT_BYTES // shape.size
    with f.loop(index(0), inner, piece, [source[0], out[0]]) as loop:
        here, there = loop.carried
        places = strided(f, here, source[1], lanes)
        columns = [load_wide(f, place, stored, piece) for place in places]
        rows = transpose_segments(f, [join(f, columns[i::piece]) for i in range(piece)])
        places = strided(f, there, out[1], piece + 1)
        for row, place in zip(rows, places, strict=False):
            f.store(row, place)
        loop.next = [f.offset(f.opaque(here), stored, index(piece)), places[-1]]


def join(f: Function, pieces: list[Reg]) -> Reg:
    """One vector of all the pieces, in order."""
    while len(pieces) > 1:
        both = range(2 * pieces[0].lanes)
        pieces = [take_lanes(f, a, b, both) for a, b in zip(pieces[::2], pieces[1::2], strict=True)]
    return pieces[0]


def transpose_segments(f: Function, block: list[Reg]) -> list[Reg]:
    """Transpose the square that each 128-bit segment makes with those of the other vectors.

    Interleaving the halves of a square, as often as it can be halved, transposes it.
    """
    size, lanes = len(block), block[0].lanes
    half = size // 2
    for _ in range(half.bit_length()):
        block = [
            take_lanes(f, a, b, interleaving(lanes, size, part))
            for a, b in zip(block[:half], block[half:], strict=True)
            for part in (0, half)
        ]
    return block


def interleaving(lanes: int, size: int, part: int) -> list[int]:
    """Of each segment, half its lanes of a and b in turn, from lane `part`."""
    return [
        segment + part + lane + side * lanes
        for segment in range(0, lanes, size)
        for lane in range(size // 2)
        for side in (0, 1)
    ]
