"""Sorting and searching where the number of elements is known when the routine runs.

Short rows are merged, in as many passes as they need; long ones go the way of `radix.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.gemm_kernels import when
from graphc.runtime.llvm.math import ELEMS
from graphc.runtime.llvm.registers import Reg, constant
from graphc.runtime.llvm.routines import radix
from graphc.runtime.llvm.routines.sorting import INDEX, comes_first, merge_function, merge_runs

LONG_ROW = 256
"""Rows from this length on are sorted by digits, shorter ones by merging."""


def sort_any(f: Function, dtype: str, x: Reg, out: Reg, work: Reg, counts: Reg, size: Reg) -> None:
    """The elements of x in increasing order."""
    is_long = f.icmp("sge", size, constant(LONG_ROW, INDEX))
    with when(f, is_long):
        radix.sort(f, dtype, x, out, work, counts, size)
    with when(f, f.not_(is_long)):
        start = _first_target(f, size, out, work)
        with f.loop(constant(0, INDEX), size, 1) as each:
            value = f.load(f.offset(x, ELEMS[dtype], each.index), ELEMS[dtype])
            f.store(value, f.offset(start, ELEMS[dtype], each.index))
        merge = merge_function(f.module, dtype, by_position=False)
        _merged(f, merge, [], start, _other(f, start, out, work), size)


def argsort_any(
    f: Function, dtype: str, x: Reg, out: Reg, work: Reg, keys: Reg, counts: Reg, size: Reg
) -> None:
    """The positions that sort x, equal elements in order."""
    is_long = f.icmp("sge", size, constant(LONG_ROW, INDEX))
    with when(f, is_long):
        radix.argsort(f, dtype, x, out, work, keys, counts, size)
    with when(f, f.not_(is_long)):
        start = _first_target(f, size, out, work)
        with f.loop(constant(0, INDEX), size, 1) as each:
            f.store(each.index, f.offset(start, INDEX, each.index))
        merge = merge_function(f.module, dtype, by_position=True)
        _merged(f, merge, [x], start, _other(f, start, out, work), size)


def _first_target(f: Function, size: Reg, out: Reg, work: Reg) -> Reg:
    """Where elements go before the first pass, for the last one to end in `out`."""
    f.module.declare("llvm.ctlz.i64", "i64", ["i64", "i1 immarg"])
    last = f.sub(size, constant(1, INDEX))
    zeros = f.call("llvm.ctlz.i64", [last, constant(0, "i1")], INDEX)
    passes = f.sub(constant(64, INDEX), zeros)
    is_odd = f.convert("trunc", passes, "i1")
    return f.select(is_odd, work, out)


def _other(f: Function, one: Reg, out: Reg, work: Reg) -> Reg:
    is_out = f.let(f"icmp eq ptr {one.text}, {out.text}", "i1")
    return f.select(is_out, work, out)


def _merged(
    f: Function, merge: str, keys: Sequence[Reg], source: Reg, target: Reg, size: Reg
) -> None:
    """Runs of 1, 2, 4, ... elements merged back and forth."""
    with f.repeat([constant(1, INDEX), source, target]) as state:
        width, here, there = state.carried
        state.go_on_if(f.icmp("slt", width, size))
        merge_runs(f, merge, [*keys, here, there], size, width)
        state.next = [f.shl(width, constant(1, INDEX)), there, here]


def searchsorted_any(
    f: Function, dtype: str, table: Reg, x: Reg, out: Reg, size: Reg, right: int
) -> None:
    """How many elements of the table come before x: one bit of the count after the other."""
    f.module.declare("llvm.ctlz.i64", "i64", ["i64", "i1 immarg"])
    zeros = f.call("llvm.ctlz.i64", [size, constant(0, "i1")], INDEX)
    highest = f.lshr(constant(-(2**63), INDEX), zeros)
    wanted = f.load(x, ELEMS[dtype])
    with f.repeat([highest, constant(0, INDEX)]) as state:
        bit, count = state.carried
        state.go_on_if(f.icmp("ne", bit, constant(0, INDEX)))
        tried = f.add(count, bit)
        inside = f.icmp("sle", tried, size)
        at = f.sub(f.intrinsic("smin", tried, size), constant(1, INDEX))
        element = f.load(f.offset(table, ELEMS[dtype], at), ELEMS[dtype])
        before = comes_first(f, dtype, element, wanted, bool(right))
        state.next = [
            f.lshr(bit, constant(1, INDEX)),
            f.select(f.and_(inside, before), tried, count),
        ]
    f.store(state.carried[1], out)


TABLE: dict[str, Callable[..., None]] = {
    "sort_any": sort_any,
    "argsort_any": argsort_any,
    "searchsorted_any": searchsorted_any,
}
