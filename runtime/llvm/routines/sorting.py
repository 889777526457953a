"""Merge sort from the bottom up, and binary search: no branch depends on the data.

Runs of 1, 2, 4, ... elements are merged back and forth between the result and a working array; the
sizes are constants, so that the last merge ends in the result.
"""

from __future__ import annotations

from collections.abc import Callable

from graphc.ir import FLOATS, UNSIGNED
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.gemm_kernels import counted, minus, times
from graphc.runtime.llvm.math import ELEMS
from graphc.runtime.llvm.module import Module
from graphc.runtime.llvm.registers import Reg, constant
from graphc.runtime.llvm.routines.running import as_number

INDEX = "i64"


def is_less(f: Function, dtype: str, a: Reg, b: Reg) -> Reg:
    """a < b in the order of sorting, in which NaN comes last."""
    if dtype not in FLOATS:
        return f.icmp("ult" if dtype in UNSIGNED else "slt", a, b)
    return f.and_(f.fcmp("ult", a, b), f.fcmp("ord", a, a))


def comes_first(f: Function, dtype: str, element: Reg, wanted: Reg, right: bool) -> Reg:
    """Whether an element stands before the place of `wanted`, on the right of its equals or not."""
    if right:
        return f.not_(is_less(f, dtype, wanted, element))
    return is_less(f, dtype, element, wanted)


def sort(f: Function, dtype: str, x: Reg, out: Reg, work: Reg, size: int) -> None:
    """The elements of x in increasing order."""
    passes = (size - 1).bit_length()
    if not passes:
        f.store(f.load(x, ELEMS[dtype]), out)
        return
    merge = merge_function(f.module, dtype, by_position=False)
    source = x
    for number in range(passes):
        target = out if (passes - 1 - number) % 2 == 0 else work
        merge_runs(f, merge, [source, target], size, 1 << number)
        source = target


def argsort(f: Function, dtype: str, x: Reg, out: Reg, work: Reg, size: int) -> None:
    """The positions that sort x, equal elements in order."""
    passes = (size - 1).bit_length()
    source = out if passes % 2 == 0 else work
    with f.loop(constant(0, INDEX), constant(size, INDEX), 1) as each:
        f.store(each.index, f.offset(source, INDEX, each.index))
    merge = merge_function(f.module, dtype, by_position=True)
    for number in range(passes):
        target = out if source is work else work
        merge_runs(f, merge, [x, source, target], size, 1 << number)
        source = target


def merge_runs(
    f: Function, merge: str, arrays: list[Reg], size: Reg | int, width: Reg | int
) -> None:
    """Merge each two neighbouring runs of `width` elements."""
    end, one = as_number(size), as_number(width)
    two = times(f, one, 2)
    with f.loop(constant(0, INDEX), end, two) as run:
        middle = f.intrinsic("smin", f.add(run.index, one), end)
        stop = f.intrinsic("smin", f.add(run.index, two), end)
        f.call(merge, [*arrays, run.index, middle, stop])


def merge_function(module: Module, dtype: str, by_position: bool) -> str:
    """The function that merges source[start:middle] and source[middle:stop] into the target.

    With `by_position` the arrays hold positions, which are compared by the keys that stand there.
    """
    name = f"{'merge_positions' if by_position else 'merge'}_{dtype}"
    if name in module.functions:
        return name
    arrays = [Reg(f"%{part}", "ptr") for part in ("keys", "source", "target")]
    if not by_position:
        del arrays[0]
    bounds = [Reg(f"%{part}", INDEX) for part in ("start", "middle", "stop")]
    f = Function(module, name, [*arrays, *bounds])
    elem = INDEX if by_position else ELEMS[dtype]
    source, target = arrays[-2:]
    start, middle, stop = bounds
    one = constant(1, INDEX)
    last_left, last_right = f.sub(middle, one), f.sub(stop, one)
    with f.loop(start, stop, 1, [start, middle]) as out:
        i, j = out.carried
        left = f.load(f.offset(source, elem, f.intrinsic("smin", i, last_left)), elem)
        right = f.load(f.offset(source, elem, f.intrinsic("smin", j, last_right)), elem)
        keys = [left, right]
        if by_position:
            keys = [
                f.load(f.offset(arrays[0], ELEMS[dtype], at), ELEMS[dtype]) for at in (left, right)
            ]
        ahead = f.or_(f.icmp("sge", i, middle), is_less(f, dtype, keys[1], keys[0]))
        takes_right = f.and_(f.icmp("slt", j, stop), ahead)
        f.store(f.select(takes_right, right, left), f.offset(target, elem, out.index))
        step = f.convert("zext", takes_right, INDEX)
        out.next = [f.add(i, f.sub(one, step)), f.add(j, step)]
    f.line("ret void")
    module.add(f)
    return name


def searchsorted(
    f: Function, dtype: str, table: Reg, x: Reg, out: Reg, size: int, right: int
) -> None:
    """How many elements of the table come before x: one bit of the count after the other."""
    elem = ELEMS[dtype]
    wanted = f.load(x, elem)
    count = constant(0, INDEX)
    for bit in reversed(range(size.bit_length())):
        tried = f.add(count, constant(1 << bit, INDEX))
        inside = f.icmp("sle", tried, constant(size, INDEX))
        at = f.sub(f.intrinsic("smin", tried, constant(size, INDEX)), constant(1, INDEX))
        element = f.load(f.offset(table, elem, at), elem)
        before = comes_first(f, dtype, element, wanted, bool(right))
        count = f.select(f.and_(inside, before), tried, count)
    f.store(count, out)


def last_writer(
    f: Function, dtype: str, positions: Reg, out: Reg, size: Reg | int, count: Reg | int
) -> None:
    """One position after the other: a later one takes the place of an earlier."""
    zero, many = constant(0, INDEX), as_number(count)
    with counted(f, zero, many, 1) as place:
        f.store(constant(-1, INDEX), f.offset(out, INDEX, place))
    if size == 0:
        return
    with counted(f, zero, as_number(size), 1) as each:
        at = f.load(f.offset(positions, INDEX, each), INDEX)
        last = minus(f, many, constant(1, INDEX))
        at = f.intrinsic("smin", f.intrinsic("smax", at, zero), last)
        f.store(each, f.offset(out, INDEX, at))


TABLE: dict[str, Callable[..., None]] = {
    "sort": sort,
    "argsort": argsort,
    "searchsorted": searchsorted,
    "last_writer": last_writer,
}
