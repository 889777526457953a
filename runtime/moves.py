"""Loop nests of the operations that move elements: copy, concatenate, pad, update_slice, and
`scatter_add`.

Operands are layouts in buffers, or literals, of which no memory exists.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.dims import Dim, Size
from graphc.ir import Atom, Eqn, Lit, Type
from graphc.ops import index as index_ops
from graphc.runtime.collapse import collapse
from graphc.runtime.kernel import (
    Access,
    AddAt,
    Buffer,
    Compute,
    Kernel,
    Load,
    Loop,
    Name,
    Operand,
    Statement,
    Store,
)
from graphc.runtime.layout import Layout, window
from graphc.runtime.nest import extent
from graphc.runtime.sizes import applied, largest, same
from graphc.runtime.tiling import tile

Source = Layout | Lit
"""Where an operand is read: memory, or the same number everywhere."""


Axes = list[int | None]


class _Moves:
    """A kernel under construction.  Each nest loops over axes of its own of the domain."""

    def __init__(self) -> None:
        self.domain: list[Size] = []
        self.buffers: list[Buffer] = []
        self.count = 0

    def buffer(self, layout: Layout, dtype: str, role: str) -> int:
        name = ("x" if role == "in" else "y") + str(len(self.buffers))
        self.buffers.append(Buffer(name, dtype, extent(layout), role))
        return len(self.buffers) - 1

    def fresh(self, dtype: str) -> Name:
        self.count += 1
        return Name(self.count, dtype)

    def axes(self, shape: Sequence[Size]) -> Axes:
        """New domain axes for a nest over `shape`, None for a size of 1."""
        axes: Axes = []
        for size in shape:
            axes.append(None if same(size, 1) else len(self.domain))
            self.domain += [] if same(size, 1) else [size]
        return axes

    def access(self, buffer: int, layout: Layout, axes: Axes) -> Access:
        strides: list[Size] = [0] * len(self.domain)
        for axis, size, stride in zip(axes, layout.shape, layout.strides, strict=True):
            if axis is not None and not same(size, 1):
                strides[axis] = stride
        return Access(buffer, layout.offset, tuple(strides))

    def read(
        self, source: Source, buffer: int | None, axes: Axes, dtype: str
    ) -> tuple[list[Statement], Operand]:
        if isinstance(source, Lit):
            return [], Lit(source.value, Type(source.type.dtype))
        assert buffer is not None
        out = self.fresh(dtype)
        return [Load(out, self.access(buffer, source, axes))], out

    def copy(
        self, source: Source, from_buffer: int | None, into: Layout, buffer: int, dtype: str
    ) -> list[Statement]:
        """One nest: every element of `source` to its place in `into`."""
        axes = self.axes(into.shape)
        load, value = self.read(source, from_buffer, axes, dtype)
        return self.loops(axes, [*load, Store(self.access(buffer, into, axes), value)])

    def loops(self, axes: Axes, body: list[Statement], vector: bool = True) -> list[Statement]:
        looped = [axis for axis in axes if axis is not None]
        for axis in reversed(looped):
            body = [Loop((axis,), vector and axis == looped[-1], tuple(body))]
        return body

    def kernel(self, name: str, body: Sequence[Statement]) -> Kernel:
        rank = len(self.domain)
        padded = tuple(_padded(statement, rank) for statement in body)
        return tile(collapse(Kernel(name, tuple(self.domain), tuple(self.buffers), padded)))


def _padded(statement: Statement, rank: int) -> Statement:
    """Accesses of early nests get zero strides along the axes of later ones."""
    match statement:
        case Loop(axes=axes, vector=vector, body=body):
            return Loop(axes, vector, tuple(_padded(s, rank) for s in body))
        case Load(out, access, index, stride):
            return Load(out, _widened(access, rank), index, stride)
        case Store(access, value):
            return Store(_widened(access, rank), value)
        case AddAt(access=access):
            return statement._replace(access=_widened(access, rank))
    return statement


def _widened(access: Access, rank: int) -> Access:
    return Access(
        access.buffer, access.offset, access.strides + (0,) * (rank - len(access.strides))
    )


def schedule_copy(name: str, source: Source, dtype: str, into: Layout) -> Kernel:
    """Write `source` (a layout or a literal) to `into`."""
    moves = _Moves()
    buffer = None if isinstance(source, Lit) else moves.buffer(source, dtype, "in")
    out = moves.buffer(into, dtype, "out")
    return moves.kernel(name, moves.copy(source, buffer, into, out, dtype))


def schedule_copies(
    name: str, copies: Sequence[tuple[int, Source, Layout]], dtype: str
) -> tuple[Kernel, list[int]]:
    """Several parts of one array; the kernel's buffers are the operands that are returned, and it.

    Each copy is of an operand (its number, its layout) or of a number (-1) to a place.
    """
    moves = _Moves()
    buffers: dict[int, int] = {}
    for operand, source, _ in copies:
        if isinstance(source, Layout):
            size = extent(source)
            if operand not in buffers:
                buffers[operand] = moves.buffer(source, dtype, "in")
            known = moves.buffers[buffers[operand]]
            size = applied(largest, known.size, size)
            moves.buffers[buffers[operand]] = known._replace(size=size)
    out = len(moves.buffers)
    size = applied(largest, *(extent(place) for _, _, place in copies))
    moves.buffers.append(Buffer(f"y{out}", dtype, size, "out"))
    body: list[Statement] = []
    for operand, source, place in copies:
        body += moves.copy(source, buffers.get(operand), place, out, dtype)
    return moves.kernel(name, body), list(buffers)


IN_PLACE = -1
"""In place of a buffer: the operand lies where the result goes."""


def schedule_move(
    name: str,
    eqn: Eqn,
    operands: Sequence[Source],
    results: Sequence[Layout],
    in_place: bool = False,
) -> Kernel:
    """The kernel of a `fused` equation that holds one moving operation.

    `operands` are those of the inner equation in its own order, literals included; the kernel has
    an "in" buffer for each parameter of the body.  With `in_place` the first operand of an
    moving op has none: it lies in the result's buffer.
    """
    (inner,) = eqn.attrs["body"].eqns
    moves = _Moves()
    buffers: dict[Atom, int] = {}
    for i, (atom, source) in enumerate(zip(inner.ins, operands, strict=True)):
        if in_place and i == 0:
            buffers[atom] = IN_PLACE
        elif isinstance(source, Layout) and atom not in buffers:
            buffers[atom] = moves.buffer(source, atom.type.dtype, "in")
    (into,) = results
    out = moves.buffer(into, inner.out.type.dtype, "out")
    places = [buffers.get(atom) for atom in inner.ins]
    body = _MOVES[inner.op.name](moves, inner, list(operands), places, into, out)
    return moves.kernel(name, body)


Places = list[int | None]


def _concatenate(
    moves: _Moves, eqn: Eqn, sources: list[Source], places: Places, into: Layout, out: int
) -> list[Statement]:
    axis, dtype = eqn.attrs["axis"], eqn.out.type.dtype
    rank = len(into.shape)
    at: Size = 0
    body: list[Statement] = []
    for atom, source, place in zip(eqn.ins, sources, places, strict=True):
        starts = [at if i == axis else 0 for i in range(rank)]
        part = window(into, starts, atom.type.shape, (1,) * rank)
        body += moves.copy(source, place, part, out, dtype)
        at += atom.type.shape[axis]
    return body


def _pad(
    moves: _Moves, eqn: Eqn, sources: list[Source], places: Places, into: Layout, out: int
) -> list[Statement]:
    dtype, rank = eqn.out.type.dtype, len(into.shape)
    fill = moves.copy(Lit(eqn.attrs["value"], Type(dtype)), None, into, out, dtype)
    inside = window(into, eqn.attrs["low"], eqn.ins[0].type.shape, (1,) * rank)
    return fill + moves.copy(sources[0], places[0], inside, out, dtype)


def _update_slice(
    moves: _Moves, eqn: Eqn, sources: list[Source], places: Places, into: Layout, out: int
) -> list[Statement]:
    """Copies the whole array first, unless the result lies where the operand does (`IN_PLACE`)."""
    dtype = eqn.out.type.dtype
    target = window(into, eqn.attrs["starts"], eqn.ins[1].type.shape, eqn.attrs["steps"])
    in_place = places[0] == IN_PLACE
    whole = [] if in_place else moves.copy(sources[0], places[0], into, out, dtype)
    return whole + moves.copy(sources[1], places[1], target, out, dtype)


def _clamped(
    moves: _Moves, source: Source, place: int | None, axes: Axes, dtype: str, size: Size
) -> tuple[list[Statement], Operand]:
    """A position as i64 between 0 and size-1: whatever it is, no memory outside is touched."""
    load, position = moves.read(source, place, axes, dtype)
    wide, low, inside = (moves.fresh("i64") for _ in range(3))
    last: Operand
    if isinstance(size, Dim):
        last = moves.fresh("i64")
        load.append(Compute(last, "dimension", (), (("size", size - 1),)))
    else:
        last = Lit(max(size - 1, 0), Type("i64"))
    return [
        *load,
        Compute(wide, "cast", (position,), (("dtype", "i64"),)),
        Compute(low, "maximum", (wide, Lit(0, Type("i64")))),
        Compute(inside, "minimum", (low, last)),
    ], inside


def _without_axis(layout: Layout, axis: int) -> Layout:
    return Layout(
        layout.shape[:axis] + layout.shape[axis + 1 :],
        layout.strides[:axis] + layout.strides[axis + 1 :],
        layout.offset,
    )


def _at_positions(
    moves: _Moves, eqn: Eqn, sources: list[Source], places: Places, into: Layout, out: int
) -> list[Statement]:
    """`scatter_add` and `put`: first a copy of what they change, unless it lies there already."""
    axis, replaces = eqn.attrs["axis"], eqn.op is index_ops.put
    base, positions, updates = sources
    size, count = into.shape[axis], eqn.ins[1].type.rank
    in_place = places[0] == IN_PLACE
    first = [] if in_place else moves.copy(base, places[0], into, out, eqn.out.type.dtype)
    axes = moves.axes(eqn.ins[2].type.shape)
    indexed, rest = axes[axis : axis + count], axes[:axis] + axes[axis + count :]
    body, at = _clamped(moves, positions, places[1], indexed, eqn.ins[1].type.dtype, size)
    load, value = moves.read(updates, places[2], axes, eqn.out.type.dtype)
    target = moves.access(out, _without_axis(into, axis), rest)
    body += [*load, AddAt(target, at, into.strides[axis], value, replaces)]
    # Lanes along an indexed axis could meet in one element, and additions would be lost.
    last = next((axis for axis in reversed(axes) if axis is not None), None)
    return first + moves.loops(axes, body, vector=last in rest)


_MOVES = {
    "concatenate": _concatenate,
    "pad": _pad,
    "update_slice": _update_slice,
    "scatter_add": _at_positions,
    "put": _at_positions,
}
