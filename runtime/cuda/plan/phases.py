"""A kernel as phases, each of which sees what the one before it wrote.

A phase is a statement that holds loops, and the plain ones that follow it.  What a phase computes
outside of its loops and a later one needs goes through memory (`kept`); what can be computed again
(`again`) is, by each phase that needs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from graphc.runtime.kernel import (
    AddAt,
    Compute,
    Index,
    Kernel,
    Load,
    Loop,
    Name,
    Product,
    Statement,
    Store,
    inner,
)
from graphc.runtime.program import Root

PLAIN = (Load, Compute, Index, Store)


class Phase(NamedTuple):
    """One statement with loops, or none, and the plain statements after it."""

    main: Statement | None
    rest: tuple[Statement, ...] = ()

    @property
    def statements(self) -> tuple[Statement, ...]:
        return self.rest if self.main is None else (self.main, *self.rest)


class Phases(NamedTuple):
    """The phases of a kernel, what each of them may compute again, and what is kept in memory."""

    phases: tuple[Phase, ...]
    again: dict[int, Statement]
    kept: tuple[Name, ...]


def phases_of(kernel: Kernel, roots: Sequence[Root]) -> Phases:
    written = written_memory(kernel, roots)
    again: dict[int, Statement] = {}
    phases: list[Phase] = []
    for statement in kernel.body:
        if not isinstance(statement, PLAIN):
            phases.append(Phase(statement))
        elif phases and _needs(statement, phases[-1].rest):
            phases[-1] = phases[-1]._replace(rest=(*phases[-1].rest, statement))
        elif _is_repeatable(statement, roots, written):
            assert isinstance(statement, (Load, Compute, Index))
            again[statement.out.number] = statement
        elif phases and _runs_alone(phases[-1]):
            phases[-1] = phases[-1]._replace(rest=(*phases[-1].rest, statement))
        else:
            phases.append(Phase(None, (statement,)))
    return Phases(tuple(phases), again, tuple(_kept(phases, again)))


def _needs(statement: Statement, others: Sequence[Statement]) -> bool:
    """Whether a statement reads a value that one of the others makes."""
    made = {name.number for name in outer_names(others)}
    return not made.isdisjoint(_read((statement,)))


def _runs_alone(phase: Phase) -> bool:
    """Whether a phase ends in one team, which may do more."""
    main = phase.main
    return main is None or (isinstance(main, Loop) and bool(main.accumulators))


def written_memory(kernel: Kernel, roots: Sequence[Root]) -> set[Root]:
    """All memory that a kernel may write."""
    pairs = zip(kernel.buffers, roots, strict=True)
    return {m for buffer, root in pairs if buffer.role != "in" for m in root.memories()}


def _is_repeatable(statement: Statement, roots: Sequence[Root], written: set[Root]) -> bool:
    """Whether a statement gives the same value whenever it is run."""
    if isinstance(statement, Load):
        return written.isdisjoint(roots[statement.access.buffer].memories())
    return isinstance(statement, (Compute, Index))


def _kept(phases: Sequence[Phase], again: dict[int, Statement]) -> Iterator[Name]:
    """The values that one phase makes and a later one needs."""
    made: dict[int, Name] = {}
    kept: set[int] = set()
    for phase in phases:
        for number in needed(phase.statements, again):
            if number in made and number not in kept:
                kept.add(number)
                yield made[number]
        made.update((name.number, name) for name in outer_names(phase.statements))


def outer_names(statements: Sequence[Statement]) -> Iterator[Name]:
    """The values that are known after statements have run."""
    for statement in statements:
        if isinstance(statement, (Load, Compute, Index)):
            yield statement.out
        elif isinstance(statement, Loop):
            yield from (a.out for a in statement.accumulators)


def needed(statements: Sequence[Statement], again: dict[int, Statement]) -> list[int]:
    """The values that statements read and do not make, and what making those again needs, each
    after what it needs itself."""
    own = {name.number for name in _made(statements)}
    found: dict[int, None] = {}
    waiting = [n for n in _read(statements) if n not in own][::-1]
    while waiting:
        number = waiting[-1]
        statement = again.get(number)
        below = [] if statement is None else [*_read((statement,))]
        missing = [n for n in below if n not in found]
        if number in found or not missing:
            found.setdefault(number)
            waiting.pop()
        else:
            waiting += missing
    return list(found)


def _made(statements: Iterable[Statement]) -> Iterator[Name]:
    for statement in inner(statements):
        if isinstance(statement, (Load, Compute, Index, Product)):
            yield statement.out
        elif isinstance(statement, Loop):
            yield from (a.out for a in statement.accumulators)


def _read(statements: Iterable[Statement]) -> Iterator[int]:
    """The numbers of the values that statements read, those inside of loops too."""
    for statement in inner(statements):
        operands: tuple[object, ...] = ()
        match statement:
            case Load(position=position, guard=guard):
                operands = (position, guard)
            case Compute(ins=ins):
                operands = ins
            case Store(value=value):
                operands = (value,)
            case AddAt(position=position, value=value):
                operands = (position, value)
            case Loop(accumulators=accumulators):
                operands = tuple(a.value for a in accumulators)
        yield from (x.number for x in operands if isinstance(x, Name))


def is_compound(statement: Statement) -> bool:
    """Whether a statement is more than a plain one."""
    return not isinstance(statement, PLAIN)
