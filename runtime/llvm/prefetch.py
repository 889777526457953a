"""What to fetch from memory before it is asked for.

A kernel over rows reads a row in its first loop and finds it in the cache in the others, which
leaves the memory idle meanwhile: the processor itself fetches ahead within a page, but a row is
about a page, and the next one is not asked for until this one is done.
"""

from __future__ import annotations

from graphc.dims import Size
from graphc.runtime.kernel import Access, Kernel, Loop
from graphc.runtime.near_rows import readers

LINE = 64
"""The bytes of a cache line."""


def rows_ahead(kernel: Kernel) -> dict[int, dict[Access, Size]]:
    """In which vector loop to ask for the next row of what, and how many elements on it is.

    By the `id` of the loop: the first one that reads the row, so that the memory is busy until the
    last one, which writes results and keeps it busy with those.
    """
    found: dict[int, dict[Access, Size]] = {}
    for outer in kernel.body:
        if isinstance(outer, Loop) and not outer.vector and len(outer.axes) == 1:
            last = [inner for inner in outer.body if isinstance(inner, Loop) and inner.vector][-1:]
            for access, loops in readers(kernel, outer).items():
                step = access.strides[outer.axes[0]]
                if step and loops[0] is not last[0]:
                    found.setdefault(id(loops[0]), {})[access] = step
    return found
