"""Text at run time: `print`, and the message of a check that names values.

The text of an equation is a tuple of pieces: a string, or `(shape, conversion, spec)` for a value.
Its shape says how the operands make up the value, so that it prints as it does in plain Python:

    "array" "scalar" "number"      the next operand, as an ndarray, a NumPy scalar, a Python number
    ("complex", shape)             one of these whose parts are the next two operands
    ("list", shape, ...)           a list; also "tuple"; ("dict", key, shape, ...); ("const", value)

Machine code calls back into Python, in order, at each equation.
"""

from __future__ import annotations

import ctypes
import hashlib
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from graphc import errors
from graphc.ir import Eqn, Op, Type, register
from graphc.ops import complexes, external
from graphc.ops.external import FUNCTIONS, External

STREAMS = ("stdout", "stderr")
_CONVERSIONS: dict[str, Callable[[Any], str]] = {"s": str, "r": repr, "a": ascii}

# ---- text ----------------------------------------------------------------------------------------


def render(text: Sequence[Any], operands: Sequence[np.ndarray]) -> str:
    """The text with its values."""
    values = iter(operands)
    return "".join(piece if isinstance(piece, str) else _formatted(piece, values) for piece in text)


def _formatted(piece: tuple[Any, ...], values: Iterator[np.ndarray]) -> str:
    shape, conversion, spec = piece
    value = _made(shape, values)
    if conversion == "%":
        return str(spec % (value,))
    if conversion:
        value = _CONVERSIONS[conversion](value)
    return format(value, spec)


def _made(shape: Any, values: Iterator[np.ndarray]) -> Any:
    if isinstance(shape, str):
        array = next(values)
        if shape == "array":
            return array
        return array[()].item() if shape == "number" else array[()]
    kind, *parts = shape
    if kind == "complex":
        return _made(parts[0], iter([complexes.joined(next(values), next(values))]))
    if kind == "const":
        return parts[0]
    if kind == "dict":
        keys, shapes = parts[::2], parts[1::2]
        return {key: _made(part, values) for key, part in zip(keys, shapes, strict=True)}
    made = [_made(part, values) for part in parts]
    return made if kind == "list" else tuple(made)


# ---- the ops -------------------------------------------------------------------------------------


def _infer_print(*operands: Type, text: tuple[Any, ...], stream: str) -> tuple[Type, ...]:
    if stream not in STREAMS:
        raise errors.AttributeValueError(f"print: no stream {stream!r}; stdout or stderr")
    return ()


def _print_reference(*operands: Any, text: tuple[Any, ...], stream: str) -> tuple[()]:
    getattr(sys, stream).write(render(text, [np.asarray(x) for x in operands]))
    return ()


print_ = register(
    Op(
        "print",
        _infer_print,
        _print_reference,
        effect="print",
        doc="Write `text` with the operands in it to a stream of the process.",
    )
)


class _Described(threading.local):
    text = ""


_described = _Described()
"""The text that the last `describe` of this thread made: of the check that fails next."""


def _infer_describe(*operands: Type, text: tuple[Any, ...]) -> tuple[Type, ...]:
    return ()


def _describe_reference(*operands: Any, text: tuple[Any, ...]) -> tuple[()]:
    _described.text = render(text, [np.asarray(x) for x in operands])
    return ()


describe = register(
    Op(
        "describe",
        _infer_describe,
        _describe_reference,
        effect="print",
        doc="Make the message of the check that fails next, one whose own message is `DESCRIBED`.",
    )
)

DESCRIBED = "{described}"


def described(message: str) -> str:
    """The message of a check that failed, with the text that was made for it."""
    return message.replace(DESCRIBED, _described.text)


# ---- in machine code -----------------------------------------------------------------------------

FOREIGN = external.CALLS | {print_, describe}
"""Ops that a step runs as calls of functions outside of it."""


def function_of(eqn: Eqn) -> External:
    """The external function that machine code calls for an equation of one of the `FOREIGN` ops."""
    if eqn.op in external.EXTERNAL:
        return external.known(eqn.attrs["function"])
    types = tuple(atom.type for atom in eqn.ins)
    content = repr((eqn.op.name, types, sorted(eqn.attrs.items())))
    name = f"external_{eqn.op.name}_{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    if name not in FUNCTIONS:
        FUNCTIONS[name] = _callback(name, eqn, types)
    return FUNCTIONS[name]


def _callback(name: str, eqn: Eqn, types: Sequence[Type]) -> External:
    reference, attrs = eqn.op.reference, dict(eqn.attrs)

    def call(*addresses: int) -> None:
        reference(*(_array_at(a, t) for a, t in zip(addresses, types, strict=True)), **attrs)

    pointer = ctypes.CFUNCTYPE(None, *([ctypes.c_void_p] * len(types)))(call)
    address = ctypes.cast(pointer, ctypes.c_void_p).value or 0
    return External(name, lambda *ins: reference(*ins, **attrs), lambda: address, keep=pointer)


def _array_at(address: int, type: Type) -> np.ndarray:
    """A copy of what lies at an address."""
    raw = ctypes.string_at(address, type.nbytes) if type.nbytes else b""
    return np.frombuffer(raw, type.numpy_dtype).reshape(type.shape).copy()
