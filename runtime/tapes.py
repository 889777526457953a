"""From tape equations to items of a program.

A tape is a pointer to its last record, null for the empty one.  A record is a pointer to the record
below, a number that tells its types, and the values, which a `pop` reads where they lie.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from graphc.dims import Size
from graphc.ir import TAPE, Eqn, Lit, Type, Var
from graphc.ops import tape
from graphc.runtime.kernel import Access, Buffer, Compute, Kernel, Load, Name, Store
from graphc.runtime.layout import contiguous
from graphc.runtime.loop_planning import Planner
from graphc.runtime.program import Call, Place, Pop, Push, Root


def plan_tape(planner: Planner, eqn: Eqn, targets: dict[Var, Root]) -> None:
    """Append what the equation does."""
    if eqn.op is tape.empty_tape:
        planner.places[eqn.out] = Lit(0, TAPE)
        return
    source = planner.in_memory(planner.source(eqn.ins[0]), TAPE)
    if eqn.op is tape.is_empty:
        place = planner.arena(eqn.out.type)
        planner.items.append(Call(_IS_EMPTY, (source.root, place.root)))
        planner.places[eqn.out] = place
        return
    out = targets.get(eqn.outs[0]) or planner.root("arena", TAPE)
    if eqn.op is tape.push:
        values = tuple(planner.contiguous(planner.source(a), a.type) for a in eqn.ins[1:])
        types = [atom.type for atom in eqn.ins[1:]]
        planner.items.append(Push(source, values, _sizes(types), out, kind_of(types)))
    else:
        types = [var.type for var in eqn.outs[1:]]
        roots = tuple(planner.root("record", type) for type in types)
        planner.items.append(Pop(source, roots, _sizes(types), out, kind_of(types)))
        for var, root in zip(eqn.outs[1:], roots, strict=True):
            planner.places[var] = Place(root, contiguous(var.type.shape))
    planner.places[eqn.outs[0]] = Place(out, contiguous(()))


def _sizes(types: Sequence[Type]) -> tuple[Size, ...]:
    return tuple(type.nbytes for type in types)


def kind_of(types: Sequence[Type]) -> int:
    """A number that tells records of these types from others."""
    return zlib.crc32(" ".join(map(str, types)).encode())


_TAPE, _ANSWER = Name(1, "i64"), Name(2, "bool")
_FIRST, _SECOND = Access(0, 0, ()), Access(1, 0, ())
_IS_EMPTY = Kernel(
    "is_empty",
    (),
    (Buffer("x0", "i64", 1, "in"), Buffer("y1", "bool", 1, "out")),
    (
        Load(_TAPE, _FIRST),
        Compute(_ANSWER, "equal", (_TAPE, Lit(0, Type("i64")))),
        Store(_SECOND, _ANSWER),
    ),
)
