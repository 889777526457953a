"""Kernels of the operations that run as routines: a loop over rows or matrices, a call for each.

Operands and results are contiguous.  What a routine is called with is a row of `_SCHEDULES`; what
it does, `llvm/routines` says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from graphc.dims import Dim, Size
from graphc.ir import Eqn, Type
from graphc.runtime import schedule_lapack, schedule_lapack_complex
from graphc.runtime.kernel import Kernel, Native, Statement
from graphc.runtime.routine_calls import Calls
from graphc.runtime.sizes import same


def schedule_native(name: str, eqn: Eqn, offsets: Sequence[Size]) -> Kernel:
    """The kernel of a `fused` equation of kind "native"; `offsets` are those of its operands and
    results in their memory."""
    calls = Calls(eqn, offsets)
    statements = _SCHEDULES[calls.eqn.op.name](calls)
    return calls.kernel(name, statements)


LONG_ROW = 256
"""Rows from this length on are sorted by digits, shorter ones by merging."""
DIGITS = 256
"""The values of a byte."""


def _rows(x: Type) -> tuple[Any, Any]:
    return math.prod(x.shape[:-1]), x.shape[-1]


def _along_axis(calls: Calls) -> list[Statement]:
    """Running operations: parts before the axis, rows along it, columns behind it."""
    eqn = calls.eqn
    shape, axis = eqn.out.type.shape, eqn.attrs["axis"]
    rows, columns = shape[axis], math.prod(shape[axis + 1 :])
    calls.count = math.prod(shape[:axis]) if rows and columns else 0
    step = rows * columns
    operands = [calls.operand(i, step) for i in range(len(eqn.ins))]
    sizes = (rows, columns, int(eqn.attrs["reverse"]))
    arguments = (*operands, calls.result(step), *sizes)
    return [Native(eqn.op.name, eqn.out.type.dtype, arguments)]


def _sort(calls: Calls) -> list[Statement]:
    x = calls.eqn.ins[0].type
    rows, size = _rows(x)
    calls.count = rows if size else 0
    name, dtype = calls.eqn.op.name, calls.eqn.out.type.dtype
    arrays = [calls.operand(0, size), calls.result(size), calls.scratch(dtype, size)]
    if not isinstance(size, Dim) and size < LONG_ROW:
        return [Native(name, x.dtype, (*arrays, size))]
    if name == "argsort":
        arrays.append(calls.scratch(x.dtype, size))
    counts = calls.scratch("i64", DIGITS * x.numpy_dtype.itemsize)
    routine = f"{name}_any" if isinstance(size, Dim) else f"radix_{name}"
    return [Native(routine, x.dtype, (*arrays, counts, size))]


def _searchsorted(calls: Calls) -> list[Statement]:
    table, x = (atom.type for atom in calls.eqn.ins)
    calls.count = x.size
    sizes = (table.size, int(calls.eqn.attrs["side"] == "right"))
    arguments = (calls.operand(0, 0), calls.operand(1, 1), calls.result(1), *sizes)
    routine = "searchsorted_any" if isinstance(table.size, Dim) else "searchsorted"
    return [Native(routine, table.dtype, arguments)]


def _last_writer(calls: Calls) -> list[Statement]:
    (positions,) = (atom.type for atom in calls.eqn.ins)
    count = calls.eqn.attrs["count"]
    calls.count = int(not same(count, 0))
    arguments = (calls.operand(0, 0), calls.result(0), positions.size, count)
    return [Native("last_writer", "i64", arguments)]


_SCHEDULES: dict[str, Callable[[Calls], list[Any]]] = {
    **dict.fromkeys(("cumsum", "cumprod", "cummax", "cummin", "recurrence"), _along_axis),
    "sort": _sort,
    "argsort": _sort,
    "searchsorted": _searchsorted,
    "last_writer": _last_writer,
    **schedule_lapack.SCHEDULES,
    **schedule_lapack_complex.SCHEDULES,
}
