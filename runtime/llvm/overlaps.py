"""Whether an argument that a step updates shares memory with another one that it uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

from graphc.dims import Size
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.registers import Reg, constant

WORD = 8
"""The bytes of an address."""


class Extents(NamedTuple):
    """Where the memory of each used argument begins and ends: two tables on the stack."""

    starts: Reg
    ends: Reg


def emit_overlap_check(
    f: Function,
    arguments: Reg,
    used: Sequence[int],
    nbytes: Sequence[Size],
    updated: Sequence[int],
    vector_bytes: int,
) -> None:
    """The body of `f`, which returns whether an updated argument overlaps another one (i1).

    arguments  the table of the addresses of all arguments
    used       the places in it of those that may not overlap an updated one
    nbytes     their sizes, as many
    updated    which of `used` are updated

    Each updated argument is compared with all of the used, as many at a time as a vector has lanes.
    An argument meets itself if it has memory, so two of them overlap if there are more meetings
    than that.  Loops over tables, so that the code does not grow with the number of arguments.
    """
    lanes = vector_bytes // WORD
    extents = _extents(f, arguments, used, nbytes, lanes)
    table = f.module.table("updated_arguments", "i64", updated)
    zero, count = constant(0, "i64"), constant(len(updated), "i64")
    with f.loop(zero, count, 1, [constant(0, "i64", lanes), zero]) as each:
        which = f.load(f.offset(table, "i64", each.index), "i64")
        start = f.load(f.offset(extents.starts, "i64", which), "i64")
        end = f.load(f.offset(extents.ends, "i64", which), "i64")
        ends = f.splat(start, lanes), f.splat(end, lanes)
        meetings = _meetings(f, extents, len(used), *ends, each.carried[0])
        own = f.convert("zext", f.icmp("ult", start, end), "i64")
        each.next = [meetings, f.add(each.carried[1], own)]
    meetings, own = each.results
    f.line(f"ret i1 {f.icmp('ne', _total(f, meetings), own).text}")


def _extents(
    f: Function, arguments: Reg, used: Sequence[int], nbytes: Sequence[Size], lanes: int
) -> Extents:
    """The tables, filled; what is beyond the last argument in its vector is empty memory."""
    whole = -(-len(used) // lanes) * lanes
    extents = Extents(f.on_stack(WORD * whole), f.on_stack(WORD * whole))
    for table in extents:
        last = f.offset(table, "i64", constant(whole - lanes, "i64"))
        f.store(constant(0, "i64", lanes), last)
    numbers = f.module.table("used_arguments", "i64", used)
    sizes = _sizes(f, nbytes)
    with f.loop(constant(0, "i64"), constant(len(used), "i64"), 1) as each:
        number = f.load(f.offset(numbers, "i64", each.index), "i64")
        start = f.load(f.offset(arguments, "ptr", number), "i64")
        size = f.load(f.offset(sizes, "i64", each.index), "i64")
        f.store(start, f.offset(extents.starts, "i64", each.index))
        f.store(f.add(start, size), f.offset(extents.ends, "i64", each.index))
    return extents


def _sizes(f: Function, nbytes: Sequence[Size]) -> Reg:
    """The bytes of each used argument in memory, one after the other."""
    if all(isinstance(n, int) for n in nbytes):
        return f.module.table("argument_bytes", "i64", cast(list[int], nbytes))
    table = f.on_stack(WORD * len(nbytes))
    for i, n in enumerate(nbytes):
        f.store(f.number(n), f.offset(table, "i64", constant(i, "i64")))
    return table


def _meetings(f: Function, extents: Extents, count: int, start: Reg, end: Reg, before: Reg) -> Reg:
    """`before`, and one more in a lane for each argument that meets the memory at `start`."""
    lanes = start.lanes

    def met(index: Reg, counted: Reg) -> Reg:
        starts = f.load(f.offset(extents.starts, "i64", index), "i64", lanes)
        ends = f.load(f.offset(extents.ends, "i64", index), "i64", lanes)
        meets = f.and_(f.icmp("ult", start, ends), f.icmp("ult", starts, end))
        return f.add(counted, f.convert("zext", meets, "i64"))

    zero = constant(0, "i64")
    if count <= lanes:
        return met(zero, before)
    with f.loop(zero, constant(count, "i64"), lanes, [before]) as each:
        each.next = [met(each.index, each.carried[0])]
    return each.results[0]


def _total(f: Function, lanes: Reg) -> Reg:
    while lanes.lanes > 1:
        lanes = f.add(f.half(lanes, 0), f.half(lanes, 1))
    return lanes
