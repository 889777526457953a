"""Arrays in and out as DLPack capsules: the memory is shared, nothing is copied.

The structures are those of the DLPack standard, which producers and consumers agree on.  A capsule
that nobody took frees its tensor itself; one that was taken is renamed and freed by its taker.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from graphc.ir import DTYPE_NAMES, bfloat16

CPU, CUDA, CUDA_MANAGED = 1, 2, 13
_CODES = {"i": 0, "u": 1, "f": 2, "c": 5, "b": 6}
_KINDS = {code: kind for kind, code in _CODES.items()}
_BFLOAT = 4
_NAME, _VERSIONED_NAME = b"dltensor", b"dltensor_versioned"
VERSION = (1, 0)
"""What we read: versions from 1 on say whether memory may be written to."""


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_kind", ctypes.c_int32),
        ("device_number", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Managed(ctypes.Structure):
    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter))


class _Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", _Deleter),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


_READ_ONLY = 1
"""Of the flags."""


class Shared(NamedTuple):
    """What a capsule says of its memory; `strides` are in elements, None for row-major order, and
    nobody may write where it `is_constant`."""

    address: int
    device_kind: int
    device_number: int
    dtype: np.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    is_constant: bool = False


# ---- reading a capsule ---------------------------------------------------------------------------

_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
_is_named = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_IsValid", ctypes.pythonapi)
)


def read(capsule: Any) -> Shared:
    """What a capsule holds, which must stay alive as long as its memory is used.

    Raises `ValueError` for what is no capsule of a tensor, and `TypeError` for elements that NumPy
    has no dtype for.
    """
    flags = 0
    if _is_named(capsule, _VERSIONED_NAME):
        managed = _Versioned.from_address(_pointer(capsule, _VERSIONED_NAME))
        tensor, flags = managed.tensor, managed.flags
    else:
        tensor = _Managed.from_address(_pointer(capsule, _NAME)).tensor
    dtype = _dtype(tensor.code, tensor.bits, tensor.lanes)
    shape = tuple(tensor.shape[i] for i in range(tensor.ndim))
    strides = tuple(tensor.strides[i] for i in range(tensor.ndim)) if tensor.strides else None
    start = (tensor.data or 0) + tensor.byte_offset
    device = tensor.device_kind, tensor.device_number
    return Shared(start, *device, dtype, shape, strides, bool(flags & _READ_ONLY))


def _dtype(code: int, bits: int, lanes: int) -> np.dtype:
    if (code, bits, lanes) == (_BFLOAT, 16, 1):
        return bfloat16()
    if code not in _KINDS or lanes != 1 or bits % 8:
        raise TypeError(f"elements of DLPack's code {code} with {bits} bits")
    return np.dtype(f"{_KINDS[code]}{bits // 8}")


# ---- making one ----------------------------------------------------------------------------------

_kept: dict[int, Any] = {}
"""What each tensor that is out there needs: its structures, and the owner of its memory."""


def _forget(address: int) -> None:
    _kept.pop(address, None)


_deleter = _Deleter(_forget)


_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_IsValid", ctypes.pythonapi)
)
_address_in = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
_Destructor = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
_new: Callable[..., Any] = ctypes.PYFUNCTYPE(
    ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, _Destructor
)(("PyCapsule_New", ctypes.pythonapi))


def _drop(capsule: int) -> None:
    # The capsule is dying: it is dealt with as an address, so that no reference to it is made.
    if _is_valid(capsule, _NAME):
        _forget(_address_in(capsule, _NAME))


_destructor = _Destructor(_drop)


def row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    """How many elements apart neighbours along each axis lie.

    >>> row_major((2, 3, 4))
    (12, 4, 1)
    """
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def capsule(shared: Shared, owner: Any) -> Any:
    """A capsule of memory that `owner` keeps alive.  Raises `BufferError` for an unknown dtype."""
    is_bfloat = DTYPE_NAMES.get(shared.dtype) == "bf16"
    code = _BFLOAT if is_bfloat else _CODES.get(shared.dtype.kind)
    if code is None:
        raise BufferError(f"DLPack has no elements of dtype {shared.dtype}")
    rank = len(shared.shape)
    numbers = ctypes.c_int64 * max(rank, 1)
    shape = numbers(*shared.shape)
    strides = numbers(*(shared.strides or row_major(shared.shape)))
    managed = _Managed()
    managed.tensor = _Tensor(
        shared.address or None,
        shared.device_kind,
        shared.device_number,
        rank,
        code,
        8 * shared.dtype.itemsize,
        1,
        ctypes.cast(shape, ctypes.POINTER(ctypes.c_int64)),
        ctypes.cast(strides, ctypes.POINTER(ctypes.c_int64)),
        0,
    )
    managed.deleter = _deleter
    address = ctypes.addressof(managed)
    _kept[address] = (managed, shape, strides, owner)
    return _new(address, _NAME, _destructor)
