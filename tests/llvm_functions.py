"""Small functions written by hand, compiled and called through ctypes."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable, Sequence

import numpy as np

from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.jit import compile_text
from graphc.runtime.llvm.module import Module
from graphc.runtime.llvm.registers import Reg

_NUMBERS = itertools.count()


def call(body: Callable[[Function, Sequence[Reg]], None], *arrays: np.ndarray) -> None:
    """Run a function whose parameters are the addresses of the arrays."""
    module = Module()
    parameters = [Reg(f"%p{i}", "ptr") for i in range(len(arrays))]
    # The engine wants names that no other module of this process has.
    f = Function(module, f"by_hand_{next(_NUMBERS)}", parameters, linkage="")
    body(f, parameters)
    f.line("ret void")
    module.add(f)
    machine = compile_text(str(module))
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(arrays))
    kind(machine.address(f.name))(*(array.ctypes.data for array in arrays))
