"""What PTX does with small matrices, and copies that run beside other work.

Written from the PTX ISA alone: its figures say which element of a matrix each thread holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import ptx_numbers as numbers
from ptx_accesses import Addresses, address
from ptx_table import Mask, Op, Run, does
from ptx_text import Address, Imm, Several
from ptx_threads import Threads

Element = tuple[Any, Any]
Places = Callable[[Any, Any, int], Element]


class Shape(NamedTuple):
    """m x n x k; the registers of a, b and c, and the elements in each of a and b."""

    m: int
    n: int
    k: int
    counts: tuple[int, int, int]
    packed: int
    width: int
    a: Places
    """Row and column of element i of thread t of group g."""
    b: Places
    c: Places


def _c16(g: Any, t: Any, i: int) -> Element:
    return g + 8 * (i >= 2), 2 * t + (i & 1)


SHAPES = {
    "m16n8k16": Shape(
        *(16, 8, 16, (4, 2, 4), 2, 32),
        lambda g, t, i: (g + 8 * (i in (2, 3, 6, 7)), 2 * t + (i & 1) + 8 * (i >= 4)),
        lambda g, t, i: (2 * t + (i & 1) + 8 * (i >= 2), g),
        _c16,
    ),
    "m16n8k8": Shape(
        *(16, 8, 8, (4, 2, 4), 1, 32),
        lambda g, t, i: (g + 8 * (i in (1, 3)), t + 4 * (i in (2, 3))),
        lambda g, t, i: (t + 4 * i, g),
        _c16,
    ),
    "m8n8k4": Shape(
        *(8, 8, 4, (1, 1, 2), 1, 64),
        lambda g, t, i: (g, t),
        lambda g, t, i: (t, g),
        lambda g, t, i: (g, 2 * t + i),
    ),
}
KINDS = {
    "f16": "m16n8k16",
    "bf16": "m16n8k16",
    "tf32": "m16n8k8",
    "f64": "m8n8k4",
}
VALUES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "f16": lambda x: x.astype("u2").view("f2").astype("f8"),
    "bf16": lambda x: numbers.from_bf16(x.astype("u2")).astype("f8"),
    "tf32": lambda x: (x & np.uint32(0xFFFFE000)).view("f4").astype("f8"),
    "f64": lambda x: x.view("f8"),
}


@does("mma", warp=True)
def mma(op: Op) -> Run:
    total, kind, other = op.kind("f32", "f64"), op.kind(*KINDS), op.kind(*KINDS)
    made = op.kind("f32", "f64")
    if kind != other or total != made or (total == "f64") != (kind == "f64"):
        raise op.wrong("types that are not known here")
    for part in ("sync", "aligned", KINDS[kind], "row", "col"):
        op.some(part)
    shape = SHAPES[KINDS[kind]]
    lists = []
    for operand, count in zip(op.operands, (shape.counts[2], *shape.counts), strict=True):
        if not isinstance(operand, Several) or len(operand.items) != count:
            raise op.wrong(f"{count} registers belong here")
        lists.append(operand.items)
    targets = [op.target_of(item, total) for item in lists[0]]
    word = f"u{shape.width}"
    a, b = ([op.place(item, shape.width).row for item in items] for items in lists[1:3])
    c = [op.place(item, shape.width).row for item in lists[3]]

    def run(t: Threads, m: Mask) -> None:
        g, h = t.in_warp >> 2, t.in_warp & 3
        left = np.zeros((t.warps, shape.m, shape.k))
        right = np.zeros((t.warps, shape.k, shape.n))
        for rows, places, matrix in ((a, shape.a, left), (b, shape.b, right)):
            for register, row in enumerate(rows):
                value = t.read(word, row, None)
                for half in range(shape.packed):
                    element = VALUES[kind](value >> np.array(16 * half, value.dtype))
                    where = places(g, h, register * shape.packed + half)
                    matrix[(t.warp, *where)] = element
        product = np.einsum("wmk,wkn->wmn", left, right)
        for i, row in enumerate(c):
            value = product[(t.warp, *shape.c(g, h, i))] + t.read(total, row, None)
            t.put(targets[i], value, m)

    return run


@does("ldmatrix", warp=True)
def ldmatrix(op: Op) -> Run:
    op.kind("b16")
    for part in ("sync", "aligned", "m8n8", "x4"):
        op.some(part)
    turned = op.flag("trans")
    op.some("shared", "shared::cta")
    items = op.several(op.operands[0])
    targets = [op.target_of(item, "b32") for item in items]
    if len(targets) != 4:
        raise op.wrong("four registers belong here")
    where = address(op, op.operands[1])

    def run(t: Threads, m: Mask) -> None:
        those, who = t.who(m)
        words = t.memory.load("shared", where(t, those), 4, 4, who, False)
        rows = np.zeros((t.count, 4), "u4")  # of each thread the row whose address it has given
        rows[slice(None) if those is None else those] = np.stack(words, axis=1)
        halves = rows.view("u2")
        g, h = t.in_warp >> 2, t.in_warp & 3
        for j, target in enumerate(targets):
            start = t.first + 8 * j
            if not turned:
                t.put(target, rows[start + g, h], m)
                continue
            low, high = (halves[start + 2 * h + i, g].astype("u4") for i in (0, 1))
            t.put(target, low | high << np.uint32(16), m)

    return run


# ---- copies --------------------------------------------------------------------------------------


class Copy(NamedTuple):
    """What some threads have begun to copy, each in which of its groups."""

    those: np.ndarray
    group: np.ndarray
    target: np.ndarray
    source: np.ndarray
    nbytes: int
    valid: np.ndarray


POISON = np.uint32(0xFFFFFFFF)
"""What a place holds while something is copied there."""


@does("cp")
def copy(op: Op) -> Run:
    op.some("async")
    if op.flag("commit_group"):
        return _commit
    if op.flag("wait_group"):
        (number,) = op.operands
        if not isinstance(number, Imm):
            raise op.wrong("a number belongs here")
        but = number.bits
        return lambda t, m: _wait(t, m, but)
    if op.flag("wait_all"):
        return lambda t, m: _wait(t, m, 0)
    way = op.some("ca", "cg")
    op.some("shared", "shared::cta")
    op.some("global")
    size = op.operands[2]
    if not isinstance(size, Imm) or size.bits not in ((16,) if way == "cg" else (4, 8, 16)):
        raise op.wrong("a size that is not known here")
    target, source = (_place(op, i) for i in (0, 1))
    valid = op.source(3, "u32") if len(op.operands) > 3 else None
    return lambda t, m: _begin(t, m, target, source, size.bits, valid)


def _place(op: Op, number: int) -> Addresses:
    operand = op.operands[number]
    assert isinstance(operand, Address)
    return address(op, operand)


def _begin(
    t: Threads, m: Mask, target: Addresses, source: Addresses, nbytes: int, valid: int | None
) -> None:
    those, who = t.who(m)
    lanes = np.arange(t.count) if those is None else those
    places = target(t, those)
    size = np.full(len(lanes), nbytes) if valid is None else t.read("u32", valid, those)
    begun = Copy(lanes, t.groups[lanes], places, source(t, those), nbytes, size.astype("i8"))
    t.copies.append(begun)
    t.memory.store("shared", places, 4, [np.full(len(lanes), POISON)] * (nbytes // 4), who)


def _commit(t: Threads, m: Mask) -> None:
    t.groups[slice(None) if m is True else m] += 1


def _wait(t: Threads, m: Mask, but: int) -> None:
    here = np.ones(t.count, np.bool_) if m is True else np.asarray(m)
    left = []
    for begun in t.copies:
        due = here[begun.those] & (begun.group < t.groups[begun.those] - but)
        if due.any():
            _finish(t, _some(begun, due))
        if not due.all():
            left.append(_some(begun, ~due))
    t.copies[:] = left


def _some(begun: Copy, which: np.ndarray) -> Copy:
    those, group, target, source, nbytes, valid = begun
    return Copy(those[which], group[which], target[which], source[which], nbytes, valid[which])


def _finish(t: Threads, begun: Copy) -> None:
    """Bytes beyond those that are valid are 0, and not read."""
    data = np.zeros((len(begun.those), begun.nbytes // 2), "u2")
    mask = np.zeros(t.count, np.bool_)
    for valid in np.unique(begun.valid):
        which = begun.valid == valid
        mask[:] = False
        mask[begun.those[which]] = True
        _, who = t.who(mask)
        if valid:
            start = begun.source[which]
            for i in range(0, int(valid), 2):
                (half,) = t.memory.load("global", start + np.uint64(i), 2, 1, who, False)
                data[which, i // 2] = half
    mask[:] = False
    mask[begun.those] = True
    _, who = t.who(mask)
    words = np.ascontiguousarray(data).view("u4")
    t.memory.store("shared", begun.target, 4, list(words.T), who)
