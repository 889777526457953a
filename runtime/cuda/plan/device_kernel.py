"""What a kernel becomes on a device: one or more launches of functions in one LLVM module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class DeviceKernel(NamedTuple):
    """A function that `grid` blocks of `block` threads run.

    A launch has a pointer for each buffer of the kernel, in order, and a pointer to the workspace,
    which is 0 where `Launches.workspace_bytes` is 0; after these, in a module whose functions have
    one, the address of the status.  The parameters are those of them that the function touches.
    """

    name: str
    grid: int
    block: int
    touched: tuple[int, ...]
    """Which of the pointers of a launch the parameters are."""
    at_once: int = 0
    """So many blocks are enough at a time: a thread may have the registers that this leaves.  0
    where the assembler is to choose, which has values in memory for the sake of more blocks."""
    products: tuple[str, ...] = ()
    """How it multiplies matrices, in words."""

    def given(self, values: Sequence[T]) -> list[T]:
        """Of something for each pointer of a launch, what belongs to the parameters."""
        return [values[i] for i in self.touched]


class Launches(NamedTuple):
    """What running a kernel once means: these launches one after the other, each seeing what the
    one before it wrote.

    All of them are given the same workspace, of which nothing is expected before the first and
    nothing is needed after the last: kernels that run one after the other may share it.  It begins
    at a multiple of `ALIGNMENT`.
    """

    kernels: tuple[DeviceKernel, ...]
    workspace_bytes: int


ALIGNMENT = 256
"""Of the arena and of what lies in it, of constants, arguments and results, in bytes.  The code
relies on `VECTOR_BYTES`; a device's allocator gives this."""


def aligned(nbytes: int) -> int:
    """The bytes of a place behind which the next one is aligned."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


VECTOR_BYTES = 16
"""The widest access of one thread.  Memory of the kinds "argument", "result", "constant" and
"arena" begins at a multiple of this many bytes; of no other memory is anything assumed."""


class Limits(NamedTuple):
    """How work is divided among threads, blocks and launches.  Any positive numbers are right:
    tests choose small ones so that small arrays take every way through the code."""

    threads: int = 256
    """Threads of a block: a power of two, at least a warp."""
    most_blocks: int = 2048
    """More work than these blocks have is taken in turns."""
    most_workspace: int = 1 << 26
    """Bytes of workspace that may be spent on running more blocks at once."""
    little_work: int = 4096
    """Up to so many turns of loops one block takes all phases of a kernel: a launch costs more."""
    tensor_elems: frozenset[str] = frozenset()
    """The types of elements that tensor cores multiply."""


WARP = 32
"""Threads that run in step, on every device there is."""

SHARED_BYTES = 48 * 1024
"""Shared memory of a block that every device has without being asked for more."""
