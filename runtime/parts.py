"""Arrays in parts: where the operands of `concatenate`, `pad` and `update_slice` lie in the result.

A kernel that makes such an operand, for nobody else, writes it to its place at once.  What then
remains to be written lies outside of what is there already.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from graphc.ir import Atom, Eqn, Graph, Lit, Type, Var
from graphc.ops import shape
from graphc.runtime.layout import Layout, window

Box = tuple[tuple[int, ...], tuple[int, ...]]
"""The starts and the sizes of a part."""

KINDS = frozenset({"concatenate", "pad", "update_slice"})


def places(eqn: Eqn, into: Layout) -> list[Layout]:
    """The layout of each operand inside of the result, whose layout is `into`."""
    ones = (1,) * len(into.shape)
    if eqn.op is shape.pad:
        return [window(into, eqn.attrs["low"], eqn.ins[0].type.shape, ones)]
    if eqn.op is shape.update_slice:
        new = eqn.ins[1].type.shape
        return [into, window(into, eqn.attrs["starts"], new, eqn.attrs["steps"])]
    axis, at, found = eqn.attrs["axis"], 0, []
    for atom in eqn.ins:
        starts = tuple(at if i == axis else 0 for i in range(len(into.shape)))
        found.append(window(into, starts, atom.type.shape, ones))
        at += atom.type.shape[axis]
    return found


def is_box(eqn: Eqn) -> bool:
    """Whether an `update_slice` replaces neighbouring elements: what remains are boxes, too."""
    pairs = zip(eqn.attrs["steps"], eqn.ins[1].type.shape, strict=True)
    return all(step == 1 or size == 1 for step, size in pairs)


def around(eqn: Eqn) -> Iterator[Box]:
    """The parts of the result of a `pad` or an `update_slice` outside of its new part.

    Axis by axis: what lies before and behind the part, as far as the earlier axes reach into it.
    """
    if eqn.op is shape.pad:
        low, inner = eqn.attrs["low"], eqn.ins[0].type.shape
    else:
        low, inner = eqn.attrs["starts"], eqn.ins[1].type.shape
    whole = eqn.out.type.shape
    starts, sizes = [0] * len(whole), list(whole)
    for axis, (start, size, extent) in enumerate(zip(low, inner, whole, strict=True)):
        for first, count in ((0, start), (start + size, extent - start - size)):
            if count and 0 not in sizes:
                yield (
                    (*starts[:axis], first, *starts[axis + 1 :]),
                    (*sizes[:axis], count, *sizes[axis + 1 :]),
                )
        starts[axis], sizes[axis] = start, size


Source = Layout | Lit
Copy = tuple[int, Source, Layout]
"""Which operand, the part of it that is copied, and to where; operand -1 is a number."""


def remaining(
    eqn: Eqn, sources: Sequence[Source], into: Layout, there: Sequence[bool]
) -> list[Copy]:
    """What must be copied into the result where the operands in `there` are in place."""
    parts = places(eqn, into)
    if eqn.op is shape.concatenate:
        rows = zip(sources, parts, there, strict=True)
        return [(i, source, part) for i, (source, part, known) in enumerate(rows) if not known]
    if eqn.op is shape.update_slice and there[0]:
        return [] if there[1] else [(1, sources[1], parts[1])]
    fill = Lit(eqn.attrs["value"], Type(eqn.out.type.dtype)) if eqn.op is shape.pad else sources[0]
    copies: list[Copy] = []
    number = -1 if eqn.op is shape.pad else 0
    for starts, sizes in around(eqn):
        ones = (1,) * len(starts)
        part = fill if isinstance(fill, Lit) else window(fill, starts, sizes, ones)
        copies.append((number, part, window(into, starts, sizes, ones)))
    new = len(sources) - 1
    if not there[new]:
        copies.append((new, sources[new], parts[new]))
    return copies


def operands(eqn: Eqn) -> list[Atom]:
    """The operands of the one operation in a kernel, as the graph around it names them."""
    body: Graph = eqn.attrs["body"]
    (inner,) = body.eqns
    outside = dict(zip(body.params, eqn.ins, strict=True))
    return [outside[a] if isinstance(a, Var) else a for a in inner.ins]
