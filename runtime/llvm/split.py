"""Dividing LLVM IR text into parts that are compiled side by side and linked into one again.

Code generation takes most of a compilation, and it works function by function: two halves of a
step's functions take half the time on two cores.  What runs once in a step, straight through (the
functions marked `#1`), is a part that is compiled quickly.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

WORTH = 100
"""The least weight of a part: 2 ms, longer than a thread and another module take to begin."""
SHORT = 6000
"""Characters of text that is not worth a look."""
WORTH_APART = 2000
"""Characters of straight code that repay a part of their own."""
BLOCK_WEIGHT = 5
"""What a basic block costs to compile, in lines: loops are what many of LLVM's passes look at."""

_HEAD = re.compile(
    r"define (?:internal )?(?P<result>[^@]*?) ?@(?P<name>[\w.]+)\((?P<parameters>[^)]*)\)"
)
_BEGINNING = re.compile(r"^(?=define )", re.MULTILINE)
_REFERENCE = re.compile(r"@([\w.]+)")
_NAMED = re.compile(r"^(?:declare [^@]*)?@([\w.]+)")
_SHARED = re.compile(
    r"^define internal [^\n@]*@(?P<name>matmul_\w+)\([^\n]*\{\n.*?^\}\n", re.MULTILINE | re.DOTALL
)
_VALUE = re.compile(r" %[\w.]+(?=,|$)")


class Part(NamedTuple):
    """A text to compile, and whether quickly."""

    text: str
    is_quick: bool = False


class _Function(NamedTuple):
    """A function's text, how another part declares it, what it refers to, about how long it takes
    to compile, and whether it runs once and straight through."""

    name: str
    text: str
    declaration: str
    uses: frozenset[str]
    weight: int
    is_straight: bool


def split(text: str, count: int, without: Collection[str] = ()) -> list[Part]:
    """Texts that define together what `text` defines, but for the functions `without`: at most
    `count` that take about equally long to compile, and one of the straight code.

    A function that is called across parts becomes one that the linker sees.  Constant tables are
    copied to where they are read.  A text with variables stays whole: they must not be doubled.
    """
    is_short = len(text) < SHORT or (count < 2 and " #1 {" not in text)
    if not without and (is_short or _has_variables(text)):
        return [Part(text)]
    beginning, *bodies = _BEGINNING.split(text)
    others = [line for line in beginning.splitlines() if line]
    named = [(match[1], line) for line in others if (match := _NAMED.match(line))]
    bodies = [body.rstrip() for body in bodies]
    functions = [_function(body + "\n") for body in bodies if body.endswith("}")]
    if len(functions) < 2 or len(functions) != len(bodies) or len(named) != len(others):
        return [Part(text)]
    wanted = [function for function in functions if function.name not in without]
    straight = [function for function in wanted if function.is_straight]
    if sum(len(function.text) for function in straight) < WORTH_APART:
        straight = []
    rest = [function for function in wanted if function not in straight]
    groups = _groups(rest, count)
    if len(groups) == 1 and not straight and not without:
        return [Part(text)]
    quick = [Part(_part(straight, functions, named), is_quick=True)] if straight else []
    return [*(Part(_part(group, functions, named)) for group in groups), *quick]


def shared_functions(text: str) -> dict[str, str]:
    """The functions in a text that the texts of other steps have, too, each as a text of its own:
    the micro-kernels of matrix products."""
    if _has_variables(text):
        return {}
    bodies = {match["name"]: match[0] for match in _SHARED.finditer(text)}
    if not bodies:
        return {}
    lines = text[: text.index("\ndefine ") + 1].splitlines()
    named = [(match[1], line) for line in lines if (match := _NAMED.match(line))]
    functions = {name: _function(body) for name, body in bodies.items()}
    known = {name for name, _ in named} | functions.keys()
    return {
        name: _part([function], list(functions.values()), named)
        for name, function in functions.items()
        if function.uses <= known
    }


def _has_variables(text: str) -> bool:
    return " global " in text


def _groups(functions: Sequence[_Function], count: int) -> list[list[_Function]]:
    """At most `count` groups of about equal weight, each worth compiling on its own."""
    groups: list[list[_Function]] = [[] for _ in range(min(count, len(functions)))]
    for function in sorted(functions, key=lambda f: f.weight, reverse=True):
        min(groups, key=_weight).append(function)
    is_worth = len(groups) < 2 or min(map(_weight, groups)) >= WORTH
    return groups if is_worth else _groups(functions, len(groups) - 1)


def _weight(functions: Sequence[_Function]) -> int:
    return sum(function.weight for function in functions)


def _function(body: str) -> _Function:
    head = body[: body.index("\n")]
    match = _HEAD.match(head)
    assert match is not None, head
    types = _VALUE.sub("", match["parameters"])
    return _Function(
        match["name"],
        body.replace("define internal ", "define ", 1),
        f"declare {match['result']} @{match['name']}({types})",
        frozenset(_REFERENCE.findall(body)),
        body.count("\n") + BLOCK_WEIGHT * body.count(":\n"),
        head.endswith(" #1 {"),
    )


def _part(part: list[_Function], functions: list[_Function], named: list[tuple[str, str]]) -> str:
    uses = {name for function in part for name in function.uses}
    inside = {function.name for function in part}
    return "\n".join(
        [
            *(line for name, line in named if name in uses),
            *(f.declaration for f in functions if f.name in uses and f.name not in inside),
            *(function.text for function in part),
        ]
    )
