"""The arena: one block of memory for everything that lives only during a step.

Each temporary gets an offset such that no two that are alive at the same time overlap.  The two
branches of a conditional are laid one after the other in time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from graphc.runtime.program import Branch, Call, Fail, Item, Program, Root

ALIGNMENT = 64
"""Bytes: a cache line, and the widest vector."""


class Arena(NamedTuple):
    """The offset of each temporary in bytes, the size of the whole, and the most alive at once."""

    offsets: Mapping[Root, int]
    nbytes: int
    peak: int


def plan_arena(program: Program) -> Arena:
    """Lay out a program's temporaries, first come, lowest offset first."""
    spans = _lifetimes(program)
    offsets: dict[Root, int] = {}
    alive: list[tuple[int, int, int]] = []
    size = peak = 0
    for root, (first, last) in sorted(spans.items(), key=lambda item: item[1][0]):
        alive = [span for span in alive if span[2] >= first]
        need = -(-max(root.nbytes, 1) // ALIGNMENT) * ALIGNMENT
        offset = _gap(alive, need)
        offsets[root] = offset
        alive.append((offset, offset + need, last))
        size = max(size, offset + need)
        peak = max(peak, sum(end - start for start, end, _ in alive))
    return Arena(offsets, size, peak)


def _gap(alive: Sequence[tuple[int, int, int]], need: int) -> int:
    """The lowest offset at which `need` bytes are free."""
    offset = 0
    for start, end, _ in sorted(alive):
        if start - offset >= need:
            break
        offset = max(offset, end)
    return offset


def _lifetimes(program: Program) -> dict[Root, tuple[int, int]]:
    """The first and the last moment at which each arena root is used."""
    spans: dict[Root, tuple[int, int]] = {}
    for moment, roots in enumerate(_uses(program.items)):
        for root in roots:
            for memory in root.memories():
                if memory.kind == "arena":
                    first, _ = spans.get(memory, (moment, moment))
                    spans[memory] = (first, moment)
    return spans


def _uses(items: Sequence[Item]) -> Iterator[tuple[Root, ...]]:
    """The roots that each moment of the program uses."""
    for item in items:
        match item:
            case Call(roots=roots):
                yield roots
            case Fail(failed=failed, value=value):
                yield failed.root, value.root
            case Branch(predicate=predicate, then=then, otherwise=otherwise, choices=choices):
                yield (predicate.root,)
                yield from _uses(then)
                yield tuple(choice.then[0] for choice in choices)
                yield from _uses(otherwise)
                # What the first branch leaves stays alive through the second: a choice may read it.
                yield tuple(choice.root for choice in choices)
