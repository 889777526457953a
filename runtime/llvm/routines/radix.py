"""Sorting long rows digit by digit, the lowest first: without comparing, and in a stable order.

A number's bits become an unsigned key with the same order, in which NaN comes last.  One pass
counts the digits of every place; then each place takes one pass that moves the keys (or positions)
to where the counts say, back and forth between two arrays such that the last ends in the result.
"""

from __future__ import annotations

from collections.abc import Callable

from graphc.ir import FLOATS, UNSIGNED
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.math import ELEMS
from graphc.runtime.llvm.registers import BITS, Reg, constant

DIGITS = 256
WORDS = {
    "f32": "i32",
    "f64": "i64",
    **{f"{kind}{bits}": f"i{bits}" for kind in "iu" for bits in (8, 16, 32, 64)},
}
NAN = {"f32": 0x7FC00000, "f64": 0x7FF8000000000000}


def places(dtype: str) -> int:
    """How many digits a key has."""
    return BITS[WORDS[dtype]] // 8


def sort(
    f: Function, dtype: str, x: Reg, out: Reg, work: Reg, counts: Reg, size: Reg | int
) -> None:
    """The elements of x in increasing order; keys go back and forth between `out` and `work`."""
    word = WORDS[dtype]
    source, target = _in_turn(dtype, out, work)
    _keys(f, dtype, x, source, size, keep_zeros=True)
    _count(f, word, source, counts, size)
    for place in range(places(dtype)):
        _first_places(f, counts, place)
        with f.loop(_index(0), _index(size), 1) as each:
            key = f.load(f.offset(source, word, each.index), word)
            f.store(key, f.offset(target, word, _next_place(f, counts, place, key)))
        source, target = target, source
    with f.loop(_index(0), _index(size), 1) as each:
        at = f.offset(out, word, each.index)
        f.store(_number(f, dtype, f.load(at, word)), at)


def argsort(
    f: Function, dtype: str, x: Reg, out: Reg, work: Reg, keys: Reg, counts: Reg, size: Reg | int
) -> None:
    """The positions that sort x."""
    word = WORDS[dtype]
    _keys(f, dtype, x, keys, size, keep_zeros=False)
    _count(f, word, keys, counts, size)
    source, target = _in_turn(dtype, out, work)
    with f.loop(_index(0), _index(size), 1) as each:
        f.store(each.index, f.offset(source, "i64", each.index))
    for place in range(places(dtype)):
        _first_places(f, counts, place)
        with f.loop(_index(0), _index(size), 1) as each:
            position = f.load(f.offset(source, "i64", each.index), "i64")
            key = f.load(f.offset(keys, word, position), word)
            f.store(position, f.offset(target, "i64", _next_place(f, counts, place, key)))
        source, target = target, source


def _in_turn(dtype: str, out: Reg, work: Reg) -> tuple[Reg, Reg]:
    """Where the first pass reads and writes, for the last to write to `out`."""
    return (work, out) if places(dtype) % 2 else (out, work)


def _index(value: Reg | int) -> Reg:
    return value if isinstance(value, Reg) else constant(value, "i64")


def _sign(word: str) -> int:
    return -(1 << (BITS[word] - 1))


def _keys(f: Function, dtype: str, x: Reg, keys: Reg, size: Reg | int, keep_zeros: bool) -> None:
    word = WORDS[dtype]
    with f.loop(_index(0), _index(size), 1) as each:
        bits = f.load(f.offset(x, word, each.index), word)
        if dtype in FLOATS:
            number = f.bitcast(bits, ELEMS[dtype])
            if not keep_zeros:  # -0.0 and 0.0 are equal, and equal elements stay in order
                zero = f.fcmp("oeq", number, f.const(0.0, number))
                bits = f.select(zero, f.const(0, bits), bits)
            is_nan = f.fcmp("uno", number, number)
            bits = f.select(is_nan, f.const(NAN[dtype], bits), bits)
            negative = f.icmp("slt", bits, f.const(0, bits))
            mask = f.select(negative, f.const(-1, bits), f.const(_sign(word), bits))
        else:
            mask = f.const(0 if dtype in UNSIGNED else _sign(word), bits)
        f.store(f.xor(bits, mask), f.offset(keys, word, each.index))


def _number(f: Function, dtype: str, key: Reg) -> Reg:
    """The bits of the number that a key stands for."""
    if dtype in UNSIGNED:
        return key
    sign = f.const(_sign(key.elem), key)
    if dtype not in FLOATS:
        return f.xor(key, sign)
    was_negative = f.icmp("sge", key, f.const(0, key))
    return f.xor(key, f.select(was_negative, f.const(-1, key), sign))


def _digit(f: Function, key: Reg, place: int) -> Reg:
    shifted = f.lshr(key, f.const(8 * place, key)) if place else key
    digit = f.and_(shifted, f.const(DIGITS - 1, key))
    return digit if key.elem == "i64" else f.convert("zext", digit, "i64")


def _count(f: Function, word: str, keys: Reg, counts: Reg, size: Reg | int) -> None:
    number = BITS[word] // 8
    with f.loop(_index(0), _index(number * DIGITS), 1) as each:
        f.store(_index(0), f.offset(counts, "i64", each.index))
    with f.loop(_index(0), _index(size), 1) as each:
        key = f.load(f.offset(keys, word, each.index), word)
        for place in range(number):
            at = _of_digit(f, counts, place, _digit(f, key, place))
            f.store(f.add(f.load(at, "i64"), _index(1)), at)


def _of_digit(f: Function, counts: Reg, place: int, digit: Reg) -> Reg:
    return f.offset(f.offset(counts, "i64", _index(place * DIGITS)), "i64", digit)


def _first_places(f: Function, counts: Reg, place: int) -> None:
    """How many elements have a digit becomes where the first of them goes."""
    with f.loop(_index(0), _index(DIGITS), 1, [_index(0)]) as digit:
        at = _of_digit(f, counts, place, digit.index)
        count = f.load(at, "i64")
        f.store(digit.carried[0], at)
        digit.next = [f.add(digit.carried[0], count)]


def _next_place(f: Function, counts: Reg, place: int, key: Reg) -> Reg:
    at = _of_digit(f, counts, place, _digit(f, key, place))
    found = f.load(at, "i64")
    f.store(f.add(found, _index(1)), at)
    return found


TABLE: dict[str, Callable[..., None]] = {"radix_sort": sort, "radix_argsort": argsort}
