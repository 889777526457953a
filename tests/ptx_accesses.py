"""Instructions that reach memory, and registers of other threads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ptx_table import DTYPES, Mask, Op, Run, Target, does
from ptx_text import WIDTHS, Address, Both, Name, Operand
from ptx_threads import Threads

Addresses = Callable[[Threads, "np.ndarray | None"], np.ndarray]


def address(op: Op, operand: Operand) -> Addresses:
    """The addresses of an operand in brackets, as those threads have them."""
    if not isinstance(operand, Address):
        raise op.wrong("no address")
    row = op.place(operand.base, 64).row
    offset = np.uint64(operand.offset & ((1 << 64) - 1))

    def found(t: Threads, those: np.ndarray | None) -> np.ndarray:
        return t.read("u64", row, those) + offset

    return found


def _where(op: Op) -> str:
    """The memory that an access names, "" if its address says which."""
    space = op.one_of("global", "shared", "shared::cta", "local", "param", "const")
    space = space.removesuffix("::cta")  # the memory of this block, which .shared alone means, too
    if space == "const":
        raise op.wrong(".const is not known here")
    return space


HINTS = ("L1", "L2", "ca", "cg", "cs", "lu", "cv", "wb", "wt", "weak", "volatile", "unified")
HINTS += ("evict_first", "evict_last", "evict_normal", "evict_unchanged", "no_allocate")
"""What says how an access goes past the caches, and nothing of what it gives."""


def _hints(op: Op) -> None:
    for part in HINTS:
        while op.flag(part) or op.flag(f"L1::{part}") or op.flag(f"L2::{part}"):
            pass


def _count(op: Op) -> int:
    return {"": 1, "v2": 2, "v4": 4, "v8": 8}[op.one_of("v2", "v4", "v8")]


@does("ld")
def load(op: Op) -> Run:
    kind = op.kind()
    space, constant, count = _where(op), op.flag("nc"), _count(op)
    _hints(op)
    width = WIDTHS[kind] // 8
    parts = op.several(op.operands[0])
    if len(parts) != count:
        raise op.wrong(f"{len(parts)} registers for {count} values")
    targets = [None if part is None else op.target_of(part, kind, loose=True) for part in parts]
    if space == "param":
        return _load_parameter(op, width, targets, kind)
    where = address(op, op.operands[1])

    def run(t: Threads, m: Mask) -> None:
        those, who = t.who(m)
        values = t.memory.load(space, where(t, those), width, count, who, constant)
        for target, value in zip(targets, values):
            if target is not None:
                t.put_for(target, value.view(DTYPES[kind]), those)

    return run


def _frame(op: Op, operand: Operand) -> tuple[str, int]:
    """Which parameter is meant, and from which byte on."""
    if not isinstance(operand, Address) or not isinstance(operand.base, Name):
        raise op.wrong("parameters are known here by their names alone")
    for name in (f"{op.function}:{operand.base.name}", operand.base.name):
        if name in op.linker.params:
            return name, operand.offset + operand.base.offset
    raise op.wrong(f"no parameter {operand.base.name}")


def _slice(op: Op, operand: Operand, nbytes: int) -> tuple[str, slice]:
    name, start = _frame(op, operand)
    if not 0 <= start <= op.linker.params[name] - nbytes:
        raise op.wrong(f"{name} has {op.linker.params[name]} bytes")
    return name, slice(start, start + nbytes)


def _load_parameter(op: Op, width: int, targets: list[Target | None], kind: str) -> Run:
    name, which = _slice(op, op.operands[1], width * len(targets))

    def run(t: Threads, m: Mask) -> None:
        values = np.ascontiguousarray(t.frames[name][:, which]).view(DTYPES[kind])
        for i, target in enumerate(targets):
            if target is not None:
                t.put(target, values[:, i], m)

    return run


@does("st")
def store(op: Op) -> Run:
    kind = op.kind()
    space, count = _where(op), _count(op)
    _hints(op)
    width = WIDTHS[kind] // 8
    parts = op.several(op.operands[1])
    if len(parts) != count:
        raise op.wrong(f"{len(parts)} registers for {count} values")
    places = [op.place(part, WIDTHS[kind], loose=True) for part in parts]
    dtype = f"u{width}"
    if space == "param":
        name, which = _slice(op, op.operands[0], width * count)

        def put(t: Threads, m: Mask) -> None:
            values = [t.read(f"b{p.width}", p.row, None).astype(dtype) for p in places]
            held = np.stack(values, axis=1).view(np.uint8)
            np.copyto(t.frames[name][:, which], held, where=True if m is True else m[:, None])

        return put
    where = address(op, op.operands[0])

    def run(t: Threads, m: Mask) -> None:
        those, who = t.who(m)
        values = [t.read(f"b{p.width}", p.row, those).astype(dtype) for p in places]
        t.memory.store(space, where(t, those), width, values, who)

    return run


# ---- atomic accesses -----------------------------------------------------------------------------

Change = Callable[..., np.ndarray]
CHANGES: dict[str, Change] = {
    "add": lambda old, x: old + x,
    "min": np.minimum,
    "max": np.maximum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "exch": lambda old, x: x,
    "cas": lambda old, x, y: np.where(old == x, y, old),
    "inc": lambda old, x: np.where(old >= x, old * 0, old + old.dtype.type(1)),
    "dec": lambda old, x: np.where((old == 0) | (old > x), x, old - old.dtype.type(1)),
}
ORDERS = ("relaxed", "acquire", "release", "acq_rel")
SCOPES = ("cta", "cluster", "gpu", "sys")


@does("atom", "red")
def atomic(op: Op) -> Run:
    """Thread after thread, in the order of their numbers."""
    kind = op.kind("b32", "b64", "u32", "s32", "u64", "s64", "f16", "f32", "f64")
    change = CHANGES[op.some(*CHANGES)]
    op.flag("noftz")
    op.one_of(*ORDERS)
    space = op.one_of("global", "shared")
    op.one_of(*SCOPES)
    at = 1 if op.instruction.name == "atom" else 0
    where = address(op, op.operands[at])
    sources = op.sources(kind, *range(at + 1, len(op.operands)))
    target = op.target(0, kind) if at else None
    width, dtype = WIDTHS[kind] // 8, DTYPES[kind]

    def run(t: Threads, m: Mask) -> None:
        those, who = t.who(m)
        view, index = t.memory.places(space, where(t, those), width, who)
        given = [t.read(kind, row, those) for row in sources]
        memory, old = view.view(dtype), np.empty(len(index), dtype)
        if len(np.unique(index)) == len(index):
            old[:] = memory[index]
            memory[index] = change(old, *given)
        else:
            for i, place in enumerate(index):
                old[i] = memory[place]
                memory[place] = change(old[i], *(x[i] for x in given))
        if target is not None:
            t.put_for(target, old, those)

    return run


@does("membar", "fence")
def fence(op: Op) -> Run:
    """Threads run one after the other here: each sees what was written before."""
    op.one_of(*ORDERS, "sc")
    op.one_of(*SCOPES, "gl")
    return lambda t, m: None


# ---- the threads of a warp -----------------------------------------------------------------------

MISSING = np.uint32(0xFFDEAD01)
"""What is read of a thread that takes no part: a NaN."""


def _present(t: Threads, m: Mask) -> np.ndarray:
    return np.ones(t.count, np.bool_) if m is True else np.asarray(m)


@does("shfl", warp=True)
def shuffle(op: Op) -> Run:
    op.kind("b32")
    op.some("sync")
    way = op.some("up", "down", "bfly", "idx")
    result = op.operands[0]
    target = op.target_of(result.first if isinstance(result, Both) else result, "b32")
    found = op.target_of(result.second, "pred") if isinstance(result, Both) else None
    source, by, limit = op.sources("b32", 1, 2, 3)

    def run(t: Threads, m: Mask) -> None:
        value = np.broadcast_to(t.rows["b32"][source], t.count)
        distance = t.rows["b32"][by].astype("i8") & 31
        limits = t.rows["b32"][limit].astype("i8")
        segment = limits >> 8 & 31
        last = t.in_warp & segment | limits & 31 & ~segment
        other, inside = _partner(way, t.in_warp, distance, segment, last)
        other = t.first + np.where(inside, other, t.in_warp)
        exists = (other < t.count) & (t.warp[np.minimum(other, t.count - 1)] == t.warp)
        other = np.where(exists, other, 0)
        exists &= _present(t, m)[other]
        t.put(target, np.where(exists, value[other], MISSING), m)
        if found is not None:
            t.put(found, inside, m)

    return run


def _partner(
    way: str, lane: np.ndarray, by: np.ndarray, segment: np.ndarray, last: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The lane that each reads, and whether it is one of its segment."""
    if way == "up":
        other = lane - by
        return other, other >= last
    if way == "down":
        other = lane + by
    elif way == "bfly":
        other = lane ^ by
    else:
        other = lane & segment | by & ~segment
    return other, other <= last


def over_warps(
    t: Threads, m: Mask, value: np.ndarray, combine: np.ufunc, start: object
) -> np.ndarray:
    """For each thread what `combine` makes of those of its warp that take part."""
    totals = np.full(t.warps, start, value.dtype)
    present = _present(t, m)
    combine.at(totals, t.warp[present], value[present])
    return totals[t.warp]


@does("vote", warp=True)
def vote(op: Op) -> Run:
    op.some("sync")
    how = op.some("all", "any", "uni", "ballot")
    op.kind("pred", "b32")
    operand = op.operands[1]
    negated = isinstance(operand, Name) and operand.name.startswith("!")
    if negated:
        raise op.wrong("votes on what is not so are not known here")
    source = op.source(1, "pred")
    target = op.target(0, "b32" if how == "ballot" else "pred")

    def run(t: Threads, m: Mask) -> None:
        says = np.broadcast_to(t.rows["pred"][source], t.count)
        if how == "ballot":
            bits = says.astype("u4") << t.in_warp.astype("u4")
            t.put(target, over_warps(t, m, bits, np.bitwise_or, 0), m)
            return
        every = over_warps(t, m, says, np.logical_and, True)
        some = over_warps(t, m, says, np.logical_or, False)
        t.put(target, {"all": every, "any": some, "uni": every | ~some}[how], m)

    return run


@does("redux", warp=True)
def redux(op: Op) -> Run:
    kind = op.kind("b32", "u32", "s32")
    op.some("sync")
    how = op.some("add", "min", "max", "and", "or", "xor")
    source, target = op.source(1, kind), op.target(0, kind)
    info = np.iinfo(DTYPES[kind])
    combine, start = {
        "add": (np.add, 0),
        "min": (np.minimum, info.max),
        "max": (np.maximum, info.min),
        "and": (np.bitwise_and, -1 if info.min else info.max),
        "or": (np.bitwise_or, 0),
        "xor": (np.bitwise_xor, 0),
    }[how]

    def run(t: Threads, m: Mask) -> None:
        value = np.broadcast_to(t.rows[kind][source], t.count)
        t.put(target, over_warps(t, m, value, combine, start), m)

    return run


@does("activemask")
def active_mask(op: Op) -> Run:
    op.kind("b32")
    target = op.target(0, "b32")

    def run(t: Threads, m: Mask) -> None:
        bits = np.uint32(1) << t.in_warp.astype("u4")
        t.put(target, over_warps(t, m, bits, np.bitwise_or, 0), m)

    return run
