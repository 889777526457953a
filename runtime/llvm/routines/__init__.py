"""Routines: functions that a kernel calls on contiguous memory, each emitted once in a module.

`ROUTINES[name](f, dtype, *arguments)` writes the body of a function on pointers; numbers and
options are constants, so that the routine is written for these sizes.  Those of `ANY_SIZE` also
take numbers that are known when they run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphc.runtime.llvm.builder import Function
from graphc.runtime.llvm.registers import Reg
from graphc.runtime.llvm.routines import any_length, lapack, radix, running, sorting, transpose

Routine = Callable[..., None]

ROUTINES: dict[str, Routine] = {
    **running.TABLE,
    **sorting.TABLE,
    **radix.TABLE,
    **lapack.TABLE,
    **transpose.TABLE,
    **any_length.TABLE,
}

ANY_SIZE = frozenset({*running.TABLE, *any_length.TABLE, "last_writer"})
"""Routines whose sizes may be registers."""


def call_routine(
    f: Function, routine: str, dtype: str, arguments: Sequence[Reg | int | str]
) -> None:
    """Call a routine, defining it where the module does not have it yet."""
    constants = [str(a) for a in arguments if not isinstance(a, Reg)]
    shape = "".join(_letter(a) for a in arguments)
    name = "_".join((routine, dtype, shape, *constants)).replace("-", "m")
    if name not in f.module.functions:
        _define(f, name, routine, dtype, arguments)
    f.call(name, [a for a in arguments if isinstance(a, Reg)])


def _letter(argument: Reg | int | str) -> str:
    """A pointer, a number that is known when the routine runs, or a constant."""
    if isinstance(argument, Reg):
        return "p" if argument.elem == "ptr" else "n"
    return "c"


def _define(
    f: Function, name: str, routine: str, dtype: str, arguments: Sequence[Reg | int | str]
) -> None:
    own: list[Any] = [
        Reg(f"%p{i}", a.elem) if isinstance(a, Reg) else a for i, a in enumerate(arguments)
    ]
    inner = Function(f.module, name, [a for a in own if isinstance(a, Reg)])
    ROUTINES[routine](inner, dtype, *own)
    inner.line("ret void")
    f.module.add(inner)
