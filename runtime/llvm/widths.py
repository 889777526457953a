"""How many elements a vector loop takes at once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from graphc.ir import Type
from graphc.ops.costs import cost
from graphc.runtime.kernel import Blocks, Compute, Kernel, Loop, Product, Statement
from graphc.runtime.llvm.target import HostTarget
from graphc.runtime.sizes import large

SIDE_BY_SIDE = 4
"""Registers that are worked on at once where one would leave the processor waiting."""

LONG_COST, LONG_COST_WITH_TOTALS, MANY_ELEMENTS = 15, 20, 4096
"""From one elementary function on a chain is long, or a little more where totals are kept as well;
fewer elements do not repay the larger code."""


def lanes_for(kernel: Kernel, target: HostTarget) -> int:
    """One full register of the widest dtype that the kernel touches, or several side by side.

    Several where columns are added up: each row is read in longer runs.  And in loops with long
    chains of dependent operations: a processor looks only some hundred instructions ahead, so that
    it finds independent ones only if they stand next to each other.
    """
    lanes = lanes_of_register(kernel, target)
    is_wide = bool(kernel.domain) and large(kernel.domain[-1]) >= SIDE_BY_SIDE * lanes
    if is_wide and (_adds_columns(kernel.body, False) or _is_long_chain(kernel)):
        return SIDE_BY_SIDE * lanes
    return lanes


def lanes_of_register(kernel: Kernel, target: HostTarget) -> int:
    """How many elements of the widest dtype that the kernel touches one register holds.

    What is kept in 8 or 16 bits and computed in more counts as 32: its vectors are then one
    register in the arithmetic, and part of one in memory.
    """
    widest = max((Type(b.dtype).nbytes for b in kernel.buffers), default=4)
    if widest < 4:
        computed = (s.out.dtype for s in _below(kernel.body) if isinstance(s, Compute))
        widest = min(4, max((widest, *(Type(dtype).nbytes for dtype in computed))))
    return target.vector_bytes // widest


def _adds_columns(statements: Sequence[Statement], inside: bool) -> bool:
    """Whether a vector loop holds a loop that accumulates, lane by lane."""
    return any(
        isinstance(s, Loop)
        and ((inside and bool(s.accumulators)) or _adds_columns(s.body, inside or s.vector))
        for s in statements
    )


def _is_long_chain(kernel: Kernel) -> bool:
    statements = list(_below(kernel.body))
    if any(isinstance(s, Product) for s in statements):
        return False
    has_totals = any(isinstance(s, Loop) and s.accumulators for s in statements)
    long = LONG_COST_WITH_TOTALS if has_totals else LONG_COST
    spent = sum(cost(s.op) for s in statements if isinstance(s, Compute))
    return spent >= long and large(math.prod(kernel.domain)) >= MANY_ELEMENTS


def _below(statements: Sequence[Statement]) -> Iterator[Statement]:
    """The statements and all that is nested in them."""
    for statement in statements:
        yield statement
        if isinstance(statement, Loop | Blocks):
            yield from _below(statement.body)
