"""Calls of LAPACK, through the function pointers that scipy gives out.

LAPACK is Fortran: every argument is a pointer, matrices lie column by column.  A routine here is a
wrapper that puts its numbers and options into memory and calls the library.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

from graphc import errors
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.jit import add_symbols
from graphc.runtime.llvm.registers import Reg, constant

LETTERS = {"f32": "s", "f64": "d", "c64": "c", "c128": "z"}

NAMES = (
    *("getrf", "gesv", "potrf", "geqrf", "orgqr", "ungqr", "syevd", "heevd", "geev", "gesdd"),
    "trtrs",
)
"""The routines that may be called, without the letter of their dtype."""


def symbol(routine: str, dtype: str) -> str:
    """The name by which machine code calls a routine."""
    return f"graphc_lapack_{LETTERS[dtype]}{routine}"


def provide(text: str) -> None:
    """Make the routines that LLVM IR text or object code names known to the linker.

    Raises `errors.MissingLibraryError` if scipy is not installed.
    """
    if "graphc_lapack_" not in text:
        return
    used = [(r, d) for r in NAMES for d in LETTERS if symbol(r, d) in text]
    add_symbols({symbol(r, d): _address(LETTERS[d] + r) for r, d in used})


@functools.cache
def _address(name: str) -> int:
    try:
        from scipy.linalg import cython_lapack  # type: ignore[import-untyped]
    except ImportError:
        raise errors.MissingLibraryError(
            f"LAPACK ({name}) comes with scipy, which is not installed;"
            " pip install graphc-compiler[linalg]"
        ) from None
    capsule = cython_lapack.__pyx_capi__[name]
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype = ctypes.c_char_p
    api.PyCapsule_GetName.argtypes = [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    return int(api.PyCapsule_GetPointer(capsule, api.PyCapsule_GetName(capsule)))


def _routine(name: str) -> Callable[..., None]:
    def emit(f: Function, dtype: str, *arguments: Reg | int | str) -> None:
        pointers = [a if isinstance(a, Reg) else _in_memory(f, a) for a in arguments]
        f.module.declare(symbol(name, dtype), "void", ["ptr"] * len(pointers))
        f.call(symbol(name, dtype), pointers)

    return emit


def _in_memory(f: Function, value: int | str) -> Reg:
    """A number as Fortran's integer, or a letter, on the stack of the wrapper."""
    elem = "i8" if isinstance(value, str) else "i32"
    slot = f.let(f"alloca {elem}, align 8", "ptr")
    f.store(constant(ord(value) if isinstance(value, str) else value, elem), slot)
    return slot


TABLE: dict[str, Callable[..., Any]] = {name: _routine(name) for name in NAMES}
