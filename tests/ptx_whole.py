"""What PTX does with whole numbers, and with bits."""

from __future__ import annotations

import numpy as np
from ptx_plain import BITS, INTS, Function, plain
from ptx_table import DTYPES, Mask, Op, Run, does
from ptx_text import WIDTHS
from ptx_threads import Threads


def quotient(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Towards zero; by zero all bits are set, as a device has it."""
    safe = np.where(y == 0, np.array(1, y.dtype), y)
    if x.dtype.kind == "i":
        quotient = x // safe
        quotient = quotient + ((quotient < 0) & (quotient * safe != x)).astype(x.dtype)
        both = (x % safe != 0) & ((x < 0) != (safe < 0)) & (x // safe == -1)
        quotient = np.where(both, np.array(0, x.dtype), quotient)
    else:
        quotient = x // safe
    return np.where(y == 0, ~np.array(0, x.dtype), quotient)


def _remainder(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.where(y == 0, x, x - quotient(x, y) * y)


@does("rem")
def rem(op: Op) -> Run:
    return plain(op, op.kind(*INTS), _remainder, 2)


def _high(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The upper half of a product."""
    size = x.dtype.itemsize
    if size < 8:
        wide = np.dtype(f"{x.dtype.kind}{2 * size}")
        return ((x.astype(wide) * y.astype(wide)) >> wide.type(8 * size)).astype(x.dtype)
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    a, b = x.view("u8"), y.view("u8")
    cross = (a & low) * (b & low) >> half
    middle = (a >> half) * (b & low) + cross
    other = (a & low) * (b >> half) + (middle & low)
    top = (a >> half) * (b >> half) + (middle >> half) + (other >> half)
    if x.dtype.kind == "i":
        top = top - np.where(x < 0, b, 0) - np.where(y < 0, a, 0)
    return top.view(x.dtype)


def int_product(op: Op, kind: str) -> Run:
    part = op.some("lo", "hi", "wide")
    if part != "wide":
        return plain(op, kind, np.multiply if part == "lo" else _high, 2)
    return _widened(op, kind, lambda x, y: x * y, (1, 2), ())


def _widened(
    op: Op, kind: str, function: Function, narrow: tuple[int, ...], wide: tuple[int, ...]
) -> Run:
    """A function of narrow operands, read as what is twice as wide, and of wide ones."""
    double = kind[0] + str(2 * WIDTHS[kind])
    few, many = op.sources(kind, *narrow), op.sources(double, *wide)
    target, dtype = op.target(0, double), DTYPES[double]

    def run(t: Threads, m: Mask) -> None:
        given = [t.rows[kind][row].astype(dtype) for row in few]
        t.put(target, function(*given, *(t.rows[double][row] for row in many)), m)

    return run


@does("mad")
def mad(op: Op) -> Run:
    kind = op.kind(*INTS)
    part = op.some("lo", "hi", "wide")
    if part == "wide":
        return _widened(op, kind, lambda x, y, z: x * y + z, (1, 2), (3,))
    product: Function = np.multiply if part == "lo" else _high
    return plain(op, kind, lambda x, y, z: product(x, y) + z, 3)


@does("and", "or", "xor", "not")
def bitwise(op: Op) -> Run:
    name, kind = op.instruction.name, op.kind(*BITS, "pred")
    functions = {"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}
    if name == "not":
        return plain(op, kind, np.invert, 1)
    return plain(op, kind, functions[name], 2)


@does("shl", "shr")
def shift(op: Op) -> Run:
    """By at most all bits: what is more is the same."""
    kind, is_left = op.kind(*BITS, *INTS), op.instruction.name == "shl"
    source, by, target = op.source(1, kind), op.source(2, "b32"), op.target(0, kind)
    most, dtype = np.uint32(WIDTHS[kind]), DTYPES[kind]
    function = np.left_shift if is_left else np.right_shift

    def run(t: Threads, m: Mask) -> None:
        distance = np.minimum(t.rows["b32"][by], most)
        value = t.rows[kind][source]
        if dtype[0] == "i":
            distance = np.minimum(distance, most - np.uint32(1))
            t.put(target, function(value, distance.astype(dtype)), m)
        else:
            shifted = function(value, np.minimum(distance, most - np.uint32(1)).astype(dtype))
            t.put(target, np.where(distance == most, np.array(0, dtype), shifted), m)

    return run


@does("shf")
def funnel(op: Op) -> Run:
    op.kind("b32")
    is_left, wraps = op.some("l", "r") == "l", op.some("wrap", "clamp") == "wrap"

    def shifted(low: np.ndarray, high: np.ndarray, by: np.ndarray) -> np.ndarray:
        n = (by & np.uint32(31) if wraps else np.minimum(by, np.uint32(32))).astype("u8")
        both = high.astype("u8") << np.uint64(32) | low
        made = (both << n) >> np.uint64(32) if is_left else both >> n
        return made.astype("u4")

    return plain(op, "b32", shifted, 3)


@does("bfe")
def bit_field(op: Op) -> Run:
    kind = op.kind("u32", "s32", "u64", "s64")
    source, target = op.source(1, kind), op.target(0, kind)
    start, length = op.sources("b32", 2, 3)
    width = WIDTHS[kind]

    def run(t: Threads, m: Mask) -> None:
        value = t.rows[kind][source]
        at = (t.rows["b32"][start] & np.uint32(255)).astype("i8")
        size = (t.rows["b32"][length] & np.uint32(255)).astype("i8")
        # To the upper end and back, so that the sign comes along.
        left = np.clip(width - at - size, 0, width - 1).astype(value.dtype)
        kept = np.minimum(size, np.maximum(width - at, 0))
        right = np.clip(width - kept, 0, width - 1).astype(value.dtype)
        made = (value << left) >> right
        beyond = value >> value.dtype.type(width - 1) if kind[0] == "s" else value * 0
        t.put(target, np.where(size == 0, value * 0, np.where(at >= width, beyond, made)), m)

    return run


@does("bfi")
def insert_bits(op: Op) -> Run:
    kind = op.kind("b32", "b64")
    given, into = op.sources(kind, 1, 2)
    start, length = op.sources("b32", 3, 4)
    target, dtype, width = op.target(0, kind), DTYPES[kind], WIDTHS[kind]

    def run(t: Threads, m: Mask) -> None:
        at = (t.rows["b32"][start] & np.uint32(255)).astype("u8")
        size = np.minimum((t.rows["b32"][length] & np.uint32(255)).astype("u8"), np.uint64(width))
        every = ~np.array(0, dtype)
        ones = np.where(size == 0, every * 0, every >> (width - np.maximum(size, 1)).astype(dtype))
        mask = np.where(at >= width, ones * 0, ones << np.minimum(at, width - 1).astype(dtype))
        moved = t.rows[kind][given] << np.minimum(at, width - 1).astype(dtype)
        t.put(target, moved & mask | t.rows[kind][into] & ~mask, m)

    return run


@does("prmt")
def permute(op: Op) -> Run:
    op.kind("b32")

    def chosen(x: np.ndarray, y: np.ndarray, which: np.ndarray) -> np.ndarray:
        both = x.astype("u8") | y.astype("u8") << np.uint64(32)
        made = np.zeros_like(both)
        for i in range(4):
            pick = (which >> np.uint32(4 * i)).astype("u8")
            byte = both >> (pick & np.uint64(7)) * np.uint64(8) & np.uint64(255)
            signs = (byte >> np.uint64(7)) * np.uint64(255)
            made |= np.where(pick & np.uint64(8), signs, byte) << np.uint64(8 * i)
        return made.astype("u4")

    return plain(op, "b32", chosen, 3)


def _leading(value: np.ndarray) -> np.ndarray:
    """How many zeros there are above the highest bit that is set."""
    width, count = 8 * value.dtype.itemsize, np.zeros(value.shape, "u4")
    rest = value.copy()
    step = width // 2
    while step:
        is_low = rest >> value.dtype.type(width - step) == 0
        count = np.where(is_low, count + np.uint32(step), count)
        rest = np.where(is_low, rest << value.dtype.type(step), rest)
        step //= 2
    return np.where(value == 0, np.uint32(width), count)


COUNTS: dict[str, Function] = {"popc": np.bitwise_count, "clz": _leading}


@does("popc", "clz")
def count_bits(op: Op) -> Run:
    kind, function = op.kind("b32", "b64"), COUNTS[op.instruction.name]
    source, target = op.source(1, kind), op.target(0, "u32")
    return lambda t, m: t.put(target, function(t.rows[kind][source]), m)


@does("brev")
def reverse_bits(op: Op) -> Run:
    kind = op.kind("b32", "b64")

    def reversed_bits(x: np.ndarray) -> np.ndarray:
        made = np.zeros_like(x)
        for i in range(WIDTHS[kind]):
            made |= (x >> x.dtype.type(i) & x.dtype.type(1)) << x.dtype.type(WIDTHS[kind] - 1 - i)
        return made

    return plain(op, kind, reversed_bits, 1)
