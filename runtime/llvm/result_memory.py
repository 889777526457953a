"""Where large results lie: blocks aligned to a cache line, kept when freed and used again.

A fresh block of many pages costs more than many a step: the system clears each page when it is
first touched.  So while a step's large results are made, NumPy allocates by a handler of our own
(`result_memory_text.py`; NEP 49).  The arrays own their memory as any array does.  It comes back
when the last view of an array is gone, and not before.

The pool of kept blocks belongs to the process and, like the code of the handler, lives until it
ends: arrays may live that long.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from graphc.ir import Type
from graphc.runtime.llvm import numpy_api
from graphc.runtime.llvm.jit import QUICK, Machine, compile_text
from graphc.runtime.llvm.result_memory_text import (
    CLASSES,
    HANDLER,
    LARGE,
    MOST_BITS,
    POOL,
    POOL_FIELDS,
    RESULT_MEMORY_TEXT,
    RINGS,
    SET_LIMIT,
)

MOST_KEPT = 256 << 20
"""Bytes that are kept at most, and no more than 1/16 of this machine's memory, for who says nothing
else (`graphc.kept_memory`)."""


class ResultMemory(NamedTuple):
    """The handler as NumPy takes it (a capsule), NumPy's own, and the pool's code and words."""

    handler: Any
    usual: Any
    machine: Machine

    @property
    def kept(self) -> int:
        """The bytes of the blocks that nobody uses."""
        return self._word("kept")

    @property
    def limit(self) -> int:
        return self._word("limit")

    def set_limit(self, limit: int) -> None:
        """Keep at most so many bytes; what is too much already goes back to the system."""
        function = ctypes.PYFUNCTYPE(None, ctypes.c_size_t)(self.machine.address(SET_LIMIT))
        function(min(max(limit, 0), 1 << MOST_BITS))

    def _word(self, name: str) -> int:
        return _words(self.machine)[POOL_FIELDS.index(name)]


class _Loading:
    """The result memory of this process once it is loaded."""

    done: ResultMemory | None = None


def load() -> ResultMemory:
    """The result memory, made at the first call.

    No lock, as for the entry point: two threads that make it both do no harm.
    """
    if _Loading.done is None:
        _Loading.done = _make()
    return _Loading.done


def _make() -> ResultMemory:
    machine = compile_text(RESULT_MEMORY_TEXT, QUICK)
    capsule = make_capsule(machine.global_address(HANDLER))
    for kept in (machine, capsule):  # until the process ends
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))
    usual = ctypes.py_object.from_address(numpy_api.addresses()["PyDataMem_DefaultHandler"]).value
    _write_pool(machine, usual)
    memory = ResultMemory(capsule, usual, machine)
    memory.set_limit(usual_limit())
    return memory


def _words(machine: Machine) -> ctypes.Array[ctypes.c_size_t]:
    """The pool's words, one for each of `POOL_FIELDS`."""
    return (ctypes.c_size_t * len(POOL_FIELDS)).from_address(machine.global_address(POOL))


def _write_pool(machine: Machine, usual: Any) -> None:
    """An empty pool over the allocator of the handler `usual`."""
    allocator = handler_of(usual)
    _words(machine)[:] = [0, 0, 0, allocator.context, allocator.malloc, allocator.free]
    first = machine.global_address(RINGS)
    links = (ctypes.c_size_t * (2 * (CLASSES + 1))).from_address(first)
    links[:] = [first + 16 * (i // 2) for i in range(len(links))]


def usual_limit() -> int:
    """The bytes that are kept at most, as this machine's memory says."""
    if not hasattr(os, "sysconf"):
        return MOST_KEPT
    return min(MOST_KEPT, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 16)


# ---- handlers as NumPy has them ------------------------------------------------------------------


class Handler(ctypes.Structure):
    """NumPy's PyDataMem_Handler: four C functions, and what they get as their first argument."""

    _fields_ = [
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("context", ctypes.c_size_t),
        ("malloc", ctypes.c_size_t),
        ("calloc", ctypes.c_size_t),
        ("realloc", ctypes.c_size_t),
        ("free", ctypes.c_size_t),
    ]


_CAPSULE_NAME = b"mem_handler"


def make_capsule(handler: int) -> Any:
    """The handler at an address, as an object that NumPy takes."""
    make = ctypes.pythonapi.PyCapsule_New
    make.restype = ctypes.py_object
    make.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    return make(handler, _CAPSULE_NAME, None)


def handler_of(capsule: Any) -> Handler:
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype = ctypes.c_void_p
    get.argtypes = [ctypes.py_object, ctypes.c_char_p]
    return Handler.from_address(get(capsule, _CAPSULE_NAME))


def set_handler(capsule: Any) -> Any:
    """Have NumPy allocate arrays by another handler, in this context: the one before it."""
    function = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(
        numpy_api.addresses()["PyDataMem_SetHandler"]
    )
    return function(capsule)


# ---- arrays --------------------------------------------------------------------------------------


def is_large(type: Type) -> bool:
    """Whether an array of this type is worth a block that is kept."""
    return bool(type.nbytes >= LARGE)


def empty_arrays(types: Sequence[Type]) -> list[np.ndarray]:
    """Fresh arrays; as the entry point makes them, once that is loaded."""
    if _Loading.done is None or not any(map(is_large, types)):
        return [np.empty(type.shape, type.numpy_dtype) for type in types]
    with _in_use(_Loading.done):
        return [np.empty(type.shape, type.numpy_dtype) for type in types]


@contextmanager
def _in_use(memory: ResultMemory) -> Iterator[None]:
    """NumPy's arrays of this thread lie in `memory`, unless the user has a handler of their own."""
    before = set_handler(memory.handler)
    try:
        if before is not memory.usual:
            set_handler(before)
        yield
    finally:
        set_handler(before)
