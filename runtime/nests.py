"""Taking a kernel apart into its loop nests, so that each can be divided along an axis of its own.

Before:  kernel(x, y) { t1 = load x[0]; for i0 { ... t1 ... store y[i0] }; for i1 { ... } }
After:   kernel(x, y) { t1 = load x[0]; for i0 { ... t1 ... store y[i0] } }
         kernel(x) { for i0 { ... } }

Sound because the nests still run one after the other, and what a nest needs from outside of all
loops is computed again in it, from memory that no nest writes.  A kernel of which this cannot be
said (a total that another nest reads) stays whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from graphc.runtime.kernel import (
    AddAt,
    Blocks,
    Compute,
    Index,
    Kernel,
    Load,
    Loop,
    Product,
    Statement,
    Store,
    Transpose,
    accesses,
    inner,
    loop_axes,
    reads,
)
from graphc.runtime.program import Root
from graphc.runtime.renaming import Renaming


class Nest(NamedTuple):
    """A part of a kernel as a kernel, and which of the whole's buffers its own are."""

    kernel: Kernel
    buffers: tuple[int, ...]


def nests(kernel: Kernel, roots: Sequence[Root]) -> list[Nest]:
    """The kernel's loop nests in order; the whole kernel where it cannot be taken apart."""
    whole = [Nest(kernel, tuple(range(len(kernel.buffers))))]
    shared = [s for s in kernel.body if isinstance(s, (Load, Compute, Index))]
    runs = list(_runs(kernel.body))
    if len(runs) < 2 or not _is_separable(kernel, shared, runs, roots):
        return whole
    return [_nest(kernel, [*_needed(shared, run), *run]) for run in runs]


def _runs(body: Iterable[Statement]) -> Iterator[list[Statement]]:
    """Each loop and product by itself, stores outside of loops together."""
    stores: list[Statement] = []
    for statement in body:
        if isinstance(statement, Store):
            stores.append(statement)
        elif not isinstance(statement, (Load, Compute, Index)):
            if stores:
                yield stores
                stores = []
            yield [statement]
    if stores:
        yield stores


def _is_separable(
    kernel: Kernel,
    shared: Sequence[Statement],
    runs: Sequence[Sequence[Statement]],
    roots: Sequence[Root],
) -> bool:
    if any(isinstance(s, Loop) and s.accumulators for run in runs for s in run):
        return False
    if any(not isinstance(s, (Loop, Product, Blocks, Store)) for run in runs for s in run):
        return False
    written = {
        memory
        for s in inner(statement for run in runs for statement in run)
        if isinstance(s, (Store, AddAt, Transpose))
        for access in ((s.target,) if isinstance(s, Transpose) else (s.access,))
        for memory in roots[access.buffer].memories()
    }
    read = {
        memory for access in accesses(tuple(shared)) for memory in roots[access.buffer].memories()
    }
    scratch = [
        {a.buffer for a in accesses(tuple(run)) if kernel.buffers[a.buffer].role == "scratch"}
        for run in runs
    ]
    apart = sum(map(len, scratch)) == len(set().union(*scratch))
    return apart and written.isdisjoint(read)


def _needed(shared: Sequence[Statement], run: Sequence[Statement]) -> list[Statement]:
    """Those of the shared statements, in order, whose values the run needs."""
    wanted = {name.number for statement in inner(run) for name in reads(statement)}
    kept: list[Statement] = []
    for statement in reversed(shared):
        assert isinstance(statement, (Load, Compute, Index))
        if statement.out.number in wanted:
            kept.append(statement)
            wanted.update(name.number for name in reads(statement))
    return kept[::-1]


def as_nest(kernel: Kernel) -> Nest:
    """The whole kernel, without axes and buffers that it does not use."""
    return _nest(kernel, kernel.body)


# ---- a kernel of its own -------------------------------------------------------------------------


def _nest(kernel: Kernel, body: Sequence[Statement]) -> Nest:
    """A kernel of these statements, with only the axes and buffers that they use.

    Equal nests become equal kernels, which share their machine code.
    """
    axes = sorted({axis for statement in inner(body) for axis in loop_axes(statement)})
    buffers = sorted({access.buffer for access in accesses(tuple(body))})
    renaming = Renaming(
        {axis: i for i, axis in enumerate(axes)},
        {b: i for i, b in enumerate(buffers)},
        rank=len(axes),
        values={},
    )
    part = Kernel(
        kernel.name,
        tuple(kernel.domain[axis] for axis in axes),
        tuple(kernel.buffers[b]._replace(name=f"b{i}") for i, b in enumerate(buffers)),
        renaming.statements(body),
    )
    return Nest(part, tuple(buffers))
