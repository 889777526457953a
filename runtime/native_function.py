"""A step as C sees it: its address, and what has to be handed to it."""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

from graphc.ir import Type

Prototype = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
"""`int64_t step(void **arrays, void *arena, void *failing)`"""


class NativeFunction(NamedTuple):
    """A step as C sees it: `int64_t step(void **arrays, void *arena, void *failing)`.

    address      where the machine code begins, good for as long as this object lives
    arguments    the types of the arguments, in order; an updated one is written to
    results      the types of the results that are not updates of an argument
    constants    the addresses of the constant arrays
    arena_bytes  how much working memory it needs

    `arrays` holds the address of the elements of each argument, then of memory for each result,
    then of each constant; arrays are in row-major order and aligned to their dtype, a number is an
    array without axes.  `arena` is memory of `arena_bytes`, aligned to 64 bytes; `failing` is eight
    bytes.  Nothing is checked.  The function gives 0, or -1 where an updated argument overlaps
    another one, or the number of the check that failed, the value that failed it in `failing`.  It
    needs no GIL, and several threads may be in it, each with memory of its own.
    """

    address: int
    arguments: tuple[Type, ...]
    results: tuple[Type, ...]
    constants: tuple[int, ...]
    arena_bytes: int
    keep: Any
    """What must live as long as the code is in use."""

    @property
    def ctypes(self) -> Any:
        """The function for `ctypes`; numba's compiled functions may call it, too."""
        return Prototype(self.address)

    def __repr__(self) -> str:
        takes, gives = (", ".join(map(str, part)) for part in (self.arguments, self.results))
        return f"<native function at {self.address:#x}: ({takes}) -> ({gives})>"
