"""NumPy's C functions and variables by their place in its table, the same in every version."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

PLACES = {
    "PyArray_Scalar": 60,
    "PyArray_NewFromDescr": 94,
    "PyDataMem_SetHandler": 304,
    "PyDataMem_DefaultHandler": 306,
}


def addresses() -> dict[str, int]:
    """Where each of `PLACES` lies, as any extension module finds it."""
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype = ctypes.c_void_p
    get.argtypes = [ctypes.py_object, ctypes.c_char_p]
    capsule: Any = np._core._multiarray_umath._ARRAY_API  # type: ignore[attr-defined]
    table = (ctypes.c_size_t * (max(PLACES.values()) + 1)).from_address(get(capsule, None))
    return {name: table[place] for name, place in PLACES.items()}
