"""Operations that hold graphs: a conditional, and a group of fused operations."""

from __future__ import annotations

from typing import Any

from graphc import errors
from graphc.ir import Graph, Op, Type, register


def _infer_cond(predicate: Type, *operands: Type, **branches: Graph) -> tuple[Type, ...]:
    if predicate != Type("bool"):
        raise errors.ShapeError(f"cond: the predicate is bool[], not {predicate}")
    then, otherwise = branches["then"], branches["else"]
    for label, branch in (("then", then), ("else", otherwise)):
        if branch.in_types != operands:
            raise errors.ShapeError(
                f"cond: {label} takes {_listed(branch.in_types)}, the operands are"
                f" {_listed(operands)}"
            )
    if then.out_types != otherwise.out_types:
        raise errors.ShapeError(
            f"cond: branches return different types: then {_listed(then.out_types)},"
            f" else {_listed(otherwise.out_types)}; make both return the same types"
        )
    return then.out_types


def _listed(types: tuple[Type, ...]) -> str:
    return "(" + ", ".join(map(str, types)) + ")"


def _needs_interpreter(*args: Any, **attrs: Any) -> Any:
    raise NotImplementedError("an op that holds graphs is run by the interpreter")


cond = register(
    Op(
        "cond",
        _infer_cond,
        _needs_interpreter,
        doc="Run graph `then` on the operands if the predicate holds, else graph `else`.",
    )
)


def _infer_fused(
    *operands: Type,
    body: Graph,
    kind: str,
    domain: tuple[int, ...] = (),
    reduce: tuple[int, ...] = (),
    maps: tuple[tuple[int | None, ...], ...] = (),
) -> tuple[Type, ...]:
    if body.in_types != operands:
        raise errors.ShapeError(
            f"fused: the body takes {_listed(body.in_types)}, not {_listed(operands)}"
        )
    return body.out_types


fused = register(
    Op(
        "fused",
        _infer_fused,
        _needs_interpreter,
        doc="One kernel: the equations of `body` run as one loop nest.  `kind` says of which sort;"
        " `domain` are the sizes it loops over, `reduce` the axes that reductions combine, and"
        " `maps` say for each equation along which axes of the domain its own axes run.",
    )
)
