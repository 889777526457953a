"""Comparisons of PTX, and what is chosen by them."""

from __future__ import annotations

import numpy as np
import ptx_numbers as numbers
from ptx_plain import BITS, FLOATS, INTS, Function
from ptx_table import Mask, Op, Run, does, wider
from ptx_text import WIDTHS, Reg
from ptx_threads import Threads

ORDERED: dict[str, Function] = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "lo": np.less,
    "ls": np.less_equal,
    "hi": np.greater,
    "hs": np.greater_equal,
}


def comparison(how: str, is_float: bool) -> Function:
    if how in ("nan", "num"):
        return lambda x, y: (np.isnan(x) | np.isnan(y)) == (how == "nan")
    if not is_float:
        return ORDERED[how]
    if how == "ne":  # of two numbers
        return lambda x, y: (x < y) | (x > y)
    if how in ORDERED:
        return ORDERED[how]
    known = ORDERED[how.removesuffix("u")]
    return lambda x, y: known(x, y) | np.isnan(x) | np.isnan(y)


@does("setp")
def setp(op: Op) -> Run:
    kind = op.kind(*BITS, *INTS, *FLOATS)
    unordered = [f"{how}u" for how in ("eq", "ne", "lt", "le", "gt", "ge")]
    how = op.some(*ORDERED, *unordered, "num", "nan")
    ftz, joined = op.flag("ftz"), op.one_of("and", "or", "xor")
    function = comparison(how, kind in FLOATS)
    x, y = op.sources(kind, 1, 2)
    other = op.source(3, "pred") if joined else 0
    join = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}.get(joined)
    if not isinstance(op.operands[0], Reg):
        raise op.wrong("two results at once are not known here")
    target = op.target(0, "pred")

    def run(t: Threads, m: Mask) -> None:
        given = t.rows[kind][x], t.rows[kind][y]
        if ftz:
            given = numbers.flushed(given[0]), numbers.flushed(given[1])
        found = function(*given)
        t.put(target, join(found, t.rows["pred"][other]) if join else found, m)

    return run


@does("selp")
def selp(op: Op) -> Run:
    kind = op.kind(*BITS, *INTS, *FLOATS)
    kind = wider("b8", WIDTHS[kind])
    x, y = op.sources(kind, 1, 2)
    choice, target = op.source(3, "pred"), op.target(0, kind)

    def run(t: Threads, m: Mask) -> None:
        own = t.rows[kind]
        t.put(target, np.where(t.rows["pred"][choice], own[x], own[y]), m)

    return run
