"""Whether a kernel can be divided along an axis: whether no share sees what another does.

- what a store writes moves along the axis, so that shares write apart, or the value does not
  vary along it, so that all write the same;
- no reduction runs over the axis;
- scratch memory, of which each share has its own, is only used within loops over it;
- of memory that is written, each turn touches one element only, or shares touch it apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from graphc.dims import Dim, Size
from graphc.runtime.footprints import footprints
from graphc.runtime.kernel import (
    Access,
    AddAt,
    Blocks,
    Buffer,
    Compute,
    Index,
    Kernel,
    Load,
    Loop,
    Native,
    Product,
    Statement,
    Store,
    Transpose,
    accesses,
    inner,
    loop_axes,
    reads,
)
from graphc.runtime.program import Evenly, Root
from graphc.runtime.sizes import is_symbolic

Cuts = Sequence[int] | Evenly
"""Where shares begin and end."""


def is_private(buffer: Buffer) -> bool:
    """Whether each share has a buffer of this kind for itself."""
    return buffer.role in ("scratch", "partial")


def looped_axes(kernel: Kernel) -> list[int]:
    """The axes that a kernel runs over, outermost first."""
    return [
        axis
        for axis in dict.fromkeys(a for s in inner(kernel.body) for a in loop_axes(s))
        if isinstance(kernel.domain[axis], Dim) or kernel.domain[axis] > 1
    ]


def is_independent(
    kernel: Kernel, roots: Sequence[Root], axis: int, cuts: Cuts, reduces: bool = False
) -> bool:
    """Whether the kernel, on this memory, can be divided along `axis` at `cuts`.

    With `reduces` the reductions over the axis are meant to give partial totals.
    """
    if not reduces and _is_reduced(kernel, axis):
        return False
    return _writes_apart(kernel, axis) and _reads_own(kernel, roots, axis, cuts)


def _is_reduced(kernel: Kernel, axis: int) -> bool:
    return any(
        isinstance(s, Loop) and s.accumulators and axis in s.axes for s in inner(kernel.body)
    )


# ---- writing -------------------------------------------------------------------------------------


def _writes_apart(kernel: Kernel, axis: int) -> bool:
    around = list(_outside_of(kernel.body, axis))
    if any(kernel.buffers[access.buffer].role == "scratch" for access in around):
        return False
    varying = _varying(kernel, axis)
    return all(
        access.strides[axis]
        if access not in around and access.strides[axis]
        else isinstance(statement, Store) and not _names(statement) & varying
        for statement in inner(kernel.body)
        for access in _written(kernel, statement)
    )


def _outside_of(statements: Sequence[Statement], axis: int) -> Iterator[Access]:
    """What is touched outside of the loops over `axis`."""
    for statement in statements:
        if axis in loop_axes(statement):
            continue
        if isinstance(statement, (Loop, Blocks)):
            yield from _outside_of(statement.body, axis)
        else:
            yield from accesses((statement,))


def _written(kernel: Kernel, statement: Statement) -> list[Access]:
    """What a statement itself writes for others to read.

    A routine writes its results, of which a turn of the loop around it has a part to itself.
    """
    match statement:
        case Store(access=access) | AddAt(access=access):
            found = [access]
        case Transpose(target=access):
            found = [access]
        case Native(arguments=arguments):
            places = [a for a in arguments if isinstance(a, Access)]
            found = [a for a in places if kernel.buffers[a.buffer].role != "in"]
        case _:
            found = []
    return [access for access in found if not is_private(kernel.buffers[access.buffer])]


def _varying(kernel: Kernel, axis: int) -> set[int]:
    """The numbers of the values that may differ from one index along `axis` to the next."""
    varying: set[int] = set()
    for statement in inner(kernel.body):
        match statement:
            case Load(out=out, access=access):
                moves = bool(access.strides[axis]) or kernel.buffers[access.buffer].role != "in"
                if moves or _names(statement) & varying:
                    varying.add(out.number)
            case Index(out=out, axis=own):
                if own == axis:
                    varying.add(out.number)
            case Compute(out=out):
                if _names(statement) & varying:
                    varying.add(out.number)
            case Product(out=out):
                varying.add(out.number)
            case Loop(accumulators=accumulators):
                varying.update(a.out.number for a in accumulators)
    return varying


def _names(statement: Statement) -> set[int]:
    return {name.number for name in reads(statement)}


# ---- reading what is written ---------------------------------------------------------------------


def _reads_own(kernel: Kernel, roots: Sequence[Root], axis: int, cuts: Cuts) -> bool:
    """Whether no share reads memory that another one writes."""
    written = {
        memory
        for statement in inner(kernel.body)
        for access in _written(kernel, statement)
        for memory in roots[access.buffer].memories()
    }
    uses = _uses(kernel, roots)
    return all(
        _is_touched_once(uses[memory], axis) or _is_touched_apart(kernel, roots, memory, axis, cuts)
        for memory in written
    )


class _Uses:
    """How the statements of a kernel touch one memory."""

    def __init__(self) -> None:
        self.ways: set[tuple[Size, tuple[Size, ...]]] = set()
        self.is_read = False
        self.is_plain = True
        """Whether all reads are plain loads."""


def _uses(kernel: Kernel, roots: Sequence[Root]) -> dict[Root, _Uses]:
    found: dict[Root, _Uses] = {}
    for statement in inner(kernel.body):
        writes = _written(kernel, statement)
        for access in _own_accesses(statement):
            is_read = access not in writes
            for memory in roots[access.buffer].memories():
                uses = found.setdefault(memory, _Uses())
                uses.ways.add((access.offset, access.strides))
                uses.is_read |= is_read
                uses.is_plain &= not is_read or _is_plain_load(statement)
    return found


def _is_touched_once(uses: _Uses, axis: int) -> bool:
    """Whether each turn touches one element of the memory, by whichever statements.

    An element that is the same in all turns may not be read at all: the first turn changes it.
    """
    if not uses.is_plain or len(uses.ways) != 1:
        return False
    return all(strides[axis] or not uses.is_read for _, strides in uses.ways)


def _own_accesses(statement: Statement) -> Iterator[Access]:
    match statement:
        case Load(access=access) | Store(access=access) | AddAt(access=access):
            yield access
        case Product(left=left, right=right):
            yield from (left, right)
        case Transpose(source=source, target=target):
            yield from (source, target)
        case Native(arguments=arguments):
            yield from (a for a in arguments if isinstance(a, Access))


def _is_plain_load(statement: Statement) -> bool:
    return isinstance(statement, Load) and statement.position is None


def _is_touched_apart(
    kernel: Kernel, roots: Sequence[Root], memory: Root, axis: int, cuts: Cuts
) -> bool:
    """Whether the parts of `memory` that the shares touch do not meet, as far as numbers say so."""
    if isinstance(cuts, Evenly) or is_symbolic(kernel):
        return False
    hulls = []
    for part in pairwise(cuts):
        touched = [
            t
            for t in footprints(kernel, axis, part)
            if part[0] < part[1] and memory in roots[t.buffer].memories()
        ]
        if any(roots[t.buffer] is not memory for t in touched):
            return False
        if touched:
            hulls.append((min(t.start for t in touched), max(t.stop for t in touched)))
    ordered = sorted(hulls)
    return all(a[1] <= b[0] for a, b in pairwise(ordered))
