"""A step as text: the kernels in the order in which they run, and the control flow around them."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Protocol

from graphc.ir import Eqn
from graphc.runtime.program import (
    Barrier,
    Branch,
    Call,
    Fail,
    Foreign,
    Item,
    Place,
    Program,
    Repeat,
)


class Executable(Protocol):
    """A step, for any target."""

    @property
    def program(self) -> Program: ...
    def kernel_names(self) -> list[tuple[str, Eqn | None, Call]]: ...


def listing(step: Executable) -> str:
    """What `graphc dump --stage kernels` prints."""
    names = {id(call): name for name, _, call in step.kernel_names()}
    return "\n".join(_lines(step.program.items, names))


def _lines(items: Sequence[Item], names: dict[int, str]) -> Iterator[str]:
    for item in items:
        match item:
            case Call(kernel=kernel):
                yield str(kernel._replace(name=names.get(id(item), kernel.name)))
            case Branch(predicate=predicate, then=then, otherwise=otherwise):
                yield f"if {_shown(predicate)} {{"
                yield from _indented(then, names)
                yield "} else {"
                yield from _indented(otherwise, names)
                yield "}"
            case Repeat(test=test, body=body):
                yield "repeat {"
                yield from _indented(test, names)
                yield "} with {"
                yield from _indented(body, names)
                yield "}"
            case Foreign(function=function):
                yield f"call {function}"
            case Fail(failed=failed, number=number):
                yield f"fail with check {number} if {_shown(failed)}"
            case Barrier():
                yield "barrier"
            case _:
                yield type(item).__name__.lower()


def _indented(items: Sequence[Item], names: dict[int, str]) -> Iterator[str]:
    return (textwrap.indent(line, "  ") for line in _lines(items, names))


def _shown(place: Place) -> str:
    return f"{place.root.kind} {place.root.number}"


def log_kernels(step: Executable) -> None:
    """With GRAPHC_DEBUG=4 or more, print the kernels on stderr."""
    level = os.environ.get("GRAPHC_DEBUG", "")
    if level.isdigit() and int(level) >= 4:
        print(listing(step), file=sys.stderr)
