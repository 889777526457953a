"""Kernels that are alike but for numbers, as one function that is given the numbers.

The layers of a network are often the same kernel with other sizes.  Code generation takes most of a
compilation, and looks at each function anew: it need not look at these again.

Sound, because only the operands of some plain instructions are replaced, each an i64 in the place
of an i64 of the same value, and everything else is the same character by character.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

_PLAIN = re.compile(
    r"  (?:%[\w.]+ = )?(?:(?:add|sub|mul) i64 |icmp \w+ i64 |getelementptr \w+, ptr |phi i64 "
    r"|select i1 %[\w.]+, i64 |call (?:void|i64) (?:%[\w.]+|@matmul_\w+|@llvm\.sm(?:ax|in)\.i64)\()"
)
"""Instructions whose i64 operands may be constants or not."""
_NUMBER = re.compile(r"(?:(?<=i64 )|(?<=, )|(?<=\[))(-?\d+)(?=[,)]|$)")


class _Shape(NamedTuple):
    """A function's text around its numbers, and the numbers."""

    texts: tuple[str, ...]
    numbers: tuple[str, ...]


def merge_alike(functions: dict[str, str], kernels: Iterable[str]) -> dict[str, str]:
    """Merge those of the `kernels` that are alike; the function that stands for each of them.

    Functions that call them are changed to give the numbers.
    """
    merged: dict[str, str] = {}
    for alike in _groups(functions, kernels):
        first, *others = alike
        functions[first], numbers = _with_parameters(first, list(alike.values()))
        for name in others:
            del functions[name]
        _give(functions, first, dict(zip(alike, numbers, strict=True)))
        merged |= dict.fromkeys(others, first)
    return merged


def _groups(functions: Mapping[str, str], kernels: Iterable[str]) -> Iterator[dict[str, _Shape]]:
    """By name, the shapes of kernels that have the same texts around their numbers."""
    by_length: dict[tuple[str, int], list[str]] = defaultdict(list)
    for name in kernels:
        text = functions[name]
        head = text[: text.index("\n")].replace(f"@{name}(", "(")
        by_length[head, text.count("\n")].append(name)
    for names in by_length.values():
        groups: dict[tuple[str, ...], dict[str, _Shape]] = defaultdict(dict)
        for name in names if len(names) > 1 else ():
            shape = _shape(functions[name].replace(f"@{name}(", "@(", 1))
            groups[shape.texts][name] = shape
        yield from (group for group in groups.values() if len(group) > 1)


def _shape(text: str) -> _Shape:
    texts, numbers = [""], []
    for line in text.splitlines(keepends=True):
        if _PLAIN.match(line):
            before, *rest = _NUMBER.split(line)
            texts[-1] += before
            numbers += rest[::2]
            texts += rest[1::2]
        else:
            texts[-1] += line
    return _Shape(tuple(texts), tuple(numbers))


def _with_parameters(first: str, shapes: Sequence[_Shape]) -> tuple[str, list[list[str]]]:
    """The function `first` with parameters in the place of numbers that differ; what each of the
    kernels gives for them."""
    columns = list(zip(*(shape.numbers for shape in shapes), strict=True))
    differing = list(dict.fromkeys(column for column in columns if len(set(column)) > 1))
    names = {column: f"%number.{i}" for i, column in enumerate(differing)}
    texts = shapes[0].texts
    body = texts[0] + "".join(
        names.get(column, column[0]) + text for column, text in zip(columns, texts[1:], strict=True)
    )
    head, rest = body.split("\n", 1)
    parameters = "".join(f", i64 {name}" for name in names.values())
    before, after = head.replace("@(", f"@{first}(", 1).rsplit(")", 1)
    given = [[column[i] for column in differing] for i in range(len(shapes))]
    return f"{before}{parameters}){after}\n{rest}", given


def _give(functions: dict[str, str], first: str, numbers: Mapping[str, Sequence[str]]) -> None:
    """Have calls of any of the kernels call `first`, with the kernel's numbers."""
    calls = re.compile(rf"^(  call void )@({'|'.join(numbers)})\((.*)\)$", re.MULTILINE)

    def changed(match: re.Match[str]) -> str:
        given = "".join(f", i64 {number}" for number in numbers[match[2]])
        return f"{match[1]}@{first}({match[3]}{given})"

    for name, text in functions.items():
        if any(f"@{kernel}(" in text for kernel in numbers):
            functions[name] = calls.sub(changed, text)
