"""How the turns of a loop fall to the threads of a team: decisions alone, no code."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from graphc.runtime.cuda.plan.device_kernel import VECTOR_BYTES
from graphc.runtime.cuda.plan.mapping import is_spreadable
from graphc.runtime.kernel import (
    Access,
    AddAt,
    Blocks,
    Compute,
    Index,
    Kernel,
    Load,
    Loop,
    Native,
    Product,
    Statement,
    Store,
    Transpose,
    accesses,
    inner,
    is_plain,
)
from graphc.runtime.llvm.elements import memory_elem
from graphc.runtime.llvm.registers import BITS
from graphc.runtime.program import Root

MOST_TURNS = 8
"""Turns of a thread that are written one after the other, with their values in registers."""
MOST_HELD = 96
"""Registers of 32 bits that loaded rows may take."""


class Spread(NamedTuple):
    """How the turns of a loop fall to threads: `lanes` neighbouring elements are one turn."""

    axes: tuple[int, ...]
    sizes: tuple[int, ...]
    lanes: int

    @property
    def turns(self) -> int:
        return math.prod(self.sizes) // self.lanes

    def owns(self, access: Access) -> bool:
        """Whether each turn touches an element of its own."""
        pairs = zip(self.axes, self.sizes, strict=True)
        return all(access.strides[axis] for axis, size in pairs if size > 1)


class Touch(NamedTuple):
    """Memory that is read or written; in the turns of a spread loop, or otherwise."""

    access: Access
    spread: Spread | None
    writes: bool


def spread_of(loop: Loop, sizes: Sequence[int], lanes_at_most: int) -> Spread:
    """The turns of a loop: vectors where it is a vector loop over plain statements."""
    own = tuple(sizes[axis] for axis in loop.axes)
    lanes = lanes_at_most if loop.vector and is_straight(loop.body) else 1
    while own[-1] % lanes:
        lanes //= 2
    return Spread(loop.axes, own, lanes)


def merged(kernel: Kernel, roots: Sequence[Root], statement: Statement) -> Statement:
    """A loop that holds another one, and what that needs, as one over the axes of both, if the
    turns of that may run at the same time; anything else as it is.

    What is computed in the outer loop is computed again in each turn.
    """
    if not isinstance(statement, Loop) or statement.accumulators:
        return statement
    *before, last = statement.body
    last = merged(kernel, roots, last)
    if not isinstance(last, Loop) or last.accumulators:
        return statement
    if not all(isinstance(s, (Load, Compute, Index)) for s in before):
        return statement
    one = Loop((*statement.axes, *last.axes), last.vector, (*before, *last.body))
    return one if is_spreadable(kernel, roots, one) else statement


def is_straight(statements: Sequence[Statement]) -> bool:
    return all(isinstance(s, (Load, Compute, Index, Store)) for s in statements)


def is_held(loop: Loop, spread: Spread, threads: int) -> bool:
    """Whether the turns of each thread are written one after the other, with rows in registers."""
    if not is_straight(loop.body):
        return False
    turns = -(-spread.turns // threads)
    return turns == 1 or (turns <= MOST_TURNS and turns * held_by_turn(loop, spread) <= MOST_HELD)


def held_by_turn(loop: Loop, spread: Spread) -> int:
    """Registers that the elements of a turn take."""
    names = [s.out for s in loop.body if isinstance(s, Load)]
    words = sum(-(-BITS[memory_elem(name.dtype)] // 32) for name in names)
    return spread.lanes * max(words, 1)


def lanes_of_access(kernel: Kernel) -> int:
    """The elements of the widest dtype that a kernel touches which one access may have."""
    return VECTOR_BYTES // max([2, *(BITS[memory_elem(b.dtype)] // 8 for b in kernel.buffers)])


def touches_of(
    kernel: Kernel, statements: Sequence[Statement], spread: Spread | None
) -> list[Touch]:
    """What statements touch, each in the turns of the same loop."""
    found = []
    for statement in inner(statements):
        own = () if isinstance(statement, (Loop, Blocks)) else accesses((statement,))
        for access in own:
            turns = _own_turns(statement, spread)
            found.append(Touch(access, turns, _writes(kernel, statement, access)))
    return found


def _own_turns(statement: Statement, spread: Spread | None) -> Spread | None:
    """None where the element is not that of the turn."""
    plain = isinstance(statement, (Load, Store)) and is_plain(statement)
    return spread if plain else None


def _writes(kernel: Kernel, statement: Statement, access: Access) -> bool:
    match statement:
        case Store() | AddAt():
            return True
        case Transpose(target=target):
            return access == target
        case Native():
            return kernel.buffers[access.buffer].role != "in"
        case Product(epilogue=epilogue):
            return any(isinstance(s, Store) and s.access == access for s in inner(epilogue))
    return False
