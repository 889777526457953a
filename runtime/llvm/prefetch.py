"""What to fetch from memory before it is asked for.

A kernel over rows reads a row in its first loop and finds it in the cache in the others, which
leaves the memory idle meanwhile: the processor itself fetches ahead within a page, but a row is
about a page, and the next one is not asked for until this one is done.
"""

from __future__ import annotations

from graphc.dims import Size
from graphc.ir import Type
from graphc.runtime.kernel import Access, Buffer, Kernel, Load, Loop
from graphc.runtime.sizes import large

FAR = 1 << 20
"""A buffer of fewer bytes stays in the second cache."""

LINE = 64
"""The bytes of a cache line."""


def rows_ahead(kernel: Kernel) -> dict[int, dict[Access, Size]]:
    """In which vector loop to ask for the next row of what, and how many elements on it is.

    By the `id` of the loop.  Of the loops that read the same row it is the last but one: in the
    last one results are written, and keep the memory busy.
    """
    found: dict[int, dict[Access, Size]] = {}
    for outer in kernel.body:
        if isinstance(outer, Loop) and not outer.vector and len(outer.axes) == 1:
            for access, loops in _readers(kernel, outer).items():
                step = access.strides[outer.axes[0]]
                if step and len(loops) > 1:
                    found.setdefault(id(loops[-2]), {})[access] = step
    return found


def _readers(kernel: Kernel, outer: Loop) -> dict[Access, list[Loop]]:
    """The vector loops that read each row which lies in memory."""
    readers: dict[Access, list[Loop]] = {}
    for inner in outer.body:
        if isinstance(inner, Loop) and inner.vector:
            for access in _rows(kernel, inner):
                readers.setdefault(access, []).append(inner)
    return readers


def _rows(kernel: Kernel, loop: Loop) -> list[Access]:
    """What a vector loop reads element after element, of buffers that are far away."""
    loads = [s for s in loop.body if isinstance(s, Load) and s.position is None]
    return [
        load.access
        for load in loads
        if load.access.strides[loop.axes[-1]] == 1 and _is_far(kernel.buffers[load.access.buffer])
    ]


def _is_far(buffer: Buffer) -> bool:
    return buffer.role == "in" and large(buffer.size) * Type(buffer.dtype).nbytes >= FAR
