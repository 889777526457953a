"""Random bits as a function of a key and a position: counter-based, without state.

The generator is Philox-4x32 with ten rounds (Salmon, Moraes, Dror, Shaw: "Parallel random numbers:
as easy as 1, 2, 3", SC 2011).  Element i of any shape is computed from the key and i alone, so
that the op is elementwise, fuses, and gives the same bits on every target.
"""

from __future__ import annotations

import numpy as np

from graphc import errors
from graphc.ir import Op, Type, register
from graphc.ops.elementwise import expect_arity, expect_same

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
"""What is added to the two words of the key after each round."""
ROUNDS = 10
WORD = 0xFFFFFFFF

Words = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def philox_words(counter: Words, key: tuple[np.ndarray, np.ndarray]) -> Words:
    """Four random words of 32 bits from four of a counter and two of a key, all in uint64."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    mask, half = np.uint64(WORD), np.uint64(32)
    for turn in range(ROUNDS):
        first, second = c0 * np.uint64(MULTIPLIERS[0]), c2 * np.uint64(MULTIPLIERS[1])
        r0, r1 = (k + np.uint64(turn * w) & mask for k, w in zip((k0, k1), WEYL, strict=True))
        c0, c1 = second >> half ^ c1 ^ r0, second & mask
        c2, c3 = first >> half ^ c3 ^ r1, first & mask
    return c0, c1, c2, c3


def _philox_reference(
    counter: np.ndarray, key0: np.ndarray, key1: np.ndarray, domain: int, draw: int
) -> np.ndarray:
    count, mask, half = counter.astype(np.uint64), np.uint64(WORD), np.uint64(32)
    key = tuple(word.astype(np.uint64) & mask for word in (key0, key1))
    zero = np.zeros_like(count)
    with np.errstate(over="ignore"):
        words = philox_words(
            (count & mask, count >> half, zero + np.uint64(domain), zero), (key[0], key[1])
        )
    both: np.ndarray = words[2 * draw] | words[2 * draw + 1] << half
    return both.astype(np.int64)


def _infer_philox(*types: Type, domain: int, draw: int) -> tuple[Type, ...]:
    expect_arity("philox", 3, types)
    expect_same("philox", types)
    if types[0].dtype != "i64":
        raise errors.DTypeError(f"philox takes i64, not {types[0].dtype}")
    if not (0 <= domain <= WORD and draw in (0, 1)):
        raise errors.AttributeValueError(f"philox: no domain {domain} and draw {draw}")
    return (types[0],)


philox = register(
    Op(
        "philox",
        _infer_philox,
        _philox_reference,
        elementwise=True,
        doc="64 random bits from a counter and two words of a key, for each element; `domain` keeps"
        " uses of one key apart, `draw` chooses one of two results.",
    )
)
