"""Sizes as numbers, and buffers in bytes: code for a device is made for fixed ones."""

from __future__ import annotations

from collections.abc import Iterable

from graphc import errors
from graphc.dims import Size
from graphc.runtime.kernel import Kernel
from graphc.runtime.llvm.elements import memory_elem
from graphc.runtime.llvm.registers import BITS


def whole(size: Size) -> int:
    """A size that is a number.

    Raises `errors.DeviceOperationError` if it is only known by a name.
    """
    if isinstance(size, int):
        return size
    raise errors.DeviceOperationError(
        f"kernels for a device have fixed sizes, and {size} is not one; bind it to a number first"
    )


def wholes(sizes: Iterable[Size]) -> tuple[int, ...]:
    return tuple(map(whole, sizes))


def nbytes_of(kernel: Kernel, buffer: int) -> int:
    """The bytes of a buffer, with what keeps the next one aligned."""
    b = kernel.buffers[buffer]
    return -(-b.size * BITS[memory_elem(b.dtype)] // 8 // 16) * 16
