"""Tensor cores, and copies to shared memory that a thread does not wait for.

Which thread holds which element is written here as the PTX ISA has it, and not taken from graphc's
own tables.  What is added up is cut off, not rounded, and what a copy brings is there no sooner
than the thread has waited for it: both are the worst that a device may do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import ptx_numbers as numbers
from ptx_accesses import address
from ptx_memory import Fault, Who
from ptx_table import Mask, Op, Run, does
from ptx_text import Imm
from ptx_threads import WARP, Threads

Places = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]
"""The row and the column of element i of each lane."""


class Shape(NamedTuple):
    """left (rows x depth) @ right (depth x columns), and how many elements a thread has of each."""

    rows: int
    columns: int
    depth: int
    left: Places
    right: Places
    out: Places
    counts: tuple[int, int, int]


def _group(lane: np.ndarray) -> np.ndarray:
    return lane >> 2


def _in_group(lane: np.ndarray) -> np.ndarray:
    return lane & 3


SHAPES = {
    "m16n8k16": Shape(
        16,
        8,
        16,
        lambda lane, i: (
            _group(lane) + (0 if i < 2 or 4 <= i < 6 else 8),
            _in_group(lane) * 2 + (i & 1) + (0 if i < 4 else 8),
        ),
        lambda lane, i: (_in_group(lane) * 2 + (i & 1) + (0 if i < 2 else 8), _group(lane)),
        lambda lane, i: (_group(lane) + (0 if i < 2 else 8), _in_group(lane) * 2 + (i & 1)),
        (8, 4, 4),
    ),
    "m16n8k8": Shape(
        16,
        8,
        8,
        lambda lane, i: (_group(lane) + (i & 1) * 8, _in_group(lane) + (i >> 1) * 4),
        lambda lane, i: (_in_group(lane) + i * 4, _group(lane)),
        lambda lane, i: (_group(lane) + (0 if i < 2 else 8), _in_group(lane) * 2 + (i & 1)),
        (4, 2, 4),
    ),
    "m8n8k4": Shape(
        8,
        8,
        4,
        lambda lane, i: (_group(lane), _in_group(lane)),
        lambda lane, i: (_in_group(lane), _group(lane)),
        lambda lane, i: (_group(lane), _in_group(lane) * 2 + i),
        (1, 1, 2),
    ),
}
KINDS = {
    ("m16n8k16", "f32", "f16", "f16", "f32"): 2,
    ("m16n8k16", "f32", "bf16", "bf16", "f32"): 2,
    ("m16n8k8", "f32", "tf32", "tf32", "f32"): 1,
    ("m8n8k4", "f64", "f64", "f64", "f64"): 1,
}
"""What is multiplied, and how many factors lie in a register."""


def _factors(kind: str, registers: list[np.ndarray]) -> list[np.ndarray]:
    """The elements that are in registers, as f64."""
    if kind == "f64":
        return registers
    if kind == "tf32":
        return [(r & np.uint32(0xFFFFE000)).view("f4").astype("f8") for r in registers]
    halves = [(r >> np.uint32(s)).astype("u2") for r in registers for s in (0, 16)]
    if kind == "f16":
        return [half.view("f2").astype("f8") for half in halves]
    return [numbers.from_bf16(half).astype("f8") for half in halves]


def whole_warps(t: Threads, m: Mask) -> np.ndarray:
    """The threads, one row for each warp."""
    those = t.lane if m is True else np.flatnonzero(m)
    if len(those) % WARP or t.in_warp[those[::WARP]].any():
        raise Fault("use", "a warp of which threads are missing")
    return those.reshape(-1, WARP)


@does("mma", warp=True)
def mma(op: Op) -> Run:
    op.some("sync")
    op.some("aligned")
    name = op.some(*SHAPES)
    op.some("row")
    op.some("col")
    parts = tuple(op.kind() for _ in range(4))[::-1]
    if (name, *parts) not in KINDS:
        raise op.wrong("a product that is not known here")
    shape, packed = SHAPES[name], KINDS[name, *parts]
    held, total = ("b64", "f64") if parts[0] == "f64" else ("b32", "f32")
    lists = [op.several(operand) for operand in op.operands]
    wanted = [shape.counts[2], *(n // packed for n in shape.counts[:2]), shape.counts[2]]
    if [len(own) for own in lists] != wanted:
        raise op.wrong(f"{[len(own) for own in lists]} registers instead of {wanted}")
    targets = [op.target_of(operand, total) for operand in lists[0]]
    width = 64 if held == "b64" else 32
    rows = [[op.place(operand, width).row for operand in own] for own in lists[1:]]

    def run(t: Threads, m: Mask) -> None:
        warps = whole_warps(t, m)
        lane = np.arange(WARP)

        def read(kind: str, which: int) -> list[np.ndarray]:
            return [t.read(kind, row, None)[warps] for row in rows[which]]

        def matrix(places: Places, size: tuple[int, int], held: list[np.ndarray]) -> np.ndarray:
            made = np.full((len(warps), *size), np.nan)
            for i, value in enumerate(held):
                row, column = places(lane, i)
                made[:, row, column] = value
            return made

        source = "f64" if held == "b64" else "u32"
        left, right = (_factors(parts[1 + i], read(source, i)) for i in (0, 1))
        a = matrix(shape.left, (shape.rows, shape.depth), left)
        b = matrix(shape.right, (shape.depth, shape.columns), right)
        c = matrix(shape.out, (shape.rows, shape.columns), read(total, 2))
        made = _multiplied(a, b, c, total)
        for i, target in enumerate(targets):
            row, column = shape.out(lane, i)
            t.put_for(target, made[:, row, column].reshape(-1), warps.reshape(-1))

    return run


def _multiplied(a: np.ndarray, b: np.ndarray, c: np.ndarray, total: str) -> np.ndarray:
    if total == "f32":
        return numbers.narrowed(a @ b + c, "rz", np.dtype("f4"))
    for k in range(a.shape[2]):
        c = numbers.fma64(a[:, :, k, None], b[:, None, k], c)
    return c


@does("ldmatrix", warp=True)
def load_matrices(op: Op) -> Run:
    """Matrices of 8 x 8 elements of 16 bits, from rows that threads have the addresses of."""
    op.kind("b16")
    for part in ("sync", "aligned", "m8n8", "shared"):
        op.some(part)
    count = int(op.some("x1", "x2", "x4")[1:])
    is_turned = op.flag("trans")
    targets = [op.target_of(operand, "b32") for operand in op.several(op.operands[0])]
    where = address(op, op.operands[1])
    if len(targets) != count:
        raise op.wrong(f"{len(targets)} registers for {count} matrices")

    def run(t: Threads, m: Mask) -> None:
        warps = whole_warps(t, m)
        holders = warps[:, : 8 * count].reshape(-1)
        who = Who(*(part[holders] for part in t.everyone))
        addresses = where(t, holders)
        if (addresses % np.uint64(16)).any():
            raise Fault("alignment", f"a row at {addresses[addresses % np.uint64(16) != 0][0]:#x}")
        words = t.memory.load("shared", addresses, 4, 4, who, False)
        data = np.stack(words, axis=1).view("u2").reshape(len(warps), count, 8, 8).astype("u4")
        if is_turned:
            data = data.swapaxes(2, 3)
        pairs = data[..., 0::2] | data[..., 1::2] << np.uint32(16)  # row, and pair in the row
        for i, target in enumerate(targets):
            t.put_for(target, pairs[:, i].reshape(-1), warps.reshape(-1))

    return run


# ---- copies --------------------------------------------------------------------------------------


class Copy(NamedTuple):
    """What some threads have asked for: the bytes, where to, and of which group each is."""

    those: np.ndarray
    group: np.ndarray
    addresses: np.ndarray
    values: list[np.ndarray]


@does("cp")
def copy(op: Op) -> Run:
    op.some("async")
    if op.flag("commit_group"):
        return _commit
    if op.flag("wait_all"):
        return lambda t, m: _arrive(t, m, None)
    if op.flag("wait_group"):
        (but,) = op.operands
        if not isinstance(but, Imm):
            raise op.wrong("how many groups may be on their way is a number")
        left = but.bits
        return lambda t, m: _arrive(t, m, left)
    is_past = op.some("ca", "cg") == "cg"
    op.some("shared", "shared::cta")
    op.some("global")
    target, source = address(op, op.operands[0]), address(op, op.operands[1])
    nbytes = op.operands[2].bits if isinstance(op.operands[2], Imm) else 0
    if nbytes not in ((16,) if is_past else (4, 8, 16)):
        raise op.wrong(f"a copy of {nbytes} bytes")
    given = op.place(op.operands[3], 32).row if len(op.operands) > 3 else None

    def run(t: Threads, m: Mask) -> None:
        those, who = t.who(m)
        every = t.lane if those is None else those
        start = source(t, those)
        size = np.full(len(every), nbytes) if given is None else t.read("b32", given, those)
        values = _read_as_much(t, start, size.astype("i8"), nbytes, who)
        to = target(t, those)
        rubbish = [np.full(len(every), 0xFFFFFFFF, "u4")] * (nbytes // 4)
        if (to % np.uint64(nbytes)).any():
            raise Fault("alignment", f"a copy of {nbytes} bytes to {to.max():#x}")
        t.memory.store("shared", to, 4, rubbish, who)  # until it has come, it may be anything
        t.copies.append(Copy(every, t.groups[every], to, values))

    return run


def _read_as_much(
    t: Threads, start: np.ndarray, size: np.ndarray, nbytes: int, who: Who
) -> list[np.ndarray]:
    """Words of which the first `size` bytes are read, the others zero."""
    if (size > nbytes).any() or ((size > 0) & (start % np.uint64(nbytes) != 0)).any():
        raise Fault("alignment", f"a copy of {nbytes} bytes from {start.max():#x}")
    made = np.zeros((len(start), nbytes), np.uint8)
    for width, at in _pieces(size, nbytes):
        which = np.flatnonzero(at >= 0)
        if len(which):
            people = Who(*(part[which] for part in who))
            offset = at[which].astype("u8")
            (read,) = t.memory.load("global", start[which] + offset, width, 1, people, False)
            columns = at[which][:, None] + np.arange(width)
            made[which[:, None], columns] = read.view(np.uint8).reshape(-1, width)
    return [made[:, 4 * i : 4 * i + 4].copy().view("u4")[:, 0] for i in range(nbytes // 4)]


def _pieces(size: np.ndarray, nbytes: int) -> list[tuple[int, np.ndarray]]:
    """Words, and bytes behind them, that make up `size`: for each a width and where it is."""
    words = [(4, np.where(size >= 4 * i + 4, 4 * i, -1)) for i in range(nbytes // 4)]
    rest = size % 4
    return words + [(1, np.where(rest > i, size - rest + i, -1)) for i in range(3)]


def _commit(t: Threads, m: Mask) -> None:
    np.add(t.groups, 1, out=t.groups, where=m)


def _arrive(t: Threads, m: Mask, but: int | None) -> None:
    """All copies of these threads but those of the last groups have come; None for all at all."""
    here = np.ones(t.count, np.bool_) if m is True else m
    left = []
    for one in t.copies:
        done = here[one.those]
        if but is not None:
            done = done & (one.group < t.groups[one.those] - but)
        if done.any():
            who = Who(*(part[one.those[done]] for part in t.everyone))
            values = [value[done] for value in one.values]
            t.memory.store("shared", one.addresses[done], 4, values, who)
        if not done.all():
            rest = ~done
            values = [value[rest] for value in one.values]
            left.append(Copy(one.those[rest], one.group[rest], one.addresses[rest], values))
    t.copies = left
