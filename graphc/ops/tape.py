"""Tapes: what a loop of unknown length leaves for its backward, record by record.

A tape is a value like any other: `push` gives a new tape, on which the old one still lies, and
`pop` gives back the tape before.  So these ops are pure.  A step's tapes are freed when it ends.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc import errors
from graphc.build import Value
from graphc.ir import DIFFERENTIABLE, TAPE, Op, Type, register


def _as_scalar(value: Any) -> np.ndarray:
    """Any Python object as an array without axes."""
    array = np.empty((), object)
    array[()] = value
    return array


def _expect_tape(name: str, type: Type) -> None:
    if type != TAPE:
        raise errors.DTypeError(f"{name} takes a tape, not {type}")


empty_tape = register(
    Op(
        "empty_tape",
        lambda: (TAPE,),
        lambda: _as_scalar(None),
        doc="The tape without records.",
    )
)

# ---- push and pop --------------------------------------------------------------------------------


def _infer_push(tape: Type, *values: Type) -> tuple[Type, ...]:
    _expect_tape("push", tape)
    return (TAPE,)


def _push_vjp(g: Value, out: Value, tape: Value, *values: Value) -> tuple[Any, ...]:
    """The cotangent of a tape is a tape: of the cotangents of the records."""
    floats = [value.type for value in values if value.dtype in DIFFERENTIABLE]
    below, *cotangents = g.builder.emit(pop, (g.atom,), record(floats))
    of_floats = iter(cotangents)
    return (
        below,
        *(next(of_floats) if value.dtype in DIFFERENTIABLE else None for value in values),
    )


push = register(
    Op(
        "push",
        _infer_push,
        lambda tape, *values: _as_scalar((tape, values)),
        _push_vjp,
        doc="The tape with one more record, of any number of values.",
    )
)


def record(types: list[Type]) -> dict[str, Any]:
    """The attributes of a `pop` whose record has values of these types."""
    return {
        "dtypes": tuple(type.dtype for type in types),
        "shapes": tuple(type.shape for type in types),
    }


def _infer_pop(
    tape: Type, *, dtypes: tuple[str, ...], shapes: tuple[tuple[int, ...], ...]
) -> tuple[Type, ...]:
    _expect_tape("pop", tape)
    return (TAPE, *(Type(*pair) for pair in zip(dtypes, shapes, strict=True)))


def _pop_reference(
    tape: np.ndarray, dtypes: tuple[str, ...], shapes: tuple[tuple[int, ...], ...]
) -> tuple[Any, ...]:
    types = [Type(*pair) for pair in zip(dtypes, shapes, strict=True)]
    below, values = tape[()] or (None, ())
    found = [(value.dtype, value.shape) for value in values]
    if below is None or found != [(type.numpy_dtype, type.shape) for type in types]:
        raise errors.TapeError("pop: the tape is empty, or its last record has other types")
    return (below, *values)


def _pop_vjp(g: tuple[Value, ...], out: Any, tape: Value, **types: Any) -> tuple[Any, ...]:
    below, *values = g
    floats = [value.atom for value in values if value.dtype in DIFFERENTIABLE]
    return (below.builder.emit(push, (below.atom, *floats))[0],)


pop = register(
    Op(
        "pop",
        _infer_pop,
        _pop_reference,
        _pop_vjp,
        doc="The tape without its last record, and the values of that record.",
    )
)

# ---- is_empty ------------------------------------------------------------------------------------


def _infer_is_empty(tape: Type) -> tuple[Type, ...]:
    _expect_tape("is_empty", tape)
    return (Type("bool"),)


is_empty = register(
    Op(
        "is_empty",
        _infer_is_empty,
        lambda tape: np.array(tape[()] is None),
        doc="Whether the tape has no records.",
    )
)

TAPE_OPS = frozenset({empty_tape, push, pop, is_empty})
