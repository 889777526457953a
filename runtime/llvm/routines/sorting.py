"""Merge sort from the bottom up, and binary search: no branch depends on the data.

Runs of 1, 2, 4, ... elements are merged back and forth between the result and a working array; the
sizes are constants, so that the last merge ends in the result.
"""

from __future__ import annotations

from collections.abc import Callable

from graphc.ir import FLOATS, UNSIGNED
from graphc.runtime.llvm.builder import Function, Module, Reg, constant
from graphc.runtime.llvm.math import ELEMS

INDEX = "i64"


def _less(f: Function, dtype: str, a: Reg, b: Reg) -> Reg:
    """a < b in the order of sorting, in which NaN comes last."""
    if dtype not in FLOATS:
        return f.icmp("ult" if dtype in UNSIGNED else "slt", a, b)
    return f.and_(f.fcmp("ult", a, b), f.fcmp("ord", a, a))


def sort(f: Function, dtype: str, x: Reg, out: Reg, work: Reg, size: int) -> None:
    """The elements of x in increasing order."""
    passes = (size - 1).bit_length()
    if not passes:
        f.store(f.load(x, ELEMS[dtype]), out)
        return
    merge = _merge(f.module, dtype, by_position=False)
    source = x
    for number in range(passes):
        target = out if (passes - 1 - number) % 2 == 0 else work
        _merge_runs(f, merge, [source, target], size, 1 << number)
        source = target


def argsort(f: Function, dtype: str, x: Reg, out: Reg, work: Reg, size: int) -> None:
    """The positions that sort x, equal elements in order."""
    passes = (size - 1).bit_length()
    source = out if passes % 2 == 0 else work
    with f.loop(constant(0, INDEX), constant(size, INDEX), 1) as each:
        f.store(each.index, f.offset(source, INDEX, each.index))
    merge = _merge(f.module, dtype, by_position=True)
    for number in range(passes):
        target = out if source is work else work
        _merge_runs(f, merge, [x, source, target], size, 1 << number)
        source = target


def _merge_runs(f: Function, merge: str, arrays: list[Reg], size: int, width: int) -> None:
    """Merge each two neighbouring runs of `width` elements."""
    end = constant(size, INDEX)
    with f.loop(constant(0, INDEX), end, 2 * width) as run:
        middle = f.intrinsic("smin", f.add(run.index, constant(width, INDEX)), end)
        stop = f.intrinsic("smin", f.add(run.index, constant(2 * width, INDEX)), end)
        f.call(merge, [*arrays, run.index, middle, stop])


def _merge(module: Module, dtype: str, by_position: bool) -> str:
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
        ahead = f.or_(f.icmp("sge", i, middle), _less(f, dtype, keys[1], keys[0]))
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
        if right:
            comes_before = f.not_(_less(f, dtype, wanted, element))
        else:
            comes_before = _less(f, dtype, element, wanted)
        count = f.select(f.and_(inside, comes_before), tried, count)
    f.store(count, out)


def last_writer(f: Function, dtype: str, positions: Reg, out: Reg, size: int, count: int) -> None:
    """One position after the other: a later one takes the place of an earlier."""
    zero = constant(0, INDEX)
    with f.loop(zero, constant(count, INDEX), 1) as place:
        f.store(constant(-1, INDEX), f.offset(out, INDEX, place.index))
    if not size:
        return
    with f.loop(zero, constant(size, INDEX), 1) as each:
        at = f.load(f.offset(positions, INDEX, each.index), INDEX)
        at = f.intrinsic("smin", f.intrinsic("smax", at, zero), constant(count - 1, INDEX))
        f.store(each.index, f.offset(out, INDEX, at))


TABLE: dict[str, Callable[..., None]] = {
    "sort": sort,
    "argsort": argsort,
    "searchsorted": searchsorted,
    "last_writer": last_writer,
}
