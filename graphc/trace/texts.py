"""Text with traced values in it: f-strings, `str`, `format`, `%`, and what takes them.

While tracing, such a text is a `TracedText`: its digits are known when the step runs.  It can be
printed, and be the message of an `assert` or of an exception; everything else is an error.
"""

from __future__ import annotations

import re
import string
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from graphc import errors
from graphc.dims import Dim
from graphc.ir import Loc, Type
from graphc.ops import effects, index
from graphc.trace import branches
from graphc.trace.scope import current, is_tracing, user_loc
from graphc.trace.tracer import Tracer, lift, wrap


class TracedText:
    """Pieces of text: strings, and `(value, conversion, spec)` of values that hold traced ones."""

    __graphc_leaf__ = True
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, pieces: Sequence[Any]):
        self.pieces = tuple(pieces)

    def __add__(self, other: Any) -> TracedText:
        return TracedText((*self.pieces, *_pieces(other)))

    def __radd__(self, other: Any) -> TracedText:
        return TracedText((*_pieces(other), *self.pieces))

    def _fail(self, *args: Any, **kwargs: Any) -> Any:
        raise errors.ConcreteValueError(
            "this text holds traced values, whose digits are known only when the step runs; print"
            " it, make it the message of an assert or exception, or format the function's result",
            user_loc(),
        )

    __str__ = __repr__ = __format__ = __len__ = __iter__ = __getitem__ = __eq__ = _fail
    __mod__ = __mul__ = __contains__ = __bool__ = __array__ = __lt__ = __gt__ = _fail

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._fail()


def _pieces(text: Any) -> tuple[Any, ...]:
    return text.pieces if isinstance(text, TracedText) else (text,)


def _is_traced(value: Any) -> bool:
    """Whether a value that is to be text holds traced values."""
    if isinstance(value, (list, tuple)):
        return any(map(_is_traced, value))
    if isinstance(value, dict):
        return any(map(_is_traced, value.values()))
    return isinstance(value, (Tracer, TracedText, Dim))


# ---- making texts --------------------------------------------------------------------------------


def joined(pieces: Sequence[Any]) -> Any:
    """An f-string, of strings and `(value, conversion, spec)`."""
    if any(_is_traced(piece[:1]) for piece in pieces if isinstance(piece, tuple)):
        return TracedText([_flat(piece) for piece in pieces])
    return "".join(piece if isinstance(piece, str) else _plain(*piece) for piece in pieces)


def _flat(piece: Any) -> Any:
    traced = isinstance(piece, str) or _is_traced(piece[:1])
    return piece if traced else _plain(*piece)


def _plain(value: Any, conversion: str, spec: str) -> str:
    convert: dict[str, Callable[[Any], Any]] = {"s": str, "r": repr, "a": ascii}
    return format(convert[conversion](value) if conversion else value, spec)


def of_value(conversion: str) -> Callable[..., Any]:
    """`str`, `repr` and `ascii` of traced values."""
    return lambda value: joined([(value, conversion, "")])


def formatted(value: Any, spec: str = "") -> Any:
    """`format(value, spec)`"""
    return joined([(value, "", spec)])


def format_method(template: str) -> Callable[..., Any]:
    """`template.format`, which may be given traced values."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if not _is_traced(args) and not _is_traced(kwargs):
            return template.format(*args, **kwargs)
        return joined(list(_fields(template, args, kwargs)))

    return call


def _fields(template: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Any]:
    formatter = string.Formatter()
    count = 0
    for literal, name, spec, conversion in formatter.parse(template):
        yield literal
        if name is None:
            continue
        if name == "":
            name, count = str(count), count + 1
        value, _ = formatter.get_field(name, args, kwargs)
        yield value, conversion or "", (spec or "").format(*args, **kwargs)


_CONVERSION = re.compile(r"%(?:%|[-+ #0]*\d*(?:\.\d+)?[a-zA-Z])")


def modulo(template: Any, values: Any) -> Any:
    """`template % values`, where the template is a string."""
    if not isinstance(template, str) or not _is_traced(values):
        return template % values
    rest = list(values) if isinstance(values, tuple) else [values]
    pieces: list[Any] = []
    end = 0
    for match in _CONVERSION.finditer(template):
        pieces.append(template[end : match.start()])
        end = match.end()
        if match[0] == "%%":
            pieces.append("%")
        elif not rest:
            raise TypeError("not enough arguments for format string")
        else:
            pieces.append((rest.pop(0), "%", match[0]))
    if rest:
        raise TypeError("not all arguments converted during string formatting")
    return TracedText([*pieces, template[end:]])


# ---- equations -----------------------------------------------------------------------------------


def print_(
    *args: Any, sep: Any = " ", end: Any = "\n", file: Any = None, flush: Any = False
) -> None:
    """`print` while tracing: an equation, so that the text appears when the step runs."""
    streams = {None: "stdout", id(sys.stdout): "stdout", id(sys.stderr): "stderr"}
    stream = streams.get(None if file is None else id(file))
    if stream is None:
        raise errors.UnsupportedFunctionError(
            "print() in a compiled function writes to sys.stdout or sys.stderr only; return the"
            " values and write them to the file outside",
            user_loc(),
        )
    pieces: list[Any] = []
    for i, arg in enumerate(args):
        separator = [" " if sep is None else sep] if i else []
        pieces += [*separator, *_pieces(arg if isinstance(arg, TracedText) else of_value("s")(arg))]
    _emit(effects.print_, [*pieces, "\n" if end is None else end], stream=stream)


def describe(message: TracedText) -> str:
    """Have the next failing check say `message`; what that check is given for it."""
    _emit(effects.describe, message.pieces)
    return effects.DESCRIBED


def _emit(op: Any, pieces: Sequence[Any], **attrs: Any) -> None:
    operands: list[Tracer] = []
    text = [
        piece if isinstance(piece, str) else (_shape(piece[0], operands), *piece[1:])
        for piece in _merged(pieces)
    ]
    builder = current().builder
    atoms = [x.value().atom for x in operands]
    builder.emit(op, atoms, {"text": tuple(text), **attrs})


def _merged(pieces: Sequence[Any]) -> Iterator[Any]:
    """The pieces with neighbouring strings as one."""
    text = ""
    for piece in pieces:
        if isinstance(piece, str):
            text += piece
            continue
        if text:
            yield text
        text = ""
        yield piece
    if text:
        yield text


_CONSTANTS = (bool, int, float, str, type(None))


def _shape(value: Any, operands: list[Tracer]) -> Any:
    """How operands make up a value: see `graphc.ops.effects`."""
    if isinstance(value, Dim):
        value = lift(value)
    if isinstance(value, Tracer):
        operands.append(value)
        if value.weak:
            return "number"
        return "scalar" if value.is_scalar else "array"
    if type(value) in (list, tuple):
        return (type(value).__name__, *(_shape(part, operands) for part in value))
    if type(value) is dict and all(type(key) in _CONSTANTS for key in value):
        rows = ((key, _shape(part, operands)) for key, part in value.items())
        return ("dict", *(x for row in rows for x in row))
    if type(value) in _CONSTANTS:
        return ("const", value)
    raise errors.UnsupportedFunctionError(
        f"a {type(value).__name__} inside of a list or dict with traced values cannot be printed by"
        " a compiled step; print its parts",
        user_loc(),
    )


# ---- assert --------------------------------------------------------------------------------------


def asserted(test: Any, message: Callable[[], Any] | None, loc: Loc, source: str) -> Any:
    """What `assert` tests: of a traced value a check that runs with the step, and then True."""
    if not isinstance(test, Tracer) or not is_tracing():
        return test
    ok = branches.truth(test)
    text = f"assert {source}" if message is None else message()
    if isinstance(text, (Tracer, list, tuple, dict)) and _is_traced(text):
        text = of_value("s")(text)
    if isinstance(text, TracedText):
        said = text
        branches.choose(wrap(ok), lambda: None, lambda: describe(said) and None)
        text = effects.DESCRIBED
    zero = ok.builder.literal(0, Type("i64"))
    current().builder.loc = loc
    index.check(ok, zero, error="AssertionError", message=str(text))
    return True
