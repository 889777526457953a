"""Elements in memory."""

from __future__ import annotations

from graphc.runtime.llvm.math import ELEMS


def memory_elem(dtype: str) -> str:
    """The LLVM type of an element in memory: a bool is a byte there."""
    return "i8" if dtype == "bool" else ELEMS[dtype]
