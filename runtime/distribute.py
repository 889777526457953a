"""One loop over many arrays as several over few, where they have nothing to do with each other.

Before:  for i0 < 640 { a[i0] = f(b[i0]); c[i0] = g(d[i0]) }     (but with many arrays)
After:   for i0 < 640 { a[i0] = f(b[i0]) }  for i0 < 640 { c[i0] = g(d[i0]) }

A processor reads ahead along a dozen or so arrays at once; an optimiser's step over twenty tensors
touches seventy.  Sound because no statement of one loop needs a value of another, and what may be
overwritten is decided afterwards, on the loops in their new order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from graphc.runtime.kernel import (
    Compute,
    Index,
    Kernel,
    Load,
    Loop,
    Statement,
    Store,
    reads,
)

MOST_ARRAYS = 8
"""How many accesses to arrays one loop has, where it can be divided."""


def distribute(kernel: Kernel) -> Kernel:
    """The kernel with its outermost loops divided."""
    body = tuple(part for statement in kernel.body for part in _divided(statement))
    return kernel._replace(body=body)


def _divided(statement: Statement) -> Iterator[Statement]:
    if not isinstance(statement, Loop) or not _is_plain(statement):
        yield statement
        return
    bundles: list[list[int]] = []
    for component in _components(statement.body):
        joined = [*bundles[-1], *component] if bundles else component
        if bundles and _arrays(statement.body, joined) <= MOST_ARRAYS:
            bundles[-1] = joined
        else:
            bundles.append(component)
    for bundle in bundles:
        yield statement._replace(body=tuple(statement.body[i] for i in sorted(bundle)))


def _is_plain(loop: Loop) -> bool:
    """Whether the loop holds nothing but reading, computing and storing."""
    return not loop.accumulators and all(
        isinstance(s, Load | Compute | Index | Store) for s in loop.body
    )


def _arrays(body: Sequence[Statement], positions: Sequence[int]) -> int:
    return sum(isinstance(body[i], Load | Store) for i in positions)


def _components(body: Sequence[Statement]) -> list[list[int]]:
    """The statements that values connect with each other, by position, in the body's order."""
    made = {s.out: i for i, s in enumerate(body) if isinstance(s, Load | Compute | Index)}
    root = list(range(len(body)))

    def find(i: int) -> int:
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    for i, statement in enumerate(body):
        for name in reads(statement):
            if name in made:
                root[find(i)] = find(made[name])
    components: dict[int, list[int]] = {}
    for i in range(len(body)):
        components.setdefault(find(i), []).append(i)
    return list(components.values())
