"""Run rows of the scalar table on arrays: each becomes a loop, many share one module."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphc.ir import NUMPY_DTYPES
from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.jit import compile_text
from graphc.runtime.llvm.math import ELEMS, SCALARS
from graphc.runtime.llvm.module import Module
from graphc.runtime.llvm.registers import Reg, constant

POINTER = ctypes.c_void_p


@dataclass(frozen=True)
class Row:
    """One row of the table for given dtypes."""

    op: str
    ins: tuple[str, ...]
    out: str
    attrs: Mapping[str, Any] = field(default_factory=dict)
    constants: tuple[float, ...] = ()
    """Further operands, known when compiled."""


Kernel = Callable[..., np.ndarray]


def compile_rows(rows: Sequence[Row], lanes: int, flags: str = "") -> list[Kernel]:
    """A NumPy-like function for each row."""
    text, names = write_rows(rows, lanes, flags)
    machine = compile_text(text)
    return [_callable(machine, row, name, lanes) for row, name in zip(rows, names, strict=True)]


def write_rows(rows: Sequence[Row], lanes: int, flags: str = "") -> tuple[str, list[str]]:
    """The module's text, and the name of the function of each row."""
    module = Module()
    # The engine wants names that no other module of this process has.
    names = [f"row{next(_serial)}_{row.op}" for row in rows]
    for row, name in zip(rows, names, strict=True):
        _define(module, row, name, lanes, flags)
    return str(module), names


_serial = itertools.count()


def _define(module: Module, row: Row, name: str, lanes: int, flags: str) -> None:
    pointers = [Reg(f"%p{i}", "ptr") for i in range(len(row.ins) + 1)]
    count = Reg("%count", "i64")
    f = Function(module, name, [*pointers, count], linkage="", flags=flags)
    with f.loop(constant(0, "i64"), count, lanes) as loop:
        operands = [
            _load(f, pointer, dtype, loop.index, lanes)
            for pointer, dtype in zip(pointers, row.ins, strict=False)
        ]
        operands += [f.const(value, operands[0]) for value in row.constants]
        result = SCALARS[row.op](f, *operands, **row.attrs)
        assert (result.elem, result.lanes) == (ELEMS[row.out], lanes)
        assert f.flags == flags
        _store(f, result, pointers[-1], loop.index)
    f.line("ret void")
    module.add(f)


def _load(f: Function, pointer: Reg, dtype: str, index: Reg, lanes: int) -> Reg:
    if dtype != "bool":
        return f.load(f.offset(pointer, ELEMS[dtype], index), ELEMS[dtype], lanes)
    byte = f.load(f.offset(pointer, "i8", index), "i8", lanes)
    return f.icmp("ne", byte, f.const(0, byte))


def _store(f: Function, value: Reg, pointer: Reg, index: Reg) -> None:
    if value.elem == "i1":
        value = f.convert("zext", value, "i8")
    f.store(value, f.offset(pointer, value.elem, index))


def _callable(machine: Any, row: Row, name: str, lanes: int) -> Kernel:
    signature = ctypes.CFUNCTYPE(None, *[POINTER] * (len(row.ins) + 1), ctypes.c_int64)
    native = signature(machine.address(name))

    def kernel(*arrays: np.ndarray) -> np.ndarray:
        size = arrays[0].size
        padding = (0, -size % lanes)
        for array, dtype in zip(arrays, row.ins, strict=True):
            assert array.dtype == NUMPY_DTYPES[dtype]
        padded = [np.pad(np.ascontiguousarray(a), padding) for a in arrays]
        out = np.empty(padded[0].size, NUMPY_DTYPES[row.out])
        if size:
            native(*(a.ctypes.data for a in padded), out.ctypes.data, out.size)
        return out[:size]

    kernel.machine = machine  # type: ignore[attr-defined]  # the code lives as long as this
    return kernel


def pairs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every value with every value."""
    first, second = np.meshgrid(values, values)
    return first.ravel(), second.ravel()


def bit_patterns(dtype: str, count: int, seed: int) -> np.ndarray:
    """Numbers of every exponent, NaN and infinity among them."""
    kind = NUMPY_DTYPES[dtype]
    return np.frombuffer(np.random.default_rng(seed).bytes(count * kind.itemsize), kind)
