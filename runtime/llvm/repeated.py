"""Loops that a kernel repeats on other memory, as one function that it calls.

The update of all tensors of a model is one kernel with a loop for each of them, all of which do the
same.  Code generation takes most of a compilation, and looks at each anew; it need not.

Before:  loop1: x0[i] = 0.9 * x0[i]        After:  @kernel_0_loop(x0, 64); @kernel_0_loop(x1, 32)
         loop2: x1[i] = 0.9 * x1[i]

Sound because only loops of a single block are taken, of which no value is read outside, and two of
them become one only where all of their text is equal but for what each is given: values from
outside, and the end of its range.  Loops inside of others stay: a call costs a few nanoseconds.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

LEAST = 8
"""Instructions that are worth a call."""

_LOOP = re.compile(
    r"  br label %(?P<head>loop\d+)\n(?P=head):\n(?P<body>(?:  .*\n)+?)"
    r"  br i1 (?P<more>%[\w.]+), label %(?P=head), label %(?P<after>after\d+)\n(?P=after):\n"
)
_LABEL = re.compile(r"^([\w.]+):$", re.MULTILINE)
_REGISTER = re.compile(r"%[\w.]+")
_NAME = re.compile(r"%[\w.]+|(?<=, )\d+$", re.MULTILINE)
"""Of a register, and the end of a range."""
_DEFINED = re.compile(r"^  (%[\w.]+) = ", re.MULTILINE)
_INCOMING = re.compile(r"(?<=, )%[\w.]+(?=\])")
_TYPE = r"<\d+ x \w+>|ptr|i\d+|half|float|double"
_TYPED = re.compile(rf"({_TYPE}) (%[\w.]+)")


class _Loop(NamedTuple):
    """A loop as it stands in a function: its text there, with names of its own in the place of
    registers, and what it is given: each with its type."""

    start: int
    end: int
    after: str
    text: str
    given: tuple[str, ...]

    @property
    def key(self) -> tuple[str, tuple[str, ...]]:
        return self.text, tuple(given.rpartition(" ")[0] for given in self.given)


def share_loops(functions: dict[str, str], kernels: Iterable[str]) -> None:
    """Have each of the `kernels` call a function for the loops that it repeats."""
    for name in list(kernels):
        text = functions[name]
        alike: dict[tuple[str, tuple[str, ...]], list[_Loop]] = defaultdict(list)
        for loop in _loops(text):
            alike[loop.key].append(loop)
        called: dict[int, tuple[str, _Loop]] = {}
        for (body, types), loops in alike.items():
            if len(loops) > 1:
                own = f"{name}_loop{loops[0].start}"
                functions[own] = _function(own, body, types)
                called |= {loop.start: (own, loop) for loop in loops}
        if called:
            functions[name] = _with_calls(text, [called[start] for start in sorted(called)])


def _loops(text: str) -> Iterator[_Loop]:
    """The loops that may be shared, in order."""
    found = _similar([m for m in _LOOP.finditer(text) if m["body"].count("\n") >= LEAST])
    if not found:
        return
    uses = Counter(_REGISTER.findall(text))
    types = {register: type for type, register in _TYPED.findall(text[: text.index("\n")])}
    around = list(_intervals(text))
    for match in found:
        at = match.start()
        if not any(start < at < end for start, end in around):
            loop = _shared(match, uses, types)
            if loop is not None:
                yield loop


def _similar(found: list[re.Match[str]]) -> list[re.Match[str]]:
    """Those that have the same instructions as another one: a short look, for most kernels repeat
    nothing."""
    counts = Counter(match["body"].count("\n") for match in found)
    several = [match for match in found if counts[match["body"].count("\n")] > 1]
    looks = [_NAME.sub("", match["body"]) for match in several]
    times = Counter(looks)
    return [match for match, look in zip(several, looks, strict=True) if times[look] > 1]


def _intervals(text: str) -> Iterator[tuple[int, int]]:
    """From where to where each loop reaches: from a label to the last branch back to it."""
    for match in _LABEL.finditer(text):
        back = text.rfind(f"label %{match[1]}", match.end())
        if back > 0:
            yield match.start(), back


def _shared(match: re.Match[str], uses: Counter[str], types: dict[str, str]) -> _Loop | None:
    """The loop with its own names; None where something outside reads a value of it, or the type
    of what it is given is not seen."""
    body, head = match["body"], match["head"]
    defined = dict.fromkeys(_DEFINED.findall(body))
    inside = Counter(_REGISTER.findall(body))
    inside[match["more"]] += 1
    if any(uses[register] != inside[register] for register in defined):
        return None
    names = {register: f"%v{i}" for i, register in enumerate(defined)} | {f"%{head}": "%loop"}
    before = set(_INCOMING.findall(body)) - {f"%{head}"}
    names |= dict.fromkeys(before, "%entry")
    given: list[str] = []
    for register in inside:  # in the order in which they are read
        if register not in names:
            if register not in types:
                seen = re.search(rf"({_TYPE}) (?:%[\w.]+, )?{register}(?![\w.])", body)
                if seen is None:
                    return None
                types[register] = seen[1]
            names[register] = f"%p{len(given)}"
            given.append(f"{types[register]} {register}")
    own = _REGISTER.sub(lambda found: names[found[0]], body)
    end = re.search(rf"(?<=  {names[match['more']]} = icmp slt i64 )(%v\d+), (\d+)\n", own)
    if end is not None:
        own = f"{own[: end.start()]}{end[1]}, %p{len(given)}\n{own[end.end() :]}"
        given.append(f"i64 {end[2]}")
    own += f"  br i1 {names[match['more']]}, label %loop, label %end\n"
    return _Loop(match.start(), match.end(), match["after"], own, tuple(given))


def _function(name: str, body: str, types: tuple[str, ...]) -> str:
    parameters = ", ".join(f"{type} %p{i}" for i, type in enumerate(types))
    return (
        f"define internal void @{name}({parameters}) #0 {{\n"
        f"entry:\n  br label %loop\nloop:\n{body}end:\n  ret void\n}}\n"
    )


def _with_calls(text: str, called: list[tuple[str, _Loop]]) -> str:
    """The function with a call in the place of each of these loops."""
    parts, at = [], 0
    for name, loop in called:
        call = f"  call void @{name}({', '.join(loop.given)})\n"
        parts += [text[at : loop.start], call, f"  br label %{loop.after}\n{loop.after}:\n"]
        at = loop.end
    return "".join([*parts, text[at:]])
