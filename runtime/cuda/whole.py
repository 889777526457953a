"""Sizes as numbers: code for a device is made for fixed ones."""

from __future__ import annotations

from collections.abc import Iterable

from graphc import errors
from graphc.dims import Size


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
