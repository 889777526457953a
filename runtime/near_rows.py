"""Rows of large arrays that are read again and again, copied to nearer memory the first time.

A kernel over rows finds a row in the cache when it reads it once more, but where the array lies it
lies: NumPy's large arrays begin 16 bytes behind a cache line, so that each vector of them is in two
lines.  A copy in scratch memory, which is aligned, costs a store for each vector, and none of the
later loops pays for that, nor waits for lines that are still on their way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import count

from graphc.ir import Type
from graphc.runtime.kernel import (
    Access,
    Buffer,
    Kernel,
    Load,
    Loop,
    Statement,
    Store,
    accesses,
    is_plain,
)
from graphc.runtime.program import Branch, Call, Item, Program, Repeat, Root, parts
from graphc.runtime.sizes import large

FAR = 1 << 20
"""A buffer of fewer bytes stays in the second cache."""

WORTH_LOOPS = 2
"""Loops over a row from which on the copy pays."""

NEAR = 32 << 10
"""Bytes that stay in the nearest cache, with room for what else is on its way."""


def with_near_rows(program: Program) -> Program:
    """The program with such copies in its kernels."""
    return with_kernels(program, _call)


Change = Callable[[Call, Iterator[int]], Call]
"""What a call becomes, and numbers for memory that it needs."""


def with_kernels(program: Program, change: Change) -> Program:
    """The program with all its calls of kernels changed."""
    numbers = count(1 + max((root.number for root in _roots(program.items)), default=0))
    return program._replace(items=tuple(_items(program.items, change, numbers)))


def _roots(items: Sequence[Item]) -> Iterator[Root]:
    for item in items:
        if isinstance(item, Call):
            yield from item.roots
        for part in parts(item):
            yield from _roots(part)


def _items(items: Sequence[Item], change: Change, numbers: Iterator[int]) -> Iterator[Item]:
    def changed(part: Sequence[Item]) -> tuple[Item, ...]:
        return tuple(_items(part, change, numbers))

    for item in items:
        match item:
            case Call():
                yield change(item, numbers)
            case Branch(then=then, otherwise=otherwise):
                yield item._replace(then=changed(then), otherwise=changed(otherwise))
            case Repeat(test=test, body=body):
                yield item._replace(test=changed(test), body=changed(body))
            case _:
                yield item


def _call(call: Call, numbers: Iterator[int]) -> Call:
    kernel = copied_rows(call.kernel)
    added = kernel.buffers[len(call.kernel.buffers) :]
    types = [Type(buffer.dtype, (buffer.size,)) for buffer in added]
    scratch = tuple(Root("arena", next(numbers), type.dtype, type.nbytes) for type in types)
    return call._replace(
        kernel=kernel, roots=(*call.roots, *scratch), scratch=(*call.scratch, *scratch)
    )


def copied_rows(kernel: Kernel) -> Kernel:
    """The kernel with a scratch buffer, behind its others, for each row that is worth a copy."""
    buffers, body = list(kernel.buffers), list(kernel.body)
    for i, outer in enumerate(kernel.body):
        if isinstance(outer, Loop):
            for access, loops in readers(kernel, outer).items():
                if _is_worth(kernel, access, loops) and _row_bytes(kernel, outer) <= NEAR:
                    copy = _scratch(kernel, access, loops[0], buffers)
                    body[i] = _copied(body[i], access, copy)
    return kernel._replace(buffers=tuple(buffers), body=tuple(body))


def _is_worth(kernel: Kernel, access: Access, loops: Sequence[Loop]) -> bool:
    """Whether enough loops read the row, and all of them the same elements."""
    axes = loops[0].axes
    if len(loops) < WORTH_LOOPS or len(axes) > 1 or any(loop.axes != axes for loop in loops):
        return False
    loads = _loads(loops, access)
    return all(is_plain(load) for load in loads)


def _row_bytes(kernel: Kernel, outer: Loop) -> int:
    """What the loops over one row touch, with the next row of what lies in memory."""
    touched: dict[Access, int] = {}
    for inner in outer.body:
        if isinstance(inner, Loop):
            length = math.prod(large(kernel.domain[axis]) for axis in inner.axes)
            for access in accesses(inner.body):
                touched[access] = length * Type(kernel.buffers[access.buffer].dtype).nbytes
    ahead = sum(touched.get(access, 0) for access in readers(kernel, outer))
    return sum(touched.values()) + ahead


def _scratch(kernel: Kernel, access: Access, loop: Loop, buffers: list[Buffer]) -> Access:
    """A new buffer for one row."""
    (axis,) = loop.axes
    buffer = kernel.buffers[access.buffer]
    name = f"near{len(buffers)}"
    buffers.append(Buffer(name, buffer.dtype, kernel.domain[axis], "scratch"))
    strides = [0] * len(kernel.domain)
    strides[axis] = 1
    return Access(len(buffers) - 1, 0, tuple(strides))


def _copied(outer: Statement, access: Access, copy: Access) -> Loop:
    """Rows that are copied in the first loop that reads them, and read there in the others."""
    assert isinstance(outer, Loop)
    body: list[Statement] = []
    is_first = True
    for inner in outer.body:
        if isinstance(inner, Loop) and inner.vector and _loads([inner], access):
            body.append((_copying if is_first else _reading)(inner, access, copy))
            is_first = False
        else:
            body.append(inner)
    return outer._replace(body=tuple(body))


def _loads(loops: Sequence[Loop], access: Access) -> list[Load]:
    return [s for loop in loops for s in loop.body if isinstance(s, Load) and s.access == access]


def _copying(loop: Loop, access: Access, copy: Access) -> Loop:
    body: list[Statement] = []
    for statement in loop.body:
        body.append(statement)
        if isinstance(statement, Load) and statement.access == access:
            body.append(Store(copy, statement.out))
    return loop._replace(body=tuple(body))


def _reading(loop: Loop, access: Access, copy: Access) -> Loop:
    return loop._replace(
        body=tuple(
            s._replace(access=copy) if isinstance(s, Load) and s.access == access else s
            for s in loop.body
        )
    )


# ---- rows that lie in memory ---------------------------------------------------------------------


def readers(kernel: Kernel, outer: Loop) -> dict[Access, list[Loop]]:
    """The vector loops that read each row of `outer` which lies in memory, in order."""
    found: dict[Access, list[Loop]] = {}
    for inner in outer.body:
        if isinstance(inner, Loop) and inner.vector:
            for access in dict.fromkeys(_rows(kernel, inner)):
                found.setdefault(access, []).append(inner)
    return found


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
