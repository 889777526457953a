"""The native entry point: a built-in function, made of our own machine code, that runs a step.

It takes the arguments as the user gives them.  It walks their tuples, lists, dicts and dataclasses,
compares each array and number with what the step was compiled for (an ndarray's class, dtype, rank,
shape and flags; a number's class), makes the result arrays, releases the GIL, runs the step and
returns the results in the function's own structure, without Python in between: a few hundred
nanoseconds.  Whatever does not fit gives `MISS`, and the caller takes the slow path, which converts
or explains.

There is one piece of code for all steps, `entry_text.py`; what it expects of a step's arguments is
data, the plan that `entry_plan.py` writes in the terms of `entry_layout.py`.

The layout of Python's and NumPy's objects is part of their binary interface; it is checked on real
objects before it is relied on.  Where it differs there is no entry point: every call takes the slow
path.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphc.ir import Type
from graphc.runtime.background import A_MOMENT, Background
from graphc.runtime.calling import Calling
from graphc.runtime.llvm import numpy_api
from graphc.runtime.llvm.entry_layout import (
    CLASS,
    DATA,
    DTYPE,
    FLAGS,
    ITEMS,
    NUMBER,
    RANK,
    RESERVED,
    SHAPE,
    SIZE,
    STRIDES,
)
from graphc.runtime.llvm.entry_plan import plan_words
from graphc.runtime.llvm.entry_text import ENTRY, ENTRY_TEXT
from graphc.runtime.llvm.jit import QUICK, Machine, add_symbols, compile_text

__all__ = ["RESERVED", "is_supported", "native_step", "prepare"]

_METH_FASTCALL_KEYWORDS = 0x80 | 0x02
_PYTHON_API = (
    "PyDict_New",
    "PyDict_Next",
    "PyDict_SetItem",
    "PyErr_Clear",
    "PyEval_RestoreThread",
    "PyEval_SaveThread",
    "PyList_New",
    "PyLong_AsLongLongAndOverflow",
    "PyObject_Call",
    "PyObject_GetAttr",
    "PyObject_RichCompareBool",
    "PyTuple_New",
    "Py_DecRef",
    "Py_IncRef",
)


# ---- the layout of objects -----------------------------------------------------------------------


@functools.cache
def is_supported() -> bool:
    """Whether objects are laid out as this file assumes."""
    arrays: list[np.ndarray] = [
        np.empty((2, 3, 5), np.float32)[:, 1:],
        np.empty((7, 2), np.int64),
        np.empty(4, np.bool_),
        np.empty((1, 1, 3, 2))[..., ::2],
    ]
    scalars = [np.float32(0.1), np.float64(0.1), np.int32(7), np.int64(7), np.bool_(True), 0.1]
    scalars += [np.complex64(0.1 + 2j), np.complex128(0.1 + 2j), 0.1 + 2j]
    return (
        all(_is_laid_out(array) for array in arrays)
        and all(_keeps_number(scalar) for scalar in scalars)
        and _has_parts((1, None, "a"))
        and _has_parts([1, None])
        and all(_word(id(parts) + SIZE) == len(parts) for parts in ({}, {"a": 1, "b": 2}))
    )


def _word(address: int) -> int:
    return ctypes.c_size_t.from_address(address).value


def _is_laid_out(array: np.ndarray) -> bool:
    at = id(array)
    known = (
        _word(at + CLASS) == id(np.ndarray)
        and _word(at + DATA) == array.ctypes.data
        and ctypes.c_int.from_address(at + RANK).value == array.ndim
        and _word(at + DTYPE) == id(array.dtype)
        and ctypes.c_int.from_address(at + FLAGS).value == array.flags.num
    )
    if not known or _word(at + STRIDES) - _word(at + SHAPE) != 8 * array.ndim:
        return False
    sizes = (ctypes.c_ssize_t * array.ndim).from_address(_word(at + SHAPE))
    return tuple(sizes) == array.shape


def _keeps_number(number: Any) -> bool:
    raw = np.array(number)
    return ctypes.string_at(id(number) + NUMBER, raw.nbytes) == raw.tobytes()


def _has_parts(parts: tuple[Any, ...] | list[Any]) -> bool:
    if _word(id(parts) + SIZE) != len(parts):
        return False
    first = id(parts) + ITEMS
    if isinstance(parts, list):
        first = _word(first)
    return all(_word(first + 8 * i) == id(part) for i, part in enumerate(parts))


# ---- from address to function --------------------------------------------------------------------


class _MethodDef(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]


class _EntryPoint(NamedTuple):
    """The linked code, and CPython's description of the function that begins in it."""

    machine: Machine
    definition: _MethodDef


class _Loading:
    """The entry point of this process once it is loaded."""

    done: _EntryPoint | None = None


def prepare() -> None:
    """Begin to load the entry point beside whatever this thread does next."""
    if _Loading.done is None and _loading.thread is None:
        _loading.begin()


def _entry_point() -> _EntryPoint:
    """The code of the entry point; it is never unloaded.

    No lock: two threads that compile it both do no harm, and a forked child, in which the thread
    that was at it does not exist, must not wait for it.
    """
    _loading.wait()
    if _Loading.done is None:
        _load()
        assert _Loading.done is not None
    return _Loading.done


def _load() -> None:
    if is_supported():
        _Loading.done = _make_entry_point()


_loading = Background("graphc entry point", _load, A_MOMENT)


def _make_entry_point() -> _EntryPoint:
    add_symbols(_c_symbols())
    machine = compile_text(ENTRY_TEXT, QUICK)
    definition = _MethodDef(
        b"step", machine.address(ENTRY), _METH_FASTCALL_KEYWORDS, b"a compiled step"
    )
    return _EntryPoint(machine, definition)


def _c_symbols() -> dict[str, int]:
    """The addresses of the C functions that the entry point calls."""
    python = {
        name: ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0
        for name in _PYTHON_API
    }
    return python | numpy_api.addresses()


def native_step(
    calling: Calling,
    results: Sequence[Type],
    constants: Sequence[np.ndarray],
    step: int,
    arena: np.ndarray,
    keep: Any,
) -> Callable[..., Any] | None:
    """The step at the address `step` as a Python function; None where Python is not supported.

    `arena` is the memory for its temporaries, used by one thread at a time: a second caller is sent
    to the slow path.  `keep` lives as long as the function: what the code at `step` belongs to.
    """
    if not is_supported():
        return None
    words, objects = plan_words(calling, results, constants, step, arena)
    return built_in(words, [*objects, keep])


def built_in(words: np.ndarray, keep: Any) -> Callable[..., Any]:
    """The function of a plan."""
    entry_point = _entry_point()
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype = ctypes.py_object
    make.argtypes = [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p]
    function: Callable[..., Any] = make(
        ctypes.addressof(entry_point.definition), (words, keep, entry_point), None
    )
    return function
