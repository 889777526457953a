"""Which kernels of a program for a device the processor runs: decisions alone, no code."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.ops import external
from graphc.runtime.cuda.plan.small_matrices import is_small_matrix
from graphc.runtime.kernel import Compute, Kernel, Native, Statement, inner
from graphc.runtime.llvm.routines import lapack
from graphc.runtime.program import Branch, Call, Item, Program, Repeat


def with_processor(program: Program) -> Program:
    """The program with those kernels marked that no device can run."""
    return program._replace(items=_marked(program.items))


def _marked(items: Sequence[Item]) -> tuple[Item, ...]:
    result: list[Item] = []
    for item in items:
        match item:
            case Call():
                item = item._replace(processor=why_processor(item.kernel))
            case Branch(then=then, otherwise=otherwise):
                item = item._replace(then=_marked(then), otherwise=_marked(otherwise))
            case Repeat(test=test, body=body):
                item = item._replace(test=_marked(test), body=_marked(body))
        result.append(item)
    return tuple(result)


def why_processor(kernel: Kernel) -> str:
    """Why the processor has to run a kernel; "" for what a device can run."""
    called = dict.fromkeys(name for s in inner(kernel.body) if (name := called_here(s)))
    return ", ".join(called)


def called_here(statement: Statement) -> str:
    """What a statement calls that this machine alone has."""
    if is_small_matrix(statement):
        return ""
    if isinstance(statement, Native) and statement.routine in lapack.NAMES:
        return f"LAPACK's {statement.routine}"
    if isinstance(statement, Compute) and statement.op == external.scalar_call.name:
        name = dict(statement.attrs)["function"]
        return external.known(name).shown or external.wanted_name(name)
    return ""
