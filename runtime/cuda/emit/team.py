"""Threads that work on one thing together: a warp, or a block."""

from __future__ import annotations

from typing import NamedTuple

from graphc.ir import FLOATS
from graphc.runtime.cuda.emit.branches import only_if
from graphc.runtime.cuda.emit.simt import (
    from_first,
    from_neighbour,
    place_in,
    shared_array,
    wait_for_block,
    wait_for_warp,
)
from graphc.runtime.cuda.plan.device_kernel import WARP
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.math import SCALARS
from graphc.runtime.llvm.registers import Reg, constant
from graphc.runtime.reductions import COMBINE, identity

I64 = "i64"


WIDEST = 8
"""Bytes of the widest value."""


class Team(NamedTuple):
    """`size` threads, a warp or a whole block; `rank` is the number of this thread among them."""

    size: int
    rank: Reg
    is_block: bool
    name: str
    """That of the function: shared memory has a name of its own in each."""

    def wait(self, f: Function) -> None:
        """All threads of the team have come here, and see what the others wrote."""
        if self.is_block:
            wait_for_block(f)
        else:
            wait_for_warp(f)

    def combined(self, f: Function, combine: str, dtype: str, value: Reg, site: int) -> Reg:
        """The values of all threads combined, for each of them: the same bits everywhere.

        Pairs of threads, then of pairs: the order does not depend on who comes first.  In a block
        each warp leaves its part in shared memory, of which there is enough for two `site`s in
        turn: nobody writes for the next but one before all have read, because all wait in between.
        """
        value = _in_warp(f, combine, dtype, value)
        warps = self.size // WARP
        if warps == 1:
            return value
        parts = shared_array(f.module, f"{self.name}_parts_{site % 2}", warps * WIDEST)
        elem = "i8" if value.elem == "i1" else value.elem
        warp = f.lshr(self.rank, constant(5, I64))
        lane = f.and_(self.rank, constant(WARP - 1, I64))
        with only_if(f, f.icmp("eq", lane, constant(0, I64))):
            f.store(_stored(f, value), f.offset(parts, elem, warp))
        wait_for_block(f)
        inside = f.icmp("slt", lane, constant(warps, I64))
        own = f.select(inside, lane, constant(0, I64))
        part = f.load(f.offset(parts, elem, own), elem)
        part = f.icmp("ne", part, f.const(0, part)) if value.elem == "i1" else part
        neutral = constant(identity(combine, dtype), value.elem)
        return _in_warp(f, combine, dtype, f.select(inside, part, neutral))


def _in_warp(f: Function, combine: str, dtype: str, value: Reg) -> Reg:
    distance = WARP // 2
    while distance:
        other = from_neighbour(f, value, distance)
        value = SCALARS[COMBINE[combine]](f, value, other)
        distance //= 2
    # Of 0.0 and -0.0, or of two NaN, each thread of a pair may have chosen its own.
    return from_first(f, value) if dtype in FLOATS and combine in ("max", "min") else value


def _stored(f: Function, value: Reg) -> Reg:
    return f.convert("zext", value, "i8") if value.elem == "i1" else value


def block_team(f: Function, size: int) -> Team:
    """All threads of a block of this size."""
    return Team(size, place_in(f, "thread"), True, f.name)


def warp_team(f: Function) -> Team:
    """The threads of this thread's warp."""
    rank = f.and_(place_in(f, "thread"), constant(WARP - 1, I64))
    return Team(WARP, rank, False, f.name)
