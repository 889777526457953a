"""Memory that must not be left: what lies before and behind it faults when it is touched."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np
from numpy.lib.array_utils import byte_bounds


def fenced(size: int, at_end: bool) -> memoryview:
    """`size` bytes that end (or begin) where memory that cannot be touched begins (or ends)."""
    page = mmap.PAGESIZE
    pages = -(-max(size, 1) // page)
    area = mmap.mmap(-1, (pages + 2) * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(area))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    for fence in (0, pages + 1):
        where = ctypes.c_void_p(start + fence * page)
        assert protect(where, ctypes.c_size_t(page), 0) == 0, "mprotect failed"
    first = (pages + 1) * page - size if at_end else page
    return memoryview(area)[first : first + size]


def fenced_copy(array: np.ndarray, at_end: bool) -> np.ndarray:
    """The same array, strides too, in memory that holds its elements and nothing more."""
    if array.size == 0:
        return array
    low, high = byte_bounds(array)
    area = fenced(high - low, at_end)
    copy = np.ndarray(array.shape, array.dtype, area, array.ctypes.data - low, array.strides)
    first = np.frombuffer(area, np.uint8)
    first[:] = np.ctypeslib.as_array((ctypes.c_uint8 * (high - low)).from_address(low))
    return copy
