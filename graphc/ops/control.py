"""Operations that hold graphs: a conditional, two kinds of loop, and a group of fused operations.

`held_operands` says what each of them passes to the graphs that it holds: the one place that passes
ask before they carry what is known about an operand into a held graph.
"""

from __future__ import annotations

from typing import Any

from graphc import errors
from graphc.dims import Dim, Shape, Size, surely_less
from graphc.ir import Atom, Eqn, Graph, Op, Type, register


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


# ---- loops ---------------------------------------------------------------------------------------


def _expect_region(op: str, label: str, graph: Graph, takes: tuple[Type, ...]) -> None:
    if graph.in_types != takes:
        raise errors.ShapeError(
            f"{op}: {label} takes {_listed(graph.in_types)}, the loop gives it {_listed(takes)}"
        )


def _expect_count(op: str, name: str, count: int, operands: int) -> None:
    if type(count) is not int or not 0 <= count <= operands:
        raise errors.ShapeError(
            f"{op}: {name}={count!r}; it counts operands, of which there are {operands}"
        )


def _expect_carried(op: str, initial: tuple[Type, ...], after: tuple[Type, ...]) -> None:
    """What one iteration leaves is what the next one, and the loop's result, starts from."""
    if after[: len(initial)] != initial:
        raise errors.ShapeError(
            f"{op}: the carried values are {_listed(initial)} before an iteration and"
            f" {_listed(after[: len(initial)])} after it; a carried value keeps its type"
        )


def _infer_while(*operands: Type, carried: int, test: Graph, body: Graph) -> tuple[Type, ...]:
    _expect_count("while", "carried", carried, len(operands))
    _expect_region("while", "test", test, operands)
    _expect_region("while", "body", body, operands)
    if test.out_types != (Type("bool"),):
        raise errors.ShapeError(f"while: test returns {_listed(test.out_types)}, not (bool[])")
    if len(body.outs) != carried:
        raise errors.ShapeError(
            f"while: body returns {len(body.outs)} value(s) and carries {carried}"
        )
    _expect_carried("while", operands[:carried], body.out_types)
    return operands[:carried]


while_ = register(
    Op(
        "while",
        _infer_while,
        _needs_interpreter,
        doc="While graph `test` holds of the carried values (the first `carried` operands) and the"
        " constants (the others), graph `body` gives the next carried values; the last of them are"
        " the results.",
    )
)


def _infer_scan(
    *operands: Type, carried: int, sequences: int, length: Size, reverse: bool, body: Graph
) -> tuple[Type, ...]:
    _expect_count("scan", "carried", carried, len(operands))
    _expect_count("scan", "sequences", sequences, len(operands) - carried)
    if type(length) not in (int, Dim) or surely_less(length, 0):
        raise errors.ShapeError(f"scan: length={length!r}; it is an int from 0 upwards, or a size")
    if type(reverse) is not bool:
        raise errors.ShapeError(f"scan: reverse={reverse!r}; it is true or false")
    initial = operands[:carried]
    sliced = tuple(_slice_of(type, length) for type in operands[carried : carried + sequences])
    constants = operands[carried + sequences :]
    _expect_region("scan", "body", body, (Type("i64"), *initial, *sliced, *constants))
    if len(body.outs) < carried:
        raise errors.ShapeError(
            f"scan: body returns {len(body.outs)} value(s) and carries {carried}"
        )
    _expect_carried("scan", initial, body.out_types)
    stacked = (Type(type.dtype, (length, *type.shape)) for type in body.out_types[carried:])
    return (*initial, *stacked)


def _slice_of(sequence: Type, length: Size) -> Type:
    if sequence.shape[:1] != (length,):
        raise errors.ShapeError(
            f"scan: a sequence is {sequence}; its first axis has the length {length}"
        )
    return Type(sequence.dtype, sequence.shape[1:])


scan = register(
    Op(
        "scan",
        _infer_scan,
        _needs_interpreter,
        doc="Run graph `body` `length` times: on the index (i64[]), the carried values (the first"
        " `carried` operands), the slice at that index of each of `sequences` operands, and the"
        " constants (the others).  It returns the next carried values, and a slice of each stacked"
        " result.  The results are the last carried values and the stacked ones.  With `reverse`"
        " the index runs from length - 1 down to 0.",
    )
)


# ---- gradients of one's own ----------------------------------------------------------------------


def _infer_called(op: str, operands: tuple[Type, ...], body: Graph) -> tuple[Type, ...]:
    _expect_region(op, "body", body, operands)
    return body.out_types


def _infer_checkpoint(*operands: Type, body: Graph) -> tuple[Type, ...]:
    return _infer_called("checkpoint", operands, body)


checkpoint = register(
    Op(
        "checkpoint",
        _infer_checkpoint,
        _needs_interpreter,
        doc="What graph `body` gives.  Its backward keeps the operands alone and runs it again.",
    )
)


def _infer_again(*operands: Type, body: Graph) -> tuple[Type, ...]:
    return _infer_called("again", operands, body)


again = register(
    Op(
        "again",
        _infer_again,
        _needs_interpreter,
        doc="What graph `body` gives, computed here and at no other place: the backward of a"
        " `checkpoint`, of which no pass may find that its values are known.",
    )
)


def _infer_custom(
    *operands: Type, body: Graph, forward: Graph, backward: Graph
) -> tuple[Type, ...]:
    outs = _infer_called("custom", operands, body)
    _expect_region("custom", "forward", forward, operands)
    if forward.out_types[: len(outs)] != outs:
        raise errors.ShapeError(
            f"custom: forward returns {_listed(forward.out_types)}, body {_listed(outs)};"
            " forward returns what body does, and after it what backward reads"
        )
    _expect_region("custom", "backward", backward, (*forward.out_types[len(outs) :], *outs))
    if backward.out_types != operands:
        raise errors.ShapeError(
            f"custom: backward returns {_listed(backward.out_types)}, the operands are"
            f" {_listed(operands)}"
        )
    return outs


custom = register(
    Op(
        "custom",
        _infer_custom,
        _needs_interpreter,
        doc="What graph `body` gives.  Where it is differentiated, `forward` runs in its place; the"
        " values that it returns beyond the results, and the cotangents of the results, go to"
        " `backward`, which gives the cotangents of the operands.",
    )
)


def held_operands(eqn: Eqn, label: str) -> tuple[Atom | None, ...]:
    """For each parameter of the graph that `eqn` holds as `label`, the operand that it always is.

    None for what changes from one iteration to the next.
    """
    if eqn.op is cond:
        return eqn.ins[1:]
    if eqn.op is while_:
        carried: int = eqn.attrs["carried"]
        return (*(None,) * carried, *eqn.ins[carried:])
    if label == "backward":
        return (None,) * len(eqn.attrs["backward"].params)
    if eqn.op is scan:
        changing: int = eqn.attrs["carried"] + eqn.attrs["sequences"]
        return (*(None,) * (1 + changing), *eqn.ins[changing:])
    return eqn.ins


# ---- kernels -------------------------------------------------------------------------------------


def _infer_fused(
    *operands: Type,
    body: Graph,
    kind: str,
    domain: Shape = (),
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

CALLS = frozenset({checkpoint, again, custom, fused})
"""The ops that run graph `body` on their operands, once."""

HOLDING = frozenset({cond, while_, scan, *CALLS})
"""The ops that hold graphs, which the interpreter runs itself."""
