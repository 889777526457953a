"""Scratch rows that begin at multiples of 16 bytes, where matrix products read them.

Before:  scratch f16[64 * 197], row i at 197 * i     (read element by element)
After:   scratch f16[64 * 200], row i at 200 * i     (copied 16 bytes at a time)

Sound where every access says that the buffer is rows: it moves by 1 within one and by the length of
a row from one to the next, and along nothing else; and where there is room for longer ones, as
there is once blocks have fewer rows (`smaller_blocks.py`).  Scratch memory is not always a team's
own: what only one block uses lies where the program has put it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from graphc.dims import Size
from graphc.runtime.cuda.plan.device_kernel import VECTOR_BYTES
from graphc.runtime.cuda.plan.whole import whole
from graphc.runtime.kernel import (
    Access,
    Blocks,
    Kernel,
    Load,
    Loop,
    Product,
    Statement,
    Store,
    accesses,
    inner,
    is_plain,
)
from graphc.runtime.llvm.elements import memory_elem
from graphc.runtime.llvm.registers import BITS

Moves = tuple[int, tuple[tuple[int, int], ...]]
"""How statements touch a buffer: from where, and by how many elements how often."""


def with_padded_rows(kernel: Kernel, room: Sequence[Size]) -> Kernel:
    """The kernel with longer rows in scratch memory that products read; `room` is how many elements
    the memory of each buffer has."""
    pitches = {
        buffer: pitch
        for buffer in sorted(_operands(kernel))
        if (pitch := _uneven_pitch(kernel, buffer)) is not None
    }
    longer = {b: (pitch, _padded(kernel, b, pitch)) for b, pitch in pitches.items()}
    sizes = {b: whole(kernel.buffers[b].size) // old * new for b, (old, new) in longer.items()}
    padded = {b: both for b, both in longer.items() if sizes[b] <= whole(room[b])}
    if not padded:
        return kernel
    buffers = tuple(
        own._replace(size=sizes[i]) if i in padded else own for i, own in enumerate(kernel.buffers)
    )
    body = tuple(_moved(statement, padded) for statement in kernel.body)
    return kernel._replace(buffers=buffers, body=body)


def _operands(kernel: Kernel) -> set[int]:
    """The scratch memory that products read."""
    products = [s for s in inner(kernel.body) if isinstance(s, Product)]
    read = {access.buffer for p in products for access in (p.left, p.right)}
    return {buffer for buffer in read if kernel.buffers[buffer].role == "scratch"}


def _padded(kernel: Kernel, buffer: int, pitch: int) -> int:
    elements = VECTOR_BYTES * 8 // BITS[memory_elem(kernel.buffers[buffer].dtype)]
    return -(-pitch // elements) * elements


def _uneven_pitch(kernel: Kernel, buffer: int) -> int | None:
    """The elements of a row, if the buffer is rows of which some begin between two vectors."""
    touched = list(_touched(kernel, kernel.body, buffer))
    steps = {step for moves in touched if moves for step, _ in moves[1]} - {0, 1}
    if None in touched or len(steps) != 1:
        return None
    (pitch,) = steps
    within = [sum(n - 1 for step, n in m[1] if step == 1) for m in touched if m is not None]
    is_rows = all(m is not None and m[0] == 0 for m in touched) and max(within) < pitch
    is_even = _padded(kernel, buffer, pitch) == pitch
    fits = pitch > 0 and whole(kernel.buffers[buffer].size) % pitch == 0
    return pitch if fits and is_rows and not is_even else None


def _touched(
    kernel: Kernel, statements: Sequence[Statement], buffer: int
) -> Iterator[Moves | None]:
    """How a buffer is touched, once for each access; None for what may touch any element."""
    for statement in statements:
        if isinstance(statement, (Loop, Blocks)):
            yield from _touched(kernel, statement.body, buffer)
        elif isinstance(statement, Product):
            yield from _read_by(kernel, statement, buffer)
            yield from _touched(kernel, statement.epilogue, buffer)
        else:
            known = isinstance(statement, (Load, Store)) and is_plain(statement)
            for access in accesses((statement,)):
                if access.buffer == buffer:
                    yield _moves(kernel, access) if known else None


def _read_by(kernel: Kernel, product: Product, buffer: int) -> Iterator[Moves]:
    (down, along), (deep, across) = product.left_strides, product.right_strides
    sides = (
        (product.left, ((down, product.rows), (along, product.inner))),
        (product.right, ((deep, product.inner), (across, product.columns))),
    )
    for access, steps in sides:
        if access.buffer == buffer:
            start, moves = _moves(kernel, access)
            yield start, (*moves, *((whole(step), whole(turns)) for step, turns in steps))


def _moves(kernel: Kernel, access: Access) -> Moves:
    turns = zip(access.strides, kernel.domain, strict=True)
    steps = tuple((whole(stride), whole(size)) for stride, size in turns if stride)
    return whole(access.offset), steps


# ---- longer rows ---------------------------------------------------------------------------------


def _moved(statement: Statement, padded: dict[int, tuple[int, int]]) -> Statement:
    """A statement whose accesses have the new distance from row to row."""

    def longer(access: Access, stride: Size) -> Size:
        old, new = padded.get(access.buffer, (0, 0))
        return new if old and stride == old else stride

    def moved(access: Access) -> Access:
        return access._replace(strides=tuple(longer(access, s) for s in access.strides))

    def both(access: Access, strides: tuple[Size, Size]) -> tuple[Size, Size]:
        return longer(access, strides[0]), longer(access, strides[1])

    match statement:
        case Loop(body=body) | Blocks(body=body):
            return statement._replace(body=tuple(_moved(s, padded) for s in body))
        case Load() | Store():
            return statement._replace(access=moved(statement.access))
        case Product():
            return statement._replace(
                left=moved(statement.left),
                right=moved(statement.right),
                left_strides=both(statement.left, statement.left_strides),
                right_strides=both(statement.right, statement.right_strides),
                epilogue=tuple(_moved(s, padded) for s in statement.epilogue),
            )
    return statement
