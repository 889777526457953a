"""Philox-4x32-10 on registers: see `graphc.ops.random`."""

from __future__ import annotations

from collections.abc import Callable

from graphc.ops.random import MULTIPLIERS, ROUNDS, WEYL, WORD
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.registers import Reg


def philox(f: Function, counter: Reg, key0: Reg, key1: Reg, *, domain: int, draw: int) -> Reg:
    """Words of 32 bits, each in 64: their products are then single instructions."""
    half, mask = f.const(32, counter), f.const(WORD, counter)
    c = [f.and_(counter, mask), f.lshr(counter, half), f.const(domain, counter)]
    c.append(f.const(0, counter))
    key = [f.and_(key0, mask), f.and_(key1, mask)]
    for turn in range(ROUNDS):
        first, second = (
            f.mul(c[2 * i], f.const(multiplier, counter))
            for i, multiplier in enumerate(MULTIPLIERS)
        )
        bumped = [
            f.and_(f.add(word, f.const(turn * step, counter)), mask)
            for word, step in zip(key, WEYL, strict=True)
        ]
        c = [
            f.xor(f.xor(f.lshr(second, half), c[1]), bumped[0]),
            f.and_(second, mask),
            f.xor(f.xor(f.lshr(first, half), c[3]), bumped[1]),
            f.and_(first, mask),
        ]
    return f.or_(c[2 * draw], f.shl(c[2 * draw + 1], half))


TABLE: dict[str, Callable[..., Reg]] = {"philox": philox}
