"""Run rows of the scalar table on arrays: each becomes a loop, many share one module."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphc.ir import NUMPY_DTYPES
from graphc.runtime.llvm.builder import Function, Module, Reg, constant
from graphc.runtime.llvm.jit import compile_text
from graphc.runtime.llvm.math import ELEMS, SCALARS

POINTER = ctypes.c_void_p


@dataclass(frozen=True)
class Row:
    """One row of the table for given dtypes."""

    op: str
    ins: tuple[str, ...]
    out: str
    attrs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def symbol(self) -> str:
        return f"row_{self.op}_{'_'.join(self.ins)}_{self.out}"


Kernel = Callable[..., np.ndarray]


def compile_rows(rows: Sequence[Row], lanes: int, flags: str = "") -> list[Kernel]:
    """A NumPy-like function for each row."""
    module = Module()
    for row in rows:
        _define(module, row, lanes, flags)
    machine = compile_text(str(module))
    return [_callable(machine, row, lanes) for row in rows]


def _define(module: Module, row: Row, lanes: int, flags: str) -> None:
    pointers = [Reg(f"%p{i}", "ptr") for i in range(len(row.ins) + 1)]
    count = Reg("%count", "i64")
    f = Function(module, row.symbol, [*pointers, count], linkage="", flags=flags)
    with f.loop(constant(0, "i64"), count, lanes) as loop:
        operands = [
            _load(f, pointer, dtype, loop.index, lanes)
            for pointer, dtype in zip(pointers, row.ins, strict=False)
        ]
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


def _callable(machine: Any, row: Row, lanes: int) -> Kernel:
    signature = ctypes.CFUNCTYPE(None, *[POINTER] * (len(row.ins) + 1), ctypes.c_int64)
    native = signature(machine.address(row.symbol))

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
