"""Instructions that move registers, and convert what is in them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import ptx_numbers as numbers
from ptx_memory import NOWHERE, WINDOW_BITS, WINDOWS
from ptx_plain import BITS, FLOATS, INTS, plain
from ptx_table import DTYPES, Mask, Op, Run, Target, does
from ptx_text import WIDTHS, Imm, Name, Operand, Reg, Several
from ptx_threads import Threads


@does("mov")
def mov(op: Op) -> Run:
    kind = op.kind(*BITS, *INTS, *FLOATS, "pred")
    target, source = op.operands
    if isinstance(target, Several):
        return _taken_apart(op, kind, target)
    if isinstance(source, Several):
        return _put_together(op, kind, source)
    if not isinstance(source, (Reg, Imm, Name)):
        raise op.wrong("nothing that can be moved")
    return plain(op, kind, lambda x: x, 1)


def _taken_apart(op: Op, kind: str, parts: Several) -> Run:
    whole = f"b{WIDTHS[kind]}"
    source, width = op.source(1, whole), WIDTHS[kind] // len(parts.items)
    narrow = f"b{width}"
    targets = [None if p is None else op.target_of(p, narrow) for p in parts.items]

    def run(t: Threads, m: Mask) -> None:
        value = t.rows[whole][source]
        halves = [value >> value.dtype.type(i * width) for i in range(len(targets))]
        for target, half in zip(targets, halves):
            if target is not None:
                t.put(target, half.astype(DTYPES[narrow]), m)

    return run


def _put_together(op: Op, kind: str, parts: Several) -> Run:
    whole = f"b{WIDTHS[kind]}"
    target, width = op.target(0, whole), WIDTHS[kind] // len(parts.items)
    sources = [op.place(part, width).row for part in parts.items]

    def run(t: Threads, m: Mask) -> None:
        made = np.array(0, DTYPES[whole])
        for i, source in enumerate(sources):
            part = t.rows[f"b{width}"][source].astype(made.dtype)
            made = made | part << made.dtype.type(i * width)
        t.put(target, made, m)

    return run


@does("cvta")
def cvta(op: Op) -> Run:
    """Between addresses of one memory and those that say of which they are."""
    op.kind("u64")
    is_back = op.flag("to")
    space = op.some("global", "shared", "local", "const", "param")
    if space in ("const", "param"):
        raise op.wrong(f"addresses of .{space} are not known here")
    window = np.uint64(WINDOWS[space] << WINDOW_BITS)
    source, target = op.source(1, "u64"), op.target(0, "u64")

    def run(t: Threads, m: Mask) -> None:
        given = t.rows["u64"][source]
        if not is_back:
            t.put(target, given + window, m)
            return
        wrong = given >> np.uint64(WINDOW_BITS) != WINDOWS[space]
        # The code may convert what it uses under a condition only: the address is then not one.
        t.put(target, np.where(wrong, given | NOWHERE, given - window), m)

    return run


@does("isspacep")
def is_of_space(op: Op) -> Run:
    space = op.some("global", "shared", "local")
    source, target = op.source(1, "u64"), op.target(0, "pred")
    window = WINDOWS[space]
    return lambda t, m: t.put(target, t.rows["u64"][source] >> np.uint64(WINDOW_BITS) == window, m)


# ---- conversions ---------------------------------------------------------------------------------

ALL_INTS = ("u8", "s8", *INTS)
Convert = Callable[[np.ndarray], np.ndarray]
TO_WHOLE = ("rni", "rzi", "rmi", "rpi")
DIRECTIONS = ("rn", "rz", "rm", "rp")


@does("cvt")
def cvt(op: Op) -> Run:
    source_kind = op.kind(*ALL_INTS, *FLOATS, "bf16")
    target_kind = op.kind(*ALL_INTS, *FLOATS, "bf16", "f16x2", "bf16x2", "tf32")
    if target_kind in ("f16x2", "bf16x2"):
        return _pair(op, target_kind)
    if target_kind == "tf32":
        op.some("rna")
        return plain(op, "b32", numbers.to_tf32, 1)
    convert = _conversion(op, source_kind, target_kind)
    source = _narrow_source(op, op.operands[1], source_kind)
    target = op.target_of(op.operands[0], target_kind, loose=True)

    def run(t: Threads, m: Mask) -> None:
        with np.errstate(all="ignore"):
            t.put(target, convert(source(t)), m)

    return run


def _narrow_source(op: Op, operand: Operand, kind: str) -> Callable[[Threads], np.ndarray]:
    """An operand as a `kind`, of which the register may be wider."""
    place = op.place(operand, WIDTHS[kind], loose=True)
    row, dtype = place.row, DTYPES[kind]
    if place.width == WIDTHS[kind]:
        return lambda t: t.rows[kind][row]
    whole, narrow = f"b{place.width}", f"u{WIDTHS[kind] // 8}"
    return lambda t: t.rows[whole][row].astype(narrow).view(dtype)


def _conversion(op: Op, source: str, target: str) -> Convert:
    mode = op.one_of(*TO_WHOLE, *DIRECTIONS)
    ftz, saturates = op.flag("ftz"), op.flag("sat")
    convert = _between(op, source, target, mode)
    if ftz and "f32" in (source, target):
        inner = convert
        before: Convert = numbers.flushed if source == "f32" else lambda x: x
        after: Convert = numbers.flushed if target == "f32" else lambda x: x
        convert = lambda x: after(inner(before(x)))
    if saturates:
        convert = _limited(convert, source, target)
    return convert


def _limited(convert: Convert, source: str, target: str) -> Convert:
    if target in FLOATS:
        return lambda x: np.fmin(np.fmax(convert(x), 0), 1)
    if source in FLOATS:
        return convert  # which has limits anyway
    info, dtype = np.iinfo(DTYPES[target]), DTYPES[target]

    def limited(x: np.ndarray) -> np.ndarray:
        low, high = max(info.min, np.iinfo(x.dtype).min), min(info.max, np.iinfo(x.dtype).max)
        return np.clip(x, low, high).astype(dtype)

    return limited


def _between(op: Op, source: str, target: str, mode: str) -> Convert:
    kind = np.dtype(DTYPES[target])
    if source == "bf16":
        inner = (lambda x: x) if target == "f32" else _between(op, "f32", target, mode)
        return lambda x: inner(numbers.from_bf16(x))
    if source in FLOATS and target in ALL_INTS:
        if mode not in TO_WHOLE:
            raise op.wrong("says not how it makes an integer")
        return lambda x: numbers.float_to_int(x, mode, kind)
    if source in ALL_INTS and target in ALL_INTS:
        return lambda x: x.astype(kind)
    if target == "bf16":
        if source != "f32":
            raise op.wrong("bf16 is made of f32 alone here")
        return lambda x: numbers.to_bf16(x, mode)
    if source in ALL_INTS:
        return _from_int(op, source, kind, mode)
    return _between_floats(op, source, target, mode, kind)


def _from_int(op: Op, source: str, kind: np.dtype, mode: str) -> Convert:
    if mode not in DIRECTIONS:
        raise op.wrong("says not how it rounds")
    if mode == "rn" and kind != np.float16:
        return lambda x: x.astype(kind)
    if WIDTHS[source] == 64:
        raise op.wrong("this rounding of 64 bits is not known here")
    return lambda x: numbers.narrowed(x.astype("f8"), mode, kind)


def _between_floats(op: Op, source: str, target: str, mode: str, kind: np.dtype) -> Convert:
    narrows = WIDTHS[source] > WIDTHS[target]
    if source == target and mode in TO_WHOLE:
        return lambda x: numbers.to_integral(x, mode)
    if narrows and mode not in DIRECTIONS:
        raise op.wrong("says not how it rounds")
    if narrows:
        return lambda x: numbers.canonical(numbers.narrowed(x.astype("f8"), mode, kind))
    return lambda x: x.astype(kind)


def _pair(op: Op, kind: str) -> Run:
    """Two f32 as the halves of a register, the first one above."""
    half: Target = op.target(0, "b32")
    mode = op.some("rn", "rz")
    high, low = op.sources("f32", 1, 2)

    def narrow(x: np.ndarray) -> np.ndarray:
        if kind == "bf16x2":
            return numbers.to_bf16(x, mode)
        made = numbers.narrowed(x.astype("f8"), mode, np.dtype("f2"))
        return numbers.canonical(np.asarray(made)).view("u2")

    def run(t: Threads, m: Mask) -> None:
        upper, lower = (narrow(t.rows["f32"][row]).astype("u4") for row in (high, low))
        t.put(half, upper << np.uint32(16) | lower, m)

    return run
