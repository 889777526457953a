"""LLVM values as text: registers and constants, scalars or vectors of `lanes` elements."""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence
from typing import NamedTuple

from graphc.rounding import narrow_bits

BITS = {"float": 32, "double": 64, "i1": 1, "i8": 8, "i16": 16, "i32": 32, "i64": 64}
UNSIGNED = {f"u{bits}": f"i{bits}" for bits in (8, 16, 32, 64)}
"""Element types that count from zero upwards: to LLVM the same words as others."""
WORDS = {**UNSIGNED, "f16": "i16", "bf16": "i16"}
"""Element types of graphc's own, and the words that LLVM sees: floats of 16 bits are only moved."""
BITS |= {"half": 16, **{elem: BITS[word] for elem, word in WORDS.items()}}


class Reg(NamedTuple):
    """An LLVM value: how it is written, its element type, and its number of lanes."""

    text: str
    elem: str
    lanes: int = 1

    @property
    def type(self) -> str:
        return type_name(self.elem, self.lanes)

    @property
    def typed(self) -> str:
        return f"{type_name(self.elem, self.lanes)} {self.text}"


def llvm_elem(elem: str) -> str:
    """What LLVM calls an element type."""
    return WORDS.get(elem, elem)


@functools.cache
def type_name(elem: str, lanes: int = 1) -> str:
    name = llvm_elem(elem)
    return name if lanes == 1 else f"<{lanes} x {name}>"


def float_text(value: float, elem: str) -> str:
    """A float constant in LLVM's exact hexadecimal form (of the double that it equals)."""
    if elem == "float":
        value = _round_to_f32(value)
    return "0x" + struct.pack(">d", value).hex().upper()


def _round_to_f32(value: float) -> float:
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def constant(value: bool | int | float, elem: str, lanes: int = 1) -> Reg:
    """A constant, the same in each lane."""
    if elem in ("f16", "bf16"):
        value = narrow_bits(float(value), elem)
    text = float_text(float(value), elem) if elem in ("float", "double") else str(int(value))
    return Reg(text if lanes == 1 else f"splat ({llvm_elem(elem)} {text})", elem, lanes)


def lane_constants(values: Sequence[int], elem: str) -> Reg:
    """A vector constant with its own integer in each lane."""
    return _lane_constants(tuple(values), elem)


@functools.lru_cache(1024)
def _lane_constants(values: tuple[int, ...], elem: str) -> Reg:
    if len(values) == 1:
        return constant(values[0], elem)
    name = llvm_elem(elem)
    return Reg("<" + ", ".join(f"{name} {v}" for v in values) + ">", elem, len(values))
