"""`compiled.address`: a step as a C function, with what a caller needs to know to call it."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphc.ir import Type
from graphc.runtime.failures import failure
from graphc.runtime.llvm.jit import QUICK, compile_text
from graphc.runtime.llvm.native_text import (
    CONTEXT,
    EXPORTED,
    EXPORTED_TEXT,
    NO_ARENA,
)
from graphc.runtime.plan import ALIGNMENT
from graphc.runtime.program import Program

SIGNATURE = "int64_t step(void *const *arguments, void *const *results)"

_FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)


@dataclass(frozen=True)
class Operand:
    """What a pointer points to: elements of `dtype` in row-major order, aligned."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        sizes = "".join(f"[{n}]" for n in self.shape)
        return f"{self.dtype} {self.name}{sizes}"


@dataclass(frozen=True)
class NativeFunction:
    """A compiled step as a C function; made by `compiled.address(...)`.

    address    the address of machine code with the C signature `signature`
    arguments  what each of the pointers `arguments[i]` must point to: arrays, and numbers as
               arrays of one element.  Those that `updates` names are written in place
    results    what each of the pointers `results[i]` must point to, to be filled

    The function returns 0, or a number that `error` explains.  It checks nothing that it is given.
    Any thread may call it, with or without the GIL, and several at once with results of their own.
    It is good for as long as this object lives.
    """

    address: int
    arguments: tuple[Operand, ...]
    results: tuple[Operand, ...]
    updates: tuple[str, ...]
    _program: Program = field(repr=False, compare=False)
    _kept: tuple[Any, ...] = field(repr=False, compare=False)
    """What the machine code uses: itself, the step's, the context, the arena."""

    @property
    def signature(self) -> str:
        """The function's declaration in C."""
        return SIGNATURE

    @property
    def ctypes(self) -> Any:
        """The function for ctypes, and for numba, which can call it from compiled code."""
        return _FUNCTION(self.address)

    def __call__(self, arguments: Sequence[np.ndarray], results: Sequence[np.ndarray]) -> int:
        """Call the function on arrays, as C would; what it returns."""
        tables = [
            (ctypes.c_void_p * max(len(arrays), 1))(*(a.ctypes.data for a in arrays))
            for arrays in (arguments, results)
        ]
        return int(self.ctypes(*map(ctypes.addressof, tables)))

    def error(self, status: int) -> Exception | None:
        """What a call that returned `status` would have raised in Python; None for 0."""
        if status == 0:
            return None
        if status == NO_ARENA:
            return MemoryError("no memory for the temporaries of the step")
        return failure(self._program, status, None)


def export(
    step: int,
    program: Program,
    arguments: Sequence[tuple[str, Type]],
    results: Sequence[tuple[str, Type]],
    constants: Sequence[np.ndarray],
    arena: np.ndarray,
    kept: Any,
) -> NativeFunction:
    """The C function for the step at an address, which it owns the arena of."""
    words = [
        step,
        arena.ctypes.data,
        arena.nbytes + ALIGNMENT,
        len(arguments),
        len(results),
        len(constants),
        *(array.ctypes.data for array in constants),
    ]
    context = (ctypes.c_uint64 * len(words))(*words)
    code = compile_text(EXPORTED_TEXT, QUICK)
    ctypes.c_void_p.from_address(code.global_address(CONTEXT)).value = ctypes.addressof(context)
    return NativeFunction(
        code.address(EXPORTED),
        _operands(arguments),
        _operands(results),
        tuple(arguments[i][0] for i in sorted(program.updated)),
        program,
        (code, kept, context, arena, constants),
    )


def _operands(named: Sequence[tuple[str, Type]]) -> tuple[Operand, ...]:
    return tuple(Operand(name, str(type.numpy_dtype), type.shape) for name, type in named)
