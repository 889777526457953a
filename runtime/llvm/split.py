"""Dividing LLVM IR text into parts that are compiled side by side and linked into one again.

Code generation takes most of a compilation, and it works function by function: two halves of a
step's functions take half the time on two cores.
"""

from __future__ import annotations

import re
from typing import NamedTuple

WORTH = 24_000
"""Characters of text that take longer to compile than a thread takes to start, by far."""

_FUNCTION = re.compile(
    r"^define (?:internal )?(?P<result>[^@]*?) ?@(?P<name>[\w.]+)\((?P<parameters>[^)]*)\).*?^}\n",
    re.MULTILINE | re.DOTALL,
)
_REFERENCE = re.compile(r"@([\w.]+)")
_NAMED = re.compile(r"^(?:declare [^@]*)?@([\w.]+)")
_VALUE = re.compile(r" %[\w.]+(?=,|$)")


class _Function(NamedTuple):
    name: str
    text: str
    declaration: str
    uses: frozenset[str]


def split(text: str, count: int) -> list[str]:
    """At most `count` texts that define together what `text` defines, about equally long.

    A function that is called across parts becomes one that the linker sees.  Constant tables are
    copied to where they are read.  A text with variables stays whole: they must not be doubled.
    """
    if count < 2 or len(text) < WORTH or " global " in text:
        return [text]
    functions = [_function(match) for match in _FUNCTION.finditer(text)]
    others = [line for line in _FUNCTION.sub("", text).splitlines() if line]
    named = [(match[1], line) for line in others if (match := _NAMED.match(line))]
    if len(functions) < 2 or len(named) != len(others):
        return [text]
    parts: list[list[_Function]] = [[] for _ in range(min(count, len(functions)))]
    for function in sorted(functions, key=lambda f: len(f.text), reverse=True):
        min(parts, key=lambda part: sum(len(f.text) for f in part)).append(function)
    return [_part(part, functions, named) for part in parts]


def _function(match: re.Match[str]) -> _Function:
    name, body = match["name"], match[0]
    types = _VALUE.sub("", match["parameters"])
    return _Function(
        name,
        body.replace("define internal ", "define ", 1),
        f"declare {match['result']} @{name}({types})",
        frozenset(_REFERENCE.findall(body)),
    )


def _part(
    part: list[_Function], functions: list[_Function], named: list[tuple[str, str]]
) -> str:
    uses = {name for function in part for name in function.uses}
    inside = {function.name for function in part}
    return "\n".join(
        [
            *(line for name, line in named if name in uses),
            *(f.declaration for f in functions if f.name in uses and f.name not in inside),
            *(function.text for function in part),
        ]
    )
