"""Routines: functions that a kernel calls on contiguous memory, each emitted once in a module.

`ROUTINES[name](f, dtype, *arguments)` writes the body of a function on pointers; numbers and
options are constants, so that the routine is written for these sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphc.runtime.llvm.builder import Function, Reg
from graphc.runtime.llvm.routines import lapack, radix, running, sorting, transpose

Routine = Callable[..., None]

ROUTINES: dict[str, Routine] = {
    **running.TABLE,
    **sorting.TABLE,
    **radix.TABLE,
    **lapack.TABLE,
    **transpose.TABLE,
}


def call_routine(
    f: Function, routine: str, dtype: str, arguments: Sequence[Reg | int | str]
) -> None:
    """Call a routine, defining it where the module does not have it yet."""
    constants = [str(a) for a in arguments if not isinstance(a, Reg)]
    shape = "".join("p" if isinstance(a, Reg) else "c" for a in arguments)
    name = "_".join((routine, dtype, shape, *constants)).replace("-", "m")
    if name not in f.module.functions:
        _define(f, name, routine, dtype, arguments)
    f.call(name, [a for a in arguments if isinstance(a, Reg)])


def _define(
    f: Function, name: str, routine: str, dtype: str, arguments: Sequence[Reg | int | str]
) -> None:
    own: list[Any] = [
        Reg(f"%p{i}", "ptr") if isinstance(a, Reg) else a for i, a in enumerate(arguments)
    ]
    inner = Function(f.module, name, [a for a in own if isinstance(a, Reg)])
    ROUTINES[routine](inner, dtype, *own)
    inner.line("ret void")
    f.module.add(inner)
