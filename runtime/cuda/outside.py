"""Functions of this machine that a step on a device calls, on copies of what lies there."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence

import numpy as np

from graphc.ir import ITEM_BYTES
from graphc.ops import external
from graphc.runtime.cuda.session import Session
from graphc.runtime.program import Foreign, Place


def call_outside(
    session: Session, foreign: Foreign, operands: Sequence[int], results: Sequence[int]
) -> int:
    """Call the function on copies of the operands at these addresses of the device, and copy its
    results there.  Its status: 0, if it is not one that says that it failed."""
    given = [np.empty(_bytes_of(place), np.uint8) for place in foreign.operands]
    made = [np.empty(place.root.nbytes, np.uint8) for place in foreign.results]
    for array, address in zip(given, operands, strict=True):
        if array.size:
            session.read(array, address)
    arrays = (*given, *made)
    kind = ctypes.c_int64 if foreign.checked else None
    signature = ctypes.CFUNCTYPE(kind, *([ctypes.c_void_p] * len(arrays)))
    function = signature(external.known(foreign.function).address())
    with session.lent():
        status = function(*(array.ctypes.data for array in arrays))
    if foreign.checked and status:
        return int(status)
    for array, address in zip(made, results, strict=True):
        if array.size:
            session.device.upload(address, array)
    return 0


def _bytes_of(place: Place) -> int:
    return math.prod(map(int, place.layout.shape)) * ITEM_BYTES[place.root.dtype]
