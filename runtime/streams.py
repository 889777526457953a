"""Results that are written past the caches.

What a kernel stores is first read into the cache, line by line, and pushes other lines out of it.
Where the arrays of a kernel fill the last cache, its results are gone from there before anybody can
read them; written straight to memory they cost half the traffic.  That holds for results that the
step itself does not read again.  A store past the caches takes whole lines from where one begins:
whether a vector does that is asked where the code runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from graphc.runtime.kernel import Buffer, Kernel, Load, inner
from graphc.runtime.program import Branch, Call, Item, Program, Root, parts

WORTH = 8
"""The part of the cache from which on a result is worth it: 1/8."""


def with_streams(program: Program, last_cache: int) -> Program:
    """The program with those results marked; `last_cache` is its size in bytes, 0 for never."""
    if not last_cache:
        return program
    uses = Counter(_uses(program.items))
    return program._replace(items=tuple(_items(program.items, last_cache, uses)))


def _uses(items: Sequence[Item]) -> Iterator[Root]:
    """The memory that kernels read or write, once for each."""
    for item in items:
        if isinstance(item, Call):
            yield from {memory for root in item.roots for memory in root.memories()}
        for part in parts(item):
            yield from _uses(part)


def _items(items: Sequence[Item], last_cache: int, uses: Counter[Root]) -> Iterator[Item]:
    """Not inside of loops, whose iterations read what others wrote."""
    for item in items:
        match item:
            case Call():
                yield item._replace(kernel=_marked(item, last_cache, uses))
            case Branch(then=then, otherwise=otherwise):
                yield item._replace(
                    then=tuple(_items(then, last_cache, uses)),
                    otherwise=tuple(_items(otherwise, last_cache, uses)),
                )
            case _:
                yield item


def _marked(call: Call, last_cache: int, uses: Counter[Root]) -> Kernel:
    kernel = call.kernel
    if not _fills(call, last_cache):
        return kernel
    loaded = {s.access.buffer for s in inner(kernel.body) if isinstance(s, Load)}
    buffers = [
        buffer._replace(
            streams=_is_result(buffer, root, call, uses)
            and i not in loaded
            and root.nbytes * WORTH >= last_cache
        )
        for i, (buffer, root) in enumerate(zip(kernel.buffers, call.roots, strict=True))
    ]
    return kernel._replace(buffers=tuple(buffers))


def _fills(call: Call, last_cache: int) -> bool:
    """Whether the memory that a kernel touches is known to fill the cache."""
    sizes = [root.nbytes for root in dict.fromkeys(call.roots) if root not in call.scratch]
    return all(isinstance(size, int) for size in sizes) and sum(sizes) >= last_cache


def _is_result(buffer: Buffer, root: Root, call: Call, uses: Counter[Root]) -> bool:
    """Whether fresh memory is written here, once, and read by nobody before the step has ended."""
    is_fresh = buffer.role == "out" and root.kind == "result"
    return is_fresh and uses[root] == 1 and call.roots.count(root) == 1
