"""Numbers, strings, arrays and other attribute values as text, and back."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from graphc.dims import Dim, Size
from graphc.ir import DTYPE_NAMES, DTYPES, FLOATS, NUMPY_DTYPES, Dense, Lit, Type, size_text
from graphc.rounding import nearest, same_float
from graphc.size_text import parse_size
from graphc.verify import NOT_DENSE, holds

READABLE_ELEMENTS = 16
"""Arrays of up to this many elements are printed as numbers, larger ones as base64."""

PLAIN_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")

MAX_DIGITS = 400
"""How long a number may be: Python refuses to print integers of a few thousand digits."""


def literal_text(literal: Lit, implied: Type | None = None) -> str:
    """`0.5:f32[3]`, or `0.5` where the type is implied by the context."""
    number = _number_text(literal.value, literal.type.dtype)
    return number if literal.type == implied else f"{number}:{literal.type}"


def value_text(value: Any) -> str:
    """The text of an attribute's value that is not a graph."""
    if value is None:
        return "none"
    if type(value) is str:
        return _quote(value)
    if type(value) is tuple:
        items = ", ".join(map(value_text, value))
        return f"({items},)" if len(value) == 1 else f"({items})"
    if isinstance(value, Dense) and DTYPE_NAMES.get(value.array.dtype) not in NOT_DENSE:
        return _dense_text(value)
    if isinstance(value, Dim):
        return _size_text(value)
    return _number_text(value, "f64") if type(value) in (bool, int, float) else opaque_text(value)


def _size_text(size: Dim) -> str:
    """A symbolic size among attributes; of a name that has another meaning there, as a product."""
    text = size_text(size)
    return f"1*{text}" if text in CONSTANTS or text in RESERVED else text


def opaque_text(value: object) -> str:
    """Stands for what no graph may hold; `parse` refuses it."""
    return f"<{type(value).__name__}>"


def _number_text(value: float, dtype: str) -> str:
    """The shortest text that reads back as `value` in `dtype`."""
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, float) and dtype in ("f16", "f32"):
        rounded = nearest(value, dtype)
        short = str(NUMPY_DTYPES[dtype].type(rounded))
        # Not so for a value that is not of the dtype, or if NumPy's print options shorten it.
        if same_float(rounded, value) and same_float(nearest(float(short), dtype), value):
            return short
    return repr(float(value) if isinstance(value, float) else value)


def _dense_text(dense: Dense) -> str:
    array = dense.array
    if array.size <= READABLE_ELEMENTS:
        numbers = [_number_text(item, dense.type.dtype) for item in array.reshape(-1).tolist()]
        # NaN has many bit patterns and one spelling: the others go into base64.
        if dense_of_numbers(numbers, dense.type) == dense:
            return f"dense({dense.type}, [{', '.join(numbers)}])"
    words = array.view(_word_of(array.dtype))
    data = words.astype(words.dtype.newbyteorder("<")).tobytes()
    return f'dense({dense.type}, "{base64.b64encode(data).decode()}")'


def dense_of_numbers(numbers: Sequence[str], type: Type) -> Dense:
    values = [read_number(text, type.dtype) for text in numbers]
    _expect_elements(type, len(values))
    for text, value in zip(numbers, values, strict=True):
        if not holds(type.dtype, value):
            raise ValueError(f"{text} is not a value of {type.dtype}")
    return Dense(np.array(values, type.numpy_dtype).reshape(type.shape))


def dense_of_bytes(text: str, type: Type) -> Dense:
    data = base64.b64decode(text, validate=True)
    _expect_elements(type, len(data), of_bytes=True)
    if type.dtype == "bool" and data.strip(b"\0\1"):
        raise ValueError("a byte of a bool array is 0 or 1")
    word = _word_of(type.numpy_dtype)
    words = np.frombuffer(data, word.newbyteorder("<")).astype(word)
    return Dense(words.view(type.numpy_dtype).reshape(type.shape))


def _word_of(dtype: np.dtype) -> np.dtype:
    """The integers with as many bytes as the elements of `dtype`."""
    return np.dtype(f"u{dtype.itemsize}")


def _expect_elements(type: Type, count: int, of_bytes: bool = False) -> None:
    """Checked before NumPy sees the shape, to which -1 means another thing."""
    if type.dtype not in DTYPES:
        raise ValueError(f"no dtype {type.dtype}; choose from {', '.join(DTYPES)}")
    needed = type.nbytes if of_bytes else type.size
    if needed != count or any(size < 0 for size in type.shape):
        unit = "bytes" if of_bytes else "elements"
        raise ValueError(f"{type} has {needed} {unit}, the text {count}")


CONSTANTS: Mapping[str, bool | float | None] = MappingProxyType(
    {"true": True, "false": False, "none": None, "nan": float("nan"), "inf": float("inf")}
)
RESERVED = frozenset({"dense", "return"})
LITERAL_WORDS = frozenset({"true", "false", "nan", "inf"})


def read_number(text: str, dtype: str | None = None) -> Any:
    """The value of a number or word of `CONSTANTS`, rounded to `dtype` if that is a float dtype.

    A value that `dtype` cannot hold stays what it is, and `verify` says so.
    """
    if text in CONSTANTS:
        return CONSTANTS[text]
    if len(text) > MAX_DIGITS:
        raise ValueError(f"more than {MAX_DIGITS} digits")
    is_int = text.lstrip("-").isdigit()
    if is_int and dtype not in FLOATS:
        return int(text)
    value = float(text)
    if value in (float("inf"), -float("inf")) and not text.endswith("inf"):
        raise ValueError(f"{text} is beyond f64")
    rounded = nearest(value, dtype) if dtype in FLOATS else value
    return rounded if abs(rounded) != float("inf") else value


def read_size(text: str) -> Size:
    """The size that `ir.size_text` wrote.  Raises `ValueError` for what is none."""
    if len(text) > MAX_DIGITS:
        raise ValueError(f"more than {MAX_DIGITS} digits")
    try:
        return int(text)
    except ValueError:
        return parse_size(text)


_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n"}
_UNESCAPES = {written: char for char, written in _ESCAPES.items()}


def _quote(text: str) -> str:
    """In double quotes; what is not printable as `\\u{hex}`, so that a string is one line."""
    chars = (_ESCAPES.get(c) or (c if c.isprintable() else f"\\u{{{ord(c):x}}}") for c in text)
    return f'"{"".join(chars)}"'


def read_string(token: str) -> str:
    return re.sub(r"\\(?:u\{([0-9a-f]{1,6})\}|.)", _unescape, token[1:-1])


def _unescape(match: re.Match[str]) -> str:
    if match[1]:
        return chr(int(match[1], 16))
    if match[0] not in _UNESCAPES:
        raise ValueError(f"no escape {match[0]}")
    return _UNESCAPES[match[0]]


def word_text(name: str) -> str:
    """The name of a graph, op or attribute: bare if it is a plain word, else quoted."""
    return name if PLAIN_WORD.fullmatch(name) and name != "return" else _quote(name)
