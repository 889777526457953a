"""Functions from outside of the language: called by address from inside a step.

An equation names its function, so that graphs stay text.  What the name stands for in this process
is registered in `FUNCTIONS`: what to call in the interpreter, and the address of machine code.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc import errors
from graphc.build import Value
from graphc.ir import NUMPY_DTYPES, Op, Type, register

Ints = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class External:
    """A function from outside, for operands of given types.

    name       its name in graphs, unique in this process, and the symbol that machine code calls
    reference  on NumPy arrays: a tuple of results, or for a `scalar_call` the result
    address    finds the address of the machine code, when it is first wanted
    checked    whether that code returns a status (i64, 0 for success), or nothing
    vjp        as that of an op, if the function has a gradient
    keep       what must live as long as the machine code may be called
    form       of a `scalar_call` in C that is no plain function of numbers: a letter for each
               operand, `>`, one for each result; d is a double, l an integer given as a double, z
               a complex number, given by its parts.  Several results are written to pointers
    part       which real number of the results is wanted
    shown      what messages call it
    """

    name: str
    reference: Callable[..., Any]
    address: Callable[[], int]
    checked: bool = False
    vjp: Callable[..., tuple[Any, ...]] | None = None
    keep: Any = None
    form: str = ""
    part: int = 0
    shown: str = ""


FUNCTIONS: dict[str, External] = {}
"""A cache: every function that was called in this process, by its name in graphs."""


def unique_name(wanted: str) -> str:
    """A name like `wanted` that no function has yet, and that a symbol may have."""
    plain = "external_" + (re.sub(r"\W", "_", wanted, flags=re.ASCII) or "function")
    return f"{plain}_{len(FUNCTIONS)}"


def wanted_name(name: str) -> str:
    """What `unique_name` was asked for, for people."""
    return name.removeprefix("external_").rpartition("_")[0]


def known(name: str) -> External:
    """The function of that name.  Raises `errors.ExternalError` where this process has none."""
    from graphc.ops import scipy_functions

    function = FUNCTIONS.get(name) or scipy_functions.register(name)
    if function is None:
        raise errors.ExternalError(
            f"no function {name!r} is known in this process; a graph that calls one runs where"
            " gc.call or gc.elementwise made it"
        )
    return function


def type_of(text: str) -> Type:
    """`f64[2,3]` as a type."""
    match = re.fullmatch(r"(\w+)\[([\d,]*)\]", text)
    if match is None or match[1] not in NUMPY_DTYPES:
        raise errors.AttributeValueError(f"no type {text!r}; write it as f64[2,3]")
    return Type(match[1], tuple(map(int, filter(None, match[2].split(",")))))


# ---- calls on whole arrays -----------------------------------------------------------------------


def _infer_call(*operands: Type, function: str, results: tuple[str, ...]) -> tuple[Type, ...]:
    return tuple(type_of(text) for text in results)


def _call_reference(*operands: np.ndarray, function: str, results: tuple[str, ...]) -> Any:
    given = known(function).reference(*operands)
    outs = tuple(
        np.asarray(value, type_of(text).numpy_dtype).reshape(type_of(text).shape)
        for value, text in zip(given, results, strict=True)
    )
    return outs[0] if len(outs) == 1 else outs


call = register(
    Op(
        "call",
        _infer_call,
        _call_reference,
        effect="call",
        doc="The results of an external function, which may do other things, too: it runs as often"
        " as the program says, in order.",
    )
)
pure_call = register(
    Op(
        "pure_call",
        _infer_call,
        _call_reference,
        doc="The results of an external function of its operands alone: it runs as often as they"
        " are needed.",
    )
)

# ---- calls on each element -----------------------------------------------------------------------


def _infer_scalar_call(*operands: Type, function: str, result: str) -> tuple[Type, ...]:
    if not operands or any(type.shape != operands[0].shape for type in operands):
        listed = ", ".join(map(str, operands))
        raise errors.ShapeError(f"scalar_call needs operands of one shape, not {listed}")
    if result not in NUMPY_DTYPES:
        raise errors.DTypeError(f"scalar_call: no dtype {result!r}")
    return (operands[0].with_dtype(result),)


def _scalar_call_reference(*operands: np.ndarray, function: str, result: str) -> Any:
    return np.asarray(known(function).reference(*operands), NUMPY_DTYPES[result])


def _scalar_call_vjp(
    g: Value, out: Value, *ins: Value, function: str, result: str
) -> tuple[Any, ...]:
    found = known(function)
    if found.vjp is None:
        repair = "give gc.elementwise one (derivative=...)"
        if found.shown:
            repair = f"make it part of a gc.custom_vjp, or of {repair.removeprefix('give ')}"
        raise errors.GradientError(
            f"{found.shown or function} has no derivative that is known: {repair}", None
        )
    return found.vjp(g, out, *ins)


scalar_call = register(
    Op(
        "scalar_call",
        _infer_scalar_call,
        _scalar_call_reference,
        _scalar_call_vjp,
        elementwise=True,
        doc="An external function of one number from each operand, for each element.",
    )
)

CALLS = frozenset({call, pure_call})
"""Ops that a step runs as calls of their own, outside of kernels."""
EXTERNAL = CALLS | {scalar_call}
